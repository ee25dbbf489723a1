//! The Cloud 66 dialect over real HTTP. Numbers in comments are rows of the checklist in
//! spec/cloud66.md section 9.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod certificates;
mod changes;
mod dns_providers;
mod hostile;
mod stacks;
#[path = "../support/mod.rs"]
mod support;
mod targets;

use std::time::Duration;

use serde_json::{Value, json};
use support::Server;
use testbed::http::Response;
use testbed::{Pair, eventually};

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

/// A server whose scheduler obtains what is due.
fn start() -> Server {
    let server = Server::start();
    obtain(&server);
    server
}

/// Lets the scheduler obtain what is due, from now on.
fn obtain(server: &Server) {
    let house = server.house.clone();
    server.run(async {
        tokio::spawn(async move { house.obtain_due().await });
    });
}

/// Makes a stack, and returns the path of its certificates.
#[track_caller]
fn stack(server: &Server, name: &str) -> String {
    let made = response_of(&send(
        server,
        "POST",
        "/stacks",
        json!({"name": name}).to_string(),
    ));
    format!("/stacks/{}/ssl_certificates", made["uid"].as_str().unwrap())
}

#[track_caller]
fn post(server: &Server, path: &str, body: &Value) -> Value {
    response_of(&send(server, "POST", path, body.to_string()))
}

#[track_caller]
fn get(server: &Server, path: &str) -> Value {
    response_of(&send(server, "GET", path, ""))
}

/// The path of a certificate that was answered.
fn path_of(list: &str, certificate: &Value) -> String {
    format!("{list}/{}", certificate["uuid"].as_str().unwrap())
}

/// The body of a certificate that is brought along.
fn manual(pair: &Pair, server_names: &str) -> Value {
    json!({"ssl_certificate": {
        "type": "manual",
        "server_names": server_names,
        "certificate": pair.chain,
        "key": pair.key,
        "intermediate_certificate": null,
    }})
}

/// The body of one that is obtained.
fn lets_encrypt(server_names: &str) -> Value {
    json!({"ssl_certificate": {"type": "lets_encrypt", "server_names": server_names}})
}

/// Waits until a certificate has this status.
#[track_caller]
fn with_status(server: &Server, path: &str, status: i64) -> Value {
    eventually(Duration::from_secs(30), "the status", || {
        let shown = get(server, path);
        (shown["status"] == status).then_some(shown)
    })
}

/// The uuids of a list.
#[track_caller]
fn uuids(server: &Server, list: &str) -> Vec<String> {
    let listed = get(server, list);
    let listed = listed.as_array().unwrap().iter();
    listed
        .map(|one| one["uuid"].as_str().unwrap().to_owned())
        .collect()
}

/// The domains of the only service that has any of the account's own, by name.
#[track_caller]
fn domains(server: &Server, list: &str) -> Vec<String> {
    let uid = list.split('/').nth(2).unwrap();
    let headers = [("Authorization", format!("Bearer {}", server.token))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let path = format!("/chancery/v1/services/{uid}");
    let shown = server.send("GET", &path, &headers, "").json();
    let domains = shown["domains"]
        .as_array()
        .unwrap_or_else(|| panic!("{shown}"));
    let names = domains
        .iter()
        .map(|domain| domain["name"].as_str().unwrap().to_owned());
    names
        .filter(|name| !name.ends_with(".metro.internal"))
        .collect()
}
