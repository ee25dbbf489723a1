//! Looking for events.

use store::{Event, EventFilter, EventId, NewEvent, Scope, Store};
use uuid::Uuid;

use crate::support::{Database, account, event, moment};

on_both_databases!(
    events_are_found_newest_first_page_by_page,
    events_are_found_by_kind_object_and_moment,
    an_account_finds_its_own_events_only,
    a_search_comes_to_an_end_in_a_long_feed,
);

async fn search(store: &Store, scope: Scope, filter: &EventFilter) -> Vec<String> {
    let mut found: Vec<Event> = Vec::new();
    let mut from = None;
    loop {
        let page = store.search_events(scope, filter, from, 2).await.unwrap();
        assert!(page.events.len() <= 2);
        found.extend(page.events);
        from = page.next;
        if from.is_none() {
            return found.into_iter().map(|event| event.kind).collect();
        }
    }
}

async fn events_are_found_newest_first_page_by_page(database: &Database) {
    let store = database.open().await;
    let all = EventFilter::default();
    assert_eq!(search(&store, Scope::Everything, &all).await, [""; 0]);
    for kind in ["a", "b", "c", "d", "e"] {
        store.add_event(event(None, kind)).await.unwrap();
    }
    let found = search(&store, Scope::Everything, &all).await;
    assert_eq!(found, ["e", "d", "c", "b", "a"]);
}

async fn events_are_found_by_kind_object_and_moment(database: &Database) {
    let store = database.open().await;
    let object = Uuid::new_v4();
    for (seconds, kind, object) in [
        (1, "thing.made", Some(object)),
        (2, "thing.lost", None),
        (3, "thing", None),
        (4, "thingy.made", Some(object)),
        (5, "thing.made.up", None),
    ] {
        let told = NewEvent {
            at: moment(seconds),
            object,
            ..event(None, kind)
        };
        store.add_event(told).await.unwrap();
    }
    let kind = |kind: &str| EventFilter {
        kind: Some(kind.to_owned()),
        ..EventFilter::default()
    };
    let of_object = EventFilter {
        object: Some(object),
        ..EventFilter::default()
    };
    let late = EventFilter {
        since: Some(moment(3)),
        ..EventFilter::default()
    };
    let late_things = EventFilter {
        since: Some(moment(3)),
        ..kind("thing")
    };
    for (filter, expected) in [
        (
            kind("thing"),
            &["thing.made.up", "thing", "thing.lost", "thing.made"][..],
        ),
        (kind("thing.made"), &["thing.made.up", "thing.made"]),
        (kind("thing."), &[]),
        (kind("%"), &[]),
        (of_object, &["thingy.made", "thing.made"]),
        (late, &["thing.made.up", "thingy.made", "thing"]),
        (late_things, &["thing.made.up", "thing"]),
    ] {
        let found = search(&store, Scope::Everything, &filter).await;
        assert_eq!(found, expected, "{filter:?}");
    }
}

async fn an_account_finds_its_own_events_only(database: &Database) {
    let store = database.open().await;
    let (own, other) = (account(&store).await, account(&store).await);
    for account in [Some(own), Some(other), None] {
        store.add_event(event(account, "a")).await.unwrap();
    }
    let all = EventFilter::default();
    let found = search(&store, Scope::Account(own), &all).await;
    assert_eq!(found, ["a", "account.created"]);
    let kind = EventFilter {
        kind: Some("a".to_owned()),
        ..all
    };
    assert_eq!(search(&store, Scope::Account(own), &kind).await, ["a"]);
}

async fn a_search_comes_to_an_end_in_a_long_feed(database: &Database) {
    let store = database.open().await;
    let told = |at, kind| NewEvent {
        at,
        ..event(None, kind)
    };
    store.add_event(told(moment(0), "rare")).await.unwrap();
    let far = 900_000;
    let move_on = if database.is_sqlite() {
        format!(
            "insert into events (id, at, actor, kind, detail) \
             select {far}, at, actor, 'dull', detail from events"
        )
    } else {
        format!("update event_counter set last = {far}")
    };
    database.tamper(&move_on).await;
    let now = moment(1_000_000);
    store.add_event(told(now, "late")).await.unwrap();
    let rare = EventFilter {
        kind: Some("rare".to_owned()),
        ..EventFilter::default()
    };
    // A page looks through so many places and no more.
    let page = store.search_events(Scope::Everything, &rare, None, 10);
    let page = page.await.unwrap();
    assert_eq!(page.events, []);
    assert_eq!(page.next, Some(EventId::from_number(500_001)));
    assert_eq!(search(&store, Scope::Everything, &rare).await, ["rare"]);
    // What is too old is not looked through.
    let recent = EventFilter {
        since: Some(now),
        ..rare
    };
    let page = store.search_events(Scope::Everything, &recent, None, 10);
    assert_eq!(page.await.unwrap().next, None);
}
