//! The limits of a directory, as its clients get to know them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use acme::client::{ChallengeKind, Client, Failure};
use testbed::directory::{Clock, Limits, Options};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::support::{house, names, obtain, prove, refusal};

/// Let's Encrypt's limits, and a time that is turned by hand.
fn limited() -> (Options, Arc<Mutex<OffsetDateTime>>) {
    let now = Arc::new(Mutex::new(datetime!(2026-11-22 12:00 UTC)));
    let told = Arc::clone(&now);
    let options = Options {
        limits: Some(Limits::LETS_ENCRYPT),
        clock: Clock::new(move || *told.lock().unwrap()),
        ..Options::default()
    };
    (options, now)
}

#[tokio::test]
async fn the_sixth_certificate_for_the_same_names_waits_a_day_and_a_half() {
    let (options, now) = limited();
    let (directory, client, login) = house(options).await;
    for _ in 0..5 {
        obtain(&client, &login, &names(&["a.test"])).await.unwrap();
    }
    let outcome = client.new_order(&login, &names(&["a.test"])).await;
    let Err(Failure::Refused {
        status: 429,
        retry_after: Some(pause),
        ..
    }) = outcome
    else {
        panic!("{outcome:?}");
    };
    let drop = Duration::from_secs(7 * 24 * 60 * 60) / 5;
    assert!(
        pause >= drop && pause < drop + Duration::from_secs(2),
        "{pause:?}"
    );
    assert_eq!(
        (directory.violations(), directory.orders_of("a.test")),
        (1, 5)
    );

    // Others may go on, and so may what the directory asked for.
    obtain(&client, &login, &names(&["b.test"])).await.unwrap();
    let mut renewal = names(&["a.test"]);
    renewal.replaces = Some(directory.certificates().remove(0).identifier);
    obtain(&client, &login, &renewal).await.unwrap();

    *now.lock().unwrap() += pause;
    obtain(&client, &login, &names(&["a.test"])).await.unwrap();
    assert_eq!(directory.violations(), 1);
}

#[tokio::test]
async fn five_failed_validations_of_a_name_are_enough_for_a_while() {
    let (options, now) = limited();
    let (directory, client, login) = house(options).await;
    directory.faults(|faults| faults.failed_validations = 100);
    for _ in 0..5 {
        let order = client.new_order(&login, &names(&["a.test"])).await.unwrap();
        prove(&client, &login, &order, &ChallengeKind::Http01).await;
    }
    let outcome = client.new_order(&login, &names(&["a.test"])).await;
    assert_eq!(refusal(outcome), "rateLimited");
    *now.lock().unwrap() += Duration::from_secs(12 * 60);
    client.new_order(&login, &names(&["a.test"])).await.unwrap();
}

#[tokio::test]
async fn a_directory_that_only_counts_refuses_nothing() {
    let (mut options, _) = limited();
    options.enforces_limits = false;
    let (directory, client, login) = house(options).await;
    for _ in 0..310 {
        client.new_order(&login, &names(&["a.test"])).await.unwrap();
    }
    assert_eq!(directory.violations(), 10);
    assert_eq!(directory.orders_of("a.test"), 310);
}
