//! Who may do what: credentials, accounts, methods and paths.

use std::time::Duration;

use lifecycle::{AccountChange, Dialect, TokenLimits};
use serde_json::json;

use super::*;

/// Every route, with a method that it serves.
const ROUTES: [(&str, &str); 13] = [
    ("GET", "/rest"),
    ("GET", "/rest/"),
    ("GET", KEYS),
    ("POST", KEYS),
    ("GET", "/rest/privatekeys/1"),
    ("DELETE", "/rest/privatekeys/1"),
    ("GET", "/rest/privatekeys/1/certificates"),
    ("POST", "/rest/privatekeys/1/certificates"),
    ("GET", "/rest/privatekeys/1/certificates/1"),
    ("PUT", "/rest/privatekeys/1/certificates/1"),
    ("DELETE", "/rest/privatekeys/1/certificates/1"),
    ("GET", "/rest/privatekeys/1/certificates/1/csr"),
    ("GET", CERTIFICATES),
];

fn wrong_token() -> String {
    STANDARD.encode(format!("admin:{}", "0".repeat(40)))
}

#[test]
fn no_route_is_reached_without_good_credentials() {
    // 1
    let server = server();
    let other = server.account("other");
    let wrong = wrong_token();
    let (token, unpadded) = (server.token.as_str(), server.token.trim_end_matches('='));
    let mut routes = ROUTES.to_vec();
    // What is not there is as closed as the rest.
    routes.extend([("GET", "/rest/balances"), ("PATCH", KEYS)]);
    for (method, path) in routes {
        let refused = |headers: &[(&str, &str)]| {
            let response = server.send(method, path, headers, "{}");
            assert_error(&response, 403);
            let asked = response.header("www-authenticate");
            assert_eq!(asked, Some(r#"Basic realm="D9T""#), "{method} {path}");
            response.text()
        };
        let mut answers = vec![refused(&[])];
        for (user, password) in [
            ("admin", wrong.as_str()),
            ("admin", other.as_str()),
            ("other", token),
            ("nobody", token),
            ("", token),
            ("admin", ""),
            ("admin", unpadded),
        ] {
            answers.push(refused(&[("Authorization", &basic(user, password))]));
            server.advance(Duration::from_secs(300));
        }
        for value in [
            "",
            "Basic",
            "Basic !",
            &format!("Basic {}", STANDARD.encode("admin")),
            &format!("Digest {token}"),
            &format!("Bearer {wrong}"),
            "Bearer x",
        ] {
            answers.push(refused(&[("Authorization", value)]));
            server.advance(Duration::from_secs(300));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "all alike: {answers:?}");
    }
}

#[test]
fn a_name_with_its_token_and_a_bearer_token_are_both_good() {
    // 2
    let server = server();
    let bearer = format!("bearer {}", server.token);
    for credentials in [basic("admin", &server.token), bearer] {
        let response = server.send("GET", "/rest", &[("authorization", &credentials)], "");
        assert_eq!(response.status, 200);
        let root = response.json();
        assert_members(&root, &["_links"]);
        assert_eq!(rels(&root), ["privatekeys", "certificates"]);
        let keys = format!("{}{KEYS}", server.url);
        assert_eq!(href(&root, "privatekeys"), keys);
    }
}

#[test]
fn clients_that_wait_to_be_asked_can_be_asked() {
    // 3
    let server = Server::with(|options| options.api.d9t.challenge_401 = true);
    for (method, path) in ROUTES {
        let response = server.send(method, path, &[], "");
        assert_error(&response, 401);
        let asked = response.header("www-authenticate");
        assert_eq!(asked, Some(r#"Basic realm="D9T""#));
    }
    let wrong = basic("admin", &wrong_token());
    let response = server.send("GET", "/rest", &[("Authorization", &wrong)], "");
    assert_error(&response, 403);
    get(&server, "/rest");
}

#[test]
fn whoever_fails_ten_times_waits_for_five_minutes() {
    let server = server();
    let other = server.account("other");
    let wrong = wrong_token();
    let fail = || send_as(&server, ("admin", &wrong), "GET", "/rest", "");
    let first = fail();
    for _ in 0..8 {
        fail();
    }
    // A success in between forgives what was before.
    get(&server, "/rest");
    for _ in 0..10 {
        assert_eq!(fail().text(), first.text());
    }
    let closed = send(&server, "GET", "/rest", "");
    assert_error(&closed, 403);
    assert_eq!(closed.text(), first.text(), "nobody learns why");
    // Another account is not concerned.
    let response = send_as(&server, ("other", &other), "GET", "/rest", "");
    assert_eq!(response.status, 200);
    server.advance(Duration::from_secs(240));
    assert_error(&send(&server, "GET", "/rest", ""), 403);
    server.advance(Duration::from_secs(61));
    get(&server, "/rest");
}

#[test]
fn tokens_work_as_far_as_they_are_meant_to() {
    let server = server();
    let limited = |limits: TokenLimits| server.token_with(limits);
    let elsewhere = limited(TokenLimits {
        dialects: Some(vec![Dialect::KraftCloud]),
        ..TokenLimits::default()
    });
    let here = limited(TokenLimits {
        dialects: Some(vec![Dialect::D9t]),
        ..TokenLimits::default()
    });
    let as_ = |token: &str| send_as(&server, ("admin", token), "GET", "/rest", "").status;
    assert_eq!((as_(&elsewhere), as_(&here)), (403, 200));

    let key = make_key(&server, "k");
    let (certificate, _) = make_certificate(&server, &key, "c");
    let reader = limited(TokenLimits {
        read_only: true,
        ..TokenLimits::default()
    });
    let read = |path: &str| send_as(&server, ("admin", &reader), "GET", path, "");
    for path in [
        KEYS,
        CERTIFICATES,
        &certificate,
        &format!("{certificate}/csr"),
    ] {
        assert_eq!(read(path).status, 200);
    }
    assert_eq!(
        read(&key).json()["key"],
        Value::Null,
        "a key is more than a look"
    );
    let change = json!({"name": "x", "common_name": "x"}).to_string();
    for (method, path) in [
        ("POST", KEYS.to_owned()),
        ("POST", format!("{key}/certificates")),
        ("PUT", certificate.clone()),
        ("DELETE", certificate.clone()),
        ("DELETE", key.clone()),
    ] {
        let response = send_as(&server, ("admin", &reader), method, &path, &change);
        assert_error(&response, 403);
    }
    assert_eq!(get(&server, KEYS).as_array().unwrap().len(), 1);
    assert_eq!(get(&server, CERTIFICATES).as_array().unwrap().len(), 1);
}

#[test]
fn a_disabled_account_is_refused() {
    let server = server();
    let token = server.account("other");
    server.change_account("other", AccountChange::Disable);
    let response = send_as(&server, ("other", &token), "GET", "/rest", "");
    assert_error(&response, 403);
}

#[test]
fn what_is_not_there_and_what_is_not_served() {
    // 27
    let server = server();
    for path in [
        "/rest/balances",
        "/rest/applications",
        "/rest//privatekeys",
        "/rest/privatekeys/1/certificates/1/key",
        "/rest/certificates/1",
        "/rest/%70rivatekeys",
    ] {
        assert_error(&send(&server, "GET", path, ""), 404);
    }
    // 21
    for (path, allowed) in [
        ("/rest", "GET, HEAD"),
        (CERTIFICATES, "GET, HEAD"),
        (KEYS, "GET, HEAD, POST"),
        ("/rest/privatekeys/1", "GET, HEAD, DELETE"),
        ("/rest/privatekeys/1/certificates", "GET, HEAD, POST"),
        (
            "/rest/privatekeys/1/certificates/1",
            "GET, HEAD, PUT, DELETE",
        ),
        ("/rest/privatekeys/1/certificates/1/csr", "GET, HEAD"),
    ] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            if allowed.contains(method) {
                continue;
            }
            let response = send(&server, method, path, "{}");
            assert_error(&response, 405);
            assert_eq!(response.header("allow"), Some(allowed), "{method} {path}");
        }
    }
}

#[test]
fn a_slash_at_the_end_changes_nothing() {
    // 25
    let server = server();
    let (key, made) = make(&server, &format!("{KEYS}/"), &json!({"name": "k"}));
    let body = json!({"name": "c", "common_name": "a.test"});
    let (certificate, _) = make(&server, &format!("{key}/certificates/"), &body);
    for path in ["/rest", KEYS, &key, CERTIFICATES, &certificate] {
        assert_eq!(get(&server, path), get(&server, &format!("{path}/")));
    }
    let request = get(&server, &format!("{certificate}/csr/"));
    assert_eq!(rels(&request), ["self", "certificate"]);
    let put = send(&server, "PUT", &format!("{certificate}/"), "");
    assert_eq!(put.status, 200);
    for path in [&certificate, &key] {
        assert_eq!(send(&server, "DELETE", &format!("{path}/"), "").status, 204);
    }
    assert_eq!(text(&made, "name"), "k");
}

#[test]
fn links_lead_to_where_the_client_came_from_if_nothing_else_is_known() {
    let server = Server::with(|options| options.api.d9t.base_url = None);
    let credentials = basic("admin", &server.token);
    let root = |host: &str| {
        let headers = [("Authorization", credentials.as_str()), ("Host", host)];
        let response = server.send("GET", "/rest", &headers, "");
        let link = response.json()["_links"][0]["href"].clone();
        link.as_str().unwrap().to_owned()
    };
    assert_eq!(root("a.test:81"), "http://a.test:81/rest/privatekeys");
    let settled = format!("{}{KEYS}", server.url);
    for hostile in ["a.test/x", "a.test?x=", "user@a.test", "a\"b"] {
        assert_eq!(root(hostile), settled, "{hostile}");
    }
}
