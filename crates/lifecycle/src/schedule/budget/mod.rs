//! What an order takes of the limits of a directory, whether that is there, and who waits until when
//! if it is not.
//!
//! A [`Demand`] names the buckets it concerns; the store hands their levels in and writes down those
//! that come back, in one transaction, so that no two nodes give the same place away.
//!
//! Whoever is denied gets a moment in the queue of the bucket that denied it: one after the other, as
//! far apart as places become free, so that 50,000 waiting names do not all come back for one place.
//! Each urgency has a queue of its own, and the less urgent leave some places alone, so that a renewal
//! that cannot wait passes an import that can.

mod mark;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;

pub use self::mark::Mark;
pub(crate) use self::mark::ORDERS;
use self::mark::{LONGEST_REFUSAL, REFUSED, domain_bucket, failure_bucket, set_bucket};
use super::domains::{plain, registered_domain};
use super::limit::Limit;
use super::limits::Limits;
use super::moment::{another, between, earlier, later, part};
use super::renewal::Urgency;

/// How far apart names wait for a directory that has closed and announces no limit.
const PACE: Duration = Duration::from_secs(1);
/// How far apart names wait at most that have no queue.
const APART: Duration = Duration::from_secs(60);
/// The longest queue. Also what a clock that was wrong can do at most.
const LONGEST_QUEUE: Duration = Duration::from_secs(90 * 24 * 3600);
/// One in so many places is left alone by first versions, and by renewals with time left.
const KEPT_FROM_FIRST: u32 = 10;
const KEPT_FROM_RENEWALS: u32 = 20;

/// For whom an order would be.
#[derive(Debug, Clone, Copy)]
pub struct Purpose<'a> {
    /// The names and addresses, as the store keeps them.
    pub identifiers: &'a [String],
    /// The account of ours, at a directory that several of them use.
    pub account: Option<&'a str>,
    /// How much the version is needed.
    pub urgency: Urgency,
    /// Whether it renews a version of this very directory and says so (`replaces`, RFC 9773 §5).
    /// Directories count those towards no limit.
    pub is_replacement: bool,
    /// Since when the version is needed: when it was asked for, or when the renewal was due. Whoever
    /// has waited is not sent to the end of the queue again.
    pub since: OffsetDateTime,
}

/// What an order would take of the limits of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    charges: Vec<Charge>,
    /// Of the charges, in their order, then their queues.
    buckets: Vec<String>,
    since: OffsetDateTime,
}

/// What becomes of a [`Demand`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub verdict: Verdict,
    /// The levels that are to be written, whatever the answer is, in the order of
    /// [`Demand::buckets`]; nothing where one stays as it is.
    pub levels: Vec<Option<OffsetDateTime>>,
}

/// Whether an order may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may, and is counted.
    Admitted,
    /// It may not.
    Denied {
        /// When to ask again.
        at: OffsetDateTime,
        /// The limit that is longest in the way.
        by: Reason,
    },
}

/// A limit that is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The directory refused orders altogether.
    Refused,
    /// Orders of our account there.
    Orders,
    /// Orders for one account of ours.
    Share,
    /// Certificates for the names of one registered domain.
    Domain,
    /// Certificates for exactly the same names.
    Duplicates,
    /// Failed validations of one name.
    Failures,
}

impl Reason {
    /// The word for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Orders => "orders",
            Self::Share => "share",
            Self::Domain => "domain",
            Self::Duplicates => "duplicates",
            Self::Failures => "failures",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Charge {
    reason: Reason,
    limit: Option<Limit>,
    /// Places that are left alone.
    reserve: u32,
    /// How far apart those wait that it denies.
    pace: Duration,
    /// Where the level of its queue is, if it has one.
    queue: Option<usize>,
}

impl Demand {
    /// What an order for `purpose` would take of `limits`.
    #[must_use]
    pub fn new(limits: &Limits, purpose: Purpose<'_>) -> Self {
        let mut demand = Self {
            charges: Vec::new(),
            buckets: Vec::new(),
            since: purpose.since,
        };
        demand.charges.push(Charge {
            reason: Reason::Refused,
            limit: None,
            reserve: 0,
            pace: limits.orders.map_or(PACE, |orders| orders.interval()),
            queue: None,
        });
        demand.buckets.push(REFUSED.to_owned());
        if !purpose.is_replacement {
            demand.charge(limits, purpose);
        }
        demand.add_queues(purpose.urgency);
        demand
    }

    /// The names of the buckets whose levels [`Demand::decide`] wants, each once.
    #[must_use]
    pub fn buckets(&self) -> &[String] {
        &self.buckets
    }

    /// The limits that it concerns, each with the name of its bucket.
    #[must_use]
    pub fn limits(&self) -> Vec<(&str, Limit)> {
        let charges = self.charges.iter().zip(&self.buckets);
        charges
            .filter_map(|(charge, bucket)| Some((bucket.as_str(), charge.limit?)))
            .collect()
    }

    /// Whether the order may be sent at `now`, where the buckets are at `levels`; a level is missing
    /// where a bucket was never used. To ask without consequences, do not write the levels.
    #[must_use]
    pub fn decide(
        &self,
        levels: &[Option<OffsetDateTime>],
        now: OffsetDateTime,
        draw: u64,
    ) -> Decision {
        let mut levels = levels.to_vec();
        levels.resize(self.buckets.len(), None);
        let before = levels.clone();
        let hindrance = self
            .charges
            .iter()
            .enumerate()
            .map(|(place, charge)| (self.free_at(place, charge, &levels, now), charge))
            .filter(|(free, _)| *free > now)
            .max_by_key(|(free, _)| *free);
        let verdict = match hindrance {
            None => {
                for (charge, level) in self.charges.iter().zip(&mut levels) {
                    *level = charge.spent(*level, now);
                }
                Verdict::Admitted
            }
            Some((free, charge)) => Verdict::Denied {
                at: self.enqueue(charge, free, &mut levels, now, draw),
                by: charge.reason,
            },
        };
        Decision {
            verdict,
            levels: levels
                .into_iter()
                .zip(before)
                .map(|(level, before)| level.filter(|_| level != before))
                .collect(),
        }
    }

    /// The levels to be written after an order came to nothing that had been spent, where the buckets
    /// are at `levels`, as [`Decision::levels`] has them. A directory that took the order has counted
    /// it; certificates are counted when they are issued.
    #[must_use]
    pub fn give_back(
        &self,
        levels: &[Option<OffsetDateTime>],
        was_taken: bool,
    ) -> Vec<Option<OffsetDateTime>> {
        let mut given_back = vec![None; self.buckets.len()];
        let charges = self.charges.iter().zip(levels).zip(&mut given_back);
        for ((charge, level), given_back) in charges {
            let is_counted = match charge.reason {
                Reason::Refused | Reason::Failures => true,
                Reason::Orders | Reason::Share => was_taken,
                Reason::Domain | Reason::Duplicates => false,
            };
            if let (false, Some(limit), Some(level)) = (is_counted, charge.limit, level) {
                *given_back = Some(limit.given_back(*level));
            }
        }
        given_back
    }

    fn charge(&mut self, limits: &Limits, purpose: Purpose<'_>) {
        let names: BTreeSet<_> = purpose.identifiers.iter().map(|name| plain(name)).collect();
        let kept = |limit: Limit| match purpose.urgency {
            Urgency::First => limit.burst() / KEPT_FROM_FIRST,
            Urgency::Renewal => limit.burst() / KEPT_FROM_RENEWALS,
            Urgency::Urgent => 0,
        };
        if let Some(orders) = limits.orders {
            let pace = orders.interval();
            self.add(
                Reason::Orders,
                orders,
                kept(orders),
                pace,
                ORDERS.to_owned(),
            );
            if let (Some(account), Some(share)) = (purpose.account, limits.of_account()) {
                self.add(
                    Reason::Share,
                    share,
                    0,
                    pace,
                    format!("{ORDERS} of {account}"),
                );
            }
        }
        if let Some(limit) = limits.domain {
            let domains: BTreeSet<_> = names.iter().map(|name| registered_domain(name)).collect();
            for domain in domains {
                let (pace, bucket) = (limit.interval(), domain_bucket(&domain));
                self.add(Reason::Domain, limit, kept(limit), pace, bucket);
            }
        }
        if let Some(limit) = limits.duplicates
            && !names.is_empty()
        {
            self.add(Reason::Duplicates, limit, 0, APART, set_bucket(&names));
        }
        if let Some(limit) = limits.failures {
            for name in &names {
                self.add(Reason::Failures, limit, 0, APART, failure_bucket(name));
            }
        }
    }

    fn add(&mut self, reason: Reason, limit: Limit, reserve: u32, pace: Duration, bucket: String) {
        self.charges.push(Charge {
            reason,
            limit: Some(limit),
            reserve,
            pace,
            queue: None,
        });
        self.buckets.push(bucket);
    }

    /// Gives a queue to each of the charges that many names have in common.
    fn add_queues(&mut self, urgency: Urgency) {
        let who = match urgency {
            Urgency::First => "first",
            Urgency::Renewal => "renewals",
            Urgency::Urgent => "urgent",
        };
        let mut queues = Vec::new();
        for (charge, bucket) in self.charges.iter_mut().zip(&self.buckets) {
            if !matches!(charge.reason, Reason::Duplicates | Reason::Failures) {
                charge.queue = Some(self.buckets.len() + queues.len());
                queues.push(format!("{who} waiting for {bucket}"));
            }
        }
        self.buckets.append(&mut queues);
    }

    /// When the charge in `place` lets the order through.
    fn free_at(
        &self,
        place: usize,
        charge: &Charge,
        levels: &[Option<OffsetDateTime>],
        now: OffsetDateTime,
    ) -> OffsetDateTime {
        let level = |place: usize| levels.get(place).copied().flatten();
        let Some(limit) = charge.limit else {
            let until = level(place).unwrap_or(now);
            return until.min(later(now, LONGEST_REFUSAL)).max(now);
        };
        let free = limit.free_at(level(place), charge.reserve, now);
        if charge.reason != Reason::Share {
            return free;
        }
        // Beyond its share an account takes what the others leave.
        let orders = self
            .charges
            .iter()
            .position(|charge| charge.reason == Reason::Orders);
        let spare = orders.and_then(|place| {
            let all = self.charges.get(place)?.limit?;
            let others = all.burst() - limit.burst();
            Some(all.free_at(level(place), others, now))
        });
        spare.map_or(free, |spare| free.min(spare))
    }

    /// When the order is asked for again that `charge` denies until `free`.
    fn enqueue(
        &self,
        charge: &Charge,
        free: OffsetDateTime,
        levels: &mut [Option<OffsetDateTime>],
        now: OffsetDateTime,
        draw: u64,
    ) -> OffsetDateTime {
        let after = part(charge.pace, another(draw));
        let Some(end) = charge.queue.and_then(|place| levels.get_mut(place)) else {
            return later(free, after);
        };
        let latest = later(now, LONGEST_QUEUE);
        let last = end.map_or(free, |end| end.min(latest).max(free));
        *end = Some(later(last, charge.pace));
        // Whoever comes first time waits at the end. Whoever lost its place to somebody more urgent
        // has waited for as long as those at the head, or for some of it.
        let credit = between(self.since, now).min(between(free, last));
        later(earlier(last, part(credit, draw)), after)
    }
}

impl Charge {
    fn spent(&self, level: Option<OffsetDateTime>, now: OffsetDateTime) -> Option<OffsetDateTime> {
        match (self.reason, self.limit) {
            // Failures are counted when they happen.
            (Reason::Refused | Reason::Failures, _) | (_, None) => level,
            (_, Some(limit)) => Some(limit.spent(level, now)),
        }
    }
}
