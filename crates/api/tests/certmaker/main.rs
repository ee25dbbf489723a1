//! The CertMaker dialect over real HTTP, with `openssl` as the client's side of the cryptography.
//! Numbers in comments are rows of the checklist in spec/certmaker.md section 9.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod attacks;
mod challenges;
mod crowds;
mod hostile;
mod located;
mod orders;
mod publication;
mod requests;
mod revocation;
mod shards;
#[path = "../support/mod.rs"]
mod support;
mod switches;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::Server;
use testbed::http::Response;
use testbed::{Workdir, openssl};

const ROOT: &str = "/api/v1/root-certificate/obtain";
const SIMPLE: &str = "/api/v1/certificate/request-with-simplerequest";
const LOCATED: &str = "/api/v1/certificate/request";
const CSR: &str = "/api/v1/certificate/request-with-csr";
const REVOKE: &str = "/api/v1/certificate/revoke";
const PEM_TYPE: &str = "application/x-pem-file";

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
    server.send(method, path, &[("X-Auth-Token", token)], body)
}

/// Sends a request with a JSON body and the administrator's token.
#[track_caller]
fn post(server: &Server, path: &str, body: &Value) -> Response {
    send(server, "POST", path, body.to_string())
}

/// The path of an absolute URL of this server.
#[track_caller]
fn path_of<'a>(server: &Server, url: &'a str) -> &'a str {
    url.strip_prefix(&server.url)
        .unwrap_or_else(|| panic!("{url} is not under {}", server.url))
}

/// Checks that an answer is an error in the dialect's form.
#[track_caller]
fn assert_error(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json();
    let text = body
        .get("error")
        .and_then(Value::as_str)
        .unwrap_or_default();
    assert!(!text.is_empty(), "{body}");
    assert_eq!(
        body.as_object().map(serde_json::Map::len),
        Some(1),
        "{body}"
    );
}

/// A leaf that was issued, with its issuer, as files for `openssl`.
struct Leaf {
    files: Workdir,
    certificate: pki::Certificate,
    key_pem: Option<String>,
}

impl Leaf {
    /// Orders a certificate for `a.test`.
    #[track_caller]
    fn order(server: &Server) -> Self {
        Self::of(
            server,
            &post(server, SIMPLE, &json!({"domains": ["a.test"]})),
        )
    }

    /// Reads an answer with base64 of DER.
    #[track_caller]
    fn of(server: &Server, response: &Response) -> Self {
        assert_eq!(response.status, 201, "{}", response.text());
        assert_eq!(response.header("content-type"), Some("application/json"));
        let body = response.json();
        let der = |name: &str| {
            let text = body.get(name)?.as_str()?;
            Some(STANDARD.decode(text).expect("base64"))
        };
        let certificate = pki::Certificate::from_der(&der("certificate_pem").unwrap()).unwrap();
        let key_pem =
            der("private_key_pem").map(|key| pki::pem::encode("PRIVATE KEY", &key).to_string());
        let files = Workdir::new();
        files.write("leaf.pem", certificate.to_pem());
        if let Some(pem) = &key_pem {
            files.write("key.pem", pem);
        }
        let root = send(server, "GET", ROOT, "");
        assert_eq!(root.status, 200);
        files.write("ca.pem", root.body);
        Self {
            files,
            certificate,
            key_pem,
        }
    }

    fn path(&self, file: &str) -> String {
        self.files.path(file)
    }

    fn serial(&self) -> u128 {
        self.certificate.serial().to_string().parse().unwrap()
    }

    /// The low 64 bits of the serial number, as old clients name certificates.
    fn low(&self) -> u64 {
        self.certificate.serial().low64()
    }

    /// What `openssl x509` says about it.
    #[track_caller]
    fn text(&self) -> String {
        openssl(
            &["x509", "-in", &self.path("leaf.pem"), "-noout", "-text"],
            b"",
        )
        .text()
    }

    /// Lets `openssl` verify it against its issuer, and its key against it.
    #[track_caller]
    fn assert_good(&self) {
        let (ca, leaf) = (self.path("ca.pem"), self.path("leaf.pem"));
        openssl(&["verify", "-x509_strict", "-CAfile", &ca, &leaf], b"");
        if self.key_pem.is_some() {
            let key = openssl(&["pkey", "-in", &self.path("key.pem"), "-pubout"], b"");
            assert_eq!(key.text(), self.public_key());
        }
    }

    #[track_caller]
    fn public_key(&self) -> String {
        openssl(
            &["x509", "-in", &self.path("leaf.pem"), "-noout", "-pubkey"],
            b"",
        )
        .text()
    }

    /// Its lifetime in days, without the minutes before its issuance.
    fn days(&self) -> i64 {
        let lifetime = self.certificate.not_after() - self.certificate.not_before();
        assert_eq!(lifetime.whole_seconds() % 86_400, 300, "{lifetime}");
        lifetime.whole_days()
    }

    /// The names, as text.
    fn names(&self) -> Vec<String> {
        let names = self.certificate.identifiers();
        names.iter().map(ToString::to_string).collect()
    }
}
