//! Orders without a CSR, in the spelling of every client generation.

use api::G1SuccessStatus;
use pki::KeyAlgorithm;
use serde_json::{Value, json};
use testbed::{Workdir, openssl};

use crate::requests::request;
use crate::support::Server;
use crate::{
    CSR, LOCATED, Leaf, PEM_TYPE, REVOKE, ROOT, SIMPLE, assert_error, path_of, post, send,
};

fn validating_server() -> Server {
    Server::with(|options| options.house.validation.switches.http01 = true)
}

#[test]
fn names_of_the_machine_itself_are_certified_even_where_validation_is_demanded() {
    // Row 3.
    let server = validating_server();
    let order = json!({
        "domains": ["localhost"], "ips": ["127.0.0.1"], "email_addresses": null, "days": 7
    });
    let leaf = Leaf::of(&server, &post(&server, SIMPLE, &order));
    leaf.assert_good();
    assert_eq!(leaf.names(), ["localhost", "127.0.0.1"]);
    assert_eq!(leaf.days(), 7);
    let text = leaf.text();
    assert!(
        text.contains("DNS:localhost, IP Address:127.0.0.1"),
        "{text}"
    );
    for spelling in [
        "LOCALHOST.",
        " localhost ",
        "[::1]",
        "0:0:0:0:0:0:0:1",
        "127.0.0.1",
    ] {
        let response = post(&server, SIMPLE, &json!({"domains": [spelling]}));
        assert_eq!(response.status, 201, "{spelling}: {}", response.text());
    }
}

#[test]
fn nothing_else_is_issued_where_validation_is_demanded() {
    let server = validating_server();
    for order in [
        json!({"domains": ["a.test"]}),
        json!({"domains": ["localhost", "a.test"]}),
        json!({"domains": ["127.0.0.2"]}),
        json!({"ips": ["10.0.0.5"]}),
        json!({"ips": ["::ffff:127.0.0.1"]}),
        json!({"subject": {"common_name": "a.test"}}),
        json!({"domains": ["localhost"], "subject": {"common_name": "A.test."}}),
        json!({"Domains": ["a.test"]}),
    ] {
        for path in [SIMPLE, LOCATED] {
            let response = post(&server, path, &order);
            assert_eq!(response.status, 202, "{order}: {}", response.text());
            assert_eq!(response.header("x-certificate-location"), None, "{order}");
        }
    }
    let files = Workdir::new();
    let csr = files.path("request.pem");
    for (subject, names) in [
        ("/CN=a.test", None),
        ("/CN=Jane", Some("subjectAltName=DNS:localhost,DNS:a.test")),
        (
            "/CN=a.test/CN=not a name",
            Some("subjectAltName=DNS:localhost"),
        ),
        ("/O=x", Some("subjectAltName=IP:10.0.0.5")),
    ] {
        let key = files.path("key.pem");
        let mut arguments = vec![
            "req", "-new", "-newkey", "ed25519", "-nodes", "-keyout", &key,
        ];
        arguments.extend(["-subj", subject, "-out", &csr]);
        if let Some(names) = names {
            arguments.extend(["-addext", names]);
        }
        openssl(&arguments, b"");
        let response = send(&server, "POST", CSR, files.read("request.pem"));
        assert_eq!(response.status, 202, "{}", response.text());
    }
}

#[test]
fn the_sdk_gets_pem_and_everybody_else_base64_of_der() {
    // Row 4.
    let server = Server::start();
    let sdk = json!({"domains": ["localhost"], "ips": ["127.0.0.1"], "emails": null, "days": 7});
    let response = post(&server, SIMPLE, &sdk);
    assert_eq!(response.status, 201);
    let body = response.json();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    assert!(text("certificate_pem").starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert!(text("private_key_pem").starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let key = openssl(&["pkey", "-pubout"], text("private_key_pem").as_bytes());
    let certificate = openssl(
        &["x509", "-noout", "-pubkey"],
        text("certificate_pem").as_bytes(),
    );
    assert_eq!(key.text(), certificate.text());
    for order in [
        json!({"domains": ["a.test"]}),
        json!({"domains": ["a.test"], "email_addresses": null}),
        json!({"domains": ["a.test"], "email_addresses": null, "emails": null}),
        json!({"Domains": ["a.test"], "EmailAddresses": []}),
    ] {
        Leaf::of(&server, &post(&server, SIMPLE, &order)).assert_good();
    }
}

#[test]
fn the_bot_gets_200_and_two_locations() {
    // Row 5.
    let server = Server::start();
    let order = json!({"Domains": ["localhost"], "Days": 5, "CertFile": "x", "KeyFile": "y"});
    let response = post(&server, LOCATED, &order);
    assert_eq!((response.status, response.body.len()), (200, 0));
    let obtain = |header: &str| {
        let url = response.header(header).unwrap();
        let obtained = send(&server, "GET", path_of(&server, url), "");
        assert_eq!(obtained.status, 200);
        assert_eq!(obtained.header("content-type"), Some(PEM_TYPE));
        obtained.body
    };
    let certificate = obtain("x-certificate-location");
    let key = obtain("x-privatekey-location");
    assert!(key.starts_with(b"-----BEGIN PRIVATE KEY-----\n"));
    let of_certificate = openssl(&["x509", "-noout", "-pubkey"], &certificate).text();
    assert_eq!(openssl(&["pkey", "-pubout"], &key).text(), of_certificate);
    let chain = String::from_utf8(certificate).unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 1);
}

#[test]
fn other_clients_of_the_first_generation_get_201() {
    // Row 6.
    let server = Server::start();
    let order = json!({"domains": ["localhost"], "days": 5, "emails": [], "subject": {}});
    let response = post(&server, LOCATED, &order);
    assert_eq!((response.status, response.body.len()), (201, 0));
    assert!(response.header("x-certificate-location").is_some());
    assert!(response.header("x-privatekey-location").is_some());
}

#[test]
fn the_first_generation_s_status_can_be_fixed() {
    for (setting, status) in [(G1SuccessStatus::Ok, 200), (G1SuccessStatus::Created, 201)] {
        let server = Server::with(|options| options.api.certmaker.g1_success_status = setting);
        for order in [
            json!({"domains": ["a.test"]}),
            json!({"Domains": ["a.test"]}),
        ] {
            assert_eq!(post(&server, LOCATED, &order).status, status, "{order}");
        }
    }
}

#[test]
fn lifetimes_are_seven_days_unless_asked_and_clamped() {
    // Row 7.
    let server = Server::start();
    for (days, lifetime) in [
        (None, 7),
        (Some("null"), 7),
        (Some("0"), 7),
        (Some("-3"), 1),
        (Some("1"), 1),
        (Some("30"), 30),
        (Some("999"), 182),
        (Some("99999999999999999999999999"), 182),
        (Some("-99999999999999999999999999"), 1),
    ] {
        let days = days
            .map(|days| format!(r#","days":{days}"#))
            .unwrap_or_default();
        let order = format!(r#"{{"domains":["a.test"]{days}}}"#);
        let leaf = Leaf::of(&server, &send(&server, "POST", SIMPLE, &order));
        assert_eq!(leaf.days(), lifetime, "{order}");
    }
}

#[test]
fn an_order_that_is_wrong_in_form_is_refused_as_json() {
    // Row 27.
    let server = Server::start();
    for order in [
        "",
        "{",
        "null",
        "[]",
        "\"a.test\"",
        "{}",
        "{} ",
        r#"{"domains":["a.test"]} x"#,
        r#"{"domains":["a.test"]}{}"#,
        r#"{"domains":["a.test"],"days":"7"}"#,
        r#"{"domains":["a.test"],"days":7.0}"#,
        r#"{"domains":["a.test"],"days":1e2}"#,
        r#"{"domains":["a.test"],"days":true}"#,
        r#"{"domains":"a.test"}"#,
        r#"{"domains":[["a.test"]]}"#,
        r#"{"domains":[1]}"#,
        r#"{"domains":[null]}"#,
        r#"{"domains":["a.test"],"subject":"CN=a.test"}"#,
        r#"{"domains":["a.test"],"subject":{"common_name":["x"]}}"#,
        r#"{"domains":["a.test"],"emails":"a@b.test"}"#,
        r#"{"domains":[],"ips":[],"emails":[],"subject":{}}"#,
        r#"{"domains":null,"ips":null,"email_addresses":null,"subject":null}"#,
        r#"{"subject":{"organization":"no name at all"}}"#,
        r#"{"subject":{"common_name":""}}"#,
    ] {
        for path in [SIMPLE, LOCATED] {
            assert_error(&send(&server, "POST", path, order), 400);
        }
    }
}

#[test]
fn keys_are_read_in_any_spelling_and_the_last_one_wins() {
    let server = Server::start();
    let order = r#"{"DOMAINS":["first.test"],"Do_mains":["last.test"],"Day_S":3,"ips":["10.0.0.1"],
        "I_Ps":null,"unknown":{"domains":["other.test"]},"subject":{"Common_Name":"x y","commonname":"Jane Doe"}}"#;
    let leaf = Leaf::of(&server, &send(&server, "POST", SIMPLE, order));
    assert_eq!(leaf.names(), ["last.test"]);
    assert_eq!(leaf.days(), 3);
    assert_eq!(leaf.certificate.subject().to_string(), "CN=Jane Doe");
}

#[test]
fn every_kind_of_name_and_every_part_of_the_subject_is_certified() {
    let server = Server::start();
    let order = json!({
        "domains": ["*.B.test.", " a.test ", "a.test", "10.0.0.9", "under_score.test"],
        "ips": ["[fe80::1]", "10.0.0.9", "192.0.2.1"],
        "email_addresses": ["jane@a.test"], "emails": ["joe@a.test"],
        "subject": {"common_name": "C.test", "organization": "Örg, \"Inc\"", "country": "de",
            "province": "P", "locality": "", "street_address": "Street 1", "postal_code": "12345"},
    });
    let leaf = Leaf::of(&server, &post(&server, SIMPLE, &order));
    leaf.assert_good();
    let mut names = leaf.names();
    names.sort();
    let expected = [
        "*.b.test",
        "10.0.0.9",
        "192.0.2.1",
        "a.test",
        "c.test",
        "fe80::1",
        "jane@a.test",
        "joe@a.test",
        "under_score.test",
    ];
    assert_eq!(names, expected);
    let subject = openssl(
        &[
            "x509",
            "-in",
            &leaf.path("leaf.pem"),
            "-noout",
            "-subject",
            "-nameopt",
            "multiline,utf8,-esc_msb",
        ],
        b"",
    )
    .text();
    for part in [
        "commonName                = C.test",
        "organizationName          = Örg, \"Inc\"",
        "countryName               = DE",
        "stateOrProvinceName       = P",
        "streetAddress             = Street 1",
        "postalCode                = 12345",
    ] {
        assert!(subject.contains(part), "{part}: {subject}");
    }
    assert!(!subject.contains("localityName"), "{subject}");
}

#[test]
fn a_common_name_that_is_no_name_stays_in_the_subject() {
    let server = Server::start();
    let order = json!({"subject": {"common_name": "Jane Doe"}});
    let leaf = Leaf::of(&server, &post(&server, SIMPLE, &order));
    leaf.assert_good();
    assert!(leaf.names().is_empty());
    assert!(!leaf.text().contains("Subject Alternative Name"));
    let order = json!({"subject": {"common_name": "[::1]"}});
    assert_eq!(
        Leaf::of(&server, &post(&server, SIMPLE, &order)).names(),
        ["::1"]
    );
}

#[test]
fn email_addresses_can_be_switched_off() {
    let server = Server::with(|options| options.house.allow_email_identifiers = false);
    let order = json!({"domains": ["a.test"], "emails": ["jane@a.test"]});
    assert_error(&post(&server, SIMPLE, &order), 400);
    assert_eq!(
        post(
            &server,
            SIMPLE,
            &json!({"domains": ["a.test"], "emails": []})
        )
        .status,
        201
    );
}

#[test]
fn addresses_in_subjects_are_switched_off_with_the_others() {
    for (is_allowed, status) in [(true, 201), (false, 400)] {
        let server = Server::with(|options| options.house.allow_email_identifiers = is_allowed);
        for email in ["jane@a.test", "jane"] {
            let subject = format!("/CN=a.test/emailAddress={email}");
            let files = request(&["-newkey", "ed25519"], &["-subj", &subject]);
            let answer = send(&server, "POST", CSR, files.read("request.der"));
            assert_eq!(answer.status, status, "{email}: {}", answer.text());
        }
    }
}

#[test]
fn modes_that_are_off_say_so() {
    // Row 28.
    let server = Server::with(|options| options.house.validation.switches.simple_request = false);
    for path in [SIMPLE, LOCATED] {
        let response = post(&server, path, &json!({"domains": ["a.test"]}));
        assert_error(&response, 501);
        let text = "SimpleRequest mode is not enabled on this instance";
        assert_eq!(response.json(), json!({"error": text}));
    }
    let server = Server::with(|options| options.house.validation.switches.csr = false);
    let response = send(&server, "POST", CSR, "anything");
    assert_error(&response, 501);
    let text = "CSR mode is not enabled on this instance";
    assert_eq!(response.json(), json!({"error": text}));
    assert_eq!(
        post(&server, SIMPLE, &json!({"domains": ["a.test"]})).status,
        201
    );
}

#[test]
fn keys_are_of_the_kind_that_the_operator_chose() {
    for (algorithm, shown) in [
        (KeyAlgorithm::Rsa2048, "Public-Key: (2048 bit)"),
        (KeyAlgorithm::P384, "NIST CURVE: P-384"),
        (KeyAlgorithm::Ed25519, "ED25519 Public-Key"),
    ] {
        let server = Server::with(|options| options.api.certmaker.key_algorithm = algorithm);
        let leaf = Leaf::order(&server);
        leaf.assert_good();
        assert!(leaf.text().contains(shown), "{}", leaf.text());
    }
}

#[test]
fn the_leaf_follows_its_profile() {
    let server = Server::start();
    let leaf = Leaf::order(&server);
    let text = leaf.text();
    for part in [
        "Version: 3 (0x2)",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "CA:FALSE",
        "X509v3 Subject Alternative Name: critical\n                DNS:a.test\n",
        &format!("OCSP - URI:{}/api/v1/ocsp\n", server.url),
        &format!("CA Issuers - URI:{}/api/v1/ca.cer\n", server.url),
        &format!("URI:{}/api/v1/crl\n", server.url),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let errors: Vec<_> = testbed::pkilint::lint_certificate(leaf.certificate.der())
        .into_iter()
        .filter(|finding| finding.severity <= testbed::pkilint::Severity::Error)
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn the_issuer_is_chosen_by_a_header() {
    let server = Server::start();
    let ask = |issuer: &str, method: &str, path: &str, body: &Value| {
        let headers = [
            ("X-Auth-Token", server.token.as_str()),
            ("X-Issuer-Context", issuer),
        ];
        server.send(method, path, &headers, body.to_string())
    };
    let order = json!({"domains": ["a.test"]});
    for path in [SIMPLE, LOCATED] {
        for unknown in ["nobody", "", "DEFAULT", "../default"] {
            assert_error(&ask(unknown, "POST", path, &order), 400);
        }
    }
    for path in [ROOT, "/api/v1/crl", "/api/v1/crl.pem", "/api/v1/ca.cer"] {
        assert_error(&ask("nobody", "GET", path, &Value::Null), 400);
    }
    let own = Leaf::of(&server, &ask("certmaker", "POST", SIMPLE, &order));
    own.assert_good();
    let other = Leaf::of(&server, &ask("default", "POST", SIMPLE, &order));
    assert_ne!(own.certificate.issuer(), other.certificate.issuer());
    let issuer = ask("default", "GET", ROOT, &Value::Null);
    other.files.write("ca.pem", issuer.body);
    let (ca, leaf) = (other.path("ca.pem"), other.path("leaf.pem"));
    openssl(&["verify", "-partial_chain", "-CAfile", &ca, &leaf], b"");
    // Serial numbers are unique over all authorities, so nothing else names the issuer.
    let revoke = json!({"SerialNumber": other.low()});
    assert_eq!(post(&server, REVOKE, &revoke).status, 200);
}
