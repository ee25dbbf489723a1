//! A directory that fails does no harm while there is another: that one issues, until the first has
//! recovered.

use serde_json::{Value, json};
use testbed::directory::{Faults, Resource, Trouble};
use testbed::{Directory, eventually};

use crate::house::{HOUR, House, MINUTE, SOON, serial};
use crate::trouble::{CASES, PATIENCES};

/// Whether a directory issued the certificate of this serial number.
fn issued(directory: &Directory, serial: &str) -> bool {
    let certificates = directory.certificates();
    certificates
        .iter()
        .any(|issued| issued.serial.eq_ignore_ascii_case(serial))
}

#[test]
fn another_directory_issues_while_the_first_fails_and_the_first_again_when_it_has_recovered() {
    let house = House::start();
    let admin = house.admin();
    let second = house.directory(|_| ());
    house.add_issuer("second", &second, &json!({ "rank": 1 }));
    let firsts: Vec<Directory> = CASES
        .iter()
        .enumerate()
        .map(|(rank, case)| {
            let first = house.directory(|_| ());
            house.add_issuer(case.name, &first, &json!({ "rank": rank + 2 }));
            first.faults(|faults| (case.faults)(faults, house.watch.now()));
            first
        })
        .collect();
    let name = |case: &str| format!("{case}.example.com");
    let requested: Vec<String> = CASES
        .iter()
        .map(|case| house.request(&admin, &name(case.name), Some(case.name)))
        .collect();

    // Each of the first ones is tried, and as long as its order may still come to something.
    for (case, first) in CASES.iter().zip(&firsts) {
        eventually(SOON, case.name, || {
            (first.requests(case.noticed_at) > 0).then_some(())
        });
    }
    for patience in PATIENCES {
        house.watch.forward(patience);
        let patient = CASES.iter().zip(&requested);
        for (case, uuid) in patient.filter(|(case, _)| case.patience == patience) {
            let certificate = house.wait_until_valid(&admin, uuid);
            assert!(issued(&second, &serial(&certificate)), "{}", case.name);
            assert_eq!(certificate["reason"], Value::Null, "{certificate}");
        }
    }
    for case in &CASES {
        assert_eq!(second.orders_of(&name(case.name)), 1, "{}", case.name);
    }

    // Other names and the same are ordered at the first again.
    for first in &firsts {
        first.faults(Faults::clear);
    }
    house.watch.forward(12 * HOUR);
    let fresh: Vec<String> = CASES
        .iter()
        .map(|case| house.request(&admin, &format!("new.{}", name(case.name)), Some(case.name)))
        .collect();
    for (uuid, case) in requested.iter().zip(&CASES) {
        house.renew(&admin, uuid);
        let what = format!("{} renews", case.name);
        let first = &firsts[CASES.iter().position(|one| one.name == case.name).unwrap()];
        eventually(SOON, &what, || {
            let certificate = house.certificate(&admin, uuid);
            issued(first, &serial(&certificate)).then_some(())
        });
    }
    for (uuid, (case, first)) in fresh.iter().zip(CASES.iter().zip(&firsts)) {
        let certificate = house.wait_until_valid(&admin, uuid);
        assert!(issued(first, &serial(&certificate)), "{}", case.name);
    }
    assert_eq!(second.certificates().len(), CASES.len());
}

#[test]
fn a_directory_that_is_away_is_passed_over_and_used_again_when_it_is_back() {
    let house = House::start();
    let admin = house.admin();
    let (first, second) = (house.directory(|_| ()), house.directory(|_| ()));
    house.add_issuer("first", &first, &json!({ "default": true }));
    house.add_issuer("second", &second, &json!({}));
    first.down();
    for n in 0..8 {
        let uuid = house.request(&admin, &format!("n{n}.example.com"), None);
        let certificate = house.wait_until_valid(&admin, &uuid);
        assert!(issued(&second, &serial(&certificate)), "{certificate}");
    }
    first.up();
    house.watch.forward(12 * HOUR);
    let uuid = house.request(&admin, "back.example.com", None);
    let certificate = house.wait_until_valid(&admin, &uuid);
    assert!(issued(&first, &serial(&certificate)), "{certificate}");
}

#[test]
fn nine_refused_nonces_of_ten_cost_requests_but_no_second_order() {
    let house = House::start();
    let admin = house.admin();
    let directory = house.directory(|_| ());
    house.add_issuer("only", &directory, &json!({ "default": true }));
    directory.faults(|faults| faults.bad_nonces = 90);
    for n in 0..3 {
        let name = format!("n{n}.example.com");
        let uuid = house.request(&admin, &name, None);
        house.wait_until_valid(&admin, &uuid);
        assert_eq!(directory.orders_of(&name), 1);
    }
}

#[test]
fn lost_answers_cost_no_second_order_before_the_first_is_surely_lost() {
    let house = House::start();
    let admin = house.admin();
    let directory = house.directory(|_| ());
    house.add_issuer("only", &directory, &json!({ "default": true }));
    for (name, resource, orders) in [
        ("finalize.example.com", Resource::Finalize, 1),
        ("challenge.example.com", Resource::Challenge, 1),
        ("order.example.com", Resource::NewOrder, 2),
    ] {
        directory.faults(|faults| faults.at(resource, 100, Trouble::Lost));
        let before = directory.requests(resource);
        let uuid = house.request(&admin, name, None);
        eventually(SOON, "an answer is lost", || {
            (directory.requests(resource) > before).then_some(())
        });
        eventually(SOON, "that is noticed", || {
            let certificate = house.certificate(&admin, &uuid);
            certificate["reason"].is_string().then_some(())
        });
        directory.faults(Faults::clear);
        house.watch.forward(15 * MINUTE);
        house.wait_until_valid(&admin, &uuid);
        let ordered = directory.ordered(name);
        assert_eq!(ordered.len(), orders, "{name}");
        assert!(ordered[orders - 1] - ordered[0] >= MINUTE * u32::from(orders > 1));
    }
}
