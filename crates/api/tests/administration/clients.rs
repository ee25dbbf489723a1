//! Programs that may ask people for tokens.

use serde_json::{Value, json};

use crate::call;
use crate::support::Server;

const PATH: &str = "/chancery/v1/clients";

#[test]
fn a_client_is_registered_listed_and_removed() {
    let server = Server::start();
    let register = |body: Value| call(&server, &server.token, "POST", PATH, &body);
    let redirects = json!(["https://shop.test/back"]);
    let body = json!({ "name": "shop", "redirects": redirects, "confidential": true });
    let made = register(body.clone());
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    assert_eq!(made["name"], "shop");
    assert!(made["secret"].as_str().unwrap().len() >= 43);
    assert_eq!(register(body).status, 409);
    let open = register(json!({ "name": "cli", "redirects": ["http://127.0.0.1:1/"] }));
    assert!(open.json().get("secret").is_none());

    let listed = call(&server, &server.token, "GET", PATH, &Value::Null);
    assert!(!listed.text().contains(made["secret"].as_str().unwrap()));
    let listed = listed.json()["clients"].take();
    let names = listed.as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cx", "cli", "shop"]);
    assert_eq!(listed[2]["confidential"], true);
    assert_eq!(listed[2]["redirects"], redirects);

    for (name, status) in [("shop", 200), ("shop", 404), ("cx", 404)] {
        let path = format!("{PATH}/{name}");
        let removed = call(&server, &server.token, "DELETE", &path, &Value::Null);
        assert_eq!(removed.status, status, "{name}");
    }
}

#[test]
fn what_could_mislead_people_is_not_registered() {
    let server = Server::start();
    for (body, status) in [
        (
            json!({ "name": "cx", "redirects": ["https://x.test/"] }),
            409,
        ),
        (json!({ "name": "", "redirects": ["https://x.test/"] }), 400),
        (
            json!({ "name": "a b", "redirects": ["https://x.test/"] }),
            400,
        ),
        (
            json!({ "name": "<b>", "redirects": ["https://x.test/"] }),
            400,
        ),
        (
            json!({ "name": "x".repeat(65), "redirects": ["https://x.test/"] }),
            400,
        ),
        (json!({ "name": "x", "redirects": [] }), 400),
        (
            json!({ "name": "x", "redirects": vec!["https://x.test/"; 21] }),
            400,
        ),
        (json!({ "name": "x", "redirects": ["http://x.test/"] }), 400),
        (
            json!({ "name": "x", "redirects": ["javascript:alert(1)"] }),
            400,
        ),
        (
            json!({ "name": "x", "redirects": ["https://*.x.test/"] }),
            400,
        ),
        (json!({ "redirects": ["https://x.test/"] }), 400),
        (json!({ "name": "x" }), 400),
    ] {
        let refused = call(&server, &server.token, "POST", PATH, &body);
        assert_eq!(refused.status, status, "{body}");
    }
}
