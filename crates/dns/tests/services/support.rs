//! A server that answers all requests alike and remembers them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use dns::{Account, Proof, Providers, TextRecord};
use egress::{EgressPolicy, Fetcher, ResolverSettings, SystemResolver};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method and path.
    pub(crate) target: String,
    /// The lines of the head.
    pub(crate) head: Vec<String>,
    pub(crate) body: Value,
}

impl Seen {
    /// The value of a field; `name` in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.iter().filter_map(|line| line.split_once(": "));
        let mut same = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        same.next().map(|(_, value)| value)
    }
}

/// The server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers with this status and body.
    pub(crate) async fn start(status: u16, body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let remembered = seen.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                remembered.lock().unwrap().push(request);
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn read(stream: &mut TcpStream) -> Seen {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines().map(str::to_owned);
    let target = lines.next().unwrap().replace(" HTTP/1.1", "");
    let mut seen = Seen {
        target,
        head: lines.collect(),
        body: Value::Null,
    };
    let length = seen.field("content-length").unwrap_or("0").parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    seen.body = serde_json::from_slice(&body).unwrap_or_default();
    seen
}

pub(crate) fn providers() -> Providers {
    let settings = ResolverSettings {
        server: Some("127.0.0.1".to_owned()),
        ..ResolverSettings::default()
    };
    let resolver = Arc::new(SystemResolver::new(&settings).unwrap());
    Providers::new(Arc::new(Fetcher::new(resolver.clone())), resolver)
}

/// An account of an administrator.
pub(crate) fn account(kind: &str, fields: &[(&str, &str)]) -> Account {
    let fields = fields.iter();
    let fields = fields.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Account {
        kind: kind.to_owned(),
        credentials: fields.collect(),
        policy: EgressPolicy::BACKENDS,
        may_run_programs: true,
    }
}

/// The record of a challenge for `example.com`.
pub(crate) fn record() -> TextRecord {
    TextRecord {
        zone: "example.com".to_owned(),
        name: "_acme-challenge.example.com".to_owned(),
        value: "digest".to_owned(),
        proof: Some(Proof {
            domain: "example.com".to_owned(),
            key_authorization: "token.thumbprint".to_owned(),
        }),
    }
}
