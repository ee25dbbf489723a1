//! The command line, as somebody uses it who wants a certificate from an ACME directory.

use std::time::Duration;

use serde_json::Value;
use testbed::{AcmeSite, AcmeSiteOptions, Receiver, Workdir, Zone, eventually, openssl};

/// How long a record may stay after it was looked at.
const SOON: Duration = Duration::from_secs(30);

fn site() -> AcmeSiteOptions {
    let zone = Zone::new("example.com")
        .bare()
        .record("@ A 127.0.0.1")
        .record("shop A 127.0.0.1");
    AcmeSite::options().zone(zone.updatable())
}

/// Runs a command that has to succeed; returns what it prints.
#[track_caller]
fn cli(site: &AcmeSite, arguments: &[&str]) -> String {
    let output = site.chancery.cli(arguments);
    assert_eq!(output.code(), Some(0), "{arguments:?}: {output:?}");
    output.text()
}

#[test]
fn a_newcomer_adds_a_directory_and_gets_a_certificate_that_is_renewed() {
    let site = site().without_issuer();
    let directory = site.pebble.directory_url();
    let ca = site.pebble.ca_file().display().to_string();
    let add = [
        "issuer",
        "add",
        "pebble",
        "--acme",
        &directory,
        "--acme-ca",
        &ca,
    ];

    // What is missing is said.
    let refused = site.chancery.cli(&add);
    assert_eq!(refused.code(), Some(1), "{refused:?}");
    let reason = &refused.stderr;
    assert!(
        reason.contains("terms") && reason.contains("agree"),
        "{reason}"
    );

    let email = ["--email", "ops@example.com", "--agree-tos", "--default"];
    let added = cli(&site, &[&add[..], &email[..]].concat());
    assert!(
        added.contains("pebble") && added.contains("chancery issue"),
        "{added}"
    );
    let listed = cli(&site, &["issuer", "ls"]);
    let line = listed
        .lines()
        .find(|line| line.starts_with("pebble"))
        .unwrap();
    assert!(line.contains("acme") && line.contains("yes"), "{listed}");
    let shown = cli(&site, &["issuer", "show", "pebble"]);
    for part in ["orders", "300 in 3h", "Health", "good", "Account"] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }

    // No issuer is named: the default one obtains it, and the command waits.
    let workdir = Workdir::new();
    let out = workdir.path("out");
    let issued = cli(&site, &["issue", "shop.example.com", "--out", &out]);
    assert!(issued.contains("is valid until"), "{issued}");
    let text = openssl(
        &[
            "x509",
            "-in",
            &format!("{out}/shop.example.com.crt"),
            "-noout",
            "-ext",
            "subjectAltName",
        ],
        b"",
    )
    .text();
    assert!(text.contains("DNS:shop.example.com"), "{text}");
    assert!(!std::path::Path::new(&format!("{out}/shop.example.com.key")).exists());

    let listed = cli(&site, &["ls", "--json"]);
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let certificate = listed
        .iter()
        .find(|one| one["common_name"] == "shop.example.com")
        .unwrap();
    let name = certificate["name"].as_str().unwrap();
    let shown = cli(&site, &["show", name]);
    for part in ["valid", "pebble", "Renewal"] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    let renewed = cli(&site, &["renew", name]);
    assert!(renewed.contains("is valid until"), "{renewed}");
    let shown: Value = serde_json::from_str(&cli(&site, &["show", name, "--json"])).unwrap();
    assert_eq!(shown["versions"].as_array().unwrap().len(), 2, "{shown}");

    cli(&site, &["issuer", "rotate-key", "pebble"]);
    cli(&site, &["renew", name]);
    cli(&site, &["issuer", "default", "default"]);
    cli(&site, &["issuer", "rm", "pebble", "--successor", "default"]);
    assert!(!cli(&site, &["issuer", "ls"]).contains("pebble"));
}

#[test]
fn zones_are_added_tested_and_removed_without_secrets_in_sight() {
    let site = site().start();
    let credentials = site.knot.credentials();
    let secret = credentials["secret"].as_str().unwrap();
    let workdir = Workdir::new();
    let file = workdir.path("secret");
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let mut arguments = vec!["dns".to_owned(), "add".to_owned(), "example.com".to_owned()];
    arguments.extend(["--provider".to_owned(), "rfc2136".to_owned()]);
    for (name, value) in credentials.as_object().unwrap() {
        let value = match (name.as_str(), value) {
            ("secret", _) => format!("@{file}"),
            (_, Value::String(text)) => text.clone(),
            (_, value) => value.to_string(),
        };
        arguments.extend(["--credential".to_owned(), format!("{name}={value}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let added = cli(&site, &arguments);
    assert!(added.contains("chancery dns test example.com"), "{added}");
    let listed = cli(&site, &["dns", "ls"]) + &cli(&site, &["dns", "ls", "--json"]);
    assert!(
        listed.contains("rfc2136") && listed.contains("secret"),
        "{listed}"
    );
    assert!(!listed.contains(secret), "{listed}");
    let tested = cli(&site, &["dns", "test", "example.com"]);
    assert!(tested.contains("ok"), "{tested}");
    let kinds = cli(&site, &["dns", "kinds"]);
    assert!(
        kinds.contains("cloudflare") && kinds.contains("route53"),
        "{kinds}"
    );

    let issued = cli(&site, &["issue", "*.example.com", "--issuer", "pebble"]);
    assert!(issued.contains("is valid until"), "{issued}");
    eventually(SOON, "the record is withdrawn", || {
        site.knot.texts("example.com").is_empty().then_some(())
    });
    cli(&site, &["dns", "rm", "example.com"]);
    let refused = site.chancery.cli(&["dns", "test", "example.com"]);
    assert_eq!(refused.code(), Some(1), "{refused:?}");
}

#[test]
fn what_is_in_the_way_is_said_with_who_has_to_act() {
    let site = site().start();
    let good = cli(&site, &["check", "example.com"]);
    assert!(good.contains("ok"), "{good}");
    let checked = site.chancery.cli(&["check", "gone.example.com"]);
    assert_eq!(checked.code(), Some(1), "{checked:?}");
    let text = checked.text();
    assert!(
        text.contains("What to do:") && text.contains("owner of the domain"),
        "{text}"
    );
    let failed = site.chancery.cli(&["issue", "gone.example.com"]);
    assert_eq!(failed.code(), Some(1), "{failed:?}");
    let reason = &failed.stderr;
    for part in [
        "gone.example.com",
        "chancery renew",
        "chancery check gone.example.com",
    ] {
        assert!(reason.contains(part), "{part} is not in:\n{reason}");
    }
}

#[test]
fn a_webhook_is_told_of_a_certificate_with_a_signature_that_openssl_makes_too() {
    let site = site().start();
    let receiver = Receiver::start();
    let added = cli(&site, &["webhook", "add", receiver.url(), "--json"]);
    let added: Value = serde_json::from_str(&added).unwrap();
    let (uuid, secret) = (
        added["uuid"].as_str().unwrap(),
        added["secret"].as_str().unwrap(),
    );
    let tested = cli(&site, &["webhook", "test", uuid]);
    assert!(tested.contains("204"), "{tested}");
    receiver.wait_for("event", "webhook.test");
    cli(&site, &["issue", "shop.example.com"]);
    let told = receiver.wait_for("event", "certificate.issued");
    assert_eq!(
        told.json()["certificate"]["common_name"],
        "shop.example.com"
    );
    let mac = openssl(&["dgst", "-sha256", "-hmac", secret, "-r"], &told.body);
    let expected = mac.text();
    let expected = expected.split_whitespace().next().unwrap();
    assert_eq!(told.field("x-signature"), Some(expected));

    let listed = cli(&site, &["webhook", "ls"]);
    assert!(
        listed.contains(uuid) && !listed.contains(secret),
        "{listed}"
    );
    cli(&site, &["webhook", "rm", uuid]);
    assert!(!cli(&site, &["webhook", "ls"]).contains(uuid));
    assert!(!site.chancery.logs().contains(secret));
}
