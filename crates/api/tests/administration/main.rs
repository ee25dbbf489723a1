//! Chancery's own API: what its document promises, and what it refuses.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod audit;
mod clients;
mod issuing;
mod policies;
mod secrets;
mod services;
#[path = "../support/mod.rs"]
mod support;
mod targets;
mod webhooks;

use serde_json::{Value, json};
use support::Server;
use testbed::http::Response;

fn call(server: &Server, token: &str, method: &str, path: &str, body: &Value) -> Response {
    let bearer = format!("Bearer {token}");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    server.send(method, path, &[("Authorization", &bearer)], body)
}

/// Each operation of the document, with its parameters filled in.
fn operations(server: &Server) -> Vec<(String, String)> {
    let document = server.send("GET", "/openapi.json", &[], "").json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{reference}", "no-such")
            .replace("{uuid}", "0190163d-8694-439b-aea5-966c26f8ad91")
            .replace("{name}", "no-such")
            .replace("{change}", "disable")
            .replace("{zone}", "no-such.test")
            .replace("{domain}", "no-such.test");
        for method in item.as_object().unwrap().keys() {
            if method != "parameters" {
                operations.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    assert!(operations.len() >= 30, "{operations:?}");
    operations
}

#[test]
fn every_documented_operation_exists_and_wants_a_good_token() {
    let server = Server::start();
    let unknown = "YWRtaW46MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nw==";
    for (method, path) in operations(&server) {
        for headers in [
            vec![],
            vec![("Authorization", "Bearer".to_owned())],
            vec![("Authorization", "Bearer nonsense".to_owned())],
            vec![("Authorization", format!("Bearer {unknown}"))],
            vec![("X-Auth-Token", server.token.clone())],
        ] {
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let refused = server.send(&method, &path, &headers, "");
            assert_eq!(refused.status, 401, "{method} {path} {headers:?}");
            assert_eq!(
                refused.header("content-type"),
                Some("application/problem+json")
            );
            assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        }
        let answered = call(&server, &server.token, &method, &path, &Value::Null);
        let unrouted = answered.json()["detail"] == "no such route";
        assert!(!unrouted && answered.status != 405, "{method} {path}");
    }
}

#[test]
fn an_ordinary_account_cannot_administer() {
    let server = Server::start();
    let shop = server.account("shop");
    for (method, path, body) in [
        ("GET", "/chancery/v1/accounts", Value::Null),
        ("POST", "/chancery/v1/accounts", json!({ "name": "other" })),
        ("POST", "/chancery/v1/accounts/admin/disable", json!({})),
        ("DELETE", "/chancery/v1/accounts/admin", Value::Null),
        ("POST", "/chancery/v1/tokens", json!({ "account": "admin" })),
        ("GET", "/chancery/v1/clients", Value::Null),
        (
            "POST",
            "/chancery/v1/clients",
            json!({ "name": "x", "redirects": ["https://x.test"] }),
        ),
        ("DELETE", "/chancery/v1/clients/x", Value::Null),
    ] {
        let refused = call(&server, &shop, method, path, &body);
        assert_eq!(refused.status, 403, "{method} {path}: {}", refused.text());
    }
}

#[test]
fn a_read_only_token_changes_nothing() {
    let server = Server::start();
    let reader = server.token_with(lifecycle::TokenLimits {
        read_only: true,
        ..lifecycle::TokenLimits::default()
    });
    for (method, path, body) in [
        (
            "POST",
            "/chancery/v1/certificates",
            json!({ "names": ["a.test"] }),
        ),
        ("POST", "/chancery/v1/certificates/x/revoke", json!({})),
        ("POST", "/chancery/v1/certificates/x/renew", json!({})),
        ("DELETE", "/chancery/v1/certificates/x", Value::Null),
        (
            "POST",
            "/chancery/v1/issuers",
            json!({ "name": "a", "acme": "https://acme.test/directory" }),
        ),
        ("DELETE", "/chancery/v1/issuers/a", Value::Null),
        ("POST", "/chancery/v1/issuers/a/default", json!({})),
        ("POST", "/chancery/v1/issuers/a/rank", json!({ "rank": 1 })),
        ("POST", "/chancery/v1/issuers/a/key", json!({})),
        (
            "POST",
            "/chancery/v1/dns",
            json!({ "zone": "a.test", "kind": "rfc2136", "credentials": {} }),
        ),
        ("DELETE", "/chancery/v1/dns/a.test", Value::Null),
        (
            "POST",
            "/chancery/v1/webhooks",
            json!({ "url": "https://hooks.test/" }),
        ),
        (
            "DELETE",
            "/chancery/v1/webhooks/0190163d-8694-439b-aea5-966c26f8ad91",
            Value::Null,
        ),
        ("POST", "/chancery/v1/dns/a.test/test", json!({})),
        ("POST", "/chancery/v1/tokens", json!({})),
        ("POST", "/chancery/v1/accounts", json!({ "name": "other" })),
        ("POST", "/chancery/v1/accounts/admin/lock", json!({})),
        ("DELETE", "/chancery/v1/accounts/admin", Value::Null),
    ] {
        let refused = call(&server, &reader, method, path, &body);
        assert_eq!(refused.status, 403, "{method} {path}: {}", refused.text());
    }
    assert_eq!(
        call(
            &server,
            &reader,
            "GET",
            "/chancery/v1/certificates",
            &Value::Null
        )
        .status,
        200
    );
}

#[test]
fn pages_of_certificates_continue_where_the_one_before_ended() {
    let server = Server::start();
    for number in 0..7 {
        let body = json!({ "names": [format!("n{number}.test")] });
        let issued = call(
            &server,
            &server.token,
            "POST",
            "/chancery/v1/certificates",
            &body,
        );
        assert_eq!(issued.status, 200, "{}", issued.text());
    }
    let mut seen = Vec::new();
    let mut path = "/chancery/v1/certificates?limit=3".to_owned();
    loop {
        let page = call(&server, &server.token, "GET", &path, &Value::Null).json();
        for certificate in page["certificates"].as_array().unwrap() {
            seen.push(certificate["common_name"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/chancery/v1/certificates?limit=3&from={next}"),
            None => break,
        }
    }
    let expected: Vec<String> = (0..7).map(|number| format!("n{number}.test")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_list_goes_on_when_what_its_next_page_begins_with_was_deleted() {
    let server = Server::start();
    let call = |method: &str, path: &str, body: &Value| {
        let answer = call(&server, &server.token, method, path, body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let path = "/chancery/v1/certificates";
    for name in ["one", "two", "three", "four"] {
        call("POST", path, &json!({ "names": ["a.test"], "name": name }));
    }
    let first = call("GET", &format!("{path}?limit=2"), &Value::Null);
    call("DELETE", &format!("{path}/three"), &Value::Null);
    let next = first["next"].as_str().unwrap();
    let second = call("GET", &format!("{path}?limit=2&from={next}"), &Value::Null);
    let names: Vec<&str> = [&first, &second]
        .iter()
        .flat_map(|page| page["certificates"].as_array().unwrap())
        .map(|certificate| certificate["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["one", "two", "four"]);
    assert!(second.get("next").is_none());
}

#[test]
fn bad_requests_are_refused_with_what_is_wrong() {
    let server = Server::start();
    let many: Vec<String> = (0..50_000)
        .map(|number| format!("n{number}.test"))
        .collect();
    for (method, path, body, status, words) in [
        (
            "POST",
            "certificates",
            json!({ "names": [] }),
            400,
            "name at least one",
        ),
        (
            "POST",
            "certificates",
            json!({ "names": ["a..b"] }),
            400,
            "a..b",
        ),
        (
            "POST",
            "certificates",
            json!({ "names": ["x\u{0}.test"] }),
            400,
            "x",
        ),
        (
            "POST",
            "certificates",
            json!({ "names": ["exämple.com"] }),
            400,
            "xn--",
        ),
        (
            "POST",
            "certificates",
            json!({ "names": many }),
            400,
            "at most 1000",
        ),
        (
            "POST",
            "certificates",
            json!({ "names": ["a.test"], "issuer": "nobody" }),
            404,
            "nobody",
        ),
        (
            "POST",
            "certificates",
            json!({ "names": ["a.test"], "name": "a/b" }),
            400,
            "contains '/'",
        ),
        (
            "POST",
            "certificates",
            json!({ "csr": "nonsense" }),
            400,
            "",
        ),
        (
            "POST",
            "certificates",
            json!({ "nmes": ["a.test"] }),
            400,
            "nmes",
        ),
        (
            "POST",
            "certificates",
            json!({ "names": "a.test" }),
            400,
            "array of strings",
        ),
        (
            "POST",
            "certificates/upload",
            json!({ "chain": "x", "private_key": "y" }),
            400,
            "private key",
        ),
        (
            "POST",
            "certificates/x/revoke",
            json!({ "reason": "because" }),
            400,
            "because",
        ),
        (
            "POST",
            "certificates/x/revoke",
            json!({}),
            404,
            "no certificate 'x'",
        ),
        (
            "POST",
            "tokens",
            json!({ "dialects": ["klingon"] }),
            400,
            "klingon",
        ),
        (
            "POST",
            "tokens",
            json!({ "account": "nobody" }),
            404,
            "nobody",
        ),
        ("DELETE", "tokens/x", Value::Null, 400, "uuid"),
        ("POST", "accounts", json!({ "name": "a:b" }), 400, "a:b"),
        (
            "POST",
            "accounts",
            json!({ "name": "admin" }),
            409,
            "already exists",
        ),
        (
            "POST",
            "accounts/admin/disable",
            json!({}),
            400,
            "own account",
        ),
        ("GET", "certificates?limit=0", Value::Null, 400, "limit"),
        ("GET", "certificates?from=x", Value::Null, 400, "next of a"),
        (
            "GET",
            "certificates?from=0190163d-8694-439b-aea5-966c26f8ad91",
            Value::Null,
            400,
            "next of a",
        ),
        ("GET", "certificates?state=odd", Value::Null, 400, "state"),
        ("GET", "certificates/%ff", Value::Null, 400, "UTF-8"),
        ("PUT", "certificates", Value::Null, 405, "method"),
        ("GET", "nothing", Value::Null, 404, "route"),
    ] {
        let path = format!("/chancery/v1/{path}");
        let refused = call(&server, &server.token, method, &path, &body);
        assert_eq!(
            refused.status,
            status,
            "{method} {path}: {}",
            refused.text()
        );
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words), "{method} {path}: {detail}");
    }
    let left = call(
        &server,
        &server.token,
        "GET",
        "/chancery/v1/certificates",
        &Value::Null,
    );
    assert_eq!(left.json()["certificates"], json!([]));
}

#[test]
fn every_route_accepts_what_it_needs_and_no_more() {
    let server = Server::start();
    let bearer = format!("Bearer {}", server.token);
    for (route, limit) in [
        ("certificates", 1024 * 1024),
        ("certificates/upload", 20 * 1024 * 1024),
        ("certificates/x/revoke", 64 * 1024),
        ("services", 4 * 1024 * 1024),
        ("tokens", 64 * 1024),
        ("accounts", 64 * 1024),
    ] {
        let path = format!("/chancery/v1/{route}");
        let status = |length: usize| {
            let body = format!("[{}]", " ".repeat(length - 2));
            server
                .send("POST", &path, &[("Authorization", &bearer)], body)
                .status
        };
        assert_eq!((status(limit), status(limit + 1)), (400, 413), "{route}");
    }
}

#[test]
fn an_upload_of_many_megabytes_is_read() {
    let server = Server::start();
    let path = "/chancery/v1/certificates";
    let issued = call(
        &server,
        &server.token,
        "POST",
        path,
        &json!({ "names": ["a.test"] }),
    )
    .json();
    let chain = format!(
        "{}{}",
        "comment\n".repeat(1 << 20),
        issued["chain"].as_str().unwrap()
    );
    let upload = json!({ "chain": chain, "private_key": issued["private_key"], "name": "up" });
    let path = "/chancery/v1/certificates/upload";
    let uploaded = call(&server, &server.token, "POST", path, &upload);
    assert_eq!(
        (uploaded.status, &uploaded.json()["name"]),
        (200, &json!("up"))
    );
}

#[test]
fn a_disabled_account_is_refused_until_it_is_enabled() {
    let server = Server::start();
    let shop = server.account("shop");
    let list = || {
        call(
            &server,
            &shop,
            "GET",
            "/chancery/v1/certificates",
            &Value::Null,
        )
        .status
    };
    let change = |change: &str| {
        let path = format!("/chancery/v1/accounts/shop/{change}");
        assert_eq!(
            call(&server, &server.token, "POST", &path, &json!({})).status,
            200
        );
        server.advance(std::time::Duration::from_secs(2));
    };
    assert_eq!(list(), 200);
    change("disable");
    assert_eq!(list(), 403);
    change("enable");
    change("lock");
    assert_eq!(list(), 200);
    let path = "/chancery/v1/accounts/shop";
    assert_eq!(
        call(&server, &server.token, "DELETE", path, &Value::Null).status,
        200
    );
    server.advance(std::time::Duration::from_secs(2));
    assert_eq!(list(), 401);
}

#[test]
fn paths_outside_of_every_api_are_answered_with_json_and_a_hint() {
    let server = Server::start();
    for (path, words) in [
        ("/nothing", "not found"),
        ("/certificates", "must end in /v1"),
        ("/certificate/request", "/api/v1"),
        ("/api", "not found"),
        ("/healthz//x", "not found"),
    ] {
        let answer = server.send("GET", path, &[], "");
        assert_eq!(answer.status, 404, "{path}");
        assert!(
            answer.json()["error"].as_str().unwrap().contains(words),
            "{path}"
        );
    }
    let wrong = server.send("POST", "/metrics", &[], "");
    assert_eq!(
        (wrong.status, wrong.header("allow")),
        (405, Some("GET, HEAD"))
    );
}
