//! Reading the change feed in stretches, without the events that a reader has no use for.
//!
//! What is left out never leaves the database, and the reader's place moves past it all the same:
//! certificates are issued by the thousand that mean nothing to most readers.

use crate::error::Error;
use crate::events::{self, Event};
use crate::ids::EventId;
use crate::scope::{PAGE_LIMIT, page_limit};
use crate::sql::Statement;
use crate::store::Store;

/// The most places that one stretch covers, so that a reader who is far behind asks for no long
/// search through what it leaves out.
const SPAN: u64 = 50_000;

/// A stretch of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The events in it that are wanted, oldest first.
    pub events: Vec<Event>,
    /// The place that the stretch reaches up to; none while there is no event at all.
    pub place: Option<EventId>,
    /// Whether the feed ended there when it was read.
    pub is_last: bool,
}

/// Which events of a stretch a reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// All but those of these kinds.
    AllBut(&'a [&'a str]),
    /// Those of these kinds.
    Only(&'a [&'a str]),
    /// Those of these kinds that belong to accounts with a webhook.
    ForWebhooks(&'a [&'a str]),
}

impl Store {
    /// The next stretch of the feed after a place: of the events in it those that are wanted, at
    /// most 1,000. Without a place, from the beginning.
    pub async fn feed(&self, wanted: Wanted<'_>, after: Option<EventId>) -> Result<Stretch, Error> {
        let end = self.last_event().await?;
        let Some(end) = end.filter(|end| after < Some(*end)) else {
            return Ok(Stretch {
                events: Vec::new(),
                place: after,
                is_last: true,
            });
        };
        let start = after.unwrap_or_else(|| EventId::from_number(0));
        let reach = EventId::from_number(start.as_number().saturating_add(SPAN)).min(end);
        let rows = self.backend().rows(between(start, reach, wanted)).await?;
        let events: Vec<Event> = rows
            .into_iter()
            .map(events::read)
            .collect::<Result<_, _>>()?;
        let place = match events.last() {
            Some(last) if events.len() == PAGE_LIMIT => last.id,
            _ => reach,
        };
        Ok(Stretch {
            events,
            place: Some(place),
            is_last: place == end,
        })
    }
}

/// Those of the events after `start` and up to `end` that are wanted.
pub(crate) fn between(start: EventId, end: EventId, wanted: Wanted<'_>) -> Statement {
    let statement = Statement::new(format!(
        "select {} from events where id > ? and id <= ?",
        events::COLUMNS
    ))
    .bind(start)
    .bind(end);
    let statement = match wanted {
        Wanted::AllBut([]) => statement,
        Wanted::AllBut(kinds) => statement
            .text(" and kind not in ")
            .list(kinds.iter().copied()),
        Wanted::Only(kinds) => statement.text(" and kind in ").list(kinds.iter().copied()),
        Wanted::ForWebhooks(kinds) => statement
            .text(" and kind in ")
            .list(kinds.iter().copied())
            .text(" and exists (select 1 from webhooks w where w.account_id = events.account_id)"),
    };
    statement
        .text(" order by id limit ?")
        .bind(page_limit(PAGE_LIMIT))
}
