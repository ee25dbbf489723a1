//! The way of somebody who has a directory and a zone, at the command line.

use std::time::Duration;

use serde_json::Value;
use testbed::{AcmeSite, Output, Workdir, Zone, eventually};

const SOON: Duration = Duration::from_secs(60);

/// Runs a command that has to succeed.
#[track_caller]
fn run(site: &AcmeSite, args: &[&str]) -> Output {
    let output = site.chancery.cli(args);
    assert_eq!(output.code(), Some(0), "{args:?}: {output:?}");
    output
}

/// The same with `--json`.
#[track_caller]
fn ask(site: &AcmeSite, args: &[&str]) -> Value {
    let output = run(site, &[args, &["--json"]].concat());
    serde_json::from_str(&output.text()).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The serial number of a certificate's current version.
#[track_caller]
fn serial(site: &AcmeSite, name: &str) -> String {
    let shown = ask(site, &["show", name]);
    let serial = shown["current"]["serial"].as_str();
    serial.unwrap_or_else(|| panic!("{shown}")).to_owned()
}

fn add_directory_and_zone(site: &AcmeSite) {
    let (url, ca) = (site.pebble.directory_url(), site.pebble.ca_file());
    let ca = ca.display().to_string();
    let add = ["issuer", "add", "pebble", "--acme", &url, "--acme-ca", &ca];
    let terms = [
        "--agree-tos",
        "--email",
        "operator@platform.test",
        "--default",
    ];
    run(site, &[&add[..], &terms].concat());
    let workdir = Workdir::new();
    let credentials = site.knot.credentials();
    let mut add = vec!["dns", "add", "example.com", "--provider", "rfc2136"];
    let pairs: Vec<String> = credentials
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| {
            let file = workdir.write(name, value.as_str().unwrap());
            format!("{name}=@{file}")
        })
        .collect();
    for pair in &pairs {
        add.extend(["--credential", pair]);
    }
    run(site, &add);
    let listed = run(site, &["dns", "ls"]).text();
    assert!(listed.contains("example.com"), "{listed}");
    let secret = credentials["secret"].as_str().unwrap();
    assert!(!listed.contains(secret), "{listed}");
    run(site, &["dns", "test", "example.com"]);
}

#[test]
fn from_a_directory_and_a_zone_to_a_renewed_wildcard() {
    let zone = Zone::new("example.com").updatable();
    let site = AcmeSite::options().zone(zone).without_issuer();
    add_directory_and_zone(&site);
    let listed = run(&site, &["issuer", "ls"]).text();
    assert!(listed.contains("pebble"), "{listed}");
    run(&site, &["check", "*.shop.example.com"]);

    let issued = ask(&site, &["issue", "*.shop.example.com"]);
    assert_eq!(issued["state"], "valid", "{issued}");
    let name = issued["name"].as_str().unwrap();
    let first = serial(&site, name);
    let shown = run(&site, &["issuer", "show", "pebble"]).text();
    assert!(shown.contains("299"), "of 300 orders: {shown}");
    let expiring = run(&site, &["ls", "--expiring", "14d"]).text();
    assert!(!expiring.contains(name), "{expiring}");

    run(&site, &["issuer", "rotate-key", "pebble"]);
    run(&site, &["renew", name]);
    eventually(SOON, "another version is there", || {
        (serial(&site, name) != first).then_some(())
    });
    let shown = run(&site, &["show", name]).text();
    assert!(shown.contains(&first), "it forgets no version: {shown}");
}
