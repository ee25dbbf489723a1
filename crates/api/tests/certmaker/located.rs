//! Challenges as the first generation of clients meets them: with the token alone, addresses in
//! headers, and statuses of their own.

use std::sync::Arc;

use serde_json::json;
use store::Scope;
use testbed::Authority;

use crate::challenges::{Waiting, assert_says, server};
use crate::support::responder::{Reply, Responder, ok, status};
use crate::{CSR, LOCATED, PEM_TYPE, assert_error, path_of, post, send};

const FILE: &str = "/.well-known/certmaker-challenge/token.txt";

/// Says that the token is at this port, as those clients do.
fn solve(server: &crate::support::Server, waiting: &Waiting, port: u16) -> testbed::http::Response {
    let port = port.to_string();
    let headers = [
        ("X-Auth-Token", server.token.as_str()),
        ("X-Validation-Port", port.as_str()),
    ];
    server.send("GET", &waiting.path("challenge"), &headers, "")
}

#[test]
fn the_token_alone_is_answered_and_addresses_in_the_end() {
    let server = server(|_| {});
    let responder = Responder::start();
    for order in [
        json!({"Domains": ["a.test"], "CertFile": "x"}),
        json!({"domains": ["a.test"], "emails": null}),
    ] {
        let waiting = Waiting::of(&server, &post(&server, LOCATED, &order));
        assert_eq!(waiting.body, serde_json::Value::Null);
        let answer = ok(&format!("{}\r\n", waiting.token));
        responder.answer(move |path| {
            let is_there = path == FILE;
            Reply::Raw(if is_there {
                answer.clone()
            } else {
                status("404 Not Found")
            })
        });
        let solved = solve(&server, &waiting, responder.port());
        assert_eq!((solved.status, solved.text()), (200, String::new()));
        for header in ["x-certificate-location", "x-privatekey-location"] {
            let obtained = send(
                &server,
                "GET",
                path_of(&server, solved.header(header).unwrap()),
                "",
            );
            assert_eq!(
                (obtained.status, obtained.header("content-type")),
                (200, Some(PEM_TYPE))
            );
        }
        // Again, and nothing is looked for.
        let asked = responder.asked().len();
        let again = solve(&server, &waiting, responder.port());
        assert_eq!(again.status, 200);
        let location = "x-certificate-location";
        assert_eq!(again.header(location), solved.header(location));
        assert_eq!(responder.asked().len(), asked);
    }
}

#[test]
fn a_request_with_a_csr_gets_no_address_of_a_key() {
    let server = server(|_| {});
    let responder = Responder::start();
    let files = crate::requests::request(&["-newkey", "ed25519"], &["-subj", "/CN=a.test"]);
    let headers = [
        ("X-Auth-Token", server.token.as_str()),
        ("Accept", "text/plain"),
    ];
    let placed = server.send("POST", CSR, &headers, files.read("request.der"));
    let waiting = Waiting::of(&server, &placed);
    responder.has(&waiting.token);
    let solved = solve(&server, &waiting, responder.port());
    assert_eq!(solved.status, 200);
    assert!(solved.header("x-certificate-location").is_some());
    assert_eq!(solved.header("x-privatekey-location"), None);
}

#[test]
fn a_wrong_token_is_told_from_nobody_being_there() {
    let server = server(|_| {});
    let responder = Responder::start();
    let order = json!({"domains": ["a.test"]});
    let waiting = Waiting::of(&server, &post(&server, LOCATED, &order));
    let failed = "failed HTTP-01 validation for domain a.test";
    responder.has("another token");
    assert_says(&solve(&server, &waiting, responder.port()), 403, failed);
    let free = testbed::free_port();
    assert_says(&solve(&server, &waiting, free), 417, failed);
    assert_error(&solve(&server, &waiting, 22), 400);
    let elsewhere = format!("/api/v1/challenge/{}/solve", "0".repeat(40));
    assert_error(&send(&server, "GET", &elsewhere, ""), 404);
    server.advance(std::time::Duration::from_secs(2 * 60 * 60 + 1));
    assert_says(
        &solve(&server, &waiting, responder.port()),
        410,
        "challenge expired",
    );
}

#[test]
fn the_token_may_be_behind_tls_with_any_certificate() {
    let server = server(|_| {});
    let pair = Authority::new().issue(&["somebody.else.test"], 30);
    let responder = Responder::start_with_tls(configuration(&pair));
    let order = json!({"domains": ["a.test"]});
    let waiting = Waiting::of(&server, &post(&server, LOCATED, &order));
    responder.has(&waiting.token);
    assert_eq!(solve(&server, &waiting, responder.port()).status, 200);
    let host = format!("a.test:{}{FILE}", responder.port());
    assert_eq!(responder.asked(), [host]);
    // Later generations do not look there.
    let waiting = Waiting::order(&server, &order);
    responder.has(&waiting.token);
    assert_error(&waiting.solve_at(&server, responder.port()), 400);
}

fn configuration(pair: &testbed::Pair) -> rustls::ServerConfig {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_slice_iter(pair.chain.as_bytes());
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

#[test]
fn a_key_that_is_given_again_is_written_down_each_time() {
    let server = server(|_| {});
    let responder = Responder::start();
    let waiting = Waiting::order(&server, &json!({"domains": ["a.test"]}));
    responder.has(&waiting.token);
    let taken = || {
        let events = server.run(server.store.events_after(Scope::Everything, None, 1_000));
        let taken = |event: &store::Event| event.kind == "certificate.key_taken";
        events.unwrap().into_iter().filter(taken).count()
    };
    assert_eq!(waiting.solve_at(&server, responder.port()).status, 201);
    assert_eq!(taken(), 0);
    for times in 1..3 {
        let again = waiting.solve_at(&server, responder.port());
        assert!(again.json()["private_key_pem"].is_string());
        assert_eq!(taken(), times);
    }
    // Who is told addresses only has no key yet.
    assert_eq!(solve(&server, &waiting, responder.port()).status, 200);
    assert_eq!(taken(), 2);
}
