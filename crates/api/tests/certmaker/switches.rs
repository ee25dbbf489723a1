//! What administrators switch while the server runs, what accounts are vouched for, and how often
//! they may ask.

use std::num::NonZeroU32;
use std::time::Duration;

use lifecycle::{AccountChange, Switch};
use serde_json::{Value, json};
use store::{InboundContent, NewInboundOrder};
use testbed::http::Response;

use crate::challenges::{Waiting, assert_says, server};
use crate::support::Server;
use crate::support::names::Names;
use crate::{CSR, LOCATED, Leaf, REVOKE, SIMPLE, assert_error, post, send, send_as};

/// Sets switches, and lets the time pass after which that holds everywhere.
#[track_caller]
fn set(server: &Server, changes: &[(Switch, Option<bool>)]) {
    let administrator = server.administrator();
    let switches = &server.house.switches;
    server.run(switches.set(&administrator, changes)).unwrap();
    server.advance(Duration::from_secs(2));
}

#[test]
fn an_administrator_switches_while_all_nodes_run() {
    let server = Server::with(|options| options.network = Names::default().network());
    let (elsewhere, _house) = server.another_node();
    let order = json!({"domains": ["a.test"]});
    let statuses = |path: &str| {
        let headers = [("X-Auth-Token", server.token.as_str())];
        let body = order.to_string();
        [&server.url, &elsewhere]
            .map(|url| testbed::http::send(url, "POST", path, &headers, body.as_bytes()).status)
    };
    assert_eq!(statuses(SIMPLE), [201, 201]);
    set(&server, &[(Switch::Http01, Some(true))]);
    assert_eq!(statuses(SIMPLE), [202, 202]);
    assert_eq!(
        Waiting::order(&server, &order).body["dns01_challenge"],
        false
    );
    set(
        &server,
        &[(Switch::Http01, None), (Switch::Dns01, Some(true))],
    );
    assert_eq!(
        Waiting::order(&server, &order).body["http01_challenge"],
        false
    );
    set(
        &server,
        &[
            (Switch::Dns01, Some(false)),
            (Switch::SimpleRequest, Some(false)),
        ],
    );
    assert_eq!(statuses(SIMPLE), [501, 501]);
    assert_eq!(statuses(LOCATED), [501, 501]);
    assert_eq!(statuses(CSR), [400, 400]);
    set(
        &server,
        &[(Switch::Csr, Some(false)), (Switch::SimpleRequest, None)],
    );
    assert_eq!(statuses(SIMPLE), [201, 201]);
    assert_eq!(statuses(CSR), [501, 501]);
}

#[test]
fn an_order_that_waits_for_what_is_switched_off_goes_on_when_it_is_on_again() {
    let server = server(|_| {});
    let responder = crate::support::responder::Responder::start();
    let waiting = Waiting::order(&server, &json!({"domains": ["a.test"]}));
    responder.has(&waiting.token);
    set(&server, &[(Switch::Http01, Some(false))]);
    let refused = waiting.solve_at(&server, responder.port());
    assert_says(&refused, 400, "http-01 is not offered for this order");
    set(&server, &[(Switch::Http01, None)]);
    assert_eq!(waiting.solve_at(&server, responder.port()).status, 201);
}

#[test]
fn an_account_need_not_prove_what_it_is_vouched_for() {
    let server = server(|_| {});
    let (tenant, other) = (server.account("tenant"), server.account("other"));
    let administrator = server.administrator();
    let vouch = |added: &[&str], removed: &[&str]| {
        let owned =
            |texts: &[&str]| -> Vec<String> { texts.iter().map(ToString::to_string).collect() };
        let (added, removed) = (owned(added), owned(removed));
        let preauthorizations = &server.house.preauthorizations;
        server
            .run(preauthorizations.change(&administrator, "tenant", &added, &removed))
            .unwrap()
    };
    let names = vouch(&["A.test.", "*.b.test", "10.0.0.0/8"], &[]);
    assert_eq!(names, ["*.b.test", "10.0.0.0/8", "a.test"]);
    let status = |token: &str, order: &Value| {
        send_as(&server, token, "POST", SIMPLE, order.to_string()).status
    };
    for order in [
        json!({"domains": ["a.test"]}),
        json!({"domains": ["x.b.test", "*.b.test", "a.test"], "ips": ["10.9.9.9"]}),
        json!({"subject": {"common_name": "a.test"}}),
    ] {
        assert_eq!(status(&tenant, &order), 201, "{order}");
        assert_eq!(status(&server.token, &json!({"domains": ["a.test"]})), 202);
        let bot = send_as(&server, &tenant, "POST", LOCATED, order.to_string());
        assert_eq!(bot.status, 201);
    }
    for order in [
        json!({"domains": ["x.a.test"]}),
        json!({"domains": ["a.test", "c.test"]}),
        json!({"domains": ["x.y.b.test"]}),
        json!({"ips": ["11.0.0.1"]}),
    ] {
        assert_eq!(status(&tenant, &order), 202, "{order}");
    }
    assert_eq!(status(&other, &json!({"domains": ["a.test"]})), 202);
    // What nobody vouches for any more has to be proven, also by orders that wait.
    let placed = send_as(
        &server,
        &tenant,
        "POST",
        SIMPLE,
        json!({"domains": ["a.test", "c.test"]}).to_string(),
    );
    let waiting = Waiting::of(&server, &placed);
    let responder = crate::support::responder::Responder::start();
    let answer = crate::support::responder::ok(&waiting.token);
    responder.answer(move |_| crate::support::responder::Reply::Raw(answer.clone()));
    vouch(&[], &["a.test"]);
    let body = json!({"challenge_port": responder.port()}).to_string();
    let solved = send_as(&server, &tenant, "POST", &waiting.path("http-01"), body);
    assert_eq!(solved.status, 201);
    assert_eq!(responder.asked().len(), 2, "{:?}", responder.asked());
}

#[test]
fn addresses_are_proven_unless_the_operator_says_otherwise() {
    let server = server(|options| options.house.validation.validate_ips = false);
    let order = json!({"ips": ["10.0.0.5", "fd00::1"]});
    Leaf::of(&server, &post(&server, SIMPLE, &order));
    Waiting::order(
        &server,
        &json!({"ips": ["10.0.0.5"], "domains": ["a.test"]}),
    );
}

#[test]
fn an_account_may_ask_so_often_and_no_more() {
    let server = server(|options| {
        let validation = &mut options.house.validation;
        validation.orders_per_minute = NonZeroU32::new(3);
        validation.solves_per_minute = NonZeroU32::new(2);
    });
    let (tenant, other) = (server.account("tenant"), server.account("other"));
    let as_tenant =
        |method: &str, path: &str, body: &str| send_as(&server, &tenant, method, path, body);
    let local = r#"{"domains":["localhost"]}"#;
    let solve = format!("/api/v1/dns-01/{}/solve", "0".repeat(40));
    for _ in 0..2 {
        // All ways of ordering count together, and so do orders that are none.
        assert_eq!(as_tenant("POST", SIMPLE, local).status, 201);
        assert_eq!(as_tenant("POST", LOCATED, local).status, 201);
        assert_error(&as_tenant("POST", CSR, "garbage"), 400);
        for path in [SIMPLE, LOCATED, CSR] {
            let refused = as_tenant("POST", path, local);
            assert_error(&refused, 429);
            let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=21).contains(&wait), "{wait}");
        }
        assert_error(&as_tenant("GET", &solve, ""), 404);
        assert_error(&as_tenant("POST", &solve, ""), 404);
        for path in [solve.clone(), solve.replace("dns", "http")] {
            let refused = as_tenant("POST", &path, "");
            assert_error(&refused, 429);
            assert!(refused.header("retry-after").is_some());
        }
        // Clients of these routes take 429 for success.
        let unknown = r#"{"SerialNumber":1}"#;
        for _ in 0..3 {
            assert_error(&as_tenant("POST", REVOKE, unknown), 400);
        }
        let refused = as_tenant("POST", REVOKE, unknown);
        assert_error(&refused, 400);
        assert!(refused.text().contains("too many"), "{}", refused.text());
        // Others are not held up.
        assert_eq!(send_as(&server, &other, "POST", SIMPLE, local).status, 201);
        server.advance(Duration::from_secs(61));
    }
}

#[test]
fn an_account_has_so_many_orders_that_wait_and_no_more() {
    let server = server(|_| {});
    let administrator = server.administrator();
    let now = server.house_time();
    for number in 0..1_000 {
        let order = NewInboundOrder {
            id: format!("{number:040}"),
            account_id: administrator.account_id(),
            token: "x".repeat(64),
            kinds: vec!["http-01".to_owned()],
            form: "der".to_owned(),
            authority: "certmaker".to_owned(),
            content: InboundContent {
                subject: vec![0x30, 0],
                identifiers: vec!["a.test".to_owned()],
                days: 7,
                key_algorithm: Some("p256".to_owned()),
                public_key: None,
            },
            created_at: now,
            expires_at: now + Duration::from_secs(7_200),
        };
        server
            .run(server.store.add_inbound_order(order, 1_000))
            .unwrap();
    }
    let order = json!({"domains": ["a.test"]});
    let refused = post(&server, SIMPLE, &order);
    assert_error(&refused, 429);
    assert!(refused.header("retry-after").is_some());
    // What needs no proof does not wait.
    let local = post(&server, SIMPLE, &json!({"domains": ["localhost"]}));
    assert_eq!(local.status, 201);
    server.advance(Duration::from_secs(7_201));
    Waiting::order(&server, &order);
}

#[test]
fn an_account_that_may_not_log_in_orders_as_before() {
    let server = server(|_| {});
    let token = server.account("robot");
    let order = json!({"domains": ["localhost"]}).to_string();
    for change in [AccountChange::ForbidLogin, AccountChange::AllowLogin] {
        server.change_account("robot", change);
        assert_eq!(send_as(&server, &token, "POST", SIMPLE, &order).status, 201);
    }
}

/// Asks for `a.test`, or a name below it, at every door where nothing can be proven.
fn ask_everywhere(server: &Server, time: &str) -> Vec<Response> {
    let bearer = format!("Bearer {}", server.token);
    let post = |path: &str, body: Value| {
        let headers = [("Authorization", bearer.as_str())];
        server.send("POST", path, &headers, body.to_string())
    };
    let order = |more: Value| {
        let mut body = json!({"names": ["a.test"]});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        post("/chancery/v1/certificates", body)
    };
    let stack = post("/api/3/stacks", json!({"name": time})).json();
    let stack = stack["response"]["uid"].as_str().unwrap().to_owned();
    let installed =
        json!({"ssl_certificate": {"type": "lets_encrypt", "server_names": "c.a.test"}});
    vec![
        order(json!({"issuer": "certmaker"})),
        order(json!({})),
        order(json!({"issuer": "certmaker", "managed": true})),
        order(json!({"managed": true})),
        post("/v1/certificates", json!({"cn": "a.test"})),
        post(
            "/v1/services",
            json!({"services": [{"port": 443}], "domains": [{"name": "s.a.test."}]}),
        ),
        post(
            &format!("/api/3/stacks/{stack}/ssl_certificates"),
            installed,
        ),
    ]
}

#[test]
fn nobody_gets_around_the_proof_by_another_door() {
    let server = server(|_| {});
    for refused in ask_everywhere(&server, "first") {
        let text = refused.text();
        let is_refused = text.contains("proof of control over '") && text.contains("a.test'");
        assert!(is_refused, "{} {text}", refused.status);
    }
    assert_eq!(crate::crowds::count(&server), 0);
    let administrator = server.administrator();
    let names = ["a.test".to_owned(), "*.a.test".to_owned()];
    let preauthorizations = &server.house.preauthorizations;
    let vouch = preauthorizations.change(&administrator, "admin", &names, &[]);
    server.run(vouch).unwrap();
    for granted in ask_everywhere(&server, "second") {
        let text = granted.text();
        assert_eq!(granted.status, 200, "{text}");
        assert!(!text.contains("proof of control"), "{text}");
    }
    assert_eq!(crate::crowds::count(&server), 7);
    // A read-only token proves nothing.
    let reader = server.token_with(lifecycle::TokenLimits {
        read_only: true,
        ..lifecycle::TokenLimits::default()
    });
    let waiting = Waiting::order(&server, &json!({"domains": ["b.test"]}));
    for (method, kind) in [("POST", "http-01"), ("GET", "dns-01"), ("GET", "challenge")] {
        let path = waiting.path(kind);
        assert_error(&send_as(&server, &reader, method, &path, ""), 403);
    }
    let _ = send(&server, "GET", &waiting.path("dns-01"), "");
}
