//! CRLs and OCSP answers, checked by `openssl`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use pki::{
    CertStatus, HashAlgorithm, KeyAlgorithm, OcspRequest, PrivateKey, Responder, ResponderProfile,
    Revocation, RevocationReason, RevokedEntry, Signer, crl,
};
use testbed::{Output, Workdir, openssl, try_openssl};
use time::{Duration, OffsetDateTime};

use crate::support::{
    AUTHORITY_KEYS, LEAF_KEYS, authority_key, issue, leaf_profile, now, root, serial, subject,
    validity, write,
};

fn revoked(number: u8, reason: RevocationReason) -> RevokedEntry {
    RevokedEntry {
        serial: serial(number),
        at: now() - Duration::hours(1),
        reason,
    }
}

#[test]
fn crls_of_every_kind_of_authority_verify() {
    let workdir = Workdir::new();
    for key in AUTHORITY_KEYS.iter() {
        let issuer = root(key);
        let root_path = write(&workdir, "root.pem", issuer.certificate());
        let entries = [
            revoked(2, RevocationReason::KeyCompromise),
            revoked(3, RevocationReason::Unspecified),
        ];
        let der = crl::build(
            &issuer,
            258,
            now(),
            now() + Duration::days(7),
            entries,
            pki::CrlScope::All,
        )
        .unwrap();
        let shown = openssl(
            &["crl", "-CAfile", &root_path, "-verify", "-noout", "-text"],
            crl::to_pem(&der).as_bytes(),
        );
        assert!(shown.stderr.contains("verify OK"), "{shown:?}");
        let text = shown.text();
        for part in [
            "Version 2 (0x1)",
            "X509v3 CRL Number: \n                258",
            "X509v3 Authority Key Identifier:",
            "X509v3 CRL Reason Code: \n                Key Compromise",
            "Serial Number: 03030303030303030303030303030303",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert_eq!(text.matches("CRL Reason Code").count(), 1, "{text}");
    }
}

#[test]
fn a_revoked_leaf_fails_the_check_and_a_good_one_passes() {
    let workdir = Workdir::new();
    let issuer = root(&authority_key(KeyAlgorithm::P256));
    let root_path = write(&workdir, "root.pem", issuer.certificate());
    let der = crl::build(
        &issuer,
        1,
        now() - Duration::minutes(5),
        now() + Duration::days(7),
        [revoked(2, RevocationReason::Superseded)],
        pki::CrlScope::All,
    )
    .unwrap();
    let crl_path = workdir.write("list.pem", crl::to_pem(&der));
    let verify = |number| {
        let leaf = issue(
            leaf_profile(&["example.com"], LEAF_KEYS[3].public_key()),
            number,
            &issuer,
        );
        let leaf_path = write(&workdir, "leaf.pem", &leaf);
        try_openssl(
            &[
                "verify",
                "-x509_strict",
                "-crl_check",
                "-CAfile",
                &root_path,
                "-CRLfile",
                &crl_path,
                &leaf_path,
            ],
            b"",
        )
    };
    assert_eq!(verify(9).code(), Some(0));
    let refused = verify(2);
    assert!(
        refused.stderr.contains("certificate revoked"),
        "{refused:?}"
    );
}

#[test]
fn a_crl_for_one_distribution_point_names_it() {
    let issuer = root(&authority_key(KeyAlgorithm::P256));
    let url = "http://pki.example/crl/7";
    let scope = pki::CrlScope::Point(url);
    let der = crl::build(&issuer, 1, now(), now() + Duration::days(7), [], scope).unwrap();
    let text = openssl(&["crl", "-inform", "DER", "-noout", "-text"], &der).text();
    assert!(
        text.contains("X509v3 Issuing Distribution Point: critical"),
        "{text}"
    );
    assert!(
        text.contains(url) && text.contains("No Revoked Certificates"),
        "{text}"
    );
}

/// An authority, a leaf of its, and their files.
struct Scene {
    workdir: Workdir,
    issuer: Signer,
}

impl Scene {
    fn new(algorithm: KeyAlgorithm) -> Self {
        let workdir = Workdir::new();
        let issuer = root(&authority_key(algorithm));
        write(&workdir, "root.pem", issuer.certificate());
        let leaf = issue(
            leaf_profile(&["example.com"], LEAF_KEYS[3].public_key()),
            2,
            &issuer,
        );
        write(&workdir, "leaf.pem", &leaf);
        Self { workdir, issuer }
    }

    fn path(&self, name: &str) -> String {
        self.workdir.path(name)
    }

    /// Lets `openssl` ask about the leaf over HTTP, answers once, and returns its judgement.
    fn ask(
        &self,
        arguments: &[&str],
        answer: impl FnOnce(&OcspRequest) -> Vec<u8> + Send,
    ) -> Output {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (root, leaf) = (self.path("root.pem"), self.path("leaf.pem"));
        let url = format!("http://{address}/");
        let mut all = vec!["ocsp", "-url", &url, "-CAfile", &root, "-issuer", &root];
        all.extend(arguments);
        all.extend(["-cert", &leaf]);
        thread::scope(|scope| {
            scope.spawn(|| serve_once(&listener, answer));
            let judged = try_openssl(&all, b"");
            // Ends the wait of the other thread if openssl never came.
            let _ = TcpStream::connect(address);
            judged
        })
    }
}

/// Reads one OCSP request by POST and answers it.
fn serve_once(listener: &TcpListener, answer: impl FnOnce(&OcspRequest) -> Vec<u8>) {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    if body.is_empty() {
        return;
    }
    let answer = answer(&OcspRequest::from_der(&body).unwrap());
    let head = format!(
        "HTTP/1.0 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    (&stream)
        .write_all(&[head.as_bytes(), &answer].concat())
        .unwrap();
}

fn answer(responder: &Responder, request: &OcspRequest, status: CertStatus) -> Vec<u8> {
    let answers: Vec<_> = request.cert_ids.iter().map(|id| (id, status)).collect();
    let this_update = now() - Duration::minutes(5);
    let next_update = now() + Duration::hours(24);
    responder
        .respond(
            &answers,
            request.nonce.as_deref(),
            now(),
            this_update,
            next_update,
        )
        .unwrap()
}

fn assert_verified(judged: &Output, status: &str) {
    assert!(judged.stderr.contains("Response verify OK"), "{judged:?}");
    assert!(!judged.stderr.contains("WARNING"), "{judged:?}");
    assert!(
        judged.text().contains(&format!("leaf.pem: {status}")),
        "{judged:?}"
    );
}

#[test]
fn direct_answers_of_every_kind_of_authority_verify() {
    for algorithm in KeyAlgorithm::ALL {
        let scene = Scene::new(algorithm);
        let responder = Responder::direct(&scene.issuer);
        let judged = scene.ask(&[], |request| answer(&responder, request, CertStatus::Good));
        assert_verified(&judged, "good");
    }
}

#[test]
fn every_hash_is_understood_with_and_without_nonce() {
    let scene = Scene::new(KeyAlgorithm::P256);
    let responder = Responder::direct(&scene.issuer);
    for (argument, algorithm) in [
        ("-sha1", HashAlgorithm::Sha1),
        ("-sha256", HashAlgorithm::Sha256),
        ("-sha384", HashAlgorithm::Sha384),
        ("-sha512", HashAlgorithm::Sha512),
    ] {
        for nonce in ["-nonce", "-no_nonce"] {
            let judged = scene.ask(&[argument, nonce], |request| {
                let [id] = request.cert_ids.as_slice() else {
                    panic!("{request:?}")
                };
                assert!(id.issued_by(scene.issuer.issuer_hashes()));
                assert_eq!(id.hash_algorithm(), Some(algorithm));
                assert_eq!(id.serial(), Some(&serial(2)));
                assert_eq!(request.nonce.is_some(), nonce == "-nonce");
                answer(&responder, request, CertStatus::Good)
            });
            assert_verified(&judged, "good");
        }
    }
}

#[test]
fn revoked_and_unknown_are_told_with_reason_and_time() {
    let scene = Scene::new(KeyAlgorithm::P256);
    let responder = Responder::direct(&scene.issuer);
    let at = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    for reason in RevocationReason::ALL {
        let status = CertStatus::Revoked(Revocation { at, reason });
        let judged = scene.ask(&[], |request| answer(&responder, request, status));
        assert_verified(&judged, "revoked");
        let text = judged.text();
        assert!(
            text.contains("Revocation Time: Nov 14 22:13:20 2023 GMT"),
            "{text}"
        );
        // This version of openssl has no words for the reasons 9 and 10.
        let expected = match reason {
            RevocationReason::PrivilegeWithdrawn | RevocationReason::AaCompromise => "(unknown)",
            _ => reason.as_str(),
        };
        let is_shown = text
            .to_lowercase()
            .contains(&format!("reason: {expected}").to_lowercase());
        assert_eq!(
            is_shown,
            reason != RevocationReason::Unspecified,
            "{reason} {text}"
        );
    }
    let judged = scene.ask(&[], |request| {
        answer(&responder, request, CertStatus::Unknown)
    });
    assert_verified(&judged, "unknown");
}

#[test]
fn a_delegated_responder_answers_for_its_authority() {
    let scene = Scene::new(KeyAlgorithm::Ed25519);
    let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
    let profile = ResponderProfile {
        subject: subject("Responder"),
        public_key: key.public_key().clone(),
        validity: validity(30),
    };
    let certificate = issue(profile, 3, &scene.issuer);
    let path = write(&scene.workdir, "responder.pem", &certificate);
    let text = openssl(&["x509", "-in", &path, "-noout", "-text"], b"").text();
    assert!(
        text.contains("OCSP Signing") && text.contains("OCSP No Check"),
        "{text}"
    );
    let root = scene.path("root.pem");
    openssl(
        &[
            "verify",
            "-x509_strict",
            "-purpose",
            "ocsphelper",
            "-CAfile",
            &root,
            &path,
        ],
        b"",
    );
    let responder = Responder::delegated(certificate, key).unwrap();
    let judged = scene.ask(&[], |request| answer(&responder, request, CertStatus::Good));
    assert_verified(&judged, "good");
}

#[test]
fn an_answer_of_another_authority_or_with_another_nonce_is_refused() {
    let scene = Scene::new(KeyAlgorithm::P256);
    let other = Responder::direct(&root(&authority_key(KeyAlgorithm::P384)));
    let judged = scene.ask(&[], |request| answer(&other, request, CertStatus::Good));
    assert!(
        judged.stderr.contains("Response Verify Failure"),
        "{judged:?}"
    );
    let responder = Responder::direct(&scene.issuer);
    let judged = scene.ask(&[], |request| {
        let replayed = OcspRequest {
            nonce: Some(vec![7; 16]),
            ..request.clone()
        };
        answer(&responder, &replayed, CertStatus::Good)
    });
    assert!(judged.stderr.contains("Nonce Verify error"), "{judged:?}");
}

#[test]
fn several_certificates_are_asked_about_and_answered_at_once() {
    let scene = Scene::new(KeyAlgorithm::P256);
    let responder = Responder::direct(&scene.issuer);
    let judged = scene.ask(&["-serial", "0x0909", "-serial", "255"], |request| {
        let serials: Vec<String> = request
            .cert_ids
            .iter()
            .map(|id| id.serial().unwrap().to_hex())
            .collect();
        assert_eq!(serials, ["0909", "FF", "02020202020202020202020202020202"]);
        answer(&responder, request, CertStatus::Good)
    });
    assert_verified(&judged, "good");
    assert!(judged.text().contains("0x0909: good"), "{judged:?}");
}

#[test]
fn signed_requests_are_read() {
    let scene = Scene::new(KeyAlgorithm::P256);
    let responder = Responder::direct(&scene.issuer);
    let key = scene
        .workdir
        .write("key.pem", LEAF_KEYS[3].to_pkcs8_pem().as_bytes());
    let leaf = scene.path("leaf.pem");
    let judged = scene.ask(&["-signer", &leaf, "-signkey", &key], |request| {
        answer(&responder, request, CertStatus::Good)
    });
    assert_verified(&judged, "good");
}

#[test]
fn an_answer_to_a_stored_request_verifies() {
    let scene = Scene::new(KeyAlgorithm::P256);
    let (root, leaf) = (scene.path("root.pem"), scene.path("leaf.pem"));
    let path = scene.path("request.der");
    openssl(
        &[
            "ocsp",
            "-no_nonce",
            "-issuer",
            &root,
            "-cert",
            &leaf,
            "-reqout",
            &path,
        ],
        b"",
    );
    let request = OcspRequest::from_der(&scene.workdir.read("request.der")).unwrap();
    assert_eq!(request.to_der(), scene.workdir.read("request.der"));
    let der = answer(
        &Responder::direct(&scene.issuer),
        &request,
        CertStatus::Good,
    );
    let response = scene.workdir.write("response.der", der);
    let judged = openssl(
        &[
            "ocsp",
            "-respin",
            &response,
            "-issuer",
            &root,
            "-cert",
            &leaf,
            "-CAfile",
            &root,
            "-no_nonce",
        ],
        b"",
    );
    assert_verified(&judged, "good");
}

#[test]
fn our_requests_are_read_by_openssl() {
    let scene = Scene::new(KeyAlgorithm::P256);
    let request = OcspRequest {
        cert_ids: HashAlgorithm::ALL
            .map(|algorithm| pki::CertId::new(algorithm, scene.issuer.issuer_hashes(), &serial(2)))
            .to_vec(),
        nonce: Some(vec![1; 16]),
    };
    let path = scene.workdir.write("ours.der", request.to_der());
    let text = openssl(&["ocsp", "-reqin", &path, "-req_text"], b"").text();
    for part in [
        "Hash Algorithm: sha1",
        "Hash Algorithm: sha512",
        "OCSP Nonce",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn failures_are_named_by_openssl() {
    use pki::OcspFailure;
    let workdir = Workdir::new();
    for (failure, name) in [
        (OcspFailure::MalformedRequest, "malformedrequest (1)"),
        (OcspFailure::InternalError, "internalerror (2)"),
        (OcspFailure::TryLater, "trylater (3)"),
        (OcspFailure::SigRequired, "sigrequired (5)"),
        (OcspFailure::Unauthorized, "unauthorized (6)"),
    ] {
        let path = workdir.write("failure.der", failure.to_der());
        let shown = try_openssl(&["ocsp", "-respin", &path, "-resp_text", "-noverify"], b"");
        assert!(
            format!("{}{}", shown.text(), shown.stderr).contains(name),
            "{name}: {shown:?}"
        );
    }
}
