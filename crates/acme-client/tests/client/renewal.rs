//! Renewal information (RFC 9773).

use std::time::Duration;

use acme::client::{Client, Failure};
use testbed::directory::{Options, Resource, Trouble};
use time::macros::datetime;

use crate::support::{house, names, obtain, refusal};

#[tokio::test]
async fn rfc9773_section_4_the_window_and_when_to_ask_again_are_read() {
    let (directory, client, login) = house(Options::default()).await;
    obtain(&client, &login, &names(&["a.test"])).await.unwrap();
    let issued = directory.certificates().remove(0);
    let info = client
        .renewal_info(&login.endpoint, &issued.identifier)
        .await;
    let info = info.unwrap();
    assert!(issued.not_before < info.start && info.start < info.end);
    assert!(info.end < issued.not_after);
    assert_eq!(info.retry_after, Some(Duration::from_secs(6 * 60 * 60)));
    assert!(info.explanation.unwrap().ends_with("/renewal"));

    let (start, end) = (
        datetime!(2026-11-22 12:00 UTC),
        datetime!(2026-11-23 12:00 UTC),
    );
    directory.pull_windows(start, end);
    let info = client
        .renewal_info(&login.endpoint, &issued.identifier)
        .await;
    let info = info.unwrap();
    assert_eq!((info.start, info.end), (start, end));
}

#[tokio::test]
async fn rfc9773_section_4_2_a_window_that_is_none_is_as_good_as_no_answer() {
    let (directory, client, login) = house(Options::default()).await;
    let window = |start: &str, end: &str| {
        format!(r#"{{"suggestedWindow":{{"start":"{start}","end":"{end}"}}}}"#)
    };
    for body in [
        window("2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z"),
        window("2026-11-23T12:00:00Z", "2026-11-22T12:00:00Z"),
        window("soon", "2026-11-22T12:00:00Z"),
        "{}".to_owned(),
        "[]".to_owned(),
        r#"{"suggestedWindow":7}"#.to_owned(),
    ] {
        directory.faults(|faults| {
            faults.clear();
            faults.at(Resource::RenewalInfo, 100, Trouble::Body(body.clone()));
        });
        let outcome = client.renewal_info(&login.endpoint, "AA.BB").await;
        assert!(
            matches!(outcome, Err(Failure::Garbled { .. })),
            "{body}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn an_identifier_that_is_none_does_not_change_the_path() {
    let (directory, client, login) = house(Options::default()).await;
    for identifier in ["../new-order", "a/b", "a?b", "a#b", "a b", "ä"] {
        let outcome = client.renewal_info(&login.endpoint, identifier).await;
        assert_eq!(refusal(outcome), "malformed", "{identifier}");
    }
    assert_eq!(directory.requests(Resource::RenewalInfo), 0);
}

#[tokio::test]
async fn rfc9773_section_5_an_order_says_what_it_replaces_and_once_only() {
    let (directory, client, login) = house(Options::default()).await;
    obtain(&client, &login, &names(&["a.test"])).await.unwrap();
    let first = directory.certificates().remove(0);
    let mut order = names(&["a.test"]);
    order.replaces = Some(first.identifier.clone());
    obtain(&client, &login, &order).await.unwrap();
    let second = directory.certificates().remove(1);
    assert_eq!(second.replaces, Some(first.identifier));
    let again = client.new_order(&login, &order).await;
    assert_eq!(refusal(again), "alreadyReplaced");
    order.replaces = Some("not.a.name".to_owned());
    assert_eq!(refusal(client.new_order(&login, &order).await), "malformed");
}

#[tokio::test]
async fn what_a_directory_without_renewal_information_replaces_is_not_said() {
    let options = Options {
        renewal_info: None,
        ..Options::default()
    };
    let (directory, client, login) = house(options).await;
    let mut order = names(&["a.test"]);
    order.replaces = Some("AA.BB".to_owned());
    obtain(&client, &login, &order).await.unwrap();
    assert_eq!(directory.certificates().remove(0).replaces, None);
    let outcome = client.renewal_info(&login.endpoint, "AA.BB").await;
    assert!(
        matches!(outcome, Err(Failure::Garbled { .. })),
        "{outcome:?}"
    );
}
