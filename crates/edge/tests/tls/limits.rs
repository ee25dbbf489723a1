//! Clients that want too much, or nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pki::KeyAlgorithm;

use crate::support::{LONG, Server};

const NAME: &str = "app.example.com";

fn server_with(change: impl FnOnce(&mut edge::Settings)) -> Server {
    let server = Server::with(change);
    server.issue(KeyAlgorithm::P256, &[NAME]);
    server.serve(&[NAME], 80);
    server
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// What the other side sends before it closes the connection.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    rest
}

#[test]
fn a_handshake_that_takes_too_long_is_cut_off() {
    let server = server_with(|settings| settings.limits.handshake = Duration::from_secs(2));
    assert_eq!(rest(connect(server.https)), b"");
    let mut stream = connect(server.https);
    // The beginning of a record that never goes on.
    stream.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    assert_eq!(rest(stream), b"");
    let labels = r#"{outcome="timeout",version="none",group="none",resumed="no"}"#;
    server.eventually("both to be counted", || {
        (server.counter(&format!("edge_handshakes_total{labels}")) == 2).then_some(())
    });
}

#[test]
fn what_is_not_tls_is_answered_with_an_alert() {
    let server = server_with(|_| {});
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n"[..],
        &[0x16, 3, 1, 0xff, 0xff],
        &[0x16, 3, 1, 0, 4, 1, 0, 0, 0],
    ] {
        let mut stream = connect(server.https);
        stream.write_all(bytes).unwrap();
        let answer = rest(stream);
        assert_eq!(answer.first(), Some(&0x15), "{bytes:?}: {answer:?}");
    }
}

#[test]
fn names_that_nobody_has_never_reach_the_store() {
    let server = server_with(|_| {});
    let client = server.client().without_sessions();
    client.connect(server.https, NAME).unwrap();
    server.wait_for_index();
    let misses = server.misses();
    for number in 0..500 {
        client.refusal(server.https, &format!("{number}.example.com"));
    }
    assert_eq!(server.misses(), misses);
    client.connect(server.https, NAME).unwrap();
    assert_eq!(server.misses(), misses);
    let labels = r#"{outcome="unknown_name",version="none",group="none",resumed="no"}"#;
    server.eventually("the refused to be counted", || {
        (server.counter(&format!("edge_handshakes_total{labels}")) >= 500).then_some(())
    });
}

#[test]
fn names_under_a_wildcard_share_one_look_at_the_store() {
    let server = server_with(|_| {});
    server.issue(KeyAlgorithm::P256, &["*.example.net"]);
    server.serve(&["*.example.net"], 80);
    server.wait_for_index();
    let client = server.client().without_sessions();
    client.connect(server.https, "first.example.net").unwrap();
    let misses = server.misses();
    for number in 0..100 {
        let name = format!("{number}.example.net");
        client.connect(server.https, &name).unwrap();
    }
    assert_eq!(server.misses(), misses);
}

#[test]
fn a_peer_has_no_more_connections_than_its_share() {
    let server = server_with(|settings| settings.limits.connections_per_loopback_peer = 2);
    let (first, _second) = (connect(server.https), connect(server.https));
    assert_eq!(rest(connect(server.https)), b"");
    drop(first);
    let client = server.client();
    server.eventually("the place to be free again", || {
        client.connect(server.https, NAME).ok()
    });
}

#[test]
fn a_shutdown_does_not_wait_for_those_who_say_nothing() {
    let mut server = server_with(|settings| settings.limits.drain = 4 * LONG);
    let silent = connect(server.https);
    server.client().connect(server.https, NAME).unwrap();
    server.ask_to_stop();
    assert_eq!(rest(silent), b"");
    assert!(server.stops_within(LONG));
}
