//! Listening, and HTTP over what was accepted. A connection is a thread that does plain blocking reads
//! and writes.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::answer::Answer;
use super::issuing::Authority;
use super::routes::{Reaction, react};
use super::state::Server;

/// How long a client may keep silent.
const SILENCE: Duration = Duration::from_secs(120);
/// The longest body that is read, in octets.
const MAX_BODY: usize = 1 << 20;

/// A request, read.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
    closes: bool,
}

/// What accepts connections, until it is dropped.
pub(super) struct Listener {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    is_stopping: AtomicBool,
    /// Second handles of the connections that are open, by their numbers.
    open: Mutex<HashMap<u64, TcpStream>>,
}

impl Listener {
    /// Serves what comes to a socket.
    pub(super) fn start(
        socket: TcpListener,
        server: Arc<Server>,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let address = socket.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            is_stopping: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let accepting = thread::spawn(move || {
            for (number, stream) in (0..).zip(socket.incoming()) {
                if accepting.is_stopping.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                if let Ok(second) = stream.try_clone() {
                    accepting.open().insert(number, second);
                }
                let (server, tls) = (Arc::clone(&server), tls.clone());
                let accepting = Arc::clone(&accepting);
                thread::spawn(move || {
                    // A connection that breaks is the client's business: the test looks there.
                    let _ = serve(stream, &server, tls);
                    accepting.open().remove(&number);
                });
            }
        });
        Self {
            address,
            shared,
            accepting: Some(accepting),
        }
    }
}

impl Drop for Listener {
    /// Ends all connections; afterwards the port refuses.
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        // The accepting thread waits for one more connection.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in self.shared.open().values() {
            // It may just be ending by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The TLS of a directory whose certificate is its own authority's.
pub(super) fn tls(authority: &Authority) -> Arc<ServerConfig> {
    let (chain, key) = authority.own();
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the certificate has its key");
    Arc::new(config)
}

fn serve(stream: TcpStream, server: &Arc<Server>, tls: Option<Arc<ServerConfig>>) -> Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    match tls {
        None => converse(stream, server),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(Error::other)?;
            converse(StreamOwned::new(connection, stream), server)
        }
    }
}

fn converse(stream: impl Read + Write, server: &Arc<Server>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream)? {
        match react(server, &request) {
            Reaction::Answer(answer) => {
                let head = request.method == "HEAD";
                stream.get_mut().write_all(&on_the_wire(&answer, head))?;
                stream.get_mut().flush()?;
            }
            Reaction::Close => break,
            Reaction::Silence => {
                // Until the other side goes away, or the directory ends.
                while stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
                    let count = stream.buffer().len();
                    stream.consume(count);
                }
                break;
            }
        }
        if request.closes {
            break;
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> Result<Option<Request>> {
    let Some(first) = read_line(reader)? else {
        return Ok(None);
    };
    let mut words = first.split(' ').map(ToOwned::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(malformed("no request line"));
    };
    let (mut length, mut content_type, mut closes) = (0, String::new(), false);
    loop {
        let line = read_line(reader)?.ok_or_else(|| malformed("a cut head"))?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(|_| malformed("no length"))?,
            "content-type" => content_type = value.to_owned(),
            "connection" => closes = value.eq_ignore_ascii_case("close"),
            "transfer-encoding" => return Err(malformed("a body without a length")),
            _ => {}
        }
    }
    if length > MAX_BODY {
        return Err(malformed("a body that is too long"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request {
        method,
        path,
        content_type,
        body,
        closes,
    }))
}

/// A line without its end; `None` when nothing more comes.
fn read_line(reader: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn on_the_wire(answer: &Answer, is_head: bool) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {} -\r\n", answer.status);
    for (name, value) in &answer.headers {
        text += &format!("{name}: {value}\r\n");
    }
    if answer.status != 204 {
        text += &format!("Content-Length: {}\r\n", answer.body.len());
    }
    text += "\r\n";
    let mut bytes = text.into_bytes();
    if !is_head {
        bytes.extend_from_slice(&answer.body);
    }
    bytes
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
