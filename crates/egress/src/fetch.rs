//! HTTP requests.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::{EgressPolicy, LookupError};

/// A request and the limits on what becomes of it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// An absolute `http` or `https` URL.
    pub url: String,
    /// Fields to send. `Host` and `Content-Length` are added. With `Connection: close` the request
    /// has a connection of its own, to where the name leads now.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Which addresses may be connected to.
    pub policy: EgressPolicy,
    /// Which ports may be connected to.
    pub ports: Ports,
    /// Whom a TLS connection may go to.
    pub trust: Trust,
    /// Longest time from looking up the name to the last octet of the answer.
    pub deadline: Duration,
    /// Longest body that is read, in octets.
    pub body_limit: usize,
    /// How many redirects are followed, each within the policy.
    pub redirects: u8,
}

/// Which ports of a server may be connected to, those of redirects included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ports {
    /// All.
    #[default]
    Any,
    /// Those that web servers of everybody have: 80, 443, and 1024 and above.
    Web,
}

impl Ports {
    /// Whether this port may be connected to.
    #[must_use]
    pub const fn contain(self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Web => matches!(port, 80 | 443 | 1024..),
        }
    }
}

/// By whom a TLS server has to be vouched for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// An authority that this system trusts.
    #[default]
    System,
    /// One of these trust anchors, PEM.
    Anchors(Arc<str>),
    /// Nobody: whoever answers is asked. For answers that prove themselves what they have to.
    Anyone,
}

/// The trust anchors, or the system's where there are none.
impl From<Option<Arc<str>>> for Trust {
    fn from(anchors: Option<Arc<str>>) -> Self {
        anchors.map_or(Self::System, Self::Anchors)
    }
}

/// What a server answered, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL is not one that can be asked for.
    #[error("{url} is not a URL that can be requested")]
    Invalid {
        /// The URL.
        url: String,
    },
    /// The server is where nobody may be connected to on behalf of others.
    #[error("{host} may not be connected to: {reason}")]
    Forbidden {
        /// Host of the URL.
        host: String,
        /// What kind of address it has.
        reason: &'static str,
    },
    /// The server's name has no address.
    #[error(transparent)]
    Unresolved(#[from] LookupError),
    /// Nobody takes connections there.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// Host of the URL.
        host: String,
        /// What went wrong.
        reason: String,
    },
    /// The server cannot prove that it is who it should be, or does not speak TLS.
    #[error("no secure connection to {host}: {reason}")]
    Tls {
        /// Host of the URL.
        host: String,
        /// What went wrong.
        reason: String,
    },
    /// It took longer than the deadline.
    #[error("{host} takes too long to answer")]
    TimedOut {
        /// Host of the URL.
        host: String,
    },
    /// The answer is longer than the limit.
    #[error("{host} answers with more than {limit} bytes")]
    TooLarge {
        /// Host of the URL.
        host: String,
        /// The limit, in octets.
        limit: usize,
    },
    /// The answer breaks off, or is no HTTP.
    #[error("{host} does not answer in HTTP: {reason}")]
    Broken {
        /// Host of the URL.
        host: String,
        /// What went wrong.
        reason: String,
    },
}

/// Who makes HTTP requests.
#[async_trait]
pub trait Fetch: Debug + Send + Sync {
    /// Makes a request.
    ///
    /// # Errors
    /// [`FetchError`]; an answer of any status is none.
    async fn fetch(&self, request: Request) -> Result<Response, FetchError>;
}
