//! A year in the life of 100,000 certificates, in virtual time.
//!
//! The store, the nodes and the directories are models; what is decided about time, limits and
//! directories is decided by `lifecycle::schedule`, the functions that the house itself calls. The
//! directories enforce their limits themselves and count what goes over them.
//!
//! The same seed gives the same run. `CHANCERY_SIMULATION_SEED` chooses another one, and
//! `CHANCERY_SIMULATION_SIZE` another number of certificates; the seed is part of every failure.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod clock;
mod directory;
mod node;
mod picture;
mod random;
mod scenarios;
mod store;
mod world;

use std::path::PathBuf;

use clock::{DAY, HOUR, MINUTE};
use scenarios::{Import, Recalled, Year};

fn number(variable: &str, usual: u64) -> u64 {
    match std::env::var(variable) {
        Ok(value) => value.parse().expect("a number"),
        Err(_) => usual,
    }
}

fn seed() -> u64 {
    number("CHANCERY_SIMULATION_SEED", 20_260_101)
}

fn size(usual: u64) -> usize {
    usize::try_from(number("CHANCERY_SIMULATION_SIZE", usual)).expect("a size")
}

/// Where builds go.
fn target() -> PathBuf {
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    scratch.parent().map_or(scratch.clone(), PathBuf::from)
}

#[test]
fn in_a_year_of_faults_nothing_expires_no_limit_is_passed_and_the_work_is_spread() {
    let (seed, certificates) = (seed(), size(100_000));
    let year = Year {
        certificates,
        length: 365 * DAY,
    };
    let world = year.run(seed);
    let picture = target().join("simulation.svg");
    picture::draw(&world, year.length, &picture);
    let report = &world.report;
    println!("{}", scenarios::summary(&world, year.length));
    println!("picture: {}", picture.display());

    assert_eq!(report.expired, Vec::<String>::new(), "seed {seed}");
    for directory in &world.directories {
        let (name, seen) = (directory.nature.name, &directory.seen);
        assert_eq!(seen.violations, Vec::<String>::new(), "{name}, seed {seed}");
        assert_eq!(seen.doubled, Vec::<String>::new(), "{name}, seed {seed}");
    }
    // The mean is that of the whole year, with the month in which the platform moves in and there is
    // less to do. Of few certificates, an hour says nothing.
    for (what, hours) in [
        ("orders", scenarios::per_hour(&world, |seen| &seen.orders)),
        (
            "requests",
            scenarios::per_hour(&world, |seen| &seen.requests),
        ),
    ] {
        let total: u64 = hours.iter().copied().map(u64::from).sum();
        let peak = hours.iter().copied().max().map_or(0, u64::from);
        let length = u64::try_from(year.length / HOUR).expect("hours");
        assert!(
            peak * length <= 3 * total || certificates < 50_000,
            "{peak} {what} in an hour and {} on average, seed {seed}",
            total / length
        );
    }
    // One order in an hour finds out whether a closed directory is open again, and what was under way.
    let limited = &world.directories[1];
    assert!(
        limited.seen.refused < 7 * 24 * 5,
        "{}, seed {seed}",
        limited.seen.refused
    );
    let hopeless: Vec<_> = report
        .given_up
        .iter()
        .filter(|id| !world.is_broken(**id))
        .collect();
    assert_eq!(hopeless, Vec::<&usize>::new(), "seed {seed}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let year = Year {
        certificates: 1000,
        length: 60 * DAY,
    };
    let digest = |seed| year.run(seed).report.digest;
    assert_eq!(digest(seed()), digest(seed()), "seed {}", seed());
    assert_ne!(digest(seed()), digest(seed() + 1));
}

#[test]
fn an_import_of_50_000_names_spreads_itself_and_renewals_pass_it() {
    let (seed, names) = (seed(), size(50_000));
    let import = Import {
        names,
        renewals: names / 50,
    };
    let world = import.run(seed);
    println!("{}", scenarios::summary(&world, world.now));
    let (report, seen) = (&world.report, &world.directories[0].seen);
    assert_eq!(seen.violations, Vec::<String>::new(), "seed {seed}");
    assert_eq!(seen.doubled, Vec::<String>::new(), "seed {seed}");
    assert_eq!(report.expired, Vec::<String>::new(), "seed {seed}");
    assert_eq!(report.issued, names as u64, "seed {seed}");
    // As fast as 300 in three hours allow, but for a tenth.
    let least = 36 * clock::SECOND * i64::try_from(names + import.renewals).expect("a size");
    assert!(
        report.last_first_at < least + least / 10 + 3 * HOUR,
        "it took {} hours, seed {seed}",
        report.last_first_at / HOUR
    );
    // A look when it is asked for, one for its place, one for the answer, and few for nothing.
    let looks = report.claims / (names as u64);
    assert!(looks <= 6, "{looks} looks at each name, seed {seed}");
}

#[test]
fn a_mass_revocation_is_followed_within_the_window_and_the_limits() {
    let (seed, certificates) = (seed(), size(20_000));
    let recalled = Recalled {
        certificates,
        window: 24 * HOUR,
    };
    let world = recalled.run(seed);
    println!("{}", scenarios::summary(&world, world.now));
    let (report, seen) = (&world.report, &world.directories[0].seen);
    assert_eq!(seen.violations, Vec::<String>::new(), "seed {seed}");
    assert_eq!(seen.doubled, Vec::<String>::new(), "seed {seed}");
    assert_eq!(report.expired, Vec::<String>::new(), "seed {seed}");
    assert_eq!(report.superseded, certificates as u64, "seed {seed}");
    let end = recalled.at() + recalled.window;
    assert!(
        report.last_superseded_at <= end,
        "{} minutes late, seed {seed}",
        (report.last_superseded_at - end) / MINUTE
    );
}
