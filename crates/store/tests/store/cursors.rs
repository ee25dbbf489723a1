//! Places of followers of the change feed.

use store::EventId;
use tokio::task::JoinSet;

use crate::support::Database;

on_both_databases!(
    a_cursor_survives_a_restart,
    a_cursor_moves_forward_only,
    of_several_nodes_the_furthest_counts,
);

fn place(number: u64) -> EventId {
    EventId::from_number(number)
}

async fn a_cursor_survives_a_restart(database: &Database) {
    let store = database.open().await;
    assert_eq!(store.cursor("one").await.unwrap(), None);
    store.move_cursor("one", place(5)).await.unwrap();
    store.move_cursor("other", place(1)).await.unwrap();
    store.close().await;
    let store = database.open().await;
    assert_eq!(store.cursor("one").await.unwrap(), Some(place(5)));
    assert_eq!(store.cursor("other").await.unwrap(), Some(place(1)));
}

async fn a_cursor_moves_forward_only(database: &Database) {
    let store = database.open().await;
    for (moved, expected) in [(5, 5), (4, 5), (5, 5), (9, 9)] {
        store.move_cursor("one", place(moved)).await.unwrap();
        assert_eq!(store.cursor("one").await.unwrap(), Some(place(expected)));
    }
}

async fn of_several_nodes_the_furthest_counts(database: &Database) {
    let store = database.open().await;
    let other_node = database.open().await;
    let mut tasks = JoinSet::new();
    for index in 0..20 {
        let store = if index % 2 == 0 { &store } else { &other_node }.clone();
        tasks.spawn(async move { store.move_cursor("one", place(index)).await.unwrap() });
    }
    tasks.join_all().await;
    assert_eq!(store.cursor("one").await.unwrap(), Some(place(19)));
}
