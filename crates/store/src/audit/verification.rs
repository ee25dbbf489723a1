//! Verification of the chain, stretch by stretch.

use std::collections::VecDeque;
use std::fmt;

use time::OffsetDateTime;

use super::chain::{BEFORE_ALL, RawEvent, Sum, Unreadable, raw_events, read_raw};
use super::linking::place;
use super::{AuditLink, COLUMNS, ChainHead, LINK_EVENTS, link_numbered, read, read_rest};
use crate::error::Error;
use crate::ids::EventId;
use crate::scope::PAGE_LIMIT;
use crate::seal::MasterKeyId;
use crate::sql::{Row, Statement, to_microseconds};
use crate::store::Store;

/// How many events a stretch has at most, unless its first link alone covers more.
const STRETCH_EVENTS: u64 = 20_000;
/// How long after its events a link is made at the most while a server runs, by far.
const LATENESS_MICROSECONDS: i64 = 60 * 60 * 1_000_000;

/// A stretch of the chain that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedStretch {
    /// The last link up to which all is well; none before the first.
    pub head: Option<AuditLink>,
    /// How many links of the stretch are well.
    pub links: u64,
    /// How many events these cover.
    pub events: u64,
    /// Links among them that were made more than an hour after an event that they cover happened.
    /// No server ran meanwhile, or the events are from before there was a chain, or the chain was
    /// cut off there and made anew.
    pub late: Option<Late>,
    /// What is wrong after that.
    pub broken: Option<ChainBreak>,
    /// Whether the chain ends here, or cannot be followed any further.
    pub is_last: bool,
    /// The newest event, whether it is linked or not.
    pub newest: Option<EventId>,
}

/// Links that were made late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// How many.
    pub links: u64,
    /// How many events they cover.
    pub events: u64,
    /// The number of the first of them.
    pub first: u64,
    /// When that was made.
    pub linked_at: OffsetDateTime,
}

/// What is wrong with the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainBreak {
    /// There are more events than were linked.
    #[error("an event was added among {0}")]
    EventAdded(CoveredEvents),
    /// The events are as many as were linked, but not the same.
    #[error("an event was changed among {0}, or the link itself was")]
    EventChanged(CoveredEvents),
    /// There are fewer events than were linked.
    #[error("event {missing} was removed, of {covered}")]
    EventRemoved {
        /// The first one that is missing.
        missing: EventId,
        /// Those that it was among.
        covered: CoveredEvents,
    },
    /// An event holds what is never written there.
    #[error("event {event} was changed to something unreadable, of {covered}")]
    EventUnreadable {
        /// Which.
        event: EventId,
        /// Those that it is among.
        covered: CoveredEvents,
    },
    /// The link that was expected has another hash: what is before it was linked anew.
    #[error(
        "link {0} has another hash than expected: events up to it were changed, and linked anew"
    )]
    HeadChanged(u64),
    /// The chain ends before the link that was expected.
    #[error("the chain ends with link {end}, before link {expected}: its end was cut off")]
    HeadMissing {
        /// The number of the link that was expected.
        expected: u64,
        /// The number of the last link, 0 without any.
        end: u64,
    },
    /// A link is not what was written there.
    #[error("link {0} was changed or removed")]
    LinkChanged(u64),
    /// A number is missing.
    #[error("link {0} was removed")]
    LinkRemoved(u64),
    /// A link was made under another master key, and cannot be verified with this one.
    #[error("link {link} was made under master key {made_under}, the one at hand is {have}")]
    OtherMasterKey {
        /// The number of the link.
        link: u64,
        /// The key that it names.
        made_under: MasterKeyId,
        /// The key that the store was opened with.
        have: MasterKeyId,
    },
}

/// The events that a link covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoveredEvents {
    /// The number of the link.
    pub link: u64,
    /// Their first place.
    pub first: EventId,
    /// Their last place.
    pub last: EventId,
}

impl fmt::Display for CoveredEvents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, first, last } = self;
        write!(
            formatter,
            "events {first} to {last}, which link {link} covers"
        )
    }
}

impl Store {
    /// Verifies the chain after a link that was verified before, or from the beginning, for some
    /// 20,000 events. `expected` is a link that was in the chain once; it is looked for when its
    /// number is come to. What is written meanwhile does no harm.
    pub async fn verify_links(
        &self,
        after: Option<&ChainHead>,
        expected: Option<&ChainHead>,
    ) -> Result<VerifiedStretch, Error> {
        let mut verified = VerifiedStretch {
            head: None,
            links: 0,
            events: 0,
            late: None,
            broken: None,
            is_last: true,
            newest: None,
        };
        if let Some(after) = after {
            let row = self.backend().row(link_numbered(after.number)).await?;
            verified.head = row
                .and_then(|row| read(row).ok())
                .filter(|link| link.head == *after);
            if verified.head.is_none() {
                verified.broken = Some(ChainBreak::LinkChanged(after.number));
                return Ok(verified);
            }
        }
        let number = after.map_or(0, |after| after.number);
        let rows = self.backend().rows(links_after(number)).await?;
        let (links, is_last) = stretch(rows)?;
        let start = verified.head.as_ref().map_or(BEFORE_ALL, place);
        let end = links.iter().flatten().map(place).max();
        let mut events = Events::between(self, start, end.unwrap_or(start));
        for link in links {
            let checked = self
                .check(verified.head.as_ref(), link, expected, &mut events)
                .await?;
            match checked {
                Ok((link, lateness)) => verified.add(link, lateness),
                Err(broken) => {
                    verified.broken = Some(broken);
                    return Ok(verified);
                }
            }
        }
        verified.is_last = is_last;
        let end = verified.head.as_ref().map_or(0, |link| link.head.number);
        if let Some(expected) = expected
            && is_last
            && expected.number > end
        {
            let expected = expected.number;
            verified.broken = Some(ChainBreak::HeadMissing { expected, end });
        }
        verified.newest = self.last_event().await?;
        Ok(verified)
    }

    /// Checks a link with the events that it covers, which are next in `events`. Returns it, with
    /// whether it was made late.
    async fn check(
        &self,
        before: Option<&AuditLink>,
        link: Result<AuditLink, ChainBreak>,
        expected: Option<&ChainHead>,
        events: &mut Events<'_>,
    ) -> Result<Result<(AuditLink, bool), ChainBreak>, Error> {
        let next = before.map_or(0, |before| before.head.number) + 1;
        let link = match link {
            Ok(link) => link,
            Err(broken) => return Ok(Err(broken)),
        };
        let number = link.head.number;
        if number != next {
            return Ok(Err(ChainBreak::LinkRemoved(next)));
        }
        let have = self.chain_key().id();
        if link.key_id != have {
            return Ok(Err(ChainBreak::OtherMasterKey {
                link: number,
                made_under: link.key_id,
                have,
            }));
        }
        let (after, last) = (before.map_or(BEFORE_ALL, place), place(&link));
        if last <= after || link.events > LINK_EVENTS as u64 {
            return Ok(Err(ChainBreak::LinkChanged(number)));
        }
        let first = after.max(0) + 1;
        let covered = CoveredEvents {
            link: number,
            first: EventId::from_place(first),
            last: link.last_event,
        };
        let mut sum = Sum::begin(self.chain_key(), before.map(|before| &before.head), after);
        let mut gap = None;
        let mut place = first;
        while let Some(event) = events.next_up_to(last).await? {
            let event = match event {
                Ok(event) => event,
                Err(Unreadable(event)) => {
                    let event = EventId::from_place(event);
                    return Ok(Err(ChainBreak::EventUnreadable { event, covered }));
                }
            };
            if event.id != place {
                gap.get_or_insert(place);
            }
            place = event.id.saturating_add(1);
            sum.add(&event);
            if sum.events > link.events {
                return Ok(Err(ChainBreak::EventAdded(covered)));
            }
        }
        if sum.events < link.events {
            let missing = EventId::from_place(gap.unwrap_or(place));
            return Ok(Err(ChainBreak::EventRemoved { missing, covered }));
        }
        let linked_at = to_microseconds(link.linked_at);
        let lateness = sum.earliest.map(|at| linked_at.saturating_sub(at));
        if sum.end(last, linked_at) != link.head.hash {
            return Ok(Err(ChainBreak::EventChanged(covered)));
        }
        if expected.is_some_and(|expected| expected.number == number && *expected != link.head) {
            return Ok(Err(ChainBreak::HeadChanged(number)));
        }
        let is_late = lateness.is_some_and(|lateness| lateness > LATENESS_MICROSECONDS);
        Ok(Ok((link, is_late)))
    }
}

impl VerifiedStretch {
    fn add(&mut self, link: AuditLink, is_late: bool) {
        self.links += 1;
        self.events += link.events;
        if is_late {
            let late = self.late.get_or_insert(Late {
                links: 0,
                events: 0,
                first: link.head.number,
                linked_at: link.linked_at,
            });
            late.links += 1;
            late.events += link.events;
        }
        self.head = Some(link);
    }
}

/// Events in their order, read page by page.
struct Events<'a> {
    store: &'a Store,
    after: i64,
    until: i64,
    page: VecDeque<Result<RawEvent, Unreadable>>,
}

impl<'a> Events<'a> {
    fn between(store: &'a Store, after: i64, until: i64) -> Self {
        Self {
            store,
            after,
            until,
            page: VecDeque::new(),
        }
    }

    /// The next event, if its place is not beyond `last`.
    async fn next_up_to(
        &mut self,
        last: i64,
    ) -> Result<Option<Result<RawEvent, Unreadable>>, Error> {
        if self.page.is_empty() && self.after < self.until {
            let statement = raw_events(self.after, self.until, PAGE_LIMIT);
            let rows = self.store.backend().rows(statement).await?;
            if rows.len() < PAGE_LIMIT {
                self.after = self.until;
            }
            for row in rows {
                let event = read_raw(row)?;
                self.after = self.after.max(position(&event));
                self.page.push_back(event);
            }
        }
        let is_covered = self
            .page
            .front()
            .is_some_and(|event| position(event) <= last);
        Ok(if is_covered {
            self.page.pop_front()
        } else {
            None
        })
    }
}

fn position(event: &Result<RawEvent, Unreadable>) -> i64 {
    match event {
        Ok(event) => event.id,
        Err(Unreadable(id)) => *id,
    }
}

fn links_after(number: u64) -> Statement {
    Statement::new(format!(
        "select {COLUMNS} from audit_links where number > ? order by number limit ?"
    ))
    .bind(i64::try_from(number).unwrap_or(i64::MAX))
    .bind(i64::try_from(PAGE_LIMIT).unwrap_or(i64::MAX))
}

/// The links of one stretch, and whether they are the last.
fn stretch(rows: Vec<Row>) -> Result<(Vec<Result<AuditLink, ChainBreak>>, bool), Error> {
    let found = rows.len();
    let mut links = Vec::new();
    let mut events: u64 = 0;
    for mut row in rows {
        let number = row.take()?;
        let link = read_rest(number, row).map_err(|_| ChainBreak::LinkChanged(number));
        events = events.saturating_add(link.as_ref().map_or(0, |link| link.events));
        if events > STRETCH_EVENTS && !links.is_empty() {
            break;
        }
        links.push(link);
    }
    let is_last = links.len() == found && found < PAGE_LIMIT;
    Ok((links, is_last))
}
