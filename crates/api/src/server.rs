//! Listeners: accepting connections, TLS, limits against slow and greedy clients, and draining.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::Api;

/// Connections open at a time on one listener; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 8_192;
/// Longest time for a TLS handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Longest time for the head of a request; also how long an idle HTTP/1.1 connection is kept.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// Requests in flight on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// How long requests in flight may go on after a shutdown was asked for.
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
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

/// Serves until `shutdown` turns true, then lets requests in flight finish.
pub async fn serve(
    listener: Listener,
    security: Security,
    api: Api,
    mut shutdown: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener.socket, &slots) => accepted,
            _ = shutdown.wait_for(|down| *down) => break,
        };
        match accepted {
            Ok((stream, slot)) => {
                let connection = Connection {
                    api: api.clone(),
                    security: security.clone(),
                    watcher: graceful.watcher(),
                    _slot: slot,
                };
                tokio::spawn(connection.run(stream));
            }
            Err(error) => {
                tracing::warn!(%error, address = %listener.address, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener.socket);
    if tokio::time::timeout(DRAIN_DEADLINE, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not finish before the shutdown");
    }
}

async fn accept(
    socket: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await;
    let slot = slot.map_err(std::io::Error::other)?;
    let (stream, _) = socket.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}

struct Connection {
    api: Api,
    security: Security,
    watcher: Watcher,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let _counted = self.api.0.metrics.connection();
        match self.security.clone() {
            Security::Plain => self.speak_http(stream, false).await,
            Security::Tls(configuration) => {
                let handshake = TlsAcceptor::from(configuration).accept(stream);
                match tokio::time::timeout(HANDSHAKE_DEADLINE, handshake).await {
                    Ok(Ok(stream)) => {
                        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        self.speak_http(stream, is_http2).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                }
            }
        }
    }

    /// The version is settled before the first byte: guessing it from what arrives would wait
    /// without a deadline for a client that sends nothing.
    async fn speak_http(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        is_http2: bool,
    ) {
        let api = self.api;
        let service = service_fn(move |request| {
            let api = api.clone();
            async move { Ok::<_, std::convert::Infallible>(api.respond(request).await) }
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
            .header_read_timeout(HEAD_DEADLINE);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(HEAD_DEADLINE)
            .keep_alive_timeout(HEAD_DEADLINE);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = self.watcher.watch(connection.into_owned()).await {
            tracing::debug!(error, "a connection ended early");
        }
    }
}
