//! Certificates that the server obtains by itself, and what it says of how it stands.

use serde_json::{Value, json};

use super::call;
use super::support::Server;

const CERTIFICATES: &str = "/chancery/v1/certificates";

#[test]
fn a_managed_certificate_is_pending_until_the_server_has_obtained_it() {
    let server = Server::start();
    let body = json!({ "names": ["a.test", "b.test"], "managed": true });
    let asked = call(&server, &server.token, "POST", CERTIFICATES, &body);
    assert_eq!(asked.status, 200, "{}", asked.text());
    let asked = asked.json();
    assert_eq!(asked["state"], "pending");
    assert_eq!(asked["attempt"], 0);
    assert_eq!(asked["identifiers"], json!(["a.test", "b.test"]));
    assert!(asked.get("private_key").is_none());

    server.run(server.house.obtain_due_now()).unwrap();
    let path = format!("{CERTIFICATES}/{}", asked["uuid"].as_str().unwrap());
    let shown = call(&server, &server.token, "GET", &path, &Value::Null).json();
    assert_eq!(shown["state"], "valid");
    assert!(shown["renew_at"].is_string());
    assert!(
        shown["chain"]
            .as_str()
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );

    // Renewed by hand: another version, and the one before stays known.
    let renewed = call(
        &server,
        &server.token,
        "POST",
        &format!("{path}/renew"),
        &json!({}),
    );
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert_eq!(renewed.json()["current"]["uuid"], shown["current"]["uuid"]);
    server.run(server.house.obtain_due_now()).unwrap();
    let again = call(&server, &server.token, "GET", &path, &Value::Null).json();
    assert_ne!(again["current"]["uuid"], shown["current"]["uuid"]);
    assert_eq!(again["versions"].as_array().unwrap().len(), 2);
}

#[test]
fn what_cannot_be_obtained_is_refused_with_its_reason() {
    let server = Server::start();
    for (body, status, words) in [
        (
            json!({ "names": ["a.test"], "issuer": "nowhere" }),
            404,
            "no issuer 'nowhere'",
        ),
        (json!({ "names": [], "managed": true }), 400, "at least one"),
        (
            json!({ "names": ["a@b.test"], "managed": true }),
            400,
            "IP addresses only",
        ),
        (
            json!({ "names": ["a.test"], "managed": true, "days": 3 }),
            400,
            "leave days out",
        ),
        (
            json!({ "names": ["a.test"], "managed": true, "csr": "x" }),
            400,
            "leave the CSR",
        ),
        (
            json!({ "names": ["a.test"], "managed": "yes" }),
            400,
            "true or false",
        ),
    ] {
        let refused = call(&server, &server.token, "POST", CERTIFICATES, &body);
        assert_eq!(refused.status, status, "{body}: {}", refused.text());
        assert!(refused.text().contains(words), "{body}: {}", refused.text());
    }
    let issued = call(
        &server,
        &server.token,
        "POST",
        CERTIFICATES,
        &json!({ "names": ["c.test"] }),
    );
    let path = format!(
        "{CERTIFICATES}/{}/renew",
        issued.json()["uuid"].as_str().unwrap()
    );
    let refused = call(&server, &server.token, "POST", &path, &json!({}));
    assert_eq!(refused.status, 409, "{}", refused.text());
}

#[test]
fn metrics_tell_when_the_first_certificate_ends_and_how_late_the_scheduler_is() {
    let server = Server::start();
    let body = json!({ "names": ["a.test"], "days": 1 });
    let issued = call(&server, &server.token, "POST", CERTIFICATES, &body);
    assert_eq!(issued.status, 200);
    let metrics = server.send("GET", "/metrics", &[], "").text();
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not in:\n{metrics}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(value("chancery_earliest_expiry_timestamp_seconds") > 1_000_000_000.0);
    assert!(value("chancery_scheduler_lag_seconds") >= 0.0);
}

#[test]
fn dns_providers_say_what_they_want_to_see() {
    let server = Server::start();
    let kinds = call(
        &server,
        &server.token,
        "GET",
        "/chancery/v1/dns/kinds",
        &Value::Null,
    );
    let kinds = kinds.json();
    let kinds = kinds["kinds"].as_array().unwrap();
    let rfc2136 = kinds.iter().find(|kind| kind["name"] == "rfc2136").unwrap();
    let fields = rfc2136["fields"].as_array().unwrap();
    let secret = fields
        .iter()
        .find(|field| field["name"] == "secret")
        .unwrap();
    assert_eq!(secret["secret"], true);
    for (body, words) in [
        (
            json!({ "zone": "a.test", "kind": "rfc2136", "credentials": {} }),
            "server",
        ),
        (
            json!({ "zone": "a.test", "kind": "nobody", "credentials": {} }),
            "nobody",
        ),
        (
            json!({ "zone": "a.test", "kind": "rfc2136" }),
            "'credentials' is missing",
        ),
    ] {
        let refused = call(&server, &server.token, "POST", "/chancery/v1/dns", &body);
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains(words), "{}", refused.text());
    }
}

#[test]
fn issuers_are_listed_and_added_with_what_is_wrong_with_them() {
    let server = Server::start();
    let listed = call(
        &server,
        &server.token,
        "GET",
        "/chancery/v1/issuers",
        &Value::Null,
    );
    assert_eq!(listed.status, 200, "{}", listed.text());
    let listed = listed.json();
    let issuers = listed["issuers"].as_array().unwrap();
    let default = issuers.iter().find(|one| one["name"] == "default").unwrap();
    assert_eq!(default["kind"], "authority");
    assert_eq!(default["default"], true);
    for (body, status, words) in [
        (json!({ "name": "le" }), 400, "'acme' is missing"),
        (
            json!({ "name": "le", "acme": "https://acme.test/", "eab_kid": "k" }),
            400,
            "come together",
        ),
        (
            json!({ "name": "le", "acme": "https://acme.test/", "eab_kid": "k", "eab_hmac": "%SECRET" }),
            400,
            "base64url",
        ),
        (
            json!({ "name": "le", "acme": "https://acme.test/", "rank": -1 }),
            400,
            "rank",
        ),
        (
            json!({ "name": "le", "acme": "https://acme.test/", "limits": { "orders": "many" } }),
            400,
            "300/3h",
        ),
        (
            json!({ "name": "default", "acme": "https://acme.test/" }),
            409,
            "default",
        ),
        // There is no network.
        (
            json!({ "name": "le", "acme": "https://acme.test/" }),
            502,
            "no network",
        ),
    ] {
        let refused = call(
            &server,
            &server.token,
            "POST",
            "/chancery/v1/issuers",
            &body,
        );
        assert_eq!(refused.status, status, "{body}: {}", refused.text());
        assert!(refused.text().contains(words), "{body}: {}", refused.text());
        assert!(!refused.text().contains("SECRET"), "{}", refused.text());
    }
}
