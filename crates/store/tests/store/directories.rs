//! ACME directories, and which issuer accounts have chosen.

use store::{
    AccountId, Claimable, DIRECTORIES_LIMIT, Directory, Error, NewDirectory, Removal, Scope,
    SealError, Secret, Store,
};

use crate::support::{
    Database, account, add_directory, challenge, claimed, directory, event, find, kinds,
    master_key, moment, order, pending, txt_record,
};

on_both_databases!(
    a_directory_comes_back_without_its_secrets,
    the_secrets_of_a_directory_open_for_it_alone,
    a_name_means_the_own_directory_before_a_shared_one,
    directories_are_listed_by_rank,
    a_name_is_given_once_to_the_directories_of_an_owner,
    an_account_has_so_many_directories_and_no_more,
    an_account_changes_its_own_directories_only,
    a_change_of_key_survives_an_interruption,
    a_change_of_key_that_was_refused_leaves_the_old_one,
    what_names_a_removed_directory_is_moved,
    removing_an_own_directory_moves_what_its_account_has,
    a_default_issuer_is_chosen_by_each_account,
    the_directories_of_an_account_go_with_it,
);

fn as_found(made: &NewDirectory) -> Directory {
    let made = made.clone();
    Directory {
        id: made.id,
        account_id: made.account_id,
        name: made.name,
        rank: made.rank,
        url: made.url,
        contact: made.contact,
        roots: made.roots,
        account_url: made.account_url,
        external_account_id: made.external_account.map(|account| account.key_id),
        profile: made.profile,
        preferred_chain: made.preferred_chain,
        limits: made.limits,
        is_trusted: made.is_trusted,
        created_at: made.created_at,
    }
}

fn secret(text: &str) -> Secret {
    text.as_bytes().to_vec().into()
}

async fn names(store: &Store, scope: Scope) -> Vec<String> {
    let directories = store.directories(scope).await.unwrap();
    directories.into_iter().map(|found| found.name).collect()
}

async fn a_directory_comes_back_without_its_secrets(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let full = directory(Some(account), "full");
    let bare = NewDirectory {
        contact: None,
        roots: None,
        account_url: Some("https://acme.example/account/1".to_owned()),
        external_account: None,
        profile: None,
        preferred_chain: None,
        limits: None,
        is_trusted: false,
        ..directory(None, "bare")
    };
    for made in [&full, &bare] {
        let added = store.add_directory(made.clone(), event(made.account_id, "issuer.added"));
        added.await.unwrap();
        let found = store.directory(scope, made.id).await.unwrap().unwrap();
        assert_eq!(found, as_found(made));
        let shown = format!("{made:?} {found:?}");
        // The first bytes of both keys.
        assert!(!shown.contains("116, 104, 101"), "{shown}");
    }
    store
        .set_account_url(full.id, "https://acme.example/account/2")
        .await
        .unwrap();
    let found = store.directory(scope, full.id).await.unwrap().unwrap();
    let url = Some("https://acme.example/account/2");
    assert_eq!(found.account_url.as_deref(), url);
    let nobody = store::DirectoryId::random();
    let missed = store.set_account_url(nobody, "x").await;
    assert!(matches!(missed, Err(Error::NotFound)), "{missed:?}");

    let mut long = directory(None, "long");
    long.url = "x".repeat(5_000);
    let refused = store.add_directory(long, event(None, "issuer.added")).await;
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
}

async fn the_secrets_of_a_directory_open_for_it_alone(database: &Database) {
    let store = database.open().await;
    let one = directory(None, "one");
    let mut other = directory(None, "other");
    other.external_account = None;
    for made in [&one, &other] {
        let added = store.add_directory(made.clone(), event(None, "issuer.added"));
        added.await.unwrap();
    }
    let keys = store.directory_keys(one.id).await.unwrap().unwrap();
    assert_eq!(keys.account_key, one.account_key);
    assert_eq!(keys.next_account_key, None);
    assert_eq!(keys.external_account, one.external_account);
    let keys = store.directory_keys(other.id).await.unwrap().unwrap();
    assert_eq!(keys.external_account, None);
    let nobody = store::DirectoryId::random();
    assert_eq!(store.directory_keys(nobody).await.unwrap(), None);

    store.close().await;
    let stranger = database.open_with(&master_key(2)).await.unwrap();
    let refused = stranger.directory_keys(one.id).await;
    assert!(matches!(
        refused,
        Err(Error::Seal(SealError::WrongMasterKey { .. }))
    ));
    stranger.close().await;

    database
        .tamper(
            "update directories set account_key = (select account_key from directories \
             where name = 'one') where name = 'other'",
        )
        .await;
    let store = database.open().await;
    let refused = store.directory_keys(other.id).await;
    assert!(matches!(refused, Err(Error::Seal(SealError::Corrupt))));
}

async fn a_name_means_the_own_directory_before_a_shared_one(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let shared = add_directory(&store, None, "le").await;
    let own = add_directory(&store, Some(one), "le").await;
    for (account, expected) in [(Some(one), own), (Some(other), shared), (None, shared)] {
        let found = store.directory_named(account, "le").await.unwrap();
        assert_eq!(found.unwrap().id, expected);
    }
    add_directory(&store, Some(one), "private").await;
    for account in [Some(other), None] {
        let found = store.directory_named(account, "private").await.unwrap();
        assert_eq!(found, None);
    }
    let scope = Scope::Account(other);
    assert_eq!(store.directory(scope, own).await.unwrap(), None);
    assert!(store.directory(scope, shared).await.unwrap().is_some());
}

async fn directories_are_listed_by_rank(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    for (owner, name, rank) in [
        (Some(one), "second", 2),
        (None, "first", 1),
        (None, "third", 3),
        (Some(other), "theirs", 0),
    ] {
        let mut directory = directory(owner, name);
        directory.rank = rank;
        let added = store.add_directory(directory, event(owner, "issuer.added"));
        added.await.unwrap();
    }
    let scope = Scope::Account(one);
    assert_eq!(names(&store, scope).await, ["first", "second", "third"]);
    let third = store.directory_named(None, "third").await.unwrap().unwrap();
    let ranked = || event(None, "issuer.ranked");
    let moved = store.rank_directory(Scope::Everything, third.id, 0, ranked());
    assert!(moved.await.unwrap());
    assert_eq!(names(&store, scope).await, ["third", "first", "second"]);
    assert_eq!(names(&store, Scope::Everything).await.len(), 4);
    assert!(
        !store
            .rank_directory(scope, third.id, 9, ranked())
            .await
            .unwrap()
    );
    assert_eq!(names(&store, scope).await, ["third", "first", "second"]);
}

async fn a_name_is_given_once_to_the_directories_of_an_owner(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    for owner in [None, Some(one), Some(other)] {
        add_directory(&store, owner, "le").await;
        let again = store.add_directory(directory(owner, "le"), event(owner, "issuer.added"));
        let again = again.await;
        assert!(matches!(again, Err(Error::DuplicateName)), "{again:?}");
    }
    let nobody = Some(AccountId::random());
    let orphan = store.add_directory(directory(nobody, "le"), event(None, "issuer.added"));
    let orphan = orphan.await;
    assert!(matches!(orphan, Err(Error::UnknownAccount)), "{orphan:?}");
    assert_eq!(database.count("directories").await, 3);
}

async fn an_account_has_so_many_directories_and_no_more(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    for number in 0..DIRECTORIES_LIMIT {
        add_directory(&store, Some(one), &format!("directory {number}")).await;
    }
    let more = directory(Some(one), "more");
    let refused = store.add_directory(more, event(None, "issuer.added")).await;
    assert!(matches!(refused, Err(Error::Full)), "{refused:?}");
    add_directory(&store, Some(other), "more").await;
    add_directory(&store, None, "more").await;
}

async fn an_account_changes_its_own_directories_only(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let scope = Scope::Account(one);
    let shared = add_directory(&store, None, "shared").await;
    let theirs = add_directory(&store, Some(other), "theirs").await;
    for id in [shared, theirs] {
        let attempt = || event(Some(one), "attempt");
        assert!(!store.rank_directory(scope, id, 0, attempt()).await.unwrap());
        let removed = store.remove_directory(scope, id, Some("other"), attempt());
        assert_eq!(removed.await.unwrap(), Removal::Unknown);
        let staged = store.stage_account_key(scope, id, &secret("mine")).await;
        assert!(matches!(staged, Err(Error::NotFound)), "{staged:?}");
        let own = Scope::Everything;
        let key = store.stage_account_key(own, id, &secret("new")).await;
        let key = key.unwrap();
        let adopted = store.adopt_account_key(scope, id, &key, attempt()).await;
        assert!(!adopted.unwrap());
        assert!(!store.discard_account_key(scope, id, &key).await.unwrap());
        let keys = store.directory_keys(id).await.unwrap().unwrap();
        assert_eq!(keys.next_account_key, Some(key));
    }
    assert!(!kinds(&store, one).await.contains(&"attempt".to_owned()));
}

async fn a_change_of_key_survives_an_interruption(database: &Database) {
    let store = database.open().await;
    let scope = Scope::Everything;
    let made = directory(None, "le");
    let added = store.add_directory(made.clone(), event(None, "issuer.added"));
    added.await.unwrap();
    let first = secret("the next key");
    let staged = store.stage_account_key(scope, made.id, &first).await;
    assert_eq!(staged.unwrap(), first);
    store.close().await;

    // Whoever goes on is told which key the directory may know already.
    let store = database.open().await;
    let keys = store.directory_keys(made.id).await.unwrap().unwrap();
    assert_eq!(keys.account_key, made.account_key);
    assert_eq!(keys.next_account_key.as_ref(), Some(&first));
    let second = secret("another key");
    let staged = store.stage_account_key(scope, made.id, &second).await;
    assert_eq!(staged.unwrap(), first);

    let changed = || event(None, "issuer.key-changed");
    let adopted = store.adopt_account_key(scope, made.id, &second, changed());
    assert!(!adopted.await.unwrap(), "it is another change that ends");
    let adopted = store.adopt_account_key(scope, made.id, &first, changed());
    assert!(adopted.await.unwrap());
    let adopted = store.adopt_account_key(scope, made.id, &first, changed());
    assert!(!adopted.await.unwrap());
    let keys = store.directory_keys(made.id).await.unwrap().unwrap();
    assert_eq!((keys.account_key, keys.next_account_key), (first, None));
    let events = store.events_after(scope, None, 10).await.unwrap();
    assert_eq!(events.last().unwrap().kind, "issuer.key-changed");
    assert_eq!(events.len(), 2);
}

async fn a_change_of_key_that_was_refused_leaves_the_old_one(database: &Database) {
    let store = database.open().await;
    let scope = Scope::Everything;
    let made = directory(None, "le");
    let added = store.add_directory(made.clone(), event(None, "issuer.added"));
    added.await.unwrap();
    let key = secret("the next key");
    store.stage_account_key(scope, made.id, &key).await.unwrap();
    let other = secret("other");
    let discarded = store.discard_account_key(scope, made.id, &other).await;
    assert!(!discarded.unwrap());
    assert!(
        store
            .discard_account_key(scope, made.id, &key)
            .await
            .unwrap()
    );
    assert!(
        !store
            .discard_account_key(scope, made.id, &key)
            .await
            .unwrap()
    );
    let keys = store.directory_keys(made.id).await.unwrap().unwrap();
    assert_eq!(keys.account_key, made.account_key);
    assert_eq!(keys.next_account_key, None);
}

async fn what_names_a_removed_directory_is_moved(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let shared = add_directory(&store, None, "le").await;
    add_directory(&store, Some(other), "le").await;
    for account in [one, other] {
        let chosen = store.set_default_issuer(account, "le", event(Some(account), "chosen"));
        chosen.await.unwrap();
    }
    let mut certificates = Vec::new();
    for (account, issuer) in [(one, "le"), (one, "default"), (other, "le")] {
        let mut pending = pending(account, 900);
        pending.certificate.issuer = Some(issuer.to_owned());
        certificates.push(pending.certificate.id);
        store.add_certificate(pending).await.unwrap();
    }
    let ordered = claimed(&store, one).await;
    let begun = store.begin_order(moment(50), order(one, ordered, shared));
    assert!(begun.await.unwrap());
    let record = txt_record();
    let published = challenge(one, ordered, "dns-01", Some(record.clone()));
    let put = store.put_challenges(ordered, moment(50), vec![published]);
    assert!(put.await.unwrap());
    store
        .spend(shared, &["orders".to_owned()], |_| {
            Some(vec![Some(moment(1))])
        })
        .await
        .unwrap();

    let mut removal = event(None, "issuer.removed");
    removal.at = moment(20);
    let kept = store.remove_directory(Scope::Everything, shared, None, removal.clone());
    let in_use = Removal::InUse {
        certificates: 1,
        accounts: 1,
    };
    assert_eq!(kept.await.unwrap(), in_use);
    assert!(store.order(ordered).await.unwrap().is_some());
    let successor = Some("backup");
    let removed = store.remove_directory(Scope::Everything, shared, successor, removal.clone());
    assert_eq!(removed.await.unwrap(), Removal::Removed { certificates: 1 });
    let mut issuers = Vec::new();
    for id in certificates {
        let found = find(&store, Scope::Everything, id).await.unwrap();
        issuers.push(found.issuer.unwrap());
    }
    // The other account means one of its own by the name.
    assert_eq!(issuers, ["backup", "default", "le"]);
    let chosen = store.default_issuer(one).await.unwrap();
    assert_eq!(chosen.as_deref(), Some("backup"));
    let chosen = store.default_issuer(other).await.unwrap();
    assert_eq!(chosen.as_deref(), Some("le"));
    assert!(store.order(ordered).await.unwrap().is_none());
    assert_eq!(database.count("budgets").await, 0);
    let due = store.claim_withdrawals(moment(20), moment(60), 10).await;
    assert_eq!(due.unwrap()[0].record, Some(record));

    let removed = store.remove_directory(Scope::Everything, shared, successor, removal);
    assert_eq!(removed.await.unwrap(), Removal::Unknown);
    let begun = store.begin_order(moment(50), order(one, ordered, shared));
    let begun = begun.await;
    assert!(matches!(begun, Err(Error::UnknownDirectory)), "{begun:?}");
}

async fn removing_an_own_directory_moves_what_its_account_has(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let own = add_directory(&store, Some(one), "le").await;
    let mut certificates = Vec::new();
    for account in [one, other] {
        let mut pending = pending(account, 900);
        pending.certificate.issuer = Some("le".to_owned());
        certificates.push(pending.certificate.id);
        store.add_certificate(pending).await.unwrap();
    }
    let scope = Scope::Account(one);
    let event = event(Some(one), "removed");
    let removed = store.remove_directory(scope, own, Some("default"), event);
    assert_eq!(removed.await.unwrap(), Removal::Removed { certificates: 1 });
    // They waited until 900, for what the other issuer has.
    let due = store.claim_due(moment(20), moment(50), 10, Claimable::default());
    let due: Vec<_> = due.await.unwrap().iter().map(|found| found.id).collect();
    assert_eq!(due, certificates[..1]);
    for (id, issuer) in certificates.into_iter().zip(["default", "le"]) {
        let found = find(&store, Scope::Everything, id).await.unwrap();
        assert_eq!(found.issuer.as_deref(), Some(issuer));
    }
}

async fn a_default_issuer_is_chosen_by_each_account(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    assert_eq!(store.default_issuer(one).await.unwrap(), None);
    for issuer in ["first", "second"] {
        let chosen = store.set_default_issuer(one, issuer, event(Some(one), "issuer.chosen"));
        chosen.await.unwrap();
        let found = store.default_issuer(one).await.unwrap();
        assert_eq!(found.as_deref(), Some(issuer));
    }
    assert_eq!(store.default_issuer(other).await.unwrap(), None);
    let nobody = AccountId::random();
    let refused = store.set_default_issuer(nobody, "first", event(None, "issuer.chosen"));
    let refused = refused.await;
    assert!(matches!(refused, Err(Error::UnknownAccount)), "{refused:?}");
}

async fn the_directories_of_an_account_go_with_it(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = add_directory(&store, Some(account), "own").await;
    let chosen = store.set_default_issuer(account, "own", event(Some(account), "chosen"));
    chosen.await.unwrap();
    store
        .spend(id, &["orders".to_owned()], |_| Some(vec![Some(moment(1))]))
        .await
        .unwrap();
    let deleted = store.delete_account(account, event(None, "account.deleted"));
    assert!(deleted.await.unwrap());
    for table in ["directories", "default_issuers", "budgets"] {
        assert_eq!(database.count(table).await, 0, "{table}");
    }
}
