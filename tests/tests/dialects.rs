//! One certificate through all doors: what one API does to it, the others tell, and the edge serves.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testbed::{Authority, Backend, Chancery, Workdir, eventually, http, openssl, served_serial};

const SOON: Duration = Duration::from_secs(20);
const NAME: &str = "shop.example.com";
const OWN: &str = "own.example.com";

/// Sends a request to the Cloud 66 API and returns what is in the envelope.
#[track_caller]
fn cloud66(server: &Chancery, method: &str, path: &str, body: &Value) -> Value {
    let authorization = format!("Bearer {}", server.token());
    let headers = [("Authorization", authorization.as_str())];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let path = format!("/api/3{path}.json");
    let answer = http::send(&server.http(), method, &path, &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    answer.json()["response"].clone()
}

#[track_caller]
fn certmaker(server: &Chancery, method: &str, path: &str, body: &str) -> http::Response {
    let token = server.token();
    let headers = [("X-Auth-Token", token.as_str())];
    let path = format!("/api/v1{path}");
    http::send(&server.http(), method, &path, &headers, body.as_bytes())
}

/// Sends a request to the D9T API, to a path or to an address that it has told.
#[track_caller]
fn d9t(server: &Chancery, method: &str, path: &str) -> http::Response {
    let credentials = STANDARD.encode(format!("admin:{}", server.token()));
    let authorization = format!("Basic {credentials}");
    let headers = [("Authorization", authorization.as_str())];
    let from = path.find("/rest").expect("an address of this API");
    http::send(&server.http(), method, &path[from..], &headers, b"")
}

/// What the first link of an object leads to.
#[track_caller]
fn follow(server: &Chancery, object: &Value) -> Value {
    let link = object["_links"][0]["href"].as_str();
    let answer = d9t(server, "GET", link.unwrap_or_else(|| panic!("{object}")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The only certificate of the account, as D9T has it: its key cannot be had, and it has this
/// serial number.
#[track_caller]
fn assert_known_to_d9t(server: &Chancery, serial: &str) {
    let keys = d9t(server, "GET", "/rest/privatekeys").json();
    assert_eq!(keys.as_array().map(Vec::len), Some(1), "{keys}");
    assert_eq!(follow(server, &keys[0])["key"], Value::Null);
    let certificates = d9t(server, "GET", "/rest/certificates").json();
    assert_eq!(
        certificates.as_array().map(Vec::len),
        Some(1),
        "{certificates}"
    );
    let certificate = follow(server, &certificates[0]);
    let pem = certificate["ssl_certificate"].as_str();
    let pem = pem.unwrap_or_else(|| panic!("{certificate}"));
    assert_eq!(testbed::serial(pem.as_bytes()), serial);
}

/// Waits until the edge shows the certificate with this serial number for a name.
#[track_caller]
fn wait_for_serial(server: &Chancery, name: &str, serial: &str) {
    eventually(SOON, "the edge serves the certificate", || {
        let served = served_serial(server.edge_https(), name, &[]);
        (served.as_deref() == Some(serial)).then_some(())
    });
}

#[test]
fn what_comes_in_through_one_door_is_the_same_in_all_others() {
    let server = Chancery::start();
    let kraftcloud = server.kraftcloud();
    let elsewhere = Authority::new();
    let backend = Backend::web("shop");

    // Uploaded and attached through KraftCloud.
    let uploaded = elsewhere.issue(&[NAME], 90);
    let object = kraftcloud.upload("mine", NAME, &uploaded);
    let uuid = object["uuid"].as_str().expect("a uuid").to_owned();
    assert_known_to_d9t(&server, &uploaded.serial);
    let service = kraftcloud.serve("shop", &[&format!("{NAME}.")], &backend);
    wait_for_serial(&server, NAME, &uploaded.serial);

    // What is attached cannot be deleted, whatever the door.
    let certificates = d9t(&server, "GET", "/rest/certificates").json();
    let link = certificates[0]["_links"][0]["href"]
        .as_str()
        .expect("a link");
    assert_eq!(d9t(&server, "DELETE", link).status, 400);

    // Cloud 66 has it under the stack that the service is.
    let stacks = cloud66(&server, "GET", "/stacks", &Value::Null);
    assert_eq!(stacks[0]["name"], "shop");
    let uid = service["uuid"].as_str().expect("a uuid").replace('-', "");
    assert_eq!(stacks[0]["uid"], uid);
    let list = format!("/stacks/{uid}/ssl_certificates");
    let listed = cloud66(&server, "GET", &list, &Value::Null);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed[0]["uuid"], format!("ssl-{}", uuid.replace('-', "")));
    assert_eq!(listed[0]["name"], "mine");
    assert_eq!(listed[0]["status"], 3);
    assert_eq!(listed[0]["key"], Value::Null);

    // Replaced through Cloud 66, and new for KraftCloud and the edge.
    let next = elsewhere.issue(&[NAME], 90);
    let path = format!("{list}/{uuid}");
    let body = json!({"ssl_certificate": {"certificate": next.chain, "key": next.key}});
    let replaced = cloud66(&server, "PUT", &path, &body);
    assert_eq!(replaced["uuid"], listed[0]["uuid"]);
    assert_ne!(
        replaced["sha256_fingerprint"],
        listed[0]["sha256_fingerprint"]
    );
    let shown = kraftcloud.call_one("GET", &format!("/v1/certificates/{uuid}"), &Value::Null);
    assert_eq!(shown["serial_number"], next.serial);
    assert_known_to_d9t(&server, &next.serial);
    wait_for_serial(&server, NAME, &next.serial);

    let files = Workdir::new();
    let (uuid, leaf) = ordered_and_attached(&server, &files);
    let fallback = elsewhere.issue(&["*.example.com"], 90);
    kraftcloud.upload("fallback", "*.example.com", &fallback);
    wait_for_serial(&server, OWN, &leaf);

    // Revoked where it was ordered: said so by all, and not served any more.
    let low = u64::from_str_radix(&leaf[leaf.len() - 16..], 16).expect("hexadecimal");
    let revoked = certmaker(&server, "POST", &format!("/certificate/{low}/revoke"), "");
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    let shown = kraftcloud.call_one("GET", &format!("/v1/certificates/{uuid}"), &Value::Null);
    // KraftCloud has no word for it.
    assert_eq!(shown["state"], "error");
    let path = format!("/chancery/v1/certificates/{uuid}");
    let told = server
        .administer(&server.token(), "GET", &path, &Value::Null)
        .json();
    assert_eq!(told["state"], "revoked", "{told}");
    let said = ocsp_says(&server, &files);
    assert!(said.contains(": revoked"), "{said}");
    wait_for_serial(&server, OWN, &fallback.serial);
    let served = kraftcloud.certificate_of("shop", OWN);
    assert_eq!(served["name"], "fallback");
    let listed = cloud66(&server, "GET", &list, &Value::Null);
    let names: Vec<&Value> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert!(
        names.contains(&&json!("fallback")) && !names.contains(&&shown["name"]),
        "{names:?}"
    );
}

/// A certificate of the CertMaker authority that the service is served with; returns its uuid and
/// its serial number. Leaves `leaf.pem` and `ca.pem`.
#[track_caller]
fn ordered_and_attached(server: &Chancery, files: &Workdir) -> (String, String) {
    let kraftcloud = server.kraftcloud();
    let body = json!({"domains": [OWN]}).to_string();
    let ordered = certmaker(
        server,
        "POST",
        "/certificate/request-with-simplerequest",
        &body,
    );
    assert_eq!(ordered.status, 201, "{}", ordered.text());
    let ordered = ordered.json();
    let der = STANDARD.decode(ordered["certificate_pem"].as_str().expect("base64"));
    let der = der.expect("base64");
    let pem = openssl(&["x509", "-inform", "DER"], &der).stdout;
    files.write("leaf.pem", &pem);
    let root = certmaker(server, "GET", "/root-certificate/obtain", "");
    files.write("ca.pem", root.body);
    let listed = kraftcloud.call(
        "GET",
        &format!("/v1/certificates?cn={OWN}&details=true"),
        &Value::Null,
    );
    let found = listed.iter().find(|one| one["common_name"] == OWN);
    let found = found.unwrap_or_else(|| panic!("{listed:?}"));
    let uuid = found["uuid"].as_str().expect("a uuid").to_owned();
    let domain = json!([{"name": format!("{OWN}."), "certificate": {"uuid": uuid}}]);
    let change = json!({"name": "shop", "prop": "domains", "op": "add", "value": domain});
    kraftcloud.call("PATCH", "/v1/services", &change);
    let serial = testbed::serial(&pem);
    wait_for_serial(server, OWN, &serial);
    (uuid, serial)
}

/// What the responder says of the leaf, its signature checked.
#[track_caller]
fn ocsp_says(server: &Chancery, files: &Workdir) -> String {
    let url = format!("{}/api/v1/ocsp", server.http());
    let (ca, leaf) = (files.path("ca.pem"), files.path("leaf.pem"));
    let arguments = [
        "ocsp", "-url", &url, "-CAfile", &ca, "-issuer", &ca, "-cert", &leaf,
    ];
    let output = openssl(&arguments, b"");
    let all = format!("{}{}", output.text(), output.stderr);
    assert!(all.contains("Response verify OK"), "{all}");
    output.text()
}
