//! How it goes on after an attempt that failed.
//!
//! A name that waits for its first version is given up after eight attempts that failed because of
//! the name. A renewal is not given up while the version in service is valid. What is not the fault of
//! the name does not count as an attempt.

use std::time::Duration;

use time::OffsetDateTime;

use super::moment::{between, later, part};
use super::renewal::urgent_from;

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
/// How long after an order was begun it is begun again, if nobody knows whether its directory got it:
/// whoever sent it may have died before the answer was written down. It may have got it as late as the
/// longest request takes, and is not to see a second one within a minute of that.
pub const UNANSWERED: Duration = Duration::from_secs(90);
/// When an order is taken up again that its directory failed at.
pub const AGAIN: Duration = Duration::from_secs(20);
/// Shortest and longest wait for a directory.
const SHORTEST: Duration = minutes(1);
const LONGEST: Duration = minutes(12 * 60);
/// Longest time that a name without a version lets pass after its directory is there again.
const IMPATIENCE: Duration = minutes(10);
/// How soon another directory is tried.
const AT_ONCE: Duration = Duration::from_secs(5);
/// How long a directory is not tried again for a name when an operator has to act.
const ASIDE_OPERATOR: Duration = minutes(60);
/// How long another directory is preferred to one that failed as a whole, and to one that refused a
/// name.
const ASIDE: Duration = minutes(10);
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

/// `at`, or the moment at which the renewal of a version that lives from `not_before` to `not_after`
/// becomes urgent, if that comes first: from then on it may pass those that it waits behind.
#[must_use]
pub fn not_too_late(
    at: OffsetDateTime,
    (not_before, not_after): (OffsetDateTime, OffsetDateTime),
    now: OffsetDateTime,
    draw: u64,
) -> OffsetDateTime {
    let urgent = urgent_from(not_before, not_after);
    if urgent <= now {
        return at;
    }
    at.min(after_wait(urgent, Some(not_after), now, draw))
}

/// Until when a directory is not tried again for a name after an attempt failed there at `now`, and
/// until when others are preferred.
#[must_use]
pub fn asides(cause: Cause, now: OffsetDateTime) -> Vec<super::Aside> {
    let binding = match cause {
        Cause::Limited { until } => Some(until),
        Cause::Account => Some(later(now, ASIDE_OPERATOR)),
        // It may have got an order whose answer was lost, and is not to see a second one within a
        // minute, whatever becomes of the others meanwhile.
        Cause::Directory => Some(later(now, SHORTEST)),
        Cause::Name => None,
    };
    // Another directory may be well, or content with the name, but if there is none, its health and
    // the pauses between attempts are all there is to wait for.
    let disliked = match cause {
        Cause::Directory => Some(later(now, ASIDE)),
        Cause::Name => Some(later(now, ASIDE_NAME)),
        Cause::Limited { .. } | Cause::Account => None,
    };
    let aside = |until: Option<OffsetDateTime>, is_binding| {
        until.map(|until| super::Aside { until, is_binding })
    };
    let asides = [aside(binding, true), aside(disliked, false)];
    asides.into_iter().flatten().collect()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const DAY: Duration = minutes(24 * 60);

    fn refused(made: u8, left: Option<Duration>) -> Plan {
        let failed = Failed {
            made,
            cause: Cause::Name,
            not_after: left.map(|left| NOW + left),
            has_alternative: true,
        };
        after_failure(failed, NOW, 0)
    }

    fn pause(plan: Plan) -> time::Duration {
        match plan {
            Plan::Again { at, .. } => at - NOW,
            Plan::GiveUp => panic!("it was given up"),
        }
    }

    #[test]
    fn a_first_version_is_given_up_after_eight_attempts() {
        for (made, minutes) in (0..).zip([1, 5, 15, 60, 180, 360, 720]) {
            let expected = Plan::Again {
                made: made + 1,
                at: NOW + time::Duration::minutes(minutes),
            };
            assert_eq!(refused(made, None), expected);
        }
        assert_eq!(refused(7, None), Plan::GiveUp);
        assert_eq!(refused(u8::MAX, None), Plan::GiveUp);
    }

    #[test]
    fn a_renewal_goes_on_every_half_day_while_its_version_is_valid() {
        let month = Some(DAY * 30);
        assert_eq!(pause(refused(0, month)), PAUSES[0]);
        assert_eq!(pause(refused(6, month)), PAUSES[6]);
        for made in [7, 8, 200, u8::MAX] {
            assert_eq!(pause(refused(made, month)), DAY / 2);
        }
    }

    #[test]
    fn the_less_is_left_the_more_often_it_is_tried() {
        assert_eq!(pause(refused(9, Some(DAY))), DAY / 10);
        assert_eq!(pause(refused(9, Some(minutes(30)))), minutes(3));
        assert_eq!(pause(refused(9, Some(Duration::from_secs(2)))), minutes(1));
    }

    #[test]
    fn after_the_end_of_its_version_a_renewal_is_a_first_version_again() {
        assert_eq!(refused(7, Some(Duration::ZERO)), Plan::GiveUp);
        assert_eq!(pause(refused(3, Some(Duration::ZERO))), PAUSES[3]);
    }

    #[test]
    fn what_is_not_the_fault_of_the_name_never_counts() {
        let until = NOW + DAY;
        for cause in [Cause::Directory, Cause::Limited { until }, Cause::Account] {
            for not_after in [None, Some(NOW + DAY), Some(NOW - DAY)] {
                for has_alternative in [false, true] {
                    let failed = Failed {
                        made: 7,
                        cause,
                        not_after,
                        has_alternative,
                    };
                    let Plan::Again { made, at } = after_failure(failed, NOW, u64::MAX) else {
                        panic!("{failed:?} was given up");
                    };
                    assert_eq!(made, 7);
                    assert!(at > NOW);
                }
            }
        }
    }

    #[test]
    fn another_directory_is_tried_at_once_and_a_limit_is_waited_for() {
        let until = NOW + DAY;
        let failed = |has_alternative| Failed {
            made: 0,
            cause: Cause::Limited { until },
            not_after: None,
            has_alternative,
        };
        assert!(pause(after_failure(failed(true), NOW, u64::MAX)) <= AT_ONCE * 2);
        assert!(pause(after_failure(failed(false), NOW, 0)) >= DAY);
    }

    #[test]
    fn those_that_wait_for_the_same_come_back_one_by_one() {
        let until = NOW + minutes(60);
        let not_after = Some(until + DAY * 2);
        let at = |draw| after_wait(until, not_after, NOW, draw) - until;
        assert_eq!(at(0), Duration::ZERO);
        assert_eq!(at(1 << 63), DAY / 10);
        let first = after_wait(until, None, NOW, u64::MAX) - until;
        assert!(first <= IMPATIENCE);
    }

    #[test]
    fn a_renewal_that_waits_is_looked_at_when_it_becomes_urgent() {
        let validity = (NOW, NOW + DAY * 90);
        let urgent = urgent_from(validity.0, validity.1);
        let late = NOW + DAY * 89;
        assert_eq!(not_too_late(late, validity, NOW, 0), urgent);
        assert_eq!(not_too_late(NOW + DAY, validity, NOW, 0), NOW + DAY);
        assert_eq!(not_too_late(late, validity, urgent, 0), late);
    }

    #[test]
    fn a_directory_that_failed_a_name_is_barred_for_a_minute_and_then_less_preferred() {
        let told = |cause| {
            let asides = asides(cause, NOW).into_iter();
            let told = asides.map(|aside| (aside.until - NOW, aside.is_binding));
            told.collect::<Vec<_>>()
        };
        let minutes = |count| time::Duration::minutes(count);
        let expected = [(minutes(1), true), (minutes(10), false)];
        assert_eq!(told(Cause::Directory), expected);
        assert_eq!(told(Cause::Name), [(minutes(720), false)]);
        assert_eq!(told(Cause::Account), [(minutes(60), true)]);
        let until = NOW + DAY;
        assert_eq!(told(Cause::Limited { until }), [(minutes(1440), true)]);
        // Where there is no other one, it is tried again as soon as it may be.
        let failed = Failed {
            made: 0,
            cause: Cause::Directory,
            not_after: None,
            has_alternative: false,
        };
        assert_eq!(pause(after_failure(failed, NOW, 0)), minutes(1));
    }

    proptest! {
        #[test]
        fn a_renewal_is_tried_again_before_its_version_ends(
            made in any::<u8>(),
            left in 61_u64..10_000_000,
        ) {
            let left = Duration::from_secs(left);
            prop_assert!(pause(refused(made, Some(left))) < left);
        }

        #[test]
        fn nobody_waits_long_after_what_was_waited_for(
            wait in -1_000_000_i64..10_000_000,
            left in proptest::option::of(-1_000_000_i64..100_000_000),
            draw in any::<u64>(),
        ) {
            let until = NOW + time::Duration::seconds(wait);
            let not_after = left.map(|left| NOW + time::Duration::seconds(left));
            let at = after_wait(until, not_after, NOW, draw);
            prop_assert!(at >= until.max(NOW));
            prop_assert!(at - until.max(NOW) <= LONGEST);
        }
    }
}
