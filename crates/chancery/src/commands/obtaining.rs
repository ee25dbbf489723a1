//! Waiting for certificates that the server obtains, and telling how that goes.

use anyhow::bail;
use http::Method;
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use super::{segment, text};
use crate::arguments::Patience;
use crate::client::Client;
use crate::output::Progress;

/// How often is looked whether it is there.
const INTERVAL: Duration = Duration::from_millis(500);

/// The certificate once its next version is there: one that it has not had in `asked`.
///
/// Fails when an attempt has failed since, or the server has given up; and when it takes too long.
/// The server goes on in either case.
pub(super) async fn wait(
    client: &Client,
    asked: &Value,
    patience: &Patience,
) -> anyhow::Result<Value> {
    if patience.no_wait {
        return Ok(asked.clone());
    }
    let name = text(asked, "name");
    let path = format!("certificates/{}", segment(&text(asked, "uuid")));
    let deadline = Instant::now() + patience.wait;
    let progress = Progress::start(format!("obtaining {name}"));
    let mut certificate = asked.clone();
    loop {
        match stage(asked, &certificate) {
            Stage::There => return Ok(certificate),
            Stage::Failed(reason) => bail!("{}", failure(&certificate, &reason)),
            Stage::Waiting if Instant::now() >= deadline => bail!(
                "the certificate is not there yet; the server goes on with it: chancery show {name}"
            ),
            Stage::Waiting => progress.say(doing(&certificate)),
        }
        sleep(INTERVAL).await;
        certificate = client.send(Method::GET, &path).await?;
    }
}

/// Fails when a limit of the directory puts off what was asked for: nobody waits for days.
pub(super) fn check_limits(asked: &Value, patience: &Patience) -> anyhow::Result<()> {
    let waiting = asked.get("waiting").filter(|waiting| waiting.is_object());
    match waiting {
        Some(waiting) if !patience.no_wait => bail!(
            "{}\nthe server goes on with it then: chancery show {}",
            text(waiting, "reason"),
            text(asked, "name")
        ),
        _ => Ok(()),
    }
}

/// One line about a certificate that was obtained, or is being obtained.
pub(super) fn summary(certificate: &Value) -> String {
    let name = text(certificate, "name");
    match text(certificate, "state").as_str() {
        "pending" => format!("{name} is being obtained: chancery show {name}"),
        "valid" => format!(
            "{name} is valid until {}; the server renews it",
            text(current(certificate), "not_after")
        ),
        state => format!("{name}: {state}"),
    }
}

/// How it goes on with a certificate, as lines with their labels.
pub(super) fn prospects(certificate: &Value) -> Vec<(&'static str, String)> {
    let lines = [
        ("Last failure", text(certificate, "reason")),
        (
            "Failed",
            match certificate.get("attempt").and_then(Value::as_u64) {
                None | Some(0) => String::new(),
                Some(1) => "1 attempt".to_owned(),
                Some(count) => format!("{count} attempts"),
            },
        ),
        ("Next attempt", text(certificate, "next_attempt_at")),
        ("Renewal", text(certificate, "renew_at")),
    ];
    let told = lines.into_iter().filter(|(_, value)| !value.is_empty());
    told.chain(records(certificate)).collect()
}

/// What its owner is to publish, once.
fn records(certificate: &Value) -> impl Iterator<Item = (&'static str, String)> {
    let records = certificate.get("records_to_publish");
    let records = records.and_then(Value::as_array).into_iter().flatten();
    records.map(|record| {
        let line = format!(
            "{} {} \"{}\" (once, if the directory offers dns-persist-01; proves {})",
            text(record, "name"),
            text(record, "type"),
            text(record, "value"),
            text(record, "proves")
        );
        ("To publish", line)
    })
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    There,
    Failed(String),
}

fn stage(asked: &Value, now: &Value) -> Stage {
    let version = |certificate: &Value| text(current(certificate), "uuid");
    let state = text(now, "state");
    if state == "valid" && !version(now).is_empty() && version(now) != version(asked) {
        return Stage::There;
    }
    let reason = text(now, "reason");
    let attempt = |certificate: &Value| certificate.get("attempt").and_then(Value::as_u64);
    let is_new = reason != text(asked, "reason") || attempt(now) > attempt(asked);
    if state == "error" || (!reason.is_empty() && is_new) {
        return Stage::Failed(reason);
    }
    Stage::Waiting
}

/// Why it is not there, and how it goes on.
fn failure(certificate: &Value, reason: &str) -> String {
    let name = text(certificate, "name");
    let next = text(certificate, "next_attempt_at");
    let goes_on = if next.is_empty() {
        format!("the server has given up; when that is mended: chancery renew {name}")
    } else {
        format!("the server tries again at {next}; sooner: chancery renew {name}")
    };
    let first = certificate.get("identifiers").and_then(Value::as_array);
    let first = first
        .and_then(|names| names.first())
        .and_then(Value::as_str);
    let look = first.map_or_else(String::new, |first| {
        format!(
            "\nsee what is in the way: chancery check {}",
            crate::output::safe(first)
        )
    });
    format!("{reason}\n{goes_on}{look}")
}

fn doing(certificate: &Value) -> String {
    let name = text(certificate, "name");
    match text(certificate, "next_attempt_at") {
        next if next.is_empty() => format!("obtaining {name}"),
        next => format!("obtaining {name} (next step at {next})"),
    }
}

fn current(certificate: &Value) -> &Value {
    certificate.get("current").unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_first_version_is_waited_for_until_it_is_there_or_has_failed() {
        let asked = json!({ "state": "pending", "attempt": 0, "current": null });
        assert_eq!(stage(&asked, &asked), Stage::Waiting);
        let there = json!({ "state": "valid", "current": { "uuid": "a" } });
        assert_eq!(stage(&asked, &there), Stage::There);
        let failed = json!({ "state": "pending", "attempt": 1, "reason": "no address" });
        assert_eq!(
            stage(&asked, &failed),
            Stage::Failed("no address".to_owned())
        );
        // A directory that is down counts for no attempt.
        let down = json!({ "state": "pending", "attempt": 0, "reason": "down" });
        assert_eq!(stage(&asked, &down), Stage::Failed("down".to_owned()));
    }

    #[test]
    fn a_renewal_is_waited_for_until_there_is_another_version() {
        let before =
            json!({ "state": "valid", "current": { "uuid": "a" }, "reason": "old", "attempt": 2 });
        assert_eq!(stage(&before, &before), Stage::Waiting);
        let renewed = json!({ "state": "valid", "current": { "uuid": "b" } });
        assert_eq!(stage(&before, &renewed), Stage::There);
        let again =
            json!({ "state": "valid", "current": { "uuid": "a" }, "reason": "old", "attempt": 3 });
        assert_eq!(stage(&before, &again), Stage::Failed("old".to_owned()));
    }

    #[test]
    fn a_limit_is_told_at_once_unless_nobody_waits() {
        let patience = |no_wait| Patience {
            wait: Duration::from_secs(1),
            no_wait,
        };
        let asked = json!({ "name": "a-1", "waiting": { "reason": "waiting for le: a limit" } });
        let told = check_limits(&asked, &patience(false))
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("waiting for le") && told.contains("chancery show a-1"),
            "{told}"
        );
        assert!(check_limits(&asked, &patience(true)).is_ok());
        assert!(check_limits(&json!({ "name": "a-1" }), &patience(false)).is_ok());
    }

    #[test]
    fn a_record_to_be_published_is_shown_as_it_is_written() {
        let certificate = json!({ "records_to_publish": [{
            "name": "_validation-persist.a.test", "type": "TXT",
            "value": "ca.test; accounturi=x; policy=wildcard", "proves": "*.a.test",
        }] });
        let (label, line) = prospects(&certificate).pop().unwrap();
        assert_eq!(label, "To publish");
        let record = "_validation-persist.a.test TXT \"ca.test; accounturi=x; policy=wildcard\"";
        assert!(
            line.starts_with(record) && line.ends_with("proves *.a.test)"),
            "{line}"
        );
    }

    #[test]
    fn a_failure_says_how_it_goes_on() {
        let later = json!({ "name": "a-1", "identifiers": ["a.test"], "next_attempt_at": "soon" });
        let told = failure(&later, "no address");
        for part in [
            "no address",
            "again at soon",
            "chancery renew a-1",
            "chancery check a.test",
        ] {
            assert!(told.contains(part), "{told}");
        }
        assert!(failure(&json!({ "name": "a-1" }), "x").contains("given up"));
    }
}
