//! The KraftCloud dialect over real HTTP. Numbers in comments are rows of the checklist in
//! spec/kraftcloud.md section 9.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod attaching;
mod changing;
mod clients;
mod creating;
mod finding;
mod hostile;
mod instances;
mod listing;
mod patching;
mod services;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use support::Server;
use testbed::http::Response;
use testbed::{Workdir, openssl};

const CERTIFICATES: &str = "/v1/certificates";
const INSTANCES: &str = "/v1/instances";
const SERVICES: &str = "/v1/services";

/// An answer of the API: HTTP status and envelope.
#[derive(Debug)]
struct Answer {
    http: u16,
    envelope: Value,
}

impl Answer {
    /// Checks what is promised of every answer.
    #[track_caller]
    fn of(response: &Response) -> Self {
        assert_eq!(response.header("content-type"), Some("application/json"));
        let envelope = response.json();
        assert!(envelope["op_time_us"].as_u64().unwrap() >= 1, "{envelope}");
        let has_data = envelope["data"].is_object();
        match envelope["status"].as_str().unwrap() {
            "success" => {
                assert!(envelope.get("message").is_none() && envelope.get("errors").is_none());
                assert_eq!((response.status, has_data), (200, true), "{envelope}");
            }
            "partial_success" => {
                assert!(envelope["message"].is_string() && envelope.get("errors").is_none());
                assert_eq!((response.status, has_data), (200, true), "{envelope}");
            }
            "error" => {
                assert!(envelope["message"].is_string(), "{envelope}");
                assert!(envelope["errors"][0]["status"].is_u64(), "{envelope}");
                let is_without_data = response.status >= 400 && envelope.get("data").is_none();
                assert!(has_data || is_without_data, "{envelope}");
            }
            other => panic!("status {other}"),
        }
        if has_data && envelope["data"].get("checks").is_none() {
            assert_eq!(envelope["data"].as_object().unwrap().len(), 1, "{envelope}");
        }
        Self {
            http: response.status,
            envelope,
        }
    }

    #[track_caller]
    fn items(&self) -> &[Value] {
        let data = self.envelope["data"].as_object();
        let items = data.and_then(|data| data.values().next()?.as_array());
        items.unwrap_or_else(|| panic!("{}", self.envelope))
    }

    /// The only key of the data.
    #[track_caller]
    fn key(&self) -> &str {
        self.envelope["data"]
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap()
    }

    /// The only item of a successful answer.
    #[track_caller]
    fn item(&self) -> &Value {
        self.expect("success");
        let [item] = self.items() else {
            panic!("not one item: {}", self.envelope);
        };
        assert_eq!(item["status"], "success");
        item
    }

    #[track_caller]
    fn expect(&self, status: &str) -> &Self {
        assert_eq!(self.envelope["status"], status, "{}", self.envelope);
        self
    }

    /// Checks that the request was refused as a whole; returns the message.
    #[track_caller]
    fn refused(&self, http: u16, code: Option<u64>) -> &str {
        self.expect("error");
        assert_eq!(self.http, http, "{}", self.envelope);
        assert!(self.envelope.get("data").is_none(), "{}", self.envelope);
        let errors = self.envelope["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{}", self.envelope);
        assert_eq!(errors[0]["status"], http);
        assert_eq!(errors[0]["error"].as_u64(), code, "{}", self.envelope);
        assert_eq!(errors[0]["message"], self.envelope["message"]);
        self.envelope["message"].as_str().unwrap()
    }

    /// Checks that the only item failed; returns it.
    #[track_caller]
    fn failed(&self, http: u16, code: u64, mapped: u16) -> &Value {
        self.expect("error");
        assert_eq!(self.http, http, "{}", self.envelope);
        assert_eq!(self.envelope["message"], "Failed to perform all operations");
        assert_eq!(
            self.envelope["errors"][0]["status"], mapped,
            "{}",
            self.envelope
        );
        let [item] = self.items() else {
            panic!("not one item: {}", self.envelope);
        };
        assert_eq!(item["status"], "error");
        assert_eq!(item["error"], code, "{item}");
        assert!(item["message"].is_string(), "{item}");
        item
    }

    fn names(&self) -> Vec<&str> {
        let names = self.items().iter().map(|item| item["name"].as_str());
        names.map(Option::unwrap_or_default).collect()
    }

    /// Item codes in order; 0 for success.
    fn codes(&self) -> Vec<u64> {
        let codes = self.items().iter().map(|item| item["error"].as_u64());
        codes.map(Option::unwrap_or_default).collect()
    }
}

/// Sends a request with this token and whatever body.
#[track_caller]
fn send_as(
    server: &Server,
    token: &str,
    method: &str,
    path: &str,
    body: impl AsRef<[u8]>,
) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    Answer::of(&server.send(method, path, &headers, body))
}

/// Sends a request with the administrator's token and whatever body.
#[track_caller]
fn send(server: &Server, method: &str, path: &str, body: impl AsRef<[u8]>) -> Answer {
    send_as(server, &server.token, method, path, body)
}

#[track_caller]
fn get(server: &Server, path: &str) -> Answer {
    send(server, "GET", path, "")
}

#[track_caller]
fn create(server: &Server, body: &Value) -> Answer {
    send(server, "POST", CERTIFICATES, body.to_string())
}

/// Makes a service.
#[track_caller]
fn serve(server: &Server, body: &Value) -> Answer {
    send(server, "POST", SERVICES, body.to_string())
}

/// A service that publishes nothing under these domains.
fn domains(names: &[&str]) -> Value {
    let domains: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    json!({ "services": [], "domains": domains })
}

/// The text at `member`.
#[track_caller]
fn text<'a>(item: &'a Value, member: &str) -> &'a str {
    item[member]
        .as_str()
        .unwrap_or_else(|| panic!("no {member}: {item}"))
}

/// Whether `text` is `stem` and that many random letters or digits.
fn is_chosen(text: &str, stem: &str, length: usize) -> bool {
    let suffix = text.strip_prefix(stem);
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    suffix.is_some_and(|suffix| suffix.len() == length && suffix.bytes().all(is_fit))
}

/// A certificate with its key, PEM.
struct Pair {
    chain: String,
    key: String,
}

impl Pair {
    /// A self-signed certificate for `common_name` and these DNS names, good for 30 days.
    fn new(common_name: &str, names: &[&str]) -> Self {
        let directory = Workdir::new();
        let key_options = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let key = openssl(&[&["genpkey"], &key_options[..]].concat(), b"").text();
        let key_file = directory.write("key.pem", &key);
        let subject = format!("/CN={common_name}/O=Acme, Inc.");
        let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let extension = format!("subjectAltName={}", names.join(","));
        let mut arguments = vec![
            "req", "-x509", "-new", "-key", &key_file, "-subj", &subject, "-days", "30",
        ];
        if !names.is_empty() {
            arguments.extend(["-addext", &extension]);
        }
        let chain = openssl(&arguments, b"").text();
        Self { chain, key }
    }

    /// The body that uploads it.
    fn upload(&self, name: &str, common_name: &str) -> Value {
        json!({"name": name, "cn": common_name, "chain": self.chain, "pkey": self.key})
    }

    /// The body that gives a certificate this pair.
    fn replacing(&self, reference: Value) -> Value {
        let mut body = reference;
        body["chain"] = self.chain.clone().into();
        body["pkey"] = self.key.clone().into();
        body
    }
}

/// Uploads a certificate for example.com under each of these names; returns their UUIDs.
#[track_caller]
fn upload_each(server: &Server, names: &[&str]) -> Vec<String> {
    let pair = Pair::new("example.com", &["example.com"]);
    let upload = |name: &&str| {
        let created = create(server, &pair.upload(name, "example.com"));
        created.item()["uuid"].as_str().unwrap().to_owned()
    };
    names.iter().map(upload).collect()
}
