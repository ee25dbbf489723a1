//! Policies: what an account may have certified, whichever way it asks.

use lifecycle::TokenLimits;
use serde_json::{Value, json};
use testbed::http::Response;

use super::call;
use super::support::Server;

const POLICY: &str = "/chancery/v1/accounts/bob/policy";
const CERTIFICATES: &str = "/chancery/v1/certificates";

/// A server with an account `bob` of this policy, and its token.
fn server_with(policy: &Value) -> (Server, String) {
    let server = Server::start();
    let token = server.account("bob");
    set(&server, policy);
    (server, token)
}

fn set(server: &Server, policy: &Value) {
    let kept = call(server, &server.token, "PUT", POLICY, policy);
    assert_eq!(kept.status, 200, "{}", kept.text());
}

/// That it was refused, and because of which rule.
fn expect_refused(answer: &Response, status: u16, rule: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let words = format!("policy has the rule {rule}");
    assert!(answer.text().contains(&words), "{}", answer.text());
}

/// A request for `b.example.com` with a new key.
fn csr(key: &[&str]) -> String {
    let subject = [
        "-nodes",
        "-keyout",
        "/dev/null",
        "-subj",
        "/CN=b.example.com",
    ];
    let arguments = [&["req", "-new", "-newkey"], key, &subject].concat();
    testbed::openssl(&arguments, b"").text()
}

#[test]
fn whatever_breaks_a_policy_is_refused_with_the_name_of_its_rule() {
    let (server, bob) = server_with(&json!({
        "names": ["example.com", "10.0.0.0/8"], "keys": ["p256"], "max_days": 5,
    }));
    let issue = |body: Value| call(&server, &bob, "POST", CERTIFICATES, &body);
    let issued = issue(json!({ "names": ["a.example.com", "10.1.2.3"], "days": 5 }));
    assert_eq!(issued.status, 200, "{}", issued.text());
    expect_refused(&issue(json!({ "names": ["a.test"] })), 403, "names");
    expect_refused(&issue(json!({ "names": ["192.0.2.1"] })), 403, "names");
    let mixed = issue(json!({ "names": ["a.example.com", "a.test"] }));
    expect_refused(&mixed, 403, "names");
    let long = issue(json!({ "names": ["a.example.com"], "days": 6 }));
    expect_refused(&long, 403, "max_days");
    let managed = issue(json!({ "names": ["a.test"], "managed": true }));
    expect_refused(&managed, 403, "names");
    let p256 = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let p384 = ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
    for (key, rule) in [
        (&p256[..], None),
        (&p384, Some("keys")),
        (&["ed25519"], Some("keys")),
        (&["rsa:2048"], Some("keys")),
    ] {
        let answer = issue(json!({ "csr": csr(key) }));
        match rule {
            None => assert_eq!(answer.status, 200, "{}", answer.text()),
            Some(rule) => expect_refused(&answer, 403, rule),
        }
    }
    // Others are as free as before.
    let admin = call(
        &server,
        &server.token,
        "POST",
        CERTIFICATES,
        &json!({ "names": ["a.test"] }),
    );
    assert_eq!(admin.status, 200, "{}", admin.text());
}

#[test]
fn an_address_in_the_subject_of_a_request_is_a_name() {
    let (server, bob) = server_with(&json!({ "names": ["b.example.com", "@example.com"] }));
    let issue = |token: &str, email: &str| {
        let subject = format!("/CN=b.example.com/emailAddress={email}");
        let key = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let rest = ["-nodes", "-keyout", "/dev/null", "-subj", &subject];
        let arguments = [&["req", "-new", "-newkey"], &key[..], &rest].concat();
        let csr = testbed::openssl(&arguments, b"").text();
        call(&server, token, "POST", CERTIFICATES, &json!({ "csr": csr }))
    };
    let issued = issue(&bob, "me@example.com");
    assert_eq!(issued.status, 200, "{}", issued.text());
    for email in ["me@example.org", "nobody"] {
        expect_refused(&issue(&bob, email), 403, "names");
        let free = issue(&server.token, email);
        assert_eq!(free.status, 200, "{}", free.text());
    }
}

#[test]
fn the_other_dialects_keep_to_the_policy_too() {
    let (server, bob) = server_with(&json!({ "names": ["example.com"] }));
    let order = |body: Value| {
        let path = "/api/v1/certificate/request-with-simplerequest";
        server.send("POST", path, &[("X-Auth-Token", &bob)], body.to_string())
    };
    assert_eq!(order(json!({ "domains": ["a.example.com"] })).status, 201);
    expect_refused(&order(json!({ "domains": ["a.test"] })), 403, "names");
    let named = json!({ "domains": ["a.example.com"], "subject": { "common_name": "admin" } });
    expect_refused(&order(named), 403, "names");

    let bearer = format!("Bearer {bob}");
    let request = |name: &str| {
        let body = json!({ "cn": name }).to_string();
        server.send(
            "POST",
            "/v1/certificates",
            &[("Authorization", &bearer)],
            body,
        )
    };
    let allowed = request("b.example.com");
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    let refused = request("b.test");
    let words = "policy has the rule names";
    assert!(refused.text().contains(words), "{}", refused.text());
}

#[test]
fn a_policy_that_came_later_keeps_a_managed_certificate_from_being_renewed_and_says_so() {
    let (server, bob) = server_with(&json!({}));
    let body = json!({ "names": ["a.test"], "managed": true });
    let uuid = call(&server, &bob, "POST", CERTIFICATES, &body).json()["uuid"].clone();
    let path = format!("{CERTIFICATES}/{}", uuid.as_str().unwrap());
    server.run(server.house.obtain_due_now()).unwrap();
    let show = || call(&server, &bob, "GET", &path, &Value::Null).json();
    let first = show();
    assert_eq!(first["state"], "valid");

    set(&server, &json!({ "names": ["example.com"] }));
    let renewed = call(&server, &bob, "POST", &format!("{path}/renew"), &json!({}));
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    server.run(server.house.obtain_due_now()).unwrap();
    let after = show();
    assert_eq!(after["current"]["uuid"], first["current"]["uuid"]);
    let reason = after["reason"].as_str().unwrap();
    assert!(reason.contains("policy has the rule names"), "{reason}");
}

#[test]
fn certificates_are_for_what_the_policy_says() {
    for (usages, purposes) in [
        (json!("server"), "TLS Web Server Authentication"),
        (json!("client"), "TLS Web Client Authentication"),
        (
            Value::Null,
            "TLS Web Server Authentication, TLS Web Client Authentication",
        ),
    ] {
        let (server, bob) = server_with(&json!({ "usages": usages }));
        let body = json!({ "names": ["a.test"] });
        let issued = call(&server, &bob, "POST", CERTIFICATES, &body).json();
        let chain = issued["chain"].as_str().unwrap();
        let text = testbed::openssl(
            &["x509", "-noout", "-ext", "extendedKeyUsage"],
            chain.as_bytes(),
        );
        let text = text.text();
        assert_eq!(text.lines().last().unwrap().trim(), purposes, "{text}");
    }
}

#[test]
fn administrators_alone_change_policies_and_everybody_sees_their_own() {
    let (server, bob) = server_with(&json!({ "max_days": 3 }));
    let shown = call(&server, &bob, "GET", POLICY, &Value::Null);
    let whole = json!({ "names": null, "keys": null, "max_days": 3, "usages": null });
    assert_eq!(shown.json(), whole);
    let admins = "/chancery/v1/accounts/admin/policy";
    for (method, path, body) in [
        ("GET", admins, Value::Null),
        ("PUT", POLICY, json!({})),
        ("PUT", admins, json!({})),
        ("DELETE", POLICY, Value::Null),
    ] {
        let refused = call(&server, &bob, method, path, &body);
        assert_eq!(refused.status, 403, "{method} {path}: {}", refused.text());
    }
    let read_only = server.token_with(TokenLimits {
        read_only: true,
        ..TokenLimits::default()
    });
    let refused = call(&server, &read_only, "PUT", POLICY, &json!({}));
    assert_eq!(refused.status, 403, "{}", refused.text());

    let removed = call(&server, &server.token, "DELETE", POLICY, &Value::Null);
    assert_eq!(removed.status, 200, "{}", removed.text());
    let free = json!({ "names": null, "keys": null, "max_days": null, "usages": null });
    assert_eq!(
        call(&server, &bob, "GET", POLICY, &Value::Null).json(),
        free
    );
}

#[test]
fn a_policy_that_cannot_be_meant_is_refused_and_changes_nothing() {
    let (server, _) = server_with(&json!({ "max_days": 3 }));
    for (policy, words) in [
        (json!({ "names": [] }), "allows nothing"),
        (json!({ "names": ["a b"] }), "write example.com"),
        (json!({ "names": "example.com" }), "names"),
        (json!({ "keys": ["dsa"] }), "known are rsa2048"),
        (json!({ "max_days": 0 }), "at least 1"),
        (json!({ "max_days": -1 }), "max_days"),
        (json!({ "usages": "all" }), "server, client or both"),
        (json!({ "days": 3 }), "days"),
    ] {
        let refused = call(&server, &server.token, "PUT", POLICY, &policy);
        assert_eq!(refused.status, 400, "{policy}: {}", refused.text());
        assert!(
            refused.text().contains(words),
            "{policy}: {}",
            refused.text()
        );
    }
    let shown = call(&server, &server.token, "GET", POLICY, &Value::Null).json();
    assert_eq!(shown["max_days"], 3);
    for (account, status) in [("nobody", 404), ("chancery", 400)] {
        let path = format!("/chancery/v1/accounts/{account}/policy");
        let refused = call(&server, &server.token, "PUT", &path, &json!({}));
        assert_eq!(refused.status, status, "{}", refused.text());
    }
}
