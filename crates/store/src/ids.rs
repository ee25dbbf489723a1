//! The identifiers of rows: one type per kind of row, so that they cannot be mixed up.
//!
//! An identifier is a UUID, written as 16 bytes. Rows that the outside world names carry a random
//! one (version 4). Rows that only other rows name carry one that begins with the time
//! (version 7): their indexes then grow at one end, which keeps writing cheap at a million rows.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::Error;
use crate::sql::{FromColumn, Row, Value};

/// A text that is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier: 32 hexadecimal digits are expected, with or without hyphens")]
pub struct IdParseError;

macro_rules! identifier {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that came from outside.
            pub fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        /// Hyphenated, lower case.
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self.0.as_hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;

            fn from_str(text: &str) -> Result<Self, IdParseError> {
                if text.len() != 36 && text.len() != 32 {
                    return Err(IdParseError);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| IdParseError)
            }
        }

        impl From<$name> for Value {
            fn from(id: $name) -> Self {
                Value::from(Some(id.0))
            }
        }

        impl From<Option<$name>> for Value {
            fn from(id: Option<$name>) -> Self {
                Value::from(id.map(|id| id.0))
            }
        }

        impl FromColumn for $name {
            fn from_column(row: &Row, index: usize) -> Result<Self, Error> {
                uuid_from_bytes(&Vec::<u8>::from_column(row, index)?).map(Self)
            }
        }

        impl FromColumn for Option<$name> {
            fn from_column(row: &Row, index: usize) -> Result<Self, Error> {
                Option::<Vec<u8>>::from_column(row, index)?
                    .map(|bytes| uuid_from_bytes(&bytes).map($name))
                    .transpose()
            }
        }
    };
}

macro_rules! random_identifier {
    ($(#[$documentation:meta])* $name:ident) => {
        identifier!($(#[$documentation])* $name);

        impl $name {
            /// A new one (UUID version 4), from the operating system's random numbers.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// A new one (UUID version 4) from random bytes of the caller's.
            #[must_use]
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }
        }
    };
}

macro_rules! timed_identifier {
    ($(#[$documentation:meta])* $name:ident) => {
        identifier!($(#[$documentation])* $name);

        impl $name {
            /// A new one (UUID version 7) that sorts by `now`, to the millisecond; the rest comes
            /// from the operating system's random numbers.
            #[must_use]
            pub fn at(now: OffsetDateTime) -> Self {
                // Bytes 6 and 8 of a version 4 identifier are not wholly random.
                let [a, b, c, d, e, f, _, g, _, h, i, j, ..] = Uuid::new_v4().into_bytes();
                Self::from_time_and_random(now, [a, b, c, d, e, f, g, h, i, j])
            }

            /// A new one (UUID version 7) from a time and random bytes of the caller's.
            #[must_use]
            pub fn from_time_and_random(now: OffsetDateTime, bytes: [u8; 10]) -> Self {
                let milliseconds = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(milliseconds, &bytes).into_uuid())
            }
        }
    };
}

random_identifier!(
    /// Names an account.
    AccountId
);
random_identifier!(
    /// Names an authority.
    AuthorityId
);
timed_identifier!(
    /// Names a certificate of an authority: its root, issuing or responder certificate.
    CaCertificateId
);
random_identifier!(
    /// Names a certificate of the inventory. Random, because clients of the APIs were promised so.
    CertificateId
);
timed_identifier!(
    /// Names a challenge that is being met.
    ChallengeId
);
timed_identifier!(
    /// Names a delivery of an event to a webhook.
    DeliveryId
);
random_identifier!(
    /// Names an ACME directory.
    DirectoryId
);
random_identifier!(
    /// Names a DNS provider.
    DnsProviderId
);
random_identifier!(
    /// Names an instance.
    InstanceId
);
timed_identifier!(
    /// Names a stored private key.
    PrivateKeyId
);
random_identifier!(
    /// Names a service.
    ServiceId
);
random_identifier!(
    /// Names a target.
    TargetId
);
random_identifier!(
    /// Names the directory that a target delivers into: it is kept there, and not made by the house.
    TargetDirectoryId
);
random_identifier!(
    /// Names a token.
    TokenId
);
timed_identifier!(
    /// Names a version of a certificate.
    VersionId
);
random_identifier!(
    /// Names a webhook.
    WebhookId
);

/// The place of an event in the change feed.
///
/// Places are given when the event is written, in the order in which transactions become visible:
/// whoever has read up to a place will never find a new event before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(i64);

impl EventId {
    /// Wraps a number that came from outside, for instance a page token.
    pub fn from_number(number: u64) -> Self {
        Self(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// The place as the database has it, sense or none.
    pub(crate) fn from_place(place: i64) -> Self {
        Self(place)
    }

    pub(crate) fn place(self) -> i64 {
        self.0
    }

    /// The number; it grows from event to event, but not always by one.
    pub fn as_number(&self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl From<EventId> for Value {
    fn from(id: EventId) -> Self {
        Value::Integer(Some(id.0))
    }
}

impl FromColumn for EventId {
    fn from_column(row: &Row, index: usize) -> Result<Self, Error> {
        i64::from_column(row, index).map(Self)
    }
}

fn uuid_from_bytes(bytes: &[u8]) -> Result<Uuid, Error> {
    Uuid::from_slice(bytes).map_err(|_| Error::Corrupt("an identifier is not 16 bytes long"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_identifier_survives_its_own_text() {
        let id = CertificateId::random();
        assert_eq!(id.to_string().parse::<CertificateId>().unwrap(), id);
        let without_hyphens = id.to_string().replace('-', "");
        assert_eq!(without_hyphens.parse::<CertificateId>().unwrap(), id);
    }

    #[test]
    fn other_ways_of_writing_a_uuid_are_refused() {
        let id = CertificateId::random();
        assert!(format!("{{{id}}}").parse::<CertificateId>().is_err());
        assert!(format!("urn:uuid:{id}").parse::<CertificateId>().is_err());
        assert!("".parse::<CertificateId>().is_err());
    }

    #[test]
    fn timed_identifiers_sort_by_their_time() {
        let early = VersionId::at(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000));
        let late = VersionId::at(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_001));
        assert!(early < late);
        assert_eq!(early.as_uuid().get_version_num(), 7);
        assert_eq!(
            CertificateId::from_random([7; 16])
                .as_uuid()
                .get_version_num(),
            4
        );
    }
}
