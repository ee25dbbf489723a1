//! The audit log, which is also the change feed.
//!
//! Every event is written in the transaction of the change it tells about. Its place in the feed
//! is given in the order of commits: SQLite has one writer and numbers rows as it writes them; on
//! PostgreSQL a counter row is locked from the writing of the event, always the last statement of
//! its transaction, to the commit. A reader that has seen place *n* will therefore never be
//! surprised by a new event before *n*, and needs no time window to be sure.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::backend::{Transaction, in_transaction};
use crate::error::Error;
use crate::ids::{AccountId, EventId};
use crate::recorder::largest_portion;
use crate::scope::{Scope, page_limit};
use crate::sql::{FromColumn, Row, Statement, Value, row_marks};
use crate::store::Store;

/// The longest detail that is kept, in bytes; a longer one is cut.
pub const DETAIL_LIMIT: usize = 4096;

/// The longest name of an actor that is kept, in bytes; a longer one is cut.
pub const ACTOR_LIMIT: usize = 256;

/// Something that is about to happen: who does what to which object.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// When.
    pub at: OffsetDateTime,
    /// Whose object it is; none for objects of the operator, such as authorities.
    pub account_id: Option<AccountId>,
    /// Who does it, in a form people recognise.
    pub actor: String,
    /// What is done, for example `certificate.added`.
    pub kind: &'static str,
    /// The object it is done to.
    pub object: Option<Uuid>,
    /// Anything more worth knowing; never key material. Cut at [`DETAIL_LIMIT`].
    pub detail: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the feed.
    pub id: EventId,
    /// When, to the microsecond.
    pub at: OffsetDateTime,
    /// Whose object it is; none for objects of the operator.
    pub account_id: Option<AccountId>,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub kind: String,
    /// The object it was done to.
    pub object: Option<Uuid>,
    /// Anything more worth knowing.
    pub detail: String,
}

impl Store {
    /// Writes an event that belongs to no other change.
    pub async fn add_event(&self, event: NewEvent) -> Result<(), Error> {
        let row = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            insert(transaction, vec![row.clone()]).await
        })
    }

    /// The events after a place in the feed, oldest first, at most `limit` (and never more than
    /// 1,000). Without a place, from the beginning.
    pub async fn events_after(
        &self,
        scope: Scope,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        let statement = after_place(scope, after, limit);
        let rows = self.backend().rows(statement).await?;
        rows.into_iter().map(read).collect()
    }

    /// The place of the newest event: where a follower begins who has just read everything else.
    pub async fn last_event(&self) -> Result<Option<EventId>, Error> {
        let statement = Statement::new("select id from events order by id desc limit 1");
        self.backend()
            .row(statement)
            .await?
            .map(|mut row| row.take())
            .transpose()
    }
}

/// What [`read`] wants of an event.
pub(crate) const COLUMNS: &str = "id, at, account_id, object, actor, kind, detail";

/// The values of one event, without its place.
pub(crate) type EventRow = Vec<Value>;

impl NewEvent {
    pub(crate) fn into_row(self) -> EventRow {
        let Self {
            at,
            account_id,
            mut actor,
            kind,
            object,
            mut detail,
        } = self;
        cut(&mut actor, ACTOR_LIMIT);
        cut(&mut detail, DETAIL_LIMIT);
        vec![
            at.into(),
            account_id.into(),
            object.into(),
            actor.into(),
            Value::Text(Some(kind.into())),
            detail.into(),
        ]
    }
}

/// The values of several events.
pub(crate) fn into_rows(events: Vec<NewEvent>) -> Vec<EventRow> {
    events.into_iter().map(NewEvent::into_row).collect()
}

/// Writes events. Must be the last thing its transaction does; see the module's header.
pub(crate) async fn insert(
    transaction: &mut Transaction,
    mut events: Vec<EventRow>,
) -> Result<(), Error> {
    while !events.is_empty() {
        let rest = events.split_off(largest_portion(events.len()));
        let statement = insertion(events, transaction.is_sqlite());
        transaction.execute(statement).await?;
        events = rest;
    }
    Ok(())
}

fn insertion(events: Vec<EventRow>, is_sqlite: bool) -> Statement {
    let count = events.len();
    let columns = events.first().map_or(0, Vec::len);
    if is_sqlite {
        let marks = row_marks(count, columns);
        return Statement::with_values(
            format!(
                "insert into events (at, account_id, object, actor, kind, detail) values {marks}"
            ),
            events.into_iter().flatten().collect(),
        );
    }
    let number = i64::try_from(count).unwrap_or(i64::MAX);
    let marks = row_marks(count, columns + 1);
    let placed = (1_i64..).zip(events);
    let values = [number.into(), number.into()]
        .into_iter()
        .chain(placed.flat_map(|(place, event)| [Value::from(place)].into_iter().chain(event)));
    Statement::with_values(
        format!(
            "with counter as (update event_counter set last = last + ? returning last) \
             insert into events (id, at, account_id, object, actor, kind, detail) \
             select counter.last - ? + fresh.place, fresh.at, fresh.account_id, fresh.object, \
             fresh.actor, fresh.kind, fresh.detail from counter, (values {marks}) \
             as fresh (place, at, account_id, object, actor, kind, detail)"
        ),
        values.collect(),
    )
}

pub(crate) fn after_place(scope: Scope, after: Option<EventId>, limit: usize) -> Statement {
    let statement = Statement::new(format!("select {COLUMNS} from events where id > ?"))
        .bind(after.unwrap_or_else(|| EventId::from_number(0)));
    scope
        .restrict(statement, "account_id")
        .text(" order by id limit ?")
        .bind(page_limit(limit))
}

pub(crate) fn read(mut row: Row) -> Result<Event, Error> {
    Ok(Event {
        id: row.take()?,
        at: row.take()?,
        account_id: row.take()?,
        object: row.take::<Object>()?.0,
        actor: row.take()?,
        kind: row.take()?,
        detail: row.take()?,
    })
}

struct Object(Option<Uuid>);

impl FromColumn for Object {
    fn from_column(row: &Row, index: usize) -> Result<Self, Error> {
        Option::<Vec<u8>>::from_column(row, index)?
            .map(|bytes| {
                Uuid::from_slice(&bytes)
                    .map_err(|_| Error::Corrupt("an object of an event is not 16 bytes long"))
            })
            .transpose()
            .map(Self)
    }
}

/// Shortens a text to at most `limit` bytes without splitting a character.
pub(crate) fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
}
