//! What a node does with what it has claimed. It decides nothing itself: every decision about time is
//! one of `lifecycle::schedule`.

use lifecycle::schedule::{
    Candidate, Cause, Choice, Demand, Failed, Health, Limits, Mark, Plan, Purpose, UNANSWERED,
    Urgency, Verdict, Window, after_failure, after_wait, alternative, asides, choose,
    look_after_failure, next_look, reconsider, renew_at,
};
use time::OffsetDateTime;

use crate::clock::{MINUTE, Moment, date, duration, moment};
use crate::directory::{Answer, BACKDATED, Fault, NewOrder};
use crate::store::{Order, Row, Version};
use crate::world::World;

/// How long a directory may work on an order before it is given up.
const LONGEST_ORDER: Moment = 30 * MINUTE;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) is_alive: bool,
    /// Changes when it dies, so that answers to its former life reach nobody.
    pub(crate) life: u64,
    pub(crate) in_flight: usize,
    health: Vec<Health>,
}

/// A question under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    pub(crate) node: usize,
    pub(crate) life: u64,
    certificate: usize,
    /// The end of the lease.
    until: Moment,
    started: Moment,
    directory: usize,
    /// Nothing for a new order.
    url: Option<u64>,
    is_replacement: bool,
}

/// What has happened.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) claims: u64,
    pub(crate) issued: u64,
    pub(crate) renewed: u64,
    /// Versions that ended in service although they could have been renewed, in words.
    pub(crate) expired: Vec<String>,
    /// Versions that ended in service while nobody could have proven control over the name.
    pub(crate) hopeless: u64,
    pub(crate) given_up: Vec<usize>,
    /// Old versions marked revoked because their directory asked for their renewal.
    pub(crate) superseded: u64,
    /// When the last first version was there.
    pub(crate) last_first_at: Moment,
    pub(crate) last_superseded_at: Moment,
    pub(crate) deaths: Vec<Moment>,
    pub(crate) failures: u64,
    pub(crate) digest: u64,
}

impl Report {
    /// Takes up into the digest what has happened.
    fn note(&mut self, values: [i64; 3]) {
        for value in values {
            let mixed = self.digest.rotate_left(23) ^ value.cast_unsigned();
            self.digest = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
}

impl Node {
    pub(crate) fn new(directories: usize) -> Self {
        Self {
            is_alive: true,
            life: 0,
            in_flight: 0,
            health: vec![Health::default(); directories],
        }
    }

    /// It forgets everything that is not in the store.
    pub(crate) fn die(&mut self, directories: usize) {
        *self = Self {
            is_alive: false,
            life: self.life + 1,
            ..Self::new(directories)
        };
    }

    /// How many certificates it can work on besides those that it works on.
    pub(crate) fn room(&self, directories: usize) -> usize {
        let concurrency = Limits::LETS_ENCRYPT.concurrency as usize * directories;
        if self.is_alive {
            concurrency.saturating_sub(self.in_flight)
        } else {
            0
        }
    }
}

impl World {
    /// Does what is next for a certificate that was claimed until `until`.
    pub(crate) fn attempt(&mut self, node: usize, certificate: usize, until: Moment) {
        let row = self.store.row(certificate);
        match (row.order, row.version) {
            (Some(order), _) => self.resume(node, certificate, until, order),
            (None, Some(version)) if self.now < row.renew_at => {
                self.look_at_window(node, certificate, until, version);
            }
            _ => self.begin(node, certificate, until),
        }
    }

    /// Takes an order to its directory.
    pub(crate) fn arrive(&mut self, task: Task) {
        let directory = &mut self.directories[task.directory];
        let order = NewOrder {
            certificate: task.certificate,
            domain: self.store.row(task.certificate).domain,
            is_replacement: task.is_replacement,
        };
        let answer = directory.order(order, self.now, &mut self.random);
        self.answer(task, answer);
    }

    /// Goes on with an answer.
    pub(crate) fn answered(&mut self, task: Task, answer: Answer) {
        let (now, directory) = (self.date, task.directory);
        if !matches!(answer, Answer::Unreachable) {
            let health = &mut self.nodes[task.node].health[directory];
            let was_closed = health.closed_until(now).is_some();
            *health = health.succeeded(now);
            if was_closed {
                self.store.close(directory, now);
            }
        }
        match answer {
            Answer::Placed { url, retry_after } => {
                self.report
                    .note([self.now, task.certificate as i64, directory as i64]);
                let next = self.now + retry_after;
                self.store
                    .change(task.certificate, task.until, Some(next), |row| {
                        if let Some(order) = &mut row.order {
                            order.url = Some(url);
                        }
                    });
            }
            Answer::Pending { age, .. } if age > LONGEST_ORDER => {
                self.fail(task, Cause::Directory, false);
            }
            Answer::Pending { retry_after, .. } => {
                let next = self.now + retry_after;
                self.store
                    .change(task.certificate, task.until, Some(next), |_| ());
            }
            Answer::Issued => self.finish(task),
            Answer::Invalid => {
                for name in &self.store.row(task.certificate).identifiers.clone() {
                    let mark = Mark::failure(&Limits::LETS_ENCRYPT, name);
                    self.mark(directory, &mark.expect("failures are limited"));
                }
                self.fail(task, Cause::Name, false);
            }
            Answer::Refused {
                detail,
                retry_after,
            } => {
                let until = retry_after.map(|pause| date(self.now + pause));
                let names = &self.store.row(task.certificate).identifiers;
                let mark = Mark::refusal(&Limits::LETS_ENCRYPT, names, detail, until, now);
                self.mark(directory, &mark);
                let until = mark.closed_until().expect("a refusal");
                self.fail(task, Cause::Limited { until }, false);
            }
            Answer::Unreachable => {
                let health = &mut self.nodes[task.node].health[directory];
                let closed_until = health.closed_until(now);
                *health = health.failed(date(task.started), now);
                if let Some(until) = health.closed_until(now)
                    && closed_until != Some(until)
                {
                    self.store.close(directory, until);
                }
                self.fail(task, Cause::Directory, true);
            }
        }
    }

    /// Goes on with an order that was under way when the certificate was claimed.
    fn resume(&mut self, node: usize, certificate: usize, until: Moment, order: Order) {
        let Some(url) = order.url else {
            let again = moment(date(order.created_at) + UNANSWERED);
            if self.now < again {
                self.store.change(certificate, until, Some(again), |_| ());
            } else {
                self.begin(node, certificate, until);
            }
            return;
        };
        let task = self.task(node, certificate, until, order.directory, Some(url));
        let domain = self.store.row(certificate).domain;
        let can_validate = self.can_validate(certificate);
        let directory = &mut self.directories[order.directory];
        let answer = directory.look(url, domain, can_validate, self.now);
        self.nodes[node].in_flight += 1;
        self.answer(task, answer);
    }

    /// Asks the directory of a version whether it is to be renewed earlier.
    fn look_at_window(&mut self, node: usize, certificate: usize, until: Moment, version: Version) {
        let row = self.store.row(certificate);
        let (mut renew_at, mut is_recalled) = (row.renew_at, version.is_recalled);
        let directory = &mut self.directories[version.directory];
        let look_every = directory.nature.look_every;
        let lives = (version.not_before, version.not_after);
        let health = &self.nodes[node].health[version.directory];
        let is_closed = self.store.is_closed(version.directory, self.date)
            || health.closed_until(self.date).is_some();
        // Nothing comes between a look that changes nothing and the next one, so they are taken in one
        // go, up to the one that changes something or is not answered.
        let mut at = self.now;
        let next = loop {
            let draw = self.random.draw();
            let window = if is_closed {
                None
            } else {
                directory.window(certificate, lives, at)
            };
            let Some((start, end)) = window else {
                break moment(look_after_failure(date(renew_at), date(at), draw));
            };
            let window = Window {
                start: date(start),
                end: date(end),
            };
            let chosen = moment(reconsider(date(renew_at), window, date(at), version.number));
            let has_changed = chosen != renew_at;
            is_recalled |= window.is_recall(date(version.not_before), date(version.not_after));
            renew_at = chosen;
            let asked = Some(duration(look_every));
            let next = moment(next_look(date(renew_at), asked, date(at), draw));
            let is_answered = !directory.has(Fault::Down, next);
            if next >= renew_at || has_changed || !is_answered || !self.takes_looks_together {
                break next;
            }
            at = next;
        };
        self.store.change(certificate, until, Some(next), |row| {
            row.renew_at = renew_at;
            if let Some(version) = &mut row.version {
                version.is_recalled = is_recalled;
            }
        });
    }

    /// Orders at one of the directories, or waits.
    fn begin(&mut self, node: usize, certificate: usize, until: Moment) {
        let now = self.date;
        let (candidates, demands) = self.candidates(node, certificate, None);
        let draw = self.random.draw();
        let row = self.store.row(certificate);
        let not_after = row.version.map(|version| date(version.not_after));
        let next = match choose(&candidates, now).expect("there are directories") {
            Choice::Wait(at) => moment(after_wait(at, not_after, now, draw)),
            Choice::Try(place) => {
                let (directory, demand) = &demands[place];
                let levels = self.store.levels(*directory, demand.buckets());
                let decision = demand.decide(&levels, now, draw);
                self.store
                    .set_levels(*directory, demand.buckets(), &decision.levels);
                match decision.verdict {
                    Verdict::Admitted => {
                        self.place(node, certificate, until, *directory);
                        return;
                    }
                    Verdict::Denied { at, .. } => moment(at),
                }
            }
        };
        self.store
            .change(certificate, until, Some(next), |row| row.order = None);
    }

    /// Sends an order that was spent.
    fn place(&mut self, node: usize, certificate: usize, until: Moment, directory: usize) {
        let health = &mut self.nodes[node].health[directory];
        *health = health.probed(self.date);
        let order = Order {
            directory,
            url: None,
            created_at: self.now,
        };
        let held = self.store.change(certificate, until, Some(until), |row| {
            row.order = Some(order);
        });
        if held {
            self.nodes[node].in_flight += 1;
            self.send(self.task(node, certificate, until, directory, None));
        }
    }

    /// Puts a version into service.
    fn finish(&mut self, task: Task) {
        let (now, directory) = (self.now, task.directory);
        let draw = self.random.draw();
        let nature = &self.directories[directory].nature;
        let row = self.store.row(task.certificate);
        let old = row.version;
        let number = self.random.draw();
        let version = Version {
            number,
            directory,
            not_before: now - BACKDATED,
            not_after: now - BACKDATED + row.life,
            is_recalled: false,
        };
        let renewal = moment(renew_at(self.date, date(version.not_after), draw));
        let next = if nature.has_windows {
            let asked = Some(duration(nature.look_every));
            moment(next_look(date(renewal), asked, self.date, draw))
        } else {
            renewal
        };
        let held = self
            .store
            .change(task.certificate, task.until, Some(next), |row| {
                row.version = Some(version);
                row.order = None;
                row.attempt = 0;
                row.renew_at = renewal;
            });
        if !held {
            return;
        }
        self.report
            .note([now, task.certificate as i64, -1 - directory as i64]);
        match old {
            None => {
                self.report.issued += 1;
                self.report.last_first_at = now;
            }
            Some(old) => {
                self.report.renewed += 1;
                if old.not_after < now {
                    self.expired(task.certificate, old);
                }
                if old.is_recalled {
                    self.report.superseded += 1;
                    self.report.last_superseded_at = now;
                }
            }
        }
    }

    /// Plans what comes after a failure.
    fn fail(&mut self, task: Task, cause: Cause, is_silent: bool) {
        let now = self.date;
        self.report.failures += 1;
        for aside in asides(cause, now) {
            self.store
                .set_aside(task.certificate, task.directory, aside);
        }
        let (others, _) = self.candidates(task.node, task.certificate, Some(task.directory));
        let has_alternative = alternative(&others, now).is_some_and(|free| free <= now);
        let row = self.store.row(task.certificate);
        let failed = Failed {
            made: row.attempt,
            cause,
            not_after: row.version.map(|version| date(version.not_after)),
            has_alternative,
        };
        // A directory that cannot be asked about an order may be asked later.
        let is_kept = task.url.is_some() && is_silent && !has_alternative;
        // Nobody knows whether a directory has counted an order that it did not answer.
        let was_answered = task.url.is_some() || !is_silent;
        if !is_kept && !task.is_replacement && was_answered {
            self.give_back(task);
        }
        let plan = after_failure(failed, now, self.random.draw());
        let (made, next) = match plan {
            Plan::Again { made, at } => (made, Some(moment(at))),
            Plan::GiveUp => (failed.made, None),
        };
        let held = self
            .store
            .change(task.certificate, task.until, next, |row| {
                row.attempt = made;
                row.is_given_up = next.is_none();
                row.order = row.order.filter(|_| is_kept);
            });
        if held && next.is_none() {
            self.report.given_up.push(task.certificate);
        }
    }

    /// The directories of a certificate in order of preference, and what an order would take of the
    /// limits of each; without those that come after one that is chosen anyway.
    fn candidates(
        &self,
        node: usize,
        certificate: usize,
        except: Option<usize>,
    ) -> (Vec<Candidate>, Vec<(usize, Demand)>) {
        let now = self.date;
        let (row, count) = (self.store.row(certificate), self.directories.len());
        let (mut candidates, mut demands) = (Vec::new(), Vec::new());
        for place in 0..count {
            let directory = (row.preferred + place) % count;
            if except == Some(directory) {
                continue;
            }
            let purpose = self.purpose(row, directory, now);
            let demand = Demand::new(&Limits::LETS_ENCRYPT, purpose);
            let levels = self.store.levels(directory, demand.buckets());
            let candidate = Candidate {
                rank: u32::try_from(place).expect("few directories"),
                health: self.nodes[node].health[directory],
                verdict: demand.decide(&levels, now, 0).verdict,
                aside: self.store.aside(certificate, directory, now),
            };
            candidates.push(candidate);
            demands.push((directory, demand));
            if candidate.is_best(now) {
                break;
            }
        }
        (candidates, demands)
    }

    fn purpose<'a>(&self, row: &'a Row, directory: usize, now: OffsetDateTime) -> Purpose<'a> {
        let replaced = row.version.filter(|version| version.directory == directory);
        let urgency = row.version.map_or(Urgency::First, |version| {
            let (from, not_after) = (date(version.not_before), date(version.not_after));
            Urgency::of_renewal(from, not_after, None, now)
        });
        Purpose {
            identifiers: &row.identifiers,
            account: Some(&row.account),
            urgency,
            is_replacement: replaced.is_some() && self.directories[directory].nature.has_windows,
            since: date(row.version.map_or(row.requested_at, |_| row.renew_at)),
        }
    }

    fn task(
        &self,
        node: usize,
        certificate: usize,
        until: Moment,
        directory: usize,
        url: Option<u64>,
    ) -> Task {
        let row = self.store.row(certificate);
        let is_of_directory = row
            .version
            .is_some_and(|version| version.directory == directory);
        Task {
            node,
            life: self.nodes[node].life,
            certificate,
            until,
            started: self.now,
            directory,
            url,
            is_replacement: is_of_directory && self.directories[directory].nature.has_windows,
        }
    }

    /// Gives back what an order was counted towards that came to nothing.
    fn give_back(&mut self, task: Task) {
        let row = self.store.row(task.certificate);
        let purpose = self.purpose(row, task.directory, self.date);
        let demand = Demand::new(&Limits::LETS_ENCRYPT, purpose);
        let levels = self.store.levels(task.directory, demand.buckets());
        let levels = demand.give_back(&levels, task.url.is_some());
        self.store
            .set_levels(task.directory, demand.buckets(), &levels);
    }

    fn mark(&mut self, directory: usize, mark: &Mark) {
        let bucket = [mark.bucket().to_owned()];
        let levels = self.store.levels(directory, &bucket);
        let level = mark.level(levels[0], self.date);
        self.store.set_levels(directory, &bucket, &[Some(level)]);
    }
}
