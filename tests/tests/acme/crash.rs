//! An order survives the end of the program, however it ends: the next start finishes it.

use std::time::Duration;

use serde_json::Value;
use testbed::{AcmeSite, eventually};

/// The server is killed once in each.
const ROUNDS: usize = 10;
/// A killed node's work is due again when its lease is over.
const DEADLINE: Duration = Duration::from_secs(180);

fn name_of(round: usize) -> String {
    format!("r{round}.example.com")
}

#[test]
fn orders_are_finished_after_kills_at_every_step_and_none_is_doubled() {
    let mut site = AcmeSite::options()
        .pebble(|pebble| {
            let pebble = pebble.env("PEBBLE_WFE_NONCEREJECT", "0");
            pebble.env("PEBBLE_AUTHZREUSE", "0")
        })
        .start();
    for round in 0..ROUNDS {
        let before = site.pebble.requests();
        site.serve(&format!("s{round}"), &[&format!("{}.", name_of(round))]);
        // One request further into the order each time.
        eventually(DEADLINE, "the directory has heard of the order", || {
            (site.pebble.requests() > before + round).then_some(())
        });
        site.chancery.restart();
    }
    for round in 0..ROUNDS {
        let (service, name) = (format!("s{round}"), name_of(round));
        eventually(DEADLINE, &format!("{name} is valid"), || {
            let certificate = site.certificate(&service, &name);
            (certificate["state"] == "valid").then_some(())
        });
        site.expect_served(&name);
    }
    // Another check of a name is only for one that the kill let fail.
    let names = (0..ROUNDS).map(name_of);
    let checks: usize = names.map(|name| site.pebble.validations_of(&name)).sum();
    assert_eq!(checks, ROUNDS + site.pebble.failed_validations());
    // Another order than the one that was checked is only for a name whose order was placed in the
    // very moment of the kill, so that this server was not told where it is.
    let orders = site.pebble.orders();
    assert!(
        (checks..=checks + ROUNDS).contains(&orders),
        "{orders} orders, {checks} checks"
    );
    assert_eq!(site.pebble.certificates(), ROUNDS);
    let all = site.api().call("GET", "/v1/certificates", &Value::Null);
    assert_eq!(all.len(), ROUNDS);
}
