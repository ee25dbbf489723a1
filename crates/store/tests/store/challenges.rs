//! Challenges that are being met, and what is cleaned up after them.

use store::{ChallengeId, ChallengeState, Error, PendingChallenge, Scope, Store};

use crate::support::{
    Database, account, add_directory, challenge, claimed, event, moment, order, txt_record,
};

on_both_databases!(
    challenges_come_back_as_they_were_written,
    challenges_are_written_by_who_has_the_claim_only,
    http_and_tls_are_answered_by_name,
    ended_challenges_are_withdrawn_or_forgotten,
    a_withdrawal_that_failed_is_due_again,
    challenges_that_nobody_ends_are_over_when_they_expire,
    withdrawals_outlive_the_certificate,
    malformed_challenges_are_refused,
);

/// Writes challenges for a certificate that is claimed until 50.
async fn put(store: &Store, challenges: &[PendingChallenge]) {
    let id = challenges[0].certificate_id;
    let put = store.put_challenges(id, moment(50), challenges.to_vec());
    assert!(put.await.unwrap());
}

async fn claim(store: &Store, now: i64, until: i64) -> Vec<ChallengeId> {
    let claimed = store
        .claim_withdrawals(moment(now), moment(until), 10)
        .await;
    let mut claimed: Vec<_> = claimed
        .unwrap()
        .into_iter()
        .map(|challenge| {
            assert_eq!(challenge.state, ChallengeState::Done);
            assert!(challenge.record.is_some());
            challenge.id
        })
        .collect();
    claimed.sort();
    claimed
}

async fn challenges_come_back_as_they_were_written(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = claimed(&store, account).await;
    let other = claimed(&store, account).await;
    let mut made = vec![
        challenge(account, id, "dns-01", Some(txt_record())),
        challenge(account, id, "http-01", None),
    ];
    made.sort_by_key(|challenge| challenge.id);
    put(&store, &made).await;
    assert_eq!(store.challenges_of(id).await.unwrap(), made);
    assert_eq!(store.challenges_of(other).await.unwrap(), []);
    for state in [ChallengeState::Presented, ChallengeState::Answered] {
        made[0].state = state;
        let ids = [made[0].id];
        let advanced = store.advance_challenges(id, moment(50), &ids, state).await;
        assert!(advanced.unwrap());
        assert_eq!(store.challenges_of(id).await.unwrap(), made);
    }
    // Those of another certificate are not reached.
    let (ids, state) = ([made[1].id], ChallengeState::Done);
    let advanced = store
        .advance_challenges(other, moment(50), &ids, state)
        .await;
    assert!(advanced.unwrap());
    assert_eq!(store.challenges_of(id).await.unwrap(), made);
}

async fn challenges_are_written_by_who_has_the_claim_only(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = claimed(&store, account).await;
    let made = vec![challenge(account, id, "http-01", None)];
    let late = store.put_challenges(id, moment(51), made.clone()).await;
    assert!(!late.unwrap());
    assert_eq!(store.challenges_of(id).await.unwrap(), []);
    put(&store, &made).await;
    let ids = [made[0].id];
    let late = store.advance_challenges(id, moment(51), &ids, ChallengeState::Answered);
    assert!(!late.await.unwrap());
    let late = store.finish_challenges(id, moment(51), moment(20)).await;
    assert!(!late.unwrap());
    assert_eq!(store.challenges_of(id).await.unwrap(), made);
}

async fn http_and_tls_are_answered_by_name(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = claimed(&store, account).await;
    let http = challenge(account, id, "http-01", None);
    let mut tls = challenge(account, id, "tls-alpn-01", None);
    let mut newer = challenge(account, id, "tls-alpn-01", None);
    (tls.id, newer.id) = (ChallengeId::at(moment(1)), ChallengeId::at(moment(2)));
    let dns = challenge(account, id, "dns-01", Some(txt_record()));
    put(
        &store,
        &[http.clone(), tls.clone(), newer.clone(), dns.clone()],
    )
    .await;

    let found = store.challenge_for_http("a.example", &http.token).await;
    assert_eq!(found.unwrap(), Some(http.key_authorization.clone()));
    for (name, token) in [
        ("b.example", &http.token),
        ("a.example", &tls.token),
        ("a.example", &dns.token),
        ("a.example", &"token\0".to_owned()),
        ("", &String::new()),
    ] {
        let found = store.challenge_for_http(name, token).await.unwrap();
        assert_eq!(found, None, "{name} {token}");
    }
    let found = store.challenge_for_tls("a.example").await.unwrap();
    assert_eq!(found, Some(newer.key_authorization));
    for name in ["b.example", "a\0.example"] {
        assert_eq!(store.challenge_for_tls(name).await.unwrap(), None);
    }

    let finished = store.finish_challenges(id, moment(50), moment(20)).await;
    assert!(finished.unwrap());
    let found = store.challenge_for_http("a.example", &http.token).await;
    assert_eq!(found.unwrap(), None);
    let found = store.challenge_for_tls("a.example").await;
    assert_eq!(found.unwrap(), None);
}

async fn ended_challenges_are_withdrawn_or_forgotten(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let directory = add_directory(&store, None, "le").await;
    let id = claimed(&store, account).await;
    let begun = store.begin_order(moment(50), order(account, id, directory));
    assert!(begun.await.unwrap());
    let first = challenge(account, id, "dns-01", Some(txt_record()));
    put(
        &store,
        &[first.clone(), challenge(account, id, "http-01", None)],
    )
    .await;
    assert_eq!(claim(&store, 20, 60).await, []);
    let finished = store.finish_challenges(id, moment(50), moment(20)).await;
    assert!(finished.unwrap());
    assert!(store.order(id).await.unwrap().is_some(), "it goes on");
    assert_eq!(database.count("challenges").await, 1);
    assert_eq!(claim(&store, 20, 60).await, [first.id]);

    // The next kind is tried while the record of the first is being withdrawn.
    let second = challenge(account, id, "dns-01", Some(txt_record()));
    put(&store, std::slice::from_ref(&second)).await;
    let ended = store.end_order(id, moment(50), moment(30)).await;
    assert!(ended.unwrap());
    assert_eq!(
        claim(&store, 30, 60).await,
        [second.id],
        "the first is claimed"
    );
    assert!(store.withdrawn(first.id).await.unwrap());
    assert!(!store.withdrawn(first.id).await.unwrap());
    assert_eq!(claim(&store, 60, 90).await, [second.id]);
    assert!(store.withdrawn(second.id).await.unwrap());
    assert_eq!(database.count("challenges").await, 0);
}

async fn a_withdrawal_that_failed_is_due_again(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = claimed(&store, account).await;
    let made = challenge(account, id, "dns-01", Some(txt_record()));
    put(&store, std::slice::from_ref(&made)).await;
    let finished = store.finish_challenges(id, moment(50), moment(20)).await;
    assert!(finished.unwrap());
    assert_eq!(claim(&store, 20, 60).await, [made.id]);
    let late = store.put_off_withdrawal(made.id, moment(61), moment(99));
    assert!(!late.await.unwrap());
    let put_off = store.put_off_withdrawal(made.id, moment(60), moment(80));
    assert!(put_off.await.unwrap());
    assert_eq!(claim(&store, 79, 120).await, []);
    assert_eq!(claim(&store, 80, 120).await, [made.id]);
    assert_eq!(claim(&store, 119, 150).await, []);
    assert_eq!(claim(&store, 120, 150).await, [made.id]);
}

async fn challenges_that_nobody_ends_are_over_when_they_expire(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = claimed(&store, account).await;
    let published = challenge(account, id, "dns-01", Some(txt_record()));
    let answered = challenge(account, id, "http-01", None);
    let mut lasting = challenge(account, id, "http-01", None);
    lasting.expires_at = moment(2_000);
    put(&store, &[published.clone(), answered, lasting.clone()]).await;
    assert_eq!(claim(&store, 999, 1_100).await, []);
    assert_eq!(database.count("challenges").await, 3);
    assert_eq!(claim(&store, 1_000, 1_100).await, [published.id]);
    assert!(store.withdrawn(published.id).await.unwrap());
    assert_eq!(store.challenges_of(id).await.unwrap(), [lasting]);
}

async fn withdrawals_outlive_the_certificate(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let directory = add_directory(&store, None, "le").await;
    let id = claimed(&store, account).await;
    let begun = store.begin_order(moment(50), order(account, id, directory));
    assert!(begun.await.unwrap());
    let made = challenge(account, id, "dns-01", Some(txt_record()));
    put(&store, std::slice::from_ref(&made)).await;
    let mut deleted = event(Some(account), "certificate.deleted");
    deleted.at = moment(20);
    let gone = store.delete_certificate(Scope::Account(account), id, deleted);
    assert!(gone.await.unwrap());
    let left = store.claim_withdrawals(moment(20), moment(60), 10).await;
    let left = left.unwrap();
    assert_eq!((left.len(), &left[0].record), (1, &made.record));
}

async fn malformed_challenges_are_refused(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = claimed(&store, account).await;
    let other = claimed(&store, account).await;
    let good = challenge(account, id, "http-01", None);
    let foreign = challenge(account, other, "http-01", None);
    let refused = store.put_challenges(id, moment(50), vec![good.clone(), foreign]);
    let refused = refused.await;
    assert!(
        matches!(refused, Err(Error::Inconsistent(_))),
        "{refused:?}"
    );
    let mut long = challenge(account, id, "http-01", None);
    long.token = "x".repeat(2_000);
    let refused = store.put_challenges(id, moment(50), vec![good.clone(), long]);
    let refused = refused.await;
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
    let refused = store.put_challenges(id, moment(50), vec![good.clone(), good]);
    let refused = refused.await;
    assert!(matches!(refused, Err(Error::Duplicate)), "{refused:?}");
    assert_eq!(database.count("challenges").await, 0);
}
