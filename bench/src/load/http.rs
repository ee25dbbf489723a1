//! HTTP/1.1 requests on connections that are kept alive where the server allows it, plain or over TLS.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Client, Limit, Measurement, Target, run};

/// How much of an unexpected answer is part of the error's kind.
const SHOWN: usize = 120;

/// A request that is sent again and again.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Prepared {
    pub(crate) fn new(
        method: Method,
        target: &str,
        headers: &[(header::HeaderName, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Self> {
        let mut map = HeaderMap::new();
        // HTTP/1.1 demands a host; the API does not look at it.
        map.insert(header::HOST, HeaderValue::from_static("localhost"));
        for (name, value) in headers {
            map.insert(name.clone(), HeaderValue::from_str(value)?);
        }
        Ok(Self {
            method,
            target: target
                .parse()
                .with_context(|| format!("'{target}' is no target"))?,
            headers: map,
            body: body.into(),
        })
    }

    fn to_request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// What is sent, and what a good answer looks like.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// What the line is called in the report.
    pub(crate) name: String,
    /// Used in turn.
    pub(crate) requests: Vec<Prepared>,
    pub(crate) expected: StatusCode,
    /// Whether the body of an answer is what it should be.
    pub(crate) is_good: fn(&[u8]) -> bool,
}

/// How connections are secured.
#[derive(Clone, Debug)]
pub(crate) struct Security {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
}

/// Runs `traffic` against `target` with `clients` plain connections.
///
/// # Errors
/// When the CPU time of a process cannot be read, which is when the server has ended.
pub(crate) async fn drive(
    target: Target,
    clients: u16,
    limit: Limit,
    traffic: Traffic,
) -> anyhow::Result<Measurement> {
    drive_over(None, target, clients, limit, traffic).await
}

/// Runs `traffic` as [`drive`] does, over TLS when `security` says how.
///
/// # Errors
/// As [`drive`].
pub(crate) async fn drive_over(
    security: Option<Security>,
    target: Target,
    clients: u16,
    limit: Limit,
    traffic: Traffic,
) -> anyhow::Result<Measurement> {
    let name = traffic.name.clone();
    let traffic = Arc::new(traffic);
    let client = |_| Visitor {
        address: target.address,
        security: security.clone(),
        traffic: traffic.clone(),
        connection: None,
    };
    run(&name, target, limit, (0..clients).map(client).collect()).await
}

struct Visitor {
    address: SocketAddr,
    security: Option<Security>,
    traffic: Arc<Traffic>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client for Visitor {
    async fn prepare(&mut self) -> Result<(), String> {
        if self.connection.is_none() {
            let connected = connect(self.address, self.security.as_ref()).await;
            self.connection =
                Some(connected.map_err(|error| format!("cannot connect: {error:#}"))?);
        }
        Ok(())
    }

    async fn exchange(&mut self, number: u64) -> Result<Bytes, String> {
        let requests = &self.traffic.requests;
        // The remainder is below the length, which fits.
        let at = (number % requests.len().max(1) as u64) as usize;
        let (Some(prepared), Some(mut sender)) = (requests.get(at), self.connection.take()) else {
            return Err("nothing to send".to_owned());
        };
        let answer = send(&mut sender, prepared).await;
        let (status, body, is_kept_alive) =
            answer.map_err(|error| format!("connection: {error}"))?;
        self.connection = is_kept_alive.then_some(sender);
        if status == self.traffic.expected && (self.traffic.is_good)(&body) {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body);
        let shown: String = text.chars().take(SHOWN).collect();
        Err(format!("{}: {}", status.as_u16(), shown.escape_debug()))
    }

    fn remarks(self) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

async fn connect(
    address: SocketAddr,
    security: Option<&Security>,
) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(Security {
        config,
        server_name,
    }) = security
    else {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        return Ok(sender);
    };
    let connector = TlsConnector::from(config.clone());
    let stream = connector.connect(server_name.clone(), stream).await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    prepared: &Prepared,
) -> Result<(StatusCode, Bytes, bool), hyper::Error> {
    sender.ready().await?;
    let response = sender.send_request(prepared.to_request()).await?;
    let status = response.status();
    let closes = response
        .headers()
        .get(header::CONNECTION)
        .map(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    let is_kept_alive = !closes.unwrap_or(response.version() == Version::HTTP_10);
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, body, is_kept_alive))
}
