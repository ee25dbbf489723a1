//! DNS questions.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The name does not exist (NXDOMAIN), or it has no address where one was asked for.
    #[error("{name} does not exist in DNS")]
    NotFound {
        /// The name asked for.
        name: String,
    },
    /// The resolver gave up: broken delegation, or signatures that do not match (SERVFAIL).
    #[error("DNS cannot answer for {name}: {reason}")]
    Failed {
        /// The name asked for.
        name: String,
        /// What was said of it.
        reason: String,
    },
    /// No server answered in time.
    #[error("no DNS server answered for {name}: {reason}")]
    Unreachable {
        /// The name asked for.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// That is no name which can be asked for.
    #[error("{name} is not a name that DNS can be asked for")]
    Invalid {
        /// The name asked for.
        name: String,
    },
}

/// A CAA record (RFC 8659 section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caa {
    /// Whether an authority that does not know the tag has to refuse.
    pub is_critical: bool,
    /// `issue`, `issuewild`, `iodef` or another, in lower case.
    pub tag: String,
    /// The value, as it is in the record.
    pub value: String,
}

/// A server that has the records of a zone at first hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nameserver {
    /// Its name, without final dot.
    pub name: String,
    /// Where it answers: at port 53, or, when it has the very address of the configured resolver, at
    /// the resolver's port. A server for one's own network is often both.
    pub address: SocketAddr,
}

/// The zone that a name is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The name at its top, without final dot.
    pub apex: String,
    /// The servers that have it.
    pub nameservers: Vec<Nameserver>,
}

/// Who answers DNS questions. Names are in ASCII, with or without a final dot.
#[async_trait]
pub trait Resolver: Debug + Send + Sync {
    /// The addresses of a name, aliases followed.
    ///
    /// # Errors
    /// [`LookupError`], never an empty answer.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError>;

    /// The TXT records of a name, aliases followed, the strings of each joined. Empty when the name
    /// exists without such records.
    ///
    /// # Errors
    /// [`LookupError`].
    async fn text(&self, name: &str) -> Result<Vec<String>, LookupError>;

    /// The CNAME at this very name, one step, without final dot.
    ///
    /// # Errors
    /// [`LookupError`], but `None` for a name that does not exist.
    async fn alias(&self, name: &str) -> Result<Option<String>, LookupError>;

    /// The CAA records at this name, aliases followed (RFC 8659 section 3). Climbing to the parents
    /// is the caller's. Empty when there are none, or the name does not exist.
    ///
    /// # Errors
    /// [`LookupError`] otherwise.
    async fn caa(&self, name: &str) -> Result<Vec<Caa>, LookupError>;

    /// The zone that a name is in, which need not exist itself.
    ///
    /// # Errors
    /// [`LookupError`].
    async fn zone(&self, name: &str) -> Result<Zone, LookupError>;

    /// The TXT records of a name as that very server has them, whatever caches say. Empty when it
    /// has none.
    ///
    /// # Errors
    /// [`LookupError`].
    async fn text_at(
        &self,
        nameserver: &Nameserver,
        name: &str,
    ) -> Result<Vec<String>, LookupError>;
}
