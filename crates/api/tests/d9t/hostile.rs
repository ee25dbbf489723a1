//! Input that no friend sends.

use super::*;

#[test]
fn bodies_are_whole_objects_in_utf_8_of_256_kib_at_most() {
    let server = server();
    for body in [
        &b"null"[..],
        b"[]",
        b"\"text\"",
        b"{",
        b"{\"name\":\"k\"",
        b"{\"name\":\"k\",}",
        b"{\"name\":\"k\"} {}",
        b"{'name':'k'}",
        b"name=k",
        b"\xef\xbb\xbf{\"name\":\"k\"}",
        b"{\"name\":\"\xff\"}",
        b"{\"name\":\"k\",\"key\":\"\\ud800\"}",
    ] {
        assert_error(&send(&server, "POST", KEYS, body), 400);
    }
    let deep = format!("{{\"name\":\"k\",\"x\":{}", "[".repeat(100_000));
    assert_error(&send(&server, "POST", KEYS, deep), 400);
    let padded = |length: usize| {
        let name = "{\"name\":\"big\"}";
        format!("{name}{}", " ".repeat(length - name.len()))
    };
    let response = send(&server, "POST", KEYS, padded(256 * 1024));
    assert_eq!(response.status, 201, "{}", response.text());
    assert_error(&send(&server, "POST", KEYS, padded(256 * 1024 + 1)), 413);
    assert_eq!(get(&server, KEYS).as_array().unwrap().len(), 1);
}

#[test]
fn of_members_with_one_name_the_last_counts() {
    let server = server();
    let body = r#"{"name":"a","name":5,"name":"b"}"#;
    let response = send(&server, "POST", KEYS, body);
    assert_eq!(response.status, 201);
    assert_eq!(text(&response.json(), "name"), "b");
}

#[test]
fn a_key_in_the_wrong_place_is_repeated_nowhere() {
    let server = server();
    let arguments = ["genpkey", "-algorithm", "ED25519"];
    let pem = openssl(&arguments, b"").text();
    let secret = pem.lines().nth(1).unwrap().to_owned();
    let key = make_key(&server, "k");
    let under = format!("{key}/certificates");
    let (certificate, _) = make_certificate(&server, &key, "c");
    for (method, path, body) in [
        ("POST", KEYS, pem.clone()),
        ("POST", KEYS, json!(pem).to_string()),
        ("POST", KEYS, json!([pem]).to_string()),
        ("POST", KEYS, json!({ "name": pem }).to_string()),
        ("POST", KEYS, json!({"name": "x", "key": [pem]}).to_string()),
        (
            "POST",
            &under,
            json!({"name": pem, "common_name": "x"}).to_string(),
        ),
        (
            "POST",
            &under,
            json!({"name": "x", "common_name": pem}).to_string(),
        ),
        (
            "POST",
            &under,
            json!({"name": "x", "common_name": "x", "email": pem}).to_string(),
        ),
        (
            "PUT",
            &certificate,
            json!({ "ssl_certificate": pem }).to_string(),
        ),
    ] {
        let response = send(&server, method, path, body);
        assert_error(&response, 400);
        assert!(!response.text().contains(&secret), "{}", response.text());
    }
    let name = format!("{KEYS}/{secret}");
    let response = send(&server, "GET", &name, "");
    assert!(!response.text().contains(&secret));
}

#[test]
fn chains_have_their_limits() {
    let server = server();
    let key = make_key(&server, "k");
    let (path, made) = make_certificate(&server, &key, "c");
    let mut chain = text(&made, "ssl_certificate").to_owned();
    for number in 0..32 {
        let other = make_certificate(&server, &key, &format!("c{number}")).1;
        chain.push_str(text(&other, "ssl_certificate"));
    }
    let put = |chain: &str| {
        let body = json!({ "ssl_certificate": chain }).to_string();
        send(&server, "PUT", &path, body)
    };
    assert_error(&put(&chain), 400);
    let end = "-----END CERTIFICATE-----\n";
    let most = chain.rmatch_indices(end).nth(1).unwrap().0 + end.len();
    let stored = put(&chain[..most]);
    assert_eq!(stored.status, 200, "{}", stored.text());
    assert_eq!(text(&stored.json(), "ssl_certificate"), &chain[..most]);
    for broken in [
        "-----BEGIN CERTIFICATE-----",
        end,
        &chain[..100],
        &"-".repeat(60_000),
    ] {
        assert_error(&put(broken), 400);
    }
}

#[test]
fn subjects_hold_what_their_owner_wrote_and_nothing_else() {
    let server = server();
    let key = make_key(&server, "k");
    let odd = r#"a"b\c, CN=evil.example/CN=x + <script>"#;
    let body = json!({
        "name": odd, "common_name": odd, "organization_name": odd, "locality": "';drop table",
    });
    let (path, _) = make(&server, &format!("{key}/certificates"), &body);
    let shown = get(&server, &path);
    for member in ["name", "common_name", "organization_name"] {
        assert_eq!(text(&shown, member), odd);
    }
    let pem = text(&shown, "ssl_certificate");
    let described = described(pem);
    assert!(!described.contains("Alternative"), "{described}");
    let options = [
        "x509",
        "-noout",
        "-subject",
        "-nameopt",
        "sep_multiline,utf8",
    ];
    let subject = openssl(&options, pem.as_bytes()).text();
    assert_eq!(subject.lines().count(), 4, "{subject}");
    let request = get(&server, &format!("{path}/csr"));
    openssl(
        &["req", "-noout", "-verify"],
        text(&request, "csr").as_bytes(),
    );
}
