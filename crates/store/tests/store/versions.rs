//! Renewing, revoking and removing, and what OCSP and CRLs see of it.

use pki::{Revocation, RevocationReason};
use store::{
    AuthorityId, CertificateId, Error, Exportable, IssuedStatus, RevokeOutcome, Scope, State,
    Store, VersionId,
};

use crate::support::{
    Database, ISSUER, account, authority, event, find, moment, private_key, record,
    record_with_key, renewal, version,
};

on_both_databases!(
    a_renewal_becomes_the_current_version_and_keeps_the_old_one,
    a_serial_is_found_by_its_low_half_even_above_the_sign_bit,
    serials_from_outside_are_not_looked_up,
    ocsp_sees_what_was_issued_and_by_whom,
    the_first_revocation_counts,
    revoking_an_old_version_leaves_the_certificate_valid,
    revoking_erases_only_keys_kept_for_a_limited_time,
    revoked_versions_are_paged_until_they_end,
    removing_a_certificate_keeps_what_was_issued,
    a_state_can_be_set,
    simultaneous_revocations_count_once_each,
);

const COMPROMISED: Revocation = Revocation {
    at: time::OffsetDateTime::UNIX_EPOCH,
    reason: RevocationReason::KeyCompromise,
};

async fn revoke(store: &Store, version: VersionId, revocation: Revocation) -> RevokeOutcome {
    store
        .revoke_version(
            Scope::Everything,
            version,
            revocation,
            event(None, "version.revoked"),
        )
        .await
        .unwrap()
}

async fn revocations(store: &Store, authority: AuthorityId) -> u64 {
    let standing = store.shard(authority, 0).await.unwrap();
    standing.unwrap().revocations
}

/// Adds a certificate issued by that authority; returns it and its version.
async fn add(store: &Store, authority: AuthorityId) -> (CertificateId, VersionId, Vec<u8>) {
    let record = record(account(store).await, Some(authority));
    let version = record.version.as_ref().unwrap();
    let added = (record.certificate.id, version.id, version.serial.clone());
    store.add_certificate(record).await.unwrap();
    added
}

async fn a_renewal_becomes_the_current_version_and_keeps_the_old_one(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let mut added = record(account, None);
    let first = added.version.take().unwrap();
    added.certificate.state = State::Pending {
        attempt: 1,
        next_attempt_at: moment(9),
    };
    let id = added.certificate.id;
    store.add_certificate(added).await.unwrap();

    let renewed = || event(Some(account), "certificate.renewed");
    let names = ["new.example.com".to_owned(), "192.0.2.7".to_owned()];
    store
        .add_version(scope, id, renewal(first.clone(), &names, None, renewed()))
        .await
        .unwrap();
    let certificate = find(&store, scope, id).await.unwrap();
    assert_eq!(certificate.state, State::Valid);
    assert_eq!(certificate.identifiers, names);
    assert_eq!(certificate.current.unwrap().id, first.id);

    let key = private_key(Exportable::Never);
    let mut second = version(None);
    second.id = VersionId::at(moment(60));
    second.private_key_id = Some(key.id);
    let key_id = key.id;
    store
        .add_version(
            scope,
            id,
            renewal(second.clone(), &names, Some(key), renewed()),
        )
        .await
        .unwrap();
    let certificate = find(&store, scope, id).await.unwrap();
    assert_eq!(certificate.current.unwrap().id, second.id);
    let versions = store.versions(scope, id).await.unwrap();
    let ids: Vec<_> = versions.iter().map(|version| version.id).collect();
    assert_eq!(ids, [second.id, first.id]);
    assert_eq!(
        store.version(scope, first.id).await.unwrap().as_ref(),
        Some(&versions[1])
    );
    assert!(store.private_key(scope, key_id).await.unwrap().is_some());

    let nobody = CertificateId::random();
    let error = store
        .add_version(
            scope,
            nobody,
            renewal(version(None), &names, None, renewed()),
        )
        .await;
    assert!(matches!(error, Err(Error::NotFound)));
    let error = store
        .add_version(scope, id, renewal(second, &names, None, renewed()))
        .await;
    assert!(matches!(error, Err(Error::Duplicate)), "{error:?}");
}

async fn a_serial_is_found_by_its_low_half_even_above_the_sign_bit(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let authority = authority(&store).await;
    for low in [1, i64::MAX as u64, (1 << 63) + 5, u64::MAX] {
        let mut record = record(account, Some(authority));
        let version = record.version.as_mut().unwrap();
        version.serial = [&[0x7f; 8], low.to_be_bytes().as_slice()].concat();
        let (id, serial) = (version.id, version.serial.clone());
        store.add_certificate(record).await.unwrap();
        let found = store
            .version_by_serial_low(Scope::Account(account), low)
            .await
            .unwrap();
        let found = found.unwrap();
        assert_eq!((found.id, found.serial), (id, serial));
    }
    assert_eq!(
        store
            .version_by_serial_low(Scope::Everything, 2)
            .await
            .unwrap(),
        None
    );
}

async fn serials_from_outside_are_not_looked_up(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    for _ in 0..2 {
        let mut record = record(account, None);
        record.version.as_mut().unwrap().serial = vec![0, 0, 0xff];
        let id = record.certificate.id;
        store.add_certificate(record).await.unwrap();
        let current = find(&store, Scope::Account(account), id)
            .await
            .unwrap()
            .current
            .unwrap();
        assert_eq!(current.serial, [0, 0, 0xff], "kept as it came");
    }
    assert_eq!(
        store
            .version_by_serial_low(Scope::Everything, 0xff)
            .await
            .unwrap(),
        None
    );
}

async fn ocsp_sees_what_was_issued_and_by_whom(database: &Database) {
    let store = database.open().await;
    let (ours, theirs) = (authority(&store).await, authority(&store).await);
    let (certificate_id, version, serial) = add(&store, ours).await;
    let good = IssuedStatus {
        certificate_id,
        revocation: None,
        not_after: moment(1_000_000),
        issuer: "CN=Issuer,O=Somebody".to_owned(),
    };
    assert_eq!(
        store.issued_version(ours, &serial).await.unwrap(),
        Some(good.clone())
    );
    let padded = [&[0], serial.as_slice()].concat();
    assert_eq!(
        store.issued_version(ours, &padded).await.unwrap(),
        Some(good.clone())
    );
    assert_eq!(store.issued_version(theirs, &serial).await.unwrap(), None);
    let same_low_half = [&[9], serial.as_slice()].concat();
    assert_eq!(
        store.issued_version(ours, &same_low_half).await.unwrap(),
        None
    );
    assert_eq!(store.issued_version(ours, &[]).await.unwrap(), None);

    revoke(&store, version, COMPROMISED).await;
    let revoked = IssuedStatus {
        revocation: Some(COMPROMISED),
        ..good
    };
    assert_eq!(
        store.issued_version(ours, &serial).await.unwrap(),
        Some(revoked)
    );
}

async fn the_first_revocation_counts(database: &Database) {
    let store = database.open().await;
    let authority = authority(&store).await;
    let (certificate, version, _) = add(&store, authority).await;
    assert_eq!(revocations(&store, authority).await, 0);
    assert_eq!(
        revoke(&store, version, COMPROMISED).await,
        RevokeOutcome::Revoked
    );
    let later = Revocation {
        at: moment(50),
        reason: RevocationReason::Superseded,
    };
    assert_eq!(
        revoke(&store, version, later).await,
        RevokeOutcome::AlreadyRevoked
    );
    let nobody = VersionId::at(moment(0));
    assert_eq!(revoke(&store, nobody, later).await, RevokeOutcome::NotFound);

    let found = find(&store, Scope::Everything, certificate).await.unwrap();
    assert_eq!(found.state, State::Revoked);
    assert_eq!(found.current.unwrap().revocation, Some(COMPROMISED));
    assert_eq!(revocations(&store, authority).await, 1);
    let events = store
        .events_after(Scope::Everything, None, 100)
        .await
        .unwrap();
    let told = events
        .iter()
        .filter(|event| event.kind == "version.revoked")
        .count();
    assert_eq!(told, 1);
}

async fn revoking_an_old_version_leaves_the_certificate_valid(database: &Database) {
    let store = database.open().await;
    let authority = authority(&store).await;
    let (certificate, old, _) = add(&store, authority).await;
    let renewed = event(None, "certificate.renewed");
    let new = version(Some(authority));
    store
        .add_version(
            Scope::Everything,
            certificate,
            renewal(new, &[], None, renewed),
        )
        .await
        .unwrap();
    assert_eq!(
        revoke(&store, old, COMPROMISED).await,
        RevokeOutcome::Revoked
    );
    let found = find(&store, Scope::Everything, certificate).await.unwrap();
    assert_eq!(found.state, State::Valid);
    assert_eq!(found.current.unwrap().revocation, None);
}

async fn revoking_erases_only_keys_kept_for_a_limited_time(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let authority = authority(&store).await;
    for (exportable, kept) in [
        (Exportable::Until(moment(10)), false),
        (Exportable::Always, true),
        (Exportable::Never, true),
    ] {
        let record = record_with_key(account, Some(authority), exportable);
        let key = record.key.as_ref().unwrap().id;
        let version = record.version.as_ref().unwrap().id;
        store.add_certificate(record).await.unwrap();
        revoke(&store, version, COMPROMISED).await;
        let found = store
            .private_key(Scope::Account(account), key)
            .await
            .unwrap();
        assert_eq!(found.is_some(), kept, "{exportable:?}");
    }
}

async fn revoked_versions_are_paged_until_they_end(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let (ours, theirs) = (authority(&store).await, authority(&store).await);
    let mut expected = Vec::new();
    for index in 0..10 {
        let mut record = record(account, Some(if index == 9 { theirs } else { ours }));
        let version = record.version.as_mut().unwrap();
        version.not_after = moment(if index < 2 { 99 } else { 100 + index });
        if index == 8 {
            version.issuer = "CN=Its successor".to_owned();
        }
        let (id, serial) = (version.id, version.serial.clone());
        store.add_certificate(record).await.unwrap();
        if index != 5 {
            revoke(&store, id, COMPROMISED).await;
        }
        if (2..8).contains(&index) && index != 5 {
            expected.push((id, serial));
        }
    }
    expected.sort();
    let mut found = Vec::new();
    loop {
        let after = found.last().map(|(id, _)| *id);
        let page = store
            .revoked_page((ours, 0), ISSUER, after, 2, moment(100))
            .await
            .unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.iter().all(|revoked| revoked.revocation == COMPROMISED));
        found.extend(page.into_iter().map(|revoked| (revoked.id, revoked.serial)));
    }
    assert_eq!(found, expected);
}

async fn removing_a_certificate_keeps_what_was_issued(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let authority = authority(&store).await;
    let issued = record_with_key(account, Some(authority), Exportable::Always);
    let key = issued.key.as_ref().unwrap().id;
    let (id, name) = (issued.certificate.id, issued.certificate.name.clone());
    let first = issued.version.as_ref().unwrap().clone();
    store.add_certificate(issued).await.unwrap();
    let uploaded_key = private_key(Exportable::Never);
    let uploaded_key_id = uploaded_key.id;
    let mut uploaded = version(None);
    uploaded.private_key_id = Some(uploaded_key.id);
    let uploaded_id = uploaded.id;
    let replaced = event(Some(account), "certificate.replaced");
    store
        .add_version(
            scope,
            id,
            renewal(uploaded, &[], Some(uploaded_key), replaced),
        )
        .await
        .unwrap();

    let removed = event(Some(account), "certificate.removed");
    assert!(
        store
            .delete_certificate(scope, id, removed.clone())
            .await
            .unwrap()
    );
    assert!(!store.delete_certificate(scope, id, removed).await.unwrap());
    assert!(find(&store, scope, id).await.is_none());
    assert!(store.private_key(scope, key).await.unwrap().is_none());
    assert!(
        store
            .private_key(scope, uploaded_key_id)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(store.version(scope, uploaded_id).await.unwrap(), None);
    assert!(store.version(scope, first.id).await.unwrap().is_some());
    assert!(
        store
            .issued_version(authority, &first.serial)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(
        revoke(&store, first.id, COMPROMISED).await,
        RevokeOutcome::Revoked
    );
    assert_eq!(
        store
            .revoked_page((authority, 0), ISSUER, None, 10, moment(0))
            .await
            .unwrap()
            .len(),
        1
    );

    let mut successor = record(account, None);
    successor.certificate.name = name;
    store.add_certificate(successor).await.unwrap();
}

async fn a_state_can_be_set(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let added = record(account, None);
    let id = added.certificate.id;
    store.add_certificate(added).await.unwrap();
    for state in [
        State::Pending {
            attempt: 200,
            next_attempt_at: moment(3),
        },
        State::Error {
            reason: "the directory does not answer".to_owned(),
        },
        State::Revoked,
        State::Valid,
    ] {
        let changed = event(Some(account), "certificate.changed");
        store
            .set_certificate_state(scope, id, state.clone(), None, changed)
            .await
            .unwrap();
        assert_eq!(find(&store, scope, id).await.unwrap().state, state);
    }
    let changed = event(Some(account), "certificate.changed");
    let nobody = CertificateId::random();
    let error = store
        .set_certificate_state(scope, nobody, State::Valid, None, changed)
        .await;
    assert!(matches!(error, Err(Error::NotFound)));
}

/// CockroachDB knows no other isolation; there every conflict must be met by trying again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_of_serializable_transactions_are_tried_again() {
    let database = Database::postgres();
    database.make_serializable().await;
    simultaneous_revocations_count_once_each(&database).await;
}

async fn simultaneous_revocations_count_once_each(database: &Database) {
    let store = database.open().await;
    let authority = authority(&store).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (certificate, version, _) = add(&store, authority).await;
        // Twice the revocation and once the removal, all at the same time.
        for _ in 0..2 {
            let store = store.clone();
            tasks.spawn(async move { revoke(&store, version, COMPROMISED).await });
        }
        let store = store.clone();
        tasks.spawn(async move {
            let removed = event(None, "certificate.removed");
            store
                .delete_certificate(Scope::Everything, certificate, removed)
                .await
                .unwrap();
            RevokeOutcome::AlreadyRevoked
        });
    }
    let outcomes = tasks.join_all().await;
    let revoked = outcomes
        .iter()
        .filter(|outcome| **outcome == RevokeOutcome::Revoked)
        .count();
    assert_eq!(revoked, 20);
    assert_eq!(revocations(&store, authority).await, 20);
}
