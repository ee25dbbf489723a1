//! Tests only: a house in a [`World`], and what an order would bring to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acme::Identifier;
use acme::client::{
    AccountKey, Authorization, AuthorizationStatus, Challenge, ChallengeKind, ChallengeStatus,
    DirectoryInfo, Endpoint, Login,
};
use pki::{DnsName, KeyAlgorithm, PrivateKey, SubjectFields};
use store::{
    AccountId, Certificate, CertificateId, DatabaseUrl, MasterKey, NewCertificate, NewRecord,
    Origin, Role, State, Store,
};
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::challenges::{Assignment, ChallengeError, Chosen, Solvers, Visibility};
use crate::diagnosis::Examiner;
use crate::{
    AcmeSettings, Addresses, AuthorityTemplate, Clock, DEFAULT_AUTHORITY, DEFAULT_METRO_DOMAIN,
    Dialect, EgressPolicy, House, NewDnsProvider, Principal, Settings, Surroundings,
    SystemRandomness, Tiers, TokenLimits, events,
};

pub(crate) use world::{Site, World};

/// The account of the house under test with its directory.
pub(crate) const ACCOUNT_URL: &str = "https://ca.test/account/1";
/// How long a claim lasts.
const LEASE: time::Duration = time::Duration::seconds(60);

/// A clock that tests turn.
#[derive(Debug, Clone)]
pub(crate) struct TurnedClock(Arc<AtomicI64>);

impl Clock for TurnedClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// A house without a scheduler.
pub(crate) struct Fixture {
    pub(crate) world: World,
    pub(crate) house: House,
    pub(crate) store: Store,
    pub(crate) solvers: Solvers,
    /// The first administrator.
    pub(crate) administrator: Principal,
    pub(crate) login: Login,
    pub(crate) info: DirectoryInfo,
    clock: TurnedClock,
    _data: TempDir,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(AcmeSettings::default()).await
    }

    pub(crate) async fn with(acme: AcmeSettings) -> Self {
        let data = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::sqlite(data.path().join("test.db"));
        let key = MasterKey::from_bytes(&[3; 32]).unwrap();
        let store = Store::open(&url, &key).await.unwrap();
        let clock = TurnedClock(Arc::new(AtomicI64::new(1_800_000_000)));
        let world = World::default();
        let surroundings =
            Surroundings::new(clock.clone(), SystemRandomness).with_network(world.network());
        let settings = settings(acme);
        let house = House::new(store.clone(), surroundings.clone(), settings.clone());
        let token = Mutex::new(String::new());
        let keep = |text: &str| {
            text.clone_into(&mut token.lock().unwrap());
            Ok(())
        };
        house.furnish(keep).await.unwrap();
        let token = token.into_inner().unwrap();
        let administrator = house.tokens.authenticate(&token, Dialect::Chancery).await;
        world.edge(house.answers.clone());
        let settings = Arc::new(settings);
        let providers = house.dns_providers.clone();
        let examiner = Examiner::new(
            store.clone(),
            surroundings.clone(),
            settings.clone(),
            house.answers.clone(),
            providers.clone(),
        );
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        Self {
            solvers: Solvers::new(store.clone(), surroundings, settings, providers, examiner),
            administrator: administrator.unwrap(),
            login: Login {
                endpoint: Endpoint {
                    url: "https://ca.test/directory".to_owned(),
                    roots: None,
                    is_trusted: false,
                },
                account_url: ACCOUNT_URL.to_owned(),
                key: Arc::new(AccountKey::from_pkcs8(key.to_pkcs8_der())),
            },
            info: DirectoryInfo {
                terms_of_service: None,
                profiles: BTreeMap::new(),
                caa_identities: vec!["ca.test".to_owned()],
                persistent_issuers: Vec::new(),
                account_hash_prefix: None,
                requires_external_account: false,
                has_renewal_info: false,
            },
            world,
            house,
            store,
            clock,
            _data: data,
        }
    }

    /// Another house over the same store, as another node has one.
    pub(crate) fn another_house(&self) -> House {
        let surroundings = Surroundings::new(self.clock.clone(), SystemRandomness);
        House::new(
            self.store.clone(),
            surroundings,
            settings(AcmeSettings::default()),
        )
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    pub(crate) fn turn(&self, time: Duration) {
        let seconds = i64::try_from(time.as_secs()).unwrap();
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Somebody who has a new account of that name.
    pub(crate) async fn tenant(&self, name: &str) -> Principal {
        let accounts = &self.house.accounts;
        let made = accounts.create(&self.administrator, name, Role::User).await;
        made.unwrap();
        let limits = TokenLimits {
            account: Some(name.to_owned()),
            ..TokenLimits::default()
        };
        let minted = self.house.tokens.create(&self.administrator, limits);
        let minted = minted.await.unwrap();
        let tokens = &self.house.tokens;
        let principal = tokens.authenticate(&minted.text, Dialect::Chancery).await;
        principal.unwrap()
    }

    /// Adds a provider of `principal` for a zone, which has servers from then on.
    pub(crate) async fn provider(&self, principal: &Principal, zone: &str) {
        self.world.zone(zone);
        let added = self
            .house
            .dns_providers
            .add(principal, provider(zone))
            .await;
        added.unwrap();
    }

    /// A certificate of the administrator for these names, claimed.
    pub(crate) async fn claimed(&self, names: &[&str]) -> Claimed<'_> {
        self.claimed_for(self.administrator.account_id(), names, 0)
            .await
    }

    /// A certificate for these names whose names could not be proven so often before, claimed.
    pub(crate) async fn claimed_for(
        &self,
        account_id: AccountId,
        names: &[&str],
        failed: u8,
    ) -> Claimed<'_> {
        let now = self.now();
        let id = CertificateId::random();
        let new = NewCertificate {
            id,
            account_id,
            name: id.to_string(),
            common_name: names[0].to_owned(),
            identifiers: names.iter().map(|name| (*name).to_owned()).collect(),
            origin: Origin::Issued,
            state: State::Pending {
                attempt: failed,
                next_attempt_at: now,
            },
            issuer: Some("ca".to_owned()),
            created_at: now,
        };
        let surroundings = Surroundings::new(self.clock.clone(), SystemRandomness);
        let kind = events::CERTIFICATE_REQUESTED;
        let event = events::of(&surroundings, "test", Some(account_id), kind, None, "");
        let record = NewRecord {
            certificate: new,
            version: None,
            key: None,
            event,
        };
        self.store.add_certificate(record).await.unwrap();
        let until = now + LEASE;
        let claimed = self
            .store
            .claim_due(now, until, 100, store::Claimable::default())
            .await
            .unwrap();
        let certificate = claimed.into_iter().find(|found| found.id == id).unwrap();
        Claimed {
            fixture: self,
            certificate: Certificate {
                attempt: failed,
                ..certificate
            },
            until,
        }
    }
}

/// A certificate that is being worked on.
pub(crate) struct Claimed<'a> {
    fixture: &'a Fixture,
    pub(crate) certificate: Certificate,
    pub(crate) until: OffsetDateTime,
}

impl Claimed<'_> {
    fn assignment(&self) -> Assignment<'_> {
        Assignment {
            certificate: &self.certificate,
            until: self.until,
            login: &self.fixture.login,
            info: &self.fixture.info,
        }
    }

    pub(crate) async fn preflight(&self) -> Result<(), ChallengeError> {
        self.fixture.solvers.preflight(&self.assignment()).await
    }

    pub(crate) async fn prepare(
        &self,
        authorizations: &[Authorization],
    ) -> Result<Vec<Chosen>, ChallengeError> {
        let solvers = &self.fixture.solvers;
        solvers.prepare(&self.assignment(), authorizations).await
    }

    pub(crate) async fn are_visible(&self) -> Result<Visibility, ChallengeError> {
        let solvers = &self.fixture.solvers;
        solvers.are_visible(self.certificate.id).await
    }

    pub(crate) async fn answered(&self) {
        let solvers = &self.fixture.solvers;
        let answered = solvers.answered(self.certificate.id, self.until).await;
        answered.unwrap();
    }

    pub(crate) async fn finish(&self) {
        let solvers = &self.fixture.solvers;
        let finished = solvers.finish(self.certificate.id, self.until).await;
        finished.unwrap();
    }
}

/// A provider for a zone.
pub(crate) fn provider(zone: &str) -> NewDnsProvider {
    let fields = [
        ("server", "192.0.2.53"),
        ("name", "key"),
        ("secret", "c2VjcmV0"),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    NewDnsProvider {
        zone: zone.to_owned(),
        kind: "rfc2136".to_owned(),
        credentials: fields.into_iter().collect(),
        account: None,
    }
}

/// What a directory asks about a name: an authorization with one challenge of each of these kinds.
/// Tokens are made of name and kind.
pub(crate) fn authorization(name: &str, kinds: &[ChallengeKind]) -> Authorization {
    let (domain, is_wildcard) = match name.strip_prefix("*.") {
        Some(domain) => (domain, true),
        None => (name, false),
    };
    let challenge = |kind: &ChallengeKind| {
        let letters = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        Challenge {
            kind: kind.clone(),
            url: format!("https://ca.test/challenge/{letters}/{}", kind.as_str()),
            status: ChallengeStatus::Pending,
            token: Some(format!("{letters}_{}", kind.as_str()).parse().unwrap()),
            error: None,
            issuer_domain_names: vec!["ca.test".to_owned()],
        }
    };
    let is_address = domain.parse::<std::net::IpAddr>().is_ok();
    Authorization {
        url: format!("https://ca.test/authorization/{domain}"),
        identifier: Identifier {
            kind: if is_address { "ip" } else { "dns" }.to_owned(),
            value: domain.to_owned(),
        },
        is_wildcard,
        status: AuthorizationStatus::Pending,
        challenges: kinds.iter().map(challenge).collect(),
        expires_at: None,
    }
}

fn settings(acme: AcmeSettings) -> Settings {
    let template = AuthorityTemplate {
        tiers: Tiers::One,
        key_algorithm: KeyAlgorithm::P256,
        subject: SubjectFields {
            common_name: Some("Test".to_owned()),
            ..SubjectFields::default()
        },
        addresses: Addresses::ByKeyIdentifier,
    };
    Settings {
        public_url: "http://chancery.test".to_owned(),
        authorities: HashMap::from([(DEFAULT_AUTHORITY.to_owned(), template)]),
        key_window: Duration::from_secs(60 * 60),
        allow_email_identifiers: true,
        validation: crate::ValidationSettings::default(),
        metro_domain: DnsName::parse(DEFAULT_METRO_DOMAIN).unwrap(),
        default_issuer: DEFAULT_AUTHORITY.to_owned(),
        backends: EgressPolicy::BACKENDS,
        acme,
        installations: crate::InstallationSettings::default(),
    }
}
