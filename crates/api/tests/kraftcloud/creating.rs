//! POST /v1/certificates.

use super::*;

fn is_chosen_name(name: &Value, stem: &str) -> bool {
    name.as_str().is_some_and(|name| is_chosen(name, stem, 5))
}

#[test]
fn an_upload_is_answered_in_full_without_chain_and_key() {
    let server = Server::start();
    let pair = Pair::new("example.com", &["example.com"]);
    // 3
    let body = pair.upload("c1", "example.com.").to_string();
    let created = send(&server, "POST", "/v1/certificates/", body);
    let item = created.item();
    assert_eq!(item["name"], "c1");
    assert_eq!(item["common_name"], "example.com");
    assert_eq!(item["state"], "valid");
    assert_eq!(item["subject"], "O=Acme\\, Inc.,CN=example.com");
    assert_eq!(item["issuer"], item["subject"]);
    assert_eq!(item["service_groups"], json!([]));
    assert!(item.get("validation").is_none());
    let uuid = item["uuid"].as_str().unwrap();
    assert_eq!((uuid.len(), uuid.to_lowercase()), (36, uuid.to_owned()));
    assert_eq!(&uuid[14..15], "4", "{uuid}");
    let serial = openssl(&["x509", "-noout", "-serial"], pair.chain.as_bytes()).text();
    assert_eq!(
        format!("serial={}", item["serial_number"].as_str().unwrap()),
        serial.trim()
    );
    for member in ["created_at", "not_before", "not_after"] {
        let time = item[member].as_str().unwrap();
        assert_eq!(
            (time.len(), &time[10..11], &time[19..]),
            (20, "T", "Z"),
            "{member}"
        );
    }
    let text = created.envelope.to_string();
    for secret in ["chain", "pkey", "BEGIN"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn a_name_is_given_once_in_an_account() {
    let server = Server::start();
    let pair = Pair::new("example.com", &["example.com"]);
    create(&server, &pair.upload("c1", "example.com")).item();
    // 4
    let second = create(&server, &pair.upload("c1", "example.com"));
    assert_eq!(second.failed(200, 23, 409)["name"], "c1");
    assert_eq!(get(&server, CERTIFICATES).items().len(), 1);

    let other = server.account("other");
    let body = pair.upload("c1", "example.com").to_string();
    send_as(&server, &other, "POST", CERTIFICATES, body).item();
}

#[test]
fn a_name_is_chosen_after_the_common_name() {
    let server = Server::start();
    let wildcard = Pair::new("*.example.com", &["*.example.com"]);
    // 5
    let body = json!({"cn": "*.example.com", "chain": wildcard.chain, "pkey": wildcard.key});
    let created = create(&server, &body);
    assert!(
        is_chosen_name(&created.item()["name"], "example.com-"),
        "{}",
        created.envelope
    );
    assert_eq!(created.item()["common_name"], "*.example.com");

    let body =
        json!({"name": "", "uuid": null, "cn": "", "chain": wildcard.chain, "pkey": wildcard.key});
    let created = create(&server, &body);
    assert!(
        is_chosen_name(&created.item()["name"], "example.com-"),
        "{}",
        created.envelope
    );
    assert_eq!(created.item()["common_name"], "*.example.com");
}

#[test]
fn the_common_name_must_be_covered_by_the_leaf() {
    let server = Server::start();
    let pair = Pair::new("example.com", &["example.com", "*.example.net"]);
    // 6
    let refused = create(&server, &pair.upload("c1", "other.org"));
    assert_eq!(refused.failed(200, 30, 400)["name"], "c1");
    for mismatch in ["a.b.example.net", "example.net", "*.example.com"] {
        create(&server, &pair.upload("c1", mismatch)).failed(200, 30, 400);
    }
    for match_ in ["EXAMPLE.com..", "a.example.net", "*.example.net"] {
        create(&server, &pair.upload("", match_)).item();
    }
}

#[test]
fn certificates_with_a_meaningless_common_name_are_taken_by_their_other_names() {
    let server = Server::start();
    // 8
    let pair = Pair::new("Our web server", &["www.example.org", "example.org"]);
    let created = create(&server, &pair.upload("c1", "example.org"));
    assert_eq!(created.item()["common_name"], "example.org");
    let created = create(&server, &json!({"chain": pair.chain, "pkey": pair.key}));
    assert_eq!(created.item()["common_name"], "www.example.org");

    let bare = Pair::new("bare.example.org", &[]);
    let created = create(
        &server,
        &json!({"common_name": "bare.example.org", "chain": bare.chain, "pkey": bare.key}),
    );
    assert_eq!(created.item()["common_name"], "bare.example.org");

    let nameless = Pair::new("Our web server", &[]);
    let refused = create(
        &server,
        &json!({"chain": nameless.chain, "pkey": nameless.key}),
    );
    refused.refused(400, Some(7));
}

#[test]
fn a_key_of_another_certificate_is_an_item_fault() {
    let server = Server::start();
    let (one, other) = (Pair::new("a.example", &[]), Pair::new("a.example", &[]));
    for cn in [Value::Null, json!("a.example")] {
        let body = json!({"name": "c1", "cn": cn, "chain": one.chain, "pkey": other.key});
        assert_eq!(create(&server, &body).failed(200, 7, 400)["name"], "c1");
    }
    // The leaf is the certificate that has the key, wherever it stands.
    let both = format!("{}{}", one.chain, other.chain);
    create(
        &server,
        &json!({"cn": "a.example", "chain": both, "pkey": other.key}),
    )
    .item();
}

#[test]
fn an_expired_leaf_is_not_taken_and_a_kept_one_shows_as_error() {
    let server = Server::start();
    let pair = Pair::new("a.example", &[]);
    create(&server, &pair.upload("kept", "a.example")).item();
    server.advance(std::time::Duration::from_secs(31 * 24 * 60 * 60));
    create(&server, &pair.upload("late", "a.example")).failed(200, 7, 400);
    let kept = get(&server, "/v1/certificates/kept");
    assert_eq!(kept.item()["state"], "error");
    assert!(kept.item()["not_after"].is_string());
}

#[test]
fn common_names_must_be_fully_qualified() {
    let server = Server::start();
    let pair = Pair::new("localhost", &["localhost"]);
    // 7
    for bad in [
        "localhost",
        ".",
        "a..b",
        "-a.example",
        "a_b.example",
        "10.0.0.1",
        "[::1]",
        "a.*.example",
        "*",
        "*.*.example",
        "exämple.org",
        "a b.example",
        "a.example\u{0}",
        "a.example/",
        " a.example",
        &format!("{}.example", "a".repeat(64)),
    ] {
        for body in [pair.upload("c1", bad), json!({"cn": bad})] {
            let message = "The certificate CN must be a fully-qualified domain name";
            assert_eq!(
                create(&server, &body).refused(400, Some(7)),
                message,
                "{bad:?}"
            );
        }
    }
}

#[test]
fn names_that_no_client_could_reach_are_refused() {
    let server = Server::start();
    let pair = Pair::new("a.example", &[]);
    for bad in [
        "a/b",
        "list",
        ".",
        "..",
        " a",
        "a ",
        "a\u{0}b",
        "a\nb",
        "0190163d-8694-739b-aea5-966c26f8ad91",
    ] {
        create(&server, &pair.upload(bad, "a.example")).refused(400, Some(7));
    }
    create(&server, &pair.upload(&"x".repeat(256), "a.example")).refused(400, Some(22));
    for good in ["a,b", "über uns", "50% off?&=#", &"€".repeat(255)] {
        let created = create(&server, &pair.upload(good, "a.example"));
        assert_eq!(created.item()["name"], good);
    }
}

#[test]
fn chain_and_key_come_together() {
    let server = Server::start();
    let pair = Pair::new("a.example", &[]);
    let halves = [
        (json!({"cn": "a.example", "chain": pair.chain}), 7),
        (json!({"cn": "a.example", "chain": "", "pkey": pair.key}), 7),
        (json!({"name": "c1"}), 16),
        (json!({}), 16),
    ];
    for (body, code) in halves {
        create(&server, &body).refused(400, Some(code));
    }
    let differing = json!({"cn": "a.example", "common_name": "b.example", "chain": pair.chain, "pkey": pair.key});
    create(&server, &differing).refused(400, Some(17));
    let same = json!({"cn": "a.example", "common_name": "A.example.", "chain": pair.chain, "pkey": pair.key});
    create(&server, &same).item();
}

#[test]
fn texts_that_are_no_certificate_or_key_are_refused() {
    let server = Server::start();
    let pair = Pair::new("a.example", &[]);
    let encrypted = openssl(
        &["pkey", "-aes256", "-passout", "pass:secret"],
        pair.key.as_bytes(),
    );
    for (chain, pkey) in [
        ("nonsense", pair.key.as_str()),
        (&pair.chain, "nonsense"),
        (&pair.key, &pair.key),
        (&pair.chain, &pair.chain),
        (&pair.chain, &encrypted.text()),
        (&pair.chain.replace("MI", "!!"), &pair.key),
    ] {
        let body = json!({"cn": "a.example", "chain": chain, "pkey": pkey});
        let refused = create(&server, &body);
        let message = refused.refused(400, Some(7));
        let mut lines = pair.key.lines().chain(pair.chain.lines());
        let is_quoted = lines.any(|line| !line.starts_with('-') && message.contains(line));
        assert!(!is_quoted, "{message}");
    }
}

#[test]
fn keys_in_the_older_formats_are_taken() {
    let server = Server::start();
    let pair = Pair::new("a.example", &[]);
    let sec1 = openssl(&["ec"], pair.key.as_bytes()).text();
    assert!(sec1.contains("EC PRIVATE KEY"));
    let parameters = openssl(&["ecparam", "-name", "prime256v1"], b"").text();
    for key in [sec1.clone(), format!("{parameters}{sec1}")] {
        create(&server, &json!({"chain": pair.chain, "pkey": key})).item();
    }
}

#[test]
fn a_managed_certificate_is_pending_first_and_its_form_is_checked() {
    let server = Server::start();
    create(&server, &json!({"cn": "*.example.com"})).refused(400, Some(7));
    create(&server, &json!({"name": "list", "cn": "example.com"})).refused(400, Some(7));
    let request = json!({"name": "c1", "cn": "Example.com.", "chain": "", "pkey": null});
    let created = create(&server, &request);
    let created = created.item();
    assert_eq!(created["name"], "c1");
    assert_eq!(created["common_name"], "example.com");
    assert_eq!(created["state"], "pending");
    assert_eq!(created["validation"]["attempt"], 0);
    assert_eq!(created["validation"]["next"], created["created_at"]);
    assert_eq!(created["serial_number"], Value::Null);
    create(&server, &request).failed(200, 23, 409);
    let unnamed = create(&server, &json!({"cn": "example.com"}));
    let name = unnamed.item()["name"].as_str().unwrap();
    assert!(name.starts_with("example.com-"), "{name}");
}

#[test]
fn up_to_sixteen_certificates_are_created_at_once_in_order() {
    let server = Server::start();
    let pair = Pair::new("a.example", &[]);
    let uploads = |count: usize| -> Vec<Value> {
        (0..count)
            .map(|index| pair.upload(&format!("c{index}"), "a.example"))
            .collect()
    };
    create(&server, &json!(uploads(17))).refused(400, Some(5));
    create(&server, &json!([])).refused(400, Some(16));
    let mut bodies = uploads(16);
    bodies[5]["name"] = json!("c4");
    let created = create(&server, &Value::Array(bodies));
    created.expect("partial_success");
    let expected: Vec<u64> = (0..16)
        .map(|index| if index == 5 { 23 } else { 0 })
        .collect();
    assert_eq!(created.codes(), expected);
    assert_eq!(created.names()[3..7], ["c3", "c4", "c4", "c6"]);
    assert_eq!(get(&server, CERTIFICATES).items().len(), 15);
}

#[test]
fn one_malformed_object_of_an_array_keeps_all_from_being_created() {
    let server = Server::start();
    let pair = Pair::new("a.example", &[]);
    let good = pair.upload("good", "a.example");
    for bad in [
        json!({"cn": "localhost"}),
        json!({"cn": "a.example", "chain": "nonsense", "pkey": pair.key}),
        json!({"foo": 1}),
        json!({"name": "a/b", "chain": pair.chain, "pkey": pair.key}),
    ] {
        create(&server, &json!([good, bad])).expect("error");
        assert_eq!(get(&server, CERTIFICATES).items(), &[] as &[Value]);
    }
}
