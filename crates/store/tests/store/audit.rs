//! The chain over the events: what it shows, and what it cannot.

use store::{
    AuditLink, ChainBreak, ChainHead, Error, EventId, Linking, NewEvent, SealError, Store,
    VerifiedStretch,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{Database, event, master_key, moment};

on_both_databases!(
    an_untouched_chain_verifies,
    nothing_is_linked_twice,
    a_changed_event_is_noticed,
    a_removed_event_is_named,
    an_added_event_is_noticed,
    events_in_another_order_are_noticed,
    a_changed_link_is_noticed,
    a_removed_link_is_named,
    a_cut_end_is_noticed_by_whoever_kept_a_head,
    what_is_linked_anew_after_a_cut_has_another_head_and_is_late,
    a_link_cannot_be_made_without_the_master_key,
    a_chain_that_changes_between_two_stretches_is_noticed,
    nodes_that_link_at_the_same_time_make_one_chain,
    a_chain_verifies_while_events_are_written,
    a_long_chain_is_linked_and_verified_in_stretches,
    a_beginning_can_be_taken_away_with_its_events,
);

/// Links all events, each portion of `portions` with links of their own.
async fn chain(store: &Store, portions: &[usize]) {
    let mut number = 0;
    for portion in portions {
        for _ in 0..*portion {
            number += 1;
            let told = NewEvent {
                at: moment(number),
                object: Some(Uuid::from_u128(number.unsigned_abs().into())),
                detail: format!("event {number}"),
                ..event(None, "thing.done")
            };
            store.add_event(told).await.unwrap();
        }
        link(store).await;
    }
}

/// Links all events at some moment soon after them.
async fn link(store: &Store) -> Option<AuditLink> {
    link_at(store, 100).await
}

async fn link_at(store: &Store, seconds: i64) -> Option<AuditLink> {
    loop {
        let head = store.audit_head().await.unwrap();
        match store.link_events(head.as_ref(), moment(seconds)).await {
            Ok(Linking::Linked { is_last: false, .. } | Linking::Overtaken) => {}
            Ok(Linking::Linked { head, .. }) => return Some(head),
            Ok(Linking::Nothing) => return head,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Verifies the whole chain, as one stretch.
async fn verify(store: &Store, expected: Option<&ChainHead>) -> VerifiedStretch {
    let mut whole = store.verify_links(None, expected).await.unwrap();
    while !whole.is_last && whole.broken.is_none() {
        let after = whole.head.as_ref().map(|link| link.head);
        let next = store.verify_links(after.as_ref(), expected).await.unwrap();
        whole = VerifiedStretch {
            links: whole.links + next.links,
            events: whole.events + next.events,
            late: whole.late.or(next.late),
            ..next
        };
    }
    whole
}

/// What is wrong with the chain.
async fn broken(store: &Store) -> ChainBreak {
    verify(store, None).await.broken.expect("it is noticed")
}

fn place(number: u64) -> EventId {
    EventId::from_number(number)
}

async fn an_untouched_chain_verifies(database: &Database) {
    let store = database.open().await;
    let nothing = verify(&store, None).await;
    assert_eq!(
        (nothing.head, nothing.links, nothing.broken),
        (None, 0, None)
    );
    chain(&store, &[2, 1, 3]).await;
    let verified = verify(&store, None).await;
    assert_eq!(verified.broken, None);
    assert_eq!(
        (verified.links, verified.events, verified.late),
        (3, 6, None)
    );
    let head = verified.head.unwrap();
    assert_eq!((head.head.number, head.last_event), (3, place(6)));
    assert_eq!((head.events, head.linked_at), (3, moment(100)));
    assert_eq!(store.audit_head().await.unwrap(), Some(head.clone()));
    store.close().await;

    // After a restart it goes on, and what is not linked yet is no fault.
    let store = database.open().await;
    store.add_event(event(None, "later")).await.unwrap();
    let verified = verify(&store, Some(&head.head)).await;
    assert_eq!((verified.broken, verified.events), (None, 6));
    assert_eq!(verified.newest, Some(place(7)));
    let linked = link(&store).await.unwrap();
    assert_eq!((linked.head.number, linked.last_event), (4, place(7)));
    assert_eq!(verify(&store, Some(&head.head)).await.broken, None);
}

async fn nothing_is_linked_twice(database: &Database) {
    let store = database.open().await;
    assert_eq!(
        store.link_events(None, moment(1)).await.unwrap(),
        Linking::Nothing
    );
    chain(&store, &[2]).await;
    let head = store.audit_head().await.unwrap();
    let again = store.link_events(head.as_ref(), moment(1)).await.unwrap();
    assert_eq!(again, Linking::Nothing);
    let behind = store.link_events(None, moment(1)).await.unwrap();
    assert_eq!(behind, Linking::Overtaken);
    assert_eq!(database.count("audit_links").await, 1);
}

async fn a_changed_event_is_noticed(database: &Database) {
    let store = database.open().await;
    chain(&store, &[2, 3, 2]).await;
    let object = if database.is_sqlite() {
        "x'00000000000000000000000000000009'"
    } else {
        "'\\x00000000000000000000000000000009'"
    };
    for (column, value) in [
        ("detail", "'event four'"),
        ("actor", "'somebody else'"),
        ("kind", "'thing.undone'"),
        ("at", "at + 1"),
        ("object", object),
        ("object", "null"),
        ("account_id", object),
    ] {
        let keep = "create table kept as select * from events where id = 4";
        let change = format!("update events set {column} = {value} where id = 4");
        database.tamper(&format!("{keep}; {change}")).await;
        let broken = broken(&store).await;
        let ChainBreak::EventChanged(covered) = broken else {
            panic!("{column}: {broken}");
        };
        assert_eq!(covered.link, 2, "{column}");
        assert_eq!((covered.first, covered.last), (place(3), place(5)));
        let back = format!(
            "update events set {column} = (select {column} from kept) where id = 4; \
             drop table kept"
        );
        database.tamper(&back).await;
        assert_eq!(verify(&store, None).await.broken, None, "{column}");
    }
    // SQLite keeps what it is given, whatever the column.
    if database.is_sqlite() {
        database
            .tamper("update events set detail = x'ff00' where id = 4")
            .await;
        let broken = broken(&store).await;
        assert!(
            matches!(broken, ChainBreak::EventUnreadable { event, .. } if event == place(4)),
            "{broken}"
        );
    }
}

async fn a_removed_event_is_named(database: &Database) {
    let store = database.open().await;
    chain(&store, &[3, 3, 2]).await;
    for (removed, left) in [(8, 3), (6, 2), (4, 2), (1, 1)] {
        let remove = format!("delete from events where id = {removed}");
        database.tamper(&remove).await;
        let broken = broken(&store).await;
        let ChainBreak::EventRemoved { missing, covered } = broken else {
            panic!("{broken}");
        };
        assert_eq!((missing, covered.link), (place(removed), left));
    }
}

async fn an_added_event_is_noticed(database: &Database) {
    let store = database.open().await;
    chain(&store, &[2, 2]).await;
    for forged in [0, -5] {
        let copy = "insert into events (id, at, actor, kind, detail) select";
        let forge = format!("{copy} {forged}, at, actor, kind, detail from events where id = 1");
        database.tamper(&forge).await;
        let broken = broken(&store).await;
        assert!(
            matches!(broken, ChainBreak::EventAdded(covered) if covered.link == 1),
            "{broken}"
        );
        let back = format!("delete from events where id = {forged}");
        database.tamper(&back).await;
    }
    assert_eq!(verify(&store, None).await.broken, None);
}

async fn events_in_another_order_are_noticed(database: &Database) {
    let store = database.open().await;
    chain(&store, &[4]).await;
    database
        .tamper(
            "update events set id = 99 where id = 2; update events set id = 2 where id = 3; \
             update events set id = 3 where id = 99",
        )
        .await;
    assert!(matches!(broken(&store).await, ChainBreak::EventChanged(_)));
}

async fn a_changed_link_is_noticed(database: &Database) {
    let store = database.open().await;
    chain(&store, &[2, 2, 2]).await;
    let (zeros, short) = if database.is_sqlite() {
        ("zeroblob(32)", "zeroblob(31)")
    } else {
        ("decode(repeat('00', 32), 'hex')", "''")
    };
    for (column, value) in [
        ("last_event", "last_event - 1"),
        ("last_event", "last_event + 1"),
        ("last_event", "0"),
        ("events", "events - 1"),
        ("events", "events + 1"),
        ("events", "1000000000"),
        ("events", "-1"),
        ("linked_at", "linked_at - 1"),
        ("linked_at", "9223372036854775807"),
        ("hash", zeros),
        ("hash", short),
        ("key_id", short),
    ] {
        let keep = "create table kept as select * from audit_links where number = 2";
        let change = format!("update audit_links set {column} = {value} where number = 2");
        database.tamper(&format!("{keep}; {change}")).await;
        let verified = verify(&store, None).await;
        assert!(verified.broken.is_some(), "{column} = {value}");
        assert_eq!(verified.links, 1, "{column} = {value}");
        let back = format!(
            "update audit_links set {column} = (select {column} from kept) where number = 2; \
             drop table kept"
        );
        database.tamper(&back).await;
    }
    assert_eq!(verify(&store, None).await.broken, None);
}

async fn a_removed_link_is_named(database: &Database) {
    let store = database.open().await;
    chain(&store, &[2, 2, 2, 2]).await;
    for removed in [3, 1] {
        let remove = format!("delete from audit_links where number = {removed}");
        database.tamper(&remove).await;
        assert_eq!(broken(&store).await, ChainBreak::LinkRemoved(removed));
    }
}

async fn a_cut_end_is_noticed_by_whoever_kept_a_head(database: &Database) {
    let store = database.open().await;
    chain(&store, &[2, 2, 2]).await;
    let kept = store.audit_head().await.unwrap().unwrap().head;
    database
        .tamper("delete from audit_links where number = 3; delete from events where id > 4")
        .await;
    assert_eq!(verify(&store, None).await.broken, None);
    assert_eq!(
        verify(&store, Some(&kept)).await.broken,
        Some(ChainBreak::HeadMissing {
            expected: 3,
            end: 2
        })
    );
}

async fn what_is_linked_anew_after_a_cut_has_another_head_and_is_late(database: &Database) {
    let store = database.open().await;
    chain(&store, &[2, 2, 2]).await;
    let kept = store.audit_head().await.unwrap().unwrap().head;
    database
        .tamper(
            "delete from audit_links where number > 1; \
             update events set detail = 'nothing' where id = 4",
        )
        .await;
    link_at(&store, 5_000).await;
    store.add_event(event(None, "a")).await.unwrap();
    link_at(&store, 5_001).await;
    let verified = verify(&store, None).await;
    assert_eq!((verified.broken, verified.links), (None, 3));
    let late = verified.late.unwrap();
    assert_eq!((late.first, late.linked_at), (2, moment(5_000)));
    assert_eq!(
        verify(&store, Some(&kept)).await.broken,
        Some(ChainBreak::HeadChanged(3))
    );
}

async fn a_link_cannot_be_made_without_the_master_key(database: &Database) {
    let store = database.open().await;
    chain(&store, &[2, 2]).await;
    let head = store.audit_head().await.unwrap();
    let forger = database.open_with(&master_key(2)).await.unwrap();
    forger.add_event(event(None, "a")).await.unwrap();
    let refused = forger.link_events(head.as_ref(), moment(1)).await;
    assert!(
        matches!(refused, Err(Error::Seal(SealError::WrongMasterKey { .. }))),
        "{refused:?}"
    );
    database
        .tamper("delete from audit_links; delete from events where id = 2")
        .await;
    link(&forger).await;
    assert_eq!(verify(&forger, None).await.broken, None);
    let honest = broken(&store).await;
    assert!(
        matches!(honest, ChainBreak::OtherMasterKey { link: 1, .. }),
        "{honest}"
    );
    // Saying that it was the right key does not help.
    let own = "update audit_links set key_id";
    let id = master_key(1).id().to_string();
    let id = if database.is_sqlite() {
        format!("x'{id}'")
    } else {
        format!("'\\x{id}'")
    };
    database.tamper(&format!("{own} = {id}")).await;
    assert!(matches!(broken(&store).await, ChainBreak::EventChanged(_)));
}

async fn a_chain_that_changes_between_two_stretches_is_noticed(database: &Database) {
    let store = database.open().await;
    chain(&store, &[2, 2]).await;
    let first = store.audit_link(1).await.unwrap().unwrap().head;
    let rest = store.verify_links(Some(&first), None).await.unwrap();
    assert_eq!((rest.broken, rest.links), (None, 1));
    database
        .tamper("delete from audit_links where number = 1")
        .await;
    let rest = store.verify_links(Some(&first), None).await.unwrap();
    assert_eq!(rest.broken, Some(ChainBreak::LinkChanged(1)));
}

async fn nodes_that_link_at_the_same_time_make_one_chain(database: &Database) {
    let nodes = [
        database.open().await,
        database.open().await,
        database.open().await,
    ];
    for _ in 0..5 {
        let mut tasks = JoinSet::new();
        for (index, store) in nodes.iter().cycle().take(12).enumerate() {
            let store = store.clone();
            tasks.spawn(async move {
                if index % 2 == 0 {
                    store.add_event(event(None, "a")).await.unwrap();
                }
                link(&store).await;
            });
        }
        tasks.join_all().await;
        link(&nodes[0]).await;
    }
    let verified = verify(&nodes[1], None).await;
    assert_eq!((verified.broken, verified.events), (None, 30));
    let links = i64::try_from(verified.links).unwrap();
    assert_eq!(database.count("audit_links").await, links);
}

async fn a_chain_verifies_while_events_are_written(database: &Database) {
    let store = database.open().await;
    let other_node = database.open().await;
    let mut writers = JoinSet::new();
    for index in 0..200 {
        let store = if index % 2 == 0 { &store } else { &other_node }.clone();
        writers.spawn(async move { store.add_event(event(None, "a")).await.unwrap() });
    }
    while writers.join_next().await.is_some() {
        link(&store).await;
        assert_eq!(verify(&other_node, None).await.broken, None);
    }
    link(&store).await;
    assert_eq!(verify(&store, None).await.events, 200);
}

/// Writes many events at once.
async fn fill(database: &Database, count: u64) {
    let row = "20000, 'a test', 'thing.done', 'a detail of some length, as they have'";
    let columns = "events (id, at, actor, kind, detail)";
    let sql = if database.is_sqlite() {
        format!(
            "with recursive places (place) as \
             (select 1 union all select place + 1 from places where place < {count}) \
             insert into {columns} select place, {row} from places"
        )
    } else {
        format!(
            "insert into {columns} select place, {row} from generate_series(1, {count}) place; \
             update event_counter set last = {count}"
        )
    };
    database.tamper(&sql).await;
}

async fn a_long_chain_is_linked_and_verified_in_stretches(database: &Database) {
    const EVENTS: u64 = 50_500;
    let store = database.open().await;
    fill(database, EVENTS).await;
    let first = store.link_events(None, moment(0)).await.unwrap();
    let Linking::Linked { head, is_last } = first else {
        panic!("{first:?}")
    };
    assert_eq!((head.last_event, is_last), (place(16_000), false));
    link(&store).await;
    let (mut after, mut events, mut stretches) = (None, 0, 0);
    loop {
        let verified = store.verify_links(after.as_ref(), None).await.unwrap();
        assert_eq!(verified.broken, None);
        assert!(verified.events <= 20_000, "{}", verified.events);
        events += verified.events;
        stretches += 1;
        after = verified.head.map(|link| link.head);
        if verified.is_last {
            break;
        }
    }
    assert_eq!((events, stretches), (EVENTS, 3));
    let last = store.audit_head().await.unwrap().unwrap();
    assert_eq!((last.head.number, last.events), (51, 500));
    database
        .tamper("update events set detail = '' where id = 40001")
        .await;
    assert!(matches!(
        broken(&store).await,
        ChainBreak::EventChanged(covered) if covered.link == 41
    ));
}

async fn a_beginning_can_be_taken_away_with_its_events(database: &Database) {
    let store = database.open().await;
    chain(&store, &[2, 2, 2]).await;
    let kept = store.audit_link(2).await.unwrap().unwrap().head;
    database
        .tamper("delete from audit_links where number < 2; delete from events where id <= 4")
        .await;
    let rest = store.verify_links(Some(&kept), None).await.unwrap();
    assert_eq!((rest.broken, rest.events, rest.is_last), (None, 2, true));
}
