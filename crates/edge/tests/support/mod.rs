//! A house with an edge, in the test's process, on a SQLite database of its own; and TLS clients.
#![allow(
    dead_code,
    reason = "each test crate that includes this module uses a part of it"
)]

mod client;
mod foreign;

use std::collections::HashMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use edge::{Edge, Entrance, Metrics};
use egress::{Fetcher, ResolverSettings, SystemResolver};
use lifecycle::{
    AcmeSettings, Addresses, AuthorityTemplate, Certificate, CertificateId, CertificateRef, Clock,
    DEFAULT_AUTHORITY, DEFAULT_METRO_DOMAIN, Dialect, DomainRequest, Edit, EgressPolicy, Handlers,
    House, IssueRequest, KeySource, ManagedRequest, Network, NewInstanceRequest, NewServiceRequest,
    PortRequest, Principal, Protocol, Replacement, RevocationTarget, ServiceChange, ServiceChoice,
    ServiceId, ServiceRef, Surroundings, SystemClock, SystemRandomness, Tiers, Upload,
};
use listener::Listener;
use pki::{DnsName, Identifier, KeyAlgorithm, RevocationReason, SubjectFields};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use rustls::AlertDescription;
use store::{ChallengeId, ChallengeState, DatabaseUrl, MasterKey, PendingChallenge, Store};
use testbed::Workdir;
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use client::{Client, Session};
pub(crate) use foreign::Foreign;

/// Longer than anything here takes, on any machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The published port of [`Server::raw`].
pub(crate) const RAW_PORT: u16 = 5432;

/// A house with an edge. All stop when it is dropped.
pub(crate) struct Server {
    pub(crate) house: House,
    pub(crate) edge: Edge,
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Where the published port [`RAW_PORT`] is served.
    pub(crate) raw: SocketAddr,
    pub(crate) principal: Principal,
    pub(crate) clock: SteppedClock,
    pub(crate) data: Workdir,
    store: Store,
    registry: Registry,
    shutdown: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
    runtime: Runtime,
}

impl Server {
    /// An edge with its defaults.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// An edge with changed settings.
    pub(crate) fn with(change: impl FnOnce(&mut edge::Settings)) -> Self {
        Self::over(Workdir::new(), change)
    }

    /// An edge over what another one has left behind.
    pub(crate) fn over(data: Workdir, change: impl FnOnce(&mut edge::Settings)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            // As much as the program gives its own.
            .thread_stack_size(8 * 1024 * 1024)
            .enable_all()
            .build()
            .unwrap();
        let clock = SteppedClock::default();
        let surroundings =
            Surroundings::new(clock.clone(), SystemRandomness).with_network(network());
        let (house, store, principal) = runtime.block_on(furnished(
            &data,
            surroundings.clone(),
            "http://chancery.test",
        ));
        let mut settings = edge::Settings::default();
        change(&mut settings);
        let metrics = Metrics::new();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let asked = (house.routing.clone(), house.answers.clone());
        let edge = Edge::new(asked, surroundings, settings, metrics).unwrap();
        runtime.block_on(edge.prepare()).unwrap();
        let (shutdown, _) = watch::channel(false);
        let entrances = [Entrance::Https, Entrance::Http, Entrance::Port(RAW_PORT)];
        let mut serving = Vec::new();
        let [https, http, raw] = entrances.map(|entrance| {
            let listener = runtime.block_on(Listener::bind(loopback())).unwrap();
            let address = listener.address();
            let served = edge.clone().serve(listener, entrance, shutdown.subscribe());
            serving.push(runtime.spawn(served));
            address
        });
        let (follower, changed) = (house.clone(), edge.clone());
        runtime.spawn(async move {
            let notify = |change| changed.changed(&change);
            follower.follow_changes(notify).await;
        });
        let keeper = edge.clone();
        runtime.spawn(async move { keeper.look_after().await });
        Self {
            house,
            edge,
            https,
            http,
            raw,
            principal,
            clock,
            data,
            store,
            registry,
            shutdown,
            serving,
            runtime,
        }
    }

    /// Runs a future to its end.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The time that house and edge believe it is.
    pub(crate) fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Runs a future beside the test.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }

    /// Issues a certificate for names under the default authority.
    pub(crate) fn issue(&self, algorithm: KeyAlgorithm, names: &[&str]) -> CertificateId {
        let request = order(algorithm, names);
        let issued = self.house.certificates.issue(&self.principal, request);
        self.run(issued).unwrap().id
    }

    /// Has the house meet a challenge for a name or an address, as if there were an order.
    pub(crate) fn challenge(&self, name: &str, kind: &str, token: &str, answer: &str) {
        let request = ManagedRequest {
            name: None,
            names: vec![Identifier::parse_host(name).unwrap()],
            issuer: None,
        };
        let certificates = &self.house.certificates;
        let requested = self.run(certificates.request_managed(&self.principal, request));
        let id = requested.unwrap().id;
        let now = self.now();
        let until = now + Duration::from_secs(60);
        let challenge = |certificate: &Certificate| PendingChallenge {
            id: ChallengeId::at(now),
            certificate_id: certificate.id,
            account_id: certificate.account_id,
            name: name.to_owned(),
            kind: kind.to_owned(),
            state: ChallengeState::Presented,
            token: token.to_owned(),
            key_authorization: answer.to_owned(),
            record: None,
            created_at: now,
            expires_at: until,
        };
        self.run(async {
            let claimed = self
                .store
                .claim_due(now, until, 100, store::Claimable::default())
                .await
                .unwrap();
            let certificate = claimed.iter().find(|found| found.id == id).unwrap();
            let challenges = vec![challenge(certificate)];
            let put = self.store.put_challenges(id, until, challenges).await;
            assert!(put.unwrap());
        });
    }

    /// Puts a certificate of elsewhere into the inventory; chain and key are PEM.
    pub(crate) fn upload(&self, chain: &str, key: &str) -> CertificateId {
        let upload = Upload::parse(None, None, chain, key).unwrap();
        let uploaded = self.house.certificates.upload(&self.principal, upload);
        self.run(uploaded).unwrap().id
    }

    /// Puts another chain and key in the place of a certificate's; both PEM.
    pub(crate) fn replace(&self, id: CertificateId, chain: &str, key: &str) {
        let replacement = Replacement::parse(None, chain, key).unwrap();
        let reference = CertificateRef::Id(id);
        let certificates = &self.house.certificates;
        let replaced = certificates.replace(&self.principal, &reference, replacement);
        self.run(replaced).unwrap();
    }

    /// Publishes a service without instances: HTTP over TLS on port 443 to this port of its
    /// instances, the stream itself on [`RAW_PORT`] to the same, and HTTP on port 80.
    pub(crate) fn serve(&self, domains: &[&str], destination: u16) -> ServiceId {
        let request = service(domains, destination);
        let created = self.house.services.create(&self.principal, request);
        let id = self.run(created).unwrap().service.id;
        self.hear_of(domains);
        id
    }

    /// Publishes the same service with an instance.
    pub(crate) fn serve_from(&self, domains: &[&str], instance: SocketAddr) {
        let request = NewInstanceRequest {
            image: "test".to_owned(),
            address: Some(instance.ip().to_string()),
            service: Some(ServiceChoice::New(service(domains, instance.port()))),
            ..NewInstanceRequest::default()
        };
        let created = self.house.instances.create(&self.principal, request);
        self.run(created).unwrap();
        self.hear_of(domains);
    }

    /// Waits until the edge has heard of these domains.
    fn hear_of(&self, domains: &[&str]) {
        let client = self.client().without_sessions();
        for domain in domains {
            let name = domain.replace('*', "probe");
            self.eventually("the edge to hear of the domain", || {
                let alert = client.alert(self.https, &name);
                (alert != Some(AlertDescription::UnrecognisedName)).then_some(())
            });
        }
    }

    /// A client that trusts the default authority.
    pub(crate) fn client(&self) -> Client {
        let root = self.root();
        Client::trusting(root.der())
    }

    /// The default authority's root.
    pub(crate) fn root(&self) -> pki::Certificate {
        let authority = self.house.authorities.named(DEFAULT_AUTHORITY);
        self.run(authority).unwrap().root_certificate().clone()
    }

    /// The default authority's root in a file.
    pub(crate) fn root_file(&self) -> String {
        self.data.write("root.pem", self.root().to_pem())
    }

    /// Takes a port away from a service.
    pub(crate) fn unpublish(&self, service: ServiceId, port: u16) {
        let change = ServiceChange::Ports(Edit::Delete(vec![i64::from(port)]));
        let reference = ServiceRef::Id(service);
        let services = &self.house.services;
        let changed = services.change(&self.principal, &reference, change);
        self.run(changed).unwrap();
    }

    /// Deletes a service.
    pub(crate) fn delete(&self, service: ServiceId) {
        let reference = ServiceRef::Id(service);
        let deleted = self.house.services.delete(&self.principal, &reference);
        self.run(deleted).unwrap();
    }

    /// Revokes a certificate.
    pub(crate) fn revoke(&self, id: CertificateId) {
        let target = RevocationTarget::Certificate(CertificateRef::Id(id));
        let certificates = &self.house.certificates;
        let revoked = certificates.revoke(&self.principal, &target, RevocationReason::Superseded);
        self.run(revoked).unwrap();
    }

    /// Another house, which answers OCSP questions.
    pub(crate) fn foreign(&self) -> Foreign<'_> {
        Foreign::beside(self)
    }

    /// Waits until the edge knows all names.
    pub(crate) fn wait_for_index(&self) {
        let nobody = self.client();
        self.eventually("all names to be known", || {
            let misses = self.misses();
            nobody.refusal(self.https, "nobody.example");
            (self.misses() == misses).then_some(())
        });
    }

    /// Calls `attempt` until it gives a value.
    #[track_caller]
    #[expect(clippy::unused_self, reason = "it reads better beside the others")]
    pub(crate) fn eventually<T>(&self, what: &str, attempt: impl FnMut() -> Option<T>) -> T {
        testbed::eventually(LONG, what, attempt)
    }

    /// The value of a counter, as it stands in the registry, or 0.
    pub(crate) fn counter(&self, series: &str) -> u64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// How many times the store was asked for anything that was not in memory.
    pub(crate) fn misses(&self) -> u64 {
        ["sites", "services", "identities"]
            .iter()
            .map(|cache| {
                let labels = format!("{{cache=\"{cache}\",outcome=\"miss\"}}");
                self.counter(&format!("edge_lookups_total{labels}"))
            })
            .sum()
    }

    /// Asks for a shutdown and waits for it; what was stored stays.
    pub(crate) fn stop(mut self) -> Workdir {
        self.ask_to_stop();
        for serving in self.serving.drain(..) {
            self.runtime.block_on(serving).unwrap();
        }
        self.data
    }

    /// Asks for a shutdown.
    pub(crate) fn ask_to_stop(&self) {
        self.shutdown.send_replace(true);
    }

    /// Waits until all listeners are shut down, or says that they were not in time.
    pub(crate) fn stops_within(&mut self, time: Duration) -> bool {
        let serving = std::mem::take(&mut self.serving);
        let stopped = async {
            for serving in serving {
                serving.await.unwrap();
            }
        };
        let stopped = async { tokio::time::timeout(time, stopped).await };
        self.runtime.block_on(stopped).is_ok()
    }
}

/// The system's clock, some time ahead.
#[derive(Clone, Default)]
pub(crate) struct SteppedClock(Arc<AtomicI64>);

impl SteppedClock {
    pub(crate) fn advance(&self, time: Duration) {
        let seconds = i64::try_from(time.as_secs()).unwrap();
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> OffsetDateTime {
        SystemClock.now() + time::Duration::seconds(self.0.load(Ordering::SeqCst))
    }
}

/// A free port of this machine.
pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn service(domains: &[&str], destination: u16) -> NewServiceRequest {
    let port = |port: u16, tls, http| PortRequest {
        port: i64::from(port),
        destination_port: Some(i64::from(destination)),
        handlers: Some(Handlers {
            tls,
            http,
            redirect: false,
        }),
        protocol: Protocol::Tcp,
    };
    let domains = domains.iter().map(|name| DomainRequest {
        name: format!("{name}."),
        certificate: None,
    });
    NewServiceRequest {
        ports: vec![
            port(443, true, true),
            port(RAW_PORT, true, false),
            port(80, false, true),
        ],
        domains: domains.collect(),
        soft_limit: Some(1000),
        is_persistent: true,
        ..NewServiceRequest::default()
    }
}

/// An order for a certificate of the default authority.
fn order(algorithm: KeyAlgorithm, names: &[&str]) -> IssueRequest {
    let names = names.iter().map(|name| DnsName::parse(name).unwrap());
    IssueRequest {
        authority: DEFAULT_AUTHORITY.to_owned(),
        subject: SubjectFields::default(),
        identifiers: names.map(Identifier::Dns).collect(),
        days: Some(30),
        key: KeySource::Generate(algorithm),
        name: None,
    }
}

/// A house on the database in `data`, and its administrator.
async fn furnished(
    data: &Workdir,
    surroundings: Surroundings,
    public_url: &str,
) -> (House, Store, Principal) {
    let database = DatabaseUrl::sqlite(data.path("chancery.db"));
    let master_key = MasterKey::from_bytes(&[7; 32]).unwrap();
    let store = Store::open(&database, &master_key).await.unwrap();
    let house = House::new(store.clone(), surroundings, settings(public_url));
    let keep = |text: &str| {
        data.write("token", text);
        Ok(())
    };
    house.furnish(keep).await.unwrap();
    let token = String::from_utf8(data.read("token")).unwrap();
    let principal = house.tokens.authenticate(&token, Dialect::Chancery).await;
    (house, store, principal.unwrap())
}

/// HTTP to hosts that are named by their address.
fn network() -> Network {
    let settings = ResolverSettings {
        server: Some("127.0.0.1".to_owned()),
        ..ResolverSettings::default()
    };
    let resolver = Arc::new(SystemResolver::new(&settings).unwrap());
    Network {
        fetch: Arc::new(Fetcher::new(resolver)),
        ..Network::offline()
    }
}

fn settings(public_url: &str) -> lifecycle::Settings {
    let template = AuthorityTemplate {
        tiers: Tiers::Two,
        key_algorithm: KeyAlgorithm::P256,
        subject: SubjectFields {
            common_name: Some("Chancery".to_owned()),
            ..SubjectFields::default()
        },
        addresses: Addresses::ByKeyIdentifier,
    };
    lifecycle::Settings {
        public_url: public_url.to_owned(),
        authorities: HashMap::from([(DEFAULT_AUTHORITY.to_owned(), template)]),
        key_window: Duration::from_secs(60 * 60),
        allow_email_identifiers: false,
        validation: lifecycle::ValidationSettings::default(),
        metro_domain: DnsName::parse(DEFAULT_METRO_DOMAIN).unwrap(),
        default_issuer: DEFAULT_AUTHORITY.to_owned(),
        backends: EgressPolicy::BACKENDS,
        acme: AcmeSettings::default(),
        installations: lifecycle::InstallationSettings::default(),
    }
}
