//! Lists: a stretch of the inventory, sent page by page while it is read.
//!
//! A million objects are a normal list. Nothing but one page is ever held, and of what belongs to
//! its objects not even that, and a client that
//! reads slowly is waited for. If the store fails on the way, the connection is broken: a short
//! list would look like a whole one.

use std::time::Instant;

use lifecycle::{House, Order, PAGE_LIMIT, Page, PageStart, Principal};

use super::envelope::op_time;
use super::faults::Refusal;
use super::item::Detail;
use super::kind::{Filled, Filter, Head, Kind, items};
use super::query::{From, Listing};
use super::references::Target;
use crate::exchange::Response;
use crate::pages::{self, BrokenOff, NextPage, Part};

/// Objects shown per page. One more is read: it tells whether there is a next page, and where
/// that begins.
const PAGE: usize = PAGE_LIMIT - 1;

/// What to list, for whom.
pub(super) struct Question {
    pub(super) house: House,
    pub(super) principal: Principal,
    pub(super) filter: Filter,
    pub(super) detail: Detail,
    pub(super) started: Instant,
}

/// Answers with the objects that `listing` asks for.
pub(super) async fn respond<K: Kind>(
    question: Question,
    listing: &Listing,
) -> Result<Response, Refusal> {
    let walk = Walk::<K>::begin(question, listing).await?;
    let head = format!(r#"{{"status":"success","data":{{"{}":["#, K::KEY);
    // The first page is read before the status is sent, so that most failures are clean answers.
    let first = walk.page(head.into_bytes()).await.map_err(|error| {
        error.log();
        Refusal::internal()
    })?;
    Ok(pages::answer(first))
}

/// Where a list stands.
struct Walk<K: Kind> {
    question: Question,
    start: PageStart<K::Id>,
    order: Order,
    /// How many more to show; `None` means all.
    remaining: Option<usize>,
    is_first: bool,
}

impl<K: Kind> Walk<K> {
    async fn begin(question: Question, listing: &Listing) -> Result<Self, Refusal> {
        let mut remaining = listing.count;
        let start = match listing.from {
            None => PageStart::Beginning,
            Some(From::Time(time)) => PageStart::Time(whole_second(time, listing.order)),
            Some(From::Object(id)) => {
                let Question {
                    house, principal, ..
                } = &question;
                let mut found = K::find_each(house, principal, vec![Target::Uuid(id)]).await?;
                if let Some(Some(found)) = found.pop() {
                    if remaining.is_none() {
                        // Without a size of the page an object stands for itself.
                        remaining = Some(usize::from(K::is_shown(&question.filter, &found)));
                    }
                    place::<K>(&found)
                } else {
                    remaining = Some(0);
                    PageStart::Beginning
                }
            }
        };
        Ok(Self {
            question,
            start,
            order: listing.order,
            remaining,
            is_first: true,
        })
    }

    /// Appends the next page to `bytes`, and the end of the answer after the last one.
    async fn page(mut self, mut bytes: Vec<u8>) -> Result<Part, BrokenOff> {
        let wanted = self.remaining.unwrap_or(usize::MAX);
        let mut found = self
            .read(wanted.min(PAGE + 1))
            .await
            .map_err(BrokenOff::Reading)?;
        let mut beyond = (found.len() > PAGE).then(|| found.pop()).flatten();
        let Question {
            house,
            principal,
            detail,
            ..
        } = &self.question;
        if *detail == Detail::Full {
            let filled = K::fill(house, principal, found).await;
            let Filled { objects, rest } = filled.map_err(BrokenOff::Reading)?;
            found = objects;
            beyond = rest.or(beyond);
        }
        self.remaining = self.remaining.map(|remaining| remaining - found.len());
        let shown = items::<K>(house, found, *detail).await;
        for item in shown.map_err(BrokenOff::Reading)? {
            if !self.is_first {
                bytes.push(b',');
            }
            self.is_first = false;
            serde_json::to_writer(&mut bytes, &item).map_err(BrokenOff::Encoding)?;
        }
        if let Some(next) = beyond {
            self.start = place::<K>(&next);
            return Ok(Part {
                bytes: bytes.into(),
                rest: Some(next_page(self)),
            });
        }
        let end = format!("]}},\"op_time_us\":{}}}", op_time(self.question.started));
        bytes.extend_from_slice(end.as_bytes());
        Ok(Part {
            bytes: bytes.into(),
            rest: None,
        })
    }

    async fn read(&self, limit: usize) -> Result<Vec<K::Object>, lifecycle::Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let page = Page {
            from: self.start,
            limit,
            order: self.order,
        };
        let Question {
            house,
            principal,
            filter,
            ..
        } = &self.question;
        K::list(house, principal, filter, &page).await
    }
}

fn next_page<K: Kind>(walk: Walk<K>) -> NextPage {
    Box::pin(async move { walk.page(Vec::new()).await })
}

/// Where an object stands in its list.
fn place<K: Kind>(object: &K::Object) -> PageStart<K::Id> {
    let Head { id, created_at, .. } = K::head(object);
    PageStart::At { created_at, id }
}

/// Answers show whole seconds. A time from an answer stands for all of its second, so that the
/// object it was taken from is part of the list in both directions.
fn whole_second(time: time::OffsetDateTime, order: Order) -> time::OffsetDateTime {
    let last_microsecond = time::Duration::SECOND - time::Duration::MICROSECOND;
    match order {
        Order::Descending if time.nanosecond() == 0 => {
            time.checked_add(last_microsecond).unwrap_or(time)
        }
        _ => time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_from_an_answer_stands_for_all_of_its_second() {
        let time = time::macros::datetime!(2026-03-01 12:00:00 UTC);
        assert_eq!(whole_second(time, Order::Ascending), time);
        let end = time::macros::datetime!(2026-03-01 12:00:00.999_999 UTC);
        assert_eq!(whole_second(time, Order::Descending), end);
        assert_eq!(whole_second(end, Order::Descending), end);
    }
}
