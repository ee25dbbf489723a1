//! HTTP: requests of clients to instances, and their answers back.
//!
//! hyper reads and writes HTTP on both sides; everything that is decided about a request is here.
//! Clients and instances are both foreign: what either sends is bounded, and has a deadline.

mod access;
mod authority;
pub(crate) mod balancer;
mod body;
mod challenge;
pub(crate) mod connect;
mod destination;
mod forward;
mod framing;
mod headers;
mod introduction;
mod pages;
mod pool;
mod redirect;
#[cfg(test)]
mod tests;
mod upgrade;

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lifecycle::{ServiceId, Site};
use listener::Activity;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};

use self::access::{Record, RequestId, RequestIds};
use self::balancer::Service;
use self::connect::Connector;
use self::framing::Guarded;
use self::introduction::Introduction;
use self::upgrade::Tunnel;
use crate::facts::ConnectionFacts;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::shared::Shared;

/// Longest head of a request, in octets; also how much of a body is held at a time.
const HEAD: usize = 64 * 1024;
/// The same for HTTP/2, where each field counts 32 octets more.
const HEADER_LIST: u32 = 64 * 1024;
/// Requests in flight on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// Streams that a client reset before they were looked at; a connection with more of them is closed
/// (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// Streams that are reset because of what the client did on them, before its connection is closed.
const MAX_LOCAL_RESETS: usize = 256;
/// What a client may send ahead on one stream and on a connection, in octets.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// What waits to be sent on one stream, in octets.
const SEND_BUFFER: usize = 64 * 1024;

/// What the proxy needs to know.
pub(crate) trait Directory: Send + Sync + 'static {
    /// The site of a name in lower case.
    fn site(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<Arc<Site>>, lifecycle::Error>> + Send;

    /// A service with its instances.
    fn service(
        &self,
        id: ServiceId,
    ) -> impl Future<Output = Result<Option<Arc<Service>>, lifecycle::Error>> + Send;

    /// The answer to a challenge of an ACME directory that looks under this host; `None` if there is
    /// no such challenge.
    fn challenge(
        &self,
        host: &str,
        token: &str,
    ) -> impl Future<Output = Result<Option<String>, lifecycle::Error>> + Send;

    /// What the operator decided.
    fn settings(&self) -> &Settings;

    /// Counters.
    fn metrics(&self) -> &Metrics;

    /// What all requests share.
    fn proxy(&self) -> &Proxy;
}

/// What all requests of an edge share.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) connector: Connector,
    requests: RequestIds,
}

impl Proxy {
    /// A proxy that has done nothing yet.
    pub(crate) fn new(settings: &Settings, metrics: &Metrics) -> Self {
        Self {
            connector: Connector::new(settings.connect, metrics.clone()),
            requests: RequestIds::default(),
        }
    }
}

impl Directory for Shared {
    async fn site(&self, name: &str) -> Result<Option<Arc<Site>>, lifecycle::Error> {
        Self::site(self, name).await
    }

    async fn service(&self, id: ServiceId) -> Result<Option<Arc<Service>>, lifecycle::Error> {
        Self::service(self, id).await
    }

    async fn challenge(&self, host: &str, token: &str) -> Result<Option<String>, lifecycle::Error> {
        self.answers.http(host, token).await
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}

/// A connection of a client.
struct Session<D> {
    directory: Arc<D>,
    facts: ConnectionFacts,
    introduction: Introduction,
    activity: Arc<Activity>,
    /// Whether there was a request.
    has_begun: AtomicBool,
    tunnel: Mutex<Option<Tunnel>>,
}

impl<D: Directory> Session<D> {
    fn record(&self, id: RequestId, method: &Method, began: Instant) -> Option<Box<Record>> {
        let tls = self.facts.tls.as_ref().map_or("none", |tls| tls.version);
        Record::begin(id, self.facts.peer.ip(), tls, method, began)
    }

    /// Carries on with this when HTTP has ended on the connection.
    fn tunnel(&self, tunnel: Tunnel) {
        let mut slot = self.tunnel.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(tunnel);
    }

    fn take_tunnel(&self) -> Option<Tunnel> {
        let mut slot = self.tunnel.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }
}

/// Serves a connection until its end.
pub(crate) async fn serve<S, D>(stream: S, facts: ConnectionFacts, directory: Arc<D>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    D: Directory,
{
    let is_http2 = facts.tls.as_ref().is_some_and(|tls| tls.is_http2);
    let session = Arc::new(Session {
        introduction: Introduction::new(facts.peer, facts.tls.is_some()),
        activity: Activity::new(),
        has_begun: AtomicBool::new(false),
        tunnel: Mutex::new(None),
        directory,
        facts,
    });
    let ended = if is_http2 {
        serve_http2(stream, &session).await
    } else {
        serve_http1(stream, &session).await
    };
    if let Err(error) = ended {
        if error.is_parse() {
            // hyper has answered it.
            let status = if error.is_parse_too_large() {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            };
            session.directory.metrics().answered(status);
        }
        tracing::debug!(%error, peer = %session.facts.peer, "a connection ended early");
    }
    if let Some(tunnel) = session.take_tunnel() {
        let idle = session.directory.settings().limits.idle;
        if let Err(error) = tunnel.run(session.facts.shutdown.clone(), idle).await {
            tracing::debug!(%error, "a connection did not change its protocol");
        }
    }
}

/// Speaks HTTP/1.1. hyper refuses what RFC 9112 does: blanks before a colon, folded lines, a coding
/// that does not end in `chunked`, lengths that differ, sizes of chunks that are none.
async fn serve_http1<S, D>(stream: S, session: &Arc<Session<D>>) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    D: Directory,
{
    let service = service_fn(|request: Request<Incoming>| {
        let answer = forward::respond(session.clone(), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let settings = session.directory.settings();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.head)
        .max_buf_size(HEAD)
        .max_header_size(HEAD);
    let stream = TokioIo::new(Guarded::new(stream));
    let connection = builder.serve_connection(stream, service).with_upgrades();
    let mut connection = pin!(connection);
    let mut shutdown = session.facts.shutdown.clone();
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = listener::asked(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = session.activity.ceased(settings.limits.idle) => {
            connection.as_mut().graceful_shutdown();
            // Answers that nobody takes in would keep it open.
            timeout(settings.limits.write, connection).await.unwrap_or(Ok(()))
        }
    }
}

/// Speaks HTTP/2. h2 bounds what a client can make it do: the frames that a head may come in follow
/// from the longest head, and streams reset early are counted.
async fn serve_http2<S, D>(stream: S, session: &Arc<Session<D>>) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    D: Directory,
{
    let service = service_fn(|request: Request<Incoming>| {
        let answer = forward::respond(session.clone(), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let settings = session.directory.settings();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .max_header_list_size(HEADER_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(settings.head)
        .keep_alive_timeout(settings.head);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut shutdown = session.facts.shutdown.clone();
    // HTTP/1.1 has this deadline for every request.
    let first_request = async {
        sleep(settings.head).await;
        if session.has_begun.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = listener::asked(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = first_request => Ok(()),
        () = session.activity.ceased(settings.limits.idle) => {
            connection.as_mut().graceful_shutdown();
            timeout(settings.limits.write, connection).await.unwrap_or(Ok(()))
        }
    }
}
