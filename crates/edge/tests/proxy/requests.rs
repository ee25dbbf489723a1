//! Who is asked, and what they learn.

use std::io::{Read as _, Write as _};

use pki::KeyAlgorithm;
use testbed::Backend;

use crate::support::{Server, Session};
use crate::{NAME, curl, https, server_before};

#[test]
fn both_versions_of_http_reach_an_instance() {
    let backend = Backend::web("one");
    let server = server_before(backend.address());
    let curl = curl(&server, &[NAME]);
    for (version, argument) in [("1.1", "--http1.1"), ("2", "--http2")] {
        let curl = curl.clone().args(&[argument]);
        let answer = curl.get(&https(&server, "/"));
        assert_eq!((answer.status, answer.version.as_str()), (200, version));
        assert_eq!(answer.text(), backend.greeting());
        let head = curl.get(&https(&server, "/head")).text();
        for line in [
            format!("host: {NAME}:{}", server.https.port()),
            "x-forwarded-for: 127.0.0.1".to_owned(),
            "x-forwarded-proto: https".to_owned(),
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
        }
    }
    let answer = curl.get(&format!("http://{NAME}:{}/", server.http.port()));
    assert_eq!(answer.text(), backend.greeting());
    assert_eq!(server.counter("edge_requests_total{status=\"2xx\"}"), 5);
    assert_eq!(server.counter("edge_upstream_seconds_count"), 5);
}

#[test]
fn a_websocket_goes_through() {
    let backend = Backend::web("one");
    let server = server_before(backend.address());
    let mut session = server.client().connect(server.https, NAME).unwrap();
    let request = format!(
        "GET /socket HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    session.0.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        session.0.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let accepted = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    assert!(head.contains(accepted), "{head}");
    // `hi` as text, masked with zeros (RFC 6455 section 5.2), and a close.
    session.0.write_all(b"\x81\x82\0\0\0\0hi").unwrap();
    let mut echo = [0; 4];
    session.0.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"\x81\x02hi");
    session.0.write_all(b"\x88\x80\0\0\0\0").unwrap();
    let mut close = [0; 2];
    session.0.read_exact(&mut close).unwrap();
    assert_eq!(&close, b"\x88\x00");
}

#[test]
fn a_connection_for_one_domain_serves_another_only_with_its_certificate() {
    let backend = Backend::web("one");
    let server = Server::start();
    let shared = ["a.example.com", "b.example.com"];
    server.issue(KeyAlgorithm::P256, &shared);
    server.issue(KeyAlgorithm::P256, &["c.example.com"]);
    server.serve_from(&shared, backend.address());
    server.serve_from(&["c.example.com"], backend.address());
    let curl = curl(&server, &["a.example.com"]);
    let url = format!("https://a.example.com:{}/", server.https.port());
    for (host, status) in [
        ("a.example.com", 200),
        ("b.example.com", 200),
        ("c.example.com", 421),
        ("d.example.com", 421),
    ] {
        let curl = curl.clone().args(&["--header", &format!("Host: {host}")]);
        assert_eq!(curl.get(&url).status, status, "{host}");
    }
}

#[test]
fn what_is_decided_about_a_service_holds_for_the_next_request_of_a_connection() {
    let backend = Backend::web("one");
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &[NAME]);
    let service = server.serve(&[NAME], backend.port());
    let mut session = server.client().connect(server.https, NAME).unwrap();
    let mut ask = || {
        let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        session.0.write_all(request.as_bytes()).unwrap();
        status_of(&mut session)
    };
    assert_eq!(ask(), 503);
    server.unpublish(service, 443);
    server.eventually("the port to be gone", || (ask() == 404).then_some(()));
}

/// The status of an answer with a length, all of which is read.
fn status_of(Session(stream): &mut Session) -> u16 {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    stream
        .read_exact(&mut vec![0; length.parse().unwrap()])
        .unwrap();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}
