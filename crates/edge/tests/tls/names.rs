//! Which certificate a client gets for the name that it sends.

use pki::KeyAlgorithm;
use rustls::AlertDescription;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
};
use testbed::try_openssl;

use crate::support::{Client, Server};

#[test]
fn a_name_is_served_with_its_own_certificate_or_the_wildcard_s_over_it() {
    let server = Server::start();
    let p256 = KeyAlgorithm::P256;
    server.issue(p256, &["exact.example.com"]);
    server.issue(p256, &["first.example.net", "second.example.net"]);
    server.issue(p256, &["*.wild.example"]);
    let domains = [
        "exact.example.com",
        "first.example.net",
        "second.example.net",
        "*.wild.example",
    ];
    server.serve(&domains, 80);
    let client = server.client();
    let names_of = |name| {
        let session = client.connect(server.https, name).unwrap();
        let names = session.leaf().identifiers();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        names.join(",")
    };
    assert_eq!(names_of("exact.example.com"), "exact.example.com");
    let both = "first.example.net,second.example.net";
    assert_eq!(names_of("first.example.net"), both);
    assert_eq!(names_of("second.example.net"), both);
    assert_eq!(names_of("any.wild.example"), "*.wild.example");
    assert_eq!(names_of("ANY.Wild.Example"), "*.wild.example");
}

#[test]
fn a_name_that_nobody_has_is_refused_as_unrecognized() {
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &["*.wild.example"]);
    server.serve(&["*.wild.example"], 80);
    let client = server.client();
    for name in [
        "wild.example",
        "a.b.wild.example",
        "other.example",
        "example",
        "xn--nobody.example",
        "_under.score.example",
    ] {
        let alert = client.refusal(server.https, name);
        assert_eq!(alert, AlertDescription::UnrecognisedName, "{name}");
    }
}

#[test]
fn a_service_is_not_served_at_a_port_that_it_does_not_publish() {
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &["app.example.com"]);
    let service = server.serve(&["app.example.com"], 80);
    server.unpublish(service, 443);
    let client = server.client();
    server.eventually("the port to be closed", || {
        let refused = client.connect(server.https, "app.example.com").is_err();
        refused.then_some(())
    });
    let alert = client.refusal(server.https, "app.example.com");
    assert_eq!(alert, AlertDescription::UnrecognisedName);
    assert!(client.connect(server.raw, "app.example.com").is_ok());
}

#[test]
fn a_client_that_names_nobody_is_refused_unless_there_is_a_default() {
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &["app.example.com"]);
    server.serve(&["app.example.com"], 80);
    let client = server.client().without_name();
    let alert = client.refusal(server.https, "app.example.com");
    assert_eq!(alert, AlertDescription::UnrecognisedName);

    let change = |settings: &mut edge::Settings| {
        settings.default_domain = Some("app.example.com".to_owned());
    };
    let server = Server::over(server.stop(), change);
    let session = client.connect(server.https, "app.example.com").unwrap();
    assert!(!session.is_resumed());
    let client = server.client();
    let alert = client.refusal(server.https, "other.example.com");
    assert_eq!(alert, AlertDescription::UnrecognisedName);
}

#[test]
fn of_two_kinds_of_keys_a_client_gets_the_one_that_it_can_use() {
    let server = Server::start();
    server.issue(KeyAlgorithm::Rsa2048, &["app.example.com"]);
    server.issue(KeyAlgorithm::P256, &["app.example.com"]);
    server.serve(&["app.example.com"], 80);
    let client = server.client();
    let is_rsa = |client: &Client| {
        let session = client.connect(server.https, "app.example.com").unwrap();
        session.leaf().public_key().unwrap().algorithm().is_rsa()
    };
    assert!(!is_rsa(&client));
    let root = server.root().der().to_vec();
    let rsa = client
        .clone()
        .with_suites(&[TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256], &root);
    assert!(is_rsa(&rsa));
    let ecdsa = client.with_suites(&[TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256], &root);
    assert!(!is_rsa(&ecdsa));
    // Of TLS 1.3, where no cipher suite tells.
    let address = server.https.to_string();
    for (signatures, expected) in [
        ("rsa_pss_rsae_sha256", "rsaEncryption"),
        (
            "ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256",
            "id-ecPublicKey",
        ),
        (
            "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256",
            "id-ecPublicKey",
        ),
    ] {
        let arguments = [
            "s_client",
            "-connect",
            &address,
            "-servername",
            "app.example.com",
            "-tls1_3",
            "-sigalgs",
            signatures,
        ];
        let text = try_openssl(&arguments, b"").text();
        let leaf = text.lines().find(|line| line.contains("a:PKEY:")).unwrap();
        assert!(leaf.contains(expected), "{signatures}: {text}");
    }
}

#[test]
fn a_client_that_can_use_no_signature_of_the_key_is_told_so() {
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &["app.example.com"]);
    server.serve(&["app.example.com"], 80);
    let address = server.https.to_string();
    let arguments = [
        "s_client",
        "-connect",
        &address,
        "-servername",
        "app.example.com",
        "-sigalgs",
        "rsa_pss_rsae_sha256",
    ];
    let output = try_openssl(&arguments, b"");
    assert_ne!(output.code(), Some(0));
    assert!(output.stderr.contains("handshake failure"), "{output:?}");
}

#[test]
fn a_domain_is_served_once_its_certificate_is_there() {
    let server = Server::start();
    server.serve(&["new.example.com"], 80);
    let client = server.client();
    let alert = client.refusal(server.https, "new.example.com");
    assert_eq!(alert, AlertDescription::InternalError);
    let misses = server.misses();
    client.refusal(server.https, "new.example.com");
    assert_eq!(server.misses(), misses);
    server.run(server.house.obtain_due_now()).unwrap();
    server.eventually("the certificate to be served", || {
        client.connect(server.https, "new.example.com").ok()
    });
}
