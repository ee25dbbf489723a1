//! What nobody sends by accident.

use serde_json::{Value, json};
use testbed::http;

use crate::requests::request;
use crate::support::Server;
use crate::{CSR, LOCATED, Leaf, REVOKE, ROOT, SIMPLE, assert_error, post, send};

#[test]
fn names_that_are_none_are_refused_and_quoted_harmlessly() {
    let server = Server::start();
    for domain in [
        "",
        ".",
        "*",
        "*.",
        "*.*.a.test",
        "a.*.test",
        "a..test",
        "-a.test",
        "a-.test",
        "a b.test",
        "a.test\0",
        "a\0.test",
        "a.test\r\nX-Evil: 1",
        "a.test/../b",
        "a.test:80",
        "a.test@b.test",
        "<script>.test",
        "\u{fc}ber.test",
        "\u{ff41}.test",
        "a\u{3002}test",
        "a\u{200b}.test",
        "\u{202e}tset.a",
        "b\u{fc}cher.test\u{0}",
        "xn--a-\u{fc}.test",
        "1.2.3.4.",
        "[1.2.3.4",
        "300.1.1.1",
        &"a".repeat(64),
        &["a"; 200].join("."),
    ] {
        for body in [
            json!({"domains": [domain]}),
            json!({"domains": ["a.test", domain]}),
        ] {
            let response = post(&server, SIMPLE, &body);
            assert_error(&response, 400);
            let text = response.json()["error"].as_str().unwrap().to_owned();
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert!(text.len() < 2_000, "{text}");
        }
    }
    for address in [
        "",
        "a.test",
        "1.2.3",
        "1.2.3.4/24",
        "::1%eth0",
        "[::1",
        "0x7f.1",
        "127.0.0.1\0",
        "1.2.3.4 5",
    ] {
        assert_error(&post(&server, SIMPLE, &json!({"ips": [address]})), 400);
    }
    for email in [
        "",
        "@",
        "a@",
        "@b.test",
        "a@b@c.test",
        "a b@c.test",
        "a@b.test\0",
        "\u{fc}@b.test",
        "a\n@b.test",
        "a.test",
    ] {
        assert_error(&post(&server, SIMPLE, &json!({"emails": [email]})), 400);
    }
}

#[test]
fn an_a_label_is_certified_as_it_is() {
    let server = Server::start();
    let order = json!({"domains": ["XN--bcher-kva.test"]});
    assert_eq!(
        Leaf::of(&server, &post(&server, SIMPLE, &order)).names(),
        ["xn--bcher-kva.test"]
    );
}

#[test]
fn subjects_that_do_not_fit_are_refused() {
    let server = Server::start();
    let with = |part: &str, value: Value| json!({"domains": ["a.test"], "subject": {part: value}});
    for (part, value) in [
        ("country", json!("DEU")),
        ("country", json!("D")),
        ("country", json!("D1")),
        ("country", json!("\u{d6}E")),
        ("common_name", json!("x".repeat(65))),
        ("common_name", json!("a\0b")),
        ("common_name", json!("a\r\nb")),
        ("organization", json!("x".repeat(65))),
        ("organization", json!("evil\0")),
        ("locality", json!("x".repeat(129))),
        ("postal_code", json!("x".repeat(41))),
    ] {
        assert_error(&post(&server, SIMPLE, &with(part, value)), 400);
    }
    let odd = with(
        "organization",
        json!("O=Evil,CN=bank.test/+\"<>;\\#\u{202e}"),
    );
    let leaf = Leaf::of(&server, &post(&server, SIMPLE, &odd));
    leaf.assert_good();
    assert_eq!(leaf.certificate.common_name(), None);
    assert_eq!(leaf.names(), ["a.test"]);
}

#[test]
fn subjects_of_requests_are_data_and_nothing_else() {
    let server = Server::start();
    for subject in [
        "/CN=<script>alert(1)<\\/script>",
        "/CN='; drop table certificates; --",
        "/CN=..\\/..\\/etc\\/passwd",
        "/O=a\\+b/CN=x, y \"z\"",
    ] {
        let files = request(&["-newkey", "ed25519"], &["-utf8", "-subj", subject]);
        let response = send(&server, "POST", CSR, files.read("request.der"));
        let leaf = Leaf::of(&server, &response);
        leaf.assert_good();
        let path = format!("/api/v1/certificate/{}/obtain", leaf.serial());
        assert_eq!(send(&server, "GET", &path, "").status, 200);
    }
    for names in [
        "DNS:a b.test",
        "DNS:*.*.test",
        "DNS:a.test/x",
        "email:nobody",
    ] {
        let names = format!("subjectAltName={names}");
        let files = request(
            &["-newkey", "ed25519"],
            &["-subj", "/CN=a.test", "-addext", &names],
        );
        assert_error(&send(&server, "POST", CSR, files.read("request.der")), 400);
    }
}

#[test]
fn bodies_beyond_the_limit_are_refused() {
    let server = Server::start();
    let domains: Vec<String> = (0..100_000)
        .map(|number| format!("n{number}.a.test"))
        .collect();
    let huge = json!({"domains": domains}).to_string();
    let padded = |length: usize| {
        let order = r#"{"domains":["a.test"]}"#;
        format!("{order}{}", " ".repeat(length - order.len()))
    };
    for path in [SIMPLE, LOCATED, CSR] {
        for body in [huge.as_str(), &padded(64 * 1024 + 1)] {
            assert_error(&send(&server, "POST", path, body), 413);
        }
    }
    for path in [REVOKE, "/api/v1/certificate/1/revoke"] {
        for body in [huge.as_str(), &padded(64 * 1024 + 1)] {
            assert_error(&send(&server, "POST", path, body), 400);
        }
    }
    assert_eq!(send(&server, "POST", SIMPLE, padded(64 * 1024)).status, 201);
    let chunked = format!("{:x}\r\n{huge}\r\n0\r\n\r\n", huge.len());
    let headers = [
        ("X-Auth-Token", server.token.as_str()),
        ("Transfer-Encoding", "chunked"),
    ];
    assert_error(&server.send("POST", SIMPLE, &headers, chunked), 413);
}

#[test]
fn as_many_names_as_fit_are_certified_and_more_refused() {
    let server = Server::start();
    let domains = |count: usize| -> Vec<String> {
        (0..count)
            .map(|number| format!("n{number}.a.test"))
            .collect()
    };
    let leaf = Leaf::of(
        &server,
        &post(&server, SIMPLE, &json!({"domains": domains(100)})),
    );
    leaf.assert_good();
    assert_eq!(leaf.names(), domains(100));
    let repeated = vec!["a.test"; 3_000];
    let response = post(&server, SIMPLE, &json!({"domains": repeated}));
    assert!([201, 400].contains(&response.status), "{}", response.status);
    let too_many = domains(pki::MAX_IDENTIFIERS + 1);
    assert_error(&post(&server, SIMPLE, &json!({"domains": too_many})), 400);
}

#[test]
fn broken_json_never_breaks_the_server() {
    let server = Server::start();
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let deep_objects = r#"{"a":"#.repeat(10_000);
    for body in [
        b"{\"domains\":[\"\xff\xfe\"]}".as_slice(),
        b"{\"domains\":[\"\\ud800\"]}",
        b"{\"domains\":[\"a.test\"",
        b"\xef\xbb\xbf{\"domains\":[\"a.test\"]}",
        b"{\"domains\":[\"a.test\"],}",
        b"{'domains':['a.test']}",
        b"{\"domains\":[\"a.test\"]}\0",
        b"\0",
        format!("{{\"domains\":{deep}}}").as_bytes(),
        format!("{{\"subject\":{deep}}}").as_bytes(),
        format!("{{\"unknown\":{deep}").as_bytes(),
        deep_objects.as_bytes(),
        format!("{{\"days\":{}}}", "9".repeat(60_000)).as_bytes(),
    ] {
        for path in [SIMPLE, LOCATED, REVOKE] {
            assert_error(&send(&server, "POST", path, body), 400);
        }
    }
    assert_eq!(send(&server, "GET", ROOT, "").status, 200);
}

#[test]
fn a_body_that_never_ends_as_promised_is_not_an_order() {
    let server = Server::start();
    let request = format!(
        "POST {SIMPLE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Auth-Token: {}\r\n\
         Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        server.token
    );
    let answer = http::raw(&server.url, request.as_bytes());
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn issuer_names_are_not_paths() {
    let server = Server::start();
    for issuer in [
        "../certmaker",
        "certmaker/",
        "certmaker\t",
        "certmaker%00",
        "\u{e9}",
        "'--",
    ] {
        let headers = [
            ("X-Auth-Token", server.token.as_str()),
            ("X-Issuer-Context", issuer),
        ];
        let response = server.send("GET", ROOT, &headers, "");
        // A tab at the end is white space around the value, which HTTP removes.
        let status = if issuer.ends_with('\t') { 200 } else { 400 };
        assert_eq!(response.status, status, "{issuer:?}");
    }
}

#[test]
fn a_failing_store_is_no_news_to_clients_and_never_a_success() {
    let server = Server::start();
    let leaf = Leaf::order(&server);
    server.run(server.store.close());
    let order = json!({"domains": ["a.test"]});
    for path in [SIMPLE, LOCATED] {
        let response = post(&server, path, &order);
        assert_error(&response, 500);
        assert_eq!(response.json(), json!({"error": "internal error"}));
    }
    let by_path = format!("/api/v1/certificate/{}/revoke", leaf.serial());
    for path in [REVOKE, &by_path] {
        let response = post(&server, path, &json!({"SerialNumber": leaf.low()}));
        assert_error(&response, 400);
        let text = "internal error, certificate not revoked";
        assert_eq!(response.json(), json!({"error": text}));
    }
}
