//! Changing the zones of a real server.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::sync::Arc;

use dns::{Account, Credentials, ProviderError, Providers, Records as _, TextRecord, check};
use egress::{EgressPolicy, Fetcher, ResolverSettings, SystemResolver};
use testbed::{Knot, Zone};

const ZONE: &str = "example.com";
const NAME: &str = "_acme-challenge.example.com";

fn knot() -> Knot {
    Knot::start(&[
        Zone::new(ZONE).updatable(),
        Zone::new("closed.test"),
        Zone::new("broken.test").updatable().broken(),
    ])
}

fn providers(knot: &Knot) -> Providers {
    let settings = ResolverSettings {
        server: Some(knot.address().to_string()),
        ..ResolverSettings::default()
    };
    let resolver = Arc::new(SystemResolver::new(&settings).unwrap());
    Providers::new(Arc::new(Fetcher::new(resolver.clone())), resolver)
}

/// The account that the server's key opens, with some fields of it changed.
fn account(knot: &Knot, changes: &[(&str, &str)]) -> Account {
    let given = knot.credentials();
    let given = given.as_object().unwrap().iter();
    let given = given.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
    let changes = changes.iter();
    let changes = changes.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Account {
        kind: "rfc2136".to_owned(),
        credentials: given.chain(changes).collect(),
        policy: EgressPolicy::BACKENDS,
        may_run_programs: false,
    }
}

fn record(zone: &str, name: &str, value: &str) -> TextRecord {
    TextRecord {
        zone: zone.to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
        proof: None,
    }
}

fn values(knot: &Knot) -> Vec<String> {
    let texts = knot.texts(ZONE);
    let value = |line: &String| line.split('"').nth(1).unwrap().to_owned();
    let mut values: Vec<String> = texts.iter().map(value).collect();
    values.sort();
    values
}

#[tokio::test]
async fn values_come_and_go_without_minding_each_other() {
    let knot = knot();
    let (providers, account) = (providers(&knot), account(&knot, &[]));
    knot.add(ZONE, &format!("{NAME}. 1 TXT \"not ours\""));
    for value in ["one", "two", "one"] {
        let record = record(ZONE, NAME, value);
        providers.publish(&account, &record).await.unwrap();
    }
    assert_eq!(values(&knot), ["not ours", "one", "two"]);
    for value in ["one", "one", "never there"] {
        let record = record(ZONE, NAME, value);
        providers.withdraw(&account, &record).await.unwrap();
    }
    assert_eq!(values(&knot), ["not ours", "two"]);
    // Names mean the same in any case.
    let record = record("Example.COM", "_ACME-challenge.example.com", "two");
    providers.withdraw(&account, &record).await.unwrap();
    assert_eq!(values(&knot), ["not ours"]);
}

#[tokio::test]
async fn many_at_a_time_all_come_through() {
    let knot = knot();
    let (providers, account) = (Arc::new(providers(&knot)), account(&knot, &[]));
    let mut publishing = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (providers, account) = (providers.clone(), account.clone());
        publishing.spawn(async move {
            let record = record(ZONE, NAME, &format!("value-{number}"));
            providers.publish(&account, &record).await
        });
    }
    while let Some(published) = publishing.join_next().await {
        published.unwrap().unwrap();
    }
    assert_eq!(values(&knot).len(), 20);
}

#[tokio::test]
async fn a_server_is_found_by_its_name() {
    let knot = knot();
    let account = account(&knot, &[("server", "ns.example.com")]);
    let record = record(ZONE, NAME, "one");
    providers(&knot).publish(&account, &record).await.unwrap();
    assert_eq!(values(&knot), ["one"]);
}

#[tokio::test]
async fn a_value_longer_than_a_string_is_published_whole() {
    let knot = knot();
    let (providers, account) = (providers(&knot), account(&knot, &[]));
    let record = record(ZONE, NAME, &"x".repeat(300));
    providers.publish(&account, &record).await.unwrap();
    let texts = knot.texts(ZONE);
    assert!(texts[0].ends_with(&format!("\"{}\" \"{}\"", "x".repeat(255), "x".repeat(45))));
    providers.withdraw(&account, &record).await.unwrap();
    assert!(knot.texts(ZONE).is_empty());
}

/// What is said of credentials, and that no secret is in it.
async fn refusal(knot: &Knot, providers: &Providers, changes: &[(&str, &str)]) -> String {
    let account = account(knot, changes);
    let refused = providers
        .publish(&account, &record(ZONE, NAME, "one"))
        .await;
    assert!(knot.texts(ZONE).is_empty());
    let Err(ProviderError::Credentials { reason }) = refused else {
        panic!("{refused:?}");
    };
    let secret = account.credentials.field("secret").unwrap();
    assert!(!format!("{reason} {account:?}").contains(secret));
    reason
}

#[tokio::test]
async fn what_is_wrong_with_the_key_is_told_apart() {
    let knot = knot();
    let providers = providers(&knot);
    let reason = refusal(&knot, &providers, &[("name", "stranger")]).await;
    assert!(reason.starts_with("BADKEY: "), "{reason}");
    assert!(reason.contains("stranger"), "{reason}");
    let other = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let reason = refusal(&knot, &providers, &[("secret", other)]).await;
    assert!(reason.starts_with("BADSIG: "), "{reason}");
    let reason = refusal(&knot, &providers, &[("algorithm", "hmac-sha512")]).await;
    assert!(reason.starts_with("BADKEY: "), "{reason}");
}

#[tokio::test]
async fn clocks_that_differ_are_named_with_the_difference() {
    let knot = knot();
    let slow = providers(&knot).with_clock(|| 1_000_000_000);
    let reason = refusal(&knot, &slow, &[]).await;
    assert!(reason.starts_with("BADTIME: "), "{reason}");
    let seconds = reason.split(' ').find_map(|word| word.parse::<u64>().ok());
    assert!(
        seconds.is_some_and(|seconds| seconds > 500_000_000),
        "{reason}"
    );
}

#[tokio::test]
async fn a_key_that_may_not_change_a_zone_is_refused_there() {
    let knot = knot();
    let (providers, account) = (providers(&knot), account(&knot, &[]));
    let closed = record("closed.test", "_acme-challenge.closed.test", "one");
    let refused = providers.publish(&account, &closed).await;
    let Err(ProviderError::Credentials { reason } | ProviderError::Refused { reason }) = refused
    else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("let"), "{reason}");
    assert!(knot.texts("closed.test").is_empty());
}

#[tokio::test]
async fn a_zone_that_the_server_does_not_have_is_named() {
    let knot = knot();
    let (providers, account) = (providers(&knot), account(&knot, &[]));
    for (zone, name) in [
        ("else.where", "_acme-challenge.else.where"),
        (ZONE, "_acme-challenge.else.where"),
        (ZONE, "_acme-challenge.notexample.com"),
    ] {
        let refused = providers
            .publish(&account, &record(zone, name, "one"))
            .await;
        let expected = ProviderError::NoZone {
            name: name.to_owned(),
        };
        assert_eq!(refused.unwrap_err(), expected, "{zone}");
    }
    let broken = record("broken.test", "a.broken.test", "one");
    let refused = providers.publish(&account, &broken).await;
    assert!(
        matches!(refused, Err(ProviderError::Unreachable { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_or_may_not_be_asked_is_unreachable() {
    let knot = knot();
    let providers = providers(&knot);
    let port = testbed::free_port().to_string();
    let mut narrow = account(&knot, &[]);
    narrow.policy = EgressPolicy::BACKENDS.for_account(false);
    for (account, why) in [
        (account(&knot, &[("port", &port)]), "cannot be reached"),
        (account(&knot, &[("server", "no.where")]), "does not exist"),
        (narrow, "it is a loopback address"),
    ] {
        let lost = providers
            .publish(&account, &record(ZONE, NAME, "one"))
            .await;
        let Err(ProviderError::Unreachable { reason }) = lost else {
            panic!("{lost:?}");
        };
        assert!(reason.contains(why), "{reason}");
    }
    assert!(knot.texts(ZONE).is_empty());
}

#[tokio::test]
async fn credentials_that_cannot_be_right_are_refused_before_anybody_is_asked() {
    let knot = knot();
    let providers = providers(&knot);
    for (field, value) in [
        ("secret", ""),
        ("secret", "not base64"),
        ("algorithm", "hmac-md5"),
        ("port", "0"),
        ("port", "dns"),
        ("server", " "),
        ("name", ""),
        ("more", "than known"),
    ] {
        let account = account(&knot, &[(field, value)]);
        let error = check("rfc2136", &account.credentials).unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
        let refused = providers
            .publish(&account, &record(ZONE, NAME, "one"))
            .await;
        assert!(
            matches!(refused, Err(ProviderError::Credentials { .. })),
            "{refused:?}"
        );
    }
    for algorithm in ["", "hmac-sha384", "HMAC-SHA512."] {
        let account = account(&knot, &[("algorithm", algorithm)]);
        check("rfc2136", &account.credentials).unwrap();
    }
    let none = Credentials::default();
    assert!(check("rfc2136", &none).is_err() && check("gehirn", &none).is_err());
}

#[tokio::test]
async fn an_answer_without_the_keys_signature_is_not_believed() {
    let knot = knot();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        let (_, client) = socket.recv_from(&mut buffer).await.unwrap();
        // Its number, an answer to an update without error, and empty sections.
        let header = [buffer[0], buffer[1], 0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        socket.send_to(&header, client).await.unwrap();
    });
    let account = account(&knot, &[("port", &port)]);
    let record = record(ZONE, NAME, "one");
    let refused = providers(&knot).publish(&account, &record).await;
    let Err(ProviderError::Refused { reason }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("not signed"), "{reason}");
}
