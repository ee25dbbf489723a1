//! What the operator decides about the edge.

use std::time::Duration;

use lifecycle::EgressPolicy;

/// Settings of the edge. Times that concern connections in general are in `limits`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The domain, in lower case, that is served to clients that name none; without it they are
    /// refused.
    pub default_domain: Option<String>,
    /// The port of https that redirects name; 443 is left out.
    pub https_port: u16,
    /// Connections of one listener.
    pub limits: listener::Limits,
    /// Longest time for the head of a request; also how long an idle HTTP/1.1 connection is kept.
    pub head: Duration,
    /// Longest time that an instance may take to accept a connection.
    pub connect: Duration,
    /// Longest time that an instance may take to begin an answer.
    pub answer: Duration,
    /// Where the OCSP responders of foreign certificates may be.
    pub responders: EgressPolicy,
    /// Domains that are kept in memory with their certificate's name.
    pub sites: usize,
    /// Services that are kept in memory.
    pub services: usize,
    /// Certificates that are kept in memory with their parsed keys.
    pub identities: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_domain: None,
            https_port: 443,
            limits: listener::Limits {
                connections: 16_384,
                ..listener::Limits::default()
            },
            head: Duration::from_secs(30),
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(60),
            responders: EgressPolicy::PUBLIC,
            sites: 100_000,
            services: 100_000,
            identities: 50_000,
        }
    }
}
