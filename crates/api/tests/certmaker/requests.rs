//! Orders with a CSR.

use lifecycle::Tiers;
use pki::KeyAlgorithm;
use serde_json::json;
use testbed::{Workdir, openssl};

use crate::support::Server;
use crate::{CSR, Leaf, assert_error, path_of, send};

/// The kinds of keys that clients have, as `openssl req` takes them.
const KEYS: [&[&str]; 5] = [
    &["-newkey", "rsa:2048"],
    &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
    &["-newkey", "ed25519"],
];

/// Writes `key.pem`, `request.pem` and `request.der`.
#[track_caller]
pub(crate) fn request(key: &[&str], more: &[&str]) -> Workdir {
    let files = Workdir::new();
    let (key_file, pem, der) = (
        files.path("key.pem"),
        files.path("request.pem"),
        files.path("request.der"),
    );
    let mut arguments = vec!["req", "-new", "-nodes", "-keyout", &key_file, "-out", &pem];
    arguments.extend(key);
    arguments.extend(more);
    openssl(&arguments, b"");
    openssl(&["req", "-in", &pem, "-outform", "DER", "-out", &der], b"");
    files
}

#[track_caller]
fn ordered(server: &Server, body: &[u8]) -> Leaf {
    let response = send(server, "POST", CSR, body);
    let leaf = Leaf::of(server, &response);
    assert!(response.json().get("private_key_pem").is_none());
    assert_eq!(response.header("x-privatekey-location"), None);
    let location = response.header("x-certificate-location").unwrap();
    let obtained = send(server, "GET", path_of(server, location), "");
    assert_eq!(obtained.text(), leaf.certificate.to_pem());
    let serial = leaf.serial();
    let key = send(
        server,
        "GET",
        &format!("/api/v1/privatekey/{serial}/obtain"),
        "",
    );
    assert_error(&key, 404);
    leaf
}

/// Row 18 for one kind of authority.
#[track_caller]
fn every_kind_of_request_is_certified_by(algorithm: KeyAlgorithm) {
    let server = Server::with(|options| {
        let template = options.house.authorities.get_mut("certmaker").unwrap();
        assert_eq!(template.tiers, Tiers::One);
        template.key_algorithm = algorithm;
    });
    for key in KEYS {
        let files = request(
            key,
            &[
                "-subj",
                "/O=Ours/CN=www.a.test",
                "-addext",
                "subjectAltName=DNS:a.test,IP:fd00::1,email:j@a.test",
            ],
        );
        let public_key = openssl(&["pkey", "-in", &files.path("key.pem"), "-pubout"], b"").text();
        for form in ["request.der", "request.pem"] {
            let leaf = ordered(&server, &files.read(form));
            leaf.assert_good();
            assert_eq!(leaf.public_key(), public_key, "{key:?}");
            assert_eq!(leaf.days(), 7);
            assert_eq!(
                leaf.certificate.subject().to_string(),
                "CN=www.a.test,O=Ours"
            );
            assert_eq!(
                leaf.names(),
                ["a.test", "fd00::1", "j@a.test", "www.a.test"]
            );
            let is_rsa = key.contains(&"rsa:2048");
            let usage = if is_rsa {
                "Digital Signature, Key Encipherment\n"
            } else {
                "Digital Signature\n"
            };
            assert!(leaf.text().contains(usage), "{}", leaf.text());
        }
    }
}

#[test]
fn a_p256_authority_certifies_requests_of_all_kinds() {
    every_kind_of_request_is_certified_by(KeyAlgorithm::P256);
}

#[test]
fn an_ed25519_authority_certifies_requests_of_all_kinds() {
    every_kind_of_request_is_certified_by(KeyAlgorithm::Ed25519);
}

#[test]
fn an_rsa_authority_certifies_requests_of_all_kinds() {
    every_kind_of_request_is_certified_by(KeyAlgorithm::Rsa4096);
}

#[test]
fn a_request_in_either_pem_form_after_blanks_is_read() {
    let server = Server::start();
    let files = request(KEYS[1], &["-subj", "/CN=a.test", "-newhdr"]);
    let pem = String::from_utf8(files.read("request.pem")).unwrap();
    assert!(pem.contains("BEGIN NEW CERTIFICATE REQUEST"));
    for text in [
        format!("\r\n\t {pem}"),
        pem.replace('\n', "\r\n"),
        pem.replace("NEW ", ""),
    ] {
        ordered(&server, text.as_bytes());
    }
}

#[test]
fn the_lifetime_of_a_request_comes_from_the_query() {
    let server = Server::start();
    let files = request(KEYS[4], &["-subj", "/CN=a.test"]);
    let der = files.read("request.der");
    for (query, days) in [
        ("?days=30", 30),
        ("?days=0", 7),
        ("?days=-1", 1),
        ("?days=999", 182),
        ("?x", 7),
        ("/?days=3", 3),
    ] {
        let leaf = Leaf::of(
            &server,
            &send(&server, "POST", &format!("{CSR}{query}"), &der),
        );
        assert_eq!(leaf.days(), days, "{query}");
    }
    for query in ["?days=x", "?days=", "?days=7.5", "?days=%00"] {
        assert_error(&send(&server, "POST", &format!("{CSR}{query}"), &der), 400);
    }
}

#[test]
fn what_a_request_asks_for_beyond_names_is_ignored() {
    let server = Server::start();
    let files = request(
        KEYS[1],
        &[
            "-subj",
            "/CN=a.test",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=keyCertSign,cRLSign",
            "-addext",
            "extendedKeyUsage=codeSigning,OCSPSigning",
            "-addext",
            "subjectAltName=URI:http://a.test/,DNS:b.test,RID:1.2.3",
        ],
    );
    let leaf = ordered(&server, &files.read("request.der"));
    leaf.assert_good();
    let text = leaf.text();
    assert!(text.contains("CA:FALSE"), "{text}");
    assert_eq!(leaf.names(), ["b.test", "a.test"]);
    for absent in [
        "Certificate Sign",
        "Code Signing",
        "OCSP Signing",
        "http://a.test/",
        "1.2.3",
    ] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
}

#[test]
fn a_request_that_does_not_prove_possession_is_refused() {
    // Row 19.
    let server = Server::start();
    for key in KEYS {
        let files = request(key, &["-subj", "/CN=a.test"]);
        let der = files.read("request.der");
        let mut forged = der.clone();
        let name = forged
            .windows(6)
            .position(|bytes| bytes == b"a.test")
            .unwrap();
        forged[name] = b'b';
        let response = send(&server, "POST", CSR, &forged);
        assert_error(&response, 400);
        assert_eq!(
            response.json(),
            json!({"error": "invalid CSR signature"}),
            "{key:?}"
        );
    }
}

#[test]
fn garbage_is_no_request() {
    // Row 19.
    let server = Server::start();
    let files = request(KEYS[1], &["-subj", "/CN=a.test"]);
    let der = files.read("request.der");
    let trailing = [der.as_slice(), b"x"].concat();
    let cut = &der[..der.len() - 1];
    let key = files.read("key.pem");
    for garbage in [
        b"".as_slice(),
        b"garbage",
        b"{}",
        b"\0",
        &[0xff; 1000],
        &[0x30; 60_000],
        b"-----BEGIN CERTIFICATE REQUEST-----",
        b"-----BEGIN CERTIFICATE REQUEST-----\n!!!!\n-----END CERTIFICATE REQUEST-----\n",
        &key,
        &trailing,
        cut,
    ] {
        let response = send(&server, "POST", CSR, garbage);
        assert_error(&response, 400);
        assert_eq!(
            response.json(),
            json!({"error": "could not parse request body"})
        );
    }
}

#[test]
fn requests_with_weak_or_unknown_keys_are_refused() {
    let server = Server::start();
    for key in [
        ["-newkey", "rsa:1024"].as_slice(),
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime192v1"],
        &["-newkey", "ed448"],
        &["-newkey", "rsa:2048", "-sha1"],
    ] {
        let files = request(key, &["-subj", "/CN=a.test"]);
        assert_error(&send(&server, "POST", CSR, files.read("request.der")), 400);
    }
}

#[test]
fn a_request_without_any_name_is_refused() {
    let server = Server::start();
    for more in [
        ["-subj", "/"].as_slice(),
        &["-subj", "/O=Ours"],
        &[
            "-subj",
            "/O=Ours",
            "-addext",
            "subjectAltName=URI:http://a.test/",
        ],
    ] {
        let files = request(KEYS[1], more);
        assert_error(&send(&server, "POST", CSR, files.read("request.der")), 400);
    }
    let free_text = request(KEYS[1], &["-subj", "/CN=Jane Doe"]);
    let leaf = ordered(&server, &free_text.read("request.der"));
    assert!(leaf.names().is_empty());
}

#[test]
fn every_common_name_of_a_request_is_certified() {
    let server = Server::start();
    let files = request(KEYS[1], &["-subj", "/CN=a.test/CN=Jane Doe/CN=10.0.0.5"]);
    let leaf = ordered(&server, &files.read("request.der"));
    leaf.assert_good();
    assert_eq!(leaf.names(), ["a.test", "10.0.0.5"]);
}
