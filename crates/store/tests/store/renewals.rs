//! How it goes on with claimed certificates of which there is no new version.

use store::{AccountId, CertificateId, Error, Scope, Setback, State, Store};

use crate::support::{
    Database, account, add_directory, challenge, claimed, event, find, kinds, moment, order,
    record, renewal, request, txt_record, version,
};

on_both_databases!(
    a_claim_is_given_back_or_extended_by_who_has_it,
    a_renewal_is_moved_by_who_has_the_claim,
    a_setback_is_written_down_by_who_has_the_claim,
    a_setback_of_a_renewal_leaves_the_version_in_service,
    giving_up_ends_the_order,
    success_clears_the_failure,
    what_is_wanted_now_is_due_at_once,
    what_is_under_way_is_not_begun_again,
    only_what_is_obtained_is_renewed,
);

const EVERYTHING: Scope = Scope::Everything;

/// A valid certificate that is to be renewed at 100 and was claimed at that time until 150.
async fn due(store: &Store, account: AccountId) -> CertificateId {
    let valid = record(account, None);
    let id = valid.certificate.id;
    let names = valid.certificate.identifiers.clone();
    store.add_certificate(valid).await.unwrap();
    let mut obtained = renewal(version(None), &names, None, event(None, "obtained"));
    (obtained.renew_at, obtained.next_action_at) = (Some(moment(100)), Some(moment(100)));
    store.add_version(EVERYTHING, id, obtained).await.unwrap();
    let claimed = store
        .claim_due(moment(100), moment(150), 10, store::Claimable::default())
        .await;
    assert!(claimed.unwrap().iter().any(|claimed| claimed.id == id));
    id
}

fn setback(next_attempt_at: Option<i64>) -> Setback {
    Setback {
        at: moment(20),
        failure: "a CAA record forbids it".to_owned(),
        attempt: 3,
        next_attempt_at: next_attempt_at.map(moment),
        ends_order: false,
        event: Some(event(None, "certificate.failed")),
    }
}

async fn a_claim_is_given_back_or_extended_by_who_has_it(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = claimed(&store, account).await;
    assert!(!store.release(id, moment(49), moment(20)).await.unwrap());
    assert!(store.release(id, moment(50), moment(80)).await.unwrap());
    assert!(!store.release(id, moment(50), moment(90)).await.unwrap());
    let none = store
        .claim_due(moment(79), moment(100), 10, store::Claimable::default())
        .await;
    assert_eq!(none.unwrap(), []);
    assert!(store.release(id, moment(80), moment(20)).await.unwrap());
    let again = store
        .claim_due(moment(20), moment(100), 10, store::Claimable::default())
        .await;
    let again = again.unwrap();
    assert_eq!((again[0].id, again[0].attempt), (id, 2));
}

async fn a_renewal_is_moved_by_who_has_the_claim(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = due(&store, account).await;
    let late = store.schedule(id, moment(149), moment(400), moment(300));
    assert!(!late.await.unwrap());
    let before = find(&store, EVERYTHING, id).await.unwrap();
    assert_eq!(before.renew_at, Some(moment(100)));
    let moved = store.schedule(id, moment(150), moment(400), moment(300));
    assert!(moved.await.unwrap());
    let found = find(&store, EVERYTHING, id).await.unwrap();
    assert_eq!(
        (found.renew_at, found.next_action_at),
        (Some(moment(400)), Some(moment(300)))
    );
    assert_eq!(found.state, State::Valid);
}

async fn a_setback_is_written_down_by_who_has_the_claim(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let directory = add_directory(&store, None, "le").await;
    let id = claimed(&store, account).await;
    let begun = store.begin_order(moment(50), order(account, id, directory));
    assert!(begun.await.unwrap());
    let before = find(&store, EVERYTHING, id).await.unwrap();
    let late = store.put_off(id, moment(49), setback(Some(70))).await;
    assert!(!late.unwrap());
    assert_eq!(find(&store, EVERYTHING, id).await.unwrap(), before);

    let written = store.put_off(id, moment(50), setback(Some(70))).await;
    assert!(written.unwrap());
    let found = find(&store, EVERYTHING, id).await.unwrap();
    let state = State::Pending {
        attempt: 3,
        next_attempt_at: moment(70),
    };
    assert_eq!(found.state, state);
    assert_eq!(found.failure.as_deref(), Some("a CAA record forbids it"));
    assert!(store.order(id).await.unwrap().is_some(), "it goes on");
    let events = store.events_after(EVERYTHING, None, 100).await.unwrap();
    let failed = events
        .iter()
        .filter(|event| event.kind == "certificate.failed");
    assert_eq!(failed.count(), 1);

    // Waiting alone is no news, but what was waited for stays.
    let again = store
        .claim_due(moment(70), moment(90), 10, store::Claimable::default())
        .await;
    let claimed = again.unwrap().remove(0);
    assert_eq!(claimed.failure.as_deref(), Some("a CAA record forbids it"));
    let silent = Setback {
        failure: "é".repeat(4_000),
        ends_order: true,
        event: None,
        ..setback(Some(99))
    };
    assert!(store.put_off(id, moment(90), silent).await.unwrap());
    assert!(store.order(id).await.unwrap().is_none());
    let found = find(&store, EVERYTHING, id).await.unwrap();
    assert_eq!(found.failure.unwrap().len(), 4_096);
    let later = store.events_after(EVERYTHING, None, 100).await.unwrap();
    assert_eq!(later, events);
}

async fn a_setback_of_a_renewal_leaves_the_version_in_service(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = due(&store, account).await;
    let before = find(&store, EVERYTHING, id).await.unwrap();
    let written = store.put_off(id, moment(150), setback(Some(170))).await;
    assert!(written.unwrap());
    let found = find(&store, EVERYTHING, id).await.unwrap();
    assert_eq!(
        (&found.state, &found.current),
        (&State::Valid, &before.current)
    );
    assert_eq!(
        (found.attempt, found.next_action_at),
        (3, Some(moment(170)))
    );
    assert_eq!(found.renew_at, Some(moment(100)));
}

async fn giving_up_ends_the_order(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let directory = add_directory(&store, None, "le").await;
    let pending = claimed(&store, account).await;
    let begun = store.begin_order(moment(50), order(account, pending, directory));
    assert!(begun.await.unwrap());
    let published = challenge(account, pending, "dns-01", Some(txt_record()));
    let put = store.put_challenges(pending, moment(50), vec![published]);
    assert!(put.await.unwrap());
    let valid = due(&store, account).await;
    for (id, until) in [(pending, 50), (valid, 150)] {
        // The other one was claimed with it.
        let held = find(&store, EVERYTHING, id).await.unwrap().next_action_at;
        assert!(held >= Some(moment(until)));
        let written = store.put_off(id, held.unwrap(), setback(None)).await;
        assert!(written.unwrap());
        let found = find(&store, EVERYTHING, id).await.unwrap();
        let state = State::Error {
            reason: "a CAA record forbids it".to_owned(),
        };
        assert_eq!(found.state, state);
        assert_eq!((found.renew_at, found.next_action_at), (None, None));
    }
    assert!(store.order(pending).await.unwrap().is_none());
    let due = store.claim_withdrawals(moment(20), moment(60), 10).await;
    assert_eq!(due.unwrap().len(), 1);
}

async fn success_clears_the_failure(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    for is_together in [false, true] {
        let id = due(&store, account).await;
        let failed = store.put_off(id, moment(150), setback(Some(100))).await;
        assert!(failed.unwrap());
        let obtained = renewal(version(None), &[], None, event(None, "obtained"));
        if is_together {
            let again = store
                .claim_due(moment(100), moment(160), 10, store::Claimable::default())
                .await;
            assert_eq!(again.unwrap().len(), 1);
            let finished = store.finish_claimed(moment(160), vec![(id, obtained)]);
            assert_eq!(finished.await.unwrap(), [id].into());
        } else {
            store.add_version(EVERYTHING, id, obtained).await.unwrap();
        }
        let found = find(&store, EVERYTHING, id).await.unwrap();
        assert_eq!((found.failure, found.attempt), (None, 0));
        assert_eq!((found.renew_at, found.next_action_at), (None, None));
    }
}

async fn what_is_wanted_now_is_due_at_once(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let valid = due(&store, account).await;
    let put_off = store.put_off(valid, moment(150), setback(Some(900))).await;
    assert!(put_off.unwrap());
    let pending = request(&store, account, 900).await;
    for id in [valid, pending] {
        let wanted = event(Some(account), "certificate.requested");
        let renewed = store.renew_now(scope, id, moment(200), wanted).await;
        renewed.unwrap();
        let found = find(&store, scope, id).await.unwrap();
        assert_eq!(
            (found.attempt, found.next_action_at),
            (0, Some(moment(200)))
        );
        assert_eq!(found.renew_at, Some(moment(200)));
    }
    let claimed = store
        .claim_due(moment(200), moment(250), 10, store::Claimable::default())
        .await;
    assert_eq!(claimed.unwrap().len(), 2);
    assert!(
        kinds(&store, account)
            .await
            .contains(&"certificate.requested".to_owned())
    );
}

async fn what_is_under_way_is_not_begun_again(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let directory = add_directory(&store, None, "le").await;
    let id = claimed(&store, account).await;
    let begun = store.begin_order(moment(50), order(account, id, directory));
    assert!(begun.await.unwrap());
    let wanted = event(Some(account), "certificate.requested");
    let renewed = store.renew_now(Scope::Account(account), id, moment(20), wanted);
    renewed.await.unwrap();
    let none = store
        .claim_due(moment(20), moment(90), 10, store::Claimable::default())
        .await;
    assert_eq!(none.unwrap(), []);
    let placed = store.place_order(id, moment(50), "url", None, moment(21));
    assert!(placed.await.unwrap(), "the claim is held");
}

async fn only_what_is_obtained_is_renewed(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let id = due(&store, account).await;
    let wanted = || event(None, "certificate.requested");
    let stranger = Scope::Account(AccountId::random());
    let missed = store.renew_now(stranger, id, moment(200), wanted()).await;
    assert!(matches!(missed, Err(Error::NotFound)), "{missed:?}");
    for state in [
        State::Revoked,
        State::Error {
            reason: String::new(),
        },
    ] {
        let moved = store.set_certificate_state(scope, id, state, None, event(None, "moved"));
        moved.await.unwrap();
        let missed = store.renew_now(scope, id, moment(200), wanted()).await;
        assert!(matches!(missed, Err(Error::NotFound)), "{missed:?}");
    }
}
