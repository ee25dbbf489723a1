//! The Cloud 66 dialect over real HTTP. Numbers in comments are rows of the checklist in
//! spec/cloud66.md section 9.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod dns_providers;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use support::Server;
use testbed::http::Response;

/// Sends a request with the administrator's token.
#[track_caller]
fn send(server: &Server, method: &str, path: &str, body: impl AsRef<[u8]>) -> Response {
    send_as(server, &server.token, method, path, body)
}

/// Sends a request with this token.
#[track_caller]
fn send_as(
    server: &Server,
    token: &str,
    method: &str,
    path: &str,
    body: impl AsRef<[u8]>,
) -> Response {
    let authorization = format!("Bearer {token}");
    let path = format!("/api/3{path}");
    server.send(method, &path, &[("Authorization", &authorization)], body)
}

/// Checks that an answer is an error in the dialect's form, and returns its details.
#[track_caller]
fn assert_error(response: &Response, status: u16, code: &str) -> String {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json();
    assert_eq!(body["error"], code, "{body}");
    for member in ["error_description", "details"] {
        assert_ne!(body[member].as_str().unwrap_or_default(), "", "{body}");
    }
    assert_eq!(
        body.as_object().map(serde_json::Map::len),
        Some(3),
        "{body}"
    );
    body["details"].as_str().unwrap_or_default().to_owned()
}

/// The object in the envelope of a good answer.
#[track_caller]
fn response_of(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json();
    body.get("response")
        .unwrap_or_else(|| panic!("no envelope: {body}"))
        .clone()
}

/// What `/ping` says.
fn pong() -> Value {
    json!({"ok": true, "message": "pong"})
}
