//! Looking for events, newest first.
//!
//! Nothing but the account of an event is indexed, since every change would pay for it. So a search
//! looks through the feed backwards, so many places at a time, and a page may end before it is full.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::Error;
use crate::events::{self, Event};
use crate::ids::EventId;
use crate::scope::{PAGE_LIMIT, Scope, page_limit};
use crate::sql::Statement;
use crate::store::Store;

/// How many places one statement looks through.
const SPAN: u64 = 50_000;
/// How many statements one page takes.
const SPANS: usize = 8;
/// How far the order of places may differ from the one of moments: clocks of nodes differ, and an
/// event waits for its commit.
const DISORDER: time::Duration = time::Duration::hours(1);

/// Which events are wanted; those that meet all conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this kind, or of those that begin with it and a dot.
    pub kind: Option<String>,
    /// Done to this object.
    pub object: Option<Uuid>,
    /// Not before this moment.
    pub since: Option<OffsetDateTime>,
}

/// Events that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events, newest first.
    pub events: Vec<Event>,
    /// Where the next page begins; none if there is none.
    pub next: Option<EventId>,
}

impl Store {
    /// The newest events that a filter wants, from a place on backwards, or from the newest: at
    /// most `limit`, and never more than 1,000. If the page is not full and there is a next one, no
    /// more were found in 400,000 places.
    pub async fn search_events(
        &self,
        scope: Scope,
        filter: &EventFilter,
        from: Option<EventId>,
        limit: usize,
    ) -> Result<EventPage, Error> {
        let limit = limit.min(PAGE_LIMIT);
        let mut page = EventPage {
            events: Vec::new(),
            next: None,
        };
        let from = match from {
            Some(from) => Some(from),
            None => self.last_event().await?,
        };
        let Some(mut top) = from.map(|from| from.as_number()) else {
            return Ok(page);
        };
        let span = if *filter == EventFilter::default() {
            u64::MAX
        } else {
            SPAN
        };
        for _ in 0..SPANS {
            let bottom = top.saturating_sub(span);
            let wanted = limit - page.events.len();
            let between = (EventId::from_number(bottom), EventId::from_number(top));
            let statement = searched(scope, filter, between, wanted);
            for row in self.backend().rows(statement).await? {
                page.events.push(events::read(row)?);
            }
            let last = page.events.last().map(|event| event.id.as_number());
            if let Some(last) = last.filter(|_| page.events.len() == limit) {
                page.next = before(last);
                return Ok(page);
            }
            if bottom == 0 || self.is_older(bottom, filter.since).await? {
                return Ok(page);
            }
            top = bottom;
        }
        page.next = Some(EventId::from_number(top));
        Ok(page)
    }

    /// Whether all that is at a place and before it certainly happened before `since`.
    async fn is_older(&self, place: u64, since: Option<OffsetDateTime>) -> Result<bool, Error> {
        let Some(since) = since else {
            return Ok(false);
        };
        let newest = Statement::new("select at from events where id <= ? order by id desc limit 1")
            .bind(EventId::from_number(place));
        let Some(mut row) = self.backend().row(newest).await? else {
            return Ok(true);
        };
        Ok(row.take::<OffsetDateTime>()? + DISORDER < since)
    }
}

/// The place before another.
fn before(place: u64) -> Option<EventId> {
    let before = place.checked_sub(1).filter(|before| *before > 0);
    before.map(EventId::from_number)
}

/// The events after one place up to another that are wanted, newest first.
pub(crate) fn searched(
    scope: Scope,
    filter: &EventFilter,
    (after, until): (EventId, EventId),
    limit: usize,
) -> Statement {
    let mut statement = Statement::new(format!(
        "select {} from events where id > ? and id <= ?",
        events::COLUMNS
    ))
    .bind(after)
    .bind(until);
    if let Some(kind) = &filter.kind {
        let family = format!("{kind}.");
        let length = i64::try_from(family.chars().count()).unwrap_or(i64::MAX);
        statement = statement
            .text(" and (kind = ? or substr(kind, 1, cast(? as integer)) = ?)")
            .bind(kind.as_str())
            .bind(length)
            .bind(family);
    }
    if let Some(object) = filter.object {
        statement = statement.text(" and object = ?").bind(Some(object));
    }
    if let Some(since) = filter.since {
        statement = statement.text(" and at >= ?").bind(since);
    }
    scope
        .restrict(statement, "account_id")
        .text(" order by id desc limit ?")
        .bind(page_limit(limit))
}
