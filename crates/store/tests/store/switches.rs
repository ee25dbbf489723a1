//! Switches.

use std::collections::BTreeMap;

use store::{Error, SWITCH_NAME_LIMIT};

use crate::support::{Database, event};

on_both_databases!(
    switches_are_set_and_taken_back_for_all_nodes,
    a_change_of_switches_is_made_as_a_whole,
);

async fn switches_are_set_and_taken_back_for_all_nodes(database: &Database) {
    let (store, elsewhere) = (database.open().await, database.open().await);
    assert!(store.switches().await.unwrap().is_empty());
    for (changes, expected) in [
        (
            vec![("a", Some(true)), ("b", Some(false))],
            vec![("a", true), ("b", false)],
        ),
        (
            vec![("a", Some(false)), ("b", None), ("c", None)],
            vec![("a", false)],
        ),
        (vec![("a", None)], vec![]),
    ] {
        let set = store.set_switches(&changes, event(None, "switches.set"));
        set.await.unwrap();
        let expected = expected.into_iter();
        let expected = expected.map(|(name, value): (&str, bool)| (name.to_owned(), value));
        let expected: BTreeMap<String, bool> = expected.collect();
        assert_eq!(elsewhere.switches().await.unwrap(), expected);
    }
    assert_eq!(database.count("events").await, 3);
}

async fn a_change_of_switches_is_made_as_a_whole(database: &Database) {
    let store = database.open().await;
    let long = "x".repeat(SWITCH_NAME_LIMIT + 1);
    let changes = [("a", Some(true)), (long.as_str(), Some(true))];
    let refused = store.set_switches(&changes, event(None, "switches.set"));
    assert!(matches!(refused.await, Err(Error::TooLong { .. })));
    assert!(store.switches().await.unwrap().is_empty());
    assert_eq!(database.count("events").await, 0);
}
