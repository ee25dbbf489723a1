//! Requests that no honest client sends.

use super::*;

const MEBIBYTE: usize = 1024 * 1024;

#[test]
fn malformed_json_is_refused_everywhere_and_nothing_is_done() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    let bodies: [&[u8]; 12] = [
        b"nonsense",
        b"{'name':'c1'}",
        b"[{\"name\":\"c1\"},]",
        b"[{\"name\":\"c1\"}",
        b"[{\"name\":\"c1\"}] x",
        b"{\"name\":\"c1\" \"cn\":\"a.b\"}",
        b"\"c1\"",
        b"17",
        b"true",
        b"[[{\"name\":\"c1\"}]]",
        b"{\"name\":\"\xff\"}",
        b"{\"name\":\"c1\",\"name\":\"c1\"}",
    ];
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        for body in bodies {
            let shown = String::from_utf8_lossy(body);
            let refused = send(&server, method, CERTIFICATES, body);
            assert!(
                !refused.refused(400, Some(16)).is_empty(),
                "{method} {shown}"
            );
        }
    }
    assert_eq!(get(&server, CERTIFICATES).names(), ["c1"]);
}

#[test]
fn unknown_members_and_wrong_types_are_refused_by_name() {
    let server = Server::start();
    // 9
    for (body, member) in [
        (r#"{"name":"c1","foo":1}"#, "foo"),
        (r#"{"Name":"c1"}"#, "Name"),
        (r#"{"name":["c1"]}"#, "name"),
        (r#"{"cn":17}"#, "cn"),
        (r#"{"common_name":{}}"#, "common_name"),
        (r#"{"chain":true}"#, "chain"),
        (r#"{"pkey":["SECRET"]}"#, "pkey"),
        (r#"{"uuid":1.5}"#, "uuid"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            for body in [body.to_owned(), format!("[{body}]")] {
                let refused = send(&server, method, CERTIFICATES, &body);
                let message = refused.refused(400, Some(16));
                assert!(
                    message.contains(&format!("'{member}'")),
                    "{method} {body}: {message}"
                );
                assert!(!message.contains("SECRET"), "{message}");
            }
        }
    }
    let named = r#"{"uuid":"0190163d-8694-439b-aea5-966c26f8ad91","cn":"a.example"}"#;
    assert!(
        send(&server, "POST", CERTIFICATES, named)
            .refused(400, Some(16))
            .contains("uuid")
    );
}

#[test]
fn hostile_names_are_simply_not_found() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    for name in [
        "%00",
        "c1%00",
        "'%20or%20'1'='1",
        "%2e%2e",
        "%F0%9F%92%A9",
        "%25",
        "c1%0d%0aX-Evil:%201",
        "list%2F",
        "%22%3E%3Cscript%3E",
    ] {
        get(&server, &format!("/v1/certificates?name={name}")).failed(200, 8, 404);
        get(&server, &format!("/v1/certificates/{name}")).failed(404, 8, 404);
        send(&server, "DELETE", &format!("/v1/certificates/{name}"), "").failed(404, 8, 404);
    }
    get(&server, "/v1/certificates?name=%ff").refused(400, Some(16));
    get(&server, "/v1/certificates/%ff").failed(404, 8, 404);
    let long = json!([{"name": "x".repeat(100_000)}]).to_string();
    send(&server, "GET", CERTIFICATES, long).failed(200, 8, 404);
}

#[test]
fn bodies_are_bounded() {
    let server = Server::start();
    for method in ["GET", "POST", "PUT", "DELETE"] {
        let too_large = vec![b' '; 20 * MEBIBYTE + 1];
        send(&server, method, CERTIFICATES, too_large).refused(413, Some(22));
    }
    send(&server, "GET", CERTIFICATES, vec![b' '; 20 * MEBIBYTE]).expect("success");
    for path in [SERVICES, INSTANCES, "/v1/users/quotas"] {
        send(&server, "GET", path, vec![b' '; MEBIBYTE + 1]).refused(413, Some(22));
        send(&server, "GET", path, vec![b' '; MEBIBYTE]).expect("success");
    }
    for (method, path) in [
        ("POST", SERVICES),
        ("PATCH", SERVICES),
        ("DELETE", "/v1/services/s1"),
        ("POST", INSTANCES),
        ("DELETE", INSTANCES),
    ] {
        let too_large = vec![b' '; MEBIBYTE + 1];
        send(&server, method, path, too_large).refused(413, Some(22));
    }
    let chain = "x".repeat(8 * MEBIBYTE + 1);
    create(
        &server,
        &json!({"cn": "a.example", "chain": chain, "pkey": "y"}),
    )
    .refused(400, Some(22));
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = Server::start();
    let body = vec![b' '; 12 * MEBIBYTE];
    send_as(&server, "nonsense", "POST", CERTIFICATES, &body).refused(401, None);
    send(&server, "POST", "/v1/volumes", &body).refused(404, Some(3));
    send(&server, "POST", SERVICES, &body).refused(413, Some(22));
    send(&server, "POST", "/v1/certificates/c1", &body).refused(405, Some(2));
}

#[test]
fn too_many_objects_are_refused() {
    let server = Server::start();
    let references = |count: usize| json!(vec![json!({"name": "nope"}); count]).to_string();
    send(&server, "DELETE", CERTIFICATES, references(10_001)).refused(400, Some(5));
    send(&server, "GET", CERTIFICATES, "[".repeat(100_000)).refused(400, Some(16));
    let most = send(&server, "GET", CERTIFICATES, references(10_000));
    assert_eq!(most.items().len(), 10_000);
}

#[test]
fn a_chain_of_countless_certificates_is_refused() {
    let server = Server::start();
    let pair = Pair::new("a.example", &[]);
    let chain = pair.chain.repeat(10_000);
    create(
        &server,
        &json!({"cn": "a.example", "chain": chain, "pkey": pair.key}),
    )
    .refused(400, Some(7));
}

#[test]
fn malformed_bodies_make_and_change_no_services_and_instances() {
    let server = Server::start();
    serve(&server, &domains(&["a.example."])).item();
    let bodies: [&[u8]; 9] = [
        b"nonsense",
        b"{'services':[]}",
        b"{\"services\":[],}",
        b"{\"services\":[]} x",
        b"\"s1\"",
        b"17",
        b"[[]]",
        b"{\"name\":\"\xff\"}",
        b"{\"name\":\"s1\",\"name\":\"s1\"}",
    ];
    for (path, methods) in [
        (SERVICES, &["GET", "POST", "PATCH", "DELETE"][..]),
        (INSTANCES, &["GET", "POST", "DELETE"]),
    ] {
        for (method, body) in methods
            .iter()
            .flat_map(|method| bodies.map(|body| (method, body)))
        {
            let shown = String::from_utf8_lossy(body);
            let refused = send(&server, method, path, body);
            let message = refused.refused(400, Some(16));
            assert!(!message.is_empty(), "{method} {path} {shown}");
        }
        let deep = "[".repeat(100_000);
        send(&server, "GET", path, deep).refused(400, Some(16));
    }
    assert_eq!(get(&server, SERVICES).items().len(), 1);
    assert_eq!(get(&server, INSTANCES).items().len(), 0);
}

#[test]
fn no_refusal_about_a_service_repeats_what_was_sent() {
    let server = Server::start();
    let secret = "-----BEGIN PRIVATE KEY-----\nSECRET";
    let places = [
        json!({"services": secret}),
        json!({"services": [secret]}),
        json!({"services": [{"port": secret}]}),
        json!({"services": [{"port": 443, "handlers": secret}]}),
        json!({"services": [{"port": 443, "handlers": [secret]}]}),
        json!({"services": [{"port": 443, "protocol": secret}]}),
        json!({"services": [], "domains": secret}),
        json!({"services": [], "domains": [secret]}),
        json!({"services": [], "domains": [{"name": secret}]}),
        json!({"services": [], "domains": [{"name": "a.example.", "certificate": secret}]}),
        json!({"services": [], "domains": [{"name": "a.example.", "certificate": {"uuid": secret}}]}),
        json!({"services": [], "soft_limit": secret}),
        json!({"services": [], "autokill": secret}),
        json!({"services": [], "autokill": {"time_ms": secret}}),
        json!({"services": [], "name": [secret]}),
        json!({"services": [], "dns_name": secret}),
    ];
    for body in places {
        let refused = serve(&server, &body);
        assert_eq!(refused.http, 400, "{body}: {}", refused.envelope);
        assert!(
            !refused.envelope.to_string().contains("SECRET"),
            "{}",
            refused.envelope
        );
    }
    let instances = [
        json!({"image": [secret]}),
        json!({"image": {"url": [secret]}}),
        json!({"image": "a", "args": secret}),
        json!({"image": "a", "env": secret}),
        json!({"image": "a", "env": {"a": [secret]}}),
        json!({"image": "a", "memory_mb": secret}),
        json!({"image": "a", "private_ip": secret}),
        json!({"image": "a", "service_group": secret}),
    ];
    for body in instances {
        let refused = send(&server, "POST", INSTANCES, body.to_string());
        assert_eq!(refused.http, 400, "{body}: {}", refused.envelope);
        assert!(
            !refused.envelope.to_string().contains("SECRET"),
            "{}",
            refused.envelope
        );
    }
}
