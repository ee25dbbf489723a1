//! Orders under way, and to whom they belong.

use store::{
    CertificateId, Error, Exportable, NewDirectoryOrder, NewVersionRecord, RevokeOutcome, Scope,
    SealError, State, Store,
};

use pki::{Revocation, RevocationReason};

use crate::support::{
    Database, account, add_directory, challenge, claimed, event, find, moment, order, private_key,
    record, renewal, txt_record, version,
};

on_both_databases!(
    an_order_comes_back_with_its_key,
    the_key_of_an_order_opens_for_its_certificate_alone,
    an_order_is_written_by_who_has_the_claim_only,
    a_certificate_has_one_order_at_a_time,
    an_order_goes_on_with_whoever_claims_next,
    orders_under_way_are_counted,
    a_version_ends_the_order_that_it_came_from,
    a_certificate_that_is_deleted_leaves_no_order_behind,
    a_certificate_that_is_revoked_leaves_no_order_behind,
    a_certificate_that_is_moved_to_another_state_leaves_no_order_behind,
);

/// A certificate, claimed until 50, with an order that has a challenge with a record and one
/// without.
async fn ordered(store: &Store) -> NewDirectoryOrder {
    let account = account(store).await;
    let name = format!("directory-{}", crate::support::unique());
    let directory = add_directory(store, None, &name).await;
    let id = claimed(store, account).await;
    let order = order(account, id, directory);
    begin_with_challenges(store, &order).await;
    order
}

async fn begin_with_challenges(store: &Store, order: &NewDirectoryOrder) {
    assert!(store.begin_order(moment(50), order.clone()).await.unwrap());
    let (account, id) = (order.account_id, order.certificate_id);
    let challenges = vec![
        challenge(account, id, "dns-01", Some(txt_record())),
        challenge(account, id, "http-01", None),
    ];
    let put = store.put_challenges(id, moment(50), challenges).await;
    assert!(put.unwrap());
}

/// That there is no order, and that what was published for it is due for withdrawal at `now`.
async fn assert_ended(store: &Store, certificate: CertificateId, now: i64) {
    assert!(store.order(certificate).await.unwrap().is_none());
    let left = store.challenges_of(certificate).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].kind, "dns-01");
    let claim = |at: i64| store.claim_withdrawals(moment(at), moment(9_999), 10);
    assert_eq!(claim(now - 1).await.unwrap(), []);
    assert_eq!(claim(now).await.unwrap(), left);
}

async fn an_order_comes_back_with_its_key(database: &Database) {
    let store = database.open().await;
    let made = ordered(&store).await;
    let id = made.certificate_id;
    let found = store.order(id).await.unwrap().unwrap();
    assert_eq!(
        (found.certificate_id, found.account_id, found.directory_id),
        (id, made.account_id, made.directory_id)
    );
    assert_eq!(found.identifiers, made.identifiers);
    assert_eq!(found.profile, made.profile);
    assert_eq!(found.replaces, made.replaces);
    assert_eq!(found.challenge, made.challenge);
    assert_eq!(found.key.to_pkcs8_der(), made.key.to_pkcs8_der());
    assert_eq!(
        (found.created_at, found.updated_at),
        (moment(11), moment(11))
    );
    assert_eq!((&found.url, found.expires_at), (&None, None));

    let url = "https://acme.example/order/7";
    let placed = store.place_order(id, moment(50), url, Some(moment(900)), moment(12));
    assert!(placed.await.unwrap());
    let preferred = store.prefer_challenge(id, moment(50), "http-01", moment(13));
    assert!(preferred.await.unwrap());
    let found = store.order(id).await.unwrap().unwrap();
    assert_eq!(found.url.as_deref(), Some(url));
    assert_eq!(found.expires_at, Some(moment(900)));
    assert_eq!(found.challenge.as_deref(), Some("http-01"));
    assert_eq!(
        (found.created_at, found.updated_at),
        (moment(11), moment(13))
    );

    assert!(store.end_order(id, moment(50), moment(14)).await.unwrap());
    assert_ended(&store, id, 14).await;
    assert!(store.end_order(id, moment(50), moment(15)).await.unwrap());
    let placed = store.place_order(id, moment(50), url, None, moment(16));
    assert!(!placed.await.unwrap(), "there is no order any more");
}

async fn the_key_of_an_order_opens_for_its_certificate_alone(database: &Database) {
    let store = database.open().await;
    let one = ordered(&store).await;
    let other = ordered(&store).await;
    let hex = |id: CertificateId| {
        let digits = id.as_uuid().as_simple().to_string();
        if database.is_sqlite() {
            format!("x'{digits}'")
        } else {
            format!("'\\x{digits}'")
        }
    };
    database
        .tamper(&format!(
            "update orders set sealed_key = (select sealed_key from orders \
             where certificate_id = {}) where certificate_id = {}",
            hex(one.certificate_id),
            hex(other.certificate_id)
        ))
        .await;
    assert!(store.order(one.certificate_id).await.unwrap().is_some());
    let refused = store.order(other.certificate_id).await;
    assert!(matches!(refused, Err(Error::Seal(SealError::Corrupt))));
}

async fn an_order_is_written_by_who_has_the_claim_only(database: &Database) {
    let store = database.open().await;
    let made = ordered(&store).await;
    let id = made.certificate_id;
    let lost = moment(51);
    let unclaimed = claimed(&store, made.account_id).await;
    let mut late = order(made.account_id, unclaimed, made.directory_id);
    assert!(!store.begin_order(lost, late.clone()).await.unwrap());
    late.certificate_id = CertificateId::random();
    assert!(!store.begin_order(moment(50), late).await.unwrap());
    assert!(
        !store
            .place_order(id, lost, "x", None, moment(12))
            .await
            .unwrap()
    );
    assert!(
        !store
            .prefer_challenge(id, lost, "x", moment(12))
            .await
            .unwrap()
    );
    assert!(!store.end_order(id, lost, moment(12)).await.unwrap());
    let found = store.order(id).await.unwrap().unwrap();
    assert_eq!((found.url, found.updated_at), (None, moment(11)));
    assert_eq!(store.challenges_of(id).await.unwrap().len(), 2);
    assert_eq!(database.count("orders").await, 1);
}

async fn a_certificate_has_one_order_at_a_time(database: &Database) {
    let store = database.open().await;
    let made = ordered(&store).await;
    let again = order(made.account_id, made.certificate_id, made.directory_id);
    let refused = store.begin_order(moment(50), again.clone()).await;
    assert!(matches!(refused, Err(Error::Duplicate)), "{refused:?}");
    let found = store.order(made.certificate_id).await.unwrap().unwrap();
    assert_eq!(found.key.to_pkcs8_der(), made.key.to_pkcs8_der());
    let ended = store.end_order(made.certificate_id, moment(50), moment(12));
    assert!(ended.await.unwrap());
    assert!(store.begin_order(moment(50), again).await.unwrap());

    let mut long = order(
        made.account_id,
        claimed(&store, made.account_id).await,
        made.directory_id,
    );
    long.profile = Some("x".repeat(5_000));
    let refused = store.begin_order(moment(50), long).await;
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
}

async fn an_order_goes_on_with_whoever_claims_next(database: &Database) {
    let store = database.open().await;
    let made = ordered(&store).await;
    let id = made.certificate_id;
    store.close().await;
    let store = database.open().await;
    let again = store
        .claim_due(moment(50), moment(90), 10, store::Claimable::default())
        .await;
    assert_eq!(again.unwrap()[0].id, id);
    let found = store.order(id).await.unwrap().unwrap();
    assert_eq!(found.key.to_pkcs8_der(), made.key.to_pkcs8_der());
    let late = store.place_order(id, moment(50), "late", None, moment(51));
    assert!(!late.await.unwrap());
    let placed = store.place_order(id, moment(90), "now", None, moment(51));
    assert!(placed.await.unwrap());
}

async fn orders_under_way_are_counted(database: &Database) {
    let store = database.open().await;
    assert_eq!(store.orders_in_flight().await.unwrap(), 0);
    let one = ordered(&store).await;
    ordered(&store).await;
    assert_eq!(store.orders_in_flight().await.unwrap(), 2);
    let ended = store.end_order(one.certificate_id, moment(50), moment(12));
    assert!(ended.await.unwrap());
    assert_eq!(store.orders_in_flight().await.unwrap(), 1);
}

/// A version with the key that was ordered for.
fn obtained(order: &NewDirectoryOrder, at: i64) -> NewVersionRecord {
    let mut key = private_key(Exportable::Never);
    key.key = order.key.clone();
    let mut version = version(None);
    version.private_key_id = Some(key.id);
    version.directory_id = Some(order.directory_id);
    let issued = event(Some(order.account_id), "certificate.issued");
    let mut obtained = renewal(version, &order.identifiers, Some(key), issued);
    obtained.renew_at = Some(moment(700));
    obtained.next_action_at = Some(moment(600));
    obtained.event.at = moment(at);
    obtained
}

async fn a_version_ends_the_order_that_it_came_from(database: &Database) {
    let store = database.open().await;
    let made = ordered(&store).await;
    let other = ordered(&store).await;
    let id = made.certificate_id;
    let scope = Scope::Account(made.account_id);
    let finished = vec![(id, obtained(&made, 20))];
    let held = store.finish_claimed(moment(50), finished).await.unwrap();
    assert_eq!(held, [id].into());
    assert_ended(&store, id, 20).await;
    assert!(store.order(other.certificate_id).await.unwrap().is_some());
    let found = find(&store, scope, id).await.unwrap();
    assert_eq!(found.state, State::Valid);
    assert_eq!(
        (found.renew_at, found.next_action_at),
        (Some(moment(700)), Some(moment(600)))
    );
    let current = found.current.unwrap();
    assert_eq!(current.directory_id, Some(made.directory_id));
    let served = store.served_version(id).await.unwrap().unwrap();
    assert_eq!(served.version, current);
    assert_eq!(served.key.pkcs8, made.key.to_pkcs8_der());

    let added = store.add_version(
        Scope::Everything,
        other.certificate_id,
        obtained(&other, 30),
    );
    added.await.unwrap();
    assert_ended(&store, other.certificate_id, 30).await;
}

async fn a_certificate_that_is_deleted_leaves_no_order_behind(database: &Database) {
    let store = database.open().await;
    let made = ordered(&store).await;
    let id = made.certificate_id;
    let mut gone = event(Some(made.account_id), "certificate.deleted");
    gone.at = moment(20);
    let stranger = Scope::Account(account(&store).await);
    assert!(
        !store
            .delete_certificate(stranger, id, gone.clone())
            .await
            .unwrap()
    );
    assert!(store.order(id).await.unwrap().is_some());
    let scope = Scope::Account(made.account_id);
    assert!(
        store
            .delete_certificate(scope, id, gone.clone())
            .await
            .unwrap()
    );
    assert_ended(&store, id, 20).await;
    let late = store.place_order(id, moment(50), "late", None, moment(21));
    assert!(!late.await.unwrap());
    // The account can go, although something is still to be withdrawn.
    assert!(store.delete_account(made.account_id, gone).await.unwrap());
}

async fn a_certificate_that_is_revoked_leaves_no_order_behind(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let directory = add_directory(&store, None, "le").await;
    let scope = Scope::Account(account);
    let old = record(account, None);
    let (id, old_version) = (old.certificate.id, old.version.clone().unwrap().id);
    let names = old.certificate.identifiers.clone();
    store.add_certificate(old).await.unwrap();
    let mut due = renewal(version(None), &names, None, event(None, "renewed"));
    due.next_action_at = Some(moment(10));
    let current = due.version.id;
    store.add_version(scope, id, due).await.unwrap();
    let claimed = store
        .claim_due(moment(10), moment(50), 10, store::Claimable::default())
        .await;
    assert_eq!(claimed.unwrap()[0].id, id);
    begin_with_challenges(&store, &order(account, id, directory)).await;

    let revoke = async |version, at: i64| {
        let revocation = Revocation {
            at: moment(at),
            reason: RevocationReason::Superseded,
        };
        let revoked = event(Some(account), "certificate.revoked");
        let outcome = store.revoke_version(scope, version, revocation, revoked);
        assert_eq!(outcome.await.unwrap(), RevokeOutcome::Revoked);
    };
    // One that was replaced long ago changes nothing about what is under way.
    revoke(old_version, 15).await;
    assert!(store.order(id).await.unwrap().is_some());
    assert_eq!(find(&store, scope, id).await.unwrap().state, State::Valid);
    let superseded = store.version(scope, old_version).await.unwrap().unwrap();
    assert_eq!(superseded.revocation.unwrap().at, moment(15));

    revoke(current, 20).await;
    assert_ended(&store, id, 20).await;
    assert_eq!(find(&store, scope, id).await.unwrap().state, State::Revoked);
}

async fn a_certificate_that_is_moved_to_another_state_leaves_no_order_behind(database: &Database) {
    let store = database.open().await;
    let made = ordered(&store).await;
    let id = made.certificate_id;
    let state = State::Error {
        reason: "given up".to_owned(),
    };
    let mut changed = event(None, "certificate.failed");
    changed.at = moment(20);
    let moved = store.set_certificate_state(Scope::Everything, id, state, None, changed);
    moved.await.unwrap();
    assert_ended(&store, id, 20).await;
    let found = find(&store, Scope::Everything, id).await.unwrap();
    assert_eq!(found.failure.as_deref(), Some("given up"));
}
