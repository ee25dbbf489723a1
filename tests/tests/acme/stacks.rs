//! Certificates of stacks, asked for through the Cloud 66 API.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{AcmeSite, Zone, eventually, http};

/// How long a certificate may take.
const SOON: Duration = Duration::from_secs(90);

/// Asks the Cloud 66 API; `null` is no body.
#[track_caller]
fn ask(site: &AcmeSite, method: &str, path: &str, body: &Value) -> Value {
    let authorization = format!("Bearer {}", site.chancery.token());
    let headers = [("Authorization", authorization.as_str())];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let path = format!("/api/3{path}");
    let answer = http::send(
        &site.chancery.http(),
        method,
        &path,
        &headers,
        body.as_bytes(),
    );
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()["response"].clone()
}

/// Makes a stack and asks for a certificate there; returns the address of that.
#[track_caller]
fn request(site: &AcmeSite, stack: &str, certificate: &Value) -> String {
    let stack = json!({ "stack": { "name": stack, "environment": "production" } });
    let stack = ask(site, "POST", "/stacks.json", &stack);
    let list = format!(
        "/stacks/{}/ssl_certificates",
        stack["uid"].as_str().unwrap()
    );
    let body = json!({ "ssl_certificate": certificate });
    let made = ask(site, "POST", &format!("{list}.json"), &body);
    assert_eq!(made["status"], 1, "{made}");
    format!("{list}/{}.json", made["uuid"].as_str().unwrap())
}

#[track_caller]
fn wait_until_installed(site: &AcmeSite, path: &str) -> Value {
    eventually(SOON, "the certificate is installed", || {
        let certificate = ask(site, "GET", path, &Value::Null);
        (certificate["status"] == 3).then_some(certificate)
    })
}

#[test]
fn a_stack_has_its_certificate_by_http_01_or_as_a_wildcard_through_a_dns_provider_without_a_zone() {
    let site = AcmeSite::options()
        .zone(Zone::new("example.com").updatable())
        .zone(Zone::new("plain.test"))
        .start();
    let names = json!({ "type": "lets_encrypt", "server_names": "plain.test, www.plain.test" });
    let standard = request(&site, "plain", &names);
    let provider = json!({ "dns_provider": {
        "type": "RFC2136", "key": "knot", "credentials": site.knot.credentials(),
    } });
    let provider = ask(&site, "POST", "/dns_providers.json", &provider);
    let names = json!({
        "type": "lets_encrypt", "server_names": "shop.example.com", "wildcard": true,
        "dns_provider_uuid": provider["uuid"],
    });
    let wildcard = request(&site, "shop", &names);
    for (path, is_wildcard, served) in [
        (standard, false, ["plain.test", "www.plain.test"]),
        (wildcard, true, ["shop.example.com", "a.shop.example.com"]),
    ] {
        let installed = wait_until_installed(&site, &path);
        assert_eq!(installed["wildcard"], is_wildcard);
        assert_eq!(installed["has_intermediate_cert"], true);
        for name in served {
            let client = site.client();
            eventually(SOON, &format!("{name} is served"), || {
                client.connect(site.chancery.edge_https(), name).ok()
            });
        }
        // Asking again is a renewal.
        let renewed = ask(&site, "PUT", &path, &json!({ "ssl_certificate": {} }));
        assert_eq!(renewed["status"], 1, "{renewed}");
        let fingerprint = &installed["sha256_fingerprint"];
        eventually(SOON, "it is renewed", || {
            let certificate = ask(&site, "GET", &path, &Value::Null);
            let is_new = &certificate["sha256_fingerprint"] != fingerprint;
            (certificate["status"] == 3 && is_new).then_some(())
        });
    }
}
