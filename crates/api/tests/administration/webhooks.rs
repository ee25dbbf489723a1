//! Webhooks.

use serde_json::{Value, json};

use super::call;
use super::support::Server;

const WEBHOOKS: &str = "/chancery/v1/webhooks";

#[test]
fn a_webhook_shows_its_secret_once() {
    let server = Server::start();
    let shop = server.account("shop");
    let body = json!({
        "url": "https://hooks.test/in",
        "events": ["certificate.failed", "certificate.expiring"],
        "format": "cloud66",
    });
    let added = call(&server, &shop, "POST", WEBHOOKS, &body);
    assert_eq!(added.status, 200, "{}", added.text());
    let added = added.json();
    assert_eq!(added["url"], "https://hooks.test/in");
    assert_eq!(added["format"], "cloud66");
    let secret = added["secret"].as_str().unwrap();
    assert!(secret.len() >= 32);

    let listed = call(&server, &shop, "GET", WEBHOOKS, &Value::Null);
    assert!(!listed.text().contains(secret), "{}", listed.text());
    let listed = listed.json();
    let [listed] = &listed["webhooks"].as_array().unwrap()[..] else {
        panic!("{listed}");
    };
    assert_eq!(listed["uuid"], added["uuid"]);
    assert!(listed.get("secret").is_none());
    assert_eq!(
        listed["events"],
        json!(["certificate.failed", "certificate.expiring"])
    );

    let path = format!("{WEBHOOKS}/{}", added["uuid"].as_str().unwrap());
    let other = server.account("other");
    assert_eq!(
        call(&server, &other, "DELETE", &path, &Value::Null).status,
        404
    );
    // There is no network: that is told, and no fault of the server's.
    let tried = call(&server, &shop, "POST", &format!("{path}/test"), &json!({}));
    assert_eq!(tried.status, 200);
    assert_eq!(tried.json()["delivered"], false);
    assert!(tried.json()["reason"].is_string());
    assert_eq!(
        call(&server, &shop, "DELETE", &path, &Value::Null).status,
        200
    );
    assert_eq!(
        call(&server, &shop, "DELETE", &path, &Value::Null).status,
        404
    );
}

#[test]
fn what_no_webhook_can_be_is_refused_with_its_reason() {
    let server = Server::start();
    let shop = server.account("shop");
    for (body, status, words) in [
        (json!({}), 400, "'url' is missing"),
        (json!({ "url": "hooks.test" }), 400, "https://"),
        (json!({ "url": "http://127.0.0.1/" }), 400, "loopback"),
        (
            json!({ "url": "https://hooks.test/", "events": ["certificate.lost"] }),
            400,
            "certificate.expiring",
        ),
        (
            json!({ "url": "https://hooks.test/", "format": "xml" }),
            400,
            "cloud66",
        ),
        (
            json!({ "url": "https://hooks.test/", "secret": "s" }),
            400,
            "16 to 256",
        ),
        (
            json!({ "url": "https://hooks.test/", "account": "admin" }),
            403,
            "administrator",
        ),
    ] {
        let refused = call(&server, &shop, "POST", WEBHOOKS, &body);
        assert_eq!(refused.status, status, "{body}: {}", refused.text());
        assert!(refused.text().contains(words), "{body}: {}", refused.text());
    }
    let bad = call(
        &server,
        &shop,
        "DELETE",
        &format!("{WEBHOOKS}/x"),
        &Value::Null,
    );
    assert_eq!(bad.status, 400);
}
