//! HTTP requests over the network, in HTTP/1.1.
//!
//! The host of a URL is resolved here, each address is checked by the request's policy, and the
//! connection goes to the very address that was checked. A redirect is a new URL, and treated as
//! one.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONNECTION, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::anchors::Anchors;
use crate::pool::{Destination, Pool, Sender};
use crate::{Fetch, FetchError, Request, Resolver, Response, Trust};

/// Longest time for one address to take a connection, when there are others.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Longest time for an open connection to be ready; it is at once, or something holds it up.
const READY_PATIENCE: Duration = Duration::from_millis(250);
/// Longest time for a request when its deadline is beyond measure.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Addresses of a host that are tried.
const MOST_ADDRESSES: usize = 8;
/// Longest head of an answer, in octets, and most fields in it.
const LONGEST_HEAD: usize = 64 * 1024;
const MOST_FIELDS: usize = 128;
/// What the house calls itself (RFC 8555 section 6.1 wants clients to say).
const PRODUCT: HeaderValue =
    HeaderValue::from_static(concat!("chancery/", env!("CARGO_PKG_VERSION")));

/// Makes requests over the network.
#[derive(Debug)]
pub struct Fetcher {
    resolver: Arc<dyn Resolver>,
    anchors: Anchors,
    pool: Pool,
}

impl Fetcher {
    /// Resolves the hosts of URLs by `resolver`.
    #[must_use]
    pub fn new(resolver: Arc<dyn Resolver>) -> Self {
        Self {
            resolver,
            anchors: Anchors::default(),
            pool: Pool::default(),
        }
    }

    /// Asks for one URL, over a connection that is open already or over a new one.
    async fn ask(
        &self,
        request: &Request,
        url: &Uri,
        headers: &HeaderMap,
        deadline: Instant,
    ) -> Result<Response, FetchError> {
        let destination = destination(request, url)?;
        let message = || message(request, url, headers);
        while !is_alone(request)
            && let Some(mut sender) = self.pool.take(&destination)
        {
            if !matches!(timeout(READY_PATIENCE, sender.ready()).await, Ok(Ok(()))) {
                continue;
            }
            match sender.send_request(message()?).await {
                Ok(answer) => {
                    return self.read(answer, sender, destination, request).await;
                }
                // The server had closed it: nobody has seen the request, or may see it twice.
                Err(error) if error.is_canceled() || request.method.is_safe() => break,
                Err(error) => return Err(broken(&destination.host, &error)),
            }
        }
        let mut sender = self.connect(&destination, deadline).await?;
        let answer = sender.send_request(message()?).await;
        let answer = answer.map_err(|error| broken(&destination.host, &error))?;
        self.read(answer, sender, destination, request).await
    }

    async fn connect(
        &self,
        destination: &Destination,
        deadline: Instant,
    ) -> Result<Sender, FetchError> {
        let stream = self.reach(destination, deadline).await?;
        if !destination.is_secure {
            return shake_hands(&destination.host, stream).await;
        }
        let failed = |reason: String| FetchError::Tls {
            host: destination.host.clone(),
            reason,
        };
        let configuration = self.anchors.configuration(&destination.trust);
        let configuration = configuration.map_err(failed)?;
        let name = ServerName::try_from(destination.host.clone());
        let name = name.map_err(|error| failed(error.to_string()))?;
        let stream = TlsConnector::from(configuration)
            .connect(name, stream)
            .await;
        let stream = stream.map_err(|error| failed(distrust(&error)))?;
        shake_hands(&destination.host, stream).await
    }

    /// Connects to the first address that may be and can be.
    async fn reach(
        &self,
        destination: &Destination,
        deadline: Instant,
    ) -> Result<TcpStream, FetchError> {
        let host = &destination.host;
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.resolver.addresses(host).await?,
        };
        let mut outcome = FetchError::Unreachable {
            host: host.clone(),
            reason: "it has no address".to_owned(),
        };
        let mut allowed = Vec::new();
        for address in addresses {
            match destination.policy.check(address) {
                Ok(()) => allowed.push(address),
                Err(reason) => {
                    outcome = FetchError::Forbidden {
                        host: host.clone(),
                        reason,
                    };
                }
            }
        }
        allowed.truncate(MOST_ADDRESSES);
        for (tried, address) in allowed.iter().enumerate() {
            let address = SocketAddr::new(*address, destination.port);
            let is_last = tried + 1 == allowed.len();
            let patience = deadline.saturating_duration_since(Instant::now());
            let patience = if is_last {
                patience
            } else {
                patience.min(CONNECT_PATIENCE)
            };
            let reason = match timeout(patience, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Requests are written in one piece.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => format!("{address}: {error}"),
                Err(_) => format!("{address} does not answer"),
            };
            outcome = FetchError::Unreachable {
                host: host.clone(),
                reason,
            };
        }
        Err(outcome)
    }

    /// Reads an answer to its end, and keeps the connection.
    async fn read(
        &self,
        answer: http::Response<Incoming>,
        sender: Sender,
        destination: Destination,
        request: &Request,
    ) -> Result<Response, FetchError> {
        let (head, body) = answer.into_parts();
        let body = read_body(body, request.body_limit, &destination.host).await?;
        if head.status != StatusCode::SWITCHING_PROTOCOLS && !is_alone(request) {
            self.pool.put(destination, sender);
        }
        Ok(Response {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    async fn follow(&self, request: &Request, deadline: Instant) -> Result<Response, FetchError> {
        let mut url = parse(&request.url)?;
        let mut headers = request.headers.clone();
        let mut left = request.redirects;
        loop {
            let response = self.ask(request, &url, &headers, deadline).await?;
            let Some(target) = redirect(request, &response) else {
                return Ok(response);
            };
            if left == 0 {
                return Err(FetchError::Broken {
                    host: host(&url),
                    reason: format!("it redirects more than {} times", request.redirects),
                });
            }
            left -= 1;
            let next = join(&url, target)?;
            if origin(&next) != origin(&url) {
                headers = harmless(&headers);
            }
            url = next;
        }
    }
}

#[async_trait]
impl Fetch for Fetcher {
    async fn fetch(&self, request: Request) -> Result<Response, FetchError> {
        let deadline = Instant::now() + request.deadline.min(LONGEST);
        let host = host(&parse(&request.url)?);
        match timeout_at(deadline, self.follow(&request, deadline)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(FetchError::TimedOut { host }),
        }
    }
}

/// Whether a request wants a connection of its own, which goes where the name leads now and not
/// where it led before.
fn is_alone(request: &Request) -> bool {
    let connection = request.headers.get(CONNECTION);
    connection.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

async fn shake_hands<S>(host: &str, stream: S) -> Result<Sender, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(LONGEST_HEAD)
        .max_headers(MOST_FIELDS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(host, &error))?;
    // It ends when the sender is dropped, and what ends it early shows at the sender.
    tokio::spawn(connection);
    Ok(sender)
}

async fn read_body(mut body: Incoming, limit: usize, host: &str) -> Result<Bytes, FetchError> {
    let too_large = || FetchError::TooLarge {
        host: host.to_owned(),
        limit,
    };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_large());
    }
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(host, &error))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if read.len().saturating_add(data.len()) > limit {
            return Err(too_large());
        }
        read.extend_from_slice(data);
    }
    Ok(read.freeze())
}

fn parse(url: &str) -> Result<Uri, FetchError> {
    let invalid = || FetchError::Invalid {
        url: url.to_owned(),
    };
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    // Credentials in URLs end up in logs.
    let authority = uri.authority().ok_or_else(invalid)?;
    let has_port = authority.as_str().len() > authority.host().len();
    let is_plain = !authority.as_str().contains('@')
        && !authority.host().is_empty()
        && (!has_port || authority.port_u16().is_some_and(|port| port != 0));
    if is_web && is_plain {
        Ok(uri)
    } else {
        Err(invalid())
    }
}

fn destination(request: &Request, url: &Uri) -> Result<Destination, FetchError> {
    let is_secure = url.scheme_str() == Some("https");
    let host = host(url);
    if host.is_empty() {
        return Err(FetchError::Invalid {
            url: url.to_string(),
        });
    }
    let port = url.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    if !request.ports.contain(port) {
        return Err(FetchError::Forbidden {
            host,
            reason: "its port is none of those of web servers",
        });
    }
    let trust = if is_secure {
        request.trust.clone()
    } else {
        Trust::default()
    };
    Ok(Destination {
        is_secure,
        host,
        port,
        policy: request.policy,
        trust,
    })
}

/// The host of a URL, as it is resolved and as certificates name it.
fn host(url: &Uri) -> String {
    let host = url.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn origin(url: &Uri) -> (Option<&str>, String, Option<u16>) {
    (url.scheme_str(), host(url), url.port_u16())
}

fn message(
    request: &Request,
    url: &Uri,
    headers: &HeaderMap,
) -> Result<http::Request<Full<Bytes>>, FetchError> {
    let invalid = || FetchError::Invalid {
        url: url.to_string(),
    };
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut message = http::Request::new(Full::new(request.body.clone()));
    *message.method_mut() = request.method.clone();
    *message.uri_mut() = path.parse().map_err(|_| invalid())?;
    *message.headers_mut() = headers.clone();
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let authority = HeaderValue::from_str(authority).map_err(|_| invalid())?;
    message.headers_mut().insert(HOST, authority);
    message.headers_mut().entry(USER_AGENT).or_insert(PRODUCT);
    Ok(message)
}

/// Where an answer leads, if it does and the request lets it. What was sent in a body was meant for
/// the server that it was sent to.
fn redirect<'a>(request: &Request, response: &'a Response) -> Option<&'a HeaderValue> {
    let may_follow = request.redirects > 0 && matches!(request.method, Method::GET | Method::HEAD);
    let leads_on = matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let target = response.headers.get(LOCATION);
    target.filter(|_| may_follow && leads_on)
}

/// The URL that a reference stands for (RFC 3986 section 5.2).
fn join(base: &Uri, reference: &HeaderValue) -> Result<Uri, FetchError> {
    let reference = String::from_utf8_lossy(reference.as_bytes());
    let reference = reference.trim();
    let scheme = base.scheme_str().unwrap_or_default();
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let joined = if reference.contains("://") && !reference.starts_with(['/', '?', '.']) {
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else if reference.starts_with('?') {
        format!("{scheme}://{authority}{}{reference}", base.path())
    } else {
        let (folder, _) = base.path().rsplit_once('/').unwrap_or_default();
        format!("{scheme}://{authority}{folder}/{reference}")
    };
    parse(&joined)
}

/// The fields that say nothing to a stranger.
fn harmless(headers: &HeaderMap) -> HeaderMap {
    let harmless = [ACCEPT, ACCEPT_LANGUAGE, USER_AGENT];
    let fields = headers.iter().filter(|(name, _)| harmless.contains(name));
    fields
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Why there is no TLS connection, in the words of who has to do something about it.
fn distrust(error: &io::Error) -> String {
    use rustls::CertificateError::{BadSignature, Expired, UnknownIssuer};
    let source = error.get_ref().and_then(|source| source.downcast_ref());
    match source {
        // What is signed with another key of the same name is of another authority, too.
        Some(rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature)) => {
            "its certificate is of no authority that is trusted".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(Expired)) => {
            "its certificate has expired".to_owned()
        }
        _ => error.to_string(),
    }
}

fn broken(host: &str, error: &hyper::Error) -> FetchError {
    let source = error.source().map(|source| format!(": {source}"));
    FetchError::Broken {
        host: host.to_owned(),
        reason: format!("{error}{}", source.unwrap_or_default()),
    }
}
