//! A server that is killed without warning keeps every promise it made.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use testbed::{Chancery, Workdir, http, openssl, run};

const ROUNDS: usize = 20;
const CLIENTS: usize = 64;
/// Answers that are waited for before the kill; it differs from round to round, so that kills fall
/// on different moments.
const BASE_ANSWERS: usize = 40;

/// What a client was told: where the certificate and the key are, and what they are.
struct Promise {
    certificate_path: String,
    key_path: String,
    certificate: String,
    key: String,
}

#[test]
fn every_certificate_that_a_client_was_told_of_survives_a_kill() {
    let mut server = Chancery::options()
        .config("[certmaker]\norders_per_minute = 0\n")
        .start();
    let token = server.token();
    let mut promises: Vec<Promise> = Vec::new();
    for round in 0..ROUNDS {
        let enough = BASE_ANSWERS + 7 * round;
        let told = issue_until_killed(&mut server, &token, round, enough);
        server.restart();
        for promise in &told {
            assert_kept(&server.http(), &token, promise);
        }
        promises.extend(told);
    }
    // What the earlier rounds were told still holds after all the kills.
    for promise in promises.iter().step_by(7) {
        assert_kept(&server.http(), &token, promise);
    }
    assert_every_serial_is_unique(&server, &token, promises.len());

    let _ = server.terminate();
    let database = server.data().join("chancery.db");
    assert_eq!(integrity(&database.display().to_string()), "ok");
    assert_keys_are_sealed(&server, &promises);
}

/// Lets 64 clients order certificates at once, kills the server in the middle, and returns what
/// they had been told until then.
fn issue_until_killed(
    server: &mut Chancery,
    token: &str,
    round: usize,
    enough: usize,
) -> Vec<Promise> {
    let told = Mutex::new(Vec::new());
    let answers = AtomicUsize::new(0);
    let base = server.http();
    let server = Mutex::new(server);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (told, answers, base, server) = (&told, &answers, &base, &server);
            scope.spawn(move || {
                for order in 0.. {
                    let name = format!("r{round}-c{client}-o{order}.test");
                    let Ok(promise) = order_certificate(base, token, &name) else {
                        break;
                    };
                    told.lock().unwrap().push(promise);
                    if answers.fetch_add(1, Ordering::SeqCst) + 1 == enough {
                        server.lock().unwrap().kill();
                        break;
                    }
                }
            });
        }
    });
    told.into_inner().unwrap()
}

fn order_certificate(base: &str, token: &str, name: &str) -> Result<Promise, String> {
    let body = json!({ "domains": [name], "email_addresses": null, "days": 7 }).to_string();
    let answer = http::try_send(
        base,
        "POST",
        "/api/v1/certificate/request-with-simplerequest",
        &[("X-Auth-Token", token)],
        body.as_bytes(),
    )?;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let pair = answer.json();
    let text = |key: &str| pair[key].as_str().unwrap().to_owned();
    // The server that is killed and the one that is asked later have different ports.
    let path = |header: &str| {
        let url = answer.header(header).unwrap();
        url[url.find("/api/").unwrap()..].to_owned()
    };
    Ok(Promise {
        certificate_path: path("x-certificate-location"),
        key_path: path("x-privatekey-location"),
        certificate: text("certificate_pem"),
        key: text("private_key_pem"),
    })
}

fn assert_kept(base: &str, token: &str, promise: &Promise) {
    for (path, told) in [
        (&promise.certificate_path, &promise.certificate),
        (&promise.key_path, &promise.key),
    ] {
        let answer = http::send(base, "GET", path, &[("X-Auth-Token", token)], b"");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let pem = answer.text();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(&body, told, "{path}");
    }
}

fn assert_every_serial_is_unique(server: &Chancery, token: &str, at_least: usize) {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let listed = http::send(&server.http(), "GET", "/v1/certificates", &headers, b"").json();
    let certificates = listed["data"]["certificates"].as_array().unwrap();
    let serials: HashSet<&str> = certificates
        .iter()
        .map(|certificate: &Value| certificate["serial_number"].as_str().unwrap())
        .collect();
    assert_eq!(serials.len(), certificates.len());
    assert!(serials.len() >= at_least);
}

fn integrity(database: &str) -> String {
    let check = "import sqlite3, sys; \
                 print(sqlite3.connect(sys.argv[1]).execute('pragma integrity_check').fetchone()[0])";
    run("python3", &["-c", check, database], b"")
        .text()
        .trim()
        .to_owned()
}

/// No private key that a client was given stands in any file of the data directory.
fn assert_keys_are_sealed(server: &Chancery, promises: &[Promise]) {
    let files: Vec<Vec<u8>> = std::fs::read_dir(server.data())
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    let workdir = Workdir::new();
    for promise in promises.iter().step_by(promises.len() / 8) {
        let encoded = workdir.write("key.b64", format!("{}\n", promise.key));
        let der = openssl(&["base64", "-d", "-A", "-in", &encoded], b"").stdout;
        // The private scalar of a P-256 key in PKCS#8 stands at octets 36 to 68.
        let scalar = &der[36..68];
        for file in &files {
            assert!(!file.windows(scalar.len()).any(|window| window == scalar));
        }
    }
}
