//! PUT, PATCH and DELETE.

use lifecycle::{CertificateId, Clock as _, State, SystemClock};
use store::{NewEvent, Scope};

use super::*;

#[test]
fn a_deleted_certificate_is_gone_and_its_name_is_free() {
    let server = Server::start();
    let uuids = upload_each(&server, &["c1", "c2", "c3", "c4"]);
    // 24, without the service
    let deleted = send(&server, "DELETE", CERTIFICATES, r#"[{"name":"c1"}]"#);
    let item = deleted.item();
    assert_eq!(item["uuid"], uuids[0].as_str());
    assert_eq!(
        (item["name"].as_str(), item.as_object().unwrap().len()),
        (Some("c1"), 3)
    );
    let gone = send(&server, "GET", CERTIFICATES, r#"[{"name":"c1"}]"#);
    gone.failed(200, 8, 404);
    get(&server, &format!("/v1/certificates/{}", uuids[0])).failed(404, 8, 404);

    send(
        &server,
        "DELETE",
        &format!("/v1/certificates/{}", uuids[1]),
        "",
    )
    .item();
    send(&server, "DELETE", "/v1/certificates/c3", "{}").item();
    send(&server, "DELETE", "/v1/certificates?name=c4", "").item();
    assert_eq!(get(&server, CERTIFICATES).items().len(), 0);
    send(&server, "DELETE", "/v1/certificates/c3", "").failed(404, 8, 404);
    upload_each(&server, &["c1"]);
}

#[test]
fn one_that_is_missing_does_not_keep_the_others_from_being_deleted() {
    let server = Server::start();
    let uuid = upload_each(&server, &["c1", "c2"]).remove(0);
    let body = json!([{"name": "c1"}, {"name": "nope"}, {"uuid": uuid}, {"name": "c2"}]);
    let deleted = send(&server, "DELETE", CERTIFICATES, body.to_string());
    deleted.expect("partial_success");
    assert_eq!(deleted.codes(), [0, 8, 8, 0]);
    assert_eq!(deleted.items()[2]["uuid"], uuid.as_str());
}

#[test]
fn a_change_without_references_never_means_all() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    // 25
    for method in ["DELETE", "PUT", "PATCH"] {
        for body in [
            "",
            "[]",
            "null",
            "{}",
            "[{}]",
            r#"{"common_name":"example.com"}"#,
            r#"[{"uuid":"","name":""}]"#,
        ] {
            let refused = send(&server, method, CERTIFICATES, body);
            refused.refused(400, Some(13));
        }
        if method == "DELETE" {
            send(&server, method, "/v1/certificates?name=&uuid=,", "").refused(400, Some(13));
        }
    }
    assert_eq!(get(&server, CERTIFICATES).names(), ["c1"]);
}

#[test]
fn a_malformed_reference_keeps_all_from_being_deleted() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    for bad in [
        json!({"uuid": "x"}),
        json!({}),
        json!({"name": 1}),
        json!({"foo": "x"}),
    ] {
        let body = json!([{"name": "c1"}, bad]).to_string();
        assert_eq!(send(&server, "DELETE", CERTIFICATES, body).http, 400);
    }
    assert_eq!(get(&server, CERTIFICATES).names(), ["c1"]);
}

#[test]
fn a_certificate_is_replaced_by_one_for_the_same_name() {
    let server = Server::start();
    upload_each(&server, &["c1", "c2"]);
    let before = get(&server, "/v1/certificates/c1").item().clone();
    let uuid = before["uuid"].as_str().unwrap();
    let (next, alien) = (Pair::new("example.com", &[]), Pair::new("example.org", &[]));
    // 27
    let body = json!([
        next.replacing(json!({"name": "c1"})),
        alien.replacing(json!({"name": "c2"}))
    ]);
    let updated = send(&server, "PUT", CERTIFICATES, body.to_string());
    updated.expect("partial_success");
    assert_eq!(updated.codes(), [0, 30]);
    let after = &updated.items()[0];
    assert_ne!(after["serial_number"], before["serial_number"]);
    for kept in ["uuid", "name", "created_at", "common_name"] {
        assert_eq!(after[kept], before[kept], "{kept}");
    }
    assert_eq!(get(&server, "/v1/certificates/c1").item(), after);

    // 28
    let single = Pair::new("example.com", &[]);
    let body = single
        .replacing(json!({"uuid": uuid, "name": ""}))
        .to_string();
    let patched = send(&server, "PATCH", CERTIFICATES, body);
    assert_ne!(patched.item()["serial_number"], after["serial_number"]);

    let path = format!("/v1/certificates/{uuid}");
    for method in ["PUT", "PATCH"] {
        let pair = Pair::new("example.com", &[]);
        for own in [
            json!({}),
            json!({"name": "c1"}),
            json!({"uuid": uuid, "name": "c1", "cn": "example.com."}),
        ] {
            send(&server, method, &path, pair.replacing(own).to_string()).item();
        }
        let array = json!([pair.replacing(json!({}))]).to_string();
        send(&server, method, &path, array).item();
        let other = pair.replacing(json!({"name": "c2"})).to_string();
        send(&server, method, &path, other).refused(400, Some(17));
        let two = json!([pair.replacing(json!({})), pair.replacing(json!({}))]).to_string();
        send(&server, method, &path, two).refused(400, Some(16));
        send(&server, method, &path, "").refused(400, Some(16));
        let missing = pair.replacing(json!({"name": "nope"})).to_string();
        send(&server, method, "/v1/certificates/nope", missing).failed(404, 8, 404);
    }
}

#[test]
fn a_replacement_must_fit_and_be_whole() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    let before = get(&server, "/v1/certificates/c1").item().clone();
    let (next, other) = (Pair::new("example.com", &[]), Pair::new("example.com", &[]));
    let misfit = json!({"chain": next.chain, "pkey": other.key}).to_string();
    send(&server, "PUT", "/v1/certificates/c1", misfit).failed(200, 7, 400);
    let renamed = next.replacing(json!({"cn": "example.net"})).to_string();
    send(&server, "PUT", "/v1/certificates/c1", renamed).failed(200, 30, 400);
    for half in [
        json!({}),
        json!({"chain": next.chain}),
        json!({"chain": "", "pkey": next.key}),
        json!({"chain": "nonsense", "pkey": next.key}),
    ] {
        send(&server, "PUT", "/v1/certificates/c1", half.to_string()).refused(400, Some(7));
    }
    let good = next.replacing(json!({"name": "c1"}));
    let bad = json!({"name": "c1", "chain": "nonsense", "pkey": next.key});
    let body = json!([good, bad]).to_string();
    send(&server, "PUT", CERTIFICATES, body).refused(400, Some(7));
    assert_eq!(get(&server, "/v1/certificates/c1").item(), &before);
}

#[test]
fn what_the_server_issued_is_not_replaced_by_hand() {
    let server = Server::start();
    let order = r#"{"subject":{"commonName":"issued.example"},"domains":["issued.example"]}"#;
    let headers = [("X-Auth-Token", server.token.as_str())];
    let path = "/api/v1/certificate/request-with-simplerequest";
    let issued = server.send("POST", path, &headers, order);
    assert!(issued.status < 300, "{}", issued.text());
    let listed = get(&server, CERTIFICATES);
    let item = listed.item();
    assert_eq!(
        (item["common_name"].as_str(), item["state"].as_str()),
        (Some("issued.example"), Some("valid"))
    );
    let path = format!("/v1/certificates/{}", item["uuid"].as_str().unwrap());
    let pair = Pair::new("issued.example", &[]);
    let update = pair.replacing(json!({})).to_string();
    send(&server, "PUT", &path, update).failed(200, 14, 403);
    send(&server, "DELETE", &path, "").item();
}

/// Lets the house give up obtaining a certificate.
fn give_up(server: &Server, uuid: &str) {
    let id: CertificateId = uuid.parse().unwrap();
    let event = NewEvent {
        at: SystemClock.now(),
        account_id: None,
        actor: "test".to_owned(),
        kind: "certificate.failed",
        object: Some(id.as_uuid()),
        detail: String::new(),
    };
    let state = State::Error {
        reason: "nobody answers".to_owned(),
    };
    let stored = server
        .store
        .set_certificate_state(Scope::Everything, id, state, None, event);
    server.run(stored).unwrap();
}

#[test]
fn an_update_without_a_pair_begins_a_managed_certificate_anew_that_was_given_up() {
    let server = Server::start();
    let uuid = upload_each(&server, &["c1"]).remove(0);
    for (name, method) in [("m1", "PUT"), ("m2", "PATCH")] {
        let requested = create(&server, &json!({"name": name, "cn": "managed.example"}));
        let uuid = requested.item()["uuid"].as_str().unwrap().to_owned();
        let path = format!("/v1/certificates/{uuid}");
        send(&server, method, &path, "{}").failed(200, 14, 403);

        give_up(&server, &uuid);
        assert_eq!(get(&server, &path).item()["state"], "error");
        let pair = Pair::new("managed.example", &[]);
        let update = pair.replacing(json!({})).to_string();
        send(&server, method, &path, update).failed(200, 14, 403);
        let with_name = r#"{"cn":"managed.example"}"#;
        send(&server, method, &path, with_name).refused(400, Some(7));

        let restarted = send(&server, method, &path, r#"{"chain":"","pkey":null}"#);
        let item = restarted.item();
        assert_eq!((&item["uuid"], &item["name"]), (&json!(uuid), &json!(name)));
        assert_eq!(item["state"], "pending");
        assert_eq!(item["validation"]["attempt"], 0);

        give_up(&server, &uuid);
        let batch = json!([{"name": name}, {"name": "nope"}, {"uuid": uuid}, {"name": "c1"}]);
        let restarted = send(&server, method, CERTIFICATES, batch.to_string());
        restarted.expect("partial_success");
        assert_eq!(restarted.codes(), [0, 8, 14, 7]);
    }
    for path in [
        format!("/v1/certificates/{uuid}"),
        "/v1/certificates/c1".to_owned(),
    ] {
        send(&server, "PUT", &path, "{}").refused(400, Some(7));
    }
    send(&server, "PUT", "/v1/certificates/nope", "{}").failed(404, 8, 404);
    send(&server, "PUT", "/v1/certificates/nope", "").refused(400, Some(16));
}
