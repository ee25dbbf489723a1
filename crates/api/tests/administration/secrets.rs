//! A private key that was put in the wrong place must not come back, nor be written to the log:
//! both end up in tickets and build logs.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use pki::{KeyAlgorithm, PrivateKey};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::Server;

/// All that the process logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Every route that reads a body, with a body that is good but for `value` in one place.
fn misplaced(value: &Value) -> Vec<(&'static str, Value)> {
    let routes: [(&str, Value); 6] = [
        (
            "certificates",
            json!({ "names": ["a.test"], "issuer": "default", "csr": null, "days": 1, "name": "n" }),
        ),
        (
            "certificates/upload",
            json!({ "chain": "x", "private_key": "x", "name": "n", "common_name": "a.test" }),
        ),
        ("certificates/x/revoke", json!({ "reason": "superseded" })),
        (
            "services",
            json!({ "domains": ["a.test"], "upstreams": ["10.0.0.1:80"], "name": "n", "certificate": "c" }),
        ),
        (
            "tokens",
            json!({ "account": "admin", "name": "n", "read_only": true, "dialects": [], "scopes": [],
                    "expires_in_seconds": 1 }),
        ),
        ("accounts", json!({ "name": "n", "administrator": false })),
    ];
    let mut bodies = Vec::new();
    for (route, good) in routes {
        bodies.push((route, value.clone()));
        bodies.push((route, json!([value])));
        if let Some(text) = value.as_str() {
            bodies.push((route, json!({ text: 1 })));
        }
        for member in good.as_object().unwrap().keys() {
            // These are texts of the caller's choice, which are kept and shown.
            if route == "tokens" && matches!(member.as_str(), "name" | "scopes") {
                continue;
            }
            for wrong in [value.clone(), json!([value]), json!({ "a": value })] {
                let mut body = good.clone();
                body[member] = wrong;
                bodies.push((route, body));
            }
        }
    }
    bodies
}

#[test]
fn a_private_key_in_the_wrong_place_is_neither_sent_back_nor_logged() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let server = Server::start();
    let key = PrivateKey::generate(KeyAlgorithm::Rsa2048).unwrap();
    let pem = key.to_pkcs8_pem().to_string();
    let lines: Vec<&str> = pem.lines().filter(|line| line.len() > 32).collect();
    let bearer = format!("Bearer {}", server.token);
    let headers = [("Authorization", bearer.as_str())];
    let secret = |text: &str| lines.iter().any(|line| text.contains(&line[..32]));

    let mut sent: Vec<(String, Vec<u8>)> = misplaced(&Value::from(pem.as_str()))
        .into_iter()
        .map(|(route, body)| (route.to_owned(), body.to_string().into_bytes()))
        .collect();
    for route in [
        "certificates",
        "certificates/upload",
        "services",
        "tokens",
        "accounts",
    ] {
        sent.push((route.to_owned(), pem.clone().into_bytes()));
        sent.push((route.to_owned(), format!("{{\"name\":{pem}}}").into_bytes()));
        sent.push((route.to_owned(), format!("{{\"name\":\"{pem}").into_bytes()));
    }
    for (route, body) in &sent {
        let path = format!("/chancery/v1/{route}");
        let answer = server.send("POST", &path, &headers, body);
        let shown = String::from_utf8_lossy(body);
        assert!(answer.status >= 400, "{route} {shown}: {}", answer.text());
        assert!(
            !secret(&answer.text()),
            "{route} {shown}: {}",
            answer.text()
        );
    }
    let encoded: String = pem.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for place in [
        "certificates/",
        "certificates?from=",
        "certificates?state=",
        "services/",
        "services?from=",
    ] {
        let answer = server.send(
            "GET",
            &format!("/chancery/v1/{place}{encoded}"),
            &headers,
            "",
        );
        assert!(
            answer.status >= 400 && !secret(&answer.text()),
            "{place}: {}",
            answer.text()
        );
    }

    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(!logged.is_empty());
    assert!(!secret(&logged), "a key was logged");
}
