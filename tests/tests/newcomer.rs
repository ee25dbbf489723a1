//! The main job, as somebody does it who has just installed the program.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use serde_json::{Value, json};
use testbed::{Chancery, Workdir, http, openssl, try_openssl};

/// `openssl` makes a request, Chancery signs it, and openssl agrees with everything that follows.
#[test]
fn a_request_made_by_openssl_becomes_a_certificate_that_openssl_trusts_until_it_is_revoked() {
    let server = Chancery::start();
    let workdir = Workdir::new();
    for (kind, options) in [
        ("rsa", vec!["-newkey", "rsa:2048"]),
        (
            "p256",
            vec!["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        ),
        ("ed25519", vec!["-newkey", "ed25519"]),
    ] {
        let name = format!("{kind}.example.com");
        let (key, csr) = (
            workdir.path(&format!("{kind}.key")),
            workdir.path(&format!("{kind}.csr")),
        );
        let subject = format!("/CN={name}");
        let mut arguments = vec![
            "req", "-new", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &csr,
        ];
        arguments.extend(options);
        openssl(&arguments, b"");

        let out = workdir.path("out");
        let issued = server.cli(&["issue", "--csr", &csr, "--out", &out, "--json"]);
        assert_eq!(issued.code(), Some(0), "{issued:?}");
        let issued: Value = serde_json::from_str(&issued.text()).unwrap();
        assert!(issued.get("private_key").is_none());
        let reference = issued["name"].as_str().unwrap();
        let chain = format!("{out}/{reference}.crt");

        let root = server.root_certificate().display().to_string();
        openssl(
            &["verify", "-CAfile", &root, "-untrusted", &chain, &chain],
            b"",
        );
        assert_eq!(
            openssl(&["x509", "-in", &chain, "-noout", "-pubkey"], b"").text(),
            openssl(&["req", "-in", &csr, "-noout", "-pubkey"], b"").text()
        );

        let issuer = issuing_certificate(&workdir, &chain);
        assert!(ocsp_says(&server, &root, &issuer, &chain).contains(": good"));
        assert_crl_verifies(&server, &workdir, &issuer, &chain, false);
        let revoked = server.cli(&["revoke", reference, "--reason", "keyCompromise"]);
        assert_eq!(revoked.code(), Some(0), "{revoked:?}");
        let answer = ocsp_says(&server, &root, &issuer, &chain);
        assert!(answer.contains(": revoked"), "{answer}");
        assert!(answer.contains("keyCompromise"), "{answer}");
        assert_crl_verifies(&server, &workdir, &issuer, &chain, true);
    }
}

#[test]
fn a_chain_made_elsewhere_is_uploaded_listed_shown_and_removed() {
    let server = Chancery::start();
    let workdir = Workdir::new();
    let (key, chain) = (workdir.path("shop.key"), workdir.path("shop.crt"));
    openssl(
        &[
            "req",
            "-x509",
            "-nodes",
            "-newkey",
            "rsa:2048",
            "-days",
            "20",
            "-subj",
            "/CN=shop.example.com",
            "-addext",
            "subjectAltName=DNS:shop.example.com,DNS:www.example.com",
            "-keyout",
            &key,
            "-out",
            &chain,
        ],
        b"",
    );
    let uploaded = server.cli(&["upload", "--chain", &chain, "--key", &key, "--name", "shop"]);
    assert_eq!(uploaded.code(), Some(0), "{uploaded:?}");

    let listed = server.cli(&["ls"]).text();
    assert!(
        listed.contains("shop.example.com") && listed.contains("uploaded"),
        "{listed}"
    );
    let soon: Value =
        serde_json::from_str(&server.cli(&["ls", "--expiring", "30d", "--json"]).text()).unwrap();
    assert_eq!(soon.as_array().unwrap().len(), 1);
    let sooner: Value =
        serde_json::from_str(&server.cli(&["ls", "--expiring", "10d", "--json"]).text()).unwrap();
    assert_eq!(sooner.as_array().unwrap().len(), 0);

    assert_eq!(
        server.cli(&["show", "shop", "--pem"]).text(),
        openssl(&["x509", "-in", &chain], b"").text()
    );
    let shown = server.cli(&["show", "shop"]).text();
    assert!(shown.contains("www.example.com"), "{shown}");
    assert!(!shown.contains("PRIVATE KEY"));

    let refused = server.cli(&["revoke", "shop"]);
    assert_eq!(refused.code(), Some(1));
    assert!(
        refused
            .stderr
            .contains("not issued by an authority of this server")
    );
    assert_eq!(server.cli(&["rm", "shop"]).code(), Some(0));
    let gone = server.cli(&["show", "shop"]);
    assert_eq!(gone.code(), Some(1));
    assert!(gone.stderr.contains("no certificate 'shop'"));
}

#[test]
fn a_pair_made_by_the_server_is_written_so_that_only_its_owner_can_read_the_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Chancery::start();
    let workdir = Workdir::new();
    let out = workdir.path("pair");
    let issued = server.cli(&[
        "issue",
        "*.example.com",
        "10.1.2.3",
        "me@example.com",
        "--out",
        &out,
        "--days",
        "30",
    ]);
    assert_eq!(issued.code(), Some(0), "{issued:?}");
    let (key, chain) = (
        format!("{out}/wildcard.example.com.key"),
        format!("{out}/wildcard.example.com.crt"),
    );
    assert_eq!(
        std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let names = openssl(
        &["x509", "-in", &chain, "-noout", "-ext", "subjectAltName"],
        b"",
    )
    .text();
    for name in [
        "DNS:*.example.com",
        "IP Address:10.1.2.3",
        "email:me@example.com",
    ] {
        assert!(names.contains(name), "{names}");
    }
    assert_eq!(
        openssl(&["x509", "-in", &chain, "-noout", "-pubkey"], b"").text(),
        openssl(&["pkey", "-in", &key, "-pubout"], b"").text()
    );
}

#[test]
fn one_certificate_is_the_same_in_every_dialect() {
    let server = Chancery::start();
    let token = server.token();
    let body = json!({ "domains": ["a.test"], "emails": [] }).to_string();
    let ordered = http::send(
        &server.http(),
        "POST",
        "/api/v1/certificate/request-with-simplerequest",
        &[("X-Auth-Token", &token)],
        body.as_bytes(),
    );
    assert_eq!(ordered.status, 201, "{}", ordered.text());
    let listed: Value = serde_json::from_str(&server.cli(&["ls", "--json"]).text()).unwrap();
    let uuid = listed[0]["uuid"].as_str().unwrap();
    let bearer = format!("Bearer {token}");
    let path = format!("/v1/certificates/{uuid}");
    let found = http::send(
        &server.http(),
        "GET",
        &path,
        &[("Authorization", &bearer)],
        b"",
    )
    .json();
    let certificate = &found["data"]["certificates"][0];
    assert_eq!(certificate["common_name"], "a.test");
    assert_eq!(certificate["serial_number"], listed[0]["current"]["serial"]);
}

#[test]
fn tokens_are_limited_as_they_were_made_and_refused_once_deleted() {
    let server = Chancery::start();
    assert_eq!(server.cli(&["account", "create", "shop"]).code(), Some(0));
    let made = server.cli(&[
        "token",
        "create",
        "--account",
        "shop",
        "--read-only",
        "--name",
        "dashboard",
    ]);
    assert_eq!(made.text().lines().count(), 1, "{made:?}");
    let reader = made.text().trim().to_owned();
    let as_reader = |args: &[&str]| {
        let mut all = vec!["--token", reader.as_str()];
        all.extend(args);
        server.cli(&all)
    };
    assert_eq!(as_reader(&["ls"]).code(), Some(0));
    let refused = as_reader(&["issue", "a.test"]);
    assert_eq!(refused.code(), Some(1));
    assert!(refused.stderr.contains("read-only"));
    assert_eq!(as_reader(&["account", "ls"]).code(), Some(1));

    let narrow = server
        .cli(&[
            "token",
            "create",
            "--account",
            "shop",
            "--dialects",
            "certmaker",
        ])
        .text();
    assert_eq!(
        server.cli(&["--token", narrow.trim(), "ls"]).code(),
        Some(1)
    );
    let root = |token: &str| {
        let headers = [("X-Auth-Token", token)];
        http::send(
            &server.http(),
            "GET",
            "/api/v1/root-certificate/obtain",
            &headers,
            b"",
        )
        .status
    };
    assert_eq!(root(narrow.trim()), 200);

    let tokens: Value =
        serde_json::from_str(&server.cli(&["token", "ls", "--json"]).text()).unwrap();
    let dashboard = tokens
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["name"] == "dashboard")
        .unwrap();
    assert_eq!(
        server
            .cli(&["token", "rm", dashboard["uuid"].as_str().unwrap()])
            .code(),
        Some(0)
    );
    assert_eq!(as_reader(&["ls"]).code(), Some(1));
}

/// The first certificate after the leaf.
fn issuing_certificate(workdir: &Workdir, chain: &str) -> String {
    let text = std::fs::read_to_string(chain).unwrap();
    let second = text.match_indices("-----BEGIN").nth(1).unwrap().0;
    workdir.write("issuing.pem", &text[second..])
}

/// What `openssl ocsp` says, having checked the signature, for each hash, with and without nonce.
fn ocsp_says(server: &Chancery, root: &str, issuer: &str, chain: &str) -> String {
    let url = format!("{}/ocsp", server.http());
    let mut said = String::new();
    for hash in ["-sha1", "-sha256"] {
        for nonce in ["-nonce", "-no_nonce"] {
            let output = openssl(
                &[
                    "ocsp",
                    "-url",
                    &url,
                    "-CAfile",
                    root,
                    "-issuer",
                    issuer,
                    hash,
                    nonce,
                    "-cert",
                    chain,
                    "-verify_other",
                    issuer,
                ],
                b"",
            );
            let all = format!("{}{}", output.text(), output.stderr);
            assert!(all.contains("Response verify OK"), "{all}");
            said = output.text();
        }
    }
    said
}

/// Fetches the list where the certificate says it is, and checks it with openssl.
fn assert_crl_verifies(
    server: &Chancery,
    workdir: &Workdir,
    issuer: &str,
    chain: &str,
    revoked: bool,
) {
    let points = openssl(
        &[
            "x509",
            "-in",
            chain,
            "-noout",
            "-ext",
            "crlDistributionPoints",
        ],
        b"",
    )
    .text();
    let url = points
        .split("URI:")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .trim();
    let path = url.strip_prefix(&server.http()).unwrap();
    let list = http::send(&server.http(), "GET", path, &[], b"");
    assert_eq!(list.header("content-type"), Some("application/pkix-crl"));
    let file = workdir.write("list.crl", &list.body);
    let verified = try_openssl(
        &[
            "crl", "-inform", "DER", "-in", &file, "-noout", "-CAfile", issuer, "-text",
        ],
        b"",
    );
    assert!(verified.stderr.contains("verify OK"), "{verified:?}");
    let serial = openssl(&["x509", "-in", chain, "-noout", "-serial"], b"").text();
    let serial = serial.trim().trim_start_matches("serial=");
    let lists_it = verified.text().contains(serial);
    assert_eq!(lists_it, revoked, "{}", verified.text());
}
