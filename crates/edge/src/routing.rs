//! What the edge asks the house, in the house's terms.

pub use lifecycle::{
    CertificateId, EgressPolicy, Handlers, InstanceId, Protocol, PublishedPort, ServiceId,
};
use time::OffsetDateTime;

/// Stands in.
#[derive(Debug, Clone)]
pub struct Site {
    /// The domain that answers for the name.
    pub domain: String,
    /// Whose it is.
    pub service: ServiceId,
    /// Served with.
    pub certificate: Option<CertificateId>,
    /// Of another kind of key.
    pub alternate: Option<CertificateId>,
}

/// Stands in.
#[derive(Debug, Clone)]
pub struct Route {
    /// Which.
    pub service: ServiceId,
    /// Ports.
    pub ports: Vec<PublishedPort>,
    /// Connections per instance that are preferred.
    pub soft_limit: u32,
    /// Connections per instance that are the most.
    pub hard_limit: u32,
    /// Instances.
    pub backends: Vec<Backend>,
    /// Where to.
    pub policy: EgressPolicy,
}

/// Stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Which.
    pub instance: InstanceId,
    /// IP address or host name, without a port.
    pub address: String,
}

/// Stands in.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's.
    pub key: pki::PrivateKey,
    /// Its end.
    pub not_after: OffsetDateTime,
    /// OCSP.
    pub staple: Option<Staple>,
}

/// Stands in.
#[derive(Debug, Clone)]
pub struct Staple {
    /// DER.
    pub response: Vec<u8>,
    /// When.
    pub produced_at: OffsetDateTime,
    /// Its end.
    pub next_update: OffsetDateTime,
}

/// Stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A domain is there.
    DomainAdded(String),
    /// A domain is gone.
    DomainRemoved(String),
    /// A domain has another certificate.
    DomainSwitched(String),
    /// A service is another.
    Service(ServiceId),
    /// A certificate has another version.
    Certificate(CertificateId),
}

/// Stands in.
#[derive(Debug, Clone)]
pub struct Routing;

#[expect(clippy::unused_async, reason = "stands in")]
impl Routing {
    /// Stands in.
    pub async fn names(&self, _: Option<&str>, _: usize) -> Result<Vec<String>, lifecycle::Error> {
        Ok(Vec::new())
    }
    /// Stands in.
    pub async fn site(&self, _: &pki::DnsName) -> Result<Option<Site>, lifecycle::Error> {
        Ok(None)
    }
    /// Stands in.
    pub async fn service(&self, _: ServiceId) -> Result<Option<Route>, lifecycle::Error> {
        Ok(None)
    }
    /// Stands in.
    pub async fn credentials(
        &self,
        _: CertificateId,
    ) -> Result<Option<Credentials>, lifecycle::Error> {
        Ok(None)
    }
    /// Stands in.
    pub async fn heal(&self, _: &str) -> Result<(), lifecycle::Error> {
        Ok(())
    }
    /// Stands in.
    pub async fn ticket_keys(&self) -> Result<Vec<TicketSecret>, lifecycle::Error> {
        Ok(Vec::new())
    }
}

/// Stands in.
#[derive(Debug, Clone)]
pub struct TicketSecret {
    /// Which.
    pub generation: u64,
    /// Secret.
    pub secret: zeroize::Zeroizing<[u8; 64]>,
    /// When.
    pub created_at: OffsetDateTime,
}
