//! `/dns_providers`, `/accounts` and the notifications of a stack.

use lifecycle::{Error, NewDnsProvider, NewWebhook, NoticeKind, TokenLimits, WebhookFormat};
use serde_json::{Value, json};
use testbed::{Workdir, openssl};

use crate::support::Server;
use crate::{assert_error, response_of, send, send_as};

/// A provider of each type, with what it wants to see.
fn providers() -> Vec<(&'static str, Value)> {
    vec![
        ("DigitalOcean", json!({ "token": "SECRET" })),
        ("DNSimple", json!({ "token": "SECRET" })),
        ("DnsMadeEasy", json!({ "key": "k", "secret": "SECRET" })),
        ("Gehirn", json!({ "token": "t", "secret": "SECRET" })),
        ("Hetzner", json!({ "token": "SECRET" })),
        ("Linode", json!({ "key": "SECRET" })),
        ("luaDNS", json!({ "key": "SECRET", "email": "a@b.test" })),
        ("NS1", json!({ "key": "SECRET" })),
        (
            "OVH",
            json!({
                "application_key": "a", "application_secret": "SECRET",
                "consumer_key": "SECRET", "endpoint": "ovh-eu",
            }),
        ),
        (
            "RFC2136",
            json!({
                "server": "192.0.2.1", "port": 53, "name": "key",
                "secret": "U0VDUkVU", "algorithm": "hmac-sha256",
            }),
        ),
        (
            "Route53",
            json!({ "access_key": "a", "secret_key": "SECRET" }),
        ),
        ("SakuraCloud", json!({ "token": "t", "secret": "SECRET" })),
        (
            "Azure",
            json!({
                "subscription_id": "s", "tenant_id": "t", "client_id": "c",
                "client_secret": "SECRET", "resource_group": "r",
            }),
        ),
        ("Cloudflare", json!({ "api_token": "SECRET", "email": "" })),
        ("Google", json!({ "service_account_json": google() })),
        (
            "TransIP",
            json!({ "username": "u", "key_file": "-----BEGIN PRIVATE KEY-----SECRET" }),
        ),
    ]
}

/// The file of a service account.
fn google() -> String {
    let files = Workdir::new();
    let key = files.path("key.pem");
    let arguments = ["genpkey", "-algorithm", "RSA", "-out", &key];
    openssl(&arguments, b"");
    let key = std::fs::read_to_string(key).unwrap();
    json!({ "client_email": "dns@project.iam.test", "private_key": key, "project_id": "SECRET" })
        .to_string()
}

fn create(server: &Server, kind: &str, key: &str, credentials: &Value) -> testbed::http::Response {
    let body = json!({ "dns_provider": { "type": kind, "key": key, "credentials": credentials } });
    send(server, "POST", "/dns_providers.json", body.to_string())
}

/// Row 22.
#[test]
fn providers_of_all_types_are_listed_without_their_credentials() {
    let server = Server::start();
    let empty = send(&server, "GET", "/dns_providers", "");
    assert_eq!(response_of(&empty), json!([]));
    assert_eq!(empty.json()["pagination"]["pages"], 0);
    let providers = providers();
    for (kind, credentials) in &providers {
        let made = response_of(&create(&server, kind, "main", credentials));
        let uuid = made["uuid"].as_str().unwrap();
        let digits = uuid.strip_prefix("dp-").unwrap();
        assert!(digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(made["type"], *kind);
        assert_eq!(made["key"], "main");
        assert_eq!(made["display_name"], format!("{kind} (main)"));
        assert_eq!(made.as_object().unwrap().len(), 6, "{made}");
    }
    let list = send(&server, "GET", "/dns_providers.json", "");
    let kinds = response_of(&list);
    let kinds = kinds.as_array().unwrap().iter();
    let kinds: Vec<&str> = kinds.map(|one| one["type"].as_str().unwrap()).collect();
    let expected: Vec<&str> = providers.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, expected);
    for path in [
        "/dns_providers/",
        "/stacks/dns_providers",
        "/stacks/dns_providers.json",
    ] {
        let other = send(&server, "GET", path, "");
        assert_eq!(other.body, list.body, "{path}");
    }
    for secret in ["SECRET", "U0VDUkVU", "credentials"] {
        assert!(!list.text().contains(secret), "{secret}");
    }
}

#[test]
fn forms_and_flat_bodies_make_providers_too() {
    let server = Server::start();
    for (number, body) in [
        r#"{"type":"hetzner","key":"0","credentials":{"token":"x"}}"#,
        "dns_provider[type]=Hetzner&dns_provider[key]=1&dns_provider[credentials][token]=x",
        "type=HETZNER&key=2&credentials[token]=x",
    ]
    .into_iter()
    .enumerate()
    {
        let made = response_of(&send(&server, "POST", "/dns_providers", body));
        assert_eq!(made["type"], "Hetzner");
        assert_eq!(made["key"], number.to_string());
    }
}

#[test]
fn what_cannot_work_is_refused_and_names_the_field() {
    let server = Server::start();
    for (kind, key, credentials, field) in [
        ("foo", "x", json!({ "token": "SECRET" }), "type"),
        ("", "x", json!({ "token": "SECRET" }), "type"),
        ("exec", "x", json!({ "program": "/bin/true" }), "type"),
        ("Hetzner", "", json!({ "token": "SECRET" }), "key"),
        ("Hetzner", "\u{7}", json!({ "token": "SECRET" }), "key"),
        ("Hetzner", "x", json!({}), "token"),
        ("Hetzner", "x", json!({ "token": "" }), "token"),
        (
            "Hetzner",
            "x",
            json!({ "token": ["SECRET"] }),
            "credentials",
        ),
        (
            "Hetzner",
            "x",
            json!({ "token": "SECRET", "more": "SECRET" }),
            "more",
        ),
        ("Gehirn", "x", json!({ "token": "SECRET" }), "secret"),
        (
            "Gehirn",
            "x",
            json!({ "token": "a", "secret": "b", "more": "SECRET" }),
            "more",
        ),
        (
            "RFC2136",
            "x",
            json!({ "server": "192.0.2.1", "name": "SECRET" }),
            "secret",
        ),
        // They open the whole account.
        (
            "Cloudflare",
            "x",
            json!({ "api_key": "SECRET", "email": "a@b.test" }),
            "api_token",
        ),
        ("Hetzner", "x", json!(null), "credentials"),
        ("Hetzner", "x", json!("SECRET"), "credentials"),
    ] {
        let refused = create(&server, kind, key, &credentials);
        let details = assert_error(&refused, 400, "bad_request");
        assert!(details.contains(field), "{details}");
        assert!(!refused.text().contains("SECRET"), "{}", refused.text());
    }
    let credentials = json!({ "token": "x" });
    assert_eq!(create(&server, "Hetzner", "main", &credentials).status, 200);
    let again = create(&server, "Hetzner", "main", &credentials);
    assert_error(&again, 409, "conflict");
}

#[test]
fn a_provider_is_its_accounts_alone_and_needs_the_scope_admin() {
    let server = Server::start();
    let made = response_of(&create(
        &server,
        "Hetzner",
        "main",
        &json!({ "token": "x" }),
    ));
    let path = format!("/dns_providers/{}", made["uuid"].as_str().unwrap());
    let tenant = server.account("tenant");
    let listed = send_as(&server, &tenant, "GET", "/dns_providers", "");
    assert_eq!(response_of(&listed), json!([]));
    let foreign = send_as(&server, &tenant, "DELETE", &path, "");
    assert_error(&foreign, 404, "not_found");
    let narrow = server.token_with(TokenLimits {
        scopes: Some(vec!["public".to_owned()]),
        ..TokenLimits::default()
    });
    for (method, path) in [
        ("GET", "/dns_providers"),
        ("GET", "/stacks/dns_providers.json"),
        ("POST", "/dns_providers"),
        ("DELETE", path.as_str()),
    ] {
        let refused = send_as(&server, &narrow, method, path, "");
        assert_error(&refused, 403, "forbidden");
    }
    let reading = server.token_with(TokenLimits {
        read_only: true,
        ..TokenLimits::default()
    });
    let refused = send_as(&server, &reading, "DELETE", &path, "");
    assert_error(&refused, 403, "forbidden");
}

#[test]
fn a_provider_is_deleted_by_any_spelling_of_its_identifier() {
    let server = Server::start();
    let spellings: [fn(&str) -> String; 4] = [
        |digits| format!("dp-{digits}.json"),
        |digits| digits.to_owned(),
        |digits| format!("dns-{digits}"),
        |digits| uuid::Uuid::parse_str(digits).unwrap().to_string(),
    ];
    for spelling in spellings {
        let made = response_of(&create(
            &server,
            "Hetzner",
            "main",
            &json!({ "token": "x" }),
        ));
        let uuid = made["uuid"].as_str().unwrap();
        let path = spelling(uuid.strip_prefix("dp-").unwrap());
        let path = format!("/dns_providers/{path}");
        let deleted = send(&server, "DELETE", &path, "");
        assert_eq!(response_of(&deleted), made, "{path}");
        let again = send(&server, "DELETE", &path, "");
        assert_error(&again, 404, "not_found");
    }
    for path in [
        "/dns_providers/x",
        "/dns_providers/dp-",
        "/dns_providers/dp-zz",
    ] {
        let missing = send(&server, "DELETE", path, "");
        assert_error(&missing, 404, "not_found");
    }
    let wrong = send(&server, "PUT", "/dns_providers", "");
    assert_error(&wrong, 405, "method_not_allowed");
}

#[test]
fn zones_that_were_added_by_other_ways_stand_beside() {
    let server = Server::start();
    let zone = |zone: &str| NewDnsProvider {
        zone: zone.to_owned(),
        kind: "acme-dns".to_owned(),
        credentials: [
            ("url", "https://auth.test"),
            ("username", "u"),
            ("password", "SECRET"),
            ("subdomain", "s"),
            ("fulldomain", "s.auth.test"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .collect(),
        account: Some("admin".to_owned()),
    };
    let administrator = server.administrator();
    let providers = &server.house.dns_providers;
    server
        .run(providers.add(&administrator, zone("shop.test")))
        .unwrap();
    let listed = response_of(&send(&server, "GET", "/dns_providers", ""));
    assert_eq!(listed[0]["type"], "acme-dns");
    assert_eq!(listed[0]["key"], "shop.test");
    let path = format!("/dns_providers/{}", listed[0]["uuid"].as_str().unwrap());
    assert_eq!(response_of(&send(&server, "DELETE", &path, "")), listed[0]);
    assert!(
        server
            .run(providers.list(&administrator))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_account_is_what_its_token_is_of() {
    let server = Server::start();
    let tenant = server.account("tenant");
    let list = send_as(&server, &tenant, "GET", "/accounts.json?page=1", "");
    let body = list.json();
    assert_eq!(body["count"], 1);
    assert_eq!(body["pagination"]["count"], 1);
    let account = &body["response"][0];
    let id = account["id"].as_u64().unwrap();
    assert!((1..1 << 31).contains(&id));
    assert_eq!(account["owner"], "tenant");
    assert_eq!(account["friendly_name"], "tenant");
    assert_eq!(account["stack_count"], 0);
    assert_eq!(account["used_clouds"], json!([]));
    assert_eq!(account["current_account"], true);
    for time in ["created_at", "updated_at"] {
        assert!(account[time].as_str().unwrap().ends_with('Z'));
    }
    let own = format!("/accounts/{id}.json");
    let shown = send_as(&server, &tenant, "GET", &own, "");
    assert_eq!(response_of(&shown), *account);
    for path in [own.as_str(), "/accounts/0", "/accounts/x", "/accounts/-1"] {
        assert_error(&send(&server, "GET", path, ""), 404, "not_found");
    }
    let header = [
        ("Authorization", format!("Bearer {tenant}")),
        ("X-Account", id.to_string()),
    ];
    let header = header
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    assert_eq!(
        server.send("GET", "/api/3/accounts", &header, "").status,
        200
    );
    let past = send_as(&server, &tenant, "GET", "/accounts?page=2", "");
    assert_eq!(past.json()["response"], json!([]));
}

#[test]
fn a_provider_that_a_certificate_names_stays() {
    let server = Server::start();
    let administrator = server.administrator();
    let zone = NewDnsProvider {
        zone: "shop.test".to_owned(),
        kind: "digitalocean".to_owned(),
        credentials: [("token".to_owned(), "SECRET".to_owned())]
            .into_iter()
            .collect(),
        account: Some("admin".to_owned()),
    };
    server
        .run(server.house.dns_providers.add(&administrator, zone))
        .unwrap();
    let listed = response_of(&send(&server, "GET", "/dns_providers", ""));
    let uuid = listed[0]["uuid"].as_str().unwrap();
    let path = format!("/dns_providers/{uuid}");
    let stack = send(&server, "POST", "/stacks", r#"{"name":"shop"}"#);
    let stack = response_of(&stack)["uid"].as_str().unwrap().to_owned();
    let body = json!({
        "type": "lets_encrypt", "server_names": "www.shop.test", "dns_provider_uuid": uuid,
    });
    let certificates = format!("/stacks/{stack}/ssl_certificates");
    let made = response_of(&send(&server, "POST", &certificates, body.to_string()));
    assert_eq!(made["dns_provider_uuid"], uuid);
    let details = assert_error(&send(&server, "DELETE", &path, ""), 409, "conflict");
    assert!(details.contains("in use"), "{details}");
    // Nor can it be removed as the provider of its zone.
    let providers = &server.house.dns_providers;
    let refused = server.run(providers.remove(&administrator, "shop.test"));
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    let certificate = format!("{certificates}/{}", made["uuid"].as_str().unwrap());
    assert_eq!(send(&server, "DELETE", &certificate, "").status, 200);
    assert_eq!(send(&server, "DELETE", &path, "").status, 200);
}

#[test]
fn a_provider_without_a_zone_finds_it_when_a_certificate_names_it() {
    let server = Server::start();
    let made = response_of(&create(
        &server,
        "Hetzner",
        "main",
        &json!({ "token": "SECRET" }),
    ));
    let uuid = made["uuid"].as_str().unwrap();
    let stack = send(&server, "POST", "/stacks", r#"{"name":"shop"}"#);
    let stack = response_of(&stack)["uid"].as_str().unwrap().to_owned();
    let body = json!({ "ssl_certificate": {
        "type": "lets_encrypt", "server_names": "www.shop.test", "wildcard": true,
        "dns_provider_uuid": uuid,
    } });
    let path = format!("/stacks/{stack}/ssl_certificates");
    let certificate = response_of(&send(&server, "POST", &path, body.to_string()));
    assert_eq!(certificate["dns_provider_uuid"], uuid);
    let administrator = server.administrator();
    let zones = || server.run(server.house.dns_providers.list(&administrator));
    let found = zones().unwrap();
    // DNS is out of reach here, so it is where the name is registered.
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].zone, "shop.test");
    assert_eq!(found[0].kind, "hetzner");
    let listed = response_of(&send(&server, "GET", "/dns_providers", ""));
    assert_eq!(listed, json!([made]));
    let own = format!("/dns_providers/{uuid}");
    assert_error(&send(&server, "DELETE", &own, ""), 409, "conflict");
    let path = format!("{path}/{}", certificate["uuid"].as_str().unwrap());
    assert_eq!(send(&server, "DELETE", &path, "").status, 200);
    assert_eq!(response_of(&send(&server, "DELETE", &own, "")), made);
    assert!(zones().unwrap().is_empty());
}

#[test]
fn a_stack_says_whom_it_notifies() {
    let server = Server::start();
    let stack = send(&server, "POST", "/stacks", r#"{"name":"shop"}"#);
    let stack = response_of(&stack)["uid"].as_str().unwrap().to_owned();
    let path = format!("/stacks/{stack}/notifications.json");
    let names = [
        "ssl_certificate.install.ok",
        "ssl_certificate.install.fail",
        "ssl_certificate.expire.soon",
    ];
    let list = send(&server, "GET", &path, "");
    let nobody = names.map(|name| json!({ "alert_name": name, "subscriptions": [] }));
    assert_eq!(response_of(&list), json!(nobody));
    assert_eq!(list.json()["pagination"]["count"], 3);
    server.account("other");
    let (administrator, webhooks) = (server.administrator(), &server.house.webhooks);
    for (url, kinds, account) in [
        ("https://all.test/x", vec![], None),
        ("https://ends.test/x", vec![NoticeKind::Expiring], None),
        ("https://other.test/x", vec![], Some("other".to_owned())),
    ] {
        let webhook = NewWebhook {
            url: url.to_owned(),
            kinds,
            format: WebhookFormat::Cloud66,
            account,
            ..NewWebhook::default()
        };
        server.run(webhooks.add(&administrator, webhook)).unwrap();
    }
    let to = |url: &str| json!({ "channel": "webhook", "webhook_url": url });
    let all = to("https://all.test/x");
    let expected = json!([
        { "alert_name": names[0], "subscriptions": [all] },
        { "alert_name": names[1], "subscriptions": [all] },
        { "alert_name": names[2], "subscriptions": [all, to("https://ends.test/x")] },
    ]);
    assert_eq!(response_of(&send(&server, "GET", &path, "")), expected);
    // Where they are is often all that it takes to post there.
    let reader = server.token_with(TokenLimits {
        scopes: Some(vec!["public".to_owned()]),
        ..TokenLimits::default()
    });
    let shown = response_of(&send_as(&server, &reader, "GET", &path, ""));
    assert_eq!(shown[0]["subscriptions"], json!([{ "channel": "webhook" }]));
    let missing = format!("/stacks/{}/notifications", "0".repeat(32));
    assert_error(&send(&server, "GET", &missing, ""), 404, "not_found");
}
