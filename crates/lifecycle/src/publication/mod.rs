//! What an authority publishes about the certificates it signed: OCSP answers (RFC 6960) and
//! revocation lists (RFC 5280 section 5).
//!
//! Anybody may ask, as often as they like, and hang up before the answer. So no question begins
//! work that another one has to begin again, and none holds up the reactor.

mod hearing;
mod list;
mod memory;
mod ocsp;
#[cfg(test)]
mod remembering;
mod responders;
mod shards;
mod signing;

use std::time::Duration;

use time::OffsetDateTime;

pub(crate) use hearing::{Hearing, RevocationReader};
pub(crate) use list::{ListSlot, list_signed};
pub(crate) use memory::Memory;
pub use ocsp::{OcspAnswer, Repeatable};
pub(crate) use responders::ResponderSlot;
pub(crate) use shards::{Places, urls_of_shard};
pub(crate) use signing::SigningQueue;

/// Whether `then` is less than `age` ago. What lies in the future is not: the clock was set back
/// since, and nobody knows how old it is.
pub(crate) fn is_younger(then: OffsetDateTime, age: Duration, now: OffsetDateTime) -> bool {
    then <= now && now - then < age
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_future_is_not_young() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let second = Duration::from_secs(1);
        assert!(is_younger(now, second, now));
        assert!(is_younger(now, second, now + second / 2));
        assert!(!is_younger(now, second, now + second));
        assert!(!is_younger(now, second, now - second / 2));
    }
}
