//! The secrets of session tickets.

use store::{Error, SealError};
use tokio::task::JoinSet;

use crate::support::{Database, master_key, moment};

on_both_databases!(
    secrets_come_back_newest_first,
    of_nodes_that_make_the_same_generation_one_succeeds,
    old_generations_are_removed,
    a_secret_moved_to_another_generation_does_not_open,
    another_master_key_does_not_open_a_secret,
);

async fn secrets_come_back_newest_first(database: &Database) {
    let store = database.open().await;
    assert!(store.ticket_keys().await.unwrap().is_empty());
    store.add_ticket_key(1, &[1; 64], moment(1)).await.unwrap();
    store.add_ticket_key(3, &[3; 64], moment(3)).await.unwrap();
    store.add_ticket_key(2, &[2; 64], moment(2)).await.unwrap();
    let found = store.ticket_keys().await.unwrap();
    let generations: Vec<u64> = found.iter().map(|key| key.generation).collect();
    assert_eq!(generations, [3, 2, 1]);
    assert_eq!(*found[1].secret, [2; 64]);
    assert_eq!(found[1].created_at, moment(2));
    assert!(!format!("{found:?}").contains("2, 2, 2"));
}

async fn of_nodes_that_make_the_same_generation_one_succeeds(database: &Database) {
    let store = database.open().await;
    let mut tasks = JoinSet::new();
    for node in 0..6 {
        let store = store.clone();
        tasks.spawn(async move { store.add_ticket_key(7, &[node; 64], moment(0)).await });
    }
    let mut made = 0;
    for outcome in tasks.join_all().await {
        match outcome {
            Ok(()) => made += 1,
            Err(Error::Duplicate) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(made, 1);
    assert_eq!(store.ticket_keys().await.unwrap().len(), 1);
}

async fn old_generations_are_removed(database: &Database) {
    let store = database.open().await;
    for generation in 1..=5 {
        store
            .add_ticket_key(generation, &[9; 64], moment(0))
            .await
            .unwrap();
    }
    assert_eq!(store.delete_ticket_keys_before(4).await.unwrap(), 3);
    assert_eq!(store.delete_ticket_keys_before(4).await.unwrap(), 0);
    let found = store.ticket_keys().await.unwrap();
    assert_eq!(found.last().unwrap().generation, 4);
}

async fn a_secret_moved_to_another_generation_does_not_open(database: &Database) {
    let store = database.open().await;
    store.add_ticket_key(1, &[1; 64], moment(0)).await.unwrap();
    database
        .tamper("update ticket_keys set generation = 2")
        .await;
    let error = store.ticket_keys().await.unwrap_err();
    assert!(
        matches!(error, Error::Seal(SealError::Corrupt)),
        "{error:?}"
    );
}

async fn another_master_key_does_not_open_a_secret(database: &Database) {
    let store = database.open().await;
    store.add_ticket_key(1, &[1; 64], moment(0)).await.unwrap();
    store.close().await;
    let store = database.open_with(&master_key(2)).await.unwrap();
    let error = store.ticket_keys().await.unwrap_err();
    assert!(
        matches!(error, Error::Seal(SealError::WrongMasterKey { .. })),
        "{error:?}"
    );
}
