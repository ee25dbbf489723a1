//! What the operator decides, as the house understands it. Reading files, flags and environment is
//! the binary's work.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use acme::client::ChallengeKind;
use pki::{DnsName, KeyAlgorithm, SubjectFields};

use crate::EgressPolicy;
use crate::validation::SwitchValues;

/// Name of the authority made at first start.
pub const DEFAULT_AUTHORITY: &str = "default";

/// The domain whose subdomains are free for all services, when the operator names no other.
pub const DEFAULT_METRO_DOMAIN: &str = "metro.internal";

/// The operator's decisions.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Base of every absolute URL that the house writes into certificates, without a final slash.
    pub public_url: String,
    /// Authorities that are made on first use, by name.
    pub authorities: HashMap<String, AuthorityTemplate>,
    /// How long a key that the house generated for an order can be fetched by its owner.
    pub key_window: Duration,
    /// Whether e-mail addresses may be put into certificates.
    pub allow_email_identifiers: bool,
    /// How control over the names of an order is proven to the house.
    pub validation: ValidationSettings,
    /// The domain whose subdomains are free for all services. One wildcard certificate of the
    /// house's own serves all of them.
    pub metro_domain: DnsName,
    /// The authority that issues managed certificates, by name.
    pub default_issuer: String,
    /// Where the backends of services may be.
    pub backends: EgressPolicy,
    /// How control over names is proven to ACME directories.
    pub acme: AcmeSettings,
    /// How certificates are installed on services.
    pub installations: InstallationSettings,
}

/// How certificates are installed on services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallationSettings {
    /// What obtains their certificates, by name; the account's default issuer if `None`.
    pub issuer: Option<String>,
    /// How long whoever installs one waits for an authority of the house.
    pub patience: Duration,
}

impl Default for InstallationSettings {
    /// 5 s for the default issuer.
    fn default() -> Self {
        Self {
            issuer: None,
            patience: Duration::from_secs(5),
        }
    }
}

/// How control over the names of an order is proven to the house.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationSettings {
    /// How the switches stand until an administrator sets them.
    pub switches: SwitchValues,
    /// Whether control over IP addresses has to be proven, too.
    pub validate_ips: bool,
    /// Whether proofs may be looked for on this machine.
    pub allow_local_targets: bool,
    /// Orders of an account in a minute, on each node, and as many revocations; any number if none.
    pub orders_per_minute: Option<NonZeroU32>,
    /// How often an account may have proofs looked for in a minute, on each node; as often as it
    /// likes if none.
    pub solves_per_minute: Option<NonZeroU32>,
    /// How long proofs are looked for.
    pub patience: Patience,
}

impl Default for ValidationSettings {
    /// Nothing has to be proven; 60 orders and 20 looks for proofs a minute.
    fn default() -> Self {
        Self {
            switches: SwitchValues::default(),
            validate_ips: true,
            allow_local_targets: false,
            orders_per_minute: NonZeroU32::new(60),
            solves_per_minute: NonZeroU32::new(20),
            patience: Patience::default(),
        }
    }
}

/// How long proofs are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How often each is looked for.
    pub attempts: u32,
    /// Longest time for each of these.
    pub attempt: Duration,
    /// The time between two of them.
    pub pause: Duration,
    /// Longest time for all names of an order together, waiting for a turn included.
    pub total: Duration,
}

impl Default for Patience {
    /// Three times 10 s, at most 45 s for all: clients wait for a minute.
    fn default() -> Self {
        Self {
            attempts: 3,
            attempt: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            total: Duration::from_secs(45),
        }
    }
}

/// How control over names is proven to ACME directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeSettings {
    /// The port at which the world reaches the edge's http listener.
    pub http_port: u16,
    /// The port at which the world reaches the edge's https listener.
    pub tls_port: u16,
    /// The kinds of challenges that may be met, the most liked first.
    pub challenges: Vec<ChallengeKind>,
    /// Whether the house looks, before an order, if a name leads to its own edge.
    pub probe: Probe,
}

impl Default for AcmeSettings {
    fn default() -> Self {
        Self {
            http_port: 80,
            tls_port: 443,
            challenges: vec![
                ChallengeKind::Dns01,
                ChallengeKind::DnsAccount01,
                ChallengeKind::Http01,
                ChallengeKind::TlsAlpn01,
                ChallengeKind::DnsPersist01,
            ],
            probe: Probe::Public,
        }
    }
}

/// Whether, and where, the house looks for its own edge under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// At public addresses only. A name that leads elsewhere is not looked at.
    Public,
    /// At private addresses and on this machine, too: for a directory in the same network.
    Any,
    /// Nowhere.
    Off,
}

/// How many certificates stand between the trust anchor and a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiers {
    /// One self-signed certificate that issues leaves itself.
    One,
    /// A root that signs nothing but the issuing CA.
    Two,
}

/// How an authority is made on first use.
#[derive(Debug, Clone)]
pub struct AuthorityTemplate {
    /// One tier or two.
    pub tiers: Tiers,
    /// Algorithm of all keys of the authority.
    pub key_algorithm: KeyAlgorithm,
    /// Subject of a single tier. Of two, the CNs get `Root CA` or `Issuing CA` and a part of the
    /// key identifier appended, so that two installations in one trust store differ.
    pub subject: SubjectFields,
    /// Where certificates of this authority say that its services are.
    pub addresses: Addresses,
}

/// The URLs that an authority writes into the certificates that it issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addresses {
    /// `<public_url>/ocsp`, `<public_url>/ca/<key id>.cer` and `<public_url>/ca/<key id>.crl`.
    ByKeyIdentifier,
    /// These paths under `public_url`, for a dialect that promises them to its clients.
    At {
        /// The OCSP responder.
        ocsp: &'static str,
        /// The CA certificate, DER.
        ca_issuers: &'static str,
        /// The revocation list, DER.
        crl: &'static str,
    },
}
