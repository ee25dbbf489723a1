//! Which directory a target delivers into, and what a target is told when not all fits.

use store::{Registration, Target, TargetDirectoryId, TargetId};

use crate::support::{Database, account, event, kinds};
use crate::targets::{add, register, target};

on_both_databases!(
    a_target_has_one_directory_and_a_directory_one_target,
    the_directory_of_a_target_from_before_is_the_targets,
    that_there_is_too_much_is_told_once_each_time,
);

async fn a_target_has_one_directory_and_a_directory_one_target(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let (first, second) = (target(owner), target(owner));
    register(&store, &first).await.unwrap();
    register(&store, &second).await.unwrap();
    let before = kinds(&store, owner).await;
    let claim = |name: &Target, directory: &Target| Target {
        id: TargetId::random(),
        name: name.name.clone(),
        directory_id: directory.directory_id,
        services: Some(Vec::new()),
        ..name.clone()
    };
    let third = target(owner);
    for (claim, refused) in [
        (claim(&first, &third), Registration::OfAnotherDirectory),
        (claim(&first, &second), Registration::OfAnotherDirectory),
        (
            claim(&third, &second),
            Registration::DirectoryOf(second.name.clone()),
        ),
    ] {
        assert_eq!(register(&store, &claim).await.unwrap(), refused);
    }
    let all = store.targets(owner, None, 10).await.unwrap();
    assert_eq!(all, [first.clone(), second], "nothing has changed");
    assert_eq!(kinds(&store, owner).await, before);
    // Accounts know nothing of each other's directories.
    let elsewhere = Target {
        directory_id: first.directory_id,
        ..target(account(&store).await)
    };
    let made = register(&store, &elsewhere).await.unwrap();
    assert_eq!(made, Registration::Done(elsewhere));
}

async fn the_directory_of_a_target_from_before_is_the_targets(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let mut target = target(owner);
    register(&store, &target).await.unwrap();
    drop(store);
    database.take_back_to(35).await;
    let store = database.open().await;
    target.directory_id = Some(TargetDirectoryId::from_uuid(target.id.as_uuid()));
    let found = store.target_named(owner, &target.name).await.unwrap();
    assert_eq!(found, Some(target.clone()));
    drop(store);
    // An older node that still runs says nothing of a directory.
    database
        .tamper("update targets set directory_id = null")
        .await;
    let store = database.open().await;
    target.directory_id = Some(TargetDirectoryId::random());
    let taken = register(&store, &target).await.unwrap();
    assert_eq!(taken, Registration::Done(target.clone()));
    let found = store.target_named(owner, &target.name).await.unwrap();
    assert_eq!(found, Some(target));
}

async fn that_there_is_too_much_is_told_once_each_time(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let target = add(&store, owner).await;
    for (is_overfull, told) in [(false, 0), (true, 1), (true, 1), (false, 1), (true, 2)] {
        let overfull = event(Some(owner), "target.overfull");
        let noted = store.note_overfull(target, is_overfull, overfull).await;
        noted.unwrap();
        let events = kinds(&store, owner).await;
        let count = events.iter().filter(|kind| *kind == "target.overfull");
        assert_eq!(count.count(), told);
        let targets = store.targets(owner, None, 10).await.unwrap();
        assert_eq!(targets[0].is_overfull, is_overfull);
    }
}
