//! TLS handshakes: from the name that a client sends to a stream that speaks for its site.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use lifecycle::{Protocol, PublishedPort, Site};
use rustls::server::{Acceptor, ClientHello};
use rustls::{AlertDescription, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::facts::TlsFacts;
use crate::http::balancer::Service;
use crate::identities::VALIDATION;
use crate::metrics::{Challenged, Failure, version_of};
use crate::shared::Shared;

/// What a handshake came to.
pub(crate) struct Shaken<S> {
    pub(crate) stream: TlsStream<S>,
    pub(crate) facts: TlsFacts,
    pub(crate) service: Arc<Service>,
    pub(crate) port: PublishedPort,
}

/// Who speaks to a client that sent its name, and how.
struct Prepared {
    site: Arc<Site>,
    service: Arc<Service>,
    port: PublishedPort,
    configuration: Arc<ServerConfig>,
}

/// Shakes hands with a client that came to this published port. Who fails is told why, as far as
/// TLS has a word for it. With an ACME directory that looks for a proof, nothing follows.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn shake<S>(
    stream: S,
    port: u16,
    shared: &Shared,
) -> Result<Option<Shaken<S>>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let mut start = acceptor.await.map_err(|error| failed(&error))?;
    if is_validation(&start.client_hello()) {
        return prove(start, shared).await.map(|()| None);
    }
    let prepared = match prepare(&start.client_hello(), port, shared).await {
        Ok(prepared) => prepared,
        Err(failure) => {
            refuse(&mut start.io, failure).await;
            return Err(failure);
        }
    };
    let stream = start.into_stream(prepared.configuration).await;
    let stream = stream.map_err(|error| failed(&error))?;
    let connection = stream.get_ref().1;
    let facts = TlsFacts {
        site: prepared.site,
        is_http2: connection.alpn_protocol() == Some(b"h2"),
        version: version_of(connection.protocol_version()),
    };
    shared.metrics.shaken(connection);
    Ok(Some(Shaken {
        stream,
        facts,
        service: prepared.service,
        port: prepared.port,
    }))
}

/// Whether the client is an ACME directory's: it wants that protocol and no other (RFC 8737
/// section 3).
fn is_validation(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut protocols| {
        protocols.next() == Some(VALIDATION) && protocols.next().is_none()
    })
}

/// Shows an ACME directory the proof of control over the name that it sent, and says goodbye: no
/// data is exchanged.
async fn prove<S>(mut start: StartHandshake<S>, shared: &Shared) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (outcome, proven) = match proof(start.client_hello().server_name(), shared).await {
        Ok(configuration) => match start.into_stream(configuration).await {
            Ok(mut stream) => {
                // The client has seen what it came for.
                let _ = stream.shutdown().await;
                (Challenged::Answered, Ok(()))
            }
            Err(error) => (Challenged::Failed, Err(failed(&error))),
        },
        Err(failure) => {
            refuse(&mut start.io, failure).await;
            let outcome = match failure {
                Failure::UnknownName => Challenged::Unknown,
                _ => Challenged::Failed,
            };
            (outcome, Err(failure))
        }
    };
    shared.metrics.challenged("tls-alpn-01", outcome);
    proven
}

async fn proof(name: Option<&str>, shared: &Shared) -> Result<Arc<ServerConfig>, Failure> {
    let name = name.ok_or(Failure::UnknownName)?;
    let identity = shared.answers.tls_alpn(name).await;
    let identity = identity.map_err(|error| internal(&error))?;
    let identity = identity.ok_or(Failure::UnknownName)?;
    shared.templates.validation(identity).map_err(|error| {
        tracing::error!(%error, "the proof for an ACME directory cannot be shown");
        Failure::Internal
    })
}

async fn prepare(hello: &ClientHello<'_>, port: u16, shared: &Shared) -> Result<Prepared, Failure> {
    let default_domain = shared.settings.default_domain.as_deref();
    let name = hello.server_name().or(default_domain);
    let name = name.ok_or(Failure::UnknownName)?;
    let site = shared.site(name).await.map_err(|error| internal(&error))?;
    let site = site.ok_or(Failure::UnknownName)?;
    let service = shared.service(site.service).await;
    let service = service.map_err(|error| internal(&error))?;
    let service = service.ok_or(Failure::UnknownName)?;
    let serves = |published: &&PublishedPort| {
        let is_tls = published.handlers.tls && published.protocol == Protocol::Tcp;
        published.port == port && is_tls
    };
    let port = service.route.ports.iter().find(serves).copied();
    let port = port.ok_or(Failure::UnknownName)?;
    let identity = shared.identity(&site, hello).await;
    let identity = identity.map_err(|error| internal(&error))?;
    let Some(identity) = identity else {
        shared.heal(&site.domain);
        return Err(Failure::NoCertificate);
    };
    if identity.not_after < shared.surroundings.now() {
        // Better than nothing, and perhaps there is a better one.
        shared.heal(&site.domain);
    }
    let configuration = identity.configuration(&shared.templates, port.handlers.http);
    Ok(Prepared {
        site,
        service,
        port,
        configuration,
    })
}

/// Ends a handshake of which nothing was answered yet. A client that does not take the few octets
/// in learns nothing.
async fn refuse(stream: &mut (impl AsyncWrite + Unpin), failure: Failure) {
    let description = match failure {
        Failure::UnknownName => AlertDescription::UnrecognisedName,
        _ => AlertDescription::InternalError,
    };
    // A record of type alert, of the version that all versions are written with, with two octets:
    // fatal, and why (RFC 8446 sections 5.1 and 6).
    let alert = [0x15, 3, 3, 0, 2, 2, u8::from(description)];
    if stream.write_all(&alert).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

fn failed(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::InvalidData => {
            tracing::debug!(%error, "TLS handshake failed");
            Failure::Protocol
        }
        _ => Failure::Disconnected,
    }
}

fn internal(error: &lifecycle::Error) -> Failure {
    let source = error.source();
    tracing::warn!(%error, source, "a TLS handshake found the store unable to answer");
    Failure::Internal
}
