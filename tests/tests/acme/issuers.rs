//! What is wrong with an issuer or a DNS provider shows to whoever adds or tries it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testbed::directory::{Directory, Options};
use testbed::{AcmeSite, Zone};

#[test]
fn what_a_directory_does_not_offer_is_refused_when_it_is_added() {
    let site = AcmeSite::options().without_issuer();
    let refused = site.try_add_issuer("other", &json!({ "profile": "shortlived" }));
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("shortlived"), "{}", refused.text());
}

#[test]
fn a_binding_to_an_unknown_account_or_with_a_wrong_key_is_refused_when_it_is_added() {
    let key = "c29tZSBrZXkgb2YgYW4gYWNjb3VudCBlbHNld2hlcmU";
    let site = AcmeSite::options()
        .pebble(|pebble| pebble.external_account("kid-1", key))
        .without_issuer();
    let wrong = "YW5vdGhlciBrZXkgb2YgYW4gYWNjb3VudCBlbHNlLCE";
    for (members, word) in [
        (json!({}), "external account"),
        (json!({ "eab_kid": "kid-2", "eab_hmac": wrong }), "'kid'"),
        (
            json!({ "eab_kid": "kid-1", "eab_hmac": wrong }),
            "external account",
        ),
    ] {
        let refused = site.try_add_issuer("bound", &members);
        assert_eq!(refused.status, 400, "{}", refused.text());
        let text = refused.text();
        assert!(text.contains(word), "no {word}: {text}");
        assert!(!text.contains(wrong), "{text}");
    }
    site.add_issuer("bound", &json!({ "eab_kid": "kid-1", "eab_hmac": key }));
}

#[test]
fn a_binding_that_has_ended_is_refused_when_it_is_added() {
    let site = AcmeSite::options().without_issuer();
    let directory = Directory::start(Options {
        requires_external_account: true,
        external_accounts: BTreeMap::from([("kid-1".to_owned(), vec![7; 32])]),
        ..Options::default()
    });
    directory.expire_external_account("kid-1");
    let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    let refused = site.try_add_issuer(
        "own",
        &json!({ "acme": directory.url(), "eab_kid": "kid-1", "eab_hmac": key }),
    );
    assert_eq!(refused.status, 400, "{}", refused.text());
    let text = refused.text();
    assert!(
        text.contains("ended") && text.contains("get a new one"),
        "{text}"
    );
}

/// What the test of a zone says that is no good, as text.
fn problems(site: &AcmeSite, zone: &str) -> String {
    let path = format!("/chancery/v1/dns/{zone}/test");
    let tested = site.administer("POST", &path, &Value::Null);
    assert_eq!(tested.status, 200, "{}", tested.text());
    let tested = tested.json();
    let findings = tested["findings"].as_array().expect("a list");
    let problems = findings.iter().filter(|one| one["verdict"] == "problem");
    problems.map(Value::to_string).collect()
}

#[test]
fn the_test_of_a_zone_publishes_a_record_and_withdraws_it() {
    let zone = Zone::new("example.com").updatable();
    let site = AcmeSite::options().zone(zone).without_issuer();
    site.add_dns("example.com", &site.knot.credentials());
    assert_eq!(problems(&site, "example.com"), "");
    assert!(site.knot.logs().contains("[example.com.] DDNS, finished"));
    assert!(site.knot.texts("example.com").is_empty());
}

#[test]
fn the_test_of_a_zone_tells_a_wrong_key_from_a_key_without_rights() {
    let site = AcmeSite::options()
        .zone(Zone::new("example.com").updatable())
        .zone(Zone::new("other.test"))
        .without_issuer();
    let mut credentials = site.knot.credentials();
    site.add_dns("other.test", &credentials);
    let said = problems(&site, "other.test");
    assert!(said.contains("other.test"), "{said}");
    assert!(!said.contains("BADSIG"), "{said}");
    credentials["secret"] = json!("c29tZXRoaW5nIGVsc2UgYWx0b2dldGhlciwgMzIgYi4=");
    site.add_dns("example.com", &credentials);
    let said = problems(&site, "example.com");
    assert!(said.contains("BADSIG"), "{said}");
}
