//! What relying parties fetch without a token: OCSP answers, revocation lists, the CA certificate.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use pki::KeyAlgorithm;
use serde_json::json;
use testbed::http::Response;
use testbed::{Workdir, openssl, run, try_openssl};

use crate::support::Server;
use crate::{Leaf, PEM_TYPE, REVOKE, ROOT, post, send};

/// Both places of the responder.
const RESPONDERS: [&str; 2] = ["/api/v1/ocsp", "/ocsp"];

fn revoke(server: &Server, leaf: &Leaf, reason: &str) {
    let body = json!({"SerialNumber": leaf.low(), "Reason": reason});
    assert_eq!(post(server, REVOKE, &body).status, 200);
}

/// Asks with `openssl ocsp`, which verifies the answer, and returns what it shows of it.
#[track_caller]
fn asked(server: &Server, leaf: &Leaf, path: &str, digest: &str) -> String {
    let (ca, file) = (leaf.path("ca.pem"), leaf.path("leaf.pem"));
    let url = format!("{}{path}", server.url);
    let output = openssl(
        &[
            "ocsp",
            "-issuer",
            &ca,
            digest,
            "-cert",
            &file,
            "-url",
            &url,
            "-CAfile",
            &ca,
            "-nonce",
            "-resp_text",
        ],
        b"",
    );
    let shown = format!("{}{}", output.text(), output.stderr);
    assert!(shown.contains("Response verify OK"), "{shown}");
    // It warns when the nonce does not come back.
    assert!(!shown.contains("nonce in response"), "{shown}");
    shown
}

/// Asks with `ocsptool` of GnuTLS, which verifies the answer, and returns what it shows of it.
#[track_caller]
fn asked_with_gnutls(server: &Server, leaf: &Leaf) -> String {
    let (ca, file) = (leaf.path("ca.pem"), leaf.path("leaf.pem"));
    let der = leaf.path("response.der");
    let ask = format!("--ask={}/ocsp", server.url);
    let asking = [
        &*ask,
        "--nonce",
        "--load-cert",
        &file,
        "--load-issuer",
        &ca,
        "--outfile",
        &der,
    ];
    let asked = run("ocsptool", &asking, b"");
    let asked = format!("{}{}", asked.text(), asked.stderr);
    assert!(
        asked.contains("Verifying OCSP Response: Success"),
        "{asked}"
    );
    let showing = ["--response-info", "--load-response", &der];
    run("ocsptool", &showing, b"").text()
}

/// The DER of a request for this serial number.
#[track_caller]
fn request(leaf: &Leaf, serial: u128, more: &[&str]) -> Vec<u8> {
    let (ca, out, serial) = (
        leaf.path("ca.pem"),
        leaf.path("request"),
        serial.to_string(),
    );
    let mut arguments = vec!["ocsp", "-issuer", &ca, "-serial", &serial, "-reqout", &out];
    arguments.extend(more);
    openssl(&arguments, b"");
    leaf.files.read("request")
}

/// What `openssl` shows of an answer. One without a signature is all there is to fail.
#[track_caller]
fn shown(response: &Response) -> String {
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("content-type"),
        Some("application/ocsp-response")
    );
    let files = Workdir::new();
    let path = files.write("response", &response.body);
    let output = try_openssl(&["ocsp", "-respin", &path, "-resp_text", "-noverify"], b"");
    format!("{}{}", output.text(), output.stderr)
}

/// Row 23 for one kind of authority.
#[track_caller]
fn answers_are_verified_before_and_after_revocation(server: &Server) -> String {
    let leaf = Leaf::order(server);
    for path in RESPONDERS {
        for digest in ["-sha1", "-sha256", "-sha384", "-sha512"] {
            let good = asked(server, &leaf, path, digest);
            assert!(good.contains("leaf.pem: good"), "{good}");
        }
    }
    let good = asked_with_gnutls(server, &leaf);
    assert!(good.contains("Certificate Status: good"), "{good}");
    revoke(server, &leaf, "keyCompromise");
    let revoked = asked_with_gnutls(server, &leaf);
    assert!(revoked.contains("Certificate Status: revoked"), "{revoked}");
    let mut last = String::new();
    for path in RESPONDERS {
        for digest in ["-sha1", "-sha256", "-sha512"] {
            last = asked(server, &leaf, path, digest);
            assert!(last.contains("leaf.pem: revoked"), "{last}");
            assert!(last.contains("Reason: keyCompromise"), "{last}");
            assert!(last.contains("Revocation Time: "), "{last}");
        }
    }
    last
}

fn server_with(algorithm: KeyAlgorithm) -> Server {
    Server::with(|options| {
        let template = options.house.authorities.get_mut("certmaker").unwrap();
        template.key_algorithm = algorithm;
    })
}

#[test]
fn a_p256_authority_answers_itself() {
    let answer = answers_are_verified_before_and_after_revocation(&server_with(KeyAlgorithm::P256));
    assert!(!answer.contains("OCSP Signing"), "{answer}");
}

#[test]
fn an_rsa_authority_answers_itself() {
    let answer =
        answers_are_verified_before_and_after_revocation(&server_with(KeyAlgorithm::Rsa4096));
    assert!(
        answer.contains("Signature Algorithm: sha256WithRSAEncryption"),
        "{answer}"
    );
    assert!(!answer.contains("OCSP Signing"), "{answer}");
}

#[test]
fn an_ed25519_authority_answers_through_a_p256_delegate() {
    // Row 26.
    let answer =
        answers_are_verified_before_and_after_revocation(&server_with(KeyAlgorithm::Ed25519));
    assert!(
        answer.contains("Signature Algorithm: ecdsa-with-SHA256"),
        "{answer}"
    );
    assert!(answer.contains("OCSP Signing"), "{answer}");
    assert!(answer.contains("OCSP No Check"), "{answer}");
}

#[test]
fn every_spelling_of_a_get_request_is_answered() {
    // Row 24.
    let server = Server::start();
    let leaf = Leaf::order(&server);
    // A nonce makes every request another one; some have a slash and a plus in their base64.
    let (der, base64) = loop {
        let der = request(&leaf, leaf.serial(), &["-nonce"]);
        let base64 = STANDARD.encode(&der);
        if base64.contains('/') && base64.contains('+') {
            break (der, base64);
        }
    };
    let encoded = base64
        .replace('/', "%2F")
        .replace('+', "%2B")
        .replace('=', "%3D");
    for root in RESPONDERS {
        for spelling in [
            base64.clone(),
            encoded.clone(),
            STANDARD_NO_PAD.encode(&der),
            URL_SAFE_NO_PAD.encode(&der),
            format!("ocsp/{base64}"),
        ] {
            let response = server.send("GET", &format!("{root}/{spelling}"), &[], "");
            assert!(
                shown(&response).contains("Cert Status: good"),
                "{root}/{spelling}"
            );
            assert_eq!(response.header("cache-control"), Some("no-store"));
        }
    }
    let plain = STANDARD.encode(request(&leaf, leaf.serial(), &["-no_nonce"]));
    let response = server.send("GET", &format!("/api/v1/ocsp/{plain}"), &[], "");
    assert!(shown(&response).contains("Cert Status: good"));
    assert_eq!(
        response.header("cache-control"),
        Some("max-age=300, public")
    );
}

#[test]
fn caches_are_told_what_they_have_and_for_how_long() {
    let server = Server::start();
    let leaf = Leaf::order(&server);
    let plain = STANDARD.encode(request(&leaf, leaf.serial(), &["-no_nonce"]));
    let path = format!("/ocsp/{}", plain.replace('/', "%2F"));
    let first = server.send("GET", &path, &[], "");
    let text = shown(&first);
    let date = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("{name}: {text}"));
        // `Nov 22 12:00:00 2026 GMT`, and as HTTP has it, without the day of the week.
        let [month, day, time, year, zone] = line
            .split_whitespace()
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        format!("{day:0>2} {month} {year} {time} {zone}")
    };
    let header = |name: &str| first.header(name).unwrap().split_once(", ").unwrap().1;
    assert_eq!(header("last-modified"), date("This Update: "));
    assert_eq!(header("expires"), date("Next Update: "));
    let tag = first.header("etag").unwrap();
    for known in [
        tag.to_owned(),
        format!("\"other\", W/{tag}"),
        "*".to_owned(),
    ] {
        let same = server.send("GET", &path, &[("If-None-Match", &known)], "");
        assert_eq!((same.status, same.body.len()), (304, 0));
        for name in ["cache-control", "etag", "expires"] {
            assert_eq!(same.header(name), first.header(name));
        }
    }
    let another = server.send("GET", &path, &[("If-None-Match", "\"other\"")], "");
    assert_eq!(another.body, first.body);

    revoke(&server, &leaf, "superseded");
    let later = server.send("GET", &path, &[("If-None-Match", tag)], "");
    assert!(shown(&later).contains("Cert Status: revoked"));
    assert_ne!(later.header("etag"), Some(tag));
}

#[test]
fn nobody_on_the_way_keeps_what_is_not_to_be_given_again() {
    let server = Server::start();
    let leaf = Leaf::order(&server);
    let unknown = request(&leaf, leaf.serial() + 1, &["-no_nonce"]);
    let plain = request(&leaf, leaf.serial(), &["-no_nonce"]);
    let unknown = format!("/ocsp/{}", STANDARD.encode(unknown).replace('/', "%2F"));
    for response in [
        server.send("POST", "/ocsp", &[("If-None-Match", "*")], plain),
        server.send("GET", &unknown, &[("If-None-Match", "*")], ""),
        server.send("GET", "/ocsp/AAAA", &[("If-None-Match", "*")], ""),
    ] {
        assert_eq!(response.status, 200);
        assert_eq!(response.header("cache-control"), Some("no-store"));
        for name in ["etag", "expires", "last-modified"] {
            assert_eq!(response.header(name), None);
        }
    }
}

#[test]
fn serial_numbers_are_compared_in_full() {
    // Row 24.
    let server = Server::start();
    let leaf = Leaf::order(&server);
    for serial in [
        1,
        u128::from(leaf.low()),
        leaf.serial() + (1 << 64),
        leaf.serial() + 1,
    ] {
        let body = request(&leaf, serial, &[]);
        let response = server.send("POST", "/api/v1/ocsp", &[], body);
        assert!(
            shown(&response).contains("Cert Status: unknown"),
            "{serial}"
        );
    }
}

#[test]
fn several_certificates_are_asked_about_in_one_request() {
    let server = Server::start();
    let (good, revoked) = (Leaf::order(&server), Leaf::order(&server));
    revoke(&server, &revoked, "superseded");
    let (second, third) = (revoked.serial().to_string(), "12345");
    let body = request(
        &good,
        good.serial(),
        &["-serial", &second, "-serial", third],
    );
    let text = shown(&server.send("POST", "/ocsp", &[], body));
    for (status, count) in [("good", 1), ("revoked", 1), ("unknown", 1)] {
        assert_eq!(
            text.matches(&format!("Cert Status: {status}")).count(),
            count,
            "{text}"
        );
    }
    assert!(text.contains("superseded (0x4)"), "{text}");
}

#[test]
fn a_foreign_issuer_is_nothing_to_us_and_garbage_is_malformed() {
    // Row 25.
    let server = Server::start();
    let other = Server::start();
    let foreign = Leaf::order(&other);
    let body = request(&foreign, foreign.serial(), &[]);
    for path in RESPONDERS {
        let refused = shown(&server.send("POST", path, &[], &body));
        assert!(refused.contains("unauthorized (6)"), "{refused}");
        for garbage in [
            b"".as_slice(),
            b"garbage",
            b"\x30\x80",
            &[0; 20_000],
            &body[1..],
        ] {
            let refused = shown(&server.send("POST", path, &[], garbage));
            assert!(refused.contains("malformedrequest (1)"), "{refused}");
        }
        for garbage in ["", "/", "/***", "/AAAA", "//", "/%"] {
            let refused = shown(&server.send("GET", &format!("{path}{garbage}"), &[], ""));
            assert!(refused.contains("malformedrequest (1)"), "{refused}");
        }
    }
}

#[test]
fn the_responder_forgives_slashes_and_content_types() {
    // Row 30.
    let server = Server::start();
    let leaf = Leaf::order(&server);
    let body = request(&leaf, leaf.serial(), &[]);
    for path in [
        "/api/v1/ocsp/",
        "/api/v1/ocsp",
        "//api/v1/ocsp",
        "/ocsp/",
        "//ocsp",
    ] {
        for headers in [
            [].as_slice(),
            &[("Content-Type", "text/html")],
            &[("X-Auth-Token", "x")],
        ] {
            let response = server.send("POST", path, headers, &body);
            assert!(shown(&response).contains("Cert Status: good"), "{path}");
            assert_eq!(response.header("location"), None);
        }
    }
}

#[test]
fn the_revocation_list_names_what_is_revoked_and_why() {
    let server = Server::start();
    let (kept, revoked, silent) = (
        Leaf::order(&server),
        Leaf::order(&server),
        Leaf::order(&server),
    );
    let number = |text: &str| -> u64 {
        let (_, rest) = text.split_once("X509v3 CRL Number: \n").unwrap();
        rest.trim_start()
            .lines()
            .next()
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    };
    let listed = || {
        let list = server.send("GET", "/api/v1/crl", &[], "");
        assert_eq!(list.status, 200);
        assert_eq!(list.header("content-type"), Some("application/pkix-crl"));
        let path = kept.files.write("list", &list.body);
        let ca = kept.path("ca.pem");
        let verified = openssl(
            &[
                "crl", "-inform", "DER", "-in", &path, "-CAfile", &ca, "-verify", "-noout", "-text",
            ],
            b"",
        );
        assert!(verified.stderr.contains("verify OK"), "{verified:?}");
        verified.text()
    };
    let empty = listed();
    assert!(empty.contains("No Revoked Certificates"), "{empty}");
    assert!(empty.contains("Version 2 (0x1)"), "{empty}");
    revoke(&server, &revoked, "affiliationChanged");
    revoke(&server, &silent, "");
    let text = listed();
    assert!(text.contains("Affiliation Changed"), "{text}");
    assert_eq!(text.matches("X509v3 CRL Reason Code").count(), 1, "{text}");
    for (leaf, count) in [(&kept, 0), (&revoked, 1), (&silent, 1)] {
        let serial = leaf.certificate.serial().to_hex();
        assert_eq!(
            text.matches(&format!("Serial Number: {serial}\n")).count(),
            count,
            "{text}"
        );
    }
    assert!(number(&text) > number(&empty));
    // Nothing has changed: the same list again, here as PEM.
    let pem = server.send("GET", "/api/v1/crl.pem", &[], "");
    assert_eq!(pem.header("content-type"), Some(PEM_TYPE));
    assert!(pem.text().starts_with("-----BEGIN X509 CRL-----\n"));
    assert_eq!(openssl(&["crl", "-noout", "-text"], &pem.body).text(), text);
}

#[test]
fn an_openssl_that_checks_revocation_lists_refuses_the_revoked() {
    let server = Server::start();
    let leaf = Leaf::order(&server);
    let verify = || {
        let list = server.send("GET", "/api/v1/crl.pem", &[], "");
        let list = leaf.files.write("list.pem", &list.body);
        let (ca, file) = (leaf.path("ca.pem"), leaf.path("leaf.pem"));
        try_openssl(
            &[
                "verify",
                "-crl_check",
                "-CRLfile",
                &list,
                "-CAfile",
                &ca,
                &file,
            ],
            b"",
        )
    };
    assert!(verify().status.success());
    revoke(&server, &leaf, "");
    let refused = verify();
    assert!(
        refused.stderr.contains("certificate revoked"),
        "{refused:?}"
    );
}

#[test]
fn the_authority_publishes_the_direct_issuer_of_its_leaves() {
    let server = Server::start();
    let der = server.send("GET", "/api/v1/ca.cer", &[], "");
    assert_eq!(der.status, 200);
    assert_eq!(der.header("content-type"), Some("application/pkix-cert"));
    let pem = send(&server, "GET", ROOT, "");
    let from_pem = openssl(&["x509", "-outform", "DER"], &pem.body);
    assert_eq!(from_pem.stdout, der.body);
    let text = openssl(&["x509", "-noout", "-text"], &pem.body).text();
    assert!(
        text.contains("Digital Signature, Certificate Sign, CRL Sign"),
        "{text}"
    );
    assert!(!text.contains("Extended Key Usage"), "{text}");
    let certificate = pki::Certificate::from_der(&der.body).unwrap();
    let years = (certificate.not_after() - certificate.not_before()).whole_days() / 365;
    assert_eq!(years, 15);
    assert!(certificate.common_name().is_some());
}

#[test]
fn the_address_in_a_leaf_has_its_issuer_after_the_root_was_switched() {
    let server = Server::start();
    let leaf = Leaf::order(&server);
    let administrator = server.administrator();
    let authorities = &server.house.authorities;
    // A successor is what ends later.
    server.advance(Duration::from_secs(86_400));
    server
        .run(authorities.make_successor(&administrator, "certmaker"))
        .unwrap();
    server
        .run(authorities.switch_root(&administrator, "certmaker"))
        .unwrap();
    let published = server.send("GET", "/api/v1/ca.cer", &[], "").body;
    let issuer = pki::Certificate::from_der(&published).unwrap();
    let key = issuer.public_key().unwrap();
    assert!(leaf.certificate.verify_signature_by(&key));
    // Not what signs from now on.
    let root = send(&server, "GET", ROOT, "").body;
    let root = openssl(&["x509", "-outform", "DER"], &root);
    assert_ne!(root.stdout, published);
}
