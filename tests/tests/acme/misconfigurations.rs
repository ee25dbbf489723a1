//! What is set up wrongly, here or by a domain's owner, is said with its cause and its remedy: by
//! `chancery show`, by the API, and in the event log.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::directory::{Directory, Options, Validation};
use testbed::{AcmeSite, Backend, Knot, Zone, eventually};

const SOON: Duration = Duration::from_secs(60);

/// Waits until the first attempt for a domain has failed and checks that everybody who looks is
/// told all of these words.
fn expect_told(site: &AcmeSite, service: &str, domain: &str, words: &[&str]) {
    let certificate = site.certificate(service, domain);
    let name = certificate["name"].as_str().unwrap();
    let path = format!("/chancery/v1/certificates/{name}");
    let reason = eventually(SOON, "the first attempt has failed", || {
        let answer = site.administer("GET", &path, &Value::Null).json();
        answer["reason"].as_str().map(str::to_owned)
    });
    let shown = site.show(&certificate).text();
    let events = site.chancery.events("certificate.failed").join("\n");
    for word in words {
        assert!(reason.contains(word), "no {word} in {reason}");
        assert!(shown.contains(word), "no {word} in {shown}");
        assert!(events.contains(word), "no {word} in {events}");
    }
}

/// Checks that a live check of a name finds something amiss, as bad as this and for whom to repair.
fn expect_finding(site: &AcmeSite, name: &str, verdict: &str, acts: &str, words: &[&str]) {
    let path = format!("/chancery/v1/check/{name}");
    let answer = site.administer("GET", &path, &Value::Null).json();
    let findings = answer["findings"].as_array().expect("a list");
    let found = findings.iter().find(|finding| {
        let text = finding.to_string();
        let is_this = finding["verdict"] == verdict && finding["acts"] == acts;
        is_this && words.iter().all(|word| text.contains(word))
    });
    assert!(found.is_some(), "no {words:?} for {acts} in {answer:#}");
}

/// Makes a directory of the test's own, which looks at the site's names, the default issuer.
fn add_directory(site: &AcmeSite, directory: &Directory, members: Value) {
    let mut members = members;
    members["acme"] = directory.url().into();
    members["ca"] = directory.root_pem().into();
    site.add_issuer("own", &members);
}

/// How such a directory is started.
fn looking_at(site: &AcmeSite) -> Options {
    Options {
        tls: true,
        validation: Validation::Real {
            resolver: Some(site.knot.address()),
            http_port: site.chancery.edge_http().port(),
            tls_port: site.chancery.edge_https().port(),
        },
        ..Options::default()
    }
}

#[test]
fn a_name_that_leads_elsewhere_or_nowhere_costs_no_order() {
    let site = AcmeSite::options()
        .zone(Zone::new("example.com").record("astray A 127.0.0.9"))
        .zone(Zone::new("bare.test").bare())
        .zone(Zone::new("broken.test").broken())
        .start();
    let port = site.chancery.edge_http().port();
    let _other = Backend::web_at(([127, 0, 0, 9], port).into(), "somebody else");
    for (service, name, word) in [
        ("astray", "astray.example.com", "another server answers"),
        ("nowhere", "nowhere.bare.test", "does not exist"),
        ("broken", "a.broken.test", "cannot answer"),
    ] {
        site.serve(service, &[&format!("{name}.")]);
        expect_told(&site, service, name, &[name, word]);
        expect_finding(&site, name, "problem", "owner", &[word]);
    }
    assert_eq!(site.pebble.orders(), 0);
    // The owner sets it right, and has it looked at again.
    site.knot.remove("example.com", "astray.example.com. A");
    site.knot
        .add("example.com", "astray.example.com. 1 A 127.0.0.1");
    eventually(SOON, "the server sees it", || {
        let path = "/chancery/v1/check/astray.example.com";
        let answer = site.administer("GET", path, &Value::Null).text();
        (!answer.contains("problem")).then_some(())
    });
    site.renew(&site.certificate("astray", "astray.example.com"));
    site.wait_until_valid("astray", "astray.example.com");
}

#[test]
fn closed_ports_are_the_platform_s_to_open() {
    let site = AcmeSite::options().walled().start();
    site.serve("web", &["www.example.com."]);
    expect_told(&site, "web", "www.example.com", &["port"]);
    expect_finding(&site, "www.example.com", "warning", "platform", &["port"]);
}

#[test]
fn a_caa_record_in_the_way_is_named_and_costs_no_order() {
    let caa = "@ CAA 0 issue \"other-authority.test\"";
    let site = AcmeSite::options()
        .zone(Zone::new("example.com").record(caa))
        .without_issuer();
    let directory = Directory::start(looking_at(&site));
    add_directory(&site, &directory, json!({}));
    let name = "www.example.com";
    site.serve("web", &[&format!("{name}.")]);
    let words = ["CAA", "example.com", "other-authority.test"];
    expect_told(&site, "web", name, &words);
    expect_finding(&site, name, "problem", "owner", &words);
    assert_eq!(directory.orders_of(name), 0);
}

#[test]
fn a_wrong_tsig_key_is_named() {
    let site = AcmeSite::options()
        .zone(Zone::new("example.com").updatable())
        .challenges(&["dns-01"])
        .start();
    let mut credentials = site.knot.credentials();
    credentials["secret"] = json!("c29tZXRoaW5nIGVsc2UgYWx0b2dldGhlciwgMzIgYi4=");
    site.add_dns("example.com", &credentials);
    site.serve("web", &["www.example.com."]);
    let words = ["_acme-challenge.www.example.com", "BADSIG", "secret"];
    expect_told(&site, "web", "www.example.com", &words);
}

#[test]
fn records_are_withdrawn_also_when_the_proof_fails() {
    // The directory asks a server that has never heard of the records.
    let other = Knot::start(&[Zone::new("example.com")]);
    let site = AcmeSite::options()
        .zone(Zone::new("example.com").updatable())
        .pebble(|pebble| pebble.resolver(&other))
        .challenges(&["dns-01"])
        .start();
    site.add_dns("example.com", &site.knot.credentials());
    site.serve("web", &["www.example.com."]);
    expect_told(&site, "web", "www.example.com", &["TXT"]);
    assert!(site.knot.logs().contains("[example.com.] DDNS, finished"));
    eventually(SOON, "the record is withdrawn", || {
        site.knot.texts("example.com").is_empty().then_some(())
    });
}

#[test]
fn a_wildcard_without_a_dns_provider_is_refused_at_once() {
    let site = AcmeSite::start();
    let body = json!({ "services": [{ "port": 443, "handlers": ["tls", "http"] }],
                       "domains": [{ "name": "*.example.com." }] });
    let answer = site.api().try_call("POST", "/v1/services", &body).unwrap();
    assert_eq!(answer.json()["status"], "error", "{}", answer.text());
    assert_eq!(site.pebble.orders(), 0);
}

#[test]
fn an_account_that_the_directory_does_not_know_any_more_is_the_operator_s_to_replace() {
    let mut site = AcmeSite::start();
    // It forgets its accounts.
    site.pebble.restart();
    site.serve("web", &["www.example.com."]);
    let words = ["accountDoesNotExist", "remove the issuer"];
    expect_told(&site, "web", "www.example.com", &words);
}

#[test]
fn a_revoked_account_is_the_operator_s_to_replace() {
    let site = AcmeSite::options().without_issuer();
    let directory = Directory::start(looking_at(&site));
    add_directory(&site, &directory, json!({}));
    directory.revoke_accounts();
    site.serve("web", &["www.example.com."]);
    expect_told(&site, "web", "www.example.com", &["account", "revoked"]);
}
