//! What accounts need not prove.

use store::{AccountId, Error, PREAUTHORIZATION_LIMIT, PREAUTHORIZATIONS_LIMIT, Store};

use crate::support::{Database, account, event};

on_both_databases!(
    patterns_come_and_go,
    an_account_has_so_many_patterns_and_no_more,
    patterns_of_nobody_are_refused,
);

async fn change(
    store: &Store,
    account: AccountId,
    added: &[&str],
    removed: &[&str],
) -> Result<(), Error> {
    let owned = |texts: &[&str]| -> Vec<String> { texts.iter().map(ToString::to_string).collect() };
    let event = event(Some(account), "account.preauthorized");
    let (added, removed) = (owned(added), owned(removed));
    store
        .change_preauthorizations(account, &added, &removed, event)
        .await
}

async fn patterns_come_and_go(database: &Database) {
    let store = database.open().await;
    let (first, second) = (account(&store).await, account(&store).await);
    change(&store, first, &["b.test", "*.a.test"], &[])
        .await
        .unwrap();
    change(&store, first, &["b.test", "10.0.0.0/8"], &["*.a.test", "c"])
        .await
        .unwrap();
    change(&store, second, &["d.test"], &["b.test"])
        .await
        .unwrap();
    let kept = store.preauthorizations(first).await.unwrap();
    assert_eq!(kept, ["10.0.0.0/8", "b.test"]);
    assert_eq!(store.preauthorizations(second).await.unwrap(), ["d.test"]);
}

async fn an_account_has_so_many_patterns_and_no_more(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let names: Vec<String> = (0..=PREAUTHORIZATIONS_LIMIT)
        .map(|number| format!("{number}.test"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (last, most) = names.split_last().unwrap();
    change(&store, account, most, &[]).await.unwrap();
    let full = change(&store, account, &[last], &[]).await;
    assert!(matches!(full, Err(Error::Full)), "{full:?}");
    change(&store, account, &[last], &[most[0]]).await.unwrap();
    let kept = store.preauthorizations(account).await.unwrap();
    assert_eq!(kept.len(), PREAUTHORIZATIONS_LIMIT);
    let long = "x".repeat(PREAUTHORIZATION_LIMIT + 1);
    let refused = change(&store, account, &[&long], &["1.test"]).await;
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
    assert_eq!(store.preauthorizations(account).await.unwrap(), kept);
}

async fn patterns_of_nobody_are_refused(database: &Database) {
    let store = database.open().await;
    let refused = change(&store, AccountId::random(), &["a.test"], &[]).await;
    assert!(matches!(refused, Err(Error::UnknownAccount)), "{refused:?}");
    assert_eq!(database.count("events").await, 0);
}
