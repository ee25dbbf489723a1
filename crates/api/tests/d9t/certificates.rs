//! Certificates under a private key: added, listed, shown, replaced and deleted.

use time::macros::datetime;

use super::*;

const SUBJECT_FIELDS: [&str; 7] = [
    "common_name",
    "organization_name",
    "organization_unit",
    "locality",
    "state_province",
    "country_code",
    "email",
];

fn seconds(text: &str) -> i64 {
    let format = &time::format_description::well_known::Rfc3339;
    let moment = time::OffsetDateTime::parse(text, format).unwrap();
    assert!(text.ends_with('Z') && text.len() == 20, "{text}");
    moment.unix_timestamp()
}

#[test]
fn without_a_certificate_one_is_made_that_signs_itself() {
    // 10
    let server = server();
    let key = make_key(&server, "k");
    let body = json!({
        "name": " c ", "common_name": "demo.example.org", "country_code": "de",
        "organization_name": "Ünion", "email": "", "locality": null, "unknown": [1],
    });
    let (path, made) = make(&server, &format!("{key}/certificates"), &body);
    let shown = get(&server, &path);
    assert_eq!(shown, made);
    // 14
    let mut expected = vec!["id", "name"];
    expected.extend(SUBJECT_FIELDS);
    expected.extend(["ssl_certificate", "valid_from", "valid_thru", "_links"]);
    assert_members(&shown, &expected);
    assert_eq!(rels(&shown), ["self", "certificate-signing-request"]);
    assert_eq!(path, format!("{key}/certificates/{}", text(&shown, "id")));
    let request = href(&shown, "certificate-signing-request");
    assert_eq!(path_of(&server, request), format!("{path}/csr"));
    assert_eq!(text(&shown, "name"), "c");
    assert_eq!(text(&shown, "country_code"), "DE");
    assert_eq!(text(&shown, "organization_name"), "Ünion");
    for empty in ["organization_unit", "locality", "state_province", "email"] {
        assert_eq!(shown[empty], "", "{empty}");
    }
    let (from, thru) = (text(&shown, "valid_from"), text(&shown, "valid_thru"));
    assert_eq!(seconds(thru) - seconds(from), 3_650 * 86_400);
    assert!((seconds(from) - server.house_time().unix_timestamp()).abs() <= 60);

    let pem = text(&shown, "ssl_certificate");
    assert!(pem.ends_with("-----END CERTIFICATE-----\n"));
    let described = described(pem);
    for words in [
        "Version: 3",
        "DNS:demo.example.org",
        "Basic Constraints: critical\n                CA:FALSE",
        "Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication\n",
        "Subject Key Identifier",
    ] {
        assert!(described.contains(words), "{words}: {described}");
    }
    assert!(!described.contains("email"), "{described}");
    let files = Workdir::new();
    let file = files.write("c.pem", pem);
    openssl(&["verify", "-CAfile", &file, &file], b"");
    let own = public_key(&["pkey", "-pubout"], text(&get(&server, &key), "key"));
    assert_eq!(public_key(&["x509", "-noout", "-pubkey"], pem), own);
}

#[test]
fn a_subject_stands_from_country_to_address_and_names_follow_the_common_name() {
    let server = server();
    let key = make_key(&server, "k");
    let full = json!({
        "name": "full", "common_name": "*.example.org", "organization_name": "o".repeat(128),
        "organization_unit": "U", "locality": "L", "state_province": "S", "country_code": "De",
        "email": "a@b.test",
    });
    let of = |body: &Value| {
        let (_, made) = make(&server, &format!("{key}/certificates"), body);
        text(&made, "ssl_certificate").to_owned()
    };
    let pem = of(&full);
    let lines = openssl(
        &[
            "x509",
            "-noout",
            "-subject",
            "-issuer",
            "-nameopt",
            "sep_multiline,sname,show_type",
        ],
        pem.as_bytes(),
    )
    .text();
    let parts = format!(
        "    C=PRINTABLESTRING:DE\n    ST=UTF8STRING:S\n    L=UTF8STRING:L\n    O=UTF8STRING:{}\n    \
         OU=UTF8STRING:U\n    CN=UTF8STRING:*.example.org\n    emailAddress=IA5STRING:a@b.test\n",
        "o".repeat(128)
    );
    assert_eq!(lines, format!("subject=\n{parts}issuer=\n{parts}"));
    assert!(described(&pem).contains("DNS:*.example.org\n"));
    for (common_name, name) in [
        ("192.0.2.7", Some("IP Address:192.0.2.7")),
        ("2001:db8::1", Some("IP Address:2001:DB8:0:0:0:0:0:1")),
        ("Demo.Example.ORG", Some("DNS:demo.example.org")),
        ("Jane Doe", None),
        ("jane@example.org", None),
    ] {
        let described = described(&of(
            &json!({"name": common_name, "common_name": common_name}),
        ));
        match name {
            Some(name) => assert!(described.contains(name), "{described}"),
            None => assert!(!described.contains("Alternative"), "{described}"),
        }
    }
}

#[test]
fn texts_out_of_their_bounds_are_refused() {
    // 11
    let server = server();
    let key = make_key(&server, "k");
    let path = format!("{key}/certificates");
    let good = json!({"name": "c", "common_name": "a.test"});
    for (member, value) in [
        ("name", Value::Null),
        ("name", json!("")),
        ("name", json!(7)),
        ("name", json!("x".repeat(256))),
        ("name", json!("a\tb")),
        ("common_name", Value::Null),
        ("common_name", json!(" ")),
        ("common_name", json!("x".repeat(65))),
        ("common_name", json!("a\u{0}")),
        ("country_code", json!("GER")),
        ("country_code", json!("D")),
        ("country_code", json!("ßß")),
        ("country_code", json!(49)),
        ("email", json!("nobody")),
        ("email", json!("a@b@c")),
        ("email", json!("ä@b.test")),
        ("locality", json!("x".repeat(129))),
        ("organization_unit", json!({})),
        ("state_province", json!(true)),
        ("ssl_certificate", json!("garbage")),
        ("ssl_certificate", json!(["x"])),
        (
            "ssl_certificate",
            json!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
        ),
    ] {
        let mut body = good.clone();
        body[member] = value;
        assert_error(&post(&server, &path, &body), 400);
    }
    let comma = r#"{"name":"c","common_name":"a.test",}"#;
    assert_error(&send(&server, "POST", &path, comma), 400);
    assert_eq!(get(&server, &path), json!([]));
    make(&server, &path, &good);
    assert_error(&post(&server, &path, &good), 400);
    // The name is free under another key.
    let other = make_key(&server, "other");
    make(&server, &format!("{other}/certificates"), &good);
}

#[test]
fn a_certificate_must_be_one_of_the_key() {
    // 12
    let server = server();
    let (key, other) = (make_key(&server, "k"), make_key(&server, "other"));
    let (_, made) = make_certificate(&server, &other, "c");
    let foreign = text(&made, "ssl_certificate");
    let (path, own) = make_certificate(&server, &key, "own");
    let own = text(&own, "ssl_certificate");
    let behind = format!("{foreign}{own}");
    for chain in [foreign, &behind] {
        let body = json!({"name": "c", "common_name": "a.test", "ssl_certificate": chain});
        assert_error(&post(&server, &format!("{key}/certificates"), &body), 400);
        let body = json!({"ssl_certificate": chain}).to_string();
        assert_error(&send(&server, "PUT", &path, body), 400);
    }
    assert_eq!(text(&get(&server, &path), "ssl_certificate"), own);
    // The same one under another name, with text around it and something after it.
    let chain = format!("A text\n{own}\nanother\n{foreign}");
    let body = json!({"name": "c", "common_name": "x", "ssl_certificate": chain});
    let (_, made) = make(&server, &format!("{key}/certificates"), &body);
    assert_eq!(text(&made, "ssl_certificate"), format!("{own}{foreign}"));
    assert_eq!(text(&made, "common_name"), "x");
}

#[test]
fn an_expired_certificate_is_taken() {
    let server = server();
    let key = make_key(&server, "k");
    let pem = text(&get(&server, &key), "key").to_owned();
    let own = pki::PrivateKey::from_pem(pem.as_bytes()).unwrap();
    let profile = pki::LeafProfile {
        subject: pki::DistinguishedName::from_parts([(pki::SubjectPart::CommonName, "Old")])
            .unwrap(),
        identifiers: Vec::new(),
        public_key: own.public_key().clone(),
        validity: pki::Validity::new(
            datetime!(2014-09-02 12:17:55 UTC),
            datetime!(2015-09-02 12:17:55 UTC),
        )
        .unwrap(),
        usages: pki::Usages::Server,
        urls: pki::Urls::default(),
    };
    let serial = pki::Serial::from_random([7; 16]).unwrap();
    let expired = pki::prepare_self_signed(profile, &serial, &own).unwrap();
    let expired = expired.lint().unwrap().sign().unwrap().to_pem();
    let body = json!({"name": "c", "common_name": "a.test", "ssl_certificate": expired});
    let (path, made) = make(&server, &format!("{key}/certificates"), &body);
    assert_eq!(text(&made, "valid_from"), "2014-09-02T12:17:55Z");
    assert_eq!(text(&made, "valid_thru"), "2015-09-02T12:17:55Z");
    assert_eq!(text(&made, "common_name"), "a.test");
    let put = json!({"ssl_certificate": expired}).to_string();
    assert_eq!(send(&server, "PUT", &path, put).status, 200);
}

#[test]
fn lists_show_six_members_of_each() {
    // 13, 21
    let server = server();
    let (one, other) = (make_key(&server, "one"), make_key(&server, "other"));
    let paths = [&one, &other, &one].map(|key| {
        let number = get(&server, CERTIFICATES).as_array().unwrap().len();
        make_certificate(&server, key, &format!("c{number}")).0
    });
    let all = get(&server, CERTIFICATES);
    let all = all.as_array().unwrap();
    for (item, path) in all.iter().zip(&paths) {
        let expected = [
            "id",
            "name",
            "common_name",
            "valid_from",
            "valid_thru",
            "_links",
        ];
        assert_members(item, &expected);
        assert!(item["id"].is_string(), "{item}");
        assert_eq!(rels(item), ["self"]);
        assert_eq!(path_of(&server, href(item, "self")), *path);
        let shown = get(&server, path);
        for member in &expected[..5] {
            assert_eq!(item[member], shown[member]);
        }
    }
    assert_eq!(all.len(), 3);
    let under = get(&server, &format!("{one}/certificates"));
    assert_eq!(under, json!([all[0], all[2]]));
    // 22
    let elsewhere = paths[0].replacen(&one, &other, 1);
    for method in ["GET", "PUT", "DELETE"] {
        assert_error(&send(&server, method, &elsewhere, ""), 404);
    }
    assert_error(&send(&server, "GET", &format!("{elsewhere}/csr"), ""), 404);
    for bad in ["abc", "0", "007"] {
        let path = format!("{one}/certificates/{bad}");
        assert_error(&send(&server, "GET", &path, ""), 404);
    }
}

#[test]
fn nothing_but_the_certificate_is_ever_replaced() {
    // 17, 20
    let server = server();
    let key = make_key(&server, "k");
    let (path, before) = make_certificate(&server, &key, "c");
    let request = get(&server, &format!("{path}/csr"));
    let ca = Ca::new();
    let signed = ca.sign(text(&request, "csr"));
    let body = json!({"ssl_certificate": signed, "common_name": "x", "name": 5, "email": "y"});
    let put = send(&server, "PUT", &path, body.to_string());
    assert_eq!(put.status, 200, "{}", put.text());
    let after = get(&server, &path);
    assert_eq!(put.json(), after);
    assert_eq!(text(&after, "ssl_certificate"), signed);
    ca.verify(text(&after, "ssl_certificate"));
    for member in ["id", "name", "_links"].iter().chain(&SUBJECT_FIELDS) {
        assert_eq!(after[member], before[member]);
    }
    let dates = openssl(
        &["x509", "-noout", "-dates", "-dateopt", "iso_8601"],
        signed.as_bytes(),
    )
    .text();
    let (from, thru) = (text(&after, "valid_from"), text(&after, "valid_thru"));
    let expected = format!("notBefore={from}\nnotAfter={thru}\n").replace('T', " ");
    assert_eq!(dates, expected);
    // 19
    for garbage in [
        "garbage",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        let body = json!({"ssl_certificate": garbage}).to_string();
        assert_error(&send(&server, "PUT", &path, body), 400);
    }
    assert_error(&send(&server, "PUT", &path, "[]"), 400);
    assert_error(&send(&server, "PUT", &path, "{"), 400);
    assert_eq!(get(&server, &path), after);
}

#[test]
fn an_empty_put_makes_a_new_certificate_that_signs_itself() {
    // 18
    let server = server();
    let key = make_key(&server, "k");
    let (path, made) = make_certificate(&server, &key, "c");
    let mut serials = vec![serial(text(&made, "ssl_certificate"))];
    for body in [
        "",
        " \n",
        "{}",
        r#"{"ssl_certificate":""}"#,
        r#"{"ssl_certificate":" \n"}"#,
        r#"{"ssl_certificate":null}"#,
    ] {
        let put = send(&server, "PUT", &path, body);
        assert_eq!(put.status, 200, "{body:?}: {}", put.text());
        let pem = text(&put.json(), "ssl_certificate").to_owned();
        assert!(described(&pem).contains("DNS:demo.example.org"));
        serials.push(serial(&pem));
    }
    let count = serials.len();
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), count, "each has another serial number");
    // As curl -X PUT without -d sends it: no length at all.
    let credentials = basic("admin", &server.token);
    let headers = [
        ("Authorization", credentials.as_str()),
        ("Transfer-Encoding", "chunked"),
    ];
    let chunked = server.send("PUT", &path, &headers, "0\r\n\r\n");
    assert_eq!(chunked.status, 200, "{}", chunked.text());
}

#[test]
fn a_deleted_certificate_is_gone() {
    // 23
    let server = server();
    let key = make_key(&server, "k");
    let (path, _) = make_certificate(&server, &key, "c");
    let deleted = send(&server, "DELETE", &path, "");
    assert_eq!((deleted.status, deleted.body.as_slice()), (204, &b""[..]));
    assert_error(&send(&server, "DELETE", &path, ""), 404);
    assert_error(&send(&server, "GET", &path, ""), 404);
    assert_eq!(get(&server, CERTIFICATES), json!([]));
    assert!(get(&server, &key)["key"].is_string(), "the key stays");
    let (again, _) = make_certificate(&server, &key, "c");
    assert_ne!(again, path, "numbers are not given again");
}

#[test]
fn unknown_keys_have_no_certificates() {
    let server = server();
    let path = format!("{KEYS}/77/certificates");
    assert_error(&send(&server, "GET", &path, ""), 404);
    let body = json!({"name": "c", "common_name": "a.test"});
    assert_error(&post(&server, &path, &body), 404);
}
