//! The access log: one event for each request, when its answer has gone out or broke off.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};
use lifecycle::{InstanceId, ServiceId};
use tokio::time::Instant;

use super::body::BodyError;

/// Names a request in the log and on the page that its client sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId(u64);

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Gives requests their names, which tell nobody how many there were.
#[derive(Debug, Default)]
pub(crate) struct RequestIds {
    keys: RandomState,
    count: AtomicU64,
}

impl RequestIds {
    pub(super) fn next(&self) -> RequestId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        RequestId(self.keys.hash_one(count))
    }
}

/// What the log says of a request. It is written when this is dropped.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: RequestId,
    pub(super) peer: IpAddr,
    pub(super) tls: &'static str,
    pub(super) method: Method,
    pub(super) began: Instant,
    pub(super) host: Option<HeaderValue>,
    pub(super) path: Option<PathAndQuery>,
    pub(super) status: StatusCode,
    pub(super) service: Option<ServiceId>,
    pub(super) instance: Option<InstanceId>,
    bytes: u64,
    failure: Option<&'static str>,
}

impl Record {
    /// What is known when a request comes; `None` while nobody reads the log.
    pub(super) fn begin(
        id: RequestId,
        peer: IpAddr,
        tls: &'static str,
        method: &Method,
        began: Instant,
    ) -> Option<Box<Self>> {
        if !tracing::enabled!(target: "edge::access", tracing::Level::INFO) {
            return None;
        }
        Some(Box::new(Self {
            id,
            peer: peer.to_canonical(),
            tls,
            method: method.clone(),
            began,
            host: None,
            path: None,
            // Stays if the client leaves before there is an answer, as with other servers.
            status: StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            service: None,
            instance: None,
            bytes: 0,
            failure: None,
        }))
    }

    /// So many octets of the answer's body went out.
    pub(super) fn sent(&mut self, octets: usize) {
        self.bytes += octets as u64;
    }

    /// The answer broke off.
    pub(super) fn failed(&mut self, error: &BodyError) {
        self.failure = Some(match error {
            BodyError::Transport(_) => "the instance broke off",
            BodyError::Stalled => "the instance sent nothing more",
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let host = self.host.as_ref().and_then(|host| host.to_str().ok());
        let duration = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::info!(
            target: "edge::access",
            request = %self.id,
            peer = %self.peer,
            host,
            method = self.method.as_str(),
            path = self.path.as_ref().map(PathAndQuery::path),
            status = self.status.as_u16(),
            bytes = self.bytes,
            duration_us = duration,
            service = self.service.map(tracing::field::display),
            instance = self.instance.map(tracing::field::display),
            tls = self.tls,
            failure = self.failure,
            "request"
        );
    }
}
