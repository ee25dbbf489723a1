//! How often an account may ask in an hour, on each node. Without a limit nothing is counted.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lifecycle::AccountId;
use tokio::time::Instant;

/// How long it takes until all of the limit is there again.
const PERIOD: Duration = Duration::from_secs(60 * 60);
/// Accounts remembered before those are forgotten that have all of it.
const REMEMBERED: usize = 1_000;

/// What is left to each account.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    per_hour: Option<NonZeroU32>,
    /// When all is there again, by account.
    levels: Mutex<HashMap<AccountId, Instant>>,
}

/// What a limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Requests in an hour.
    pub(super) limit: u32,
    /// Requests that could be made now.
    pub(super) remaining: u32,
}

impl Allowance {
    pub(crate) fn new(per_hour: Option<NonZeroU32>) -> Self {
        Self {
            per_hour,
            levels: Mutex::default(),
        }
    }

    /// How it stands for those who are not known yet, if there is a limit.
    pub(super) fn whole(&self) -> Option<Standing> {
        let limit = self.per_hour?.get();
        Some(Standing {
            limit,
            remaining: limit,
        })
    }

    /// Counts one more request of an account. The answer is whether it may be made, and how it stands
    /// then, if there is a limit.
    pub(super) fn take(&self, account: AccountId, now: Instant) -> (bool, Option<Standing>) {
        let Some(per_hour) = self.per_hour else {
            return (true, None);
        };
        let limit = per_hour.get();
        let each = PERIOD / limit;
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if levels.len() >= REMEMBERED {
            levels.retain(|_, level| *level > now);
        }
        let level = levels.get(&account).copied().unwrap_or(now).max(now);
        let spent = level - now + each;
        let is_granted = spent <= PERIOD;
        let missing = if is_granted { spent } else { level - now };
        if is_granted {
            levels.insert(account, now + spent);
        }
        let missing = missing.as_nanos().div_ceil(each.as_nanos().max(1));
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let remaining = limit.saturating_sub(missing);
        (is_granted, Some(Standing { limit, remaining }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u128) -> AccountId {
        AccountId::from_uuid(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn each_account_has_its_hour() {
        let (allowance, start) = (Allowance::new(NonZeroU32::new(3)), Instant::now());
        let remaining =
            |taken: (bool, Option<Standing>)| (taken.0, taken.1.map(|standing| standing.remaining));
        for number in [1, 2] {
            for left in [2, 1, 0] {
                let taken = allowance.take(account(number), start);
                assert_eq!(remaining(taken), (true, Some(left)));
            }
            for _ in 0..3 {
                let refused = allowance.take(account(number), start);
                assert_eq!(remaining(refused), (false, Some(0)));
            }
        }
        let later = start + PERIOD / 3;
        assert_eq!(
            remaining(allowance.take(account(1), later)),
            (true, Some(0))
        );
        assert!(!allowance.take(account(1), later).0);
        let much_later = start + 3 * PERIOD;
        assert_eq!(
            remaining(allowance.take(account(1), much_later)),
            (true, Some(2))
        );
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let (allowance, now) = (Allowance::default(), Instant::now());
        assert_eq!(allowance.whole(), None);
        for _ in 0..10_000 {
            assert_eq!(allowance.take(account(1), now), (true, None));
        }
        assert!(
            allowance
                .levels
                .lock()
                .is_ok_and(|levels| levels.is_empty())
        );
    }

    #[test]
    fn accounts_that_do_not_ask_any_more_are_forgotten() {
        let (allowance, start) = (Allowance::new(NonZeroU32::new(3600)), Instant::now());
        for number in 0..5 * REMEMBERED as u128 {
            let moment = Duration::from_millis(u64::try_from(number).unwrap_or_default());
            allowance.take(account(number), start + moment);
        }
        let remembered = allowance.levels.lock().map(|levels| levels.len());
        assert!(remembered.is_ok_and(|count| count <= 2 * REMEMBERED));
    }
}
