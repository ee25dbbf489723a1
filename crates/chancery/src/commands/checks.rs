//! `check`, and how findings are shown.

use anyhow::bail;
use http::Method;
use serde_json::Value;

use super::{print_json, segment, text};
use crate::arguments::Check;
use crate::client::Client;
use crate::output::{table, with_spinner};

pub(super) async fn check(client: &Client, check: Check) -> anyhow::Result<()> {
    let path = format!("check/{}", segment(&check.name));
    let found = with_spinner("looking", client.send(Method::GET, &path)).await?;
    report(&found, check.json)
}

/// Prints what was found; an error if something is in the way.
pub(super) fn report(found: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        print_json(found)?;
    } else {
        print!("{}", shown(found));
    }
    let problems = findings(found).filter(|finding| text(finding, "verdict") == "problem");
    match problems.count() {
        0 => Ok(()),
        1 => bail!("one thing is in the way"),
        count => bail!("{count} things are in the way"),
    }
}

/// A table of the findings, and what is to be done by whom.
fn shown(found: &Value) -> String {
    let rows: Vec<Vec<String>> = findings(found).map(row).collect();
    let mut shown = table(&["", "CHECK", "FOUND", "EXPECTED", "WHO ACTS"], &rows);
    let to_do = findings(found).filter(|finding| !text(finding, "remedy").is_empty());
    for (place, finding) in to_do.enumerate() {
        if place == 0 {
            shown.push_str("\nWhat to do:\n");
        }
        let who = actor(finding);
        shown.push_str(&format!("  {who}: {}\n", text(finding, "remedy")));
    }
    shown
}

fn row(finding: &Value) -> Vec<String> {
    let verdict = text(finding, "verdict");
    let who = match verdict.as_str() {
        "ok" => "-".to_owned(),
        _ => actor(finding),
    };
    vec![
        verdict,
        text(finding, "check"),
        text(finding, "found"),
        text(finding, "expected"),
        who,
    ]
}

fn actor(finding: &Value) -> String {
    match text(finding, "acts").as_str() {
        "owner" => "owner of the domain".to_owned(),
        "platform" => "operator of this server".to_owned(),
        other => other.to_owned(),
    }
}

fn findings(found: &Value) -> impl Iterator<Item = &Value> {
    let findings = found.get("findings").and_then(Value::as_array);
    findings.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn findings_say_who_acts_and_what_to_do() {
        let found = json!({ "name": "a.test", "findings": [
            { "check": "dns", "verdict": "ok", "expected": "an address", "found": "10.0.0.1",
              "acts": "owner", "remedy": "" },
            { "check": "caa", "verdict": "problem", "expected": "acme.test", "found": "other.test",
              "acts": "owner", "remedy": "Add a CAA record for acme.test." },
        ] });
        let shown = shown(&found);
        assert!(shown.contains("ok       dns"), "{shown}");
        assert!(
            shown.contains("What to do:\n  owner of the domain: Add a CAA record for acme.test.\n"),
            "{shown}"
        );
        assert_eq!(shown.matches("owner of the domain").count(), 2, "{shown}");
        assert!(report(&found, false).is_err());
        assert!(report(&json!({ "findings": [found["findings"][0]] }), true).is_ok());
    }
}
