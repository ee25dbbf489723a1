//! Who may do what: tokens, accounts, methods and paths.

use std::time::Duration;

use lifecycle::{AccountChange, Dialect, TokenLimits};
use serde_json::json;

use crate::support::Server;
use crate::{
    CSR, LOCATED, Leaf, PEM_TYPE, REVOKE, ROOT, SIMPLE, STANDARD, assert_error, path_of, post,
    send, send_as,
};
use base64::Engine as _;

/// Every route that needs a token, with a method that it serves.
const GUARDED: [(&str, &str); 13] = [
    ("GET", ROOT),
    ("POST", SIMPLE),
    ("POST", LOCATED),
    ("POST", CSR),
    ("GET", "/api/v1/http-01/1/solve"),
    ("POST", "/api/v1/http-01/1/solve"),
    ("GET", "/api/v1/dns-01/1/solve"),
    ("POST", "/api/v1/dns-01/1/solve"),
    ("GET", "/api/v1/challenge/1/solve"),
    ("GET", "/api/v1/certificate/1/obtain"),
    ("GET", "/api/v1/privatekey/1/obtain"),
    ("POST", REVOKE),
    ("POST", "/api/v1/certificate/1/revoke"),
];

fn is_revocation(path: &str) -> bool {
    path.ends_with("/revoke")
}

fn unknown_account_token() -> String {
    STANDARD.encode(format!("nobody:{}", "0".repeat(40)))
}

fn wrong_token() -> String {
    STANDARD.encode(format!("admin:{}", "0".repeat(40)))
}

#[test]
fn no_route_is_reached_without_a_good_token() {
    // Row 1.
    let server = Server::start();
    let malformed = [
        "",
        "x",
        "admin",
        &STANDARD.encode("admin:123"),
        &server.token.to_lowercase(),
    ];
    for (method, path) in GUARDED {
        assert_error(&server.send(method, path, &[], "{}"), 401);
        for token in malformed {
            assert_error(&send_as(&server, token, method, path, "{}"), 401);
        }
        assert_error(&send_as(&server, &wrong_token(), method, path, "{}"), 401);
        let unknown = if is_revocation(path) { 401 } else { 404 };
        let response = send_as(&server, &unknown_account_token(), method, path, "{}");
        assert_error(&response, unknown);
    }
}

#[test]
fn whether_an_account_exists_can_be_hidden() {
    let server = Server::with(|options| {
        options.api.certmaker.unknown_account_status = api::UnknownAccountStatus::Unauthorized;
    });
    for (method, path) in GUARDED {
        let response = send_as(&server, &unknown_account_token(), method, path, "{}");
        assert_error(&response, 401);
    }
}

#[test]
fn a_refusal_says_how_to_authenticate() {
    let server = Server::start();
    let response = server.send("GET", ROOT, &[], "");
    assert_eq!(response.header("www-authenticate"), Some("Bearer"));
}

#[test]
fn the_token_is_taken_from_any_of_its_four_places() {
    // Row 2.
    let server = Server::start();
    let bearer = format!("Bearer {}", server.token);
    let basic = format!("Basic {}", STANDARD.encode(format!("x:{}", server.token)));
    for (name, value) in [
        ("X-Auth-Token", &server.token),
        ("x-auth-token", &server.token),
        ("X-Api-Token", &server.token),
        ("Authorization", &bearer),
        ("Authorization", &basic),
    ] {
        let response = server.send("GET", ROOT, &[(name, value)], "");
        assert_eq!(response.status, 200, "{name}: {value}");
        assert_eq!(response.header("content-type"), Some(PEM_TYPE));
        assert!(response.text().starts_with("-----BEGIN CERTIFICATE-----\n"));
    }
}

#[test]
fn the_own_header_wins_over_all_others() {
    let server = Server::start();
    let (good, bad) = (server.token.clone(), wrong_token());
    let bearer = |token: &str| format!("Bearer {token}");
    for (own, other, status) in [(&good, &bad, 200), (&bad, &good, 401)] {
        let headers = [
            ("Authorization", &*bearer(other)),
            ("X-Api-Token", other),
            ("X-Auth-Token", own),
        ];
        assert_eq!(server.send("GET", ROOT, &headers, "").status, status);
    }
}

#[test]
fn a_disabled_account_is_refused_and_a_locked_one_is_not() {
    // Row 29.
    let server = Server::start();
    let token = server.account("tenant");
    let order = json!({"domains": ["a.test"]}).to_string();
    server.change_account("tenant", AccountChange::Lock);
    assert_eq!(send_as(&server, &token, "POST", SIMPLE, &order).status, 201);
    server.change_account("tenant", AccountChange::Disable);
    for (method, path) in GUARDED {
        assert_error(&send_as(&server, &token, method, path, "{}"), 403);
    }
    server.change_account("tenant", AccountChange::Enable);
    assert_eq!(send_as(&server, &token, "POST", SIMPLE, &order).status, 201);
}

#[test]
fn a_token_of_another_dialect_is_refused() {
    let server = Server::start();
    let limited = |dialects: Vec<Dialect>| {
        server.token_with(TokenLimits {
            dialects: Some(dialects),
            ..TokenLimits::default()
        })
    };
    let other = limited(vec![Dialect::KraftCloud]);
    for (method, path) in GUARDED {
        assert_error(&send_as(&server, &other, method, path, "{}"), 403);
    }
    let own = limited(vec![Dialect::D9t, Dialect::CertMaker]);
    assert_eq!(send_as(&server, &own, "GET", ROOT, "").status, 200);
}

#[test]
fn a_read_only_token_reads_and_changes_nothing() {
    let server = Server::start();
    let leaf = Leaf::order(&server);
    let token = server.token_with(TokenLimits {
        read_only: true,
        ..TokenLimits::default()
    });
    let obtain = format!("/api/v1/certificate/{}/obtain", leaf.serial());
    assert_eq!(send_as(&server, &token, "GET", &obtain, "").status, 200);
    let order = json!({"domains": ["a.test"]}).to_string();
    for path in [SIMPLE, LOCATED] {
        assert_error(&send_as(&server, &token, "POST", path, &order), 403);
    }
    let revoke = json!({"SerialNumber": leaf.low()}).to_string();
    assert_error(&send_as(&server, &token, "POST", REVOKE, &revoke), 403);
    assert_eq!(send(&server, "POST", REVOKE, &revoke).status, 200);
}

#[test]
fn an_expired_token_is_refused() {
    let server = Server::start();
    let token = server.token_with(TokenLimits {
        lifetime: Some(Duration::from_secs(60)),
        ..TokenLimits::default()
    });
    assert_eq!(send_as(&server, &token, "GET", ROOT, "").status, 200);
    server.advance(Duration::from_secs(61));
    assert_error(&send_as(&server, &token, "GET", ROOT, ""), 401);
}

#[test]
fn certificate_and_key_are_for_their_owner_and_the_key_for_an_hour() {
    // Row 20.
    let server = Server::start();
    let (owner, other) = (server.account("owner"), server.account("other"));
    let order = json!({"domains": ["a.test"]}).to_string();
    let response = send_as(&server, &owner, "POST", SIMPLE, order);
    let location = |name: &str| path_of(&server, response.header(name).unwrap()).to_owned();
    let certificate = location("x-certificate-location");
    let key = location("x-privatekey-location");
    for path in [&certificate, &key] {
        let obtained = send_as(&server, &owner, "GET", path, "");
        assert_eq!(obtained.status, 200);
        assert_eq!(obtained.header("content-type"), Some(PEM_TYPE));
        assert_eq!(obtained.header("cache-control"), Some("no-store"));
        assert_error(&send_as(&server, &other, "GET", path, ""), 404);
        assert_error(&send(&server, "GET", path, ""), 404);
    }
    server.advance(Duration::from_secs(59 * 60));
    assert_eq!(send_as(&server, &owner, "GET", &key, "").status, 200);
    server.advance(Duration::from_secs(60));
    assert_error(&send_as(&server, &owner, "GET", &key, ""), 404);
    assert_eq!(
        server
            .run(server.house.certificates.erase_expired_keys())
            .unwrap(),
        1
    );
    assert_error(&send_as(&server, &owner, "GET", &key, ""), 404);
    assert_eq!(
        send_as(&server, &owner, "GET", &certificate, "").status,
        200
    );
}

#[test]
fn a_certificate_is_obtained_by_its_low_64_bits_too() {
    let server = Server::start();
    let leaf = Leaf::order(&server);
    for kind in ["certificate", "privatekey"] {
        let by = |serial: String| {
            send(
                &server,
                "GET",
                &format!("/api/v1/{kind}/{serial}/obtain"),
                "",
            )
        };
        let full = by(leaf.serial().to_string());
        assert_eq!(full.status, 200);
        assert_eq!(by(leaf.low().to_string()).body, full.body);
        let beyond = leaf.serial() + (1 << 64);
        for unknown in [
            beyond.to_string(),
            "1".to_owned(),
            "0".to_owned(),
            "x".to_owned(),
            "-1".to_owned(),
            "9".repeat(50),
        ] {
            assert_error(&by(unknown), 404);
        }
    }
}

#[test]
fn wrong_methods_are_refused_with_the_right_ones() {
    // Rows 22 and 28.
    let server = Server::start();
    for (method, path, allow) in [
        ("GET", SIMPLE, "POST"),
        ("GET", LOCATED, "POST"),
        ("PUT", CSR, "POST"),
        ("GET", REVOKE, "POST"),
        ("GET", "/api/v1/certificate/1/revoke", "POST"),
        ("DELETE", "/api/v1/certificate/1/obtain", "GET, HEAD"),
        ("POST", "/api/v1/privatekey/1/obtain", "GET, HEAD"),
        ("POST", ROOT, "GET, HEAD"),
        ("POST", "/api/v1/crl", "GET, HEAD"),
        ("POST", "/api/v1/crl.pem", "GET, HEAD"),
        ("PATCH", "/api/v1/ca.cer", "GET, HEAD"),
        ("PUT", "/api/v1/ocsp", "GET, POST"),
    ] {
        let response = send(&server, method, path, "");
        assert_error(&response, 405);
        assert_eq!(response.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn paths_are_forgiven_a_slash_at_either_end_and_nothing_else() {
    let server = Server::start();
    for (path, status) in [
        ("/api/v1/root-certificate/obtain/", 200),
        ("//api/v1/root-certificate/obtain", 200),
        ("/api/v1/root-certificate/obtain?x=y", 200),
        ("/api/v1//root-certificate/obtain", 404),
        ("/api/v1/root-certificate//obtain", 404),
        ("/api/v1/root-certificate/obtain//", 404),
        ("/api/v1/root-certificate%2Fobtain", 404),
        ("/api/v1/Root-Certificate/obtain", 404),
        ("/api/v1", 404),
        ("/api/v1/", 404),
        ("/api/v1/dns-01//solve", 404),
        ("/api/v1/certificate", 404),
        ("/api/v1/certificate/1", 404),
        ("/api/v1/certificate/list", 404),
        ("/api/v1/ocspx", 404),
        ("/api/root-certificate/obtain", 404),
    ] {
        let response = send(&server, "GET", path, "");
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.header("location"), None);
        if status == 404 {
            assert_error(&response, 404);
            // Nobody needs a token to learn that nothing is there.
            assert_error(&server.send("GET", path, &[], ""), 404);
        }
    }
    let order = json!({"domains": ["a.test"]});
    assert_eq!(post(&server, &format!("{SIMPLE}/"), &order).status, 201);
}

#[test]
fn heads_are_answered_like_gets_without_a_body() {
    let server = Server::start();
    let response = send(&server, "HEAD", ROOT, "");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some(PEM_TYPE));
}
