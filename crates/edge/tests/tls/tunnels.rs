//! Ports on which TLS ends and nothing else is done.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use pki::KeyAlgorithm;

use crate::support::{LONG, Server, Session};

const NAME: &str = "db.example.com";

/// A service with one instance, of which each connection is served by `serve_one`.
fn server(
    change: impl FnOnce(&mut edge::Settings),
    serve_one: impl Fn(TcpStream) + Send + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve_one(stream.unwrap());
        }
    });
    server_for(change, address)
}

fn server_for(change: impl FnOnce(&mut edge::Settings), address: SocketAddr) -> Server {
    let server = Server::with(change);
    server.issue(KeyAlgorithm::P256, &[NAME]);
    server.serve_from(&[NAME], address);
    server
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..count]).unwrap();
    }
    let _ = stream.shutdown(Shutdown::Write);
}

#[test]
fn what_is_decrypted_goes_to_an_instance_and_back() {
    let server = server(|_| {}, echo);
    let mut session = server.client().connect(server.raw, NAME).unwrap();
    let sent: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
    let mut received = vec![0; sent.len()];
    for (sent, received) in sent.chunks(40_000).zip(received.chunks_mut(40_000)) {
        session.0.write_all(sent).unwrap();
        session.0.read_exact(received).unwrap();
    }
    assert!(received == sent);
}

#[test]
fn what_an_instance_says_after_the_client_has_said_everything_still_arrives() {
    let server = server(
        |_| {},
        |mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(all.len().to_string().as_bytes()).unwrap();
        },
    );
    let mut session = server.client().connect(server.raw, NAME).unwrap();
    session.0.write_all(&[7; 1000]).unwrap();
    session.0.conn.send_close_notify();
    session.0.flush().unwrap();
    let mut answer = String::new();
    session.0.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "1000");
}

#[test]
fn a_tunnel_ends_when_neither_side_says_anything_for_long() {
    let server = server(
        |settings| settings.limits.idle = Duration::from_secs(2),
        echo,
    );
    let mut session = server.client().connect(server.raw, NAME).unwrap();
    session.0.write_all(b"once").unwrap();
    let mut rest = Vec::new();
    let _ = session.0.read_to_end(&mut rest);
    assert_eq!(rest, b"once");
}

#[test]
fn without_an_instance_that_takes_it_a_connection_is_closed() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let server = server_for(|_| {}, address);
    let mut session = server.client().connect(server.raw, NAME).unwrap();
    let mut rest = Vec::new();
    let _ = session.0.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

/// A server that was asked to stop, and a tunnel of before.
fn stopping(drain: Duration) -> (Server, Session) {
    let server = server(|settings| settings.limits.drain = drain, echo);
    let mut session = server.client().connect(server.raw, NAME).unwrap();
    exchange(&mut session);
    server.ask_to_stop();
    server.eventually("the listener to close", || {
        TcpStream::connect(server.raw).err()
    });
    (server, session)
}

fn exchange(session: &mut Session) {
    let mut answer = [0; 4];
    session.0.write_all(b"ping").unwrap();
    session.0.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

#[test]
fn a_shutdown_waits_for_tunnels() {
    let (mut server, mut session) = stopping(4 * LONG);
    exchange(&mut session);
    session.end();
    assert!(server.stops_within(LONG));
}

#[test]
fn a_shutdown_waits_for_tunnels_only_as_long_as_it_may() {
    let (mut server, mut session) = stopping(Duration::from_millis(200));
    assert!(server.stops_within(LONG));
    assert!(!matches!(session.0.read(&mut [0]), Ok(1..)));
}
