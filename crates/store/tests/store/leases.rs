//! Work that is due, and who does it.

use std::collections::BTreeSet;

use store::{
    AccountId, AuthorityId, CertificateId, Claimable, Error, Exportable, NewVersionRecord, Owners,
    Scope, State, Store,
};
use tokio::task::JoinSet;

use crate::support::{
    Database, account, add_directory, authority, event, find, moment, pending, private_key, record,
    renewal, request, version,
};

on_both_databases!(
    what_is_due_is_claimed_longest_due_first,
    nothing_waits_behind_all_that_was_due_before_it,
    issuers_that_have_enough_to_do_are_left_out,
    accounts_with_directories_of_their_own_are_claimed_apart,
    a_claim_that_was_not_used_is_due_again,
    no_two_nodes_claim_the_same_work,
    a_failed_attempt_is_noted_and_postponed,
    a_renewal_is_due_when_the_version_says,
    claimed_work_is_finished_together,
    work_whose_claim_is_over_is_left_alone,
    a_serial_that_was_used_before_spoils_all_that_is_finished_with_it,
);

async fn claim(store: &Store, now: i64, until: i64, limit: usize) -> BTreeSet<CertificateId> {
    let claimed = store
        .claim_due(moment(now), moment(until), limit, Claimable::default())
        .await;
    let claimed = claimed.unwrap().into_iter();
    claimed.map(|certificate| certificate.id).collect()
}

async fn what_is_due_is_claimed_longest_due_first(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let late = request(&store, account, 30).await;
    let early = request(&store, account, 10).await;
    let middle = request(&store, account, 20).await;
    store.add_certificate(record(account, None)).await.unwrap();
    assert_eq!(claim(&store, 9, 100, 10).await, [].into());
    assert_eq!(claim(&store, 29, 100, 1).await, [early].into());
    assert_eq!(claim(&store, 29, 100, 10).await, [middle].into());
    assert_eq!(claim(&store, 29, 100, 10).await, [].into());
    let claimed = store
        .claim_due(moment(30), moment(100), 10, Claimable::default())
        .await
        .unwrap();
    assert_eq!(claimed[0].id, late);
    let state = State::Pending {
        attempt: 2,
        next_attempt_at: moment(100),
    };
    assert_eq!((&claimed[0].state, claimed[0].attempt), (&state, 2));
    assert_eq!(claimed[0].next_action_at, Some(moment(100)));
    assert_eq!(claim(&store, 99, 100, 0).await, [].into());
}

async fn nothing_waits_behind_all_that_was_due_before_it(database: &Database) {
    let store = database.open().await;
    let greedy = account(&store).await;
    let modest = account(&store).await;
    let oldest = request(&store, greedy, 10).await;
    for _ in 0..20 {
        request(&store, greedy, 20).await;
    }
    let newest = request(&store, modest, 30).await;
    let claimed = claim(&store, 30, 100, 4).await;
    assert_eq!(claimed.len(), 4);
    assert!(claimed.contains(&oldest) && claimed.contains(&newest));
    // What stands on both sides is claimed once.
    assert_eq!(claim(&store, 30, 100, 100).await.len(), 18);
}

async fn issuers_that_have_enough_to_do_are_left_out(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut ids = Vec::new();
    for issuer in [Some("busy"), Some("idle"), None, Some("full")] {
        let mut pending = pending(account, 10);
        pending.certificate.issuer = issuer.map(ToOwned::to_owned);
        ids.push(pending.certificate.id);
        store.add_certificate(pending).await.unwrap();
    }
    let except = ["busy".to_owned(), "full".to_owned(), "other".to_owned()];
    let claimable = Claimable {
        except_authorities: &except,
        ..Claimable::default()
    };
    let claimed = store.claim_due(moment(10), moment(50), 10, claimable).await;
    let claimed: BTreeSet<_> = claimed.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(claimed, [ids[1], ids[2]].into());
    assert_eq!(claim(&store, 10, 50, 10).await, [ids[0], ids[3]].into());
}

async fn accounts_with_directories_of_their_own_are_claimed_apart(database: &Database) {
    let store = database.open().await;
    let (plain, owner) = (account(&store).await, account(&store).await);
    add_directory(&store, None, "shared").await;
    add_directory(&store, Some(owner), "shared").await;
    add_directory(&store, Some(owner), "own").await;
    let mut ids = Vec::new();
    for (account, issuer) in [
        (plain, "shared"),
        (owner, "shared"),
        (owner, "own"),
        (owner, "public"),
    ] {
        let mut pending = pending(account, 10);
        pending.certificate.issuer = Some(issuer.to_owned());
        ids.push(pending.certificate.id);
        store.add_certificate(pending).await.unwrap();
    }
    let busy = ["shared".to_owned(), "public".to_owned()];
    let own = [(owner, "own".to_owned())];
    let (with, without) = (Owners::WithDirectories, Owners::WithoutDirectories);
    let all = Claimable::default();
    let mut until = 50;
    for (claimable, expected) in [
        (
            Claimable {
                owners: without,
                ..all
            },
            vec![ids[0]],
        ),
        (
            Claimable {
                owners: with,
                ..all
            },
            vec![ids[1], ids[2], ids[3]],
        ),
        // What the owner means by the name is another directory.
        (
            Claimable {
                except_shared: &busy,
                ..all
            },
            vec![ids[1], ids[2]],
        ),
        (
            Claimable {
                except_own: &own,
                ..all
            },
            vec![ids[0], ids[1], ids[3]],
        ),
        (
            Claimable {
                except_accounts: &[owner],
                ..all
            },
            vec![ids[0]],
        ),
    ] {
        let now = moment(until);
        until += 50;
        let claimed = store.claim_due(now, moment(until), 10, claimable).await;
        let claimed: BTreeSet<_> = claimed.unwrap().into_iter().map(|one| one.id).collect();
        assert_eq!(claimed, expected.into_iter().collect(), "{claimable:?}");
        until += 50;
    }
}

async fn a_claim_that_was_not_used_is_due_again(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = request(&store, account, 10).await;
    assert_eq!(claim(&store, 10, 50, 10).await, [id].into());
    assert_eq!(claim(&store, 49, 90, 10).await, [].into());
    assert_eq!(claim(&store, 50, 90, 10).await, [id].into());
}

async fn no_two_nodes_claim_the_same_work(database: &Database) {
    let store = database.open().await;
    let other_node = database.open().await;
    let account = account(&store).await;
    let mut expected = BTreeSet::new();
    for _ in 0..100 {
        expected.insert(request(&store, account, 10).await);
    }
    let mut tasks = JoinSet::new();
    for index in 0..8 {
        let store = [&store, &other_node][index % 2].clone();
        tasks.spawn(async move {
            let mut all = Vec::new();
            // Who finds others at work may come away empty-handed, and looks again.
            for _ in 0..50 {
                all.extend(claim(&store, 20, 100, 7).await);
            }
            all
        });
    }
    let claimed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 100, "each once");
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), expected);
}

async fn a_failed_attempt_is_noted_and_postponed(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let valid = record(account, None);
    let id = valid.certificate.id;
    store.add_certificate(valid).await.unwrap();
    let failed = || event(Some(account), "certificate.failed");
    store
        .postpone(
            scope,
            id,
            3,
            moment(70),
            Some("no luck".to_owned()),
            failed(),
        )
        .await
        .unwrap();
    let found = find(&store, scope, id).await.unwrap();
    assert_eq!(found.state, State::Valid);
    assert_eq!((found.attempt, found.next_action_at), (3, Some(moment(70))));
    assert_eq!(found.failure.as_deref(), Some("no luck"));
    assert_eq!(claim(&store, 70, 100, 10).await, [id].into());
    let stranger = Scope::Account(AccountId::random());
    let missed = store
        .postpone(stranger, id, 4, moment(80), None, failed())
        .await;
    assert!(matches!(missed, Err(Error::NotFound)));
}

async fn a_renewal_is_due_when_the_version_says(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let id = request(&store, account, 10).await;
    let mut issued = renewal(version(None), &[], None, event(None, "certificate.issued"));
    issued.next_action_at = Some(moment(500));
    store.add_version(scope, id, issued).await.unwrap();
    let found = find(&store, scope, id).await.unwrap();
    assert_eq!(
        (found.attempt, found.next_action_at),
        (0, Some(moment(500)))
    );
    assert_eq!(claim(&store, 499, 600, 10).await, [].into());
    assert_eq!(claim(&store, 500, 600, 10).await, [id].into());
}

/// A version with a key of the house's own, and names.
fn obtained(authority: Option<AuthorityId>, names: &[&str]) -> NewVersionRecord {
    let key = private_key(Exportable::Never);
    let mut version = version(authority);
    version.private_key_id = Some(key.id);
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut obtained = renewal(
        version,
        &names,
        Some(key),
        event(None, "certificate.issued"),
    );
    obtained.next_action_at = Some(moment(500));
    obtained
}

async fn claimed_work_is_finished_together(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let mut ids = BTreeSet::new();
    for _ in 0..5 {
        ids.insert(request(&store, account, 10).await);
    }
    assert_eq!(claim(&store, 10, 50, 10).await, ids);
    let names = ["a.example", "b.example"];
    let finished: Vec<_> = ids.iter().map(|id| (*id, obtained(None, &names))).collect();
    let held = store.finish_claimed(moment(50), finished.clone()).await;
    assert_eq!(held.unwrap().into_iter().collect::<BTreeSet<_>>(), ids);
    for (id, record) in finished {
        let found = find(&store, scope, id).await.unwrap();
        assert_eq!((found.state, found.attempt), (State::Valid, 0));
        assert_eq!(found.next_action_at, Some(moment(500)));
        assert_eq!(found.identifiers, names);
        let current = found.current.unwrap();
        assert_eq!(
            (current.id, current.certificate_id),
            (record.version.id, id)
        );
        let key = record.key.unwrap().id;
        assert!(store.private_key(scope, key).await.unwrap().is_some());
    }
    let covering = store.certificates_covering(scope, &["b.example"]).await;
    assert!(ids.contains(&covering.unwrap()[0].certificate_id));
    let issued = store
        .events_after(Scope::Everything, None, 1_000)
        .await
        .unwrap()
        .into_iter();
    assert_eq!(
        issued
            .filter(|event| event.kind == "certificate.issued")
            .count(),
        5
    );
    assert_eq!(database.count("certificate_names").await, 10);
    assert_eq!(database.count("versions").await, 5);
}

async fn work_whose_claim_is_over_is_left_alone(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let held = request(&store, account, 10).await;
    let deleted = request(&store, account, 10).await;
    let claimed_again = request(&store, account, 10).await;
    let all = BTreeSet::from([held, deleted, claimed_again]);
    assert_eq!(claim(&store, 10, 50, 10).await, all);
    let gone = store.delete_certificate(scope, deleted, event(None, "certificate.deleted"));
    assert!(gone.await.unwrap());
    let state = State::Pending {
        attempt: 2,
        next_attempt_at: moment(90),
    };
    let moved =
        store.set_certificate_state(scope, claimed_again, state, None, event(None, "claimed"));
    moved.await.unwrap();
    let before = find(&store, scope, claimed_again).await;

    let finished = all
        .into_iter()
        .map(|id| (id, obtained(None, &["a.example"])));
    let finished = store.finish_claimed(moment(50), finished.collect()).await;
    assert_eq!(finished.unwrap(), [held].into());
    assert_eq!(find(&store, scope, claimed_again).await, before);
    assert_eq!(database.count("versions").await, 1);
    assert_eq!(database.count("private_keys").await, 1);
    assert_eq!(database.count("certificate_names").await, 1);
}

async fn a_serial_that_was_used_before_spoils_all_that_is_finished_with_it(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let authority = authority(&store).await;
    let used = record(account, Some(authority));
    let serial = used.version.clone().unwrap().serial;
    store.add_certificate(used).await.unwrap();
    let fine = request(&store, account, 10).await;
    let spoilt = request(&store, account, 10).await;
    assert_eq!(claim(&store, 10, 50, 10).await.len(), 2);
    let mut same = obtained(Some(authority), &[]);
    same.version.serial = serial;
    let finished = vec![(fine, obtained(Some(authority), &[])), (spoilt, same)];
    let refused = store.finish_claimed(moment(50), finished).await;
    assert!(matches!(refused, Err(Error::DuplicateSerial)));
    let found = find(&store, Scope::Account(account), fine).await.unwrap();
    assert_eq!(found.current, None);
    assert_eq!(database.count("versions").await, 1);

    let mut fetchable = obtained(Some(authority), &[]);
    fetchable.key.as_mut().unwrap().exportable = Exportable::Until(moment(60));
    let refused = store
        .finish_claimed(moment(50), vec![(fine, fetchable)])
        .await;
    assert!(matches!(refused, Err(Error::Inconsistent(_))));
    assert_eq!(
        store.finish_claimed(moment(50), Vec::new()).await.unwrap(),
        [].into()
    );
}
