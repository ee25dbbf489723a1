//! A name without a certificate gets one, by every kind of proof.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{AcmeSite, Knot, Zone, eventually, openssl};

const SOON: Duration = Duration::from_secs(60);

/// Adds the right to write the records of a zone.
fn give_zone(site: &AcmeSite, zone: &str) {
    site.add_dns(zone, &site.knot.credentials());
}

/// Waits until nothing of a proof is left in a zone.
fn expect_clean(knot: &Knot, zone: &str) {
    eventually(SOON, "the records are withdrawn", || {
        knot.texts(zone).is_empty().then_some(())
    });
}

/// Whether a record was ever published in a zone.
fn was_updated(knot: &Knot, zone: &str) -> bool {
    knot.logs().contains(&format!("[{zone}.] DDNS, finished"))
}

#[test]
fn a_new_domain_of_a_service_is_pending_then_valid_and_served_by_http_01() {
    let site = AcmeSite::options().challenges(&["http-01"]).start();
    let service = site.serve("web", &["www.example.com."]);
    let first = &service["domains"][0]["certificate"];
    assert_eq!(first["state"], "pending", "{service}");
    let certificate = site.wait_until_valid("web", "www.example.com");
    assert_eq!(certificate["uuid"], first["uuid"]);
    let issuer = certificate["issuer"].as_str().unwrap();
    assert!(issuer.contains("Pebble Intermediate CA"), "{certificate}");
    site.expect_served("www.example.com");
    assert_eq!((site.pebble.orders(), site.pebble.certificates()), (1, 1));
    let shown = site.show(&certificate).text();
    assert!(shown.contains("valid"), "{shown}");
}

#[test]
fn a_new_domain_of_a_service_is_valid_and_served_by_tls_alpn_01() {
    let site = AcmeSite::options().challenges(&["tls-alpn-01"]).start();
    site.serve("web", &["www.example.com."]);
    site.wait_until_valid("web", "www.example.com");
    site.expect_served("www.example.com");
    assert_eq!(site.pebble.orders(), 1);
}

#[test]
fn a_name_and_the_wildcard_over_it_are_valid_and_served_by_dns_01_and_leave_no_records() {
    let site = AcmeSite::options()
        .zone(Zone::new("example.com").updatable())
        .challenges(&["dns-01"])
        .start();
    give_zone(&site, "example.com");
    let tested = site.administer("POST", "/chancery/v1/dns/example.com/test", &Value::Null);
    assert!(!tested.text().contains("problem"), "{}", tested.text());
    expect_clean(&site.knot, "example.com");
    // Both are proven under the same name, with two values.
    site.serve("web", &["shop.example.com.", "*.shop.example.com."]);
    site.wait_until_valid("web", "shop.example.com");
    site.wait_until_valid("web", "*.shop.example.com");
    for name in [
        "shop.example.com",
        "a.shop.example.com",
        "b.shop.example.com",
    ] {
        site.expect_served(name);
    }
    assert!(was_updated(&site.knot, "example.com"));
    expect_clean(&site.knot, "example.com");
    let secret = site.knot.credentials()["secret"].to_string();
    let listed = site
        .administer("GET", "/chancery/v1/dns", &Value::Null)
        .text();
    assert!(listed.contains("example.com"), "{listed}");
    assert!(!listed.contains(secret.trim_matches('"')), "{listed}");
}

#[test]
fn where_a_provider_covers_the_zone_dns_01_is_chosen_and_else_the_edge_answers() {
    let site = AcmeSite::options()
        .zone(Zone::new("covered.test").updatable())
        .zone(Zone::new("other.test").updatable())
        .start();
    give_zone(&site, "covered.test");
    site.serve("web", &["a.covered.test.", "a.other.test."]);
    for name in ["a.covered.test", "a.other.test"] {
        site.wait_until_valid("web", name);
        site.expect_served(name);
    }
    assert!(was_updated(&site.knot, "covered.test"));
    assert!(!was_updated(&site.knot, "other.test"));
    expect_clean(&site.knot, "covered.test");
}

#[test]
fn a_proof_is_published_where_an_alias_leads() {
    let alias = "_acme-challenge.shop CNAME shop.proofs";
    let site = AcmeSite::options()
        .zone(Zone::new("example.com").record(alias).updatable())
        .challenges(&["dns-01"])
        .start();
    give_zone(&site, "example.com");
    site.serve("web", &["shop.example.com."]);
    site.wait_until_valid("web", "shop.example.com");
    expect_clean(&site.knot, "example.com");
}

#[test]
fn a_delegated_name_is_proven_in_the_zone_that_it_is_delegated_to() {
    let there = "shop.customer.test.proofs.example.com.";
    let customer = Zone::new("customer.test").record("_acme-challenge.shop CNAME shop.proofs");
    let site = AcmeSite::options()
        .zone(customer.record(&format!("shop.proofs CNAME {there}")))
        .zone(Zone::new("proofs.example.com").bare().updatable())
        // The servers of a zone do not follow aliases out of it, and Pebble does not either.
        .pebble(|pebble| pebble.env("PEBBLE_VA_ALWAYS_VALID", "1"))
        .challenges(&["dns-01"])
        .start();
    give_zone(&site, "proofs.example.com");
    site.serve("web", &["shop.customer.test.", "*.shop.customer.test."]);
    site.wait_until_valid("web", "*.shop.customer.test");
    site.expect_served("any.shop.customer.test");
    assert!(was_updated(&site.knot, "proofs.example.com"));
    expect_clean(&site.knot, "proofs.example.com");
}

#[test]
fn one_certificate_covers_several_names_and_an_address() {
    let site = AcmeSite::options()
        .zone(Zone::new("example.com").updatable())
        .start();
    give_zone(&site, "example.com");
    let names = ["a.example.com", "*.b.example.com", "127.0.0.1"];
    let issued = [&["issue"], &names[..], &["--issuer", "pebble", "--json"]].concat();
    let issued = site.chancery.cli(&issued);
    assert_eq!(issued.code(), Some(0), "{issued:?}");
    let issued: Value = serde_json::from_str(&issued.text()).unwrap();
    assert_eq!(issued["state"], json!("valid"), "{issued}");
    let reference = issued["name"].as_str().unwrap();
    let pem = site.chancery.cli(&["show", reference, "--pem"]).stdout;
    let text = openssl(&["x509", "-noout", "-ext", "subjectAltName"], &pem).text();
    for name in names {
        assert!(text.contains(name), "{text}");
    }
    expect_clean(&site.knot, "example.com");
}

#[test]
fn an_external_account_is_bound_and_the_preferred_chain_chosen() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let site = AcmeSite::options()
        .pebble(|pebble| {
            let pebble = pebble.external_account("kid-1", key);
            pebble.env("PEBBLE_ALTERNATE_ROOTS", "2")
        })
        .without_issuer();
    let wanted = site.pebble.root_of_chain(1).display().to_string();
    let subject = [
        "x509",
        "-noout",
        "-subject",
        "-nameopt",
        "multiline",
        "-in",
        &wanted,
    ];
    let subject = openssl(&subject, b"").text();
    let wanted = subject.rsplit("= ").next().unwrap().trim();
    let binding = json!({ "eab_kid": "kid-1", "eab_hmac": key, "preferred_chain": wanted });
    site.add_issuer("bound", &binding);
    site.serve("web", &["www.example.com."]);
    let certificate = site.wait_until_valid("web", "www.example.com");
    let name = certificate["name"].as_str().unwrap();
    let chain = site.chancery.cli(&["show", name, "--pem"]).text();
    let workdir = testbed::Workdir::new();
    let (leaf, root) = (
        workdir.write("chain.pem", &chain),
        site.pebble.root_of_chain(1).display().to_string(),
    );
    openssl(
        &["verify", "-CAfile", &root, "-untrusted", &leaf, &leaf],
        b"",
    );
}
