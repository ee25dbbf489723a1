//! What is authenticated, and how: one unambiguous encoding of a link with the events it covers.

use std::fmt;

use aws_lc_rs::hmac;

use super::{ChainHead, HASH_LENGTH, Hash};
use crate::seal::{MasterKey, MasterKeyId, SealError};
use crate::sql::{Row, Statement};

/// Where the first link begins: events have no places below 1, unless somebody makes them up.
pub(super) const BEFORE_ALL: i64 = i64::MIN;

/// What the key of the chain is derived for, with the version of the encoding.
const PURPOSE: &[u8] = b"chancery audit chain 1";
/// What the parts of the encoding begin with.
const EVENT: u8 = 1;
const END: u8 = 0;

/// The key of the chain, and the name of the master key that it is from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ChainKey {
    key: hmac::Key,
    id: MasterKeyId,
}

impl ChainKey {
    pub(crate) fn derive(master_key: &MasterKey) -> Result<Self, SealError> {
        Ok(Self {
            key: master_key.authenticator(PURPOSE)?,
            id: master_key.id(),
        })
    }

    pub(super) fn id(&self) -> MasterKeyId {
        self.id
    }
}

/// Prints the name of the master key only.
impl fmt::Debug for ChainKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ChainKey({})", self.id)
    }
}

/// An event as it is in the database, whether that makes sense or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawEvent {
    pub(super) id: i64,
    /// Microseconds.
    pub(super) at: i64,
    account_id: Option<Vec<u8>>,
    object: Option<Vec<u8>>,
    actor: String,
    kind: String,
    detail: String,
}

/// The place of an event with columns of types that are never written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) i64);

/// The events after one place up to another, in their order, at most `limit`.
pub(super) fn raw_events(after: i64, until: i64, limit: usize) -> Statement {
    Statement::new(format!(
        "select {} from events where id > ? and id <= ? order by id limit ?",
        crate::events::COLUMNS
    ))
    .bind(after)
    .bind(until)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
}

/// Reads what [`raw_events`] found.
pub(super) fn read_raw(mut row: Row) -> Result<Result<RawEvent, Unreadable>, crate::Error> {
    let id = row.take()?;
    let mut read = || {
        Ok::<_, crate::Error>(RawEvent {
            id,
            at: row.take()?,
            account_id: row.take()?,
            object: row.take()?,
            actor: row.take()?,
            kind: row.take()?,
            detail: row.take()?,
        })
    };
    Ok(read().map_err(|_| Unreadable(id)))
}

/// The hash of a link in the making.
pub(super) struct Sum {
    context: hmac::Context,
    pub(super) events: u64,
    /// When the first of the events happened by their own account, in microseconds.
    pub(super) earliest: Option<i64>,
}

impl Sum {
    /// Begins the link after `before`, with the events after the place `after`.
    pub(super) fn begin(key: &ChainKey, before: Option<&ChainHead>, after: i64) -> Self {
        let mut context = hmac::Context::with_key(&key.key);
        let (number, hash) = match before {
            Some(before) => (before.number, before.hash),
            None => (0, [0; HASH_LENGTH]),
        };
        context.update(&number.to_be_bytes());
        context.update(&hash);
        context.update(&after.to_be_bytes());
        Self {
            context,
            events: 0,
            earliest: None,
        }
    }

    pub(super) fn add(&mut self, event: &RawEvent) {
        let RawEvent {
            id,
            at,
            account_id,
            object,
            actor,
            kind,
            detail,
        } = event;
        self.events += 1;
        self.earliest = Some(self.earliest.map_or(*at, |earliest| earliest.min(*at)));
        self.context.update(&[EVENT]);
        self.context.update(&id.to_be_bytes());
        self.context.update(&at.to_be_bytes());
        self.optional(account_id.as_deref());
        self.optional(object.as_deref());
        self.text(actor.as_bytes());
        self.text(kind.as_bytes());
        self.text(detail.as_bytes());
    }

    /// Ends the link with its last event and the moment it is made, in microseconds.
    pub(super) fn end(mut self, last: i64, linked_at: i64) -> Hash {
        self.context.update(&[END]);
        self.context.update(&last.to_be_bytes());
        self.context.update(&self.events.to_be_bytes());
        self.context.update(&linked_at.to_be_bytes());
        let tag = self.context.sign();
        let mut hash = [0; HASH_LENGTH];
        for (byte, from) in hash.iter_mut().zip(tag.as_ref()) {
            *byte = *from;
        }
        hash
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.context.update(&[0]),
            Some(bytes) => {
                self.context.update(&[1]);
                self.text(bytes);
            }
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.context.update(&length.to_be_bytes());
        self.context.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn key(byte: u8) -> ChainKey {
        ChainKey::derive(&MasterKey::from_bytes(&[byte; 32]).unwrap()).unwrap()
    }

    fn event() -> RawEvent {
        RawEvent {
            id: 7,
            at: 8,
            account_id: Some(vec![1; 16]),
            object: None,
            actor: "ab".to_owned(),
            kind: "c".to_owned(),
            detail: String::new(),
        }
    }

    fn hash(key: &ChainKey, events: &[RawEvent]) -> Hash {
        let before = ChainHead {
            number: 3,
            hash: [4; HASH_LENGTH],
        };
        let mut sum = Sum::begin(key, Some(&before), 6);
        events.iter().for_each(|event| sum.add(event));
        sum.end(9, 10)
    }

    #[test]
    fn every_column_and_the_order_of_events_matter() {
        let first = event();
        let second = RawEvent {
            id: 8,
            ..first.clone()
        };
        let mut seen = vec![
            hash(&key(1), &[]),
            hash(&key(1), &[first.clone(), second.clone()]),
            hash(&key(1), &[second, first.clone()]),
            hash(&key(2), std::slice::from_ref(&first)),
            hash(&key(1), std::slice::from_ref(&first)),
        ];
        let changes: [fn(&mut RawEvent); 9] = [
            |event| event.id = 8,
            |event| event.at = 9,
            |event| event.account_id = None,
            |event| event.account_id = Some(Vec::new()),
            |event| event.object = Some(vec![1; 16]),
            |event| std::mem::swap(&mut event.account_id, &mut event.object),
            |event| event.actor = "a".to_owned(),
            // The same letters, parted elsewhere.
            |event| (event.actor, event.kind) = ("a".to_owned(), "bc".to_owned()),
            |event| event.detail = "c".to_owned(),
        ];
        for change in changes {
            let mut event = first.clone();
            change(&mut event);
            seen.push(hash(&key(1), &[event]));
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
        assert!(seen.contains(&hash(&key(1), &[first])));
    }

    #[test]
    fn place_and_moment_of_a_link_matter() {
        let before = |number, byte| ChainHead {
            number,
            hash: [byte; HASH_LENGTH],
        };
        let sum = |before: Option<&ChainHead>, after, last, linked_at| {
            Sum::begin(&key(1), before, after).end(last, linked_at)
        };
        let mut seen = [
            sum(None, 0, 1, 1),
            sum(None, 1, 1, 1),
            sum(None, 0, 2, 1),
            sum(None, 0, 1, 2),
            sum(Some(&before(1, 1)), 0, 1, 1),
            sum(Some(&before(2, 1)), 0, 1, 1),
            sum(Some(&before(1, 2)), 0, 1, 1),
        ];
        seen.sort_unstable();
        assert!(seen.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
