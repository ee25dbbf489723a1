//! Who may come in, which doors there are, and how the others are refused.

use lifecycle::{AccountChange, Dialect, TokenLimits};

use super::*;

const ROUTES: [(&str, &str); 34] = [
    ("GET", "/v1/certificates"),
    ("HEAD", "/v1/certificates"),
    ("POST", "/v1/certificates"),
    ("PUT", "/v1/certificates"),
    ("PATCH", "/v1/certificates"),
    ("DELETE", "/v1/certificates"),
    ("GET", "/v1/certificates/list"),
    ("GET", "/v1/certificates/c1"),
    ("PUT", "/v1/certificates/c1"),
    ("PATCH", "/v1/certificates/c1"),
    ("DELETE", "/v1/certificates/c1"),
    ("DELETE", "/v1/v1/certificates/c1"),
    ("GET", "/v1/services"),
    ("HEAD", "/v1/services"),
    ("POST", "/v1/services"),
    ("PATCH", "/v1/services"),
    ("DELETE", "/v1/services"),
    ("GET", "/v1/services/list"),
    ("GET", "/v1/services/s1"),
    ("PATCH", "/v1/services/s1"),
    ("DELETE", "/v1/services/s1"),
    ("GET", "/v1/instances"),
    ("POST", "/v1/instances"),
    ("DELETE", "/v1/instances"),
    ("GET", "/v1/instances/list"),
    ("GET", "/v1/instances/i1"),
    ("DELETE", "/v1/instances/i1"),
    ("PUT", "/v1/instances/start"),
    ("PUT", "/v1/instances/stop"),
    ("POST", "/v1/instances/suspend"),
    ("PUT", "/v1/instances/i1/start"),
    ("PUT", "/v1/instances/i1/stop"),
    ("GET", "/v1/users/quotas"),
    ("GET", "/v1/nothing"),
];

#[test]
fn no_route_is_open_without_a_good_token() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    let expired = server.token_with(TokenLimits {
        lifetime: Some(std::time::Duration::from_secs(60)),
        ..TokenLimits::default()
    });
    server.advance(std::time::Duration::from_secs(61));
    let unknown_account = "bm9ib2R5OjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc=";
    let wrong_secret = "YWRtaW46MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nw==";
    let bad = [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some("Bearer nonsense".to_owned()),
        Some(format!("Basic {}", server.token)),
        Some(server.token.clone()),
        Some(format!("Bearer {unknown_account}")),
        Some(format!("Bearer {wrong_secret}")),
        Some(format!("Bearer {expired}")),
        Some(format!("Bearer {}", "A".repeat(8_000))),
    ];
    // 1
    for (method, path) in ROUTES {
        for credentials in &bad {
            let headers: Vec<_> = credentials
                .iter()
                .map(|value| ("Authorization", value.as_str()))
                .collect();
            let response = server.send(method, path, &headers, "");
            assert_eq!(response.status, 401, "{method} {path} {credentials:?}");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
            if method != "HEAD" {
                assert_eq!(Answer::of(&response).refused(401, None), "invalid token");
            }
        }
    }
    get(&server, "/v1/certificates/c1").item();
}

#[test]
fn the_scheme_of_credentials_has_no_case() {
    let server = Server::start();
    let authorization = format!("bEARER {}", server.token);
    let headers = [("Authorization", authorization.as_str())];
    Answer::of(&server.send("GET", CERTIFICATES, &headers, "")).expect("success");
}

#[test]
fn tokens_without_the_right_are_forbidden() {
    let server = Server::start();
    let uuid = upload_each(&server, &["c1"]).remove(0);
    let elsewhere = server.token_with(TokenLimits {
        dialects: Some(vec![Dialect::CertMaker]),
        ..TokenLimits::default()
    });
    for (method, path) in ROUTES.into_iter().filter(|(method, _)| *method != "HEAD") {
        send_as(&server, &elsewhere, method, path, "").refused(403, Some(14));
    }

    let read_only = server.token_with(TokenLimits {
        read_only: true,
        ..TokenLimits::default()
    });
    let pair = Pair::new("example.com", &[]);
    let upload = pair.upload("c2", "example.com").to_string();
    let managed = json!({"cn": "example.com"}).to_string();
    let update = json!([pair.replacing(json!({"name": "c1"}))]).to_string();
    let delete = json!([{"name": "nope"}, {"uuid": uuid}]).to_string();
    let service = domains(&["a.example."]).to_string();
    let operation = json!({"name": "s1", "prop": "soft_limit", "op": "set"}).to_string();
    let instance = json!({"image": "nginx"}).to_string();
    for (method, path, body) in [
        ("POST", CERTIFICATES, upload),
        ("POST", CERTIFICATES, managed),
        ("PUT", CERTIFICATES, update),
        ("DELETE", CERTIFICATES, delete.clone()),
        ("POST", SERVICES, service),
        ("PATCH", SERVICES, operation),
        ("DELETE", SERVICES, delete.clone()),
        ("POST", INSTANCES, instance),
        ("DELETE", INSTANCES, delete),
    ] {
        send_as(&server, &read_only, method, path, body).refused(403, Some(14));
    }
    for path in [SERVICES, INSTANCES, "/v1/users/quotas"] {
        send_as(&server, &read_only, "GET", path, "").expect("success");
    }
    assert_eq!(
        send_as(&server, &read_only, "GET", CERTIFICATES, "").names(),
        ["c1"]
    );
}

#[test]
fn a_disabled_account_is_forbidden_and_a_locked_one_is_not() {
    let server = Server::start();
    let token = server.account("tenant");
    send_as(&server, &token, "GET", CERTIFICATES, "").expect("success");
    server.change_account("tenant", AccountChange::Lock);
    send_as(&server, &token, "GET", CERTIFICATES, "").expect("success");
    server.change_account("tenant", AccountChange::Disable);
    send_as(&server, &token, "GET", CERTIFICATES, "").refused(403, Some(14));
}

#[test]
fn the_root_asks_for_a_token() {
    let server = Server::start();
    // 2
    for path in ["/", "//", "/?a=b"] {
        let response = server.send("GET", path, &[], "");
        assert_eq!(response.status, 401, "{path}");
        assert_eq!(Answer::of(&response).refused(401, None), "invalid token");
    }
    let authorization = format!("Bearer {}", server.token);
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Accept", "text/html"),
    ];
    assert_eq!(server.send("GET", "/", &headers, "").status, 401);
}

#[test]
fn unknown_paths_are_not_found_and_nothing_is_redirected() {
    let server = Server::start();
    for path in [
        "/v1",
        "/v1/",
        "/v1/v1",
        "/v1/v1/v1/certificates",
        "/v1//certificates",
        "/v1/certificates//",
        "/v1/certificates/a/b",
        "/v1/Certificates",
        "/v1/certificates%2Flist",
        "/v1/metros",
        "/v1/services/a/autoscale",
        "/v1/instances/a/log",
        "/v1/instances/a/b/start",
        "/v1/users",
        "/v1/users/quotas/a",
        "/v1/volumes",
        "/v1/../certificates",
    ] {
        get(&server, path).refused(404, Some(3));
    }
    let response = server.send("GET", "/certificates", &[], "");
    assert_eq!(response.status, 404);
    assert!(response.text().contains("/v1"));
}

#[test]
fn wrong_methods_are_told_which_ones_would_do() {
    let server = Server::start();
    let authorization = format!("Bearer {}", server.token);
    let headers = [("Authorization", authorization.as_str())];
    for (method, path, allowed) in [
        (
            "OPTIONS",
            "/v1/certificates",
            "GET, HEAD, POST, PUT, PATCH, DELETE",
        ),
        ("POST", "/v1/certificates/list", "GET, HEAD"),
        ("DELETE", "/v1/certificates/list", "GET, HEAD"),
        (
            "POST",
            "/v1/certificates/c1",
            "GET, HEAD, PUT, PATCH, DELETE",
        ),
        ("POST", "/v1/healthz", "GET, HEAD"),
        ("PUT", "/v1/services", "GET, HEAD, POST, PATCH, DELETE"),
        ("POST", "/v1/services/list", "GET, HEAD"),
        ("POST", "/v1/services/s1", "GET, HEAD, PATCH, DELETE"),
        ("PATCH", "/v1/instances", "GET, HEAD, POST, DELETE"),
        ("PUT", "/v1/instances/i1", "GET, HEAD, DELETE"),
        ("GET", "/v1/instances/i1/start", "PUT, POST"),
        ("DELETE", "/v1/instances/i1/stop", "PUT, POST"),
        ("POST", "/v1/users/quotas", "GET, HEAD"),
    ] {
        let response = server.send(method, path, &headers, "");
        Answer::of(&response).refused(405, Some(2));
        assert_eq!(response.header("allow"), Some(allowed), "{method} {path}");
    }
    let head = server.send("HEAD", CERTIFICATES, &headers, "");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn health_is_told_to_anyone() {
    let server = Server::start();
    let health = Answer::of(&server.send("GET", "/v1/healthz", &[], ""));
    health.expect("success");
    let data = health.envelope["data"].as_object().unwrap();
    let members: Vec<_> = data.keys().map(String::as_str).collect();
    assert_eq!(members, ["checks", "license", "versions"]);
    assert_eq!(data["checks"]["store"], "healthy");
}

#[test]
fn quotas_tell_that_nothing_is_limited() {
    let server = Server::start();
    for path in ["/v1/users/quotas", "/v1/v1/users/quotas/"] {
        let quotas = get(&server, path);
        assert_eq!(quotas.key(), "quotas");
        let item = quotas.item();
        let account = server.administrator().account_id().to_string();
        assert_eq!(item["uuid"], account);
        for member in ["used", "hard", "limits"] {
            assert_eq!(item[member], json!({}), "{member}");
        }
    }
}
