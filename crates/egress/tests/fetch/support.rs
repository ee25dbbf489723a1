//! Servers that answer what a test wants, and names that lead where it wants.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use egress::{
    Caa, EgressPolicy, Fetch as _, FetchError, Fetcher, LookupError, Nameserver, Ports, Request,
    Resolver, Response, Trust, Zone,
};
use http::{HeaderMap, Method};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use testbed::{Authority, Pair};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Longer than anything here takes, on any machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// This machine, and nothing else that is not public.
pub(crate) const LOCAL: EgressPolicy = EgressPolicy {
    private: false,
    loopback: true,
};

/// What a server does when it has read a request.
pub(crate) enum Reply {
    /// Answers these octets and waits for the next request.
    Keep(String),
    /// Answers these octets and closes.
    Close(String),
    /// Answers these octets and then the others again and again.
    Endless(String, &'static str),
    /// Answers these octets and then nothing more, for ever.
    Silence(String),
}

/// An answer with a body, after which the connection stays open.
pub(crate) fn ok(body: &str) -> Reply {
    let length = body.len();
    Reply::Keep(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

/// A redirect.
pub(crate) fn to(location: &str) -> Reply {
    Reply::Keep(format!(
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    ))
}

/// A server on a free port of 127.0.0.1.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Connections that it has taken.
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Server {
    /// Answers requests, each of which it is given as text.
    pub(crate) async fn plain<Answer>(answer: Answer) -> Self
    where
        Answer: Fn(&str) -> Reply + Send + Sync + 'static,
    {
        Self::serve(None, answer).await
    }

    /// The same over TLS.
    pub(crate) async fn tls<Answer>(pair: &Pair, answer: Answer) -> Self
    where
        Answer: Fn(&str) -> Reply + Send + Sync + 'static,
    {
        let chain = CertificateDer::pem_slice_iter(pair.chain.as_bytes());
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let configuration = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::serve(Some(Arc::new(configuration).into()), answer).await
    }

    async fn serve<Answer>(tls: Option<TlsAcceptor>, answer: Answer) -> Self
    where
        Answer: Fn(&str) -> Reply + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, answer) = (connections.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (tls, answer) = (tls.clone(), answer.clone());
                tokio::spawn(async move {
                    match tls {
                        None => talk(stream, &*answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                talk(stream, &*answer).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// An `http` URL of this server by its address.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A URL of this server under another host.
    pub(crate) fn named(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}/", self.address.port())
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn talk<S>(mut stream: S, answer: &(dyn Fn(&str) -> Reply + Send + Sync))
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(request) = read(&mut stream).await {
        let (text, endless, is_last) = match answer(&request) {
            Reply::Keep(text) => (text, None, false),
            Reply::Close(text) => (text, None, true),
            Reply::Endless(text, again) => (text, Some(again), true),
            Reply::Silence(text) => (text, Some(""), true),
        };
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        match endless {
            Some("") => std::future::pending().await,
            Some(again) => while stream.write_all(again.as_bytes()).await.is_ok() {},
            None => {}
        }
        if is_last {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

/// A request, head and body.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length = head.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    request.extend(body);
    Some(String::from_utf8_lossy(&request).into_owned())
}

/// Takes connections and does nothing with them.
pub(crate) async fn silent() -> (SocketAddr, impl Sized) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = tokio::spawn(async move {
        let mut held: Vec<TcpStream> = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    (address, taken)
}

/// Names with addresses, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Names {
    addresses: HashMap<String, Vec<IpAddr>>,
    /// How often one was asked for.
    pub(crate) asked: AtomicUsize,
}

impl Names {
    pub(crate) fn new(names: &[(&str, &[&str])]) -> Arc<Self> {
        let names = names.iter().map(|(name, addresses)| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap());
            ((*name).to_owned(), addresses.collect())
        });
        Arc::new(Self {
            addresses: names.collect(),
            asked: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl Resolver for Names {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.addresses.get(name).cloned();
        found.ok_or_else(|| unknown(name))
    }

    async fn text(&self, name: &str) -> Result<Vec<String>, LookupError> {
        Err(unknown(name))
    }

    async fn alias(&self, name: &str) -> Result<Option<String>, LookupError> {
        Err(unknown(name))
    }

    async fn caa(&self, name: &str) -> Result<Vec<Caa>, LookupError> {
        Err(unknown(name))
    }

    async fn zone(&self, name: &str) -> Result<Zone, LookupError> {
        Err(unknown(name))
    }

    async fn text_at(&self, _: &Nameserver, name: &str) -> Result<Vec<String>, LookupError> {
        Err(unknown(name))
    }
}

/// Names have addresses here, or nothing.
fn unknown(name: &str) -> LookupError {
    LookupError::NotFound {
        name: name.to_owned(),
    }
}

/// A client to which no name is known.
pub(crate) fn fetcher() -> Fetcher {
    Fetcher::new(Names::new(&[]))
}

/// A request by GET with generous limits.
pub(crate) fn get(url: &str) -> Request {
    Request {
        method: Method::GET,
        url: url.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        policy: LOCAL,
        ports: Ports::Any,
        trust: Trust::System,
        deadline: LONG,
        body_limit: 1024,
        redirects: 0,
    }
}

pub(crate) async fn fetch(request: Request) -> Result<Response, FetchError> {
    fetcher().fetch(request).await
}

/// The root of an authority as a request has it.
pub(crate) fn roots(authority: &Authority) -> Option<Arc<str>> {
    Some(std::fs::read_to_string(authority.root()).unwrap().into())
}
