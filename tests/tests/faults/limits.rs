//! The limits of a directory: a bulk of names spreads itself instead of hitting them.

use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::directory::{Limit, Limits};
use testbed::eventually;

use crate::house::{DAY, House, patiently};

const NAMES: usize = 100;
/// Orders a minute.
const ORDERS: u32 = 60;
/// Certificates a day of a stricter directory.
const STRICT: usize = 5;
const DEADLINE: Duration = Duration::from_secs(150);

/// A limit that nobody comes near.
const WIDE: Limit = Limit::new(10_000, 60);

#[test]
fn a_bulk_of_names_keeps_within_the_limits_and_all_are_valid_in_the_end() {
    let house = House::start();
    let directory = house.directory(|options| {
        options.limits = Some(Limits {
            orders: Limit::new(ORDERS, 60),
            per_domain: WIDE,
            duplicates: WIDE,
            failures: WIDE,
        });
        options.enforces_limits = true;
    });
    let limits = json!({ "orders": format!("{ORDERS}/1m"), "domain": null, "share": 100 });
    let members = json!({ "default": true, "limits": limits });
    house.add_issuer("narrow", &directory, &members);
    let left = |house: &House| {
        let shown = house.administer("GET", "/chancery/v1/issuers/narrow", &Value::Null);
        let budgets = shown["budgets"].as_array().expect("a list").clone();
        let orders = budgets.iter().find(|budget| budget["bucket"] == "orders");
        orders
            .unwrap_or_else(|| panic!("no orders in {shown}"))
            .clone()
    };
    let full = left(&house);
    assert_eq!(
        (&full["left"], &full["burst"]),
        (&ORDERS.into(), &ORDERS.into())
    );
    assert_eq!(full["period_seconds"], 60);

    let admin = house.admin();
    for n in 0..NAMES {
        house.request(&admin, &format!("n{n}.example.com"), None);
    }
    let used = eventually(DEADLINE, "half of the limit is used up", || {
        let used = left(&house);
        (used["left"].as_u64()? <= u64::from(ORDERS / 2)).then_some(used)
    });
    let shown = house.chancery.cli(&["issuer", "show", "narrow"]);
    assert_eq!(shown.code(), Some(0), "{shown:?}");
    assert!(
        shown.text().contains(&format!("{ORDERS} in 1m")),
        "{used} {shown:?}"
    );
    // Who waits is told for what.
    eventually(DEADLINE, "some wait for a place", || {
        let waiting = house.certificates().into_iter().filter(|certificate| {
            let reason = certificate["reason"].as_str().unwrap_or_default();
            reason.contains("waiting for narrow: the limit of orders is reached")
        });
        (waiting.count() > 0).then_some(())
    });
    eventually(DEADLINE, "all are valid", || {
        (house.count("valid") == NAMES).then_some(())
    });
    assert_eq!(directory.violations(), 0);
    assert_eq!(directory.orders().values().sum::<usize>(), NAMES);
    assert!(house.chancery.events("certificate.failed").is_empty());
}

#[test]
fn a_directory_that_is_stricter_than_it_was_said_to_be_is_believed() {
    let house = House::start();
    let directory = house.directory(|options| {
        options.limits = Some(Limits {
            orders: WIDE,
            per_domain: Limit::new(STRICT as u32, 24 * 60 * 60),
            duplicates: WIDE,
            failures: WIDE,
        });
    });
    let members = json!({ "default": true });
    house.add_issuer("strict", &directory, &members);
    let admin = house.admin();
    let request = |numbers: Range<usize>| {
        for n in numbers {
            house.request(&admin, &format!("n{n}.example.com"), None);
        }
    };
    request(0..STRICT);
    eventually(DEADLINE, "as many as it allows are valid", || {
        (house.count("valid") == STRICT).then_some(())
    });
    request(STRICT..3 * STRICT);
    eventually(DEADLINE, "the others wait", || {
        let all = house.certificates();
        let waiting = all.iter().filter(|certificate| {
            let reason = certificate["reason"].as_str().unwrap_or_default();
            reason.contains("too many") || reason.contains("waiting for strict")
        });
        (waiting.count() == 2 * STRICT).then_some(())
    });
    // Those that were on their way when it said so, and nothing after that.
    let refused = directory.violations();
    assert!((1..=2 * STRICT as u64).contains(&refused), "{refused}");
    patiently(&house.watch, DAY / 4, "all are valid", || {
        let valid = house.count("valid");
        (valid, valid == 3 * STRICT)
    });
    assert!(directory.violations() <= 2 * refused, "{refused}");
}
