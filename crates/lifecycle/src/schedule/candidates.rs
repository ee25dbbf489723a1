//! Which of several directories a name is ordered at.

use time::OffsetDateTime;

use super::budget::Verdict;
use super::health::Health;

/// That a directory is not to be tried for a name for some time, see [`super::aside`].
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

impl Candidate {
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
