//! The D9T Ready API as curl and openssl use it.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Authority, Backend, Chancery, Workdir, eventually, openssl, run, served_serial};

/// What `curl -u` with these further arguments prints.
#[track_caller]
fn curl(server: &Chancery, arguments: &[&str]) -> String {
    let user = format!("admin:{}", server.token());
    let common = ["-sS", "--fail-with-body", "--max-time", "60", "-u", &user];
    run("curl", &[&common[..], arguments].concat(), b"").text()
}

#[track_caller]
fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The address that an object links to.
#[track_caller]
fn href<'a>(object: &'a Value, rel: &str) -> &'a str {
    let links = object["_links"].as_array().expect("links");
    let link = links.iter().find(|link| link["rel"] == rel);
    let href = link.and_then(|link| link["href"].as_str());
    href.unwrap_or_else(|| panic!("no {rel}: {object}"))
}

#[test]
fn a_key_gets_a_certificate_that_a_private_authority_signed_by_following_links() {
    let server = Chancery::start();
    let root = format!("{}/rest", server.http());
    let get = |url: &str| json_of(&curl(&server, &[url]));
    let root = get(&root);
    let keys = href(&root, "privatekeys").to_owned();

    let key = json_of(&curl(&server, &["-d", r#"{"name":"shop"}"#, &keys]));
    let pem = key["key"].as_str().expect("the key");
    let public = openssl(&["pkey", "-pubout"], pem.as_bytes()).text();
    let under = href(&key, "certificates").to_owned();
    // Long enough for curl to ask first whether it may send it (Expect: 100-continue).
    let long = json!({
        "name": "shop", "common_name": "shop.example.com", "country_code": "de",
        "organization_name": "Shop", "unknown": "x".repeat(200_000),
    });
    let files = Workdir::new();
    let body = format!("@{}", files.write("body.json", long.to_string()));
    let expect = ["-H", "Expect: 100-continue", "--data-binary", &body, &under];
    let made = json_of(&curl(&server, &expect));
    let itself = files.write("itself.pem", made["ssl_certificate"].as_str().unwrap());
    openssl(&["verify", "-CAfile", &itself, &itself], b"");

    let address = href(&made, "self").to_owned();
    let request = href(&made, "certificate-signing-request");
    let csr = curl(&server, &["-H", "Accept: text/plain", request]);
    openssl(&["req", "-noout", "-verify"], csr.as_bytes());
    let csr = format!("@{}", files.write("shop.csr", &csr));
    let certmaker = format!("{}/api/v1", server.http());
    let order = format!("{certmaker}/certificate/request-with-csr");
    let token = format!("X-Auth-Token: {}", server.token());
    let head = files.path("head");
    let ordering = [
        "-sS",
        "--fail-with-body",
        "-H",
        &token,
        "--data-binary",
        &csr,
        "-D",
        &head,
        &order,
    ];
    run("curl", &ordering, b"");
    let head = std::fs::read_to_string(&head).expect("headers");
    let location = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("x-certificate-location"));
    let location = location.expect("where the certificate is").1.trim();
    let signed = run("curl", &["-sS", "-H", &token, location], b"").text();
    let ca = format!("{certmaker}/root-certificate/obtain");
    let ca = run("curl", &["-sS", "-H", &token, &ca], b"").text();

    let body = json!({ "ssl_certificate": signed }).to_string();
    let put = json_of(&curl(&server, &["-X", "PUT", "-d", &body, &address]));
    let stored = put["ssl_certificate"].as_str().expect("a certificate");
    assert_eq!(stored, signed);
    let (ca, leaf) = (files.write("ca.pem", ca), files.write("leaf.pem", stored));
    openssl(&["verify", "-CAfile", &ca, &leaf], b"");
    let certified = openssl(&["x509", "-noout", "-pubkey"], stored.as_bytes()).text();
    assert_eq!(certified, public);
    for member in ["id", "name", "common_name", "country_code"] {
        assert_eq!(put[member], made[member]);
    }

    // Without a body, as `curl -X PUT` sends it, it signs itself again.
    let again = json_of(&curl(&server, &["-X", "PUT", &address]));
    assert_ne!(again["ssl_certificate"], put["ssl_certificate"]);
    let listed = get(href(&root, "certificates"));
    assert_eq!(listed[0]["id"], made["id"]);
    // The key, and with it the certificate.
    curl(&server, &["-X", "DELETE", href(&key, "self")]);
    assert_eq!(get(href(&root, "certificates")), json!([]));
}

#[test]
fn what_is_put_in_the_place_of_an_uploaded_certificate_is_served_at_once() {
    const NAME: &str = "shop.example.com";
    let server = Chancery::start();
    let kraftcloud = server.kraftcloud();
    let backend = Backend::web("shop");
    let uploaded = Authority::new().issue(&[NAME], 90);
    let object = kraftcloud.upload("mine", NAME, &uploaded);
    let uuid = object["uuid"].as_str().expect("a uuid").to_owned();
    kraftcloud.serve("shop", &[&format!("{NAME}.")], &backend);
    wait_for_serial(&server, NAME, &uploaded.serial);

    let all = format!("{}/rest/certificates", server.http());
    let listed = json_of(&curl(&server, &[&all]));
    let address = href(&listed[0], "self").to_owned();
    let (key, _) = address.split_once("/certificates").expect("a certificate");
    assert_eq!(json_of(&curl(&server, &[key]))["key"], Value::Null);

    // The server signs the request with the key that it gives to nobody.
    let files = Workdir::new();
    let csr = curl(
        &server,
        &["-H", "Accept: text/plain", &format!("{address}/csr")],
    );
    let csr = format!("@{}", files.write("shop.csr", &csr));
    let token = format!("X-Auth-Token: {}", server.token());
    let order = format!("{}/api/v1/certificate/request-with-csr", server.http());
    let ordering = [
        "-sS",
        "--fail-with-body",
        "-H",
        &token,
        "--data-binary",
        &csr,
        &order,
    ];
    let ordered = json_of(&run("curl", &ordering, b"").text());
    let der = ordered["certificate_pem"]
        .as_str()
        .expect("base64")
        .as_bytes();
    let der = openssl(&["base64", "-d", "-A"], der).stdout;
    let signed = openssl(&["x509", "-inform", "DER"], &der).text();
    let body = json!({ "ssl_certificate": signed }).to_string();
    curl(&server, &["-X", "PUT", "-d", &body, &address]);
    let serial = testbed::serial(signed.as_bytes());
    wait_for_serial(&server, NAME, &serial);
    let shown = kraftcloud.call_one("GET", &format!("/v1/certificates/{uuid}"), &Value::Null);
    assert_eq!(shown["serial_number"], serial);
}

/// Waits until the edge shows the certificate with this serial number for a name.
#[track_caller]
fn wait_for_serial(server: &Chancery, name: &str, serial: &str) {
    eventually(Duration::from_secs(20), "the edge serves it", || {
        let served = served_serial(server.edge_https(), name, &[]);
        (served.as_deref() == Some(serial)).then_some(())
    });
}
