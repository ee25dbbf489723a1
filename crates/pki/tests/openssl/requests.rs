//! Certificate requests in both directions.

use pki::{CertificateRequest, KeyError, PrivateKey, RequestError};
use testbed::{Workdir, openssl};

use crate::support::{LEAF_KEYS, hosts, subject};

/// A new P-256 key by `openssl`, as a path.
fn p256_key(workdir: &Workdir) -> String {
    let path = workdir.path("key.pem");
    openssl(
        &[
            "ecparam",
            "-name",
            "prime256v1",
            "-genkey",
            "-noout",
            "-out",
            &path,
        ],
        b"",
    );
    path
}

fn request_by_openssl(key: &str, arguments: &[&str]) -> Vec<u8> {
    let mut all = vec!["req", "-new", "-key", key, "-utf8"];
    all.extend(arguments);
    openssl(&all, b"").stdout
}

#[test]
fn openssl_verifies_our_requests_with_every_kind_of_key() {
    let names = hosts(&["example.com", "*.example.com", "192.0.2.1", "2001:db8::1"]);
    for key in LEAF_KEYS.iter() {
        let der = CertificateRequest::build(key, &subject("example.com"), &names).unwrap();
        let pem = CertificateRequest::to_pem(&der);
        let shown = openssl(&["req", "-verify", "-noout", "-text"], pem.as_bytes());
        assert!(shown.stderr.contains("verify OK"), "{shown:?}");
        assert!(shown.text().contains(
            "DNS:example.com, DNS:*.example.com, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1"
        ));
        let request = CertificateRequest::from_pem_or_der(&der).unwrap();
        assert_eq!(request.identifiers(), names);
        assert_eq!(request.public_key(), key.public_key());
    }
}

#[test]
fn a_request_without_names_is_verified_too() {
    let der = CertificateRequest::build(&LEAF_KEYS[3], &subject("Free text"), &[]).unwrap();
    let pem = CertificateRequest::to_pem(&der);
    assert!(
        openssl(&["req", "-verify", "-noout"], pem.as_bytes())
            .stderr
            .contains("verify OK")
    );
    assert_eq!(
        CertificateRequest::from_pem_or_der(&der)
            .unwrap()
            .identifiers(),
        []
    );
}

#[test]
fn requests_by_openssl_are_read_with_every_kind_of_key_and_digest() {
    let workdir = Workdir::new();
    for key in LEAF_KEYS.iter() {
        let path = workdir.write("key.pem", key.to_pkcs8_pem().as_bytes());
        for digest in ["-sha256", "-sha384", "-sha512"] {
            let pem = request_by_openssl(
                &path,
                &[
                    digest,
                    "-subj",
                    "/C=DE/O=Köln/CN=example.com",
                    "-addext",
                    "subjectAltName=DNS:Example.com,IP:192.0.2.1,email:a@example.com,URI:https://example.com/",
                ],
            );
            let request = CertificateRequest::from_pem_or_der(&pem).unwrap();
            assert_eq!(request.public_key(), key.public_key());
            assert_eq!(request.subject().to_string(), "CN=example.com,O=Köln,C=DE");
            let names: Vec<String> = request
                .identifiers()
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(names, ["example.com", "192.0.2.1", "a@example.com"]);
        }
    }
}

#[test]
fn der_old_labels_and_pss_signatures_are_read() {
    let workdir = Workdir::new();
    let key = workdir.write("key.pem", LEAF_KEYS[0].to_pkcs8_pem().as_bytes());
    for arguments in [
        &["-outform", "DER"][..],
        &["-newhdr"],
        &[
            "-sigopt",
            "rsa_padding_mode:pss",
            "-sigopt",
            "rsa_pss_saltlen:digest",
        ],
    ] {
        let mut all = vec!["-subj", "/CN=x"];
        all.extend(arguments);
        let request = CertificateRequest::from_pem_or_der(&request_by_openssl(&key, &all));
        assert!(request.is_ok(), "{arguments:?}: {request:?}");
    }
}

#[test]
fn sha1_is_refused() {
    let workdir = Workdir::new();
    let der = request_by_openssl(&p256_key(&workdir), &["-sha1", "-subj", "/CN=x"]);
    assert_eq!(
        CertificateRequest::from_pem_or_der(&der).unwrap_err(),
        RequestError::SignatureAlgorithm
    );
}

#[test]
fn weak_and_unsupported_keys_are_refused_for_what_they_are() {
    let workdir = Workdir::new();
    let weak = workdir.path("weak.pem");
    openssl(&["genrsa", "-out", &weak, "1024"], b"");
    let der = request_by_openssl(&weak, &["-subj", "/CN=x"]);
    assert!(matches!(
        CertificateRequest::from_pem_or_der(&der),
        Err(RequestError::Key(KeyError::TooWeak(_)))
    ));
    let curve = workdir.path("curve.pem");
    openssl(
        &[
            "ecparam",
            "-name",
            "secp256k1",
            "-genkey",
            "-noout",
            "-out",
            &curve,
        ],
        b"",
    );
    let der = request_by_openssl(&curve, &["-subj", "/CN=x"]);
    assert!(matches!(
        CertificateRequest::from_pem_or_der(&der),
        Err(RequestError::Key(KeyError::Unsupported(_)))
    ));
}

#[test]
fn an_invalid_name_is_named() {
    let workdir = Workdir::new();
    let key = p256_key(&workdir);
    let der = request_by_openssl(
        &key,
        &[
            "-subj",
            "/CN=x",
            "-addext",
            "subjectAltName=DNS:good.example,DNS:b d.example",
        ],
    );
    let error = CertificateRequest::from_pem_or_der(&der).unwrap_err();
    assert!(error.to_string().contains("\"b d.example\""), "{error}");
}

#[test]
fn distinguished_names_read_like_openssl_shows_them() {
    let workdir = Workdir::new();
    let key = p256_key(&workdir);
    for subject in [
        "/C=US/O=Let's Encrypt/CN=R3",
        "/DC=org/DC=example/OU=a/OU=b/CN=x",
        "/CN=a,b\\+c\\\\d;e<f>\"g\"",
        "/CN= lead and trail ",
        "/CN=#hash",
    ] {
        let pem = request_by_openssl(&key, &["-subj", subject]);
        let shown = openssl(
            &[
                "req",
                "-noout",
                "-subject",
                "-nameopt",
                "RFC2253,-esc_msb,utf8",
            ],
            &pem,
        );
        let request = CertificateRequest::from_pem_or_der(&pem).unwrap();
        let expected = shown
            .text()
            .trim_end_matches('\n')
            .trim_start_matches("subject=")
            .to_owned();
        assert_eq!(request.subject().to_string(), expected, "{subject}");
    }
}

#[test]
fn a_request_can_come_from_a_key_in_the_same_file() {
    let workdir = Workdir::new();
    let key = p256_key(&workdir);
    let mut text = workdir.read("key.pem");
    text.extend(request_by_openssl(&key, &["-subj", "/CN=x"]));
    let request = CertificateRequest::from_pem_or_der(&text).unwrap();
    assert_eq!(
        request.public_key(),
        PrivateKey::from_pem(&text).unwrap().public_key()
    );
}
