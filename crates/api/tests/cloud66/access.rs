//! Who may ask, and where: tokens, scopes, accounts, paths and methods.

use std::time::Duration;

use lifecycle::{AccountChange, Dialect, TokenLimits};

use super::support::Server;
use super::{assert_error, pong, response_of, send, send_as};

#[test]
fn ping_needs_no_token_and_ping_auth_needs_one() {
    // 21
    let server = Server::start();
    for path in [
        "/api/3/ping.json",
        "/api/3/ping",
        "/api/3/ping/",
        "//api/3/ping",
    ] {
        let answer = server.send("GET", path, &[], "");
        assert_eq!(response_of(&answer), pong(), "{path}");
    }
    for path in ["/ping/auth.json", "/ping/auth", "/ping/auth/"] {
        assert_eq!(response_of(&send(&server, "GET", path, "")), pong());
        let answer = server.send("GET", &format!("/api/3{path}"), &[], "");
        assert_error(&answer, 401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
}

#[test]
fn tokens_that_are_not_known_are_all_refused_alike() {
    let server = Server::start();
    let gone = server.account("gone");
    server.change_account("gone", AccountChange::Disable);
    let told = |authorization: &str| {
        let headers = [("Authorization", authorization)];
        server.send("GET", "/api/3/ping/auth", &headers, "")
    };
    let mut details = Vec::new();
    for token in ["x", "YWRtaW46eA==", &server.token.to_lowercase()] {
        details.push(assert_error(
            &told(&format!("Bearer {token}")),
            401,
            "unauthenticated",
        ));
    }
    details.dedup();
    assert_eq!(details.len(), 1, "{details:?}");
    for authorization in ["", "Bearer", "Bearer ", "Basic eDp5", &server.token] {
        assert_error(&told(authorization), 401, "unauthenticated");
    }
    for scheme in ["bearer", "BEARER"] {
        response_of(&told(&format!("{scheme} {}", server.token)));
    }
    assert_error(&told(&format!("Bearer {gone}")), 403, "forbidden");
    let elsewhere = server.token_with(TokenLimits {
        dialects: Some(vec![Dialect::CertMaker]),
        ..TokenLimits::default()
    });
    assert_error(&told(&format!("Bearer {elsewhere}")), 403, "forbidden");
    let short = server.token_with(TokenLimits {
        lifetime: Some(Duration::from_secs(60)),
        ..TokenLimits::default()
    });
    response_of(&told(&format!("Bearer {short}")));
    server.advance(Duration::from_secs(61));
    assert_error(&told(&format!("Bearer {short}")), 401, "unauthenticated");
}

#[test]
fn paths_that_nobody_serves_are_errors_in_json() {
    // 28
    let server = Server::start();
    for path in [
        "/nothing.json",
        "",
        "/",
        "/ping//auth",
        "/.json",
        "/ping/auth/x",
        "/%70ing",
    ] {
        assert_error(&send(&server, "GET", path, ""), 404, "not_found");
    }
}

#[test]
fn methods_that_a_path_lacks_are_refused_with_those_that_it_has() {
    let server = Server::start();
    for method in ["POST", "DELETE", "BREW"] {
        let answer = send(&server, method, "/ping.json", "{}");
        assert_error(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
    let answer = send(&server, "HEAD", "/ping.json", "");
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[test]
fn an_account_that_is_not_the_caller_s_is_refused() {
    let server = Server::start();
    let authorization = format!("Bearer {}", server.token);
    for account in ["0", "-1", "x", ""] {
        let headers = [
            ("Authorization", authorization.as_str()),
            ("X-Account", account),
        ];
        let answer = server.send("GET", "/api/3/ping/auth", &headers, "");
        let details = assert_error(&answer, 403, "forbidden");
        assert!(details.contains("X-Account"), "{details}");
    }
}

#[test]
fn the_name_of_a_request_comes_back_with_its_answer() {
    let server = Server::start();
    for (path, status) in [
        ("/api/3/ping", 200),
        ("/api/3/nothing", 404),
        ("/api/3/ping/auth", 401),
    ] {
        let headers = [("Request-Id", "q-17"), ("X-CxToken", "x")];
        let answer = server.send("GET", path, &headers, "");
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("request-id"), Some("q-17"), "{path}");
    }
    let long = "x".repeat(129);
    let answer = server.send("GET", "/api/3/ping", &[("Request-Id", &long)], "");
    assert_eq!(answer.header("request-id"), None);
}

#[test]
fn bodies_that_are_too_long_are_refused() {
    let server = Server::start();
    let body = vec![b' '; 1024 * 1024 + 1];
    let answer = send(&server, "GET", "/ping/auth", &body);
    assert_error(&answer, 413, "bad_request");
    let answer = send_as(&server, &server.token, "GET", "/ping/auth", &body[1..]);
    assert_eq!(response_of(&answer), pong());
}

#[test]
fn who_asks_too_often_is_told_so_and_how_it_stands() {
    let server = Server::with(|options| {
        options.api.cloud66.requests_per_hour = std::num::NonZeroU32::new(3);
    });
    let other = server.account("other");
    let standing = |answer: &testbed::http::Response| {
        let header = |name| answer.header(name).unwrap_or_default().to_owned();
        (header("x-ratelimit-limit"), header("x-ratelimit-remaining"))
    };
    let told = |limit: &str, remaining: &str| (limit.to_owned(), remaining.to_owned());
    for remaining in ["2", "1", "0"] {
        let answer = send(&server, "GET", "/stacks", "");
        assert_eq!(
            (answer.status, standing(&answer)),
            (200, told("3", remaining))
        );
    }
    let refused = send(&server, "GET", "/stacks", "");
    assert_error(&refused, 503, "throttled");
    assert_eq!(standing(&refused), told("3", "0"));
    let answer = send_as(&server, &other, "GET", "/ping/auth", "");
    assert_eq!((answer.status, standing(&answer)), (200, told("3", "2")));
    let unknown = server.send("GET", "/api/3/stacks", &[], "");
    assert_eq!((unknown.status, standing(&unknown)), (401, told("3", "3")));

    let unlimited = Server::start();
    let answer = send(&unlimited, "GET", "/stacks", "");
    assert_eq!(answer.header("x-ratelimit-limit"), None);
}
