//! What is left of the limits of directories.

use store::{DirectoryId, Error};
use time::{Duration, OffsetDateTime};
use tokio::task::JoinSet;

use crate::support::{Database, add_directory, moment};

on_both_databases!(
    what_was_spent_is_remembered,
    nothing_is_spent_when_the_decision_is_against_it,
    each_directory_has_its_own_budgets,
    of_many_who_spend_at_once_each_sees_what_the_others_spent,
    many_buckets_are_spent_from_together,
    full_buckets_are_forgotten,
    contradictory_spending_is_refused,
);

fn buckets<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(ToOwned::to_owned).to_vec()
}

async fn what_was_spent_is_remembered(database: &Database) {
    let store = database.open().await;
    let directory = add_directory(&store, None, "le").await;
    let names = buckets(["orders", "domain example.com"]);
    let spent = store.spend(directory, &names, |levels| {
        assert_eq!(levels, [None, None]);
        Some(vec![Some(moment(5)), Some(moment(6))])
    });
    assert!(spent.await.unwrap());
    let asked = buckets(["domain example.com", "other", "orders"]);
    let levels = store.levels(directory, &asked).await.unwrap();
    assert_eq!(levels, [Some(moment(6)), None, Some(moment(5))]);
    let spent = store.spend(directory, &asked, |levels| {
        assert_eq!(levels, [Some(moment(6)), None, Some(moment(5))]);
        Some(vec![Some(moment(7)), None, None])
    });
    assert!(spent.await.unwrap());
    // What was not changed is as it was.
    let levels = store.levels(directory, &asked).await.unwrap();
    assert_eq!(levels, [Some(moment(7)), None, Some(moment(5))]);
    assert_eq!(database.count("budgets").await, 2);
}

async fn nothing_is_spent_when_the_decision_is_against_it(database: &Database) {
    let store = database.open().await;
    let directory = add_directory(&store, None, "le").await;
    let names = buckets(["orders"]);
    assert!(!store.spend(directory, &names, |_| None).await.unwrap());
    assert_eq!(store.levels(directory, &names).await.unwrap(), [None]);
    let nothing = store.spend(directory, &[], |_| Some(Vec::new())).await;
    assert!(nothing.unwrap());
}

async fn each_directory_has_its_own_budgets(database: &Database) {
    let store = database.open().await;
    let one = add_directory(&store, None, "one").await;
    let other = add_directory(&store, None, "other").await;
    let names = buckets(["orders"]);
    let spent = store
        .spend(one, &names, |_| Some(vec![Some(moment(5))]))
        .await;
    assert!(spent.unwrap());
    assert_eq!(store.levels(other, &names).await.unwrap(), [None]);
    let nobody = DirectoryId::random();
    let missed = store
        .spend(nobody, &names, |_| Some(vec![Some(moment(5))]))
        .await;
    assert!(matches!(missed, Err(Error::NotFound)), "{missed:?}");
}

/// Takes one second from a bucket, unless it would reach beyond `end`.
fn one_second(level: Option<OffsetDateTime>, end: OffsetDateTime) -> Option<OffsetDateTime> {
    let next = level.unwrap_or(moment(0)) + Duration::seconds(1);
    (next <= end).then_some(next)
}

async fn spent_at_once(database: &Database) {
    let nodes = [database.open().await, database.open().await];
    let directory = add_directory(&nodes[0], None, "le").await;
    let mut tasks = JoinSet::new();
    for index in 0..40 {
        let store = nodes[index % 2].clone();
        tasks.spawn(async move {
            let names = buckets(["orders", "domain example.com"]);
            loop {
                let spent = store.spend(directory, &names, |levels| {
                    let first = one_second(levels[0], moment(30))?;
                    let second = one_second(levels[1], moment(60))?;
                    Some(vec![Some(first), Some(second)])
                });
                match spent.await {
                    // So many at once may stumble over each other more often than is tried.
                    Err(Error::Conflict(_)) => {}
                    spent => break spent.unwrap(),
                }
            }
        });
    }
    let spent = tasks.join_all().await;
    assert_eq!(spent.into_iter().filter(|spent| *spent).count(), 30);
    let names = buckets(["orders", "domain example.com"]);
    let levels = nodes[0].levels(directory, &names).await.unwrap();
    assert_eq!(levels, [Some(moment(30)), Some(moment(30))]);
}

async fn of_many_who_spend_at_once_each_sees_what_the_others_spent(database: &Database) {
    spent_at_once(database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_are_isolated_more_strictly_spend_no_less_correctly() {
    let database = Database::postgres();
    database.open().await.close().await;
    database.make_serializable().await;
    spent_at_once(&database).await;
}

async fn many_buckets_are_spent_from_together(database: &Database) {
    let store = database.open().await;
    let directory = add_directory(&store, None, "le").await;
    let names: Vec<String> = (0..700).map(|number| format!("bucket {number}")).collect();
    let spent = store.spend(directory, &names, |levels| {
        Some((0..).take(levels.len()).map(moment).map(Some).collect())
    });
    assert!(spent.await.unwrap());
    let levels = store.levels(directory, &names).await.unwrap();
    let expected: Vec<_> = (0..700).map(|number| Some(moment(number))).collect();
    assert_eq!(levels, expected);
}

async fn full_buckets_are_forgotten(database: &Database) {
    let store = database.open().await;
    let directory = add_directory(&store, None, "le").await;
    let names: Vec<String> = (0..2_500)
        .map(|number| format!("bucket {number}"))
        .collect();
    let spent = store.spend(directory, &names, |levels| {
        Some((0..).take(levels.len()).map(moment).map(Some).collect())
    });
    assert!(spent.await.unwrap());
    assert_eq!(store.sweep_budgets(moment(2_400)).await.unwrap(), 2_401);
    assert_eq!(database.count("budgets").await, 99);
    assert_eq!(store.sweep_budgets(moment(2_400)).await.unwrap(), 0);
    let levels = store.levels(directory, &names[2_400..2_402]).await.unwrap();
    assert_eq!(levels, [None, Some(moment(2_401))]);
}

async fn contradictory_spending_is_refused(database: &Database) {
    let store = database.open().await;
    let directory = add_directory(&store, None, "le").await;
    let one = buckets(["orders"]);
    let refused = store.spend(directory, &one, |_| Some(Vec::new())).await;
    assert!(
        matches!(refused, Err(Error::Inconsistent(_))),
        "{refused:?}"
    );
    let twice = buckets(["orders", "domain", "orders"]);
    let refused = store.spend(directory, &twice, |_| Some(vec![Some(moment(1)); 3]));
    let refused = refused.await;
    assert!(
        matches!(refused, Err(Error::Inconsistent(_))),
        "{refused:?}"
    );
    let long = vec!["x".repeat(2_000)];
    let refused = store.spend(directory, &long, |_| Some(vec![Some(moment(1))]));
    let refused = refused.await;
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
    assert_eq!(database.count("budgets").await, 0);
}
