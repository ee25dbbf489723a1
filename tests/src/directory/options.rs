//! How a directory is set up.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use super::limits::Limits;

/// How to start a directory. What is not said is as [`Options::default`] has it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether it speaks TLS, with a certificate under [`Directory::root_pem`](super::Directory::root_pem).
    pub tls: bool,
    /// From what chance is drawn.
    pub seed: u64,
    /// What it takes for the time.
    pub clock: Clock,
    /// Profiles, and how long their certificates are valid.
    pub profiles: BTreeMap<String, Duration>,
    /// How long certificates without a profile are valid.
    pub lifetime: Duration,
    /// The kinds of challenges on offer, where the identifier allows them.
    pub challenges: Vec<String>,
    /// How challenges are met.
    pub validation: Validation,
    /// Whether identifiers once proven stay proven for the account.
    pub reuses_authorizations: bool,
    /// Whether each account has to be bound to one of `external_accounts`.
    pub requires_external_account: bool,
    /// Accounts elsewhere: key identifiers and keys.
    pub external_accounts: BTreeMap<String, Vec<u8>>,
    /// Limits as Let's Encrypt has them.
    pub limits: Option<Limits>,
    /// Whether what is beyond a limit is refused, not only counted.
    pub enforces_limits: bool,
    /// Whether it tells when to renew (RFC 9773), and how often one may ask.
    pub renewal_info: Option<Duration>,
    /// What `Retry-After` an order says that is processing, seconds.
    pub retry_after: Option<u32>,
    /// How often an order is looked at before its certificate is there.
    pub processing_polls: u32,
}

/// How challenges are met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validation {
    /// By answering, whatever is there.
    Always,
    /// By what is found.
    Real {
        /// Where DNS is asked; without one, every name is 127.0.0.1, and there are no TXT records.
        resolver: Option<SocketAddr>,
        /// Where http-01 is asked.
        http_port: u16,
        /// Where tls-alpn-01 is asked.
        tls_port: u16,
    },
}

/// What a directory takes for the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    /// The time that `now` tells.
    pub fn new(now: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clock({})", self.now())
    }
}

/// The system's time.
impl Default for Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "a peer of the tested program has a clock of its own"
    )]
    fn default() -> Self {
        Self::new(|| SystemTime::now().into())
    }
}

impl Default for Options {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        let profile = |name: &str, lifetime| (name.to_owned(), Duration::from_secs(lifetime));
        Self {
            tls: false,
            seed: 1,
            clock: Clock::default(),
            profiles: BTreeMap::from([
                profile("classic", 90 * DAY),
                profile("tlsserver", 45 * DAY),
                profile("shortlived", 160 * 60 * 60),
            ]),
            lifetime: Duration::from_secs(90 * DAY),
            challenges: [
                "http-01",
                "tls-alpn-01",
                "dns-01",
                "dns-account-01",
                "dns-persist-01",
            ]
            .map(str::to_owned)
            .to_vec(),
            validation: Validation::Always,
            reuses_authorizations: false,
            requires_external_account: false,
            external_accounts: BTreeMap::new(),
            limits: None,
            enforces_limits: true,
            renewal_info: Some(Duration::from_secs(6 * 60 * 60)),
            retry_after: None,
            processing_polls: 0,
        }
    }
}
