//! /v1/instances.

use std::net::TcpListener;

use super::*;

#[track_caller]
fn run(server: &Server, body: &Value) -> Answer {
    send(server, "POST", INSTANCES, body.to_string())
}

#[test]
fn a_new_instance_is_answered_in_full() {
    let server = Server::start();
    let group = serve(
        &server,
        &json!({"name": "s1", "services": [{"port": 443, "destination_port": 8080}], "domains": [{"name": "a.example."}]}),
    );
    let body = json!({
        "name": "i1",
        "image": "nginx:latest",
        "args": ["-c", "x"],
        "env": {"A": "b"},
        "memory_mb": 256,
        "autostart": true,
        "private_fqdn": "backend.internal",
        "service_group": {"uuid": "", "name": "s1"},
        "replicas": 0,
        "volumes": [{"name": "v"}],
        "features": ["scale-to-zero"],
    });
    let created = run(&server, &body);
    assert_eq!((created.http, created.key()), (200, "instances"));
    let item = created.item();
    assert_eq!(
        (text(item, "name"), text(item, "image")),
        ("i1", "nginx:latest")
    );
    assert_eq!(
        (&item["args"], &item["env"]),
        (&json!(["-c", "x"]), &json!({"A": "b"}))
    );
    assert_eq!(item["memory_mb"], 256);
    assert_eq!(item["state"], "stopped");
    assert_eq!(item["private_fqdn"], "backend.internal");
    assert_eq!(text(item, "created_at").len(), 20);
    let service = &item["service_group"];
    assert_eq!(
        (&service["uuid"], text(service, "name")),
        (&group.item()["uuid"], "s1")
    );
    let domain = &service["domains"][0];
    assert_eq!(domain["fqdn"], "a.example");
    assert_eq!(domain["certificate"]["state"], "pending");
    let listed = get(&server, "/v1/services/s1");
    let instances = json!([{"uuid": item["uuid"], "name": "i1"}]);
    assert_eq!(listed.item()["instances"], instances);
    let path = format!("{INSTANCES}/{}", text(item, "uuid"));
    assert_eq!(get(&server, &path).item(), item);
}

#[test]
fn an_instance_is_named_after_its_image() {
    let server = Server::start();
    for (image, stem) in [
        (json!("nginx"), "nginx-"),
        (json!("unikraft.org/team/caddy:2.7"), "caddy-"),
        (
            json!({"url": "oci://unikraft.org/nginx:latest", "pull_policy": "always"}),
            "nginx-",
        ),
    ] {
        let created = run(&server, &json!({ "image": image }));
        let item = created.item();
        assert!(is_chosen(text(item, "name"), stem, 5), "{item}");
        assert_eq!((&item["args"], &item["env"]), (&json!([]), &json!({})));
        assert!(item.get("service_group").is_none());
    }
}

#[test]
fn an_instance_runs_while_it_accepts_connections() {
    let server = Server::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = json!({
        "name": "i1",
        "image": "nginx",
        "private_ip": "127.0.0.1",
        "service_group": {"services": [{"port": 443, "destination_port": port}], "domains": [{"name": "a.example."}]},
    });
    let created = run(&server, &body);
    assert_eq!(created.item()["state"], "running");
    assert_eq!(created.item()["private_ip"], "127.0.0.1");
    drop(listener);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while get(&server, "/v1/instances/i1").item()["state"] != "stopped" {
        assert!(std::time::Instant::now() < until, "still running");
    }
}

#[test]
fn a_service_that_came_with_an_instance_goes_with_the_last_one() {
    let server = Server::start();
    let body = json!({
        "name": "i1",
        "image": "nginx",
        "service_group": {"services": [{"port": 443}], "domains": [{"name": "a.example."}], "soft_limit": 3, "hard_limit": 30},
    });
    let first = run(&server, &body);
    let group = first.item()["service_group"].clone();
    let path = format!("{SERVICES}/{}", text(&group, "uuid"));
    let service = get(&server, &path);
    assert_eq!(service.item()["persistent"], false);
    assert_eq!(
        (&service.item()["soft_limit"], &service.item()["hard_limit"]),
        (&json!(3), &json!(30))
    );
    let reference = json!({"uuid": group["uuid"]});
    run(
        &server,
        &json!({"name": "i2", "image": "nginx", "service_group": reference}),
    )
    .item();

    let attached = send(&server, "DELETE", &path, "");
    attached.failed(200, 15, 409);
    send(&server, "DELETE", "/v1/instances/i1", "").item();
    get(&server, &path).item();
    send(&server, "DELETE", "/v1/instances/i2", "").item();
    get(&server, &path).failed(404, 8, 404);
    serve(&server, &domains(&["a.example."])).item();
}

#[test]
fn a_service_made_for_itself_stays_without_instances() {
    let server = Server::start();
    serve(&server, &json!({"name": "s1", "services": []})).item();
    run(
        &server,
        &json!({"name": "i1", "image": "nginx", "service_group": {"name": "s1"}}),
    )
    .item();
    send(&server, "DELETE", SERVICES, r#"[{"name":"s1"}]"#).failed(200, 15, 409);
    send(&server, "DELETE", INSTANCES, r#"[{"name":"i1"}]"#).item();
    assert_eq!(
        get(&server, "/v1/services/s1").item()["instances"],
        json!([])
    );
    send(&server, "DELETE", SERVICES, r#"[{"name":"s1"}]"#).item();
}

#[test]
fn an_empty_service_group_makes_one_without_ports() {
    let server = Server::start();
    let created = run(&server, &json!({"image": "nginx", "service_group": {}}));
    let group = &created.item()["service_group"];
    let fqdn = text(&group["domains"][0], "fqdn");
    assert!(fqdn.ends_with(".metro.internal"), "{fqdn}");
    let service = get(&server, &format!("{SERVICES}/{}", text(group, "uuid")));
    assert_eq!(service.item()["services"], json!([]));
    let none = run(&server, &json!({"image": "nginx", "service_group": null}));
    assert!(none.item().get("service_group").is_none());
}

#[test]
fn what_makes_no_instance_is_refused() {
    let server = Server::start();
    for (body, code) in [
        (json!({}), 16),
        (json!({"image": ""}), 16),
        (json!({"image": null}), 16),
        (json!({"image": 1}), 16),
        (json!({"image": {}}), 16),
        (json!({"image": "a\nb"}), 7),
        (json!({"image": "a", "name": "a/b"}), 7),
        (json!({"image": "a", "name": "x".repeat(256)}), 22),
        (json!({"image": "a", "name": 1}), 16),
        (json!({"image": "a", "args": "x"}), 16),
        (json!({"image": "a", "args": [1]}), 16),
        (json!({"image": "a", "env": ["A=b"]}), 16),
        (json!({"image": "a", "env": {"A": 1}}), 16),
        (json!({"image": "a", "memory_mb": "64"}), 16),
        (json!({"image": "a", "memory_mb": 0}), 7),
        (json!({"image": "a", "memory_mb": -1}), 7),
        (json!({"image": "a", "private_ip": 1}), 16),
        (json!({"image": "a", "private_ip": "10.0.0.1:80"}), 7),
        (json!({"image": "a", "private_fqdn": "a b"}), 7),
        (
            json!({"image": "a", "private_ip": "10.0.0.1", "private_fqdn": "a.internal"}),
            17,
        ),
        (json!({"image": "a", "service_group": "s1"}), 16),
        (json!({"image": "a", "service_group": {"uuid": "x"}}), 7),
        (
            json!({"image": "a", "service_group": {"uuid": "0190163d-8694-439b-aea5-966c26f8ad91", "name": "s1"}}),
            17,
        ),
        (
            json!({"image": "a", "service_group": {"services": [{"port": 0}]}}),
            7,
        ),
        (
            json!({"image": "a", "service_group": {"domains": [{"name": "a.b"}]}}),
            7,
        ),
    ] {
        let refused = run(&server, &body);
        refused.refused(400, Some(code));
        let array = json!([{"image": "good"}, body]);
        run(&server, &array).refused(400, Some(code));
    }
    run(&server, &json!([])).refused(400, Some(16));
    run(&server, &json!(vec![json!({"image": "a"}); 17])).refused(400, Some(5));
    assert_eq!(get(&server, INSTANCES).items().len(), 0);
}

#[test]
fn what_depends_on_other_objects_fails_item_by_item() {
    let server = Server::start();
    run(&server, &json!({"name": "i1", "image": "nginx"})).item();
    let taken = run(&server, &json!({"name": "i1", "image": "nginx"}));
    assert_eq!(taken.failed(200, 23, 409)["name"], "i1");
    let missing = run(
        &server,
        &json!({"image": "nginx", "service_group": {"name": "nope"}}),
    );
    let message = "No service group with name 'nope'";
    assert_eq!(missing.failed(200, 8, 404)["message"], message);
    serve(&server, &domains(&["taken.example."])).item();
    let group = json!({"services": [], "domains": [{"name": "taken.example."}]});
    let taken = run(&server, &json!({"image": "nginx", "service_group": group}));
    taken.failed(200, 23, 409);
    for address in [
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "fe80::1",
        "::ffff:169.254.169.254",
    ] {
        let refused = run(&server, &json!({"image": "nginx", "private_ip": address}));
        refused.failed(200, 14, 403);
    }
    // Whoever does not run this server has no business with what listens on it.
    let other = server.account("other");
    for address in [
        json!({"private_ip": "127.0.0.1"}),
        json!({"private_fqdn": "localhost"}),
    ] {
        let mut body = address;
        body["image"] = json!("nginx");
        send_as(&server, &other, "POST", INSTANCES, body.to_string()).failed(200, 14, 403);
    }
    assert_eq!(get(&server, INSTANCES).names(), ["i1"]);
    let several = json!([{"image": "nginx", "name": "i2"}, {"image": "nginx", "name": "i1"}]);
    let made = run(&server, &several);
    made.expect("partial_success");
    assert_eq!(made.codes(), [0, 23]);
}

#[test]
fn instances_are_named_in_all_ways_and_missing_ones_never_make_a_404() {
    let server = Server::start();
    for name in ["i1", "i2"] {
        run(&server, &json!({"name": name, "image": "nginx"})).item();
    }
    let uuid = text(get(&server, "/v1/instances/i1").item(), "uuid").to_owned();
    for path in [
        format!("{INSTANCES}/{}", uuid.to_uppercase()),
        format!("{INSTANCES}?uuid={uuid}&details=true"),
        format!("{INSTANCES}?name=i1"),
    ] {
        assert_eq!(get(&server, &path).item()["name"], "i1", "{path}");
    }
    assert_eq!(
        get(&server, "/v1/instances?name=i2,i1").names(),
        ["i2", "i1"]
    );
    let listed = get(&server, "/v1/instances/list");
    assert_eq!(listed.names(), ["i1", "i2"]);
    assert!(
        listed
            .items()
            .iter()
            .all(|item| item.as_object().unwrap().len() == 3)
    );
    assert_eq!(
        get(&server, &format!("/v1/instances?count=1&from={uuid}")).names(),
        ["i1"]
    );
    assert_eq!(
        get(&server, "/v1/instances?order=desc").names(),
        ["i2", "i1"]
    );

    for (method, path) in [
        ("GET", "/v1/instances/nope"),
        ("DELETE", "/v1/instances/nope"),
        ("PUT", "/v1/instances/nope/start"),
        ("GET", "/v1/instances?name=nope"),
    ] {
        let missing = send(&server, method, path, "");
        let item = missing.failed(200, 8, 404);
        assert_eq!(item["message"], "No instance with name 'nope'");
    }
    let deleted = send(
        &server,
        "DELETE",
        INSTANCES,
        r#"[{"name":"i2"},{"name":"nope"}]"#,
    );
    assert_eq!(deleted.codes(), [0, 8]);
    for body in ["", "[]", "{}", "null"] {
        send(&server, "DELETE", INSTANCES, body).refused(400, Some(13));
    }
    let other = server.account("other");
    let path = format!("{INSTANCES}/{uuid}");
    send_as(&server, &other, "DELETE", &path, "").failed(200, 8, 404);
    assert_eq!(get(&server, INSTANCES).names(), ["i1"]);
}

#[test]
fn nothing_is_started_or_stopped_here() {
    let server = Server::start();
    run(&server, &json!({"name": "i1", "image": "nginx"})).item();
    for action in ["start", "stop", "suspend"] {
        for method in ["PUT", "POST"] {
            let local = format!("{INSTANCES}/i1/{action}");
            let refused = send(&server, method, &local, "");
            assert_eq!(refused.failed(200, 1, 501)["name"], "i1");
            let global = format!("{INSTANCES}/{action}");
            let body = r#"[{"name":"i1","drain_timeout_ms":10},{"name":"nope"}]"#;
            let refused = send(&server, method, &global, body);
            refused.expect("error");
            assert_eq!(refused.codes(), [1, 8]);
            send(&server, method, &global, "").refused(400, Some(13));
            let query = format!("{global}?name=i1");
            send(&server, method, &query, "").failed(200, 1, 501);
        }
    }
    assert_eq!(get(&server, INSTANCES).names(), ["i1"]);
}
