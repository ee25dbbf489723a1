//! Which of several directories a name is ordered at.

use time::OffsetDateTime;

use super::budget::Verdict;
use super::health::Health;

/// That a directory is not to be tried for a name for some time, see [`super::asides`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aside {
    /// Until when.
    pub until: OffsetDateTime,
    /// Whether it is not tried even if there is no other.
    pub is_binding: bool,
}

/// A directory that a name may be ordered at.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Its place in the order of preference; the least comes first.
    pub rank: u32,
    /// How it has been.
    pub health: Health,
    /// What its limits say to this name.
    pub verdict: Verdict,
    /// Whether it was set aside for this name.
    pub aside: Option<Aside>,
}

/// What is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The candidate at this place. Its limits are asked again when the order is spent; if they deny
    /// it, the name waits there.
    Try(usize),
    /// None before this moment.
    Wait(OffsetDateTime),
}

/// The directory to order at: open, not set aside and within its limits, the first by rank among those
/// whose health is sufficient, else the healthiest; failing that, the one that has room first, or the
/// moment at which one is open again. Nothing when there are no candidates.
#[must_use]
pub fn choose(candidates: &[Candidate], now: OffsetDateTime) -> Option<Choice> {
    let best = candidates
        .iter()
        .enumerate()
        .min_by_key(|(_, candidate)| candidate.order(now))?;
    let (index, candidate) = best;
    Some(match candidate.closed_until(now) {
        Some(until) => Choice::Wait(until),
        None => Choice::Try(index),
    })
}

/// When one of the other directories can be tried for a name that failed at one. Those that failed it
/// themselves do not count before that is forgiven: what failed everywhere is not tried around in
/// circles.
#[must_use]
pub fn alternative(others: &[Candidate], now: OffsetDateTime) -> Option<OffsetDateTime> {
    let (disliked, fresh): (Vec<Candidate>, Vec<Candidate>) = others
        .iter()
        .copied()
        .partition(|other| other.is_disliked(now));
    let forgiven = disliked.iter().filter_map(|other| other.aside);
    let forgiven = forgiven.map(|aside| aside.until).min();
    let free = choose(&fresh, now).and_then(|choice| match choice {
        Choice::Wait(until) => Some(until),
        Choice::Try(place) => Some(match fresh.get(place)?.verdict {
            Verdict::Admitted => now,
            Verdict::Denied { at, .. } => at,
        }),
    });
    free.into_iter().chain(forgiven).min()
}

impl Candidate {
    fn is_disliked(&self, now: OffsetDateTime) -> bool {
        self.aside
            .is_some_and(|aside| !aside.is_binding && aside.until > now)
    }

    /// Whether it is chosen at `now` whatever the others are like that come after it: they need not
    /// be asked for.
    #[must_use]
    pub fn is_best(&self, now: OffsetDateTime) -> bool {
        let (when, is_aside, illness, _) = self.order(now);
        when == now && !is_aside && illness == 0
    }

    /// Candidates in the order in which they are chosen: when, whether somewhere else would be better,
    /// how ill it has been, rank.
    fn order(&self, now: OffsetDateTime) -> (OffsetDateTime, bool, u32, u32) {
        let open = self.closed_until(now).unwrap_or(now);
        let room = match self.verdict {
            Verdict::Admitted => now,
            Verdict::Denied { at, .. } => at.max(now),
        };
        let is_aside = self.aside.is_some_and(|aside| aside.until > now);
        let illness = if self.health.is_sufficient(now) {
            0
        } else {
            u32::MAX - self.health.score(now)
        };
        (open.max(room), is_aside, illness, self.rank)
    }

    fn closed_until(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let aside = self.aside.filter(|aside| aside.is_binding);
        let aside = aside.map(|aside| aside.until).filter(|until| *until > now);
        aside.max(self.health.closed_until(now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::budget::Reason;
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const HOUR: Duration = Duration::from_secs(3600);

    fn healthy(rank: u32) -> Candidate {
        Candidate {
            rank,
            health: Health::default(),
            verdict: Verdict::Admitted,
            aside: None,
        }
    }

    fn limited(rank: u32, hours: u32) -> Candidate {
        Candidate {
            verdict: Verdict::Denied {
                at: NOW + HOUR * hours,
                by: Reason::Orders,
            },
            ..healthy(rank)
        }
    }

    fn closed(rank: u32) -> Candidate {
        let health = (0..3).fold(Health::default(), |health, _| health.failed(NOW, NOW));
        Candidate {
            health,
            ..healthy(rank)
        }
    }

    fn set_aside(rank: u32, hours: u32, is_binding: bool) -> Candidate {
        let until = NOW + HOUR * hours;
        Candidate {
            aside: Some(Aside { until, is_binding }),
            ..healthy(rank)
        }
    }

    fn chosen<const N: usize>(candidates: [Candidate; N]) -> Choice {
        choose(&candidates, NOW).unwrap()
    }

    #[test]
    fn the_first_by_rank_is_chosen_wherever_it_stands() {
        assert_eq!(chosen([healthy(2), healthy(1), healthy(3)]), Choice::Try(1));
        assert_eq!(choose(&[], NOW), None);
    }

    #[test]
    fn one_that_is_closed_limited_or_set_aside_is_passed_over_until_it_is_back() {
        for candidate in [
            closed(1),
            limited(1, 1),
            set_aside(1, 1, true),
            set_aside(1, 1, false),
        ] {
            assert_eq!(chosen([candidate, healthy(2)]), Choice::Try(1));
            let candidates = [candidate, healthy(2)];
            assert_eq!(choose(&candidates, NOW + HOUR), Some(Choice::Try(0)));
        }
    }

    #[test]
    fn one_that_often_fails_is_passed_over_but_better_than_none() {
        let mut health = Health::default();
        for _ in 0..10 {
            health = health.failed(NOW, NOW).failed(NOW, NOW).succeeded(NOW);
        }
        let ill = Candidate {
            health,
            ..healthy(1)
        };
        assert_eq!(chosen([ill, healthy(2)]), Choice::Try(1));
        assert_eq!(chosen([ill, limited(2, 1)]), Choice::Try(0));
        assert_eq!(chosen([ill]), Choice::Try(0));
    }

    #[test]
    fn where_all_are_limited_the_name_waits_at_the_one_with_room_first() {
        assert_eq!(chosen([limited(1, 5), limited(2, 3)]), Choice::Try(1));
    }

    #[test]
    fn where_none_is_open_the_name_waits_for_the_first_that_is() {
        let until = NOW + Duration::from_secs(60);
        assert_eq!(
            chosen([closed(1), set_aside(2, 1, true)]),
            Choice::Wait(until)
        );
        assert_eq!(chosen([closed(1), limited(2, 1)]), Choice::Wait(until));
    }

    #[test]
    fn what_failed_everywhere_has_no_alternative_now() {
        let until = NOW + HOUR;
        for (others, expected) in [
            (vec![], None),
            (vec![set_aside(1, 1, false)], Some(until)),
            (vec![set_aside(1, 1, true)], Some(until)),
            (vec![set_aside(1, 9, false), limited(2, 1)], Some(until)),
            (vec![limited(1, 1), healthy(2)], Some(NOW)),
        ] {
            assert_eq!(alternative(&others, NOW), expected, "{others:?}");
        }
    }

    #[test]
    fn one_that_refused_the_name_is_tried_again_if_it_is_the_only_one() {
        assert_eq!(chosen([set_aside(1, 1, false)]), Choice::Try(0));
        assert_eq!(chosen([set_aside(1, 1, false), closed(2)]), Choice::Try(0));
    }
}
