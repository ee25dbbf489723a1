//! When a version is renewed, and when its directory is asked whether that should be earlier.
//!
//! Fractions of the lifetime rather than days, so that versions of 6, 47, 90 or 398 days are all
//! renewed in time; and a stretch of it rather than a moment, so that what was obtained at once is
//! not renewed at once.

use std::time::Duration;

use time::OffsetDateTime;

use super::moment::{another, between, earlier, later, part};

/// Nothing is renewed earlier than this before its end, however long it lives.
const EARLIEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long after a look at a version's renewal information the next one is made, if the directory
/// does not say (RFC 9773 §4.3.3 leaves that to the client).
const LOOK: Duration = Duration::from_secs(6 * 3600);
/// How long after a look that was not answered the next one is made, at least and at most.
const SOON: Duration = Duration::from_secs(3600);
const LATE: Duration = Duration::from_secs(12 * 3600);
/// Versions that live for less are asked back earlier by those who issue them.
const SHORT_LIFE: Duration = Duration::from_secs(10 * 24 * 3600);
/// Bounds of what a directory may ask for (RFC 9773 §4.3.2 asks for reasonable ones).
const SHORTEST_LOOK: Duration = Duration::from_secs(60);
const LONGEST_LOOK: Duration = Duration::from_secs(24 * 3600);

/// When the directory would like a version to be renewed: the `suggestedWindow` of RFC 9773 §4.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub start: OffsetDateTime,
    /// Its last moment.
    pub end: OffsetDateTime,
}

impl Window {
    /// Whether the directory wants a version that is in service from `from` until `not_after` renewed
    /// before its time, as it does before it revokes it. Directories usually ask for a renewal after
    /// two thirds of the life, and after half of it where that is less than ten days.
    #[must_use]
    pub fn is_recall(&self, from: OffsetDateTime, not_after: OffsetDateTime) -> bool {
        let life = between(from, not_after);
        let usual = if life < SHORT_LIFE {
            life / 5 * 2
        } else {
            life / 5 * 3
        };
        self.start < later(from, usual)
    }
}

/// How much a name needs its next version. The less urgent leave places of a limit to those that are
/// more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// The first version: nothing was promised yet.
    First,
    /// A renewal with time left.
    Renewal,
    /// A renewal that cannot wait: less than a sixth of the life is left, or less than half of the
    /// directory's window.
    Urgent,
}

impl Urgency {
    /// Of the renewal at `now` of a version that lives from `not_before` to `not_after`. `window` is
    /// what the directory wants, where it wants something.
    #[must_use]
    pub fn of_renewal(
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
        window: Option<Window>,
        now: OffsetDateTime,
    ) -> Self {
        let life = between(not_before, not_after);
        let is_late = between(now, not_after) < life / 6
            || window.is_some_and(|window| {
                between(now, window.end) < between(window.start, window.end) / 2
            });
        if is_late { Self::Urgent } else { Self::Renewal }
    }
}

/// When a version is renewed that is in service from `from` until `not_after`: when between two fifths
/// and a third of that time is left, where `draw` picks the moment, but not more than 30 days before
/// the end.
///
/// `from` is when the house got it, not the beginning of its validity: a version that was dated back
/// by much of its life must not be due for renewal at once, and again, and again.
#[must_use]
pub fn renew_at(from: OffsetDateTime, not_after: OffsetDateTime, draw: u64) -> OffsetDateTime {
    let life = between(from, not_after);
    let earliest = earlier(not_after, (life / 5 * 2).min(EARLIEST));
    let left = between(earliest, not_after);
    later(earliest, part(left / 6, draw))
}

/// When the renewal of a version that lives from `not_before` to `not_after` becomes
/// [`Urgency::Urgent`]. Whoever waits for its turn is looked at again then.
#[must_use]
pub fn urgent_from(not_before: OffsetDateTime, not_after: OffsetDateTime) -> OffsetDateTime {
    let sixth = between(not_before, not_after) / 6;
    // What has exactly a sixth left is not urgent yet.
    later(earlier(not_after, sixth), Duration::from_secs(1))
}

/// A random moment of the directory's window (RFC 9773 §4.2), or `now` when that is over. The last
/// tenth of the window is left for attempts that follow a failure.
#[must_use]
pub fn within(window: Window, now: OffsetDateTime, draw: u64) -> OffsetDateTime {
    let length = between(window.start, window.end);
    later(window.start, part(length - length / 10, draw)).max(now)
}

/// When a version is renewed for which `chosen` was picked before, now that the directory wants
/// `window`. A moment that is still inside stays: whoever picks anew at every look renews too early.
#[must_use]
pub fn reconsider(
    chosen: OffsetDateTime,
    window: Window,
    now: OffsetDateTime,
    draw: u64,
) -> OffsetDateTime {
    if (window.start..=window.end).contains(&chosen) {
        return chosen;
    }
    within(window, now, draw)
}

/// When something is next done about a version that is to be renewed at `renew_at` and whose renewal
/// information was looked at `now`: the next look, or the renewal if that comes first. `retry_after`
/// is what the directory asked for.
#[must_use]
pub fn next_look(
    renew_at: OffsetDateTime,
    retry_after: Option<Duration>,
    now: OffsetDateTime,
    draw: u64,
) -> OffsetDateTime {
    let pause = retry_after.unwrap_or(LOOK);
    let pause = pause.clamp(SHORTEST_LOOK, LONGEST_LOOK);
    // What was asked for is the least; a little more keeps looks apart that fell together.
    let look = later(now, pause + part(pause / 10, another(draw)));
    look.min(renew_at)
}

/// The same after a look that was not answered. All of a directory's versions come to know of an
/// outage within hours, and do not come back all in the hour after it.
#[must_use]
pub fn look_after_failure(
    renew_at: OffsetDateTime,
    now: OffsetDateTime,
    draw: u64,
) -> OffsetDateTime {
    let look = later(now, SOON + part(LATE - SOON, another(draw)));
    look.min(renew_at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const HOUR: Duration = Duration::from_secs(3600);

    fn days(count: u32) -> Duration {
        24 * HOUR * count
    }

    fn window(start: Duration, end: Duration) -> Window {
        Window {
            start: START + start,
            end: START + end,
        }
    }

    #[test]
    fn every_lifetime_is_renewed_with_time_to_spare_and_over_a_stretch_of_it() {
        for (life, earliest, latest) in [
            (HOUR * 160, HOUR * 96, HOUR * 320 / 3),
            (days(47), HOUR * 24 * 47 * 3 / 5, HOUR * 24 * 47 * 2 / 3),
            (days(90), days(60), days(65)),
            (days(398), days(368), days(373)),
        ] {
            let end = START + life;
            assert_eq!(renew_at(START, end, 0) - START, earliest);
            let last = renew_at(START, end, u64::MAX) - START;
            assert!(
                last < latest && latest - last < Duration::from_secs(1),
                "{life:?}"
            );
        }
    }

    #[test]
    fn a_version_that_was_dated_back_is_not_due_at_once() {
        let end = START + HOUR;
        for draw in [0, u64::MAX] {
            assert!(renew_at(START, end, draw) - START >= HOUR / 2);
        }
    }

    #[test]
    fn a_moment_inside_the_window_stays_and_one_outside_is_picked_anew() {
        let window = window(days(2), days(4));
        let chosen = START + days(3);
        assert_eq!(reconsider(chosen, window, START, 7), chosen);
        for outside in [START + days(1), START + days(5)] {
            let picked = reconsider(outside, window, START, 7);
            assert_eq!(picked, within(window, START, 7));
            assert!((window.start..window.end).contains(&picked));
        }
    }

    #[test]
    fn a_window_that_comes_early_in_the_life_is_a_recall_and_the_usual_one_is_not() {
        for (life, usual) in [
            (HOUR * 160, HOUR * 78),
            (days(47), days(30)),
            (days(90), days(59)),
        ] {
            let end = START + life;
            assert!(
                !window(usual, usual + HOUR).is_recall(START, end),
                "{life:?}"
            );
            assert!(window(life / 4, life / 3).is_recall(START, end), "{life:?}");
        }
        // Over before it began, as windows are that mean at once.
        let over = Window {
            start: START - HOUR,
            end: START - HOUR / 2,
        };
        assert!(over.is_recall(START, START + days(90)));
    }

    #[test]
    fn a_window_that_is_over_means_now() {
        let now = START + days(10);
        assert_eq!(within(window(days(2), days(4)), now, u64::MAX), now);
        assert_eq!(
            reconsider(START + days(30), window(days(2), days(4)), now, 0),
            now
        );
    }

    #[test]
    fn looks_keep_to_what_the_directory_asks_for_within_reason_and_end_with_the_renewal() {
        let renewal = START + days(30);
        let look = |retry_after| next_look(renewal, retry_after, START, 0) - START;
        for (asked, least) in [
            (None, HOUR * 6),
            (Some(HOUR * 2), HOUR * 2),
            (Some(Duration::ZERO), HOUR / 60),
            (Some(days(365)), days(1)),
            (Some(Duration::MAX), days(1)),
        ] {
            let pause = look(asked);
            assert!(pause >= least && pause <= least + least / 10, "{asked:?}");
        }
        let soon = START + HOUR;
        assert_eq!(next_look(soon, None, START, 0), soon);
    }

    #[test]
    fn looks_that_were_not_answered_are_spread_over_half_a_day() {
        let renewal = START + days(30);
        let mut pauses: Vec<_> = (0..1000)
            .map(|draw| look_after_failure(renewal, START, draw) - START)
            .collect();
        pauses.sort_unstable();
        assert!(pauses[0] >= HOUR && pauses[999] < HOUR * 12);
        assert!(pauses[500] > HOUR * 5 && pauses[500] < HOUR * 8);
        let soon = START + HOUR / 2;
        assert_eq!(look_after_failure(soon, START, 0), soon);
    }

    #[test]
    fn a_renewal_is_urgent_near_the_end_of_the_life_or_of_the_window() {
        let end = START + days(90);
        let urgency = |at, window| Urgency::of_renewal(START, end, window, START + at);
        assert_eq!(urgency(days(60), None), Urgency::Renewal);
        assert_eq!(urgency(days(76), None), Urgency::Urgent);
        assert_eq!(urgency(days(91), None), Urgency::Urgent);
        let window = Some(window(days(10), days(12)));
        assert_eq!(urgency(days(10), window), Urgency::Renewal);
        assert_eq!(urgency(days(12), window), Urgency::Urgent);
        assert!(Urgency::First < Urgency::Renewal && Urgency::Renewal < Urgency::Urgent);
    }

    #[test]
    fn a_renewal_is_urgent_from_the_moment_that_is_told() {
        for life in [HOUR * 160, days(90)] {
            let end = START + life;
            let from = urgent_from(START, end);
            let at = |now| Urgency::of_renewal(START, end, None, now);
            assert_eq!(at(from), Urgency::Urgent);
            assert_eq!(at(from - HOUR / 60), Urgency::Renewal);
        }
    }

    proptest! {
        #[test]
        fn a_renewal_lies_between_now_and_the_end(
            life in 1_u64..(10_u64.pow(10)),
            draw in any::<u64>(),
        ) {
            let end = START + Duration::from_secs(life);
            let at = renew_at(START, end, draw);
            prop_assert!(at > START && at < end);
        }

        #[test]
        fn no_window_makes_a_renewal_earlier_than_now(
            start in any::<i32>(),
            end in any::<i32>(),
            now in any::<i32>(),
            draw in any::<u64>(),
        ) {
            let second = |count| OffsetDateTime::from_unix_timestamp(i64::from(count)).unwrap();
            let window = Window { start: second(start), end: second(end) };
            let picked = within(window, second(now), draw);
            prop_assert!(picked >= second(now));
            prop_assert!(picked <= second(end.max(start).max(now)));
        }
    }
}
