//! What ends soon is told once, by whichever node.

use store::{CertificateId, ExpiryPlace, Scope};

use crate::support::{Database, account, event, moment, record};

on_both_databases!(
    a_place_moves_with_its_events_or_not_at_all,
    a_certificate_is_superseded_by_a_younger_one_that_ends_later,
);

async fn a_place_moves_with_its_events_or_not_at_all(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let told = || vec![event(Some(account), "certificate.expiring")];
    let place = |seconds, certificate_id| ExpiryPlace {
        not_after: moment(seconds),
        certificate_id,
    };
    let id = CertificateId::random();
    let (first, middle, last) = (place(1, None), place(1, Some(id)), place(9, None));
    assert_eq!(store.expiry_place(7).await.unwrap(), None);
    let moved = store.move_expiry_place(7, None, first, told()).await;
    assert!(moved.unwrap());
    // As a node that does not know of the other.
    let moved = store.move_expiry_place(7, None, last, told()).await;
    assert!(!moved.unwrap());
    let moved = store
        .move_expiry_place(7, Some(first), middle, told())
        .await;
    assert!(moved.unwrap());
    let moved = store.move_expiry_place(7, Some(first), last, told()).await;
    assert!(!moved.unwrap());
    assert_eq!(store.expiry_place(7).await.unwrap(), Some(middle));
    assert_eq!(store.expiry_place(1).await.unwrap(), None);
    let moved = store.move_expiry_place(7, Some(middle), last, told()).await;
    assert!(moved.unwrap());
    let events = store.events_after(Scope::Account(account), None, 100);
    let events = events.await.unwrap();
    let told = events
        .iter()
        .filter(|event| event.kind == "certificate.expiring");
    assert_eq!(told.count(), 3);
}

async fn a_certificate_is_superseded_by_a_younger_one_that_ends_later(database: &Database) {
    let store = database.open().await;
    let (owner, stranger) = (account(&store).await, account(&store).await);
    let mut ids = Vec::new();
    for (account, name, created_at, not_after) in [
        (owner, "a.test", 0, 100),
        (owner, "a.test", 1, 200),
        (stranger, "a.test", 2, 300),
        (owner, "b.test", 0, 100),
        (owner, "b.test", 1, 50),
    ] {
        let mut record = record(account, None);
        record.certificate.common_name = name.to_owned();
        record.certificate.created_at = moment(created_at);
        if let Some(version) = &mut record.version {
            version.not_after = moment(not_after);
        }
        ids.push(record.certificate.id);
        store.add_certificate(record).await.unwrap();
    }
    let superseded = store.superseded(&ids).await.unwrap();
    assert_eq!(superseded, ids[..1]);
}
