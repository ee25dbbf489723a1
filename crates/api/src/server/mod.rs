//! Listeners: accepting connections, TLS, limits against slow and greedy clients, and draining.

mod activity;
mod peers;
mod stream;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::Api;
use activity::{Activity, Attended};
use peers::{Admission, Peers};
use stream::Stream;

/// Requests in flight on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// Pause after the system refused to accept, so that a lack of file descriptors is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a listener protects its connections.
#[derive(Debug, Clone)]
pub enum Security {
    /// Plain HTTP.
    Plain,
    /// TLS with this configuration.
    Tls(Arc<ServerConfig>),
}

/// A bound address on which the API can be served.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenerError {
    address: SocketAddr,
    source: std::io::Error,
}

impl Listener {
    /// Binds `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// [`ListenerError`] when the address is taken or not ours.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenerError> {
        let failed = |source| ListenerError { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// The address in effect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves until `shutdown` turns true, then closes connections without a request, and lets requests
/// in flight finish for as long as the API's [`Limits`](crate::Limits) say.
pub async fn serve(
    listener: Listener,
    security: Security,
    api: Api,
    mut shutdown: watch::Receiver<bool>,
) {
    let limits = &api.0.limits;
    let slots = Arc::new(Semaphore::new(limits.connections));
    let peers = Peers::new(limits);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener.socket, &slots) => accepted,
            Some(_) = connections.join_next() => continue,
            () = asked(&mut shutdown) => break,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let Some(admission) = peers.admit(peer.ip()) else {
                    tracing::debug!(%peer, "a peer has too many connections");
                    continue;
                };
                let connection = Connection {
                    api: api.clone(),
                    security: security.clone(),
                    shutdown: shutdown.clone(),
                    _admission: admission,
                    _slot: slot,
                };
                connections.spawn(connection.run(stream));
            }
            Err(error) => {
                tracing::warn!(%error, address = %listener.address, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener.socket);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain, drained).await.is_err() {
        let count = connections.len();
        tracing::warn!(count, "some connections did not end before the shutdown");
        connections.shutdown().await;
    }
}

async fn accept(
    socket: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await;
    let slot = slot.map_err(std::io::Error::other)?;
    let (stream, peer) = socket.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, slot))
}

/// Waits until a shutdown is asked for, or nobody is left to ask for one.
async fn asked(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|down| *down).await;
}

struct Connection {
    api: Api,
    security: Security,
    shutdown: watch::Receiver<bool>,
    _admission: Admission,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(mut self, stream: TcpStream) {
        let _counted = self.api.0.metrics.connection();
        let stream = Stream::new(stream, self.api.0.limits.write);
        let configuration = match self.security.clone() {
            Security::Plain => return self.speak_http(stream, false).await,
            Security::Tls(configuration) => configuration,
        };
        let handshake = TlsAcceptor::from(configuration).accept(stream);
        let handshake = timeout(self.api.0.limits.handshake, handshake);
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = asked(&mut self.shutdown) => return,
        };
        match shaken {
            Ok(Ok(stream)) => {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                self.speak_http(stream, is_http2).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    /// The version is settled before the first byte: guessing it from what arrives would wait
    /// without a deadline for a client that sends nothing.
    async fn speak_http(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        is_http2: bool,
    ) {
        let limits = &self.api.0.limits;
        let activity = Activity::new();
        let service = service_fn(|request| {
            let (api, activity) = (self.api.clone(), activity.clone());
            async move {
                let _ongoing = activity.request();
                let response = api.respond(request).await;
                Ok::<_, Infallible>(response.map(|body| Attended::new(body, activity.clone())))
            }
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        let mut builder = if is_http2 {
            builder.http2_only()
        } else {
            builder.http1_only()
        };
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(limits.head)
            .keep_alive_timeout(limits.head);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = asked(&mut self.shutdown) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = activity.ceased(limits.idle) => {
                tracing::debug!("a connection was idle for too long");
                connection.as_mut().graceful_shutdown();
                // Answers that nobody takes in would keep it open.
                timeout(limits.write, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "a connection ended early");
        }
    }
}
