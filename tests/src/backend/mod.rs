//! What stands behind the edge: web servers of known behaviour, good and bad.
//!
//! A connection is a thread that does plain blocking reads and writes: what goes over the wire is
//! what the code here says, and nothing repairs or buffers it on the way.

mod fault;
mod pattern;
mod turnstile;
mod web;
mod websocket;

use std::collections::HashMap;
use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

pub use fault::Fault;
pub use pattern::{Pattern, Tally};

/// How long a client may keep silent before its connection is given up.
const SILENCE: Duration = Duration::from_secs(120);

/// A server on a free port of 127.0.0.1; it and its connections end when it is dropped.
///
/// As a web server it answers:
///
/// | path | answer |
/// |---|---|
/// | `/head` | the request's head as it came, byte for byte |
/// | `/bytes/N` | N bytes of [`Pattern`] |
/// | `/digest` | number and digest of the request body's bytes, as [`Tally`] writes them |
/// | `/socket` | a WebSocket that sends back what it gets |
/// | `/page` | an HTML page whose script opens `/socket` and writes the answer into the page |
/// | `/after-socket` | nothing, once a WebSocket has ended |
/// | all else | `hello from NAME` |
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the threads of one server have in common.
struct Shared {
    name: String,
    is_stopping: AtomicBool,
    connections: AtomicU64,
    requests: AtomicU64,
    /// Bytes of bodies that went out.
    sent: AtomicU64,
    /// Bytes of bodies that came in.
    received: AtomicU64,
    /// WebSockets that have come to their end.
    sockets: AtomicU64,
    /// Second handles of the connections that are open, by their numbers, so that they can be ended.
    open: Mutex<HashMap<u64, TcpStream>>,
}

impl Backend {
    /// Starts a web server of this name.
    #[must_use]
    pub fn web(name: &str) -> Self {
        Self::start(name, |stream, shared| web::serve(&stream, shared))
    }

    /// Starts a web server of this name at this address of this machine.
    ///
    /// # Panics
    ///
    /// When the address is taken.
    #[must_use]
    #[track_caller]
    pub fn web_at(address: SocketAddr, name: &str) -> Self {
        let listener = TcpListener::bind(address)
            .unwrap_or_else(|error| panic!("cannot listen at {address}: {error}"));
        Self::accept(listener, name, |stream, shared| web::serve(&stream, shared))
    }

    /// Starts a server that sends every byte back, whatever it means.
    #[must_use]
    pub fn echo(name: &str) -> Self {
        Self::start(name, |mut stream, _| {
            let mut answers = stream.try_clone()?;
            std::io::copy(&mut stream, &mut answers)?;
            answers.shutdown(Shutdown::Write)
        })
    }

    /// Starts a web server that misbehaves at every request.
    #[must_use]
    pub fn faulty(name: &str, fault: Fault) -> Self {
        Self::start(name, move |stream, shared| {
            fault.commit(&stream, &|| shared.is_stopping())
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens at.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it answers to most requests.
    #[must_use]
    pub fn greeting(&self) -> String {
        self.shared.greeting()
    }

    /// Connections that it has accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Requests whose heads it has read.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Bytes of answers' bodies that the kernel has taken.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Bytes of requests' bodies that it has read.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::SeqCst)
    }

    fn start(
        name: &str,
        serve: impl Fn(TcpStream, &Shared) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be bound");
        Self::accept(listener, name, serve)
    }

    fn accept(
        listener: TcpListener,
        name: &str,
        serve: impl Fn(TcpStream, &Shared) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            is_stopping: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sockets: AtomicU64::new(0),
            open: Mutex::new(HashMap::new()),
        });
        let serve = Arc::new(serve);
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_stopping() {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let Ok(number) = accepting.admit(&stream) else {
                    continue;
                };
                let (serve, shared) = (Arc::clone(&serve), Arc::clone(&accepting));
                thread::spawn(move || {
                    // A connection that breaks is the client's business: the test looks there.
                    let _ = serve(stream, &shared);
                    // It is closed with its last handle.
                    shared.open().remove(&number);
                });
            }
        });
        Self { address, shared }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        for stream in self.shared.open().values() {
            // It may just be ending by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // The accepting thread waits for one more connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn greeting(&self) -> String {
        format!("hello from {}\n", self.name)
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, stream: &TcpStream) -> std::io::Result<u64> {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        stream.set_nodelay(true)?;
        let number = self.connections.fetch_add(1, Ordering::SeqCst);
        self.open().insert(number, stream.try_clone()?);
        Ok(number)
    }
}

/// Reads up to and with the empty line that ends a head; `None` when the connection ends before.
fn read_head(reader: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::{eventually, http};

    #[test]
    fn a_web_server_greets_by_name_and_shows_the_head_it_got() {
        let backend = Backend::web("one");
        let server = backend.address().to_string();
        assert_eq!(
            http::send(&server, "GET", "/", &[], b"").text(),
            "hello from one\n"
        );
        let head = http::send(&server, "GET", "/head", &[("X-Odd", "  a")], b"").text();
        assert!(head.starts_with("GET /head HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nX-Odd:   a\r\n"), "{head}");
        assert_eq!((backend.requests(), backend.connections()), (2, 2));
    }

    #[test]
    fn several_requests_go_over_one_connection() {
        let backend = Backend::web("one");
        let mut stream = TcpStream::connect(backend.address()).unwrap();
        let requests = "POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
                        GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(requests.as_bytes()).unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        let expected = "3 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
        assert!(answers.contains(expected), "{answers}");
        assert!(answers.ends_with("hello from one\n"), "{answers}");
        assert_eq!((backend.requests(), backend.connections()), (2, 1));
    }

    #[test]
    fn bodies_of_known_content_go_both_ways() {
        let backend = Backend::web("one");
        let server = backend.address().to_string();
        let count = 3 * 1024 * 1024 + 17;
        let body = http::send(&server, "GET", &format!("/bytes/{count}"), &[], b"").body;
        assert_eq!(Tally::of(&body[..]), Tally::of(Pattern::new(count)));
        let sized = http::send(&server, "PUT", "/digest", &[], &body).text();
        assert_eq!(sized, Tally::of(&body[..]));
        let chunked = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n";
        let headers = [("Transfer-Encoding", "chunked")];
        let chunked = http::send(&server, "PUT", "/digest", &headers, chunked).text();
        assert_eq!(chunked, Tally::of(&b"abcde"[..]));
        assert_eq!((backend.sent(), backend.received()), (count, count + 5));
    }

    #[test]
    fn an_echo_gives_back_what_it_got() {
        let backend = Backend::echo("one");
        let mut stream = TcpStream::connect(backend.address()).unwrap();
        stream.write_all(b"\x00\xffab").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"\x00\xffab");
    }

    #[test]
    fn a_dropped_backend_ends_its_connections_and_refuses_new_ones() {
        let backend = Backend::faulty("one", Fault::Silence);
        let address = backend.address();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        eventually(Duration::from_secs(20), "the connection", || {
            (backend.connections() == 1).then_some(())
        });
        drop(backend);
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
        eventually(Duration::from_secs(20), "a refused connection", || {
            TcpStream::connect(address).is_err().then_some(())
        });
    }
}
