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

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lc_rs::digest;
use time::OffsetDateTime;

use super::domains::{plain, registered_domain};
use super::limits::{Limit, Limits};
use super::moment::{another, between, earlier, later, part};
use super::renewal::Urgency;

/// The bucket that the directory closes altogether.
const REFUSED: &str = "refused";
const ORDERS: &str = "orders";
/// How far apart names wait for a directory that has closed and announces no limit.
const PACE: Duration = Duration::from_secs(1);
/// How far apart names wait at most that have no queue.
const APART: Duration = Duration::from_secs(60);
/// How long a directory is left alone that says that a limit is reached, but not until when.
const PATIENCE: Duration = Duration::from_secs(900);
/// How long a directory can close itself at most; it is asked again then.
const LONGEST_REFUSAL: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest queue. Also what a clock that was wrong can do at most.
const LONGEST_QUEUE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Characters of a name that tell its bucket from others; no name in DNS has more.
const LONGEST_NAME: usize = 253;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What is written down in one bucket after the directory has told something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    bucket: String,
    limit: Option<Limit>,
    /// Nothing for a failed validation.
    closed_until: Option<OffsetDateTime>,
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

impl Mark {
    /// That `identifier` could not be validated. Nothing when failures are not limited.
    #[must_use]
    pub fn failure(limits: &Limits, identifier: &str) -> Option<Self> {
        Some(Self {
            bucket: failure_bucket(&plain(identifier)),
            limit: Some(limits.failures?),
            closed_until: None,
        })
    }

    /// That the directory refused an order for `identifiers` at `now`, because a limit is reached, and
    /// until when. `detail` is what it said; which limit it is follows from that, as Let's Encrypt puts
    /// it. Whatever is said in another way closes the directory.
    #[must_use]
    pub fn refusal(
        limits: &Limits,
        identifiers: &[String],
        detail: &str,
        until: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Self {
        let until = until.unwrap_or_else(|| later(now, PATIENCE));
        let names: BTreeSet<_> = identifiers.iter().map(|name| plain(name)).collect();
        let quoted = detail.split('"').nth(1).map(plain);
        let quoted = quoted.or_else(|| (names.len() == 1).then(|| names.first().cloned())?);
        let detail = detail.to_ascii_lowercase();
        let says = |words: &str| detail.contains(words);
        let (limit, bucket) = if says("exact set of") {
            (limits.duplicates, set_bucket(&names))
        } else if says("failed authorizations")
            || says("failed validations")
            // Names that have failed for a long time, and for everybody but them nothing is closed.
            || says("temporarily prevented from requesting")
        {
            (limits.failures, failure_bucket(&quoted.unwrap_or_default()))
        } else if says("already issued for") {
            let domain = registered_domain(&quoted.unwrap_or_default());
            (limits.domain, domain_bucket(&domain))
        } else if says("too many new orders") {
            (limits.orders, ORDERS.to_owned())
        } else {
            (None, REFUSED.to_owned())
        };
        Self {
            bucket: if limit.is_some() {
                bucket
            } else {
                REFUSED.to_owned()
            },
            limit,
            closed_until: Some(until.max(now).min(later(now, LONGEST_REFUSAL))),
        }
    }

    /// The bucket that it concerns.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Until when the directory closed the bucket, if it did.
    #[must_use]
    pub fn closed_until(&self) -> Option<OffsetDateTime> {
        self.closed_until
    }

    /// The level to be written, where the bucket is at `level`.
    #[must_use]
    pub fn level(&self, level: Option<OffsetDateTime>, now: OffsetDateTime) -> OffsetDateTime {
        match (self.limit, self.closed_until) {
            (Some(limit), Some(until)) => limit.exhausted(level, until, now),
            (Some(limit), None) => limit.spent(level, now),
            (None, until) => level
                .max(until)
                .unwrap_or(now)
                .min(later(now, LONGEST_REFUSAL)),
        }
    }
}

fn domain_bucket(domain: &str) -> String {
    format!("domain {}", bounded(domain))
}

fn failure_bucket(name: &str) -> String {
    format!("failures {}", bounded(name))
}

/// What a directory says is a name may be as long as it likes.
fn bounded(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

/// A hash, because a set can be long.
fn set_bucket(names: &BTreeSet<String>) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    for name in names {
        hash.update(name.as_bytes());
        hash.update(b"\n");
    }
    let hash = hash.finish();
    let mut bucket = String::from("set ");
    for byte in hash.as_ref() {
        bucket.push_str(&format!("{byte:02x}"));
    }
    bucket
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const HOUR: Duration = Duration::from_secs(3600);
    /// One place of 300 in three hours.
    const PLACE: Duration = Duration::from_secs(36);

    /// The budgets of one directory, as the store keeps them.
    #[derive(Default)]
    struct Budgets(HashMap<String, OffsetDateTime>);

    impl Budgets {
        fn levels(&self, demand: &Demand) -> Vec<Option<OffsetDateTime>> {
            let buckets = demand.buckets().iter();
            buckets.map(|bucket| self.0.get(bucket).copied()).collect()
        }

        fn ask(&mut self, purpose: Purpose<'_>, now: OffsetDateTime) -> Verdict {
            let demand = Demand::new(&Limits::LETS_ENCRYPT, purpose);
            let decision = demand.decide(&self.levels(&demand), now, 1 << 62);
            let changed = demand.buckets().iter().cloned().zip(decision.levels);
            let changed = changed.filter_map(|(bucket, level)| Some((bucket, level?)));
            self.0.extend(changed);
            decision.verdict
        }

        fn mark(&mut self, mark: &Mark, now: OffsetDateTime) {
            let level = mark.level(self.0.get(mark.bucket()).copied(), now);
            self.0.insert(mark.bucket().to_owned(), level);
        }

        /// Orders for so many names of domains of their own, of which so many are admitted.
        fn admitted(&mut self, urgency: Urgency, account: &str, count: usize) -> usize {
            let names = (0..count).map(|place| vec![format!("{urgency:?}{account}{place}.test")]);
            let admitted = names.filter(|name| {
                let purpose = Purpose {
                    account: Some(account),
                    ..purpose(name, urgency)
                };
                self.ask(purpose, NOW) == Verdict::Admitted
            });
            admitted.count()
        }
    }

    fn purpose(identifiers: &[String], urgency: Urgency) -> Purpose<'_> {
        Purpose {
            identifiers,
            account: None,
            urgency,
            is_replacement: false,
            since: NOW,
        }
    }

    fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(str::to_owned).to_vec()
    }

    #[track_caller]
    fn denied(verdict: Verdict) -> (time::Duration, Reason) {
        match verdict {
            Verdict::Denied { at, by } => (at - NOW, by),
            Verdict::Admitted => panic!("it was admitted"),
        }
    }

    #[test]
    fn the_less_urgent_leave_places_to_the_more_urgent() {
        let mut budgets = Budgets::default();
        let names: Vec<_> = (0..400)
            .map(|place| vec![format!("{place}.test")])
            .collect();
        let mut left = names.iter();
        for (urgency, places) in [
            (Urgency::First, 269),
            (Urgency::Renewal, 15),
            (Urgency::Urgent, 15),
        ] {
            let admitted = left
                .by_ref()
                .take_while(|name| budgets.ask(purpose(name, urgency), NOW) == Verdict::Admitted);
            assert_eq!(admitted.count(), places, "{urgency:?}");
        }
    }

    #[test]
    fn an_account_that_has_had_its_share_gets_what_the_others_leave() {
        let mut budgets = Budgets::default();
        assert_eq!(budgets.admitted(Urgency::First, "one", 400), 149);
        assert_eq!(budgets.admitted(Urgency::First, "two", 400), 120);
        let one = names(["late.test"]);
        let one = Purpose {
            account: Some("one"),
            ..purpose(&one, Urgency::First)
        };
        let three = names(["three.test"]);
        let three = Purpose {
            account: Some("three"),
            ..purpose(&three, Urgency::First)
        };
        assert_eq!(denied(budgets.ask(one, NOW)).1, Reason::Share);
        assert_eq!(denied(budgets.ask(three, NOW)).1, Reason::Orders);
        let soon = NOW + PLACE * 2;
        assert_eq!(budgets.ask(three, soon), Verdict::Admitted);
    }

    #[test]
    fn certificates_are_counted_by_registered_domain() {
        let mut budgets = Budgets::default();
        for place in 0..44 {
            let name = vec![format!("n{place}.example.co.uk")];
            assert_eq!(
                budgets.ask(purpose(&name, Urgency::First), NOW),
                Verdict::Admitted
            );
        }
        let next = names(["other.test", "next.example.co.uk"]);
        let (wait, by) = denied(budgets.ask(purpose(&next, Urgency::First), NOW));
        assert_eq!(by, Reason::Domain);
        assert!(wait >= HOUR && wait < HOUR + HOUR * 168 / 50, "{wait}");
        let other = names(["other.test"]);
        assert_eq!(
            budgets.ask(purpose(&other, Urgency::First), NOW),
            Verdict::Admitted
        );
    }

    #[test]
    fn exactly_the_same_names_in_whatever_order_are_duplicates() {
        let mut budgets = Budgets::default();
        let forms = [["a.test", "B.test."], ["b.test", "A.test"]];
        for form in forms.into_iter().cycle().take(4) {
            let form = names(form);
            assert_eq!(
                budgets.ask(purpose(&form, Urgency::Urgent), NOW),
                Verdict::Admitted
            );
        }
        let fifth = names(["b.test", "a.test", "a.test"]);
        let (_, by) = denied(budgets.ask(purpose(&fifth, Urgency::Urgent), NOW));
        assert_eq!(by, Reason::Duplicates);
        let other = names(["a.test"]);
        assert_eq!(
            budgets.ask(purpose(&other, Urgency::Urgent), NOW),
            Verdict::Admitted
        );
    }

    #[test]
    fn orders_that_come_to_nothing_count_as_orders_but_not_as_certificates() {
        let mut budgets = Budgets::default();
        let name = names(["www.example.test"]);
        let purpose = purpose(&name, Urgency::First);
        let demand = Demand::new(&Limits::LETS_ENCRYPT, purpose);
        for _ in 0..50 {
            assert_eq!(budgets.ask(purpose, NOW), Verdict::Admitted);
            let given_back = demand.give_back(&budgets.levels(&demand), true);
            let given_back = demand.buckets().iter().cloned().zip(given_back);
            budgets
                .0
                .extend(given_back.filter_map(|(bucket, level)| Some((bucket, level?))));
        }
        let orders = Limits::LETS_ENCRYPT.orders.unwrap();
        assert_eq!(orders.left(budgets.0.get(ORDERS).copied(), NOW), 250);
    }

    #[test]
    fn a_wildcard_and_its_name_are_two_names_of_one_domain() {
        let both = names(["*.example.test", "example.test"]);
        let demand = Demand::new(&Limits::LETS_ENCRYPT, purpose(&both, Urgency::First));
        let domains = demand
            .buckets()
            .iter()
            .filter(|bucket| bucket.starts_with("domain "));
        assert_eq!(domains.count(), 1);
    }

    #[test]
    fn failed_validations_of_any_of_the_names_stand_in_the_way_and_orders_do_not_count_as_such() {
        let mut budgets = Budgets::default();
        let bad = names(["bad.test"]);
        for _ in 0..4 {
            let mark = Mark::failure(&Limits::LETS_ENCRYPT, "Bad.test").unwrap();
            budgets.mark(&mark, NOW);
        }
        let (_, by) = {
            let mark = Mark::failure(&Limits::LETS_ENCRYPT, "bad.test").unwrap();
            budgets.mark(&mark, NOW);
            denied(budgets.ask(
                purpose(&names(["good.test", "bad.test"]), Urgency::First),
                NOW,
            ))
        };
        assert_eq!(by, Reason::Failures);
        let later = NOW + HOUR / 2;
        assert_eq!(
            budgets.ask(purpose(&bad, Urgency::First), later),
            Verdict::Admitted
        );
        assert_eq!(Mark::failure(&Limits::NONE, "bad.test"), None);
    }

    #[test]
    fn replacements_count_towards_nothing_but_heed_a_directory_that_is_closed() {
        let mut budgets = Budgets::default();
        let name = names(["a.test"]);
        let replacement = Purpose {
            is_replacement: true,
            ..purpose(&name, Urgency::Renewal)
        };
        for _ in 0..1000 {
            assert_eq!(budgets.ask(replacement, NOW), Verdict::Admitted);
        }
        let until = Some(NOW + HOUR);
        let mark = Mark::refusal(&Limits::LETS_ENCRYPT, &name, "Busy", until, NOW);
        budgets.mark(&mark, NOW);
        let (wait, by) = denied(budgets.ask(replacement, NOW));
        assert_eq!(by, Reason::Refused);
        assert!(wait >= HOUR && wait < HOUR + PLACE, "{wait}");
    }

    #[test]
    fn a_refusal_closes_what_it_speaks_of() {
        let (limits, name) = (Limits::LETS_ENCRYPT, names(["www.example.co.uk"]));
        let bucket = |detail: &str| {
            Mark::refusal(&limits, &name, detail, None, NOW)
                .bucket()
                .to_owned()
        };
        for (detail, expected) in [
            (
                "too many new orders (300) from this account in the last 3h0m0s, retry after 2026",
                "orders",
            ),
            (
                "too many certificates (50) already issued for \"example.co.uk\" in the last 168h0m0s",
                "domain example.co.uk",
            ),
            (
                "too many failed authorizations (5) for \"www.example.co.uk\" in the last 1h0m0s",
                "failures www.example.co.uk",
            ),
            (
                "Your account is temporarily prevented from requesting certificates for \
                 www.example.co.uk and possibly others. Please visit: https://ca.test/unpause",
                "failures www.example.co.uk",
            ),
            ("Service busy; retry later.", REFUSED),
            ("too many requests", REFUSED),
            ("", REFUSED),
        ] {
            assert_eq!(bucket(detail), expected, "{detail}");
        }
        let same = "too many certificates (5) already issued for this exact set of identifiers in the last";
        assert!(bucket(same).starts_with("set "));
        // Where no such limit is known, there is nothing to close but the directory.
        let mark = Mark::refusal(&Limits::NONE, &name, "too many new orders", None, NOW);
        assert_eq!(mark.bucket(), REFUSED);
        assert_eq!(mark.closed_until(), Some(NOW + PATIENCE));
    }

    #[test]
    fn a_refusal_for_a_century_is_asked_about_after_a_week() {
        let name = names(["a.test"]);
        let until = Some(NOW + HOUR * 24 * 36_500);
        let mut budgets = Budgets::default();
        let mark = Mark::refusal(&Limits::LETS_ENCRYPT, &name, "", until, NOW);
        assert_eq!(mark.closed_until(), Some(NOW + HOUR * 24 * 7));
        budgets.mark(&mark, NOW);
        let (wait, _) = denied(budgets.ask(purpose(&name, Urgency::First), NOW));
        assert!(wait <= HOUR * 24 * 8, "{wait}");
    }

    #[test]
    fn a_name_that_a_directory_makes_up_does_not_make_a_bucket_long() {
        let mark = Mark::failure(&Limits::LETS_ENCRYPT, &"ä".repeat(100_000)).unwrap();
        assert!(mark.bucket().len() <= 1024);
        let name = names(["a.test", "b.test"]);
        let detail = format!("failed authorizations for \"{}\"", "a".repeat(100_000));
        let mark = Mark::refusal(&Limits::LETS_ENCRYPT, &name, &detail, None, NOW);
        assert!(mark.bucket().len() <= 1024);
    }

    #[test]
    fn those_that_wait_come_back_one_for_each_place() {
        let mut budgets = Budgets::default();
        let names: Vec<_> = (0..2269)
            .map(|place| vec![format!("{place}.test")])
            .collect();
        let mut moments = Vec::new();
        for name in &names {
            if let Verdict::Denied { at, .. } = budgets.ask(purpose(name, Urgency::First), NOW) {
                moments.push(at);
            }
        }
        assert_eq!(moments.len(), 2000);
        for (earlier, later) in moments.iter().zip(moments.iter().skip(1)) {
            assert!(earlier < later, "{earlier} {later}");
            assert!(*later - *earlier < PLACE * 2);
        }
        let length = *moments.last().unwrap() - NOW;
        assert!(length > PLACE * 1998 && length < PLACE * 2002, "{length}");
    }

    #[test]
    fn the_urgent_do_not_wait_behind_the_others() {
        let mut budgets = Budgets::default();
        for place in 0..5000 {
            let name = vec![format!("{place}.test")];
            budgets.ask(purpose(&name, Urgency::First), NOW);
        }
        assert_eq!(budgets.admitted(Urgency::Urgent, "urgent", 30), 30);
        let name = names(["urgent.test"]);
        let (wait, _) = denied(budgets.ask(purpose(&name, Urgency::Urgent), NOW));
        assert!(wait < PLACE * 3, "{wait}");
    }

    #[test]
    fn who_lost_a_place_after_waiting_does_not_go_to_the_end_again() {
        let mut budgets = Budgets::default();
        for place in 0..1270 {
            let name = vec![format!("{place}.test")];
            budgets.ask(purpose(&name, Urgency::First), NOW);
        }
        let waited = Purpose {
            since: NOW - HOUR * 100,
            ..purpose(&[], Urgency::First)
        };
        let (old, _) = denied(budgets.ask(waited, NOW));
        let (new, _) = denied(budgets.ask(purpose(&[], Urgency::First), NOW));
        assert!(new > PLACE * 1000);
        // The draw of these tests is a quarter.
        assert!(old > PLACE * 700 && old < PLACE * 800, "{old}");
    }

    proptest! {
        #[test]
        fn whatever_the_levels_are_there_is_an_answer_in_time(
            levels in proptest::collection::vec(proptest::option::of(any::<i32>()), 0..12),
            now in any::<i32>(),
            since in any::<i32>(),
            draw in any::<u64>(),
            is_replacement in any::<bool>(),
        ) {
            let second = |count| OffsetDateTime::from_unix_timestamp(i64::from(count)).unwrap();
            let levels: Vec<_> = levels.into_iter().map(|level| level.map(second)).collect();
            let (name, now) = (names(["a.test"]), second(now));
            let purpose = Purpose {
                account: Some("one"),
                since: second(since),
                is_replacement,
                ..purpose(&name, Urgency::First)
            };
            let demand = Demand::new(&Limits::LETS_ENCRYPT, purpose);
            let decision = demand.decide(&levels, now, draw);
            prop_assert_eq!(decision.levels.len(), demand.buckets().len());
            if let Verdict::Denied { at, .. } = decision.verdict {
                prop_assert!(at >= now);
                prop_assert!(at - now <= LONGEST_QUEUE + HOUR * 4);
            }
        }
    }
}
