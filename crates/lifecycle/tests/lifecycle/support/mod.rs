//! Two nodes on one embedded database, with a clock that the tests turn.

pub(crate) mod authorities;

pub(crate) mod directory;

pub(crate) mod foreign;

pub(crate) mod published;

pub(crate) mod services;

pub(crate) mod site;

pub(crate) mod served;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lifecycle::{
    AcmeSettings, Addresses, AuthorityTemplate, CertificateId, Clock, DEFAULT_AUTHORITY,
    DEFAULT_METRO_DOMAIN, Dialect, EgressPolicy, House, IssueRequest, Issued, KeySource, Principal,
    Role, Settings, Surroundings, SystemRandomness, Tiers, TokenLimits, parse_identifiers,
};
use pki::{
    CertificateRequest, DistinguishedName, DnsName, KeyAlgorithm, PrivateKey, SubjectFields,
};
use store::{DatabaseUrl, Event, MasterKey, Scope, Store};
use tempfile::TempDir;
use time::OffsetDateTime;

/// Seconds.
pub(crate) const SECOND: i64 = 1;
pub(crate) const MINUTE: i64 = 60;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;
/// An authority that has a template like the default one, and that nobody has made.
pub(crate) const SPARE: &str = "spare";
/// How long is waited for what must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct TurnedClock(Arc<AtomicI64>);

impl TurnedClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000)))
    }

    pub(crate) fn turn(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TurnedClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// A house with what it remembers for itself, over its own connections to the database.
pub(crate) struct Node {
    pub(crate) house: House,
    pub(crate) store: Store,
}

impl Node {
    pub(crate) async fn open(data: &TempDir, clock: &TurnedClock, settings: Settings) -> Self {
        let surroundings = Surroundings::new(clock.clone(), SystemRandomness);
        Self::open_in(data, surroundings, settings).await
    }

    pub(crate) async fn open_in(
        data: &TempDir,
        surroundings: Surroundings,
        settings: Settings,
    ) -> Self {
        let url = DatabaseUrl::sqlite(data.path().join("test.db"));
        let key = MasterKey::from_bytes(&[3; 32]).unwrap();
        let store = Store::open(&url, &key).await.unwrap();
        Self {
            house: House::new(store.clone(), surroundings, settings),
            store,
        }
    }
}

pub(crate) struct Fixture {
    pub(crate) nodes: [Node; 2],
    pub(crate) clock: TurnedClock,
    /// The first administrator.
    pub(crate) principal: Principal,
    pub(crate) data: TempDir,
}

impl Fixture {
    /// What was recorded of this kind, the first first.
    pub(crate) async fn events_of(&self, kind: &str) -> Vec<Event> {
        let store = &self.nodes[0].store;
        let events = store.events_after(Scope::Everything, None, 1_000).await;
        let mut events = events.unwrap();
        events.retain(|event| event.kind == kind);
        events
    }

    pub(crate) async fn new(algorithm: KeyAlgorithm) -> Self {
        Self::with(settings(algorithm)).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let clock = TurnedClock::new();
        let surroundings = Surroundings::new(clock.clone(), SystemRandomness);
        Self::among(settings, clock, surroundings).await
    }

    /// In surroundings whose clock is `clock`.
    pub(crate) async fn among(
        settings: Settings,
        clock: TurnedClock,
        surroundings: Surroundings,
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        let nodes = [
            Node::open_in(&data, surroundings.clone(), settings.clone()).await,
            Node::open_in(&data, surroundings, settings).await,
        ];
        let mut token = String::new();
        let keep = |text: &str| {
            text.clone_into(&mut token);
            Ok(())
        };
        nodes[0].house.furnish(keep).await.unwrap();
        let tokens = &nodes[0].house.tokens;
        let principal = tokens.authenticate(&token, Dialect::Chancery).await;
        Self {
            nodes,
            clock,
            principal: principal.unwrap(),
            data,
        }
    }

    pub(crate) fn house(&self) -> &House {
        &self.nodes[0].house
    }

    pub(crate) fn other_node(&self) -> &House {
        &self.nodes[1].house
    }

    pub(crate) fn turn(&self, seconds: i64) {
        self.clock.turn(seconds);
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// One more node, with settings of its own.
    pub(crate) async fn node(&self, settings: Settings) -> Node {
        Node::open(&self.data, &self.clock, settings).await
    }

    /// Somebody who has a new account of that name, with these limits.
    pub(crate) async fn tenant(&self, name: &str, limits: TokenLimits) -> Principal {
        let house = self.house();
        let accounts = &house.accounts;
        accounts
            .create(&self.principal, name, Role::User)
            .await
            .unwrap();
        let limits = TokenLimits {
            account: Some(name.to_owned()),
            ..limits
        };
        let minted = house.tokens.create(&self.principal, limits).await.unwrap();
        let principal = house.tokens.authenticate(&minted.text, Dialect::Chancery);
        principal.await.unwrap()
    }

    /// What a domain is served with: the certificate and its alternate.
    pub(crate) async fn served(&self, domain: &str) -> [Option<CertificateId>; 2] {
        let store = &self.nodes[0].store;
        let found = store.domains_named(Scope::Everything, &[domain]).await;
        let domain = found.unwrap().pop().unwrap();
        [domain.certificate_id, domain.alternate_id]
    }

    /// A certificate of the default authority, whose key can be fetched for an hour.
    pub(crate) async fn issue(&self, name: &str, days: i64) -> Issued {
        self.issue_with(name, days, KeySource::Generate(KeyAlgorithm::P256))
            .await
    }

    /// A certificate of the default authority for a request, whose key the house does not have.
    pub(crate) async fn issue_for_request(&self, name: &str, days: i64) -> Issued {
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let subject = DistinguishedName::from_fields(&SubjectFields::default()).unwrap();
        let der = CertificateRequest::build(&key, &subject, &[]).unwrap();
        let request = CertificateRequest::from_pem_or_der(&der).unwrap();
        self.issue_with(name, days, KeySource::Request(Box::new(request)))
            .await
    }

    async fn issue_with(&self, name: &str, days: i64, key: KeySource) -> Issued {
        let request = IssueRequest {
            authority: DEFAULT_AUTHORITY.to_owned(),
            subject: SubjectFields::default(),
            identifiers: parse_identifiers([name], [], []).unwrap(),
            days: Some(days),
            key,
            name: None,
        };
        let certificates = &self.house().certificates;
        certificates.issue(&self.principal, request).await.unwrap()
    }
}

pub(crate) fn settings(algorithm: KeyAlgorithm) -> Settings {
    let template = AuthorityTemplate {
        tiers: Tiers::Two,
        key_algorithm: algorithm,
        subject: SubjectFields {
            common_name: Some("Test".to_owned()),
            ..SubjectFields::default()
        },
        addresses: Addresses::ByKeyIdentifier,
    };
    let names = [DEFAULT_AUTHORITY, SPARE];
    let authorities = names.map(|name| (name.to_owned(), template.clone()));
    Settings {
        public_url: "http://chancery.test".to_owned(),
        authorities: HashMap::from(authorities),
        key_window: Duration::from_secs(60 * 60),
        allow_email_identifiers: true,
        validation: lifecycle::ValidationSettings::default(),
        metro_domain: DnsName::parse(DEFAULT_METRO_DOMAIN).unwrap(),
        default_issuer: DEFAULT_AUTHORITY.to_owned(),
        backends: EgressPolicy::BACKENDS,
        acme: AcmeSettings::default(),
        installations: lifecycle::InstallationSettings::default(),
    }
}

/// What `ready` gives, as soon as it gives something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ready: impl FnMut() -> F,
) -> T {
    let waiting = async {
        loop {
            match ready().await {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let ended = tokio::time::timeout(DEADLINE, waiting).await;
    ended.unwrap_or_else(|_| panic!("in vain: {what}"))
}
