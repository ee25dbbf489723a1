//! A directory that rejects half of the nonces, and names whose checks fail every fifth time: all
//! of them have certificates in the end, and no more is asked of the directory than that takes.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{AcmeSite, KraftCloud, eventually};

const NAMES: usize = 500;
/// Requests for certificates in one call.
const AT_ONCE: usize = 16;
const DEADLINE: Duration = Duration::from_secs(180);
/// Orders that a name may take beyond the ones that it needs.
const SLACK: usize = 3;

/// Decides which checks fail: by name and number of the attempt, and so the same in every run.
#[derive(Debug, Default)]
struct Checks {
    /// The tokens seen so far, by name; every attempt has its own.
    tokens: BTreeMap<String, Vec<String>>,
    failed: BTreeSet<String>,
}

impl Checks {
    /// Whether a request is let through. Pebble makes several for each attempt.
    fn admits(&mut self, name: &str, token: &str) -> bool {
        let tokens = self.tokens.entry(name.to_owned()).or_default();
        let place = tokens.iter().position(|known| known == token);
        let attempt = place.unwrap_or_else(|| {
            tokens.push(token.to_owned());
            tokens.len() - 1
        });
        let mut hasher = DefaultHasher::new();
        (name, attempt).hash(&mut hasher);
        let admits = !hasher.finish().is_multiple_of(5);
        if !admits {
            self.failed.insert(token.to_owned());
        }
        admits
    }

    fn failures_of(&self, name: &str) -> usize {
        let tokens = self.tokens.get(name).into_iter().flatten();
        tokens.filter(|token| self.failed.contains(*token)).count()
    }
}

/// Requests certificates for all the names.
fn request(api: &KraftCloud, names: &[String]) {
    for some in names.chunks(AT_ONCE) {
        let wanted = some.iter().map(|name| json!({ "cn": name })).collect();
        let made = api.call("POST", "/v1/certificates", &Value::Array(wanted));
        assert!(made.iter().all(|made| made["state"] == "pending"));
    }
}

/// The certificates that are not valid.
fn unfinished(api: &KraftCloud) -> Vec<Value> {
    let all = api.call("GET", "/v1/certificates?count=1000", &Value::Null);
    assert_eq!(all.len(), NAMES);
    let unfinished = all.into_iter().filter(|one| one["state"] != "valid");
    unfinished.collect()
}

#[test]
fn every_name_is_valid_in_the_end_however_often_nonces_and_checks_fail() {
    let checks = Arc::new(Mutex::new(Checks::default()));
    let shared = Arc::clone(&checks);
    let site = AcmeSite::options()
        .challenges(&["http-01"])
        .turnstile(move |host, path| {
            let name = host.split(':').next().unwrap_or_default();
            let token = path.rsplit('/').next().unwrap_or_default();
            let mut checks = shared.lock().unwrap_or_else(PoisonError::into_inner);
            checks.admits(name, token)
        })
        .pebble(|pebble| {
            let pebble = pebble.env("PEBBLE_WFE_NONCEREJECT", "50");
            pebble.env("PEBBLE_AUTHZREUSE", "0")
        })
        .issuer(
            "limits",
            json!({ "orders": null, "domain": null, "failures": null }),
        )
        .start();
    let names: Vec<String> = (0..NAMES).map(|n| format!("n{n}.example.com")).collect();
    let api = site.api();
    request(&api, &names);
    eventually(DEADLINE, "all names are valid", || {
        let unfinished = unfinished(&api);
        // What has failed once would wait for minutes: whoever asks need not.
        for failed in unfinished
            .iter()
            .filter(|one| one["validation"]["attempt"] != 0)
        {
            site.renew(failed);
        }
        unfinished.is_empty().then_some(())
    });
    let checks = checks.lock().unwrap_or_else(PoisonError::into_inner);
    let failures: usize = names.iter().map(|name| checks.failures_of(name)).sum();
    assert!(failures > NAMES / 10, "{failures} checks have failed");
    for name in &names {
        let (orders, needed) = (checks.tokens[name].len(), 1 + checks.failures_of(name));
        assert!(orders <= needed + SLACK, "{name}: {orders} for {needed}");
    }
    // There was no order but for these.
    assert!(
        site.pebble.orders() <= NAMES + failures + SLACK,
        "{}",
        site.pebble.orders()
    );
    assert_eq!(site.pebble.certificates(), NAMES);
}
