//! The limits of Let's Encrypt as it enforces them: each a bucket that fills again drop by drop (GCRA),
//! full at the start. Orders that replace a certificate (RFC 9773) count nowhere.

use std::collections::HashMap;
use std::time::Duration;

use time::OffsetDateTime;

/// How many, in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many at once.
    pub burst: u32,
    /// How long until as many are allowed again.
    pub period: Duration,
}

/// The limits of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Orders of an account.
    pub orders: Limit,
    /// Certificates of a registered domain, taken for the last two labels of a name.
    pub per_domain: Limit,
    /// Certificates for exactly the same names.
    pub duplicates: Limit,
    /// Failed validations of a name by an account.
    pub failures: Limit,
}

impl Limits {
    /// Those of Let's Encrypt.
    pub const LETS_ENCRYPT: Self = Self {
        orders: Limit::new(300, 3 * HOUR),
        per_domain: Limit::new(50, 7 * 24 * HOUR),
        duplicates: Limit::new(5, 7 * 24 * HOUR),
        failures: Limit::new(5, HOUR),
    };
}

impl Limit {
    /// `burst` in so many seconds.
    #[must_use]
    pub const fn new(burst: u32, seconds: u64) -> Self {
        Self {
            burst,
            period: Duration::from_secs(seconds),
        }
    }
}

const HOUR: u64 = 60 * 60;

/// What has been used up.
#[derive(Debug, Default)]
pub(super) struct Buckets(HashMap<String, OffsetDateTime>);

impl Buckets {
    /// How long until there is room for one more.
    pub(super) fn wait(&self, name: &str, limit: Limit, now: OffsetDateTime) -> Option<Duration> {
        let level = self.0.get(name).copied().unwrap_or(now).max(now);
        let room = limit.period.saturating_sub(limit.period / limit.burst);
        Duration::try_from(level - now - room)
            .ok()
            .filter(|wait| !wait.is_zero())
    }

    /// Takes one.
    pub(super) fn take(&mut self, name: &str, limit: Limit, now: OffsetDateTime) {
        let level = self.0.entry(name.to_owned()).or_insert(now);
        *level = (*level).max(now) + limit.period / limit.burst;
    }
}

/// The domain that names are counted under.
pub(super) fn registered_domain(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.').map(|(place, _)| place);
    match dots.nth(1) {
        Some(place) => &name[place + 1..],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_bucket_is_full_at_first_and_fills_drop_by_drop() {
        let limit = Limit::new(5, 5 * HOUR);
        let now = datetime!(2026-11-22 12:00 UTC);
        let mut buckets = Buckets::default();
        for _ in 0..5 {
            assert_eq!(buckets.wait("a", limit, now), None);
            buckets.take("a", limit, now);
        }
        assert_eq!(
            buckets.wait("a", limit, now),
            Some(Duration::from_secs(HOUR))
        );
        assert_eq!(buckets.wait("b", limit, now), None);
        assert_eq!(buckets.wait("a", limit, now + time::Duration::HOUR), None);
        let later = now + time::Duration::days(9);
        buckets.take("a", limit, later);
        assert_eq!(buckets.wait("a", limit, later), None);
    }

    #[test]
    fn names_are_counted_under_their_last_two_labels() {
        assert_eq!(registered_domain("a.b.example.com"), "example.com");
        assert_eq!(registered_domain("example.com"), "example.com");
        assert_eq!(registered_domain("localhost"), "localhost");
    }
}
