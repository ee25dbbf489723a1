//! HTTP on the API's listeners: TLS, versions, limits against slow clients, and draining.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use listener::{Accepted, Activity, Attended, Listener, asked};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::Api;
use crate::exchange::{Request, Sender};

/// Requests in flight on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// How a listener protects its connections.
#[derive(Debug, Clone)]
pub enum Security {
    /// Plain HTTP.
    Plain,
    /// TLS with this configuration.
    Tls(Arc<ServerConfig>),
}

/// Serves until `shutdown` turns true, then closes connections without a request, and lets requests
/// in flight finish for as long as the API's [`Limits`](crate::Limits) say.
pub async fn serve(
    listener: Listener,
    security: Security,
    api: Api,
    shutdown: watch::Receiver<bool>,
) {
    let limits = &api.0.limits.listener;
    listener::serve(listener, limits, shutdown, |accepted| {
        let connection = Connection {
            api: api.clone(),
            security: security.clone(),
            address: accepted.peer.ip(),
            shutdown: accepted.shutdown.clone(),
        };
        connection.run(accepted)
    })
    .await;
}

struct Connection {
    api: Api,
    security: Security,
    address: IpAddr,
    shutdown: watch::Receiver<bool>,
}

impl Connection {
    async fn run(mut self, Accepted { stream, .. }: Accepted) {
        let _counted = self.api.0.metrics.connection();
        let configuration = match self.security.clone() {
            Security::Plain => return self.speak_http(stream, false).await,
            Security::Tls(configuration) => configuration,
        };
        let handshake = TlsAcceptor::from(configuration).accept(stream);
        let handshake = timeout(self.api.0.limits.listener.handshake, handshake);
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
        let sender = Sender {
            address: self.address,
            is_secure: matches!(self.security, Security::Tls(_)),
        };
        let service = service_fn(|mut request: Request| {
            request.extensions_mut().insert(sender);
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
            () = activity.ceased(limits.listener.idle) => {
                tracing::debug!("a connection was idle for too long");
                connection.as_mut().graceful_shutdown();
                // Answers that nobody takes in would keep it open.
                timeout(limits.listener.write, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "a connection ended early");
        }
    }
}
