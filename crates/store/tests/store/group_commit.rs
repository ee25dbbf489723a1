//! Adding many certificates at once.

use std::sync::Arc;

use store::{AccountId, CertificateRef, Error, Exportable, NewRecord, Origin, Scope, State, Store};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::support::{
    Database, account, authority, event, find, moment, record, record_with_key, unique,
};

on_both_databases!(
    what_was_added_is_read_back_unchanged,
    only_the_guilty_of_a_crowd_fail,
    a_refused_record_leaves_nothing_behind,
    a_certificate_can_be_added_before_its_first_version,
    a_certificate_needs_an_account,
    two_accounts_may_use_the_same_name,
    a_caller_that_goes_away_takes_nobody_along,
    closing_waits_for_what_is_under_way,
    a_record_must_not_contradict_itself,
    overlong_records_are_refused_and_overlong_details_are_cut,
    odd_characters_are_stored,
);

async fn what_was_added_is_read_back_unchanged(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let authority = authority(&store).await;
    let added = record_with_key(account, Some(authority), Exportable::Never);
    store.add_certificate(added.clone()).await.unwrap();
    store.close().await;

    let store = database.open().await;
    let read = find(&store, Scope::Account(account), added.certificate.id)
        .await
        .unwrap();
    assert_eq!(read.id, added.certificate.id);
    assert_eq!(read.account_id, account);
    assert_eq!(read.name, added.certificate.name);
    assert_eq!(read.common_name, added.certificate.common_name);
    assert_eq!(read.identifiers, added.certificate.identifiers);
    assert_eq!(read.origin, Origin::Issued);
    assert_eq!(read.state, State::Valid);
    assert_eq!(read.issuer.as_deref(), Some("default"));
    assert_eq!(read.created_at, moment(0));
    let current = read.current.unwrap();
    let version = added.version.unwrap();
    assert_eq!(current.id, version.id);
    assert_eq!(current.certificate_id, read.id);
    assert_eq!(current.account_id, account);
    assert_eq!(current.authority_id, Some(authority));
    assert_eq!(current.serial, version.serial);
    assert_eq!(current.subject, version.subject);
    assert_eq!(current.issuer, version.issuer);
    assert_eq!(current.not_before, version.not_before);
    assert_eq!(current.not_after, version.not_after);
    let chain = store.chain(Scope::Account(account), version.id).await;
    let chain = chain.unwrap().unwrap();
    assert_eq!(chain.leaf, version.leaf);
    assert_eq!(chain.intermediates, version.intermediates);
    assert_eq!(current.private_key_id, version.private_key_id);
    assert_eq!(current.revocation, None);
    let key = store
        .private_key(Scope::Account(account), added.key.as_ref().unwrap().id)
        .await;
    let key = key.unwrap().unwrap();
    assert_eq!(
        key.key.public_key().fingerprint(),
        added.key.unwrap().key.public_key().fingerprint()
    );
    let events = store
        .events_after(Scope::Account(account), None, 10)
        .await
        .unwrap();
    assert_eq!(events.last().unwrap().object, Some(read.id.as_uuid()));
}

/// Adds all records at the same moment, each from a task of its own.
async fn add_together(store: &Store, records: Vec<NewRecord>) -> Vec<(usize, Result<(), Error>)> {
    let barrier = Arc::new(Barrier::new(records.len()));
    let mut tasks = JoinSet::new();
    for (index, record) in records.into_iter().enumerate() {
        let (store, barrier) = (store.clone(), Arc::clone(&barrier));
        tasks.spawn(async move {
            barrier.wait().await;
            (index, store.add_certificate(record).await)
        });
    }
    tasks.join_all().await
}

async fn only_the_guilty_of_a_crowd_fail(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let authority = authority(&store).await;
    let taken = record(account, Some(authority));
    store.add_certificate(taken.clone()).await.unwrap();

    let records: Vec<NewRecord> = (0..300)
        .map(|index| {
            let mut record = record(account, Some(authority));
            match index % 50 {
                7 => record.certificate.name.clone_from(&taken.certificate.name),
                23 => {
                    let serial = &taken.version.as_ref().unwrap().serial;
                    record.version.as_mut().unwrap().serial.clone_from(serial);
                }
                31 => record.certificate.id = taken.certificate.id,
                41 => record.certificate.account_id = AccountId::random(),
                _ => {}
            }
            record
        })
        .collect();
    let ids: Vec<_> = records.iter().map(|record| record.certificate.id).collect();
    for (index, outcome) in add_together(&store, records).await {
        match (index % 50, outcome) {
            (7, Err(Error::DuplicateName))
            | (23, Err(Error::DuplicateSerial))
            | (31, Err(Error::Duplicate))
            | (41, Err(Error::UnknownAccount)) => {}
            (7 | 23 | 31 | 41, outcome) => panic!("record {index}: {outcome:?}"),
            (_, outcome) => {
                outcome.unwrap_or_else(|error| panic!("innocent record {index}: {error}"));
                assert!(
                    find(&store, Scope::Account(account), ids[index])
                        .await
                        .is_some()
                );
            }
        }
    }
    let innocent = 300 - 6 * 4;
    assert_eq!(database.count("certificates").await, 1 + innocent);
    assert_eq!(database.count("versions").await, 1 + innocent);
    assert_eq!(database.count("events").await, 2 + 1 + innocent);
}

async fn a_refused_record_leaves_nothing_behind(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let authority = authority(&store).await;
    let first = record(account, Some(authority));
    store.add_certificate(first.clone()).await.unwrap();
    let mut second = record_with_key(account, Some(authority), Exportable::Always);
    second.version.as_mut().unwrap().serial = first.version.unwrap().serial;
    let key = second.key.as_ref().unwrap().id;
    let id = second.certificate.id;
    let error = store.add_certificate(second.clone()).await.unwrap_err();
    assert!(matches!(error, Error::DuplicateSerial), "{error:?}");
    assert!(find(&store, Scope::Everything, id).await.is_none());
    assert!(
        store
            .private_key(Scope::Everything, key)
            .await
            .unwrap()
            .is_none()
    );

    second.version.as_mut().unwrap().serial = unique().to_be_bytes().to_vec();
    store.add_certificate(second).await.unwrap();
}

async fn a_certificate_can_be_added_before_its_first_version(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let state = State::Pending {
        attempt: 3,
        next_attempt_at: moment(77),
    };
    let mut added = record(account, None);
    added.version = None;
    added.certificate.state = state.clone();
    store.add_certificate(added.clone()).await.unwrap();
    let read = find(&store, Scope::Account(account), added.certificate.id)
        .await
        .unwrap();
    assert_eq!(read.state, state);
    assert_eq!(read.current, None);
}

async fn a_certificate_needs_an_account(database: &Database) {
    let store = database.open().await;
    let error = store
        .add_certificate(record(AccountId::random(), None))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::UnknownAccount), "{error:?}");
}

async fn two_accounts_may_use_the_same_name(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let first = record(one, None);
    let mut second = record(other, None);
    second.certificate.name.clone_from(&first.certificate.name);
    let reference = CertificateRef::Name(first.certificate.name.clone());
    let (first_id, second_id) = (first.certificate.id, second.certificate.id);
    store.add_certificate(first).await.unwrap();
    let found = store
        .certificate(Scope::Everything, &reference)
        .await
        .unwrap();
    assert_eq!(found.unwrap().id, first_id);

    store.add_certificate(second).await.unwrap();
    let found = store
        .certificate(Scope::Account(other), &reference)
        .await
        .unwrap();
    assert_eq!(found.unwrap().id, second_id);
    let error = store
        .certificate(Scope::Everything, &reference)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::AmbiguousName));
}

async fn a_caller_that_goes_away_takes_nobody_along(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut leaving = Vec::new();
    let mut staying = JoinSet::new();
    for index in 0..400 {
        let record = record(account, None);
        let id = record.certificate.id;
        let store = store.clone();
        if index % 3 == 0 {
            leaving.push(tokio::spawn(
                async move { store.add_certificate(record).await },
            ));
        } else {
            staying.spawn(async move {
                store.add_certificate(record).await.unwrap();
                id
            });
        }
        if index % 20 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for caller in &leaving {
        caller.abort();
    }
    let expected = staying.len();
    let mut found = 0;
    for id in staying.join_all().await {
        assert!(find(&store, Scope::Account(account), id).await.is_some());
        found += 1;
    }
    assert_eq!(found, expected);
    // Whatever became of the others, each is there as a whole or not at all.
    store.close().await;
    assert_eq!(
        database.count("certificates").await,
        database.count("versions").await
    );
}

async fn closing_waits_for_what_is_under_way(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        let (store, record) = (store.clone(), record(account, None));
        tasks.spawn(async move { store.add_certificate(record).await });
    }
    tokio::task::yield_now().await;
    store.close().await;
    let mut written = 0;
    for outcome in tasks.join_all().await {
        match outcome {
            Ok(()) => written += 1,
            Err(Error::Closed) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(database.count("certificates").await, written);
    let late = store.add_certificate(record(account, None)).await;
    assert!(matches!(late, Err(Error::Closed)));
    let late = store.add_event(event(None, "late")).await;
    assert!(matches!(late, Err(Error::Closed)));
}

async fn a_record_must_not_contradict_itself(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut nameless = record_with_key(account, None, Exportable::Never);
    nameless.version.as_mut().unwrap().private_key_id = None;
    let error = store.add_certificate(nameless).await.unwrap_err();
    assert!(matches!(error, Error::Inconsistent(_)));
    let mut homeless = record_with_key(account, None, Exportable::Never);
    homeless.version = None;
    let error = store.add_certificate(homeless).await.unwrap_err();
    assert!(matches!(error, Error::Inconsistent(_)));
}

async fn overlong_records_are_refused_and_overlong_details_are_cut(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut overlong = record(account, None);
    overlong.certificate.name = "n".repeat(store::NAME_LIMIT + 1);
    let error = store.add_certificate(overlong).await.unwrap_err();
    assert!(matches!(
        error,
        Error::TooLong {
            limit: store::NAME_LIMIT,
            ..
        }
    ));
    let mut overlong = record(account, None);
    overlong.version.as_mut().unwrap().intermediates = vec![vec![0; store::CHAIN_LIMIT]];
    let error = store.add_certificate(overlong).await.unwrap_err();
    assert!(matches!(
        error,
        Error::TooLong {
            limit: store::CHAIN_LIMIT,
            ..
        }
    ));

    let mut longest = record(account, None);
    longest.certificate.name = "n".repeat(store::NAME_LIMIT);
    longest.certificate.common_name = "c".repeat(store::NAME_LIMIT);
    longest.event.detail = "é".repeat(store::DETAIL_LIMIT);
    store.add_certificate(longest).await.unwrap();
    let events = store
        .events_after(Scope::Account(account), None, 10)
        .await
        .unwrap();
    assert_eq!(
        events.last().unwrap().detail,
        "é".repeat(store::DETAIL_LIMIT / 2)
    );
}

async fn odd_characters_are_stored(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut odd = record(account, None);
    odd.certificate.name = "it's ?1 $1 \"quoted\" 証明書".to_owned();
    odd.certificate.identifiers = Vec::new();
    odd.version.as_mut().unwrap().subject = "CN=with\0nul".to_owned();
    odd.version.as_mut().unwrap().intermediates = Vec::new();
    let reference = CertificateRef::Name(odd.certificate.name.clone());
    store.add_certificate(odd).await.unwrap();
    let read = store
        .certificate(Scope::Account(account), &reference)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.identifiers, [""; 0]);
    let current = read.current.unwrap();
    assert_eq!(current.subject, "CN=with\u{fffd}nul");
    let chain = store.chain(Scope::Account(account), current.id).await;
    assert_eq!(chain.unwrap().unwrap().intermediates, [[0_u8; 0]; 0]);
}
