//! How well a directory has been lately, as a node has seen it.
//!
//! Failures one after the other close it for a minute, then two, four, up to an hour; then one order
//! is let through to see (half open), and its success opens the directory again. Apart from that, a
//! score tells those that fail now and then from those that do not.

use std::time::Duration;

use time::OffsetDateTime;

use super::moment::{between, later};

/// Failures one after the other that close a directory. One may be bad luck.
const TOLERATED: u32 = 2;
/// How long it is closed first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// How long others wait for the one that was let through to see.
const PROBE: Duration = Duration::from_secs(60);
/// The score of a directory that never failed.
const BEST: u32 = 1000;
/// The score below which another directory is preferred.
const SUFFICIENT: u32 = 500;
/// What part of the way to the best or worst score one success or failure goes.
const STEP: u32 = 8;
/// How long it takes until half of what is missing from the best score is forgiven.
const FORGIVING: Duration = Duration::from_secs(1800);

/// The health of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Failures since the last success.
    failures: u32,
    /// Until when nothing is sent there.
    closed_until: Option<OffsetDateTime>,
    score: u32,
    changed_at: Option<OffsetDateTime>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            failures: 0,
            closed_until: None,
            score: BEST,
            changed_at: None,
        }
    }
}

impl Health {
    /// The health after an order went through whatever it needs of the directory, or was refused for
    /// reasons of its own: the directory is there.
    #[must_use]
    pub fn succeeded(self, now: OffsetDateTime) -> Self {
        let score = self.score(now);
        Self {
            failures: 0,
            closed_until: None,
            score: score + (BEST - score).div_ceil(STEP),
            changed_at: Some(now),
        }
    }

    /// The health after an order that began at `started` failed at `now` because of the directory.
    /// Those that were under way when it was closed do not close it for longer.
    #[must_use]
    pub fn failed(self, started: OffsetDateTime, now: OffsetDateTime) -> Self {
        let was_counted =
            self.closed_until.is_some() && self.changed_at.is_some_and(|changed| started < changed);
        if was_counted {
            return self;
        }
        let score = self.score(now);
        let failures = self.failures.saturating_add(1);
        let pause = failures.checked_sub(TOLERATED + 1).map(|doublings| {
            let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
            FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
        });
        Self {
            failures,
            closed_until: pause.map(|pause| later(now, pause)),
            score: score - score.div_ceil(STEP),
            changed_at: Some(now),
        }
    }

    /// The health once an order has been let through at `now` to a directory that was closed: others
    /// wait for what becomes of it. Of a directory that is open, nothing changes.
    #[must_use]
    pub fn probed(self, now: OffsetDateTime) -> Self {
        if self.closed_until.is_none() {
            return self;
        }
        Self {
            closed_until: Some(later(now, PROBE)),
            changed_at: Some(now),
            ..self
        }
    }

    /// Until when nothing is sent there; nothing when it is open.
    #[must_use]
    pub fn closed_until(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        // A clock that was ahead does not close it for longer than it can be closed.
        let latest = later(now, LONGEST_PAUSE);
        let until = self.closed_until?.min(latest);
        (until > now).then_some(until)
    }

    /// How well it has been, from 0 to 1,000. What went wrong is forgiven with time.
    #[must_use]
    pub fn score(&self, now: OffsetDateTime) -> u32 {
        let Some(changed) = self.changed_at else {
            return self.score;
        };
        let past = between(changed, now).as_secs() / FORGIVING.as_secs();
        let missing = BEST - self.score;
        BEST - u32::try_from(past).map_or(0, |halvings| missing.checked_shr(halvings).unwrap_or(0))
    }

    /// Whether it is as good as any other.
    #[must_use]
    pub fn is_sufficient(&self, now: OffsetDateTime) -> bool {
        self.score(now) >= SUFFICIENT
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    /// The health after so many failures, each after whatever pause the one before it caused.
    fn failing(count: u32) -> (Health, OffsetDateTime) {
        let (mut health, mut now) = (Health::default(), NOW);
        for _ in 0..count {
            now = health.closed_until(now).unwrap_or(now);
            health = health.probed(now).failed(now, now);
        }
        (health, now)
    }

    #[test]
    fn the_third_failure_in_a_row_closes_a_directory_for_longer_each_time() {
        for (count, minutes) in [
            (1, 0),
            (2, 0),
            (3, 1),
            (4, 2),
            (5, 4),
            (8, 32),
            (9, 60),
            (99, 60),
        ] {
            let (health, now) = failing(count);
            let pause = health
                .closed_until(now)
                .map_or(time::Duration::ZERO, |until| until - now);
            assert_eq!(pause, time::Duration::minutes(minutes), "after {count}");
        }
    }

    #[test]
    fn one_order_is_let_through_to_see_while_the_others_wait() {
        let (closed, now) = failing(4);
        let later = closed.closed_until(now).unwrap();
        assert_eq!(closed.closed_until(later), None);
        let probed = closed.probed(later);
        assert_eq!(probed.closed_until(later), Some(later + PROBE));
        // Nothing became of it, so another one may see.
        assert_eq!(probed.closed_until(later + PROBE), None);
        assert_eq!(probed.succeeded(later).closed_until(later), None);
        assert_eq!(probed.succeeded(later).failures, 0);
    }

    #[test]
    fn orders_that_were_under_way_together_close_a_directory_once() {
        let (mut health, now) = failing(2);
        let then = now + Duration::from_secs(20);
        for _ in 0..32 {
            health = health.failed(now, then);
        }
        assert_eq!(health.closed_until(then), Some(then + FIRST_PAUSE));
    }

    #[test]
    fn an_open_directory_is_not_closed_by_looking() {
        let health = Health::default();
        assert_eq!(health.probed(NOW), health);
    }

    #[test]
    fn a_directory_that_fails_now_and_then_is_less_preferred_until_that_is_forgiven() {
        let mut health = Health::default();
        for _ in 0..10 {
            health = health.failed(NOW, NOW).failed(NOW, NOW).succeeded(NOW);
        }
        assert_eq!(health.closed_until(NOW), None);
        assert!(!health.is_sufficient(NOW));
        assert!(health.is_sufficient(NOW + Duration::from_secs(3600)));
        for _ in 0..20 {
            health = health.succeeded(NOW);
        }
        assert!(health.score(NOW) > 900);
    }

    #[test]
    fn a_clock_that_was_ahead_closes_nothing_for_longer_than_an_hour() {
        let ahead = NOW + Duration::from_secs(10_000_000_000);
        let mut health = Health::default();
        for _ in 0..3 {
            health = health.failed(ahead, ahead);
        }
        assert_eq!(health.closed_until(NOW), Some(NOW + LONGEST_PAUSE));
    }

    proptest! {
        #[test]
        fn the_score_stays_within_its_bounds(
            results in proptest::collection::vec((any::<bool>(), 0_u64..100_000), 0..200),
        ) {
            let (mut health, mut now) = (Health::default(), NOW);
            for (is_success, pause) in results {
                now += Duration::from_secs(pause);
                health = if is_success { health.succeeded(now) } else { health.failed(now, now) };
                prop_assert!(health.score(now) <= BEST);
                prop_assert!(health.closed_until(now).is_none_or(|until| until > now));
            }
        }
    }
}
