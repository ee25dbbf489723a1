//! `/chancery/v1/audit/…`

use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;
use lifecycle::{ChainHead, Event, EventFilter, EventId, Late, VerifiedStretch};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Call;
use super::faults::Fault;
use crate::exchange::{Response, json as json_answer};
use crate::notation::timestamp;

/// Events on a page when the caller does not say, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 999;

pub(super) async fn events(call: Call<'_>) -> Result<Response, Fault> {
    let filter = EventFilter {
        kind: call.parameter("kind")?,
        object: parsed(&call, "object", "a uuid")?,
        since: since(&call)?,
    };
    let limit = parsed(&call, "limit", "a number from 1 to 999")?.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(bad("limit is a number from 1 to 999"));
    }
    let from: Option<u64> = parsed(&call, "from", "the next of a page")?;
    let page = call
        .context
        .house
        .audit
        .events(
            &call.principal,
            &filter,
            from.map(EventId::from_number),
            limit,
        )
        .await?;
    let events: Vec<Value> = page.events.iter().map(view).collect();
    let next = page.next.map(|next| next.to_string());
    Ok(json_answer(
        StatusCode::OK,
        &json!({ "events": events, "next": next }),
    ))
}

pub(super) async fn verify(call: Call<'_>) -> Result<Response, Fault> {
    let form = "a link: NUMBER:HASH";
    let after: Option<ChainHead> = parsed(&call, "after", form)?;
    let expected: Option<ChainHead> = parsed(&call, "expect", form)?;
    let audit = &call.context.house.audit;
    let verified = audit
        .verify(&call.principal, after.as_ref(), expected.as_ref())
        .await?;
    Ok(json_answer(StatusCode::OK, &stretch(&verified)))
}

fn view(event: &Event) -> Value {
    json!({
        "id": event.id.as_number(),
        "at": timestamp(event.at),
        "account": event.account_id.map(|account| account.to_string()),
        "actor": event.actor,
        "kind": event.kind,
        "object": event.object.map(|object| object.to_string()),
        "detail": event.detail,
    })
}

fn stretch(verified: &VerifiedStretch) -> Value {
    let head = verified.head.as_ref();
    let is_over = verified.is_last || verified.broken.is_some();
    let next = head.filter(|_| !is_over).map(|link| link.head.to_string());
    json!({
        "intact": verified.broken.is_none(),
        "broken": verified.broken.as_ref().map(ToString::to_string),
        "links": verified.links,
        "events": verified.events,
        "head": head.map(|link| json!({
            "link": link.head.to_string(),
            "last_event": link.last_event.as_number(),
            "linked_at": timestamp(link.linked_at),
        })),
        "late": verified.late.as_ref().map(late),
        "newest_event": verified.newest.map(|newest| newest.as_number()),
        "next": next,
    })
}

fn late(late: &Late) -> Value {
    json!({
        "links": late.links,
        "events": late.events,
        "first": late.first,
        "linked_at": timestamp(late.linked_at),
    })
}

/// The moment from which on events are wanted: itself, or so many seconds ago.
fn since(call: &Call<'_>) -> Result<Option<OffsetDateTime>, Fault> {
    if let Some(seconds) = parsed::<u32>(call, "within_seconds", "a number of seconds")? {
        let ago = Duration::from_secs(u64::from(seconds));
        return Ok(Some(call.context.house.audit.ago(ago)));
    }
    let Some(since) = call.parameter("since")? else {
        return Ok(None);
    };
    let since = OffsetDateTime::parse(&since, &Rfc3339);
    let since = since.map_err(|_| bad("since is a time such as 2026-03-01T12:00:00Z"))?;
    Ok(Some(since))
}

fn parsed<T: FromStr>(call: &Call<'_>, name: &str, form: &str) -> Result<Option<T>, Fault> {
    let text = call.parameter(name)?;
    let parsed = text.map(|text| text.parse()).transpose();
    parsed.map_err(|_| bad(format!("{name} is {form}")))
}

fn bad(detail: impl Into<String>) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, detail)
}
