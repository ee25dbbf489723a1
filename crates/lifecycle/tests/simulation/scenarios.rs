//! What is played: who asks for which certificates when, and what goes wrong.

use std::collections::HashMap;
use std::fmt::Write as _;

use lifecycle::schedule::registered_domain;

use crate::clock::{DAY, HOUR, Moment};
use crate::directory::{Directory, Fault, Nature, Recall, Seen, Spell};
use crate::random::Random;
use crate::store::{Row, Version};
use crate::world::{Deaths, World};

/// How long the versions of a certificate live.
const LONG: Moment = 47 * DAY;
const SHORT: Moment = 6 * DAY;
/// Accounts of a platform.
const ACCOUNTS: usize = 60;
const MONTH: Moment = 365 * DAY / 12;

/// A year with three directories, of which each has a fault for some time, and three nodes, of which
/// one dies each month. A platform moves in during the first month. Nine of ten versions live for 47
/// days, the others for 6.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Year {
    pub(crate) certificates: usize,
    pub(crate) length: Moment,
}

/// All names at once at a directory with the limits of Let's Encrypt, while certificates from
/// elsewhere are due for renewal there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Import {
    pub(crate) names: usize,
    pub(crate) renewals: usize,
}

/// A directory that pulls the windows of all certificates to a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recalled {
    pub(crate) certificates: usize,
    pub(crate) window: Moment,
}

impl Year {
    pub(crate) fn run(&self, seed: u64) -> World {
        let spell = |fault, day, days| Spell {
            fault,
            from: day * DAY,
            to: (day + days) * DAY,
        };
        let directories = [
            // With renewal information, as Let's Encrypt; the others without.
            ("one", true, vec![spell(Fault::Down, 100, 2)]),
            ("two", false, vec![spell(Fault::Limited, 180, 7)]),
            ("three", false, vec![spell(Fault::Slow, 260, 7)]),
        ];
        let directories = directories.map(|(name, has_windows, spells)| {
            Directory::new(Nature {
                has_windows,
                look_every: 12 * HOUR,
                spells,
                ..usual(name)
            })
        });
        let mut world = World::new(seed, directories.into(), 3, Some(Deaths { every: MONTH }));
        world.takes_looks_together = true;
        let (mut random, mut domains) = (Random::new(seed), Domains::default());
        for number in 0..self.certificates {
            let is_short = number % 10 == 9;
            let requested_at = random.between(0, MONTH);
            let broken = random.happens(50).then(|| {
                let from = random.between(0, self.length);
                (from, from + random.between(HOUR, 60 * DAY))
            });
            world.add(
                Row {
                    preferred: number % 3,
                    life: if is_short { SHORT } else { LONG },
                    ..row(&mut domains, number, name(number), requested_at)
                },
                broken,
            );
        }
        world.run(self.length);
        world.close();
        world
    }
}

impl Import {
    pub(crate) fn run(&self, seed: u64) -> World {
        let directory = Directory::new(usual("one"));
        let mut world = World::new(seed, vec![directory], 3, Some(Deaths { every: 5 * DAY }));
        let (mut random, mut domains) = (Random::new(seed), Domains::default());
        for number in 0..self.names {
            let requested = row(&mut domains, number, format!("import{number}.test"), 0);
            // All of them are one account's.
            let account = "importer".to_owned();
            world.add(
                Row {
                    account,
                    ..requested
                },
                None,
            );
        }
        for number in 0..self.renewals {
            let renew_at = random.between(5 * DAY, 6 * DAY);
            let renewal = row(&mut domains, number, format!("renewal{number}.test"), 0);
            world.add(
                Row {
                    ..adopted(renewal, renew_at, &mut random)
                },
                None,
            );
        }
        world.run(45 * DAY);
        world.close();
        world
    }
}

impl Recalled {
    /// When the windows are pulled.
    pub(crate) fn at(&self) -> Moment {
        2 * DAY
    }

    pub(crate) fn run(&self, seed: u64) -> World {
        let directory = Directory::new(Nature {
            has_windows: true,
            look_every: 6 * HOUR,
            recall: Some(Recall {
                at: self.at(),
                length: self.window,
                certificates: self.certificates,
            }),
            ..usual("one")
        });
        let mut world = World::new(seed, vec![directory], 3, Some(Deaths { every: DAY }));
        let (mut random, mut domains) = (Random::new(seed), Domains::default());
        for number in 0..self.certificates {
            let renew_at = random.between(10 * DAY, 30 * DAY);
            let recalled = row(&mut domains, number, name(number), 0);
            let looked_at = random.between(0, 6 * HOUR);
            let adopted = adopted(recalled, renew_at, &mut random);
            let next_action_at = Some(looked_at);
            world.add(
                Row {
                    next_action_at,
                    ..adopted
                },
                None,
            );
        }
        world.run(9 * DAY);
        world.close();
        world
    }
}

/// Numbers for the registered domains, in the order of their appearance.
#[derive(Default)]
struct Domains(HashMap<String, usize>);

impl Domains {
    fn number(&mut self, name: &str) -> usize {
        let next = self.0.len();
        *self.0.entry(registered_domain(name)).or_insert(next)
    }
}

/// What happened, in words.
pub(crate) fn summary(world: &World, length: Moment) -> String {
    let report = &world.report;
    let mut text = format!(
        "{} certificates, {} first versions, {} renewals, {} superseded, {} hopeless, {} given up, \
         {} failures, {} claims, {} deaths",
        world.store.rows().len(),
        report.issued,
        report.renewed,
        report.superseded,
        report.hopeless,
        report.given_up.len(),
        report.failures,
        report.claims,
        report.deaths.len(),
    );
    for directory in &world.directories {
        let seen = &directory.seen;
        let _ = write!(
            text,
            "\n{}: {} orders placed, {} issued, {} lost answers, {} refused, {} violations, {} doubled",
            directory.nature.name,
            seen.placed,
            seen.issued,
            seen.lost,
            seen.refused,
            seen.violations.len(),
            seen.doubled.len(),
        );
    }
    let orders = per_hour(world, |seen| &seen.orders);
    let total: u32 = orders.iter().sum();
    let hours = u32::try_from(length / HOUR).expect("hours");
    let (hour, peak) = orders
        .iter()
        .enumerate()
        .max_by_key(|(_, count)| **count)
        .unwrap_or((0, &0));
    let _ = write!(
        text,
        "\norders an hour: {:.1} on average, {peak} at most, in hour {hour}",
        f64::from(total) / f64::from(hours)
    );
    text
}

/// What all directories together have seen in each hour.
pub(crate) fn per_hour(world: &World, of: impl Fn(&Seen) -> &Vec<u32>) -> Vec<u32> {
    let mut hours = Vec::new();
    for directory in &world.directories {
        let seen = of(&directory.seen);
        if hours.len() < seen.len() {
            hours.resize(seen.len(), 0);
        }
        for (sum, count) in hours.iter_mut().zip(seen) {
            *sum += count;
        }
    }
    hours
}

/// Loses one answer in 2,000, and fails one validation in 100 without reason.
fn usual(name: &'static str) -> Nature {
    Nature {
        name,
        lost_answers: 5,
        flakes: 100,
        ..Nature::default()
    }
}

/// Most names have a domain of their own; some share one with twenty, a few with a hundred others.
fn name(number: usize) -> String {
    match number % 20 {
        0..=2 => format!("host{number}.customer{}.co.uk", number / 400),
        3 => format!("host{number}.platform{}.net", number / 2000),
        _ => format!("www.shop{number}.com"),
    }
}

fn row(domains: &mut Domains, number: usize, name: String, requested_at: Moment) -> Row {
    Row {
        domain: domains.number(&name),
        identifiers: vec![name],
        account: format!("account{}", number % ACCOUNTS),
        preferred: 0,
        life: LONG,
        requested_at,
        attempt: 0,
        is_given_up: false,
        next_action_at: Some(requested_at),
        renew_at: 0,
        version: None,
        order: None,
    }
}

/// With a version of the first directory that was obtained before the run.
fn adopted(row: Row, renew_at: Moment, random: &mut Random) -> Row {
    let not_after = renew_at + row.life / 3;
    let not_before = not_after - row.life;
    Row {
        renew_at,
        next_action_at: Some(renew_at),
        version: Some(Version {
            number: random.draw(),
            directory: 0,
            not_before,
            not_after,
            is_recalled: false,
        }),
        ..row
    }
}
