//! Certificates of domains: chosen, given, requested, and shown on both sides.

use super::*;

fn with_certificate(name: &str, certificate: &Value) -> Value {
    json!({
        "services": [{"port": 443, "handlers": ["tls", "http"]}],
        "domains": [{"name": name, "certificate": certificate}],
    })
}

#[track_caller]
fn certificate_of(service: &Value) -> &Value {
    &service["domains"][0]["certificate"]
}

#[test]
fn a_given_certificate_is_attached_until_the_domain_goes() {
    let server = Server::start();
    let uuid = upload_each(&server, &["c1"]).remove(0);
    assert_eq!(
        get(&server, "/v1/certificates/c1").item()["service_groups"],
        json!([])
    );
    // 22
    let body = with_certificate("example.com.", &json!({"uuid": "", "name": "c1"}));
    let service = serve(&server, &body);
    let service = service.item();
    assert_eq!(
        certificate_of(service),
        &json!({"uuid": uuid, "name": "c1", "state": "valid"})
    );
    let group = json!([{"uuid": service["uuid"], "name": service["name"]}]);
    for path in [
        "/v1/certificates/c1",
        CERTIFICATES,
        "/v1/certificates/list?details=1",
    ] {
        assert_eq!(get(&server, path).item()["service_groups"], group, "{path}");
    }
    // 23
    let refused = send(&server, "DELETE", CERTIFICATES, r#"[{"name":"c1"}]"#);
    let item = refused.failed(200, 15, 409);
    assert_eq!(
        item["message"],
        "Certificate 'c1' is attached to a service group"
    );
    get(&server, "/v1/certificates/c1").item();
    let pair = Pair::new("example.com", &[]);
    let update = pair.replacing(json!({"name": "c1"})).to_string();
    let updated = send(&server, "PUT", CERTIFICATES, update);
    assert_eq!(updated.item()["service_groups"], group);
    // 24
    let operation =
        json!([{"uuid": service["uuid"], "prop": "domains", "op": "del", "value": "example.com"}]);
    send(&server, "PATCH", SERVICES, operation.to_string()).item();
    assert_eq!(
        get(&server, "/v1/certificates/c1").item()["service_groups"],
        json!([])
    );
    send(&server, "DELETE", CERTIFICATES, r#"[{"name":"c1"}]"#).item();
    send(&server, "GET", CERTIFICATES, r#"[{"name":"c1"}]"#).failed(200, 8, 404);
}

#[test]
fn a_page_of_certificates_tells_the_services_of_each() {
    let server = Server::start();
    upload_each(&server, &["c1", "c2", "c3"]);
    let mut expected = [Vec::new(), Vec::new(), Vec::new()];
    for (name, domain, certificate) in [("s1", "example.com.", 0), ("s2", "example.com.", 2)] {
        let reference = json!({"name": format!("c{}", certificate + 1)});
        let mut body = with_certificate(domain, &reference);
        body["name"] = json!(name);
        if name == "s2" {
            send(&server, "DELETE", "/v1/services/s1", "").item();
            expected[0].clear();
        }
        let service = serve(&server, &body);
        let service = service.item();
        expected[certificate].push(json!({"uuid": service["uuid"], "name": name}));
        let listed = get(&server, CERTIFICATES);
        let shown: Vec<Value> = listed
            .items()
            .iter()
            .map(|item| item["service_groups"].clone())
            .collect();
        let expected: Vec<Value> = expected.iter().map(|groups| json!(groups)).collect();
        assert_eq!(shown, expected);
    }
}

#[test]
fn a_given_certificate_must_exist_cover_the_name_and_be_usable() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    for missing in [
        json!({"name": "nope"}),
        json!({"uuid": "0190163d-8694-439b-aea5-966c26f8ad91"}),
    ] {
        let refused = serve(&server, &with_certificate("example.com.", &missing));
        let message = text(refused.failed(200, 8, 404), "message");
        let sent = missing
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .as_str()
            .unwrap();
        let way = missing.as_object().unwrap().keys().next().unwrap();
        assert_eq!(message, format!("No certificate with {way} '{sent}'"));
    }
    let c1 = json!({"name": "c1"});
    serve(&server, &with_certificate("other.example.", &c1)).failed(200, 30, 400);
    serve(&server, &with_certificate("my-project", &c1)).refused(400, Some(14));
    let id = "0190163d-8694-439b-aea5-966c26f8ad91";
    let both = json!({"uuid": id, "name": "c1"});
    serve(&server, &with_certificate("example.com.", &both)).refused(400, Some(17));
    let malformed = json!({"uuid": "c1"});
    let refused = serve(&server, &with_certificate("example.com.", &malformed));
    assert_eq!(refused.refused(400, Some(7)), "Invalid uuid 'c1'");

    server.advance(std::time::Duration::from_secs(31 * 24 * 60 * 60));
    serve(&server, &with_certificate("example.com.", &c1)).failed(200, 24, 403);
    assert_eq!(get(&server, SERVICES).items().len(), 0);

    let other = server.account("other");
    let body = with_certificate("example.com.", &c1).to_string();
    send_as(&server, &other, "POST", SERVICES, body).failed(200, 8, 404);
}

#[test]
fn an_empty_reference_to_a_certificate_counts_as_none() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    for (number, empty) in [
        Value::Null,
        json!({}),
        json!({"uuid": "", "name": ""}),
        json!({"uuid": null, "name": null, "metro": "fra0"}),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("d{number}.example.");
        let service = serve(&server, &with_certificate(&name, &empty));
        assert_eq!(
            certificate_of(service.item())["state"],
            "pending",
            "{empty}"
        );
    }
}

#[test]
fn an_own_certificate_that_covers_the_name_is_chosen() {
    let server = Server::start();
    let uuid = upload_each(&server, &["c1"]).remove(0);
    let wildcard = Pair::new("*.example.org", &["*.example.org"]);
    create(&server, &wildcard.upload("c2", "*.example.org")).item();
    let service = serve(&server, &domains(&["example.com."]));
    assert_eq!(certificate_of(service.item())["uuid"], uuid.as_str());
    let service = serve(&server, &domains(&["www.example.org."]));
    assert_eq!(certificate_of(service.item())["name"], "c2");
    assert_eq!(get(&server, CERTIFICATES).items().len(), 2);
}

#[test]
fn without_a_certificate_one_is_requested_and_kept() {
    let server = Server::start();
    // 26
    let service = serve(&server, &domains(&["new.example.org."]));
    let service = service.item();
    let shown = certificate_of(service);
    assert_eq!(shown["state"], "pending");
    assert!(
        is_chosen(text(shown, "name"), "new.example.org-", 5),
        "{shown}"
    );
    let path = format!("{CERTIFICATES}/{}", text(shown, "uuid"));
    let certificate = get(&server, &path);
    let certificate = certificate.item();
    assert_eq!(certificate["common_name"], "new.example.org");
    assert_eq!(certificate["validation"]["attempt"], 0);
    assert_eq!(text(&certificate["validation"], "next").len(), 20);
    assert!(certificate.get("serial_number").is_none());
    let group = json!([{"uuid": service["uuid"], "name": service["name"]}]);
    assert_eq!(certificate["service_groups"], group);

    send(&server, "DELETE", &path, "").failed(200, 15, 409);
    let service = format!("{SERVICES}/{}", text(service, "uuid"));
    send(&server, "DELETE", &service, "").item();
    let kept = get(&server, &path);
    assert_eq!(kept.item()["service_groups"], json!([]));
    // What is pending already is taken for the same name.
    let again = serve(&server, &domains(&["new.example.org."]));
    assert_eq!(certificate_of(again.item())["uuid"], kept.item()["uuid"]);
    let again = format!("{SERVICES}/{}", text(again.item(), "uuid"));
    send(&server, "DELETE", &again, "").item();
    send(&server, "DELETE", &path, "").item();
}

#[test]
fn a_pending_certificate_may_be_given() {
    let server = Server::start();
    let pending = create(&server, &json!({"name": "m1", "cn": "m.example"}));
    assert_eq!(pending.item()["state"], "pending");
    let service = serve(
        &server,
        &with_certificate("m.example.", &json!({"name": "m1"})),
    );
    assert_eq!(certificate_of(service.item())["name"], "m1");
}

#[test]
fn domains_that_are_added_later_are_chosen_for_as_well() {
    let server = Server::start();
    let uuid = upload_each(&server, &["c1"]).remove(0);
    serve(
        &server,
        &json!({"name": "s1", "services": [], "domains": [{"name": "first"}]}),
    )
    .item();
    let value = json!([
        {"name": "example.com."},
        {"name": "new.example.net.", "certificate": {"uuid": "", "name": ""}},
    ]);
    let operation = json!({"prop": "domains", "op": "add", "value": value});
    send(&server, "PATCH", "/v1/services/s1", operation.to_string()).item();
    let service = get(&server, "/v1/services/s1");
    let shown = service.item()["domains"].as_array().unwrap();
    assert!(shown[0].get("certificate").is_none());
    assert_eq!(shown[1]["certificate"]["uuid"], uuid.as_str());
    assert_eq!(shown[2]["certificate"]["state"], "pending");
}
