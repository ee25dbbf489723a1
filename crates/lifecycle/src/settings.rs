//! What the operator decides, as the house understands it. Reading files, flags and environment is
//! the binary's work.

use std::collections::HashMap;
use std::time::Duration;

use acme::client::ChallengeKind;
use pki::{DnsName, KeyAlgorithm, SubjectFields};

use crate::EgressPolicy;

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
    /// Whether an order must prove control over the names that it asks for.
    pub demand_validation: bool,
    /// The domain whose subdomains are free for all services. One wildcard certificate of the
    /// house's own serves all of them.
    pub metro_domain: DnsName,
    /// The authority that issues managed certificates, by name.
    pub default_issuer: String,
    /// Where the backends of services may be.
    pub backends: EgressPolicy,
    /// How control over names is proven to ACME directories.
    pub acme: AcmeSettings,
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
