//! What must be refused, and what must not come out.

use serde_json::{Value, json};
use testbed::{Authority, Workdir, openssl};

use super::support::Server;
use super::{assert_error, get, lets_encrypt, manual, path_of, post, send, stack, uuids};

#[test]
fn requests_that_cannot_be_meant_name_the_field() {
    // 5
    let server = Server::start();
    let list = stack(&server, "shop");
    let many: Vec<String> = (0..101)
        .map(|number| format!("n{number}.example"))
        .collect();
    for (body, field) in [
        (
            json!({"type": "lets_encrypt", "wildcard": true, "server_names": "a.example"}),
            "dns_provider_uuid",
        ),
        (lets_encrypt("*.a.example"), "server_names"),
        (lets_encrypt(""), "server_names"),
        (lets_encrypt(" , "), "server_names"),
        (json!({"type": "lets_encrypt"}), "server_names"),
        (lets_encrypt("a_b.example"), "server_names"),
        (lets_encrypt("localhost"), "server_names"),
        (lets_encrypt("192.0.2.1"), "server_names"),
        (lets_encrypt("a.example;b.example"), "server_names"),
        (lets_encrypt("<script>.example"), "server_names"),
        (lets_encrypt(&many.join(",")), "server_names"),
        (json!({"type": "foo", "server_names": "a.example"}), "type"),
        (json!({"server_names": "a.example"}), "type"),
        (json!({}), "type"),
        (json!({"ssl_certificate": 7}), "ssl_certificate"),
        (
            json!({"type": "lets_encrypt", "server_names": "a.example", "server_group_id": 4}),
            "server_group_id",
        ),
        (
            json!({"type": "lets_encrypt", "server_names": "a.example", "dns_provider_uuid": "dp-1"}),
            "dns_provider_uuid",
        ),
        (
            json!({"type": "lets_encrypt", "server_names": "a.example",
            "dns_provider_uuid": format!("dp-{}", "0".repeat(32))}),
            "dns_provider_uuid",
        ),
        (
            json!({"type": "lets_encrypt", "server_names": ["a.example"]}),
            "server_names",
        ),
        (
            json!({"type": "lets_encrypt", "server_names": "a.example", "wildcard": "often"}),
            "wildcard",
        ),
        (json!({"type": "manual"}), "certificate"),
    ] {
        let answer = send(&server, "POST", &list, body.to_string());
        let details = assert_error(&answer, 400, "bad_request");
        assert!(details.starts_with(field), "{body}: {details}");
    }
    for body in [
        "{",
        "{]",
        "[]",
        "\u{0}",
        "{\"type\":\"manual\"} x",
        "type=manual&type=manual",
    ] {
        let answer = send(&server, "POST", &list, body);
        assert_error(&answer, 400, "bad_request");
    }
    assert!(uuids(&server, &list).is_empty());
}

#[test]
fn pairs_that_are_none_are_refused_and_not_repeated() {
    // 7
    let server = Server::start();
    let list = stack(&server, "shop");
    let authority = Authority::new();
    let pair = authority.issue(&["a.example"], 90);
    let other = authority.issue(&["a.example"], 90);
    let files = Workdir::new();
    files.write("plain.key", &pair.key);
    let arguments = [
        "pkcs8",
        "-topk8",
        "-in",
        &files.path("plain.key"),
        "-passout",
        "pass:x",
    ];
    let encrypted = openssl(&arguments, b"").text();
    let ended = authority.issue(&["a.example"], 1);
    let both = format!("{}{}", other.chain, pair.chain);
    let body = |certificate: &str, key: &str| json!({"type": "manual", "certificate": certificate, "key": key});
    let cut = &pair.key[..pair.key.len() / 2];
    for (body, field) in [
        (body(&pair.chain, &other.key), "key"),
        (body(&pair.chain, &encrypted), "key"),
        (body(&pair.chain, "garbage"), "key"),
        (body(&pair.chain, cut), "key"),
        (body(&pair.chain, &pair.chain), "key"),
        (body(&pair.chain, ""), "key"),
        (body("garbage", &pair.key), "certificate"),
        (body(&pair.key, &pair.key), "certificate"),
        (body("", &pair.key), "certificate"),
        // The leaf is the first one.
        (body(&both, &pair.key), "key"),
        (
            json!({"type": "manual", "certificate": 7, "key": pair.key}),
            "certificate",
        ),
    ] {
        let answer = send(&server, "POST", &list, body.to_string());
        let details = assert_error(&answer, 400, "bad_request");
        assert!(details.starts_with(field), "{field}: {details}");
        assert!(!details.contains("-----"), "{details}");
    }
    server.advance(std::time::Duration::from_secs(2 * 86_400));
    let answer = send(&server, "POST", &list, manual(&ended, "").to_string());
    let details = assert_error(&answer, 400, "bad_request");
    assert!(
        details.starts_with("certificate") && details.contains("expired"),
        "{details}"
    );
    assert!(uuids(&server, &list).is_empty());
}

#[test]
fn keys_are_nowhere_in_any_answer() {
    let server = Server::start();
    let list = stack(&server, "shop");
    let pair = Authority::new().issue(&["a.example"], 90);
    let made = post(&server, &list, &manual(&pair, ""));
    let path = path_of(&list, &made);
    let secret = pair.key.lines().nth(1).unwrap();
    for answer in [
        send(&server, "GET", &path, ""),
        send(&server, "GET", &list, ""),
        send(&server, "PUT", &path, manual(&pair, "").to_string()),
        send(&server, "GET", &format!("{path}?representation=model"), ""),
        send(
            &server,
            "POST",
            &list,
            json!({"type": pair.key}).to_string(),
        ),
        send(
            &server,
            "POST",
            &list,
            json!({"server_names": pair.key}).to_string(),
        ),
        send(&server, "DELETE", &path, ""),
    ] {
        assert!(!answer.text().contains(secret), "{}", answer.text());
    }
}

#[test]
fn names_of_the_house_cannot_be_taken() {
    let server = Server::start();
    let list = stack(&server, "shop");
    for (name, status) in [("x.metro.internal", 400), ("www.metro.internal", 409)] {
        let answer = send(&server, "POST", &list, lets_encrypt(name).to_string());
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert!(uuids(&server, &list).is_empty());
}

#[test]
fn of_many_who_add_at_once_one_has_the_name() {
    let server = Server::start();
    let list = stack(&server, "shop");
    let authority = Authority::new();
    let bodies: Vec<String> = (0..6)
        .map(|_| manual(&authority.issue(&["a.example"], 90), "").to_string())
        .collect();
    let (server, list) = (&server, &list);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = bodies
            .iter()
            .map(|body| scope.spawn(move || send(server, "POST", list, body).status))
            .collect();
        asking
            .into_iter()
            .map(|asking| asking.join().unwrap())
            .collect()
    });
    let made = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 409).count();
    assert_eq!((made, refused), (1, 5), "{statuses:?}");
    assert_eq!(uuids(server, list).len(), 1);
    let headers = [("Authorization", format!("Bearer {}", server.token))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let inventory = server
        .send("GET", "/chancery/v1/certificates", &headers, "")
        .json();
    assert_eq!(
        inventory["certificates"].as_array().map(Vec::len),
        Some(1),
        "{inventory}"
    );
}

#[test]
fn a_warning_fits_into_a_header_whatever_is_in_it() {
    let server = Server::start();
    let list = stack(&server, "shop");
    let pair = Authority::new().issue(&["a.example"], 90);
    let names: Vec<String> = (0..200)
        .map(|number| format!("n{number}.example"))
        .collect();
    let answer = send(
        &server,
        "POST",
        &list,
        manual(&pair, &names.join(",")).to_string(),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let warning = answer.header("x-cloud66-warning").unwrap();
    assert!(warning.len() <= 500);
    let shown = get(&server, &list);
    assert_eq!(shown[0]["server_names"], Value::from(names.join(",")));
}
