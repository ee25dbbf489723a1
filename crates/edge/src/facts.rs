//! What is known of a connection before the first byte of what it carries.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use lifecycle::Site;

/// By which door clients come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// Plain HTTP, for the published port 80.
    Http,
    /// TLS, for the published port 443.
    Https,
    /// TLS, for this published port.
    Port(u16),
}

impl Entrance {
    /// The published port that clients mean.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Port(port) => port,
        }
    }
}

/// What is known of a connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionFacts {
    /// Whose it is.
    pub(crate) peer: SocketAddr,
    /// By which door it came.
    pub(crate) entrance: Entrance,
    /// What the handshake settled; `None` on the plain port.
    pub(crate) tls: Option<TlsFacts>,
    /// Turns true when the connection should end.
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// What a handshake settled.
#[derive(Debug, Clone)]
pub(crate) struct TlsFacts {
    /// The site that the client named, or the default one.
    pub(crate) site: Arc<Site>,
    /// Whether HTTP/2 was chosen; otherwise it is HTTP/1.1.
    pub(crate) is_http2: bool,
    /// `1.3` or `1.2`.
    pub(crate) version: &'static str,
}
