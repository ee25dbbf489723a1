//! `audit ls|verify`

use anyhow::{Context as _, bail};
use http::Method;
use serde_json::{Value, json};

use super::{PAGE, is_true, print_json, segment, text};
use crate::arguments::{AuditCommand, AuditLs, AuditVerify, duration};
use crate::client::Client;
use crate::output::{Progress, table, with_spinner};

pub(super) async fn run(client: &Client, command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::Ls(ls) => list(client, ls).await,
        AuditCommand::Verify(verify) => self::verify(client, verify).await,
    }
}

async fn list(client: &Client, ls: AuditLs) -> anyhow::Result<()> {
    let events = with_spinner("listing", newest(client, &ls)).await?;
    if ls.json {
        return print_json(&Value::Array(events));
    }
    let rows: Vec<Vec<String>> = events.iter().map(row).collect();
    print!(
        "{}",
        table(&["EVENT", "AT", "ACTOR", "KIND", "OBJECT", "DETAIL"], &rows)
    );
    Ok(())
}

/// The newest events that are asked for, page by page.
async fn newest(client: &Client, ls: &AuditLs) -> anyhow::Result<Vec<Value>> {
    let mut query = String::new();
    for (name, value) in [("kind", &ls.kind), ("object", &ls.object)] {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", segment(value)));
        }
    }
    if let Some(since) = &ls.since {
        query.push_str(&match duration(since) {
            Ok(time) => format!("&within_seconds={}", time.as_secs()),
            Err(_) => format!("&since={}", segment(since)),
        });
    }
    let mut events = Vec::new();
    let mut from = String::new();
    while events.len() < ls.limit {
        let limit = PAGE.min(ls.limit - events.len());
        let path = format!("audit/events?limit={limit}{query}{from}");
        let mut page = client.send(Method::GET, &path).await?;
        if let Some(Value::Array(found)) = page.get_mut("events").map(Value::take) {
            events.extend(found);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => from = format!("&from={}", segment(next)),
            None => break,
        }
    }
    Ok(events)
}

fn row(event: &Value) -> Vec<String> {
    vec![
        number(event, "id").to_string(),
        text(event, "at"),
        text(event, "actor"),
        text(event, "kind"),
        text(event, "object"),
        text(event, "detail"),
    ]
}

/// What was found in all stretches so far.
#[derive(Default)]
struct Found {
    links: u64,
    events: u64,
    late_links: u64,
    late_events: u64,
    /// The first stretch with late links.
    late: Value,
    /// The last stretch.
    last: Value,
}

impl Found {
    fn add(&mut self, stretch: Value) {
        self.links += number(&stretch, "links");
        self.events += number(&stretch, "events");
        if let Some(late) = stretch.get("late").filter(|late| !late.is_null()) {
            self.late_links += number(late, "links");
            self.late_events += number(late, "events");
            if self.late.is_null() {
                self.late = late.clone();
            }
        }
        self.last = stretch;
    }

    fn head(&self) -> Option<&Value> {
        self.last.get("head").filter(|head| !head.is_null())
    }

    fn json(&self) -> Value {
        let member = |name: &str| self.last.get(name).cloned().unwrap_or_default();
        let late = (!self.late.is_null()).then(|| {
            json!({
                "links": self.late_links,
                "events": self.late_events,
                "first": self.late.get("first"),
                "linked_at": self.late.get("linked_at"),
            })
        });
        json!({
            "intact": member("intact"),
            "broken": member("broken"),
            "links": self.links,
            "events": self.events,
            "head": member("head"),
            "late": late,
            "newest_event": member("newest_event"),
        })
    }
}

async fn verify(client: &Client, verify: AuditVerify) -> anyhow::Result<()> {
    let found = all_stretches(client, verify.expect.as_deref()).await?;
    if verify.json {
        print_json(&found.json())?;
    }
    if !is_true(&found.last, "intact") {
        let well = match found.head() {
            Some(head) => format!(
                "up to event {} (link {}) all is well",
                number(head, "last_event"),
                text(head, "link")
            ),
            None => "nothing before that is linked".to_owned(),
        };
        bail!(
            "the audit log is not what was written: {}; {well}",
            text(&found.last, "broken")
        );
    }
    if !verify.json {
        print!("{}", report(&found));
    }
    Ok(())
}

async fn all_stretches(client: &Client, expected: Option<&str>) -> anyhow::Result<Found> {
    let expect = expected.map_or_else(String::new, |head| format!("&expect={}", segment(head)));
    let progress = Progress::start("verifying".to_owned());
    let mut found = Found::default();
    let mut after = String::new();
    loop {
        let path = format!("audit/verify?{after}{expect}");
        let stretch = client.send(Method::GET, &path).await?;
        let next = stretch.get("next").context("the answer is not complete")?;
        let next = next.as_str().map(|next| format!("after={}", segment(next)));
        found.add(stretch);
        progress.say(format!(
            "verified {} events of {}",
            found.events,
            number(&found.last, "newest_event")
        ));
        match next {
            Some(next) => after = next,
            None => return Ok(found),
        }
    }
}

fn report(found: &Found) -> String {
    let Some(head) = found.head() else {
        return "no event is linked yet\n".to_owned();
    };
    let (last, newest) = (
        number(head, "last_event"),
        number(&found.last, "newest_event"),
    );
    let mut report = format!(
        "{} events in {} links are what was written, up to event {last}, linked at {}\n",
        found.events,
        found.links,
        text(head, "linked_at"),
    );
    if newest > last {
        report.push_str(&format!(
            "{} newer events are not linked yet; that takes about a second\n",
            newest - last
        ));
    }
    if !found.late.is_null() {
        report.push_str(&format!(
            "note: {} events in {} links, first in link {} of {}, were linked more than an hour after \
             they happened:\n      no server was running or the chain is younger, or somebody cut it off \
             there and had it made anew\n",
            found.late_events,
            found.late_links,
            number(&found.late, "first"),
            text(&found.late, "linked_at"),
        ));
    }
    let link = text(head, "link");
    report.push_str(&format!(
        "head {link}\nkeep it elsewhere; to verify later that nothing was cut off: chancery audit \
         verify --expect {link}\n"
    ));
    report
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(number: u64, late: &Value) -> Value {
        json!({
            "intact": true,
            "broken": null,
            "links": 2,
            "events": 20,
            "head": { "link": format!("{number}:ab"), "last_event": number * 10, "linked_at": "then" },
            "late": late,
            "newest_event": 45,
            "next": null,
        })
    }

    #[test]
    fn stretches_are_added_up_and_the_last_head_counts() {
        let mut found = Found::default();
        let late =
            |first: u64| json!({ "links": 1, "events": 3, "first": first, "linked_at": "x" });
        found.add(stretch(2, &Value::Null));
        found.add(stretch(4, &late(3)));
        found.add(stretch(6, &late(5)));
        let report = report(&found);
        for words in [
            "60 events in 6 links",
            "6 events in 2 links, first in link 3 of x",
            "--expect 6:ab\n",
        ] {
            assert!(report.contains(words), "{report}");
        }
        assert!(!report.contains("newer"), "{report}");
        let json = found.json();
        assert_eq!(
            (&json["links"], &json["late"]["first"]),
            (&json!(6), &json!(3))
        );
        assert_eq!(json["head"]["link"], "6:ab");
    }

    #[test]
    fn what_is_not_linked_yet_is_said() {
        let mut found = Found::default();
        found.add(stretch(4, &Value::Null));
        assert!(report(&found).contains("5 newer events are not linked yet"));
        assert_eq!(report(&Found::default()), "no event is linked yet\n");
    }
}
