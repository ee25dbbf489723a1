//! The world: nodes that look for what is due and die now and then, directories, and the time that
//! passes between a question and its answer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use time::OffsetDateTime;

use crate::clock::{DAY, HOUR, MINUTE, Moment, SECOND, date};
use crate::directory::{Answer, Directory};
use crate::node::{Node, Report, Task};
use crate::random::Random;
use crate::store::{Row, Store, Version};

/// How often nodes look for what is due.
const LOOK: Moment = SECOND;
/// How long the node that claimed something has it to itself.
pub(crate) const LEASE: Moment = MINUTE;
/// Certificates claimed at a time.
const BATCH: usize = 128;
/// How long a dead node stays dead.
const DEATH: Moment = 6 * HOUR;

/// When nodes die: each in its turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deaths {
    pub(crate) every: Moment,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Moment,
    /// The same for the functions under test.
    pub(crate) date: OffsetDateTime,
    pub(crate) store: Store,
    pub(crate) directories: Vec<Directory>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) random: Random,
    pub(crate) report: Report,
    /// Whether looks that change nothing are taken in one go.
    pub(crate) takes_looks_together: bool,
    /// For each certificate, when nobody can prove control over its names.
    broken: Vec<Option<(Moment, Moment)>>,
    events: BinaryHeap<Reverse<Event>>,
    last_event: u64,
    /// When nodes look next, and when they looked last.
    look_at: Option<Moment>,
    looked_at: Moment,
    deaths: Option<Deaths>,
}

/// What happens at a moment; of what happens at the same one, in the order in which it was planned.
#[derive(Debug)]
struct Event {
    at: Moment,
    number: u64,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Look,
    /// An order reaches its directory.
    Arrive(Task),
    /// An answer reaches the node that asked.
    Answer(Task, Answer),
    Die(usize),
    Revive(usize),
    Sweep,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        directories: Vec<Directory>,
        nodes: usize,
        deaths: Option<Deaths>,
    ) -> Self {
        let count = directories.len();
        let mut world = Self {
            now: 0,
            date: date(0),
            store: Store::new(count),
            directories,
            nodes: (0..nodes).map(|_| Node::new(count)).collect(),
            random: Random::new(seed),
            report: Report::default(),
            takes_looks_together: false,
            broken: Vec::new(),
            events: BinaryHeap::new(),
            last_event: 0,
            look_at: None,
            looked_at: -LOOK,
            deaths,
        };
        world.plan(DAY, What::Sweep);
        if let Some(deaths) = deaths {
            let first = world.random.between(0, deaths.every);
            world.plan(first, What::Die(0));
        }
        world
    }

    /// Adds a certificate, and when nobody can prove control over its names.
    pub(crate) fn add(&mut self, row: Row, broken: Option<(Moment, Moment)>) {
        self.store.add(row);
        self.broken.push(broken);
    }

    pub(crate) fn can_validate(&self, certificate: usize) -> bool {
        !self.broken[certificate].is_some_and(|(from, to)| (from..to).contains(&self.now))
    }

    pub(crate) fn is_broken(&self, certificate: usize) -> bool {
        self.broken[certificate].is_some()
    }

    /// Takes down that a version has ended in service.
    pub(crate) fn expired(&mut self, certificate: usize, version: Version) {
        // The last attempt that could have succeeded is made within the last tenth of what is left.
        let life = version.not_after - version.not_before;
        let is_hopeless = self.broken[certificate].is_some_and(|(from, to)| {
            from < version.not_after && to > version.not_after - life / 30
        });
        if is_hopeless {
            self.report.hopeless += 1;
        } else {
            let row = self.store.row(certificate);
            let what = format!(
                "{:?} ended at {}: {row:?}",
                row.identifiers, version.not_after
            );
            self.report.expired.push(what);
        }
    }

    /// Takes down what has ended in service and was not renewed since.
    pub(crate) fn close(&mut self) {
        let rows = self.store.rows().iter().enumerate();
        let ended = rows.filter_map(|(id, row)| Some((id, row.version?)));
        let ended: Vec<_> = ended
            .filter(|(_, version)| version.not_after < self.now)
            .collect();
        for (certificate, version) in ended {
            self.expired(certificate, version);
        }
    }

    /// Lets time pass until `end`.
    pub(crate) fn run(&mut self, end: Moment) {
        self.plan_look();
        while let Some(Reverse(next)) = self.events.peek()
            && next.at <= end
        {
            let Some(Reverse(event)) = self.events.pop() else {
                break;
            };
            (self.now, self.date) = (event.at, date(event.at));
            self.happen(event.what);
            self.plan_look();
        }
        self.now = end;
    }

    /// Sends an order on its way.
    pub(crate) fn send(&mut self, task: Task) {
        let delay = self.random.between(50, 2 * SECOND);
        self.plan(self.now + delay, What::Arrive(task));
    }

    /// Sends an answer on its way.
    pub(crate) fn answer(&mut self, task: Task, answer: Answer) {
        // Nobody is there to refuse a connection at once.
        let slowest = match answer {
            Answer::Unreachable => 20 * SECOND,
            _ => 2 * SECOND,
        };
        let delay = self.random.between(50, slowest);
        self.plan(self.now + delay, What::Answer(task, answer));
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Look => self.look(),
            What::Arrive(task) => self.arrive(task),
            What::Answer(task, answer) => {
                let node = &mut self.nodes[task.node];
                // Whoever asked is dead.
                if node.life == task.life {
                    node.in_flight -= 1;
                    self.answered(task, answer);
                }
            }
            What::Die(node) => {
                let directories = self.directories.len();
                self.nodes[node].die(directories);
                self.report.deaths.push(self.now);
                self.plan(self.now + DEATH, What::Revive(node));
                if let Some(deaths) = self.deaths {
                    let next = self.now - self.now % deaths.every + deaths.every;
                    let next = next + self.random.between(0, deaths.every - DEATH);
                    self.plan(next, What::Die((node + 1) % self.nodes.len()));
                }
            }
            What::Revive(node) => self.nodes[node].is_alive = true,
            What::Sweep => {
                self.store.sweep(self.date);
                for directory in &mut self.directories {
                    directory.sweep(self.now);
                }
                self.plan(self.now + DAY, What::Sweep);
            }
        }
    }

    /// All nodes claim what is due, in an order that changes.
    fn look(&mut self) {
        if self.look_at != Some(self.now) {
            return;
        }
        (self.look_at, self.looked_at) = (None, self.now);
        let count = self.nodes.len();
        let first = usize::try_from(self.random.between(0, 1000)).expect("small") % count;
        for place in 0..count {
            let node = (first + place) % count;
            let limit = self.nodes[node].room(self.directories.len()).min(BATCH);
            if limit == 0 {
                continue;
            }
            let until = self.now + LEASE;
            let claimed = self.store.claim_due(self.now, until, limit);
            self.report.claims += claimed.len() as u64;
            for certificate in claimed {
                self.attempt(node, certificate, until);
            }
        }
    }

    fn plan_look(&mut self) {
        let Some(due) = self.store.first_due() else {
            return;
        };
        let at = due.max(self.looked_at + LOOK).max(self.now);
        if self.look_at.is_none_or(|planned| at < planned) {
            self.look_at = Some(at);
            self.plan(at, What::Look);
        }
    }

    fn plan(&mut self, at: Moment, what: What) {
        self.last_event += 1;
        self.events.push(Reverse(Event {
            at,
            number: self.last_event,
            what,
        }));
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Event {}
