//! Linking of the events that are not in the chain yet.

use time::OffsetDateTime;

use super::chain::{BEFORE_ALL, Sum, Unreadable, raw_events, read_raw};
use super::{AuditLink, COLUMNS, ChainHead, LINK_EVENTS, last_link, read};
use crate::backend::in_transaction;
use crate::error::Error;
use crate::seal::SealError;
use crate::sql::{Row, Statement, Value, row_marks, to_microseconds};
use crate::store::Store;

/// The most links that are written at a time.
const LINKS_AT_ONCE: usize = 16;

/// What came of linking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linking {
    /// There are new links.
    Linked {
        /// The last of them.
        head: AuditLink,
        /// Whether it covers all events that there were.
        is_last: bool,
    },
    /// All events are linked.
    Nothing,
    /// The chain does not end where the caller believes; nothing was changed.
    Overtaken,
}

impl Store {
    /// Links the events after `head`, the last link as the caller knows it, at most 16,000 of them,
    /// and says that it was done at `now`.
    ///
    /// The places of events are given in the order of commits (see [`Store::feed`]), so none comes
    /// up later among those that are linked.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] when somebody else wrote an event that cannot be read; [`Error::Seal`]
    /// when the chain was made under another master key.
    pub async fn link_events(
        &self,
        head: Option<&AuditLink>,
        now: OffsetDateTime,
    ) -> Result<Linking, Error> {
        if let Some(head) = head
            && head.key_id != self.chain_key().id()
        {
            return Err(Error::Seal(SealError::WrongMasterKey {
                sealed_under: head.key_id,
                have: self.chain_key().id(),
            }));
        }
        let mut links: Vec<AuditLink> = Vec::new();
        let mut is_last = false;
        while !is_last && links.len() < LINKS_AT_ONCE {
            let before = links.last().or(head);
            let after = before.map_or(BEFORE_ALL, place);
            let statement = raw_events(after, i64::MAX, LINK_EVENTS);
            let rows = self.backend().rows(statement).await?;
            is_last = rows.len() < LINK_EVENTS;
            if !rows.is_empty() {
                links.push(self.link(before, rows, now)?);
            }
        }
        let Some(last) = links.last().cloned() else {
            return Ok(Linking::Nothing);
        };
        if self.add_links(head.map(|link| link.head), &links).await? {
            Ok(Linking::Linked {
                head: last,
                is_last,
            })
        } else {
            Ok(Linking::Overtaken)
        }
    }

    /// The link after `before` that covers these events.
    fn link(
        &self,
        before: Option<&AuditLink>,
        rows: Vec<Row>,
        now: OffsetDateTime,
    ) -> Result<AuditLink, Error> {
        let after = before.map_or(BEFORE_ALL, place);
        let before = before.map(|link| link.head);
        let mut sum = Sum::begin(self.chain_key(), before.as_ref(), after);
        let mut last = after;
        for row in rows {
            let event = read_raw(row)?
                .map_err(|Unreadable(_)| Error::Corrupt("an event is not what is written there"))?;
            last = event.id;
            sum.add(&event);
        }
        let events = sum.events;
        let linked_at = to_microseconds(now);
        Ok(AuditLink {
            head: ChainHead {
                number: before.map_or(0, |before| before.number) + 1,
                hash: sum.end(last, linked_at),
            },
            last_event: crate::EventId::from_place(last),
            events,
            linked_at: crate::sql::from_microseconds(linked_at)?,
            key_id: self.chain_key().id(),
        })
    }

    /// Writes links if the chain ends with `head`. Whether it did.
    async fn add_links(&self, head: Option<ChainHead>, links: &[AuditLink]) -> Result<bool, Error> {
        let values: Vec<Value> = links.iter().flat_map(values).collect();
        let marks = row_marks(links.len(), 6);
        let insert = format!("insert into audit_links ({COLUMNS}) values {marks}");
        let insert = Statement::with_values(insert, values);
        let added = in_transaction!(self.backend(), |transaction| {
            let found = transaction.row(last_link()).await?;
            let found = found.map(read).transpose()?;
            if found.map(|link| link.head) != head {
                return Ok(false);
            }
            transaction.execute(insert.clone()).await?;
            Ok(true)
        });
        match added {
            // Another node took the number at the same time.
            Err(Error::Duplicate) => Ok(false),
            added => added,
        }
    }
}

/// The place of the last event that a link covers.
pub(super) fn place(link: &AuditLink) -> i64 {
    link.last_event.place()
}

fn values(link: &AuditLink) -> [Value; 6] {
    let number = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    [
        number(link.head.number),
        link.last_event.into(),
        number(link.events),
        link.linked_at.into(),
        link.head.hash.as_slice().into(),
        link.key_id.as_bytes().into(),
    ]
}
