//! How often somebody may do something in a minute. Each node counts for itself: who asks all nodes
//! of a site gets as many times more, and nobody waits for a counter that is elsewhere.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use crate::Error;

/// What a limit is for, and how long it takes until all of it is there again.
const PERIOD: Duration = Duration::from_secs(60);
/// Who is remembered before those are forgotten that have not asked for a while.
const REMEMBERED: usize = 1_000;

/// A limit on how often each of those that a key tells apart may do something.
#[derive(Debug)]
pub(crate) struct Throttle<K> {
    what: &'static str,
    per_minute: Option<NonZeroU32>,
    /// When all is there again, by key.
    levels: Mutex<HashMap<K, OffsetDateTime>>,
}

impl<K: Eq + Hash> Throttle<K> {
    /// No limit where there is no number. `what` is for the refusal: "orders".
    pub(crate) fn new(what: &'static str, per_minute: Option<NonZeroU32>) -> Self {
        Self {
            what,
            per_minute,
            levels: Mutex::default(),
        }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// [`Error::TooMany`].
    pub(crate) fn admit(&self, key: K, now: OffsetDateTime) -> Result<(), Error> {
        let mut levels = self.levels();
        if let Some(level) = self.after_one_more(&levels, &key, now)? {
            if levels.len() >= REMEMBERED {
                levels.retain(|_, level| *level > now);
            }
            levels.insert(key, level);
        }
        Ok(())
    }

    fn after_one_more(
        &self,
        levels: &HashMap<K, OffsetDateTime>,
        key: &K,
        now: OffsetDateTime,
    ) -> Result<Option<OffsetDateTime>, Error> {
        let Some(per_minute) = self.per_minute else {
            return Ok(None);
        };
        let level = spend(per_minute, levels.get(key).copied(), now);
        level.map(Some).map_err(|retry_after| Error::TooMany {
            what: self.what,
            retry_after,
        })
    }

    fn levels(&self) -> MutexGuard<'_, HashMap<K, OffsetDateTime>> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The moment at which all is there again after one more, or how long to wait for one.
fn spend(
    per_minute: NonZeroU32,
    level: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, Duration> {
    // What lies further ahead was written while the clock was ahead: it must not close the door until
    // the clock comes there again.
    let level = level.filter(|level| *level <= now + PERIOD);
    let level = level.unwrap_or(now).max(now);
    let spent = level + PERIOD / per_minute.get();
    let excess = (spent - now) - PERIOD;
    if excess.is_positive() {
        return Err(excess.unsigned_abs());
    }
    Ok(spent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn throttle(per_minute: u32) -> Throttle<u128> {
        Throttle::new("orders", NonZeroU32::new(per_minute))
    }

    #[test]
    fn each_account_has_its_share_at_once_and_then_one_after_the_other() {
        let throttle = throttle(3);
        for number in [1, 2] {
            for _ in 0..3 {
                throttle.admit(number, START).unwrap();
            }
            let refused = throttle.admit(number, START).unwrap_err();
            let wait = Duration::from_secs(20);
            assert!(
                matches!(refused, Error::TooMany { retry_after, .. } if retry_after == wait),
                "{refused:?}"
            );
            let later = START + wait;
            throttle.admit(number, later).unwrap();
            assert!(throttle.admit(number, later).is_err());
        }
    }

    #[test]
    fn asking_again_and_again_does_not_make_it_longer() {
        let throttle = throttle(1);
        throttle.admit(1, START).unwrap();
        for second in 1..60 {
            let now = START + Duration::from_secs(second);
            assert!(throttle.admit(1, now).is_err());
        }
        throttle.admit(1, START + Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn a_clock_that_was_ahead_shuts_nobody_out() {
        let throttle = throttle(2);
        throttle
            .admit(1, START + Duration::from_secs(86_400))
            .unwrap();
        let _ = throttle.admit(1, START);
        throttle.admit(1, START + Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn without_a_number_there_is_no_limit() {
        let throttle = throttle(0);
        for _ in 0..10_000 {
            throttle.admit(1, START).unwrap();
        }
    }

    #[test]
    fn accounts_that_have_not_asked_for_a_while_are_forgotten() {
        let throttle = throttle(60);
        for number in 0..10 * REMEMBERED as u128 {
            let now = START + Duration::from_millis(u64::try_from(number).unwrap());
            throttle.admit(number, now).unwrap();
        }
        assert!(throttle.levels.lock().unwrap().len() <= REMEMBERED + 1_000);
    }
}
