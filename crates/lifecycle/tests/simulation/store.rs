//! What the store remembers and how it behaves: certificates with the moment of their next action,
//! leases that are nothing but that moment moved ahead, writes that count only while the lease is
//! held, at most one order for each certificate, and budgets.

use std::collections::{BTreeSet, HashMap};

use lifecycle::schedule::Aside;
use time::OffsetDateTime;

use crate::clock::Moment;

/// A certificate.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) identifiers: Vec<String>,
    /// The number of the registered domain that its name is of.
    pub(crate) domain: usize,
    pub(crate) account: String,
    /// The first of its directories in order of preference; the others follow it.
    pub(crate) preferred: usize,
    /// How long its versions live.
    pub(crate) life: Moment,
    pub(crate) requested_at: Moment,
    pub(crate) attempt: u8,
    pub(crate) is_given_up: bool,
    pub(crate) next_action_at: Option<Moment>,
    pub(crate) renew_at: Moment,
    pub(crate) version: Option<Version>,
    pub(crate) order: Option<Order>,
}

/// The version in service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version {
    pub(crate) number: u64,
    pub(crate) directory: usize,
    pub(crate) not_before: Moment,
    pub(crate) not_after: Moment,
    /// Whether its directory has asked for its renewal before its time.
    pub(crate) is_recalled: bool,
}

/// An order under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) directory: usize,
    /// Nothing until the directory has answered.
    pub(crate) url: Option<u64>,
    pub(crate) created_at: Moment,
}

#[derive(Debug)]
pub(crate) struct Store {
    rows: Vec<Row>,
    due: BTreeSet<(Moment, usize)>,
    /// The budgets of each directory.
    budgets: Vec<HashMap<String, OffsetDateTime>>,
    /// Directories that were set aside for a certificate, and whether that binds.
    asides: HashMap<(usize, usize, bool), Aside>,
    /// Until when each directory is closed, as some node has seen it.
    closed_until: Vec<OffsetDateTime>,
}

impl Store {
    pub(crate) fn new(directories: usize) -> Self {
        Self {
            rows: Vec::new(),
            due: BTreeSet::new(),
            budgets: vec![HashMap::new(); directories],
            asides: HashMap::new(),
            closed_until: vec![OffsetDateTime::UNIX_EPOCH; directories],
        }
    }

    pub(crate) fn add(&mut self, row: Row) {
        if let Some(at) = row.next_action_at {
            self.due.insert((at, self.rows.len()));
        }
        self.rows.push(row);
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn row(&self, id: usize) -> &Row {
        &self.rows[id]
    }

    /// When something is due next.
    pub(crate) fn first_due(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Claims what is due at `now`, at most `limit`, until `until`: half of those due longest and half
    /// of those that have just become due.
    pub(crate) fn claim_due(&mut self, now: Moment, until: Moment, limit: usize) -> Vec<usize> {
        let newest = limit / 2;
        let due = self.due.range(..=(now, usize::MAX));
        let mut claimed: Vec<_> = due.take(limit - newest).copied().collect();
        let due = self.due.range(..=(now, usize::MAX));
        claimed.extend(due.rev().take(newest).copied());
        claimed.sort_unstable();
        claimed.dedup();
        for (_, id) in &claimed {
            self.set_next(*id, Some(until));
        }
        claimed.into_iter().map(|(_, id)| id).collect()
    }

    /// Changes a certificate that is claimed until `until`, and plans its next action. Whether it was
    /// still claimed.
    pub(crate) fn change(
        &mut self,
        id: usize,
        until: Moment,
        next_action_at: Option<Moment>,
        change: impl FnOnce(&mut Row),
    ) -> bool {
        if self.rows[id].next_action_at != Some(until) {
            return false;
        }
        change(&mut self.rows[id]);
        self.set_next(id, next_action_at);
        true
    }

    /// The levels of buckets of a directory.
    pub(crate) fn levels(
        &self,
        directory: usize,
        buckets: &[String],
    ) -> Vec<Option<OffsetDateTime>> {
        let budgets = &self.budgets[directory];
        let level = |bucket: &String| budgets.get(bucket.as_str()).copied();
        buckets.iter().map(level).collect()
    }

    /// Writes those of the levels that are there.
    pub(crate) fn set_levels(
        &mut self,
        directory: usize,
        buckets: &[String],
        levels: &[Option<OffsetDateTime>],
    ) {
        let budgets = &mut self.budgets[directory];
        for (bucket, level) in buckets.iter().zip(levels) {
            let Some(level) = level else {
                continue;
            };
            match budgets.get_mut(bucket.as_str()) {
                Some(known) => *known = *level,
                None => drop(budgets.insert(bucket.clone(), *level)),
            }
        }
    }

    /// What all nodes know of a directory at `now`: whether it was set aside for a certificate, or some
    /// node has closed it.
    pub(crate) fn aside(
        &self,
        certificate: usize,
        directory: usize,
        now: OffsetDateTime,
    ) -> Option<Aside> {
        let until = self.closed_until[directory];
        if until > now {
            return Some(Aside {
                until,
                is_binding: true,
            });
        }
        let asides = [true, false].map(|is_binding| {
            let aside = self.asides.get(&(certificate, directory, is_binding));
            aside.copied().filter(|aside| aside.until > now)
        });
        asides.into_iter().flatten().next()
    }

    pub(crate) fn is_closed(&self, directory: usize, now: OffsetDateTime) -> bool {
        self.closed_until[directory] > now
    }

    pub(crate) fn set_aside(&mut self, certificate: usize, directory: usize, aside: Aside) {
        let place = (certificate, directory, aside.is_binding);
        let known = self.asides.entry(place).or_insert(aside);
        known.until = known.until.max(aside.until);
    }

    pub(crate) fn close(&mut self, directory: usize, until: OffsetDateTime) {
        self.closed_until[directory] = until;
    }

    /// Forgets budgets that are full, and what was set aside until a moment that is past.
    pub(crate) fn sweep(&mut self, now: OffsetDateTime) {
        for budgets in &mut self.budgets {
            budgets.retain(|_, level| *level > now);
        }
        self.asides.retain(|_, aside| aside.until > now);
    }

    fn set_next(&mut self, id: usize, next_action_at: Option<Moment>) {
        let row = &mut self.rows[id];
        if let Some(at) = row.next_action_at {
            self.due.remove(&(at, id));
        }
        row.next_action_at = next_action_at;
        if let Some(at) = next_action_at {
            self.due.insert((at, id));
        }
    }
}
