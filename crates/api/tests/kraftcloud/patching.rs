//! PATCH /v1/services: operations on properties.

use super::*;

fn operation(property: &str, op: &str, value: impl Into<Value>) -> Value {
    let value: Value = value.into();
    json!({"name": "s1", "prop": property, "op": op, "value": value})
}

/// Carries one operation out on `s1`; answers with the item of the operation.
#[track_caller]
fn patch(server: &Server, operation: &Value) -> Answer {
    send(server, "PATCH", SERVICES, json!([operation]).to_string())
}

#[track_caller]
fn s1(server: &Server) -> Value {
    get(server, "/v1/services/s1").item().clone()
}

fn start() -> Server {
    let server = Server::start();
    let body = json!({
        "name": "s1",
        "services": [{"port": 443, "destination_port": 8080}],
        "domains": [{"name": "one.example."}],
        "soft_limit": 2,
        "hard_limit": 20,
    });
    serve(&server, &body).item();
    server
}

fn fqdns(service: &Value) -> Vec<&str> {
    let domains = service["domains"].as_array().unwrap();
    domains.iter().map(|domain| text(domain, "fqdn")).collect()
}

fn ports(service: &Value) -> Vec<u64> {
    let ports = service["services"].as_array().unwrap();
    ports
        .iter()
        .map(|port| port["port"].as_u64().unwrap())
        .collect()
}

#[test]
fn domains_are_added_deleted_and_set() {
    let server = start();
    let add = |value| operation("domains", "add", value);
    patch(&server, &add(json!({"name": "two.example."}))).item();
    patch(
        &server,
        &add(json!([{"name": "three.example."}, {"name": "sub"}])),
    )
    .item();
    let expected = [
        "one.example",
        "two.example",
        "three.example",
        "sub.metro.internal",
    ];
    assert_eq!(fqdns(&s1(&server)), expected);

    let delete = |value| operation("domains", "del", value);
    for (value, left) in [
        (json!("TWO.example"), 3),
        (json!({"name": "three.example.."}), 2),
        (json!(["one.example.", {"name": "sub"}]), 0),
    ] {
        patch(&server, &delete(value.clone())).item();
        assert_eq!(fqdns(&s1(&server)).len(), left, "{value}");
    }
    patch(&server, &delete(json!("one.example"))).failed(200, 8, 404);

    let set = json!([{"name": "a.example."}, {"name": "b.example."}]);
    patch(&server, &operation("domains", "set", set)).item();
    assert_eq!(fqdns(&s1(&server)), ["a.example", "b.example"]);
    let set = json!([{"name": "b.example."}, {"name": "c.example."}]);
    patch(&server, &operation("domains", "set", set)).item();
    assert_eq!(fqdns(&s1(&server)), ["b.example", "c.example"]);
    let cleared = json!({"name": "s1", "prop": "domains", "op": "set"});
    patch(&server, &cleared).item();
    assert_eq!(fqdns(&s1(&server)), [] as [&str; 0]);
    // The domains are free again.
    serve(&server, &domains(&["one.example.", "c.example."])).item();
}

#[test]
fn ports_are_added_deleted_and_set() {
    let server = start();
    let change = |op: &str, value| patch(&server, &operation("services", op, value));
    change("add", json!({"port": 80, "handlers": ["http", "redirect"]})).item();
    change("add", json!([{"port": 8443}, {"port": 9443}])).item();
    assert_eq!(ports(&s1(&server)), [443, 80, 8443, 9443]);
    change("del", json!(8443)).item();
    change("del", json!([{"port": 9443}, 80])).item();
    assert_eq!(ports(&s1(&server)), [443]);
    change("del", json!(80)).failed(200, 8, 404);
    change("set", json!([{"port": 5443}])).item();
    assert_eq!(ports(&s1(&server)), [5443]);
    change("set", json!(null)).item();
    assert_eq!(ports(&s1(&server)), [] as [u64; 0]);
}

#[test]
fn limits_and_autokill_are_set_and_cleared() {
    let server = start();
    let set = |property: &str, value| patch(&server, &operation(property, "set", value));
    set("soft_limit", json!(7)).item();
    set("hard_limit", json!(7)).item();
    set("autokill", json!({"time_ms": 250})).item();
    let service = s1(&server);
    assert_eq!(
        (&service["soft_limit"], &service["hard_limit"]),
        (&json!(7), &json!(7))
    );
    assert_eq!(service["autokill"], json!({"time_ms": 250}));

    set("soft_limit", json!(8)).failed(200, 7, 400);
    set("hard_limit", json!(6)).failed(200, 7, 400);
    assert_eq!(s1(&server)["soft_limit"], 7);

    for property in ["autokill", "hard_limit", "soft_limit"] {
        let cleared = json!({"name": "s1", "prop": property, "op": "set"});
        patch(&server, &cleared).item();
    }
    let service = s1(&server);
    assert_eq!(
        (&service["soft_limit"], &service["hard_limit"]),
        (&json!(1), &json!(65535))
    );
    assert!(service.get("autokill").is_none());
}

#[test]
fn each_operation_is_answered_with_what_the_client_marked_it_with() {
    let server = start();
    let uuid = text(&s1(&server), "uuid").to_owned();
    let operations = json!([
        {"uuid": uuid.to_uppercase(), "id": "a", "prop": "soft_limit", "op": "set", "value": 3},
        {"uuid": "", "name": "nope", "id": "b", "prop": "soft_limit", "op": "set", "value": 3},
        {"name": "s1", "id": "a", "prop": "domains", "op": "del", "value": "nope.example"},
        {"name": "s1", "prop": "hard_limit", "op": "set", "value": 30},
    ]);
    let patched = send(&server, "PATCH", SERVICES, operations.to_string());
    patched.expect("partial_success");
    assert_eq!(patched.codes(), [0, 8, 8, 0]);
    let items = patched.items();
    assert_eq!(
        items[0],
        json!({"status": "success", "uuid": uuid, "name": "s1", "id": "a"})
    );
    assert_eq!(
        (&items[1]["id"], &items[1]["name"]),
        (&json!("b"), &json!("nope"))
    );
    assert_eq!(items[1]["message"], "No service group with name 'nope'");
    assert_eq!(items[2]["id"], "a");
    assert_eq!(
        items[3],
        json!({"status": "success", "uuid": uuid, "name": "s1"})
    );
    let service = s1(&server);
    assert_eq!(
        (&service["soft_limit"], &service["hard_limit"]),
        (&json!(3), &json!(30))
    );
}

#[test]
fn an_operation_of_the_wrong_form_keeps_all_from_being_carried_out() {
    let server = start();
    let good = operation("soft_limit", "set", json!(9));
    for (bad, code) in [
        (json!({"name": "s1", "op": "set", "value": 1}), 16),
        (json!({"name": "s1", "prop": "soft_limit", "value": 1}), 16),
        (operation("name", "set", json!("s2")), 16),
        (operation("soft_limit", "inc", json!(1)), 16),
        (operation("soft_limit", "set", json!("1")), 16),
        (operation("soft_limit", "set", json!(0)), 7),
        (operation("soft_limit", "add", json!(1)), 7),
        (operation("hard_limit", "del", json!(1)), 7),
        (operation("autokill", "add", json!({"time_ms": 1})), 7),
        (operation("autokill", "set", json!(1)), 16),
        (json!({"name": "s1", "prop": "domains", "op": "add"}), 16),
        (json!({"name": "s1", "prop": "domains", "op": "del"}), 16),
        (
            json!({"name": "s1", "prop": "services", "op": "del", "value": null}),
            16,
        ),
        (operation("domains", "add", json!("a.example.")), 16),
        (operation("domains", "add", json!({"name": "a.b"})), 7),
        (
            operation("domains", "add", json!([{"name": "a.example."}, {}])),
            16,
        ),
        (operation("domains", "del", json!(1)), 16),
        (operation("domains", "del", json!([["a.example"]])), 16),
        (operation("services", "add", json!({"port": 0})), 7),
        (
            operation("services", "add", json!({"port": 80, "handlers": ["tls"]})),
            7,
        ),
        (operation("services", "add", json!(80)), 16),
        (operation("services", "del", json!("80")), 16),
        (operation("services", "del", json!(0)), 7),
        (json!({"prop": "soft_limit", "op": "set", "value": 1}), 13),
        (
            json!({"uuid": "x", "prop": "soft_limit", "op": "set", "value": 1}),
            7,
        ),
    ] {
        let body = json!([good, bad]).to_string();
        send(&server, "PATCH", SERVICES, body).refused(400, Some(code));
    }
    let metro = json!({"name": "sub", "certificate": {"name": "c1"}});
    patch(&server, &operation("domains", "add", metro)).refused(400, Some(14));
    assert_eq!(s1(&server)["soft_limit"], 2);
    for body in ["", "[]", "{}", "null", "[{}]"] {
        send(&server, "PATCH", SERVICES, body).refused(400, Some(13));
    }
}

#[test]
fn the_path_may_name_the_service_of_operations() {
    let server = start();
    serve(&server, &json!({"name": "s2", "services": []})).item();
    let uuid = text(&s1(&server), "uuid").to_owned();
    let one = json!({"id": "x", "prop": "soft_limit", "op": "set", "value": 4});
    for path in [format!("{SERVICES}/{uuid}"), format!("{SERVICES}/s1/")] {
        let patched = send(&server, "PATCH", &path, one.to_string());
        assert_eq!(
            (text(patched.item(), "id"), text(patched.item(), "name")),
            ("x", "s1")
        );
        let mut own = one.clone();
        own["uuid"] = json!(uuid);
        let array = json!([own, {"name": "s1", "prop": "hard_limit", "op": "set", "value": 40}]);
        let patched = send(&server, "PATCH", &path, array.to_string());
        assert_eq!(patched.codes(), [0, 0]);
        let mut other = one.clone();
        other["name"] = json!("s2");
        send(&server, "PATCH", &path, other.to_string()).refused(400, Some(17));
        send(&server, "PATCH", &path, "").refused(400, Some(16));
        send(&server, "PATCH", &path, "[]").refused(400, Some(16));
    }
    send(&server, "PATCH", "/v1/services/nope", one.to_string()).failed(404, 8, 404);
    // What an operation names may be missing too, and that is no missing service.
    let certificate = json!({"name": "a.example.", "certificate": {"name": "nope"}});
    let add = json!({"prop": "domains", "op": "add", "value": certificate});
    let missing = send(&server, "PATCH", "/v1/services/s1", add.to_string());
    let item = missing.failed(200, 8, 404);
    assert_eq!(item["message"], "No certificate with name 'nope'");
    assert_eq!(item["name"], "s1");
}

#[test]
fn a_domain_of_another_service_is_not_taken_over() {
    let server = start();
    let other = server.account("other");
    let body = domains(&["other.example."]).to_string();
    send_as(&server, &other, "POST", SERVICES, body).item();
    for op in ["add", "set"] {
        let value = json!([{"name": "free.example."}, {"name": "other.example."}]);
        patch(&server, &operation("domains", op, value)).failed(200, 23, 409);
    }
    let reserved = operation("domains", "add", json!({"name": "www"}));
    patch(&server, &reserved).failed(200, 24, 403);
    assert_eq!(fqdns(&s1(&server)), ["one.example"]);
}
