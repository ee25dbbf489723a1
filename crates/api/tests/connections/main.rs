//! Connections: who may have how many, how long one lives whose peer does nothing, and how they end.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod bodies;
mod challenges;
mod http2;
mod shutdown;
#[path = "../support/mod.rs"]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::Server;

/// Longer than anything here takes, on any machine.
const LONG: Duration = Duration::from_secs(30);

/// A plain connection that gives up after a long time.
fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

/// Asks for something small, and leaves the connection open. Whether there was an answer.
fn ask(stream: &mut TcpStream) -> bool {
    let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(b"\"ok\"}") {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
            Err(error) => panic!("{error}"),
        }
    }
    true
}

/// Waits until the other side closes the connection without another byte.
#[track_caller]
fn assert_closes(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
}

/// Asks for more and more without reading anything; returns the error that ends that.
fn ask_without_reading(stream: &mut TcpStream) -> ErrorKind {
    let requests = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let deadline = Instant::now() + LONG;
    while Instant::now() < deadline {
        if let Err(error) = stream.write_all(&requests) {
            return error.kind();
        }
    }
    panic!("the server reads on although its answers are not read");
}

#[test]
fn a_peer_that_reads_no_answer_is_let_go() {
    let server = Server::with(|options| options.limits.listener.write = Duration::from_millis(200));
    let mut stream = connect(&server);
    let error = ask_without_reading(&mut stream);
    assert!(
        matches!(error, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{error}"
    );
    assert!(ask(&mut connect(&server)));
}

#[test]
fn a_peer_has_no_more_connections_than_its_share() {
    let server = Server::with(|options| options.limits.listener.connections_per_loopback_peer = 2);
    let (mut first, mut second) = (connect(&server), connect(&server));
    assert!(ask(&mut first) && ask(&mut second));
    assert_closes(&mut connect(&server));
    assert!(ask(&mut first) && ask(&mut second));

    drop(first);
    let deadline = Instant::now() + LONG;
    while !ask(&mut connect(&server)) {
        assert!(
            Instant::now() < deadline,
            "a closed connection still counts"
        );
    }
}

#[test]
fn a_peer_that_sends_nothing_or_half_a_head_is_let_go() {
    let server = Server::with(|options| options.limits.head = Duration::from_millis(200));
    for beginning in ["", "GET / HTTP/1.1\r\nHost"] {
        let mut stream = connect(&server);
        stream.write_all(beginning.as_bytes()).unwrap();
        assert_closes(&mut stream);
    }
    let deadline = Instant::now() + LONG;
    let mut answered = loop {
        let mut stream = connect(&server);
        // A slow machine may take longer than the server lets it.
        if ask(&mut stream) {
            break stream;
        }
        assert!(Instant::now() < deadline, "nobody is answered");
    };
    assert_closes(&mut answered);
}
