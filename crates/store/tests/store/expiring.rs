//! What ends soon, and how late the scheduler is.

use std::time::Duration;

use store::{AccountId, CertificateId, Scope, State, Store};

use crate::support::{Database, account, event, moment, record, request};

on_both_databases!(
    what_ends_is_told_of_once_by_its_end,
    only_valid_certificates_end,
    the_first_end_still_to_come_is_found,
    how_long_something_is_overdue_is_told,
);

async fn ending(store: &Store, account: AccountId, end: i64) -> CertificateId {
    let mut record = record(account, None);
    record.version.as_mut().unwrap().not_after = moment(end);
    let id = record.certificate.id;
    store.add_certificate(record).await.unwrap();
    id
}

async fn what_ends_is_told_of_once_by_its_end(database: &Database) {
    let store = database.open().await;
    let accounts = [account(&store).await, account(&store).await];
    ending(&store, accounts[0], 100).await;
    let mut expected = Vec::new();
    for (index, end) in [150, 110, 110, 110, 200, 101].into_iter().enumerate() {
        expected.push((end, ending(&store, accounts[index % 2], end).await));
    }
    ending(&store, accounts[0], 201).await;
    request(&store, accounts[0], 120).await;
    expected.sort_unstable();
    let all = store.expiring_between(moment(100), moment(200), None, 1_000);
    let all: Vec<_> = all.await.unwrap();
    let found: Vec<_> = all.iter().map(|certificate| certificate.id).collect();
    let ids: Vec<_> = expected.iter().map(|(_, id)| *id).collect();
    assert_eq!(found, ids);

    let (mut from, mut after, mut paged) = (moment(100), None, Vec::new());
    loop {
        let page = store.expiring_between(from, moment(200), after, 2).await;
        let page = page.unwrap();
        let Some(last) = page.last() else {
            break;
        };
        from = last.current.as_ref().unwrap().not_after;
        after = Some(last.id);
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

async fn only_valid_certificates_end(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let revoked = ending(&store, account, 100).await;
    let valid = ending(&store, account, 101).await;
    let changed = event(Some(account), "certificate.revoked");
    store
        .set_certificate_state(Scope::Everything, revoked, State::Revoked, None, changed)
        .await
        .unwrap();
    let found = store
        .expiring_between(moment(0), moment(200), None, 10)
        .await;
    let found: Vec<_> = found.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(found, [valid]);
    let first = store.earliest_expiry(moment(0)).await.unwrap();
    assert_eq!(first, Some(moment(101)));
}

async fn the_first_end_still_to_come_is_found(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    assert_eq!(store.earliest_expiry(moment(0)).await.unwrap(), None);
    request(&store, account, 10).await;
    for end in [300, 100, 200] {
        ending(&store, account, end).await;
    }
    for (now, expected) in [
        (99, Some(100)),
        (100, Some(200)),
        (250, Some(300)),
        (300, None),
    ] {
        let found = store.earliest_expiry(moment(now)).await.unwrap();
        assert_eq!(found, expected.map(moment), "{now}");
    }
}

async fn how_long_something_is_overdue_is_told(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    assert_eq!(store.overdue(moment(0)).await.unwrap(), Duration::ZERO);
    for due in [40, 30] {
        request(&store, account, due).await;
    }
    let seconds = Duration::from_secs;
    for (now, expected) in [(29, 0), (30, 0), (31, 1), (50, 20)] {
        let found = store.overdue(moment(now)).await.unwrap();
        assert_eq!(found, seconds(expected), "{now}");
    }
    let claimed = store
        .claim_due(moment(35), moment(90), 10, store::Claimable::default())
        .await;
    assert_eq!(claimed.unwrap().len(), 1);
    assert_eq!(store.overdue(moment(50)).await.unwrap(), seconds(10));
}
