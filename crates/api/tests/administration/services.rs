//! `/chancery/v1/services`.

use std::net::TcpListener;
use std::time::Duration;

use lifecycle::{Dialect, TokenLimits};
use serde_json::{Value, json};
use testbed::http::Response;

use crate::call;
use crate::support::Server;

const SERVICES: &str = "/chancery/v1/services";

fn start() -> Server {
    Server::with(|options| options.api.edge_https = Some("127.0.0.1:8444".parse().unwrap()))
}

#[track_caller]
fn answered(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

#[track_caller]
fn create(server: &Server, body: &Value) -> Value {
    answered(&call(server, &server.token, "POST", SERVICES, body))
}

#[track_caller]
fn get(server: &Server, path: &str) -> Value {
    answered(&call(server, &server.token, "GET", path, &Value::Null))
}

/// What the KraftCloud API tells of the same inventory.
#[track_caller]
fn listed_elsewhere(server: &Server, path: &str) -> Vec<Value> {
    let answer = call(server, &server.token, "GET", path, &Value::Null).json();
    let data = answer["data"].as_object().unwrap();
    data.values().next().unwrap().as_array().unwrap().clone()
}

#[test]
fn one_request_makes_a_service_with_its_upstreams() {
    let server = start();
    let body = json!({
        "name": "shop",
        "domains": ["shop.example", "WWW.shop.example.", "sub"],
        "upstreams": ["127.0.0.1:9001", "[::1]:9001", "backend.internal:9001"],
    });
    let made = create(&server, &body);
    assert_eq!(made["name"], "shop");
    let ports = json!([
        {"port": 443, "destination_port": 9001, "protocol": "tcp", "handlers": ["tls", "http"]},
        {"port": 80, "destination_port": 443, "protocol": "tcp", "handlers": ["http", "redirect"]},
    ]);
    assert_eq!(made["ports"], ports);
    let domains = made["domains"].as_array().unwrap();
    let names: Vec<&Value> = domains.iter().map(|domain| &domain["name"]).collect();
    assert_eq!(
        names,
        ["shop.example", "www.shop.example", "sub.metro.internal"]
    );
    let certificate = &domains[0]["certificate"];
    assert_eq!(certificate["state"], "pending");
    assert_eq!(certificate["issuer"], "default");
    assert_eq!(certificate["attempt"], 0);
    assert!(certificate["next_attempt_at"].is_string());
    assert_eq!(domains[2]["certificate"], Value::Null);
    let addresses: Vec<&Value> = made["upstreams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|upstream| &upstream["address"])
        .collect();
    assert_eq!(
        addresses,
        ["127.0.0.1:9001", "[::1]:9001", "backend.internal:9001"]
    );
    let urls = json!([
        "https://shop.example:8444/",
        "https://www.shop.example:8444/",
        "https://sub.metro.internal:8444/",
    ]);
    assert_eq!(
        (&made["urls"], &made["edge_https"]),
        (&urls, &json!("127.0.0.1:8444"))
    );
    assert_eq!(get(&server, "/chancery/v1/services/shop"), made);
    let path = format!("{SERVICES}/{}", made["uuid"].as_str().unwrap());
    assert_eq!(get(&server, &path), made);

    let elsewhere = listed_elsewhere(&server, "/v1/services");
    assert_eq!(elsewhere[0]["uuid"], made["uuid"]);
    assert_eq!(elsewhere[0]["persistent"], true);
    assert_eq!(listed_elsewhere(&server, "/v1/instances").len(), 3);
}

#[test]
fn an_upstream_runs_while_it_accepts_connections() {
    let server = start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let made = create(
        &server,
        &json!({"name": "s", "domains": ["s"], "upstreams": [address]}),
    );
    assert_eq!(made["upstreams"][0]["running"], true);
    drop(listener);
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while get(&server, "/chancery/v1/services/s")["upstreams"][0]["running"] == true {
        assert!(std::time::Instant::now() < until, "still running");
    }
}

#[test]
fn a_certificate_becomes_valid_and_is_told_so() {
    let server = start();
    let body =
        json!({"name": "s", "domains": ["a.example", "*.a.example"], "upstreams": ["10.0.0.1:80"]});
    let made = create(&server, &body);
    // What many sites share is the address of none.
    assert_eq!(made["urls"], json!(["https://a.example:8444/"]));
    server.run(server.house.obtain_due_now()).unwrap();
    let shown = get(&server, "/chancery/v1/services/s");
    for domain in shown["domains"].as_array().unwrap() {
        assert_eq!(domain["certificate"]["state"], "valid");
        assert!(domain["certificate"].get("next_attempt_at").is_none());
    }
}

#[test]
fn a_given_certificate_serves_all_domains() {
    let server = start();
    let issue = json!({"names": ["a.example", "b.example"], "name": "pair"});
    let path = "/chancery/v1/certificates";
    let issued = answered(&call(&server, &server.token, "POST", path, &issue));
    for (name, reference) in [("s1", "pair"), ("s2", issued["uuid"].as_str().unwrap())] {
        let body = json!({
            "name": name,
            "domains": ["a.example", "b.example"],
            "upstreams": ["10.0.0.1:80"],
            "certificate": reference,
        });
        let made = create(&server, &body);
        for domain in made["domains"].as_array().unwrap() {
            assert_eq!(domain["certificate"]["name"], "pair");
            assert_eq!(domain["certificate"]["state"], "valid");
        }
        let used = call(
            &server,
            &server.token,
            "DELETE",
            "/chancery/v1/certificates/pair",
            &Value::Null,
        );
        assert_eq!(used.status, 409, "{}", used.text());
        let path = format!("{SERVICES}/{name}");
        answered(&call(&server, &server.token, "DELETE", &path, &Value::Null));
    }
}

#[test]
fn without_a_domain_a_subdomain_of_the_metro_domain_is_chosen() {
    let server = Server::start();
    let made = create(&server, &json!({"upstreams": ["10.0.0.1:80"]}));
    let name = made["domains"][0]["name"].as_str().unwrap();
    assert!(name.ends_with(".metro.internal"), "{name}");
    // Without an edge of its own the server tells of none.
    assert!(made.get("edge_https").is_none());
    assert_eq!(made["urls"], json!([format!("https://{name}/")]));
}

#[test]
fn bad_requests_are_refused_with_what_is_wrong_and_leave_nothing() {
    let server = start();
    create(
        &server,
        &json!({"name": "taken", "domains": ["taken.example"], "upstreams": ["10.0.0.1:80"]}),
    );
    let many: Vec<String> = (0..65)
        .map(|number| format!("10.0.0.{number}:80"))
        .collect();
    let good = json!(["10.0.0.1:80"]);
    for (body, status, words) in [
        (json!({}), 400, "'upstreams' is missing"),
        (json!({"upstreams": []}), 400, "at least one upstream"),
        (json!({"upstreams": "10.0.0.1:80"}), 400, "array of strings"),
        (json!({"upstreams": many}), 400, "at most 64"),
        (
            json!({"upstreams": ["10.0.0.1"]}),
            400,
            "'10.0.0.1' is no upstream",
        ),
        (json!({"upstreams": ["::1:80"]}), 400, "no upstream"),
        (json!({"upstreams": ["http://a:80"]}), 400, "no upstream"),
        (
            json!({"upstreams": ["10.0.0.1:80", "10.0.0.2:81"]}),
            400,
            "the same port",
        ),
        (
            json!({"upstreams": ["10.0.0.1:80", "a b:80"], "domains": ["new.example"]}),
            400,
            "a b",
        ),
        (
            json!({
                "upstreams": ["10.0.0.1:80", "169.254.169.254:80"],
                "domains": ["new.example"],
            }),
            403,
            "169.254.169.254",
        ),
        (json!({"upstreams": good, "domains": ["a..b"]}), 400, "a..b"),
        (
            json!({"upstreams": good, "domains": ["www"]}),
            409,
            "reserved",
        ),
        (
            json!({"upstreams": good, "domains": ["taken.example"]}),
            409,
            "already in use",
        ),
        (
            json!({"upstreams": good, "domains": ["new.example"], "name": "taken"}),
            409,
            "already exists",
        ),
        (
            json!({"upstreams": good, "domains": ["new.example"], "name": "a/b"}),
            400,
            "contains '/'",
        ),
        (
            json!({"upstreams": good, "domains": ["new.example"], "certificate": "nope"}),
            404,
            "nope",
        ),
        (
            json!({"upstreams": good, "domains": ["sub"], "certificate": "nope"}),
            400,
            "own certificate",
        ),
        (json!({"upstreams": good, "domans": []}), 400, "domans"),
    ] {
        let refused = call(&server, &server.token, "POST", SERVICES, &body);
        assert_eq!(refused.status, status, "{body}: {}", refused.text());
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words), "{body}: {detail}");
    }
    for (method, path, status) in [
        ("GET", "services/nope", 404),
        ("DELETE", "services/nope", 404),
        ("GET", "services/0190163d-8694-439b-aea5-966c26f8ad91", 404),
        ("GET", "services?limit=1000", 400),
        ("GET", "services?from=x", 400),
        ("PUT", "services", 405),
        ("POST", "services/taken", 405),
        ("GET", "services/taken/upstreams", 404),
    ] {
        let path = format!("/chancery/v1/{path}");
        let refused = call(&server, &server.token, method, &path, &Value::Null);
        assert_eq!(
            refused.status,
            status,
            "{method} {path}: {}",
            refused.text()
        );
    }
    assert_eq!(
        get(&server, SERVICES)["services"].as_array().unwrap().len(),
        1
    );
    assert_eq!(listed_elsewhere(&server, "/v1/instances").len(), 1);
    // That of the domain that is taken, and no request for another.
    assert_eq!(listed_elsewhere(&server, "/v1/certificates").len(), 1);
}

#[test]
fn a_deleted_service_takes_its_instances_along_and_frees_its_domains() {
    let server = start();
    let body =
        json!({"name": "s", "domains": ["a.example"], "upstreams": ["10.0.0.1:80", "10.0.0.2:80"]});
    let made = create(&server, &body);
    let path = "/chancery/v1/services/s";
    let deleted = answered(&call(&server, &server.token, "DELETE", path, &Value::Null));
    assert_eq!(deleted, json!({"uuid": made["uuid"], "name": "s"}));
    assert_eq!(get(&server, SERVICES), json!({"services": []}));
    assert_eq!(listed_elsewhere(&server, "/v1/instances").len(), 0);
    create(&server, &body);

    // A service that came with its instances goes with the last of them.
    let group = json!({"services": [{"port": 443}], "domains": [{"name": "b.example."}]});
    let instance = json!({"image": "nginx", "service_group": group});
    let instance = call(&server, &server.token, "POST", "/v1/instances", &instance).json();
    let service = &instance["data"]["instances"][0]["service_group"]["uuid"];
    let path = format!("{SERVICES}/{}", service.as_str().unwrap());
    answered(&call(&server, &server.token, "DELETE", &path, &Value::Null));
    assert_eq!(
        get(&server, SERVICES)["services"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn pages_of_services_continue_where_the_one_before_ended() {
    let server = start();
    for number in 0..7 {
        let body = json!({"name": format!("s{number}"), "domains": [format!("d{number}")], "upstreams": ["10.0.0.1:80"]});
        create(&server, &body);
    }
    let mut seen = Vec::new();
    let mut path = format!("{SERVICES}?limit=3");
    loop {
        let page = get(&server, &path);
        for service in page["services"].as_array().unwrap() {
            seen.push(service["name"].as_str().unwrap().to_owned());
            assert_eq!(service["upstreams"].as_array().unwrap().len(), 1);
        }
        match page["next"].as_str() {
            Some(next) => path = format!("{SERVICES}?limit=3&from={next}"),
            None => break,
        }
        let name = seen.last().unwrap();
        let last = format!("{SERVICES}/{name}");
        answered(&call(&server, &server.token, "DELETE", &last, &Value::Null));
    }
    let expected: Vec<String> = (0..7).map(|number| format!("s{number}")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn services_of_other_accounts_do_not_exist() {
    let server = start();
    let body = json!({"name": "s", "domains": ["a.example"], "upstreams": ["10.0.0.1:80"]});
    create(&server, &body);
    let shop = server.account("shop");
    for method in ["GET", "DELETE"] {
        let path = "/chancery/v1/services/s";
        assert_eq!(call(&server, &shop, method, path, &Value::Null).status, 404);
    }
    let listed = call(&server, &shop, "GET", SERVICES, &Value::Null);
    assert_eq!(answered(&listed), json!({"services": []}));
    let taken = call(&server, &shop, "POST", SERVICES, &body);
    assert_eq!(taken.status, 409, "{}", taken.text());
    let loopback = json!({"domains": ["b.example"], "upstreams": ["127.0.0.1:80"]});
    let refused = call(&server, &shop, "POST", SERVICES, &loopback);
    assert_eq!(refused.status, 403, "{}", refused.text());
    let listed = call(&server, &shop, "GET", SERVICES, &Value::Null);
    assert_eq!(answered(&listed), json!({"services": []}));
}

#[test]
fn tokens_without_the_right_make_and_remove_nothing() {
    let server = start();
    let body = json!({"name": "s", "domains": ["a.example"], "upstreams": ["10.0.0.1:80"]});
    let limits = [
        TokenLimits {
            read_only: true,
            ..TokenLimits::default()
        },
        TokenLimits {
            dialects: Some(vec![Dialect::KraftCloud]),
            ..TokenLimits::default()
        },
    ];
    create(&server, &body);
    for limits in limits {
        let token = server.token_with(limits);
        let other = json!({"domains": ["b.example"], "upstreams": ["10.0.0.1:80"]});
        assert_eq!(call(&server, &token, "POST", SERVICES, &other).status, 403);
        let path = "/chancery/v1/services/s";
        assert_eq!(
            call(&server, &token, "DELETE", path, &Value::Null).status,
            403
        );
    }
    assert_eq!(
        get(&server, SERVICES)["services"].as_array().unwrap().len(),
        1
    );
    assert_eq!(listed_elsewhere(&server, "/v1/instances").len(), 1);
}
