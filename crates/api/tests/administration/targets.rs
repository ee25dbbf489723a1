//! Targets: which tokens may do what, and what is said on the wire.

use lifecycle::{Dialect, TokenLimits};
use pki::PrivateKey;
use serde_json::{Value, json};

use crate::call;
use crate::support::Server;
use testbed::http::Response;

const DIRECTORY: &str = "0190163d-8694-439b-aea5-966c26f8ad17";
const UUID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

fn deliverer(server: &Server, account: &str) -> String {
    server.token_with(TokenLimits {
        account: Some(account.to_owned()),
        dialects: Some(vec![Dialect::Delivery]),
        ..TokenLimits::default()
    })
}

/// What somebody says who delivers into [`DIRECTORY`].
fn deliver(server: &Server, token: &str, method: &str, path: &str, body: &Value) -> Response {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Chancery-Directory", DIRECTORY),
    ];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    server.send(method, path, &headers, body)
}

/// A certificate whose key the server keeps; its uuid.
fn managed(server: &Server, name: &str) -> String {
    let body = json!({ "names": [name], "name": name, "managed": true });
    let path = "/chancery/v1/certificates";
    let asked = call(server, &server.token, "POST", path, &body);
    assert_eq!(asked.status, 200, "{}", asked.text());
    server.run(server.house.obtain_due_now()).unwrap();
    asked.json()["uuid"].as_str().unwrap().to_owned()
}

fn plan(server: &Server, token: &str, target: &str) -> Value {
    let path = format!("/chancery/v1/targets/{target}/plan?wait=0");
    let plan = deliver(server, token, "GET", &path, &Value::Null);
    assert_eq!(plan.status, 200, "{}", plan.text());
    plan.json()
}

#[test]
fn a_token_for_delivery_reaches_what_delivers_and_no_other_token_does() {
    let server = Server::start();
    let delivery = deliverer(&server, "admin");
    let shop = server.account("shop");
    let narrow = server.token_with(TokenLimits {
        dialects: Some(vec![Dialect::Chancery]),
        ..TokenLimits::default()
    });
    let id = managed(&server, "a.test");
    let material = format!("/chancery/v1/targets/web/certificates/{id}");
    let wants = json!({ "directory": DIRECTORY });
    let registered = deliver(
        &server,
        &delivery,
        "PUT",
        "/chancery/v1/targets/web",
        &wants,
    );
    assert_eq!(registered.status, 200, "{}", registered.text());
    let delivering = [
        ("PUT", "/chancery/v1/targets/web", wants),
        ("GET", "/chancery/v1/targets/web/plan?wait=0", Value::Null),
        ("GET", &material, Value::Null),
        (
            "POST",
            "/chancery/v1/targets/web/placements",
            json!({ "placements": [] }),
        ),
        (
            "GET",
            "/chancery/v1/handshake?server_name=a.test",
            Value::Null,
        ),
    ];
    for (method, path, body) in delivering {
        let answer = deliver(&server, &delivery, method, path, &body);
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        for other in [&server.token, &shop, &narrow] {
            let refused = deliver(&server, other, method, path, &body);
            assert_eq!(refused.status, 403, "{method} {path}: {}", refused.text());
            assert!(!refused.text().contains("PRIVATE KEY"));
        }
    }
    let document = server.send("GET", "/openapi.json", &[], "").json();
    let mut refused = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let delivers = (path.starts_with("/chancery/v1/targets/{name}/")
                || path == "/chancery/v1/handshake")
                || (path == "/chancery/v1/targets/{name}" && method == "put");
            if method == "parameters" || delivers {
                continue;
            }
            let method = method.to_uppercase();
            let path = path.replace("{change}", "disable").replace(['{', '}'], "");
            let answer = call(&server, &delivery, &method, &path, &Value::Null);
            assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
            refused += 1;
        }
    }
    assert!(refused >= 50, "{refused}");
    for path in ["/v1/certificates", "/v1/services", "/api/3/stacks"] {
        let bearer = format!("Bearer {delivery}");
        let answer = server.send("GET", path, &[("Authorization", &bearer)], "");
        assert!(
            matches!(answer.status, 401 | 403),
            "{path}: {}",
            answer.status
        );
    }
}

#[test]
fn unrestricted_tokens_mint_tokens_for_delivery_and_limited_ones_do_not() {
    let server = Server::start();
    let shop = server.account("shop");
    let narrow = server.token_with(TokenLimits {
        dialects: Some(vec![Dialect::Chancery]),
        ..TokenLimits::default()
    });
    let reader = server.token_with(TokenLimits {
        read_only: true,
        ..TokenLimits::default()
    });
    let path = "/chancery/v1/tokens";
    let body = json!({ "dialects": ["delivery"] });
    for (token, status) in [(&shop, 200), (&narrow, 403), (&reader, 403)] {
        let answer = call(&server, token, "POST", path, &body);
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    for mixed in [
        json!({ "dialects": ["delivery", "chancery"] }),
        json!({ "dialects": ["delivery"], "read_only": true }),
        json!({ "dialects": ["delivery"], "scopes": ["admin"] }),
    ] {
        let answer = call(&server, &shop, "POST", path, &mixed);
        assert_eq!(answer.status, 400, "{mixed}: {}", answer.text());
    }
}

#[test]
fn a_target_is_told_what_to_have_and_shown_with_what_it_says() {
    let server = Server::start();
    let token = deliverer(&server, "admin");
    let id = managed(&server, "a.test");
    let path = "/chancery/v1/targets/web";
    let wants = json!({ "directory": DIRECTORY, "services": null });
    let registered = deliver(&server, &token, "PUT", path, &wants).json();
    assert_eq!(registered["name"], "web");
    assert_eq!(registered["services"], Value::Null);
    let first = plan(&server, &token, "web");
    assert_eq!(first["remove"], json!([]));
    assert_eq!(first["left_out"], 0);
    let wanted = &first["place"][0];
    assert_eq!(
        (
            &wanted["certificate"],
            &wanted["name"],
            &wanted["acknowledged"]
        ),
        (&json!(id), &json!("a.test"), &json!(false))
    );
    let material = deliver(
        &server,
        &token,
        "GET",
        &format!("{path}/certificates/{id}"),
        &Value::Null,
    );
    assert_eq!(material.header("cache-control"), Some("no-store"));
    let material = material.json();
    assert_eq!(material["version"], wanted["version"]);
    let key = material["private_key"].as_str().unwrap();
    let key = PrivateKey::from_pem(key.as_bytes()).unwrap();
    let chain = pki::read_chain(
        material["chain"].as_str().unwrap().as_bytes(),
        key.public_key(),
    );
    assert_eq!(chain.unwrap().intermediates.len(), 1);

    let say = |body: Value| {
        let body = json!({ "placements": [body] });
        deliver(
            &server,
            &token,
            "POST",
            &format!("{path}/placements"),
            &body,
        )
        .status
    };
    let shown = || {
        let shown = call(&server, &server.token, "GET", path, &Value::Null).json();
        shown["certificates"][0].clone()
    };
    assert_eq!(shown()["standing"], "outstanding");
    let refused = json!({ "certificate": id, "outcome": "refused", "version": wanted["version"],
        "reason": "no space left on device" });
    assert_eq!(say(refused), 200);
    assert_eq!(shown()["standing"], "refused");
    assert_eq!(shown()["reason"], "no space left on device");
    let placed = json!({ "certificate": id, "outcome": "placed", "version": wanted["version"] });
    assert_eq!(say(placed), 200);
    assert_eq!(shown()["standing"], "placed");
    assert_eq!(shown()["reason"], Value::Null);
    let same = plan(&server, &token, "web");
    assert_eq!(same["tag"], first["tag"]);
    assert_eq!(same["place"][0]["acknowledged"], true);

    let certificate = format!("/chancery/v1/certificates/{id}");
    let deleted = call(&server, &server.token, "DELETE", &certificate, &Value::Null);
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    let last = plan(&server, &token, "web");
    assert_eq!(last["place"], json!([]));
    assert_eq!(
        last["remove"],
        json!([{ "certificate": id, "name": "a.test" }])
    );
    assert_eq!(shown()["standing"], "removing");
    assert_eq!(say(json!({ "certificate": id, "outcome": "removed" })), 200);
    assert_eq!(shown(), Value::Null);

    let listed = call(
        &server,
        &server.token,
        "GET",
        "/chancery/v1/targets",
        &Value::Null,
    )
    .json();
    assert_eq!(listed["targets"][0]["name"], "web");
    assert!(listed["targets"][0]["seen_at"].is_string());
    let removed = call(&server, &server.token, "DELETE", path, &Value::Null);
    assert_eq!(removed.status, 200);
    for (token, path) in [
        (&server.token, path.to_owned()),
        (&token, format!("{path}/plan?wait=0")),
    ] {
        let gone = deliver(&server, token, "GET", &path, &Value::Null);
        assert_eq!(gone.status, 404);
    }
}

#[test]
fn nonsense_of_targets_is_refused() {
    let server = Server::start();
    let token = deliverer(&server, "admin");
    let status = |method: &str, path: &str, body: Value| {
        let path = format!("/chancery/v1/targets/{path}");
        let answer = deliver(&server, &token, method, &path, &body);
        assert!(!answer.text().contains("SECRET"), "{}", answer.text());
        answer.status
    };
    let wants = json!({ "directory": DIRECTORY });
    assert_eq!(status("PUT", "web", wants.clone()), 200);
    let many: Vec<String> = (0..101).map(|number| format!("s{number}")).collect();
    let long = "x".repeat(65);
    for (path, body, expected) in [
        ("-web", wants.clone(), 400),
        ("%2e%2e", wants.clone(), 400),
        ("a%2fb", wants.clone(), 400),
        (&*long, wants, 400),
        (
            "web",
            json!({ "directory": DIRECTORY, "services": "SECRET" }),
            400,
        ),
        (
            "web",
            json!({ "directory": DIRECTORY, "services": ["no-such"] }),
            404,
        ),
        (
            "web",
            json!({ "directory": DIRECTORY, "services": many }),
            400,
        ),
        ("web", json!({ "directory": "/etc" }), 400),
        ("web", json!({ "directory": null }), 400),
        ("web", json!({ "services": null }), 400),
        ("web", json!({ "directory": UUID }), 409),
        ("web2", json!({ "directory": DIRECTORY }), 409),
    ] {
        assert_eq!(status("PUT", path, body.clone()), expected, "{path} {body}");
    }
    for (path, expected) in [
        ("web/plan?wait=31", 400),
        ("web/plan?wait=-1", 400),
        ("web/plan?wait=x", 400),
        ("no-such/plan?wait=0", 404),
        ("web/plan?wait=0&seen=%00%ff", 400),
        ("web/certificates/x", 400),
        (&*format!("web/certificates/{UUID}"), 404),
        (&*format!("no-such/certificates/{UUID}"), 404),
        ("web/certificates", 404),
    ] {
        assert_eq!(status("GET", path, Value::Null), expected, "{path}");
    }
    let said = |said: Value| json!({ "placements": [said] });
    let too_many = vec![json!({ "certificate": UUID, "outcome": "removed" }); 1_001];
    for body in [
        json!({}),
        json!({ "placements": "SECRET" }),
        json!({ "placements": [["SECRET"]] }),
        said(json!({ "certificate": "SECRET", "outcome": "removed" })),
        said(json!({ "certificate": UUID, "outcome": "SECRET" })),
        said(json!({ "certificate": UUID, "outcome": "placed" })),
        said(json!({ "certificate": UUID, "outcome": "placed", "version": "SECRET" })),
        said(json!({ "certificate": UUID, "outcome": "refused", "version": UUID })),
        said(json!({ "certificate": UUID, "outcome": "removed", "version": UUID })),
        said(json!({ "certificate": UUID, "outcome": "removed", "key": "SECRET" })),
        json!({ "placements": too_many }),
    ] {
        assert_eq!(
            status("POST", "web/placements", body.clone()),
            400,
            "{body}"
        );
    }
    // Well-formed nonsense about what nobody has changes nothing.
    let foreign = said(json!({ "certificate": UUID, "outcome": "placed", "version": UUID }));
    assert_eq!(status("POST", "web/placements", foreign), 200);
    assert_eq!(plan(&server, &token, "web")["remove"], json!([]));
    for (method, path) in [
        ("POST", "web"),
        ("DELETE", "web/plan"),
        ("PUT", "web/placements"),
    ] {
        assert_eq!(
            status(method, path, Value::Null),
            if path == "web" { 403 } else { 405 }
        );
    }
}

#[test]
fn who_does_not_say_which_directory_it_is_gets_nothing() {
    let server = Server::start();
    let token = deliverer(&server, "admin");
    let id = managed(&server, "a.test");
    let path = "/chancery/v1/targets/web";
    let wants = json!({ "directory": DIRECTORY });
    assert_eq!(deliver(&server, &token, "PUT", path, &wants).status, 200);
    for (method, path, body) in [
        ("GET", format!("{path}/plan?wait=0"), Value::Null),
        ("GET", format!("{path}/certificates/{id}"), Value::Null),
        (
            "POST",
            format!("{path}/placements"),
            json!({ "placements": [] }),
        ),
    ] {
        let bearer = format!("Bearer {token}");
        for (directory, status) in [(None, 400), (Some("web"), 400), (Some(UUID), 409)] {
            let mut headers = vec![("Authorization", bearer.as_str())];
            headers.extend(directory.map(|directory| ("Chancery-Directory", directory)));
            let body = if body.is_null() {
                String::new()
            } else {
                body.to_string()
            };
            let answer = server.send(method, &path, &headers, body);
            assert_eq!(answer.status, status, "{path} {directory:?}");
        }
    }
}

#[test]
fn caddy_gets_certificates_for_its_handshakes() {
    let server = Server::start();
    managed(&server, "a.test");
    let shop = server.account("shop");
    let foreign = deliverer(&server, "shop");
    let token = deliverer(&server, "admin");
    // What Go makes of https://NAME:TOKEN@HOST, and what Caddy asks.
    let query = "server_name=a.test&signature_schemes=804%2C403%2C805%2C806%2C401%2C501%2C601%2C503%2C603%2C201%2C203\
                 &cipher_suites=1301%2C1302%2C1303%2Cc02b";
    let ask = |authorization: &str, query: &str| {
        let path = format!("/chancery/v1/handshake?{query}");
        server.send("GET", &path, &[("Authorization", authorization)], "")
    };
    let basic = |token: &str| {
        use base64::Engine as _;
        let credentials = format!("caddy:{token}");
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(credentials)
        )
    };
    for authorization in [basic(&token), format!("Bearer {token}")] {
        let answer = ask(&authorization, query);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let text = answer.text();
        assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2);
        let key = text.find("-----BEGIN PRIVATE KEY-----").unwrap();
        let key = PrivateKey::from_pem(&text.as_bytes()[key..]).unwrap();
        pki::read_chain(text.as_bytes(), key.public_key()).unwrap();
    }
    for none in [
        "server_name=b.test",
        "server_name=",
        "",
        "server_name=%2e%2e",
        "server_name=192.0.2.1",
    ] {
        let answer = ask(&basic(&token), none);
        assert_eq!((answer.status, answer.text().len()), (204, 0), "{none}");
    }
    assert_eq!(ask(&basic(&foreign), query).status, 204);
    for (credentials, status) in [
        (basic(&shop), 403),
        (basic(&server.token), 403),
        (basic("nonsense"), 401),
        ("Basic %%%".to_owned(), 401),
    ] {
        let refused = ask(&credentials, query);
        assert_eq!(refused.status, status, "{credentials}");
    }
}
