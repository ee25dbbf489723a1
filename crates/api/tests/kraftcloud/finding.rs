//! GET: every way to name certificates.

use super::*;

#[test]
fn an_empty_body_means_no_body_whatever_its_type() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    let authorization = format!("Bearer {}", server.token);
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
    ];
    // 10
    for body in ["", " \n", "null", "{}", "[]"] {
        let listed = Answer::of(&server.send("GET", CERTIFICATES, &headers, body));
        assert_eq!(listed.names(), ["c1"], "{body:?}");
        assert_eq!(listed.item()["common_name"], "example.com");
    }
}

#[test]
fn a_body_names_certificates_and_each_is_answered_in_order() {
    let server = Server::start();
    let uuid = upload_each(&server, &["c1"]).remove(0);
    let authorization = format!("Bearer {}", server.token);
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    // 11
    let body = json!([{"name": "nope"}, {"uuid": uuid.to_uppercase()}]).to_string();
    let found = Answer::of(&server.send("GET", CERTIFICATES, &headers, body));
    found.expect("partial_success");
    assert_eq!(found.codes(), [8, 0]);
    assert_eq!(found.items()[0]["name"], "nope");
    assert_eq!(
        found.items()[0]["message"],
        "No certificate with name 'nope'"
    );
    assert!(found.items()[0].get("uuid").is_none());
    assert_eq!(found.items()[1]["uuid"], uuid.as_str());

    // 21
    let halves = send(&server, "GET", CERTIFICATES, r#"[{"uuid":"","name":"c1"}]"#);
    assert_eq!(halves.item()["uuid"], uuid.as_str());
    let single = send(
        &server,
        "GET",
        CERTIFICATES,
        r#"{"uuid":null,"name":"c1","metro":"fra0"}"#,
    );
    assert_eq!(single.item()["name"], "c1");
    let twice = send(
        &server,
        "GET",
        CERTIFICATES,
        r#"[{"name":"c1"},{"name":"c1"}]"#,
    );
    assert_eq!(twice.names(), ["c1", "c1"]);
}

#[test]
fn a_query_names_certificates_by_commas_and_by_repetition() {
    let server = Server::start();
    let uuids = upload_each(&server, &["c1", "c2", "a,b"]);
    // 12
    assert_eq!(
        get(&server, "/v1/certificates?name=c2,c1").names(),
        ["c2", "c1"]
    );
    // 13
    assert_eq!(
        get(&server, "/v1/certificates?name=a%2Cb").item()["name"],
        "a,b"
    );
    let missing = get(&server, "/v1/certificates?name=x%2Cy");
    assert_eq!(
        missing.failed(200, 8, 404)["message"],
        "No certificate with name 'x,y'"
    );
    assert_eq!(get(&server, "/v1/certificates?name=a,b").codes(), [8, 8]);
    // 14
    let brief = get(
        &server,
        &format!("/v1/certificates?uuid={}&name=c2&details=false", uuids[0]),
    );
    brief.expect("success");
    assert_eq!(brief.names(), ["c1", "c2"]);
    for item in brief.items() {
        assert_eq!(item.as_object().unwrap().len(), 3, "{item}");
    }
    let path = format!(
        "/v1/certificates?uuid={}&uuid={}&name=c1&count=1",
        uuids[1], uuids[2]
    );
    assert_eq!(get(&server, &path).names(), ["c2", "a,b", "c1"]);
}

#[test]
fn what_the_query_names_is_not_answered_twice() {
    let server = Server::start();
    let uuid = upload_each(&server, &["c1", "c2"]).remove(0);
    let body = json!([{"uuid": uuid}, {"name": "c2"}, {"name": "nope"}]).to_string();
    let path = format!("/v1/certificates?name=c2&uuid={}", uuid.to_uppercase());
    let found = send(&server, "GET", &path, body);
    assert_eq!(found.names(), ["c2", "c1", "nope"]);
}

#[test]
fn a_malformed_uuid_refuses_the_request() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    // 15
    let refused = get(&server, "/v1/certificates?uuid=nonsense");
    assert_eq!(refused.refused(400, Some(7)), "Invalid uuid 'nonsense'");
    let body = r#"[{"name":"c1"},{"uuid":"nonsense"}]"#;
    let refused = send(&server, "GET", CERTIFICATES, body);
    assert_eq!(refused.refused(400, Some(7)), "Invalid uuid 'nonsense'");
}

#[test]
fn a_reference_is_a_uuid_or_a_name() {
    let server = Server::start();
    let uuid = upload_each(&server, &["c1"]).remove(0);
    let both = json!([{"uuid": uuid, "name": "c1"}]).to_string();
    send(&server, "GET", CERTIFICATES, both).refused(400, Some(17));
    for neither in [
        "[{}]",
        r#"[{"uuid":"","name":null}]"#,
        r#"{"uuid":""}"#,
        r#"[{"metro":"fra0"}]"#,
    ] {
        send(&server, "GET", CERTIFICATES, neither).refused(400, Some(13));
    }
    let more = json!([{"name": "c1", "chain": "x"}]).to_string();
    assert!(
        send(&server, "GET", CERTIFICATES, more)
            .refused(400, Some(16))
            .contains("chain")
    );
}

#[test]
fn a_path_names_one_certificate_by_uuid_or_by_name() {
    let server = Server::start();
    let uuid = upload_each(&server, &["c1", "über uns"]).remove(0);
    for path in [
        format!("/v1/certificates/{uuid}"),
        format!("/v1/certificates/{}/", uuid.to_uppercase()),
        "/v1/certificates/c1".to_owned(),
        format!("/v1/certificates/{uuid}?name=c1"),
    ] {
        assert_eq!(get(&server, &path).item()["uuid"], uuid.as_str(), "{path}");
    }
    assert_eq!(
        get(&server, "/v1/certificates/%C3%BCber%20uns").names(),
        ["über uns"]
    );
    let brief = get(&server, &format!("/v1/certificates/{uuid}?details=false"));
    assert_eq!(brief.item().as_object().unwrap().len(), 3);

    // 18
    let random = "0190163d-8694-439b-aea5-966c26f8ad91";
    let missing = get(&server, &format!("/v1/certificates/{random}"));
    let item = missing.failed(404, 8, 404);
    assert_eq!(
        item["message"],
        format!("No certificate with uuid '{random}'")
    );
    assert_eq!(item["uuid"], random);
    let missing = get(&server, "/v1/certificates/nope");
    assert_eq!(
        missing.failed(404, 8, 404)["message"],
        "No certificate with name 'nope'"
    );
}

#[test]
fn a_path_and_a_body_must_not_name_different_certificates() {
    let server = Server::start();
    let uuid = upload_each(&server, &["c1", "c2"]).remove(0);
    let path = format!("/v1/certificates/{uuid}");
    send(&server, "GET", &path, r#"{"name":"c1"}"#).item();
    for body in [r#"{"name":"c2"}"#, r#"[{"name":"c1"},{"name":"c2"}]"#] {
        send(&server, "GET", &path, body).refused(400, Some(17));
        send(&server, "DELETE", &path, body).refused(400, Some(17));
    }
    get(&server, &format!("{path}?name=c2")).refused(400, Some(17));
}

#[test]
fn the_base_path_may_come_twice() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    // 20
    for path in [
        "/v1/v1/certificates",
        "/v1/v1/certificates/c1",
        "//v1/certificates/",
        "/v1/v1/certificates/list",
    ] {
        assert_eq!(get(&server, path).names(), ["c1"], "{path}");
    }
}

#[test]
fn certificates_of_other_accounts_do_not_exist() {
    let server = Server::start();
    let uuid = upload_each(&server, &["c1"]).remove(0);
    let other = server.account("other");
    let path = format!("/v1/certificates/{uuid}");
    let pair = Pair::new("example.com", &[]);
    let update = pair.replacing(json!({})).to_string();
    for (method, body) in [("GET", ""), ("DELETE", ""), ("PUT", &update)] {
        send_as(&server, &other, method, &path, body).failed(404, 8, 404);
    }
    assert_eq!(
        send_as(&server, &other, "GET", CERTIFICATES, "")
            .items()
            .len(),
        0
    );
    let from = format!("/v1/certificates?count=5&from={uuid}");
    assert_eq!(send_as(&server, &other, "GET", &from, "").items().len(), 0);
    get(&server, &path).item();
}
