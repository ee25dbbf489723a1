//! Targets and what is placed on them.

use pki::{Revocation, RevocationReason};
use store::{
    AccountId, Acknowledgement, Among, CertificateId, Deliverable, Error, Exportable, Placement,
    Refusal, Registration, Scope, ServiceId, Store, TARGET_SERVICES_LIMIT, Target,
    TargetDirectoryId, TargetId, VersionId,
};
use time::Duration;

use crate::support::{
    Database, account, authority, domain, event, kinds, moment, pending, record, record_with_key,
    service, unique,
};

on_both_databases!(
    a_target_comes_back_and_is_changed_by_its_owner_alone,
    a_name_is_given_once_in_an_account,
    what_has_a_key_and_was_not_revoked_can_be_delivered,
    services_tell_which_of_their_certificates_can_be_delivered,
    what_is_placed_comes_before_what_is_new_where_not_all_can_be,
    a_placement_begins_with_the_offer_and_ends_with_the_removal,
    what_is_no_news_leaves_no_event,
    certificates_of_other_accounts_are_not_placed,
    a_target_takes_its_placements_along,
);

pub(crate) fn target(account: AccountId) -> Target {
    Target {
        id: TargetId::random(),
        account_id: account,
        name: format!("target-{}", unique()),
        services: None,
        directory_id: Some(TargetDirectoryId::random()),
        is_overfull: false,
        seen_at: None,
        created_at: moment(3),
    }
}

pub(crate) async fn add(store: &Store, account: AccountId) -> TargetId {
    let target = target(account);
    let id = target.id;
    register(store, &target).await.unwrap();
    id
}

pub(crate) async fn register(store: &Store, target: &Target) -> Result<Registration, Error> {
    let owner = Some(target.account_id);
    let [added, changed] = ["target.added", "target.changed"].map(|kind| event(owner, kind));
    store.register_target(target.clone(), added, changed).await
}

/// A certificate with a key that stays.
async fn certificate(store: &Store, account: AccountId) -> (CertificateId, VersionId, String) {
    let record = record_with_key(account, None, Exportable::Never);
    let version = record.version.as_ref().unwrap().id;
    let (id, name) = (record.certificate.id, record.certificate.name.clone());
    store.add_certificate(record).await.unwrap();
    (id, version, name)
}

async fn say(
    store: &Store,
    account: AccountId,
    target: TargetId,
    certificate: CertificateId,
    said: Acknowledgement,
) {
    let said = vec![(certificate, said, event(Some(account), "placement"))];
    store.acknowledge_placements(target, said).await.unwrap();
}

async fn placement(store: &Store, target: TargetId) -> Option<Placement> {
    let mut found = store.placements_of_target(target).await.unwrap();
    assert!(found.len() <= 1, "{found:?}");
    found.pop()
}

async fn a_target_comes_back_and_is_changed_by_its_owner_alone(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let intruder = account(&store).await;
    let mut target = target(owner);
    let done = |target: &Target| Registration::Done(target.clone());
    assert_eq!(register(&store, &target).await.unwrap(), done(&target));
    let find = || async { store.target_named(owner, &target.name).await.unwrap() };
    assert_eq!(find().await, Some(target.clone()));
    assert_eq!(
        store.target_named(intruder, &target.name).await.unwrap(),
        None
    );
    assert_eq!(store.targets(intruder, None, 10).await.unwrap(), vec![]);

    store.see_target(target.id, moment(9)).await.unwrap();
    target.seen_at = Some(moment(9));
    for services in [
        Some(vec![ServiceId::random(), ServiceId::random()]),
        Some(Vec::new()),
        None,
    ] {
        // What only the first registration says is not said again.
        let again = Target {
            id: TargetId::random(),
            services: services.clone(),
            created_at: moment(77),
            ..target.clone()
        };
        target.services = services;
        assert_eq!(register(&store, &again).await.unwrap(), done(&target));
        assert_eq!(find().await, Some(target.clone()));
        assert_eq!(register(&store, &again).await.unwrap(), done(&target));
    }
    let told = kinds(&store, owner).await;
    let changed = "target.changed";
    let expected = ["account.created", "target.added", changed, changed, changed];
    assert_eq!(told, expected);
    let many = Target {
        services: Some(vec![ServiceId::random(); TARGET_SERVICES_LIMIT + 1]),
        ..target.clone()
    };
    let many = register(&store, &many).await;
    assert!(matches!(many, Err(Error::TooLong { .. })), "{many:?}");

    for (scope, is_removed) in [(intruder, false), (owner, true), (owner, false)] {
        let removal = event(Some(owner), "target.removed");
        let removed = store.remove_target(Scope::Account(scope), target.id, removal);
        assert_eq!(removed.await.unwrap(), is_removed);
    }
    assert_eq!(find().await, None);
    let back = register(&store, &target).await.unwrap();
    assert_eq!(back, done(&target), "its directory registers it anew");
}

async fn a_name_is_given_once_in_an_account(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let first = target(one);
    for account in [one, other] {
        let same = Target {
            id: TargetId::random(),
            account_id: account,
            ..first.clone()
        };
        let made = register(&store, &same).await.unwrap();
        assert_eq!(made, Registration::Done(same));
    }
    let second = Target {
        name: format!("{}-b", first.name),
        ..target(one)
    };
    register(&store, &second).await.unwrap();
    let listed = store.targets(one, None, 10).await.unwrap();
    let listed: Vec<&str> = listed.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(listed, [first.name.as_str(), second.name.as_str()]);
    let rest = store.targets(one, Some(&first.name), 10).await.unwrap();
    assert_eq!(rest.len(), 1);
    let orphan = register(&store, &target(AccountId::random())).await;
    assert!(matches!(orphan, Err(Error::UnknownAccount)), "{orphan:?}");
}

async fn what_has_a_key_and_was_not_revoked_can_be_delivered(database: &Database) {
    let store = database.open().await;
    let (owner, other) = (account(&store).await, account(&store).await);
    certificate(&store, other).await;
    let (good, version, name) = certificate(&store, owner).await;
    let keyless = record(owner, None);
    let waiting = pending(owner, 5);
    let limited = record_with_key(owner, None, Exportable::Until(moment(9)));
    let authority = authority(&store).await;
    let revoked = record_with_key(owner, Some(authority), Exportable::Never);
    let revoked_version = revoked.version.as_ref().unwrap().id;
    let limited_id = limited.certificate.id;
    let ids = [&keyless, &waiting, &limited, &revoked].map(|record| record.certificate.id);
    for record in [keyless, waiting, limited, revoked] {
        store.add_certificate(record).await.unwrap();
    }
    let revocation = Revocation {
        at: moment(0),
        reason: RevocationReason::KeyCompromise,
    };
    let revoking = store.revoke_version(
        Scope::Everything,
        revoked_version,
        revocation,
        event(None, "version.revoked"),
    );
    revoking.await.unwrap();

    let found = store
        .deliverable_to(owner, None, Among::All, 10)
        .await
        .unwrap();
    let [only] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (only.certificate_id, only.version_id, &only.name),
        (good, version, &name)
    );
    assert_eq!(
        store
            .deliverable_to(owner, None, Among::All, 0)
            .await
            .unwrap(),
        vec![]
    );
    // Nor does who asks for one by name get a key that does not stay.
    let asked: Vec<CertificateId> = ids.into_iter().chain([good]).collect();
    let found = store.deliverable(Scope::Account(owner), &asked).await;
    let ids = |found: Vec<Deliverable>| {
        let mut ids: Vec<_> = found.iter().map(|one| one.certificate_id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(found.unwrap()), [good]);
    let foreign = store.deliverable(Scope::Account(other), &asked).await;
    assert_eq!(foreign.unwrap(), vec![]);

    // With a service that is served with it, it stays.
    let shop = service(owner);
    let shop_id = shop.id;
    let served = domain(&format!("k{}.example", unique()), Some(limited_id));
    let made = store.create_service(shop, vec![served], Vec::new());
    made.await.unwrap();
    let mut both = [good, limited_id];
    both.sort();
    let found = store.deliverable_to(owner, None, Among::All, 10).await;
    assert_eq!(ids(found.unwrap()), both);
    let found = store.deliverable(Scope::Account(owner), &asked).await;
    assert_eq!(ids(found.unwrap()), both);
    let found = store
        .deliverable_to(owner, Some(&[shop_id]), Among::All, 10)
        .await;
    assert_eq!(ids(found.unwrap()), [limited_id]);
}

async fn services_tell_which_of_their_certificates_can_be_delivered(database: &Database) {
    let store = database.open().await;
    let (owner, other) = (account(&store).await, account(&store).await);
    let (first, _, _) = certificate(&store, owner).await;
    let (alternate, _, _) = certificate(&store, owner).await;
    let (unused, _, _) = certificate(&store, owner).await;
    let (foreign, _, _) = certificate(&store, other).await;
    let one = service(owner);
    let two = service(owner);
    let (one_id, two_id) = (one.id, two.id);
    let number = unique();
    let mut served = domain(&format!("a{number}.example"), Some(first));
    served.alternate_id = Some(alternate);
    let again = domain(&format!("b{number}.example"), Some(first));
    let others = domain(&format!("c{number}.example"), Some(foreign));
    let made = store.create_service(one, vec![served, again, others], Vec::new());
    made.await.unwrap();
    let unserved = domain(&format!("d{number}.example"), None);
    let made = store.create_service(two, vec![unserved], Vec::new());
    made.await.unwrap();

    let wanted = |services: Vec<ServiceId>| {
        let store = &store;
        async move {
            let found = store
                .deliverable_to(owner, Some(&services), Among::All, 10)
                .await;
            let found = found.unwrap();
            let mut ids: Vec<_> = found.iter().map(|one| one.certificate_id).collect();
            ids.sort();
            ids
        }
    };
    let mut both = vec![first, alternate];
    both.sort();
    assert_eq!(wanted(vec![one_id]).await, both);
    assert_eq!(
        wanted(vec![two_id, one_id, ServiceId::random()]).await,
        both
    );
    assert_eq!(wanted(vec![two_id]).await, vec![]);
    assert_eq!(wanted(Vec::new()).await, vec![]);
    assert!(!both.contains(&unused));
}

async fn what_is_placed_comes_before_what_is_new_where_not_all_can_be(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let target = add(&store, owner).await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(certificate(&store, owner).await.0);
    }
    let offer = event(Some(owner), "certificate.key_taken");
    assert!(store.offer_placement(target, all[2], offer).await.unwrap());
    let shop = service(owner);
    let services = [shop.id];
    let served = domain(&format!("s{}.example", unique()), Some(all[0]));
    let made = store.create_service(shop, vec![served], Vec::new());
    made.await.unwrap();
    let wanted = |services, among, limit| {
        let store = &store;
        async move {
            let found = store.deliverable_to(owner, services, among, limit).await;
            let ids = found.unwrap().into_iter().map(|one| one.certificate_id);
            ids.collect::<Vec<CertificateId>>()
        }
    };
    assert_eq!(wanted(None, Among::PlacedOn(target), 10).await, [all[2]]);
    assert_eq!(wanted(None, Among::One(all[1]), 1).await, [all[1]]);
    assert_eq!(wanted(None, Among::All, 2).await.len(), 2);
    let some = Some(services.as_slice());
    assert_eq!(wanted(some, Among::PlacedOn(target), 10).await, []);
    assert_eq!(wanted(some, Among::One(all[0]), 1).await, [all[0]]);
    assert_eq!(wanted(some, Among::One(all[1]), 1).await, []);
    for (services, limit, expected) in [
        (None, 10, 3),
        (None, 2, 2),
        (some, 10, 1),
        (Some([].as_slice()), 9, 0),
    ] {
        let count = store.count_deliverable(owner, services, limit).await;
        assert_eq!(count.unwrap(), expected);
    }
}

async fn a_placement_begins_with_the_offer_and_ends_with_the_removal(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let target = add(&store, owner).await;
    let (id, version, name) = certificate(&store, owner).await;
    assert_eq!(placement(&store, target).await, None);
    let mut offer = event(Some(owner), "certificate.key_taken");
    offer.at = moment(5);
    let offered = store.offer_placement(target, id, offer.clone()).await;
    assert!(offered.unwrap());
    let mut expected = Placement {
        target_id: target,
        certificate_id: id,
        name,
        version_id: None,
        refusal: None,
        updated_at: moment(5),
    };
    assert_eq!(placement(&store, target).await, Some(expected.clone()));

    let refusal = Refusal {
        version_id: Some(version),
        reason: "no space left on device".to_owned(),
    };
    let refused = Acknowledgement::Refused(refusal.clone());
    say(&store, owner, target, id, refused).await;
    expected.refusal = Some(refusal);
    expected.updated_at = moment(0);
    assert_eq!(placement(&store, target).await, Some(expected.clone()));

    say(&store, owner, target, id, Acknowledgement::Placed(version)).await;
    expected.refusal = None;
    expected.version_id = Some(version);
    assert_eq!(placement(&store, target).await, Some(expected.clone()));
    // What is offered next takes nothing of what is there back.
    assert!(store.offer_placement(target, id, offer).await.unwrap());
    assert_eq!(placement(&store, target).await, Some(expected.clone()));

    let deletion = event(Some(owner), "certificate.deleted");
    let deleted = store.delete_certificate(Scope::Account(owner), id, deletion);
    assert!(deleted.await.unwrap());
    let stuck = Refusal {
        version_id: None,
        reason: "x".repeat(5_000),
    };
    say(&store, owner, target, id, Acknowledgement::Refused(stuck)).await;
    let found = store.placements_of_certificates(&[id]).await.unwrap();
    let [held] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(held.version_id, Some(version));
    assert_eq!(held.refusal.as_ref().unwrap().reason.len(), 1_024);
    say(&store, owner, target, id, Acknowledgement::Removed).await;
    assert_eq!(
        store.placements_of_certificates(&[id]).await.unwrap(),
        vec![]
    );
}

async fn what_is_no_news_leaves_no_event(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let target = add(&store, owner).await;
    let (id, version, _) = certificate(&store, owner).await;
    let newer = VersionId::at(moment(0) + Duration::DAY);
    let refused = |version, reason: &str| {
        Acknowledgement::Refused(Refusal {
            version_id: Some(version),
            reason: reason.to_owned(),
        })
    };
    for (said, is_news) in [
        (Acknowledgement::Removed, false),
        (Acknowledgement::Placed(version), true),
        (Acknowledgement::Placed(version), false),
        (Acknowledgement::Placed(newer), true),
        (refused(version, "one"), true),
        (refused(version, "one"), false),
        (refused(version, "the same, in process 7"), false),
        (refused(newer, "the same, in process 8"), true),
        (Acknowledgement::Placed(newer), true),
        (refused(newer, "the same, in process 9"), true),
        (refused(newer, "the last words"), false),
    ] {
        let before = kinds(&store, owner).await.len();
        say(&store, owner, target, id, said.clone()).await;
        let news = kinds(&store, owner).await.len() - before;
        assert_eq!(news, usize::from(is_news), "{said:?}");
    }
    let refusal = placement(&store, target).await.unwrap().refusal;
    assert_eq!(refusal.unwrap().reason, "the last words");
    for (said, is_news) in [
        (Acknowledgement::Removed, true),
        (Acknowledgement::Removed, false),
    ] {
        let before = kinds(&store, owner).await.len();
        say(&store, owner, target, id, said.clone()).await;
        let news = kinds(&store, owner).await.len() - before;
        assert_eq!(news, usize::from(is_news), "{said:?}");
    }
}

async fn certificates_of_other_accounts_are_not_placed(database: &Database) {
    let store = database.open().await;
    let (owner, other) = (account(&store).await, account(&store).await);
    let target = add(&store, owner).await;
    let (foreign, version, _) = certificate(&store, other).await;
    let before = kinds(&store, owner).await;
    for id in [foreign, CertificateId::random()] {
        let offer = event(Some(owner), "certificate.key_taken");
        assert!(!store.offer_placement(target, id, offer).await.unwrap());
        say(&store, owner, target, id, Acknowledgement::Placed(version)).await;
        let refusal = Refusal {
            version_id: None,
            reason: "no".to_owned(),
        };
        say(&store, owner, target, id, Acknowledgement::Refused(refusal)).await;
    }
    assert_eq!(placement(&store, target).await, None);
    assert_eq!(kinds(&store, owner).await, before);
    let offer = event(Some(owner), "certificate.key_taken");
    let unknown = store.offer_placement(TargetId::random(), foreign, offer);
    assert!(!unknown.await.unwrap());
}

async fn a_target_takes_its_placements_along(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let (id, version, _) = certificate(&store, owner).await;
    let (one, other) = (add(&store, owner).await, add(&store, owner).await);
    for target in [one, other] {
        say(&store, owner, target, id, Acknowledgement::Placed(version)).await;
    }
    let removal = event(Some(owner), "target.removed");
    let removed = store.remove_target(Scope::Account(owner), one, removal);
    assert!(removed.await.unwrap());
    let left = store.placements_of_certificates(&[id]).await.unwrap();
    let left: Vec<TargetId> = left.iter().map(|placement| placement.target_id).collect();
    assert_eq!(left, [other]);
}
