//! ACME directories that look for a proof of control (RFC 8737, RFC 8738, RFC 8555 section 8.3).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use pki::{Certificate, KeyAlgorithm};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConnection};
use testbed::{Curl, openssl, try_openssl};

use crate::support::{LONG, Server};

const NAME: &str = "app.example.com";
const ANSWER: &str = "token.thumbprint";
const PROTOCOL: &str = "acme-tls/1";

/// What openssl has to say of a handshake with this protocol.
fn shaken(server: &Server, name: &str, protocol: &str) -> testbed::Output {
    let address = server.https.to_string();
    let arguments = [
        "s_client",
        "-connect",
        &address,
        "-servername",
        name,
        "-alpn",
        protocol,
        "-showcerts",
    ];
    try_openssl(&arguments, b"")
}

fn leaf(shaken: &testbed::Output) -> Certificate {
    Certificate::from_pem(shaken.text().as_bytes()).expect("no certificate was shown")
}

fn counted(server: &Server, kind: &str, outcome: &str) -> u64 {
    server.counter(&format!(
        "edge_challenges_total{{kind=\"{kind}\",outcome=\"{outcome}\"}}"
    ))
}

#[test]
fn a_directory_is_shown_the_proof_for_a_name_and_for_an_address() {
    let server = Server::start();
    let mut expected = vec![6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 31, 1, 1, 0xff, 4, 34, 4, 32];
    expected.extend(digest(&SHA256, ANSWER.as_bytes()).as_ref());
    for (name, server_name) in [
        (NAME, NAME),
        ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
        (
            "2001:db8::1",
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
        ),
    ] {
        server.challenge(name, "tls-alpn-01", "token", ANSWER);
        let shaken = shaken(&server, server_name, PROTOCOL);
        assert!(
            shaken.text().contains("ALPN protocol: acme-tls/1"),
            "{shaken:?}"
        );
        let leaf = leaf(&shaken);
        let names: Vec<String> = leaf.identifiers().iter().map(ToString::to_string).collect();
        assert_eq!(names, [name]);
        let mut parts = leaf.der().windows(expected.len());
        assert!(parts.any(|part| part == expected), "{name}");
        let read = server.data.write("leaf.pem", leaf.to_pem());
        let text = openssl(&["x509", "-noout", "-text", "-in", &read], b"").text();
        assert!(text.contains("1.3.6.1.5.5.7.1.31: critical"), "{text}");
    }
    server.eventually("three proofs to be counted", || {
        (counted(&server, "tls-alpn-01", "answered") == 3).then_some(())
    });
}

#[test]
fn no_data_follows_and_no_ticket_is_given() {
    let server = Server::start();
    server.challenge(NAME, "tls-alpn-01", "token", ANSWER);
    let client = server.client().with_protocols(&[PROTOCOL]).trusting_all();
    let mut session = client.connect(server.https, NAME).unwrap();
    assert_eq!(session.protocol(), Some(PROTOCOL.as_bytes()));
    let request = b"GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n";
    // The other side may have closed the connection already.
    let _ = session.0.write_all(request);
    let mut answer = Vec::new();
    let ended = session.0.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{ended:?}");
    assert_eq!(session.0.conn.tls13_tickets_received(), 0);
}

#[test]
fn others_see_the_site_of_the_name_while_it_is_being_proven() {
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &[NAME]);
    server.serve(&[NAME], 80);
    server.challenge(NAME, "tls-alpn-01", "token", ANSWER);
    for protocols in ["h2,http/1.1", "h2,acme-tls/1", "acme-tls/1,http/1.1"] {
        let shaken = shaken(&server, NAME, protocols);
        let issuer = leaf(&shaken).issuer().to_string();
        assert!(issuer.contains("Chancery"), "{protocols}: {issuer}");
    }
    let proof = leaf(&shaken(&server, NAME, PROTOCOL));
    assert_eq!(proof.issuer(), proof.subject());
}

#[test]
fn who_asks_for_the_proof_of_something_else_is_refused() {
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &[NAME]);
    server.serve(&[NAME], 80);
    server.challenge("other.example.com", "http-01", "token", ANSWER);
    server.challenge("wild.example.com", "tls-alpn-01", "token", ANSWER);
    let client = server.client().with_protocols(&[PROTOCOL]);
    for name in [
        NAME,
        "unknown.example.com",
        "other.example.com",
        "a.wild.example.com",
        "1.2.0.192.in-addr.arpa",
    ] {
        let alert = client.refusal(server.https, name);
        assert_eq!(alert, AlertDescription::UnrecognisedName, "{name}");
    }
    let alert = client.without_name().refusal(server.https, NAME);
    assert_eq!(alert, AlertDescription::UnrecognisedName);
    // What is refused is counted after the client has heard of it.
    server.eventually("six refusals to be counted", || {
        (counted(&server, "tls-alpn-01", "unknown") == 6).then_some(())
    });
    assert_eq!(counted(&server, "tls-alpn-01", "answered"), 0);
}

#[test]
fn a_directory_that_stalls_is_cut_off() {
    let server = Server::with(|settings| settings.limits.handshake = Duration::from_secs(2));
    server.challenge(NAME, "tls-alpn-01", "token", ANSWER);
    let client = server.client().with_protocols(&[PROTOCOL]);
    let name = ServerName::try_from(NAME).unwrap();
    let mut connection = ClientConnection::new(Arc::new(client.0.clone()), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    let mut stream = TcpStream::connect(server.https).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(&hello).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    // A ServerHello, and then nothing that would have ended the handshake.
    assert_eq!(answer.first(), Some(&0x16));
    let labels = r#"{outcome="timeout",version="none",group="none",resumed="no"}"#;
    server.eventually("it to be counted", || {
        (server.counter(&format!("edge_handshakes_total{labels}")) == 1).then_some(())
    });
}

#[test]
fn a_directory_that_comes_to_the_plain_port_is_answered_whatever_the_host() {
    let server = Server::start();
    server.challenge("new.example.com", "http-01", "token", ANSWER);
    server.challenge("127.0.0.1", "http-01", "other-token", "other.answer");
    let port = server.http.port();
    let path = ".well-known/acme-challenge";
    let curl = || Curl::trusting(&[]).at("new.example.com", server.http);
    let answer = curl().get(&format!("http://new.example.com:{port}/{path}/token"));
    assert_eq!((answer.status, answer.text().as_str()), (200, ANSWER));
    let answer = curl().get(&format!("http://127.0.0.1:{port}/{path}/other-token"));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "other.answer")
    );
    for unknown in ["other-token", "unknown", "token/", "%74oken", ""] {
        let answer = curl().get(&format!("http://new.example.com:{port}/{path}/{unknown}"));
        assert_eq!(answer.status, 404, "{unknown}");
    }
    assert_eq!(counted(&server, "http-01", "answered"), 2);
    assert_eq!(counted(&server, "http-01", "unknown"), 5);
}
