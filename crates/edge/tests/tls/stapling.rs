//! OCSP responses that come with the handshake.

use std::sync::atomic::Ordering;

use lifecycle::{DEFAULT_AUTHORITY, EgressPolicy};
use pki::{CertId, Certificate, HashAlgorithm, IssuerHashes, KeyAlgorithm, VerifiedAnswer};
use testbed::try_openssl;

use crate::support::{Client, Server};

const NAME: &str = "app.example.com";

fn local() -> Server {
    Server::with(|settings| {
        settings.responders = EgressPolicy {
            private: false,
            loopback: true,
        };
    })
}

/// What is stapled, which has to be an answer of `issuer` that says "good".
fn staple(server: &Server, client: &Client, issuer: &Certificate) -> Option<Vec<u8>> {
    let (session, staple) = client.connect_for_staple(server.https, NAME);
    let staple = staple?;
    let hashes = IssuerHashes::of(issuer);
    let id = CertId::new(HashAlgorithm::Sha1, &hashes, session.leaf().serial());
    let answer = VerifiedAnswer::read(&staple, &id, issuer, server.now()).unwrap();
    assert!(answer.is_good);
    Some(staple)
}

fn issuer(server: &Server) -> Certificate {
    let authority = server.house.authorities.named(DEFAULT_AUTHORITY);
    server.run(authority).unwrap().issuing_certificate().clone()
}

#[test]
fn an_authority_of_the_house_speaks_for_its_certificates_at_once() {
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &[NAME]);
    server.serve(&[NAME], 80);
    let issuer = issuer(&server);
    assert!(staple(&server, &server.client(), &issuer).is_some());

    let (address, root) = (server.https.to_string(), server.root_file());
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [
            "s_client",
            "-connect",
            &address,
            "-servername",
            NAME,
            "-CAfile",
            &root,
            "-verify_return_error",
            "-status",
            version,
        ];
        let text = try_openssl(&arguments, b"").text();
        assert!(
            text.contains("OCSP Response Status: successful (0x0)"),
            "{text}"
        );
        assert!(text.contains("Cert Status: good"), "{text}");
        assert!(text.contains("Verification: OK"), "{text}");
    }
}

#[test]
fn a_foreign_responder_is_asked_beside_the_handshakes() {
    let server = local();
    let foreign = server.foreign();
    let pair = foreign.issue(&[NAME]);
    server.upload(&pair.chain, &pair.key);
    server.serve(&[NAME], 80);
    let (client, issuer) = (foreign.client(), foreign.issuer());
    server.eventually("the answer to be stapled", || {
        staple(&server, &client, &issuer)
    });
    let asked = foreign.asked.load(Ordering::SeqCst);
    for _ in 0..20 {
        assert!(staple(&server, &client, &issuer).is_some());
    }
    assert_eq!(foreign.asked.load(Ordering::SeqCst), asked);
}

#[test]
fn only_what_is_good_is_stapled() {
    let server = local();
    let foreign = server.foreign();
    let pair = foreign.issue(&[NAME]);
    foreign.revoke(pair.id);
    server.upload(&pair.chain, &pair.key);
    server.serve(&[NAME], 80);
    let client = foreign.client();
    client.connect(server.https, NAME).unwrap();
    server.eventually("the responder to be asked", || {
        (foreign.asked.load(Ordering::SeqCst) > 0).then_some(())
    });
    assert_eq!(staple(&server, &client, &foreign.issuer()), None);
}

#[test]
fn a_responder_on_this_machine_is_not_asked_unless_the_operator_says_so() {
    let server = Server::start();
    let foreign = server.foreign();
    let (pair, client) = (foreign.issue(&[NAME]), foreign.client());
    server.upload(&pair.chain, &pair.key);
    server.serve(&[NAME], 80);
    for _ in 0..20 {
        assert_eq!(staple(&server, &client, &foreign.issuer()), None);
    }
    assert_eq!(foreign.asked.load(Ordering::SeqCst), 0);
}
