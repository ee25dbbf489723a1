//! The whole API over real HTTP, in the test's process, on a SQLite database of its own.
#![allow(
    dead_code,
    reason = "each test crate that includes this module uses a part of it"
)]

pub(crate) mod names;
pub(crate) mod responder;

use std::collections::HashMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use api::{Api, CertMakerSettings, D9tSettings, Limits, Listener, Metrics, Security};
use lifecycle::{
    AccountChange, Addresses, AuthorityTemplate, Clock, Dialect, House, Network, Principal, Role,
    Surroundings, SystemClock, SystemRandomness, Tiers, TokenLimits,
};
use pki::{DnsName, KeyAlgorithm, SubjectFields};
use store::{DatabaseUrl, MasterKey, Store};
use testbed::Workdir;
use testbed::http::{self, Response};
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a test may change before the server starts.
pub(crate) struct Options {
    /// The rules' settings.
    pub(crate) house: lifecycle::Settings,
    /// The wires' settings.
    pub(crate) api: api::Settings,
    /// What clients may take.
    pub(crate) limits: Limits,
    /// What can be reached.
    pub(crate) network: Network,
}

/// A running API; stops when dropped.
pub(crate) struct Server {
    /// Base of its URLs, `http://127.0.0.1:PORT`, which is its public URL too.
    pub(crate) url: String,
    /// The administrator's token.
    pub(crate) token: String,
    /// The house behind it.
    pub(crate) house: House,
    /// The store below it.
    pub(crate) store: Store,
    settings: lifecycle::Settings,
    api: Api,
    clock: SteppedClock,
    runtime: Runtime,
    shutdown: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// What another node is made of, beside the settings.
    again: (api::Settings, Surroundings),
    data: Workdir,
}

impl Server {
    /// A server with the settings of a first start.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// A server with changed settings.
    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            // As much as the program gives its own.
            .thread_stack_size(8 * 1024 * 1024)
            .enable_all()
            .build()
            .unwrap();
        let data = Workdir::new();
        let clock = SteppedClock::default();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = runtime.block_on(Listener::bind(loopback)).unwrap();
        let url = format!("http://{}", listener.address());
        let mut options = default_options(&url);
        change(&mut options);

        let database = DatabaseUrl::sqlite(data.path("chancery.db"));
        let master_key = MasterKey::from_bytes(&[7; 32]).unwrap();
        let store = runtime
            .block_on(Store::open(&database, &master_key))
            .unwrap();
        let surroundings = Surroundings::new(clock.clone(), SystemRandomness);
        let surroundings = surroundings.with_network(options.network.clone());
        let settings = options.house.clone();
        let again = (options.api.clone(), surroundings.clone());
        let house = House::new(store.clone(), surroundings, options.house);
        let mut token = String::new();
        let keep = |text: &str| {
            text.clone_into(&mut token);
            Ok(())
        };
        runtime.block_on(house.furnish(keep)).unwrap();

        let api = Api::with_limits(house.clone(), options.api, Metrics::new(), options.limits);
        let (shutdown, watching) = watch::channel(false);
        let serving = api::serve(listener, Security::Plain, api.clone(), watching);
        let serving = runtime.spawn(serving);
        Self {
            url,
            token,
            house,
            store,
            settings,
            api,
            clock,
            runtime,
            shutdown,
            serving,
            again,
            data,
        }
    }

    /// Starts another node over the same database, which is served at another address; that is the
    /// answer, with its house.
    pub(crate) fn another_node(&self) -> (String, House) {
        let (api, surroundings) = self.again.clone();
        let database = DatabaseUrl::sqlite(self.data.path("chancery.db"));
        let master_key = MasterKey::from_bytes(&[7; 32]).unwrap();
        let store = self.run(Store::open(&database, &master_key)).unwrap();
        let house = House::new(store, surroundings, self.settings.clone());
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = self.run(Listener::bind(loopback)).unwrap();
        let url = format!("http://{}", listener.address());
        let api = Api::new(house.clone(), api, Metrics::new());
        let watching = self.shutdown.subscribe();
        let serving = api::serve(listener, Security::Plain, api, watching);
        self.runtime.spawn(serving);
        (url, house)
    }

    /// Lets the house look after itself from now on.
    pub(crate) fn keep_house(&self) {
        let house = self.house.clone();
        self.runtime.spawn(async move { house.keep_house().await });
    }

    /// Sends a request with exactly these headers.
    #[track_caller]
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Response {
        http::send(&self.url, method, path, headers, body.as_ref())
    }

    /// The address of [`Self::url`].
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Serves the same API at another address, with TLS.
    pub(crate) fn listen_with_tls(&self, configuration: Arc<rustls::ServerConfig>) -> SocketAddr {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = self.run(Listener::bind(loopback)).unwrap();
        let address = listener.address();
        let security = Security::Tls(configuration);
        let watching = self.shutdown.subscribe();
        self.runtime
            .spawn(api::serve(listener, security, self.api.clone(), watching));
        address
    }

    /// Asks for a shutdown.
    pub(crate) fn ask_to_stop(&self) {
        self.shutdown.send_replace(true);
    }

    /// Waits until the first listener is shut down, or says that it was not in time.
    pub(crate) fn stops_within(&mut self, time: Duration) -> bool {
        let serving = &mut self.serving;
        let stopped = async { tokio::time::timeout(time, serving).await };
        self.runtime.block_on(stopped).is_ok()
    }

    /// Runs a future to its end.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Another house over the same store, as another node has one.
    pub(crate) fn another_house(&self) -> House {
        let surroundings = Surroundings::new(self.clock.clone(), SystemRandomness);
        House::new(self.store.clone(), surroundings, self.settings.clone())
    }

    /// The administrator.
    pub(crate) fn administrator(&self) -> Principal {
        let tokens = &self.house.tokens;
        self.run(tokens.authenticate(&self.token, Dialect::Chancery))
            .unwrap()
    }

    /// Makes an account and returns a token of it.
    pub(crate) fn account(&self, name: &str) -> String {
        let administrator = self.administrator();
        let accounts = &self.house.accounts;
        self.run(accounts.create(&administrator, name, Role::User))
            .unwrap();
        self.token_with(TokenLimits {
            account: Some(name.to_owned()),
            ..TokenLimits::default()
        })
    }

    /// Makes a token with these limits.
    pub(crate) fn token_with(&self, limits: TokenLimits) -> String {
        let administrator = self.administrator();
        let minted = self.run(self.house.tokens.create(&administrator, limits));
        minted.unwrap().text.to_string()
    }

    /// Changes an account's standing, and lets the time pass after which that holds everywhere.
    pub(crate) fn change_account(&self, name: &str, change: AccountChange) {
        let administrator = self.administrator();
        let accounts = &self.house.accounts;
        self.run(accounts.change(&administrator, name, change))
            .unwrap();
        self.advance(Duration::from_secs(2));
    }

    /// What the house takes for the present moment.
    pub(crate) fn house_time(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Lets time pass, for the house alone.
    pub(crate) fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }
}

fn default_options(url: &str) -> Options {
    let template = |tiers, common_name: &str, addresses| AuthorityTemplate {
        tiers,
        key_algorithm: KeyAlgorithm::P256,
        subject: SubjectFields {
            common_name: Some(common_name.to_owned()),
            ..SubjectFields::default()
        },
        addresses,
    };
    let certmaker_addresses = Addresses::At {
        ocsp: "/api/v1/ocsp",
        ca_issuers: "/api/v1/ca.cer",
        crl: "/api/v1/crl",
    };
    Options {
        house: lifecycle::Settings {
            public_url: url.to_owned(),
            authorities: HashMap::from([
                (
                    "default".to_owned(),
                    template(Tiers::Two, "Chancery Root", Addresses::ByKeyIdentifier),
                ),
                (
                    "certmaker".to_owned(),
                    template(Tiers::One, "CertMaker CA", certmaker_addresses),
                ),
            ]),
            key_window: Duration::from_secs(60 * 60),
            allow_email_identifiers: true,
            validation: lifecycle::ValidationSettings {
                orders_per_minute: None,
                solves_per_minute: None,
                ..lifecycle::ValidationSettings::default()
            },
            metro_domain: DnsName::parse(lifecycle::DEFAULT_METRO_DOMAIN).unwrap(),
            default_issuer: lifecycle::DEFAULT_AUTHORITY.to_owned(),
            backends: lifecycle::EgressPolicy::BACKENDS,
            acme: lifecycle::AcmeSettings::default(),
            installations: lifecycle::InstallationSettings::default(),
        },
        api: api::Settings {
            public_url: url.to_owned(),
            edge_https: None,
            certmaker: CertMakerSettings {
                authority: "certmaker".to_owned(),
                key_algorithm: KeyAlgorithm::P256,
                g1_success_status: api::G1SuccessStatus::Auto,
                unknown_account_status: api::UnknownAccountStatus::NotFound,
                allow_get_revoke: false,
            },
            cloud66: api::Cloud66Settings::default(),
            d9t: D9tSettings {
                key_algorithm: KeyAlgorithm::Rsa2048,
                challenge_401: false,
                base_url: Some(url.to_owned()),
            },
        },
        limits: Limits::default(),
        network: Network::offline(),
    }
}

/// The system's clock, some time ahead.
#[derive(Clone, Default)]
struct SteppedClock(Arc<AtomicI64>);

impl SteppedClock {
    fn advance(&self, time: Duration) {
        let seconds = i64::try_from(time.as_secs()).unwrap();
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> OffsetDateTime {
        SystemClock.now() + time::Duration::seconds(self.0.load(Ordering::SeqCst))
    }
}
