//! The D9T Ready dialect over real HTTP, with `openssl` as the client's side of the cryptography.
//! Numbers in comments are rows of the checklist in spec/d9t.md section 9.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod certificates;
mod hostile;
mod inventory;
mod private_keys;
mod requests;
#[path = "../support/mod.rs"]
mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pki::KeyAlgorithm;
use serde_json::{Value, json};
use store::Scope;
use support::Server;
use testbed::http::Response;
use testbed::{Workdir, openssl};

const KEYS: &str = "/rest/privatekeys";
const CERTIFICATES: &str = "/rest/certificates";

/// A server that generates keys without taking a tenth of a second for each.
fn server() -> Server {
    Server::with(|options| options.api.d9t.key_algorithm = KeyAlgorithm::P256)
}

/// What `curl -u` sends.
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Sends a request as the administrator, as `curl -u … -d …` does.
#[track_caller]
fn send(server: &Server, method: &str, path: &str, body: impl AsRef<[u8]>) -> Response {
    send_as(server, ("admin", &server.token), method, path, body)
}

/// Sends a request as this account with this token.
#[track_caller]
fn send_as(
    server: &Server,
    (account, token): (&str, &str),
    method: &str,
    path: &str,
    body: impl AsRef<[u8]>,
) -> Response {
    let headers = [
        ("Authorization", &*basic(account, token)),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Accept", "*/*"),
    ];
    server.send(method, path, &headers, body)
}

#[track_caller]
fn get(server: &Server, path: &str) -> Value {
    let response = send(server, "GET", path, "");
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    response.json()
}

#[track_caller]
fn post(server: &Server, path: &str, body: &Value) -> Response {
    send(server, "POST", path, body.to_string())
}

/// Makes what is answered 201 with its own address; returns the path of that, and the answer.
#[track_caller]
fn make(server: &Server, path: &str, body: &Value) -> (String, Value) {
    let response = post(server, path, body);
    assert_eq!(response.status, 201, "{}", response.text());
    let location = response.header("location").unwrap().to_owned();
    let made = response.json();
    assert_eq!(href(&made, "self"), location);
    (path_of(server, &location), made)
}

/// Makes a private key; returns its path.
#[track_caller]
fn make_key(server: &Server, name: &str) -> String {
    make(server, KEYS, &json!({ "name": name })).0
}

/// Makes a certificate that signs itself under a key; returns its path, and how it is shown.
#[track_caller]
fn make_certificate(server: &Server, key: &str, name: &str) -> (String, Value) {
    let body = json!({"name": name, "common_name": "demo.example.org"});
    make(server, &format!("{key}/certificates"), &body)
}

/// The path of an absolute link of this server.
#[track_caller]
fn path_of(server: &Server, href: &str) -> String {
    let path = href.strip_prefix(&server.url);
    path.unwrap_or_else(|| panic!("{href} is not under {}", server.url))
        .to_owned()
}

/// The first link of an object with this rel.
#[track_caller]
fn href<'a>(object: &'a Value, rel: &str) -> &'a str {
    let links = object["_links"].as_array();
    let links = links.unwrap_or_else(|| panic!("no links: {object}"));
    let link = links.iter().find(|link| link["rel"] == rel);
    let link = link.unwrap_or_else(|| panic!("no {rel}: {object}"));
    assert_eq!(link.as_object().unwrap().len(), 2, "{link}");
    link["href"].as_str().unwrap()
}

/// The rels of an object, in order.
#[track_caller]
fn rels(object: &Value) -> Vec<&str> {
    let links = object["_links"].as_array().unwrap();
    let rels = links.iter().map(|link| link["rel"].as_str().unwrap());
    rels.collect()
}

#[track_caller]
fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    let text = object[member].as_str();
    text.unwrap_or_else(|| panic!("no text {member}: {object}"))
}

/// Checks that an object has these members and no others.
#[track_caller]
fn assert_members(object: &Value, expected: &[&str]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    let object = object.as_object().unwrap();
    assert_eq!(object.keys().collect::<Vec<_>>(), expected);
}

/// Checks that an answer is an error in the dialect's form; returns its message.
#[track_caller]
fn assert_error(response: &Response, status: u16) -> String {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json();
    let code = match status {
        400 => "bad_request",
        401 | 403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        413 => "too_large",
        other => panic!("{other} is not in the documents"),
    };
    assert_eq!(body["error"], code, "{body}");
    assert_members(&body, &["error", "message"]);
    text(&body, "message").to_owned()
}

/// What `openssl x509 -text` says of a certificate.
#[track_caller]
fn described(pem: &str) -> String {
    openssl(&["x509", "-noout", "-text"], pem.as_bytes()).text()
}

/// The public key of a PEM text, as `openssl` with these arguments shows it.
#[track_caller]
fn public_key(arguments: &[&str], pem: &str) -> String {
    openssl(arguments, pem.as_bytes()).text()
}

#[track_caller]
fn serial(pem: &str) -> String {
    openssl(&["x509", "-noout", "-serial"], pem.as_bytes()).text()
}

/// A CA that this server knows nothing of.
struct Ca {
    files: Workdir,
}

impl Ca {
    fn new() -> Self {
        let files = Workdir::new();
        let (key, root) = (files.path("root.key"), files.path("root.pem"));
        openssl(
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                "/CN=Elsewhere",
                "-days",
                "3650",
                "-keyout",
                &key,
                "-out",
                &root,
            ],
            b"",
        );
        Self { files }
    }

    /// Signs a request, names and all.
    #[track_caller]
    fn sign(&self, request: &str) -> String {
        let (key, root) = (self.files.path("root.key"), self.files.path("root.pem"));
        let request = self.files.write("request.pem", request);
        openssl(
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                &root,
                "-CAkey",
                &key,
                "-days",
                "90",
                "-copy_extensions",
                "copy",
            ],
            b"",
        )
        .text()
    }

    /// Verifies a certificate with what is sent after it.
    #[track_caller]
    fn verify(&self, chain: &str) {
        let chain = self.files.write("chain.pem", chain);
        let root = self.files.path("root.pem");
        openssl(
            &["verify", "-CAfile", &root, "-untrusted", &chain, &chain],
            b"",
        );
    }
}
