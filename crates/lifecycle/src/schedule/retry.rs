//! How it goes on after an attempt that failed.
//!
//! A name that waits for its first version is given up after eight attempts that failed because of
//! the name. A renewal is not given up while the version in service is valid. What is not the fault of
//! the name does not count as an attempt.

use std::time::Duration;

use time::OffsetDateTime;

use super::moment::{between, later, part};

/// How long after each failed attempt the next one is made. After the one that follows the last of
/// them, a name without a version is given up.
pub const PAUSES: [Duration; 7] = [
    minutes(1),
    minutes(5),
    minutes(15),
    minutes(60),
    minutes(180),
    minutes(360),
    minutes(720),
];
/// Shortest and longest wait for a directory.
const SHORTEST: Duration = minutes(1);
const LONGEST: Duration = minutes(12 * 60);
/// Longest time that a name without a version lets pass after its directory is there again.
const IMPATIENCE: Duration = minutes(10);
/// How soon another directory is tried.
const AT_ONCE: Duration = Duration::from_secs(5);
/// How long a directory is not tried again for a name, after it failed as a whole and after an
/// operator has to act.
const ASIDE: Duration = minutes(10);
const ASIDE_OPERATOR: Duration = minutes(60);
/// How long another directory is preferred to one that refused a name.
const ASIDE_NAME: Duration = minutes(12 * 60);

/// Whose fault it was that an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The directory could not be reached, or answered what no directory answers, or an error of its
    /// own.
    Directory,
    /// A limit of the directory is reached.
    Limited {
        /// When there is room again.
        until: OffsetDateTime,
    },
    /// The name cannot be validated, is forbidden by CAA, or is not issued for.
    Name,
    /// The directory does not accept the account or the profile: an operator has to act.
    Account,
}

/// An attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Attempts that failed because of the name before this one.
    pub made: u8,
    /// Why it failed.
    pub cause: Cause,
    /// When the version in service ends; nothing when there is none yet.
    pub not_after: Option<OffsetDateTime>,
    /// Whether another directory can be tried at once.
    pub has_alternative: bool,
}

/// How it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Another attempt is made.
    Again {
        /// Attempts that failed because of the name so far.
        made: u8,
        /// When.
        at: OffsetDateTime,
    },
    /// No more attempts are made.
    GiveUp,
}

/// How it goes on after an attempt that failed at `now`.
#[must_use]
pub fn after_failure(failed: Failed, now: OffsetDateTime, draw: u64) -> Plan {
    let Failed {
        made, not_after, ..
    } = failed;
    let again = |at| Plan::Again { made, at };
    match failed.cause {
        Cause::Name => after_refusal(made, not_after, now),
        _ if failed.has_alternative => again(later(now, AT_ONCE + part(AT_ONCE, draw))),
        Cause::Directory => again(after_wait(later(now, SHORTEST), not_after, now, draw)),
        Cause::Limited { until } => again(after_wait(until, not_after, now, draw)),
        Cause::Account => again(after_wait(later(now, ASIDE_OPERATOR), not_after, now, draw)),
    }
}

/// When a name is tried again that waits for something until `until`. Those that wait for the same
/// do not all come at that moment: each lets pass up to a tenth of what is left of the version in
/// service, so that the work of an outage of days is not caught up with in an hour.
#[must_use]
pub fn after_wait(
    until: OffsetDateTime,
    not_after: Option<OffsetDateTime>,
    now: OffsetDateTime,
    draw: u64,
) -> OffsetDateTime {
    let until = until.max(now);
    let stretch = match not_after {
        Some(not_after) => (between(until, not_after) / 10).clamp(SHORTEST, LONGEST),
        // The longer it was, the more of them wait.
        None => between(now, until).clamp(SHORTEST, IMPATIENCE),
    };
    later(until, part(stretch, draw))
}

/// Until when a directory is not tried again for a name after an attempt failed there at `now`, and
/// whether that binds.
#[must_use]
pub fn aside(cause: Cause, now: OffsetDateTime) -> super::Aside {
    let (until, is_binding) = match cause {
        Cause::Directory => (later(now, ASIDE), true),
        Cause::Limited { until } => (until, true),
        Cause::Account => (later(now, ASIDE_OPERATOR), true),
        // Another directory may be content with the name, but if there is none, the pauses between
        // attempts are all there is to wait for.
        Cause::Name => (later(now, ASIDE_NAME), false),
    };
    super::Aside { until, is_binding }
}

fn after_refusal(made: u8, not_after: Option<OffsetDateTime>, now: OffsetDateTime) -> Plan {
    let pause = PAUSES.get(usize::from(made)).copied();
    let left = not_after.map(|not_after| between(now, not_after));
    let pause = match (pause, left) {
        // The shorter what is left, the more often.
        (pause, Some(left)) if !left.is_zero() => {
            let pause = pause.unwrap_or(LONGEST);
            pause.min((left / 10).max(SHORTEST))
        }
        (Some(pause), _) => pause,
        (None, _) => return Plan::GiveUp,
    };
    Plan::Again {
        made: made.saturating_add(1),
        at: later(now, pause),
    }
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}
