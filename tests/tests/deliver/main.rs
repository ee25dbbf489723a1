//! Certificates in directories of other machines: `chancery deliver` between the server and nginx,
//! haproxy, and whatever else can go wrong there.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod commands;
mod terminators;
mod trouble;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Chancery, Deliverer, eventually};

/// How long is waited for what must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// Has the server make a certificate of its own for `name`, under that name, and renew it.
pub(crate) fn managed(server: &Chancery, name: &str) {
    let issued = server.cli(&["issue", name, "--managed", "--json"]);
    assert_eq!(issued.code(), Some(0), "{issued:?}");
}

/// The name that the inventory has for the certificate of `common_name`, and its serial number.
pub(crate) fn certificate(server: &Chancery, common_name: &str) -> (String, String) {
    let listed = server.cli(&["ls", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let mut found = listed.as_array().unwrap().iter();
    let found = found.rfind(|certificate| certificate["common_name"] == common_name);
    let found = found.unwrap_or_else(|| panic!("no {common_name} in {listed}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&found["name"]), text(&found["current"]["serial"]))
}

/// What the server says of the certificates of a target: standing and reason by name.
pub(crate) fn standing(server: &Chancery, target: &str, name: &str) -> Option<(String, String)> {
    let path = format!("/chancery/v1/targets/{target}");
    let shown = server.administer(&server.token(), "GET", &path, &Value::Null);
    let shown = shown.json();
    let certificates = shown["certificates"].as_array()?;
    let found = certificates
        .iter()
        .find(|certificate| certificate["name"] == name)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Some((text("standing"), text("reason")))
}

#[track_caller]
pub(crate) fn wait_for(server: &Chancery, target: &str, name: &str, expected: &str) -> String {
    let what = format!("{name} is {expected} on {target}");
    eventually(DEADLINE, &what, || {
        let (found, reason) = standing(server, target, name)?;
        (found == expected).then_some(reason)
    })
}

/// Asks for a renewal.
pub(crate) fn renew(server: &Chancery, name: &str) {
    let path = format!("/chancery/v1/certificates/{name}/renew");
    let answer = server.administer(&server.token(), "POST", &path, &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Whether a deliverer is between changing files and having settled it.
pub(crate) fn is_at_work(directory: &Path) -> bool {
    directory.join(".chancery/undo").exists()
}

/// Waits until it has said this.
#[track_caller]
pub(crate) fn hear(deliverer: &Deliverer, words: &str) {
    eventually(DEADLINE, words, || {
        deliverer.log().contains(words).then_some(())
    });
}
