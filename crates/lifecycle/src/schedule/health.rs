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
