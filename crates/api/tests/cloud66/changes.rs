//! Changes of certificates on stacks, through this door and through others.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::Authority;

use super::support::Server;
use super::{
    assert_error, domains, get, lets_encrypt, manual, path_of, post, response_of, send, stack,
    start, uuids, with_status,
};

#[track_caller]
fn put(server: &Server, path: &str, body: &Value) -> Value {
    response_of(&send(server, "PUT", path, body.to_string()))
}

/// The answer without what every change changes.
fn without_time(certificate: &Value) -> Value {
    let mut certificate = certificate.clone();
    certificate["updated_at"] = Value::Null;
    certificate
}

#[test]
fn read_only_keys_are_passed_over() {
    // 14
    let server = Server::start();
    let list = stack(&server, "shop");
    let made = post(
        &server,
        &list,
        &manual(&Authority::new().issue(&["a.example"], 90), ""),
    );
    let path = path_of(&list, &made);
    let before = get(&server, &path);
    let body = json!({"ssl_certificate": {
        "uuid": "", "name": "", "server_group_id": null, "server_names": "",
        "sha256_fingerprint": "00", "ca_name": "Mine", "has_intermediate_cert": true, "status": 0,
        "created_at": "0001-01-01T00:00:00Z", "updated_at": "0001-01-01T00:00:00Z",
        "expires_at": "0001-01-01T00:00:00Z", "certificate": null, "key": "",
        "intermediate_certificate": "", "dns_provider_uuid": null,
    }});
    let after = put(&server, &path, &body);
    assert_eq!(without_time(&after), without_time(&before));
}

#[test]
fn a_patch_changes_what_it_names_and_the_time() {
    // 16
    let server = Server::start();
    let list = stack(&server, "shop");
    let made = post(
        &server,
        &list,
        &manual(&Authority::new().issue(&["a.example"], 90), ""),
    );
    let path = path_of(&list, &made);
    let mut before = get(&server, &path);
    server.advance(Duration::from_secs(5));
    let body = r#"{"ssl_certificate":{"ssl_termination":false}}"#;
    let after = response_of(&send(&server, "PATCH", &path, body));
    assert_ne!(after["updated_at"], before["updated_at"]);
    before["ssl_termination"] = json!(false);
    assert_eq!(without_time(&after), without_time(&before));
    let body = r#"{"ssl_termination":"haproxy"}"#;
    let again = response_of(&send(&server, "PATCH", &path, body));
    assert_eq!(again["ssl_termination"], true);
}

#[test]
fn an_uploaded_certificate_becomes_one_that_is_obtained_and_back() {
    // 15
    let server = start();
    let list = stack(&server, "shop");
    let authority = Authority::new();
    let made = post(
        &server,
        &list,
        &manual(&authority.issue(&["a.example"], 90), ""),
    );
    let path = path_of(&list, &made);
    let uploaded = get(&server, &path);
    let body = json!({"ssl_certificate": {"type": "lets_encrypt"}});
    let changed = put(&server, &path, &body);
    assert_eq!(changed["type"], "lets_encrypt");
    assert_eq!(changed["status"], 1);
    for key in ["uuid", "name", "server_names", "created_at"] {
        assert_eq!(changed[key], uploaded[key], "{key}");
    }
    let obtained = with_status(&server, &path, 3);
    assert_ne!(
        obtained["sha256_fingerprint"],
        uploaded["sha256_fingerprint"]
    );
    assert_eq!(obtained["ca_name"], "Let's Encrypt");

    let half = json!({"type": "manual", "certificate": authority.issue(&["a.example"], 9).chain});
    let details = assert_error(
        &send(&server, "PUT", &path, half.to_string()),
        400,
        "bad_request",
    );
    assert!(details.starts_with("key"), "{details}");
    let pair = authority.issue(&["b.example"], 90);
    let back = put(&server, &path, &manual(&pair, ""));
    assert_eq!(
        (&back["type"], &back["ca_name"]),
        (&json!("manual"), &Value::Null)
    );
    assert_eq!(
        (&back["uuid"], &back["name"]),
        (&uploaded["uuid"], &uploaded["name"])
    );
    assert_eq!(back["server_names"], "b.example");
    assert_eq!(domains(&server, &list), ["b.example"]);
}

#[test]
fn changing_nothing_about_an_obtained_certificate_renews_it() {
    // 17
    let server = start();
    let list = stack(&server, "shop");
    let made = post(&server, &list, &lets_encrypt("a.example"));
    let path = path_of(&list, &made);
    let before = with_status(&server, &path, 3);
    server.advance(Duration::from_secs(60));
    let renewing = put(&server, &path, &json!({}));
    assert_eq!(renewing["status"], 1);
    let after = with_status(&server, &path, 3);
    assert_ne!(after["sha256_fingerprint"], before["sha256_fingerprint"]);
    assert_ne!(after["expires_at"], before["expires_at"]);
    assert_eq!(after["uuid"], before["uuid"]);
}

#[test]
fn a_pair_for_an_obtained_certificate_comes_with_its_type() {
    let server = start();
    let list = stack(&server, "shop");
    let made = post(&server, &list, &lets_encrypt("a.example"));
    let path = path_of(&list, &made);
    let pair = Authority::new().issue(&["a.example"], 90);
    let body = json!({"certificate": pair.chain, "key": pair.key}).to_string();
    let details = assert_error(&send(&server, "PUT", &path, &body), 400, "bad_request");
    assert!(details.starts_with("type"), "{details}");
    assert_eq!(get(&server, &path)["type"], "lets_encrypt");
}

#[test]
fn an_obtained_certificate_is_obtained_for_other_names() {
    let server = start();
    let list = stack(&server, "shop");
    let made = post(&server, &list, &lets_encrypt("a.example,b.example"));
    let path = path_of(&list, &made);
    let before = with_status(&server, &path, 3);
    let body = json!({"ssl_certificate": {"server_names": "c.example,a.example"}});
    assert_eq!(put(&server, &path, &body)["status"], 1);
    let after = with_status(&server, &path, 3);
    assert_eq!(after["server_names"], "c.example,a.example");
    assert_ne!(after["sha256_fingerprint"], before["sha256_fingerprint"]);
    let mut served = domains(&server, &list);
    served.sort_unstable();
    assert_eq!(served, ["a.example", "c.example"]);
    // What it left is free for others.
    let other = stack(&server, "other");
    post(&server, &other, &lets_encrypt("b.example"));
}

#[test]
fn a_new_certificate_may_come_without_its_key_if_it_has_the_stored_one() {
    let server = Server::start();
    let list = stack(&server, "shop");
    let authority = Authority::new();
    let pair = authority.issue(&["a.example"], 90);
    let made = post(&server, &list, &manual(&pair, ""));
    let path = path_of(&list, &made);
    let again = put(&server, &path, &json!({"certificate": pair.chain}));
    assert_eq!(again["sha256_fingerprint"], made["sha256_fingerprint"]);
    let foreign = authority.issue(&["a.example"], 90);
    let body = json!({"certificate": foreign.chain}).to_string();
    let details = assert_error(&send(&server, "PUT", &path, body), 400, "bad_request");
    assert!(details.starts_with("key"), "{details}");
    // A certificate of its own key for other names keeps the names until they are left empty.
    let other = authority.issue(&["b.example"], 90);
    let body = json!({"certificate": other.chain, "key": other.key});
    let answer = send(&server, "PUT", &path, body.to_string());
    assert_eq!(response_of(&answer)["server_names"], "a.example");
    assert!(
        answer
            .header("x-cloud66-warning")
            .unwrap()
            .contains("a.example")
    );
    let body = json!({"certificate": other.chain, "key": other.key, "server_names": ""});
    assert_eq!(put(&server, &path, &body)["server_names"], "b.example");
    assert_eq!(domains(&server, &list), ["b.example"]);
}

#[test]
fn a_change_must_leave_room_for_the_others() {
    let server = start();
    let list = stack(&server, "shop");
    let authority = Authority::new();
    let first = post(
        &server,
        &list,
        &manual(&authority.issue(&["a.example"], 90), ""),
    );
    post(
        &server,
        &list,
        &manual(&authority.issue(&["b.example"], 90), ""),
    );
    let path = path_of(&list, &first);
    for body in [
        json!({"type": "lets_encrypt"}),
        json!({"server_names": "a.example,B.example"}),
        manual(&authority.issue(&["b.example"], 90), ""),
    ] {
        let answer = send(&server, "PUT", &path, body.to_string());
        assert_error(&answer, 409, "conflict");
    }
    assert_eq!(without_time(&get(&server, &path))["type"], "manual");
    assert_eq!(uuids(&server, &list).len(), 2);
}

#[test]
fn a_new_certificate_keeps_the_intermediates_that_it_was_issued_under() {
    let server = Server::start();
    let list = stack(&server, "shop");
    let authority = Authority::new().below();
    let above = std::fs::read_to_string(authority.root()).unwrap();
    let mut body = manual(&authority.issue(&["a.example"], 90), "");
    body["ssl_certificate"]["intermediate_certificate"] = json!(above);
    let made = post(&server, &list, &body);
    assert_eq!(made["has_intermediate_cert"], true);
    let path = path_of(&list, &made);
    for nothing in [json!(""), Value::Null] {
        let mut body = manual(&authority.issue(&["a.example"], 90), "");
        body["ssl_certificate"]["intermediate_certificate"] = nothing;
        let changed = put(&server, &path, &body);
        assert_eq!(changed["has_intermediate_cert"], true);
        assert_ne!(changed["sha256_fingerprint"], made["sha256_fingerprint"]);
    }
    let elsewhere = Authority::new().issue(&["a.example"], 90);
    let changed = put(&server, &path, &manual(&elsewhere, ""));
    assert_eq!(changed["has_intermediate_cert"], false);
}

#[test]
fn what_the_house_requested_by_itself_stands_in_nobodys_way() {
    let server = start();
    let headers = [("Authorization", format!("Bearer {}", server.token))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let service = json!({
        "name": "shop",
        "services": [{"port": 443, "destination_port": 8080, "handlers": ["tls", "http"]}],
        "domains": [{"name": "a.example."}, {"name": "b.example."}],
    });
    let made = server
        .send("POST", "/v1/services", &headers, service.to_string())
        .json();
    let uid = made["data"]["service_groups"][0]["uuid"]
        .as_str()
        .unwrap()
        .replace('-', "");
    let list = format!("/stacks/{uid}/ssl_certificates");
    for requested in uuids(&server, &list) {
        let requested = with_status(&server, &format!("{list}/{requested}"), 3);
        assert_eq!(requested["type"], "lets_encrypt");
    }
    let pair = Authority::new().issue(&["a.example"], 90);
    let installed = post(&server, &list, &manual(&pair, ""));
    // The other domain's is there, too; it neither keeps this one from changes nor the other way round.
    let listed = get(&server, &list);
    let kinds: Vec<_> = listed.as_array().unwrap().iter().collect();
    let other = kinds.iter().find(|one| one["type"] == "lets_encrypt");
    let other = path_of(&list, other.unwrap());
    let path = path_of(&list, &installed);
    assert_eq!(put(&server, &path, &json!({}))["status"], 3);
    assert_eq!(put(&server, &path, &manual(&pair, ""))["status"], 3);
    assert_eq!(put(&server, &other, &json!({}))["status"], 1);
    with_status(&server, &other, 3);
    // Of another kind than what is installed, it cannot become wider.
    let body = json!({"server_names": "b.example,A.example"}).to_string();
    assert_error(&send(&server, "PUT", &other, body), 409, "conflict");
}

#[test]
fn what_another_door_attached_is_shown_and_can_be_changed_and_removed() {
    let server = start();
    let headers = [("Authorization", format!("Bearer {}", server.token))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let pair = Authority::new().issue(&["a.example"], 90);
    let upload = json!({"name": "mine", "chain": pair.chain, "pkey": pair.key, "cn": "a.example"});
    let uploaded = server.send("POST", "/v1/certificates", &headers, upload.to_string());
    assert_eq!(uploaded.status, 200, "{}", uploaded.text());
    let service = json!({
        "name": "shop",
        "services": [{"port": 443, "destination_port": 8080, "handlers": ["tls", "http"]}],
        "domains": [{"name": "a.example.", "certificate": {"name": "mine"}}],
    });
    let made = server
        .send("POST", "/v1/services", &headers, service.to_string())
        .json();
    let uid = made["data"]["service_groups"][0]["uuid"]
        .as_str()
        .unwrap()
        .replace('-', "");
    let list = format!("/stacks/{uid}/ssl_certificates");
    let listed = get(&server, &list);
    let shown = &listed[0];
    assert_eq!(listed.as_array().unwrap().len(), 1);
    for (key, value) in [
        ("name", json!("mine")),
        ("server_names", json!("a.example")),
        ("type", json!("manual")),
        ("status", json!(3)),
        ("ssl_termination", json!(true)),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    let path = path_of(&list, shown);
    let changed = put(&server, &path, &json!({"ssl_termination": false}));
    assert_eq!(changed["ssl_termination"], false);
    assert_eq!(get(&server, &path)["ssl_termination"], false);
    assert_eq!(changed["created_at"], shown["created_at"]);
    // The domain was not added for the certificate's sake, so it stays and gets another.
    response_of(&send(&server, "DELETE", &path, ""));
    assert_eq!(domains(&server, &list), ["a.example"]);
    let listed = get(&server, &list);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["type"], "lets_encrypt");
    assert_ne!(listed[0]["uuid"], shown["uuid"]);
}

#[test]
fn a_certificate_that_another_stack_is_served_with_stays() {
    let server = Server::start();
    let list = stack(&server, "shop");
    let authority = Authority::new();
    let pair = authority.issue(&["a.example", "b.example"], 90);
    let made = post(&server, &list, &manual(&pair, "a.example"));
    let headers = [("Authorization", format!("Bearer {}", server.token))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let service = json!({
        "name": "blog",
        "services": [{"port": 443, "destination_port": 8080, "handlers": ["tls", "http"]}],
        "domains": [{"name": "b.example."}],
    });
    let other = server.send("POST", "/v1/services", &headers, service.to_string());
    assert_eq!(other.status, 200, "{}", other.text());
    let path = path_of(&list, &made);
    let details = assert_error(&send(&server, "DELETE", &path, ""), 409, "conflict");
    assert!(details.contains("blog"), "{details}");
    // Nor does it become one that the other stack could not be served with.
    for body in [
        manual(&authority.issue(&["a.example"], 90), ""),
        json!({"type": "lets_encrypt"}),
    ] {
        let answer = send(&server, "PUT", &path, body.to_string());
        let details = assert_error(&answer, 409, "conflict");
        assert!(details.contains("blog"), "{details}");
    }
    let shown = get(&server, &path);
    assert_eq!(shown["sha256_fingerprint"], made["sha256_fingerprint"]);
    assert_eq!(shown["type"], "manual");
    let wider = authority.issue(&["*.example", "a.example"], 90);
    assert_eq!(
        put(&server, &path, &manual(&wider, "a.example"))["status"],
        3
    );
    assert_eq!(get(&server, &path)["status"], 3);
    assert_eq!(domains(&server, &list), ["a.example"]);
}

#[test]
fn a_domain_that_another_installed_certificate_covers_stays() {
    let server = Server::start();
    let list = stack(&server, "shop");
    let authority = Authority::new();
    let narrow = post(
        &server,
        &list,
        &manual(&authority.issue(&["a.shop.example"], 90), ""),
    );
    let wide = authority.issue(&["*.shop.example"], 90);
    let wide = post(&server, &list, &manual(&wide, ""));
    response_of(&send(&server, "DELETE", &path_of(&list, &narrow), ""));
    let mut served = domains(&server, &list);
    served.sort_unstable();
    assert_eq!(served, ["*.shop.example", "a.shop.example"]);
    assert_eq!(uuids(&server, &list), [wide["uuid"].as_str().unwrap()]);
}

#[test]
fn what_cannot_be_obtained_fails_and_says_why() {
    // The policy came after the request, so it is the attempt that it stops.
    let server = Server::with(|options| {
        options.house.installations.patience = Duration::ZERO;
    });
    let list = stack(&server, "shop");
    let made = post(&server, &list, &lets_encrypt("a.example"));
    let headers = [("Authorization", format!("Bearer {}", server.token))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let policy = json!({"names": ["other.example"]}).to_string();
    let set = server.send(
        "PUT",
        "/chancery/v1/accounts/admin/policy",
        &headers,
        policy,
    );
    assert!(set.status < 300, "{}", set.text());
    let path = path_of(&list, &made);
    let mut last = Value::Null;
    for _ in 0..40 {
        server.run(server.house.obtain_due_now()).unwrap();
        last = get(&server, &path);
        if last["status"] == 2 {
            break;
        }
        server.advance(Duration::from_secs(86_400));
    }
    assert_eq!(last["status"], 2, "{last}");
    let answer = send(&server, "GET", &path, "");
    let warning = answer.header("x-cloud66-warning").unwrap_or_default();
    assert!(warning.contains("given up"), "{warning}");
    let model = get(&server, &format!("{path}?representation=model"));
    assert_eq!(model["status"], "failed");
    assert_eq!(model["sha256_fingerprint"], Value::Null);
}
