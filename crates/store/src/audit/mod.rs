//! The chain over the events, by which it shows when one of them was changed, removed or added in
//! the past.
//!
//! Events are written without regard to the chain. Whoever follows the feed links them a moment
//! later: a link covers the events after the link before, up to its last one, and holds an
//! HMAC-SHA-256 over the hash of the link before and all that is in these events. Its key is
//! derived from the master key, so that whoever can write to the database, but does not know that
//! key, can make no link. Links are never changed, and each number is given once: of several nodes
//! that link at a time one succeeds.
//!
//! What the chain cannot show by itself is that its end was cut off together with the events there,
//! and that events from before a cut were linked anew. So its [`ChainHead`] is to be kept elsewhere,
//! and links that were made long after their events are reported.
//!
//! A link verifies with the one before it alone. A beginning of the chain can therefore be taken
//! away, with its events, if its last link is kept.

mod chain;
mod linking;
mod verification;

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use crate::error::Error;
use crate::ids::EventId;
use crate::seal::MasterKeyId;
use crate::sql::{Row, Statement};
use crate::store::Store;

pub(crate) use chain::ChainKey;
pub use linking::Linking;
pub use verification::{ChainBreak, CoveredEvents, Late, VerifiedStretch};

/// The most events that a link covers.
pub(crate) const LINK_EVENTS: usize = 1_000;

/// The length of a link's hash, in bytes.
const HASH_LENGTH: usize = 32;

/// A link's hash.
pub(crate) type Hash = [u8; HASH_LENGTH];

/// Names one link of the chain together with all that is before it; `NUMBER:HASH` as text, the hash
/// in 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// The number of the link, from 1.
    pub number: u64,
    hash: Hash,
}

/// A text names no link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a link of the audit chain is named by its number, a colon and 64 hexadecimal digits")]
pub struct ChainHeadParseError;

/// A link of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLink {
    /// Its number and hash.
    pub head: ChainHead,
    /// The last event that it covers; the first is the one after the link before.
    pub last_event: EventId,
    /// How many events it covers.
    pub events: u64,
    /// When it was made, to the microsecond.
    pub linked_at: OffsetDateTime,
    key_id: MasterKeyId,
}

impl Store {
    /// The last link of the chain; none before the first.
    pub async fn audit_head(&self) -> Result<Option<AuditLink>, Error> {
        let row = self.backend().row(last_link()).await?;
        row.map(read).transpose()
    }

    /// The link with this number.
    pub async fn audit_link(&self, number: u64) -> Result<Option<AuditLink>, Error> {
        let row = self.backend().row(link_numbered(number)).await?;
        row.map(read).transpose()
    }
}

impl fmt::Display for ChainHead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.number)?;
        self.hash
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl FromStr for ChainHead {
    type Err = ChainHeadParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, digits) = text.trim().split_once(':').ok_or(ChainHeadParseError)?;
        let digit = |byte: u8| {
            let digit = char::from(byte).to_digit(16);
            digit.and_then(|digit| u8::try_from(digit).ok())
        };
        let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
            return Err(ChainHeadParseError);
        };
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
            .collect();
        let hash = bytes.and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            number: number.parse().map_err(|_| ChainHeadParseError)?,
            hash: hash.ok_or(ChainHeadParseError)?,
        })
    }
}

const COLUMNS: &str = "number, last_event, events, linked_at, hash, key_id";

fn last_link() -> Statement {
    Statement::new(format!(
        "select {COLUMNS} from audit_links order by number desc limit 1"
    ))
}

fn link_numbered(number: u64) -> Statement {
    let statement = Statement::new(format!(
        "select {COLUMNS} from audit_links where number = ?"
    ));
    statement.bind(i64::try_from(number).unwrap_or(i64::MAX))
}

fn read(mut row: Row) -> Result<AuditLink, Error> {
    let number = row.take()?;
    read_rest(number, row)
}

/// Reads a link of which the number was read.
fn read_rest(number: u64, mut row: Row) -> Result<AuditLink, Error> {
    let last_event = row.take()?;
    let events = row.take()?;
    let linked_at = row.take()?;
    let hash: Vec<u8> = row.take()?;
    let key_id: Vec<u8> = row.take()?;
    let hash = hash
        .try_into()
        .map_err(|_| Error::Corrupt("the hash of a link is not 32 bytes long"))?;
    Ok(AuditLink {
        head: ChainHead { number, hash },
        last_event,
        events,
        linked_at,
        key_id: MasterKeyId::from_slice(&key_id)
            .ok_or(Error::Corrupt("a link names no master key"))?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_survives_its_own_text() {
        let head = ChainHead {
            number: 17,
            hash: [0xa7; HASH_LENGTH],
        };
        assert_eq!(head.to_string(), format!("17:{}", "a7".repeat(32)));
        assert_eq!(head.to_string().parse(), Ok(head));
        assert_eq!(head.to_string().to_uppercase().parse(), Ok(head));
    }

    #[test]
    fn other_texts_name_no_link() {
        let digits = "a7".repeat(32);
        for text in [
            String::new(),
            "17".to_owned(),
            format!("17:{}", &digits[1..]),
            format!("17:{}", &digits[2..]),
            format!("17:{digits}a7"),
            format!("-1:{digits}"),
            format!(":{digits}"),
            format!("17:{}é", &digits[2..]),
            format!("17:{}+7", &digits[2..]),
        ] {
            assert_eq!(
                text.parse::<ChainHead>(),
                Err(ChainHeadParseError),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_names_a_link_or_none(text in ".*") {
            let _ = text.parse::<ChainHead>();
        }
    }
}
