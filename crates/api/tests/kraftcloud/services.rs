//! POST, GET and DELETE /v1/services.

use lifecycle::NewServiceRequest;
use tokio::task::JoinSet;

use super::*;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("s{number}")).collect()
}

/// Makes services with these names; returns their UUIDs.
fn serve_each(server: &Server, names: &[&str]) -> Vec<String> {
    let each = names.iter().map(|name| {
        let body = json!({"name": name, "services": [], "domains": [{"name": format!("{name}.example.")}]});
        text(serve(server, &body).item(), "uuid").to_owned()
    });
    each.collect()
}

#[test]
fn a_new_service_is_answered_in_full() {
    let server = Server::start();
    let body = json!({
        "name": "shop",
        "services": [
            {"port": 443, "destination_port": 8080, "handlers": ["tls", "http"]},
            {"port": 80, "destination_port": 443, "handlers": ["http", "redirect"], "ip": "1.2.3.4"},
        ],
        "domains": [{"name": "shop.example."}, {"name": "www.shop.example."}],
        "soft_limit": 5,
        "hard_limit": 10,
        "autokill": {"time_ms": 1500},
        "unknown": {"members": ["mean", "nothing"]},
    });
    let created = serve(&server, &body);
    assert_eq!((created.http, created.key()), (200, "service_groups"));
    let item = created.item();
    assert_eq!(item["name"], "shop");
    assert_eq!(
        (item["persistent"].as_bool(), item["autoscale"].as_bool()),
        (Some(true), Some(false))
    );
    assert_eq!(
        (&item["soft_limit"], &item["hard_limit"]),
        (&json!(5), &json!(10))
    );
    assert_eq!(item["autokill"], json!({"time_ms": 1500}));
    assert_eq!(item["instances"], json!([]));
    assert_eq!(item["fqdn"], "shop.example");
    let ports = json!([
        {"port": 443, "destination_port": 8080, "protocol": "tcp", "handlers": ["tls", "http"]},
        {"port": 80, "destination_port": 443, "protocol": "tcp", "handlers": ["http", "redirect"]},
    ]);
    assert_eq!(item["services"], ports);
    let fqdns: Vec<&str> = item["domains"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| text(one, "fqdn"))
        .collect();
    assert_eq!(fqdns, ["shop.example", "www.shop.example"]);
    let created_at = text(item, "created_at");
    assert_eq!(
        (created_at.len(), &created_at[10..11], &created_at[19..]),
        (20, "T", "Z")
    );
    let path = format!("{SERVICES}/{}", text(item, "uuid").to_uppercase());
    assert_eq!(get(&server, &path).item()["services"], ports);
}

#[test]
fn what_is_left_out_has_its_usual_value() {
    let server = Server::start();
    let item = serve(&server, &domains(&["a.example."])).item().clone();
    assert_eq!(
        (&item["soft_limit"], &item["hard_limit"]),
        (&json!(1), &json!(65535))
    );
    assert!(item.get("autokill").is_none(), "{item}");
    let name = text(&item, "name");
    let mut words = name.rsplitn(2, '-');
    assert!(is_chosen(words.next().unwrap(), "", 8), "{name}");
    assert_eq!(words.next().unwrap().split('-').count(), 2, "{name}");

    let disabled =
        json!({"services": [], "autokill": {"time_ms": 0}, "domains": [{"name": "b.example."}]});
    assert!(serve(&server, &disabled).item().get("autokill").is_none());
}

#[test]
fn missing_handlers_are_those_that_the_port_needs() {
    let server = Server::start();
    let body = json!({
        "domains": [{"name": "a.example."}],
        "services": [
            {"port": 80}, {"port": 443, "handlers": []}, {"port": 8443, "handlers": null},
            {"port": 53, "protocol": "udp"},
        ],
    });
    let created = serve(&server, &body);
    let shown: Vec<_> = created.item()["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| {
            (
                port["port"].as_u64().unwrap(),
                port["destination_port"].as_u64().unwrap(),
                port["handlers"].clone(),
            )
        })
        .collect();
    let expected = [
        (80, 80, json!(["http"])),
        (443, 443, json!(["tls", "http"])),
        (8443, 8443, json!(["tls"])),
        (53, 53, json!([])),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn what_breaks_the_rules_of_ports_and_limits_is_refused_as_a_whole() {
    let server = Server::start();
    let ports = [
        json!({"port": 0}),
        json!({"port": 65536}),
        json!({"port": -1}),
        json!({"port": 443, "destination_port": 0}),
        json!({"port": 80, "handlers": ["tls", "http"]}),
        json!({"port": 80, "handlers": ["tls"]}),
        json!({"port": 443, "handlers": ["tls"]}),
        json!({"port": 443, "handlers": ["http"]}),
        json!({"port": 443, "handlers": ["tls", "http", "redirect"]}),
        json!({"port": 8080, "handlers": ["http"]}),
        json!({"port": 8080, "handlers": ["tls", "http"]}),
        json!({"port": 8080, "handlers": ["redirect"]}),
        json!({"port": 80, "destination_port": 8080, "handlers": ["http", "redirect"]}),
        json!({"port": 443, "handlers": ["ssl"]}),
        json!({"port": 443, "protocol": "sctp"}),
    ];
    for port in ports {
        let body = json!({"services": [port], "domains": [{"name": "a.example."}]});
        serve(&server, &body).refused(400, Some(7));
    }
    let twice = json!({"services": [{"port": 443}, {"port": 443}]});
    serve(&server, &twice).refused(400, Some(7));
    for (member, value) in [
        ("soft_limit", json!(0)),
        ("soft_limit", json!(65536)),
        ("soft_limit", json!(-5)),
        ("hard_limit", json!(0)),
        ("hard_limit", json!(65536)),
        ("autokill", json!({"time_ms": -1})),
        ("autokill", json!({"time_ms": i64::MAX})),
    ] {
        let mut body = domains(&["a.example."]);
        body[member] = value;
        serve(&server, &body).refused(400, Some(7));
    }
    let mut body = domains(&["a.example."]);
    body["soft_limit"] = json!(8);
    body["hard_limit"] = json!(7);
    serve(&server, &body).refused(400, Some(7));
    assert_eq!(get(&server, SERVICES).items().len(), 0);
}

#[test]
fn missing_members_and_wrong_types_are_refused_by_name() {
    let server = Server::start();
    for (body, member) in [
        (json!({}), "services"),
        (json!({"services": null}), "services"),
        (json!({"services": {}}), "services"),
        (json!({"services": [{}]}), "port"),
        (json!({"services": [{"port": "443"}]}), "port"),
        (json!({"services": [{"port": 443.5}]}), "port"),
        (
            json!({"services": [{"port": 443, "destination_port": "8080"}]}),
            "destination_port",
        ),
        (
            json!({"services": [{"port": 443, "handlers": "tls"}]}),
            "handlers",
        ),
        (
            json!({"services": [{"port": 443, "handlers": [1]}]}),
            "handlers",
        ),
        (
            json!({"services": [{"port": 443, "protocol": 6}]}),
            "protocol",
        ),
        (json!({"services": [], "domains": "a.example."}), "domains"),
        (
            json!({"services": [], "domains": ["a.example."]}),
            "domains",
        ),
        (json!({"services": [], "domains": [{}]}), "name"),
        (json!({"services": [], "domains": [{"name": ""}]}), "name"),
        (json!({"services": [], "domains": [{"name": 1}]}), "name"),
        (
            json!({"services": [], "domains": [{"name": "a.example.", "certificate": "c1"}]}),
            "certificate",
        ),
        (
            json!({"services": [], "domains": [{"name": "a.example.", "certificate": {"name": 1}}]}),
            "name",
        ),
        (json!({"services": [], "name": 1}), "name"),
        (json!({"services": [], "soft_limit": "1"}), "soft_limit"),
        (json!({"services": [], "hard_limit": [1]}), "hard_limit"),
        (json!({"services": [], "autokill": 1}), "autokill"),
        (json!({"services": [], "dns_name": {}}), "dns_name"),
    ] {
        let refused = serve(&server, &body);
        let message = refused.refused(400, Some(16));
        assert!(
            message.contains(&format!("'{member}'")),
            "{body}: {message}"
        );
    }
    for name in ["a/b", "list", " a", "0190163d-8694-739b-aea5-966c26f8ad91"] {
        serve(&server, &json!({"services": [], "name": name})).refused(400, Some(7));
    }
    serve(&server, &json!({"services": [], "name": "x".repeat(256)})).refused(400, Some(22));
}

#[test]
fn a_single_label_is_a_subdomain_of_the_metro_domain() {
    let server = Server::start();
    // 29
    for (given, fqdn) in [
        ("my-project", "my-project.metro.internal"),
        ("Other-Project.", "other-project.metro.internal"),
        ("third.metro.internal.", "third.metro.internal"),
    ] {
        let created = serve(&server, &domains(&[given]));
        let domain = &created.item()["domains"][0];
        assert_eq!(domain, &json!({ "fqdn": fqdn }), "{given}");
        assert_eq!(created.item()["fqdn"], fqdn);
    }
    let shown = get(&server, SERVICES);
    assert!(
        shown
            .items()
            .iter()
            .all(|item| item["domains"][0].get("certificate").is_none())
    );
    assert_eq!(get(&server, CERTIFICATES).items().len(), 0);
}

#[test]
fn without_a_domain_a_subdomain_is_chosen() {
    let server = Server::start();
    let named = serve(&server, &json!({"name": "shop", "services": []}));
    let fqdn = text(named.item(), "fqdn");
    let label = fqdn.strip_suffix(".metro.internal").unwrap();
    assert!(is_chosen(label, "shop-", 8), "{fqdn}");

    let unnamed = serve(&server, &json!({"services": [], "domains": []}));
    let fqdn = text(unnamed.item(), "fqdn");
    let label = fqdn.strip_suffix(".metro.internal").unwrap();
    let (words, suffix) = label.rsplit_once('-').unwrap();
    assert!(
        is_chosen(suffix, "", 8) && words.split('-').count() == 2,
        "{fqdn}"
    );
}

#[test]
fn a_final_dot_or_two_make_a_name_absolute() {
    let server = Server::start();
    for (given, fqdn) in [
        ("example.com.", "example.com"),
        ("Www.Example.COM..", "www.example.com"),
    ] {
        let created = serve(&server, &domains(&[given]));
        assert_eq!(created.item()["fqdn"], fqdn);
    }
    for bad in [
        "a.b",
        "a..b.",
        ".",
        "-a.example.",
        "a_b.example.",
        "10.0.0.1.",
        "a.*.example.",
        "exämple.org.",
        "a.b.metro.internal.",
        "a/b.example.",
        "a\u{0}.example.",
    ] {
        serve(&server, &domains(&[bad])).refused(400, Some(7));
    }
    serve(&server, &domains(&["twice.example.", "TWICE.example.."])).refused(400, Some(7));
}

#[test]
fn the_domain_of_the_oldest_clients_counts_as_one() {
    let server = Server::start();
    let body = json!({"services": [{"port": 443}], "dns_name": "old.example."});
    let created = serve(&server, &body);
    assert_eq!(created.item()["fqdn"], "old.example");
    let both = json!({"services": [], "dns_name": "older.example.", "domains": [{"name": "new.example."}]});
    let created = serve(&server, &both);
    assert_eq!(created.item()["domains"].as_array().unwrap().len(), 2);
}

#[test]
fn a_domain_belongs_to_one_service_of_all_accounts() {
    let server = Server::start();
    serve(&server, &domains(&["taken.example."])).item();
    let again = domains(&["free.example.", "Taken.example."]);
    serve(&server, &again).failed(200, 23, 409);
    let other = server.account("other");
    let body = domains(&["taken.example."]).to_string();
    send_as(&server, &other, "POST", SERVICES, body).failed(200, 23, 409);
    assert_eq!(get(&server, SERVICES).items().len(), 1);
    // What failed has taken nothing.
    let body = domains(&["free.example."]).to_string();
    send_as(&server, &other, "POST", SERVICES, body).item();
    for reserved in ["www", "api.", "www.metro.internal."] {
        serve(&server, &domains(&[reserved])).failed(200, 24, 403);
    }
}

#[test]
fn names_are_unique_in_an_account() {
    let server = Server::start();
    serve(&server, &json!({"name": "s1", "services": []})).item();
    let again = serve(&server, &json!({"name": "s1", "services": []}));
    assert_eq!(again.failed(200, 23, 409)["name"], "s1");
    let other = server.account("other");
    let body = json!({"name": "s1", "services": []}).to_string();
    send_as(&server, &other, "POST", SERVICES, body).item();
}

#[test]
fn several_services_are_made_in_order_after_all_were_checked() {
    let server = Server::start();
    let many: Vec<Value> = names(17)
        .iter()
        .map(|name| json!({"name": name, "services": []}))
        .collect();
    serve(&server, &json!(many)).refused(400, Some(5));
    serve(&server, &json!([])).refused(400, Some(16));
    let bad = json!([{"name": "good", "services": []}, {"services": [{"port": 0}]}]);
    serve(&server, &bad).refused(400, Some(7));
    assert_eq!(get(&server, SERVICES).items().len(), 0);

    let mut objects = many[..4].to_vec();
    objects[2]["name"] = json!("s1");
    let made = serve(&server, &json!(objects));
    made.expect("partial_success");
    assert_eq!(made.codes(), [0, 0, 23, 0]);
    assert_eq!(made.names(), ["s0", "s1", "s1", "s3"]);
}

#[test]
fn services_are_named_in_all_the_ways_that_certificates_are() {
    let server = Server::start();
    let uuids = serve_each(&server, &["s1", "s2"]);
    for path in [
        format!("{SERVICES}/{}", uuids[0]),
        format!("{SERVICES}/{}/", uuids[0].to_uppercase()),
        format!("{SERVICES}/s1"),
        format!("/v1/v1/services/s1?uuid={}", uuids[0]),
        format!("{SERVICES}?name=s1"),
        format!("{SERVICES}?uuid={}&count=1", uuids[0]),
    ] {
        assert_eq!(
            get(&server, &path).item()["uuid"],
            uuids[0].as_str(),
            "{path}"
        );
    }
    assert_eq!(
        get(&server, "/v1/services?name=s2,s1").names(),
        ["s2", "s1"]
    );
    let body = json!([{"uuid": "", "name": "s2"}, {"uuid": uuids[0].to_uppercase(), "name": "", "metro": "fra0"}]);
    assert_eq!(
        send(&server, "GET", SERVICES, body.to_string()).names(),
        ["s2", "s1"]
    );
    let found = send(
        &server,
        "GET",
        SERVICES,
        r#"[{"name":"nope"},{"name":"s1"}]"#,
    );
    found.expect("partial_success");
    assert_eq!(found.codes(), [8, 0]);
    assert_eq!(
        found.items()[0]["message"],
        "No service group with name 'nope'"
    );
    for everything in ["", "[]", "{}", "null", r#"{"unknown":1}"#] {
        assert_eq!(
            send(&server, "GET", SERVICES, everything).names(),
            ["s1", "s2"],
            "{everything}"
        );
    }
    // 15
    let refused = get(&server, "/v1/services?uuid=nonsense");
    assert_eq!(refused.refused(400, Some(7)), "Invalid uuid 'nonsense'");
    let both = json!([{"uuid": uuids[0], "name": "s1"}]).to_string();
    send(&server, "GET", SERVICES, both).refused(400, Some(17));
    send(&server, "GET", SERVICES, "[{}]").refused(400, Some(13));
    let other = json!({"name": "s2"}).to_string();
    send(&server, "GET", "/v1/services/s1", other).refused(400, Some(17));
}

#[test]
fn a_service_that_the_path_names_in_vain_is_not_found() {
    let server = Server::start();
    let random = "0190163d-8694-439b-aea5-966c26f8ad91";
    for method in ["GET", "DELETE"] {
        let missing = send(&server, method, &format!("{SERVICES}/{random}"), "");
        let item = missing.failed(404, 8, 404);
        assert_eq!(item["uuid"], random);
        assert_eq!(
            item["message"],
            format!("No service group with uuid '{random}'")
        );
        send(&server, method, "/v1/services/nope", "").failed(404, 8, 404);
        send(&server, method, "/v1/services?name=nope", "").failed(200, 8, 404);
    }
}

#[test]
fn the_short_list_tells_names_and_details_can_be_asked_for() {
    let server = Server::start();
    let uuids = serve_each(&server, &["s1", "s2", "s3"]);
    // 16
    for path in [
        "/v1/services/list",
        "/v1/services?details=false",
        "/v1/services/list?details=0",
    ] {
        let listed = get(&server, path);
        assert_eq!(listed.key(), "service_groups");
        assert_eq!(listed.names(), ["s1", "s2", "s3"]);
        for item in listed.items() {
            let members: Vec<_> = item.as_object().unwrap().keys().collect();
            assert_eq!(members, ["name", "status", "uuid"], "{path}");
        }
    }
    for path in ["/v1/services", "/v1/services/list?details=true"] {
        let full = get(&server, path);
        assert!(
            full.items().iter().all(|item| item["fqdn"].is_string()),
            "{path}"
        );
    }
    let page = get(&server, &format!("/v1/services?count=2&from={}", uuids[1]));
    assert_eq!(page.names(), ["s2", "s3"]);
    let backwards = get(
        &server,
        &format!("/v1/services?order=desc&count=2&from={}", uuids[1]),
    );
    assert_eq!(backwards.names(), ["s2", "s1"]);
    assert_eq!(
        get(&server, &format!("/v1/services?from={}", uuids[1])).names(),
        ["s2"]
    );
    let unknown = "0190163d-8694-439b-aea5-966c26f8ad91";
    assert_eq!(
        get(&server, &format!("/v1/services?from={unknown}"))
            .items()
            .len(),
        0
    );
    get(&server, "/v1/services?count=x").refused(400, Some(7));
}

#[test]
fn a_long_list_of_services_comes_page_by_page() {
    let server = Server::start();
    let principal = server.administrator();
    let wanted = names(1_100);
    server.run(async {
        let mut making = JoinSet::new();
        for name in wanted.clone() {
            let (services, principal) = (server.house.services.clone(), principal.clone());
            let request = NewServiceRequest {
                name: Some(name),
                ..NewServiceRequest::default()
            };
            making.spawn(async move { services.create(&principal, request).await });
        }
        for made in making.join_all().await {
            made.unwrap();
        }
    });
    for path in ["/v1/services", "/v1/services/list"] {
        let all = get(&server, path);
        all.expect("success");
        let mut found = all.names();
        found.sort_unstable();
        let mut wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{path}");
    }
}

#[test]
fn a_deleted_service_frees_its_name_and_its_domains() {
    let server = Server::start();
    let uuid = serve_each(&server, &["s1", "s2"]).remove(0);
    let deleted = send(
        &server,
        "DELETE",
        SERVICES,
        r#"[{"name":"s1"},{"name":"nope"},{"name":"s2"}]"#,
    );
    deleted.expect("partial_success");
    assert_eq!(deleted.codes(), [0, 8, 0]);
    assert_eq!(
        deleted.items()[0],
        json!({"status": "success", "uuid": uuid, "name": "s1"})
    );
    assert_eq!(get(&server, SERVICES).items().len(), 0);
    serve_each(&server, &["s1"]);
    send(&server, "DELETE", "/v1/services/s1", "").item();
    for body in ["", "[]", "{}", "null", "[{}]", r#"{"unknown":1}"#] {
        send(&server, "DELETE", SERVICES, body).refused(400, Some(13));
    }
}

#[test]
fn services_of_other_accounts_do_not_exist() {
    let server = Server::start();
    let uuid = serve_each(&server, &["s1"]).remove(0);
    let other = server.account("other");
    let path = format!("{SERVICES}/{uuid}");
    let operation = json!({"prop": "soft_limit", "op": "set", "value": 2}).to_string();
    for (method, body) in [("GET", ""), ("DELETE", ""), ("PATCH", &operation)] {
        send_as(&server, &other, method, &path, body).failed(404, 8, 404);
    }
    assert_eq!(
        send_as(&server, &other, "GET", SERVICES, "").items().len(),
        0
    );
    get(&server, &path).item();
}
