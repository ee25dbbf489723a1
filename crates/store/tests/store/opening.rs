//! Opening databases: fresh ones, old ones, several at once, and some that cannot be opened.

use std::os::unix::fs::PermissionsExt as _;

use store::{CertificateId, Error, Scope, State, Store};
use tokio::task::JoinSet;

use crate::support::{
    Database, UNDONE, account, event, find, master_key, moment, record, renewal, version,
};

on_both_databases!(
    several_nodes_may_open_a_fresh_database_at_once,
    opening_again_changes_nothing,
    a_database_of_any_earlier_release_is_brought_up_to_date,
    a_database_of_a_newer_release_is_left_alone,
    a_store_answers_until_it_is_closed,
    a_change_that_is_abandoned_halfway_does_not_hold_up_others,
);

async fn several_nodes_may_open_a_fresh_database_at_once(database: &Database) {
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        let url = database.url.parse().unwrap();
        tasks.spawn(async move { Store::open(&url, &master_key(1)).await });
    }
    for store in tasks.join_all().await {
        account(&store.unwrap()).await;
    }
    assert_eq!(database.count("accounts").await, 6);
}

async fn opening_again_changes_nothing(database: &Database) {
    let store = database.open().await;
    let id = account(&store).await;
    store.close().await;
    let migrations = database.count("schema_migrations").await;
    let store = database.open().await;
    assert!(store.account(id).await.unwrap().is_some());
    assert_eq!(database.count("schema_migrations").await, migrations);
}

async fn a_database_of_any_earlier_release_is_brought_up_to_date(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let mut due = record(account, None);
    due.certificate.state = State::Pending {
        attempt: 1,
        next_attempt_at: moment(5),
    };
    due.version = None;
    let ids = [due.certificate.id, CertificateId::random()];
    store.add_certificate(due).await.unwrap();
    let mut valid = record(account, None);
    valid.certificate.id = ids[1];
    let names = valid.certificate.identifiers.clone();
    store.add_certificate(valid).await.unwrap();
    let mut renewed = renewal(version(None), &names, None, event(None, "renewed"));
    (renewed.renew_at, renewed.next_action_at) = (Some(moment(7)), Some(moment(7)));
    store.add_version(scope, ids[1], renewed).await.unwrap();
    let mut before = Vec::new();
    for id in ids {
        before.push(find(&store, scope, id).await.unwrap());
    }
    let newest = database.count("schema_migrations").await;
    store.close().await;

    let (first, _) = UNDONE[0];
    let taken_back = i64::try_from(UNDONE.len()).unwrap() + first - 1;
    assert_eq!(taken_back, newest, "what takes back a migration is missing");
    for (version, _) in UNDONE {
        database.take_back_to(version - 1).await;
        let store = database.open().await;
        assert_eq!(database.count("schema_migrations").await, newest);
        for certificate in &before {
            let found = find(&store, scope, certificate.id).await.unwrap();
            assert_eq!(found, *certificate, "from schema {}", version - 1);
        }
        assert_eq!(store.overdue(moment(9)).await.unwrap().as_secs(), 4);
        store.close().await;
    }
}

async fn a_database_of_a_newer_release_is_left_alone(database: &Database) {
    database.open().await.close().await;
    database
        .tamper("insert into schema_migrations (version, name) values (999, 'later')")
        .await;
    let error = database.open_with(&master_key(1)).await.unwrap_err();
    assert!(
        matches!(error, Error::NewerSchema { found: 999, .. }),
        "{error:?}"
    );
}

async fn a_store_answers_until_it_is_closed(database: &Database) {
    let store = database.open().await;
    store.ping().await.unwrap();
    let clone = store.clone();
    store.close().await;
    store.close().await;
    assert!(matches!(clone.ping().await, Err(Error::Closed)));
    assert!(matches!(
        clone.add_event(event(None, "late")).await,
        Err(Error::Closed)
    ));
}

async fn a_change_that_is_abandoned_halfway_does_not_hold_up_others(database: &Database) {
    let store = database.open().await;
    let mut abandoned = Vec::new();
    for round in 0..60 {
        let store = store.clone();
        let task = tokio::spawn(async move { store.add_event(event(None, "abandoned")).await });
        // Some are stopped before they begin, some within the transaction, some too late.
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        task.abort();
        abandoned.push(task);
    }
    for task in abandoned {
        drop(task.await);
    }
    store.add_event(event(None, "kept")).await.unwrap();
    let events = store
        .events_after(Scope::Everything, None, 100)
        .await
        .unwrap();
    assert_eq!(events.last().unwrap().kind, "kept");
    store.close().await;
}

#[tokio::test]
async fn the_database_file_is_for_its_owner_only() {
    let database = Database::sqlite();
    let store = database.open().await;
    account(&store).await;
    let path = database.url.strip_prefix("sqlite:").unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let metadata = std::fs::metadata(format!("{path}{suffix}")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{suffix}");
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_reported_as_such() {
    let url = "sqlite:/nowhere/at/all/chancery.db".parse().unwrap();
    let error = Store::open(&url, &master_key(1)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    // The port of the discard service: nothing listens there.
    let url = "postgres://somebody:hunter2@127.0.0.1:9/x".parse().unwrap();
    let error = Store::open(&url, &master_key(1)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[tokio::test]
async fn something_that_is_no_database_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("letter.txt");
    let letter = "Dear Sir or Madam, this is not a database. ".repeat(50);
    std::fs::write(&path, &letter).unwrap();
    let url = store::DatabaseUrl::sqlite(&path);
    assert!(Store::open(&url, &master_key(1)).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), letter);
}
