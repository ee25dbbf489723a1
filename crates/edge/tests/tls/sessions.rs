//! Versions, key exchange, protocols, and sessions that go on.

use pki::KeyAlgorithm;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
use rustls::{AlertDescription, NamedGroup, ProtocolVersion};
use testbed::try_openssl;

use crate::support::{Client, Server};

const NAME: &str = "app.example.com";

fn server() -> Server {
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &[NAME, "other.example.com"]);
    server.serve(&[NAME, "other.example.com"], 80);
    server
}

fn of_tls_1_2(server: &Server) -> Client {
    let suites = [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384];
    server.client().with_suites(&suites, server.root().der())
}

#[test]
fn tls_1_3_agrees_on_a_key_that_quantum_computers_do_not_break() {
    let server = server();
    let session = server.client().connect(server.https, NAME).unwrap();
    assert_eq!(session.version(), ProtocolVersion::TLSv1_3);
    assert_eq!(session.group(), NamedGroup::X25519MLKEM768);
    let labels = r#"{outcome="ok",version="1.3",group="X25519MLKEM768",resumed="no"}"#;
    server.eventually("the handshake to be counted", || {
        (server.counter(&format!("edge_handshakes_total{labels}")) > 0).then_some(())
    });
}

#[test]
fn tls_1_2_is_spoken_and_nothing_older() {
    let server = server();
    let session = of_tls_1_2(&server).connect(server.https, NAME).unwrap();
    assert_eq!(session.version(), ProtocolVersion::TLSv1_2);
    let address = server.https.to_string();
    for arguments in [
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"],
        &["-tls1_2", "-cipher", "AES256-GCM-SHA384:@SECLEVEL=0"],
    ] {
        let mut all = vec!["s_client", "-connect", &address, "-servername", NAME];
        all.extend(arguments);
        let output = try_openssl(&all, b"");
        assert_ne!(output.code(), Some(0), "{arguments:?}: {output:?}");
    }
}

#[test]
fn http_is_chosen_where_http_is_spoken_and_nothing_else() {
    let server = server();
    let client = server
        .client()
        .with_protocols(&["spdy/3", "http/1.1", "h2"]);
    let session = client.connect(server.https, NAME).unwrap();
    assert_eq!(session.protocol(), Some(&b"h2"[..]));
    let client = client.with_protocols(&["http/1.1"]);
    let session = client.connect(server.https, NAME).unwrap();
    assert_eq!(session.protocol(), Some(&b"http/1.1"[..]));
    let client = client.with_protocols(&["spdy/3"]);
    let alert = client.refusal(server.https, NAME);
    assert_eq!(alert, AlertDescription::NoApplicationProtocol);
    let session = client.connect(server.raw, NAME).unwrap();
    assert_eq!(session.protocol(), None);
}

#[test]
fn a_session_goes_on_with_either_version() {
    let server = server();
    for client in [server.client(), of_tls_1_2(&server)] {
        let session = client.connect(server.https, NAME).unwrap();
        assert!(!session.is_resumed());
        session.end();
        assert!(client.connect(server.https, NAME).unwrap().is_resumed());
        let client = client.without_sessions();
        assert!(!client.connect(server.https, NAME).unwrap().is_resumed());
    }
}

#[test]
fn a_session_goes_on_after_a_restart() {
    let server = server();
    let client = server.client();
    client.connect(server.https, NAME).unwrap().end();
    let server = Server::over(server.stop(), |_| {});
    assert!(client.connect(server.https, NAME).unwrap().is_resumed());
}

#[test]
fn a_ticket_that_nobody_can_read_means_a_full_handshake() {
    let (one, other) = (server(), server());
    let client = one.client();
    client.connect(one.https, NAME).unwrap().end();
    let mut both = other.client();
    both.0.resumption = client.0.resumption.clone();
    assert!(!both.connect(other.https, NAME).unwrap().is_resumed());
}

#[test]
fn a_session_does_not_go_on_under_another_name() {
    let server = server();
    let address = server.https.to_string();
    let file = server.data.path("session.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        let connect = |name, action| {
            let arguments = [
                "s_client",
                "-connect",
                &address,
                "-servername",
                name,
                version,
                action,
                &file,
            ];
            try_openssl(&arguments, b"Q\n").text()
        };
        let _ = std::fs::remove_file(&file);
        // The ticket of TLS 1.3 follows the handshake, and openssl may have
        // gone before it arrives.
        let saved = server.eventually("a session to be saved", || {
            let saved = connect(NAME, "-sess_out");
            std::fs::exists(&file).unwrap().then_some(saved)
        });
        assert!(saved.contains("New, TLSv1"), "{saved}");
        let other = connect("other.example.com", "-sess_in");
        assert!(other.contains("New, TLSv1"), "{other}");
        let same = connect(NAME, "-sess_in");
        assert!(same.contains("Reused, TLSv1"), "{same}");
    }
}
