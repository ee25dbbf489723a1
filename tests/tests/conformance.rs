//! What the running server signs, judged by pkilint: no finding that is an error.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use serde_json::json;
use testbed::pkilint::{self, assert_conforms};
use testbed::{Chancery, Workdir, http, openssl};

fn get(server: &Chancery, path: &str) -> Vec<u8> {
    let answer = http::send(&server.http(), "GET", path, &[], b"");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.body
}

#[test]
fn certificates_lists_and_answers_of_every_kind_of_authority_conform() {
    for algorithm in ["p256", "rsa4096", "ed25519"] {
        let server = Chancery::options()
            .config(&format!("[certmaker]\nroot_key_algo = \"{algorithm}\"\n"))
            .start();
        let token = server.token();
        let workdir = Workdir::new();
        let orders = [
            json!({ "domains": ["a.test", "*.b.test"], "ips": ["10.0.0.1", "::1"], "emails": ["x@a.test"] }),
            json!({ "domains": ["c.test"], "emails": [], "subject": { "common_name": "c.test",
                    "organization": "Ünïted", "country": "DE", "province": "BE", "locality": "Berlin",
                    "street_address": "Am Ring 1", "postal_code": "10115" } }),
        ];
        let ca = get(server_with_ca(&server, &token), "/api/v1/ca.cer");
        assert_conforms(&format!("{algorithm} CA"), &pkilint::lint_certificate(&ca));
        let ca_file = workdir.write("ca.der", &ca);
        for (number, order) in orders.iter().enumerate() {
            let answer = http::send(
                &server.http(),
                "POST",
                "/api/v1/certificate/request-with-simplerequest",
                &[("X-Auth-Token", &token)],
                order.to_string().as_bytes(),
            );
            assert_eq!(answer.status, 201, "{}", answer.text());
            let pem = answer.json()["certificate_pem"]
                .as_str()
                .unwrap()
                .to_owned();
            let leaf = openssl(&["x509", "-outform", "DER"], pem.as_bytes()).stdout;
            let what = format!("{algorithm} leaf {number}");
            assert_conforms(&what, &pkilint::lint_certificate(&leaf));

            let leaf_file = workdir.write("leaf.pem", &pem);
            let response = workdir.path("response.der");
            let url = format!("{}/api/v1/ocsp", server.http());
            openssl(
                &[
                    "ocsp",
                    "-noverify",
                    "-issuer",
                    &ca_file,
                    "-cert",
                    &leaf_file,
                    "-url",
                    &url,
                    "-respout",
                    &response,
                ],
                b"",
            );
            assert_conforms(
                &format!("{what}: OCSP"),
                &pkilint::lint_ocsp_response(&workdir.read("response.der")),
            );
            revoke(&server, &token, &leaf_file);
        }
        assert_conforms(
            &format!("{algorithm} CRL"),
            &pkilint::lint_crl(&get(&server, "/api/v1/crl")),
        );
    }
}

#[test]
fn the_default_authority_conforms_in_both_tiers() {
    let server = Chancery::start();
    let workdir = Workdir::new();
    let out = workdir.path("out");
    assert_eq!(
        server.cli(&["issue", "a.test", "--out", &out]).code(),
        Some(0)
    );
    let chain = std::fs::read_to_string(format!("{out}/a.test.crt")).unwrap();
    let root = std::fs::read_to_string(server.root_certificate()).unwrap();
    for pem in chain
        .split_inclusive("-----END CERTIFICATE-----\n")
        .chain([root.as_str()])
    {
        let der = openssl(&["x509", "-outform", "DER"], pem.as_bytes()).stdout;
        assert_conforms("certificate", &pkilint::lint_certificate(&der));
        let text = openssl(
            &[
                "x509",
                "-noout",
                "-ext",
                "subjectKeyIdentifier,basicConstraints",
            ],
            pem.as_bytes(),
        )
        .text();
        if text.contains("CA:TRUE") {
            let identifier = text
                .lines()
                .find(|line| line.matches(':').count() == 19)
                .unwrap();
            let identifier = identifier.trim().replace(':', "").to_lowercase();
            let list = get(&server, &format!("/ca/{identifier}.crl"));
            assert_conforms("CRL", &pkilint::lint_crl(&list));
            assert_eq!(get(&server, &format!("/ca/{identifier}.cer")), der);
        }
    }
}

/// The server, once its CertMaker authority is made, which happens at the first use.
fn server_with_ca<'a>(server: &'a Chancery, token: &str) -> &'a Chancery {
    let headers = [("X-Auth-Token", token)];
    let answer = http::send(
        &server.http(),
        "GET",
        "/api/v1/root-certificate/obtain",
        &headers,
        b"",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    server
}

fn revoke(server: &Chancery, token: &str, certificate: &str) {
    let serial = openssl(&["x509", "-in", certificate, "-noout", "-serial"], b"").text();
    let hexadecimal = serial.trim().trim_start_matches("serial=").to_owned();
    let low = &hexadecimal[hexadecimal.len() - 16..];
    let low = u64::from_str_radix(low, 16).unwrap();
    let body = format!("{{\"SerialNumber\":{low},\"Reason\":\"superseded\"}}");
    let headers = [("X-Auth-Token", token)];
    let answer = http::send(
        &server.http(),
        "POST",
        "/api/v1/certificate/revoke",
        &headers,
        body.as_bytes(),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
}
