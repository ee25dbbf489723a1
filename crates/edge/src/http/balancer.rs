//! Which instance of a service takes the next connection or request.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::routing::Route;
use crate::settings::Settings;

/// A service as the edge serves it.
#[derive(Debug)]
pub(crate) struct Service {
    /// As the house knows it.
    pub(crate) route: Route,
}

impl Service {
    /// A service that continues the counts of `previous`, which it replaces.
    pub(crate) fn new(route: Route, _previous: Option<&Self>) -> Self {
        Self { route }
    }
}

/// A connection to an instance, counted as one of its connections while it lives.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
}

/// Why no instance could be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectError {
    /// There is none, or all have as many connections as they may.
    #[error("no instance takes another connection")]
    Busy,
    /// All refused, or did not answer in time.
    #[error("no instance could be reached")]
    Unreachable,
}

/// Connects to an instance of `service` at its `port`.
pub(crate) async fn connect(
    _service: &Service,
    _port: u16,
    _settings: &Settings,
) -> Result<Connected, ConnectError> {
    Err(ConnectError::Busy)
}
