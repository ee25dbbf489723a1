//! Accounts and their tokens.

use store::{
    Account, AccountBar, AccountId, AccountStatus, Error, NewAccount, NewToken, POLICY_LIMIT, Role,
    Scope, Store, Token, TokenId,
};

use crate::support::{Database, account, event, moment, record, unique};

on_both_databases!(
    an_account_is_found_by_identifier_and_by_name,
    a_name_is_given_to_one_account_only,
    accounts_are_listed_by_name_page_by_page,
    a_bar_is_kept_and_announced,
    bars_set_at_the_same_time_are_all_kept,
    an_account_with_certificates_cannot_be_removed,
    removing_an_account_removes_its_tokens,
    a_token_is_found_by_its_hash_together_with_its_account,
    a_hash_is_stored_once,
    a_token_needs_an_account,
    tokens_are_listed_page_by_page,
    overlong_names_are_refused,
    an_account_has_one_policy_until_it_is_taken_away,
);

fn new_account(name: &str) -> NewAccount {
    NewAccount {
        id: AccountId::random(),
        name: name.to_owned(),
        role: Role::Admin,
        status: AccountStatus::default(),
        created_at: moment(5),
    }
}

fn new_token(account: AccountId) -> NewToken {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&unique().to_be_bytes());
    NewToken {
        id: TokenId::random(),
        account_id: account,
        name: "for the tests".to_owned(),
        hash,
        read_only: true,
        dialects: Some(vec!["d9t".to_owned(), "certmaker".to_owned()]),
        scopes: Some(Vec::new()),
        expires_at: Some(moment(100)),
        created_at: moment(6),
    }
}

async fn create(store: &Store, name: &str) -> Result<Account, Error> {
    store
        .create_account(new_account(name), event(None, "account.created"))
        .await
}

async fn an_account_is_found_by_identifier_and_by_name(database: &Database) {
    let store = database.open().await;
    let made = create(&store, "admin").await.unwrap();
    assert_eq!(made.created_at, moment(5));
    assert_eq!(made.role, Role::Admin);
    assert_eq!(store.account(made.id).await.unwrap(), Some(made.clone()));
    assert_eq!(store.account_by_name("admin").await.unwrap(), Some(made));
    assert_eq!(store.account_by_name("Admin").await.unwrap(), None);
    assert_eq!(store.account(AccountId::random()).await.unwrap(), None);
}

async fn a_name_is_given_to_one_account_only(database: &Database) {
    let store = database.open().await;
    create(&store, "one").await.unwrap();
    let error = create(&store, "one").await.unwrap_err();
    assert!(matches!(error, Error::Duplicate), "{error:?}");
    let events = store
        .events_after(Scope::Everything, None, 10)
        .await
        .unwrap();
    assert_eq!(events.len(), 1, "a refused account leaves no event");
}

async fn accounts_are_listed_by_name_page_by_page(database: &Database) {
    let store = database.open().await;
    for name in ["b", "d", "a", "c"] {
        create(&store, name).await.unwrap();
    }
    let names = |accounts: Vec<Account>| {
        accounts
            .into_iter()
            .map(|account| account.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(store.accounts(None, 3).await.unwrap()),
        ["a", "b", "c"]
    );
    assert_eq!(names(store.accounts(Some("c"), 3).await.unwrap()), ["d"]);
}

async fn a_bar_is_kept_and_announced(database: &Database) {
    let store = database.open().await;
    let id = account(&store).await;
    let set = |bar, is_on| {
        let event = event(Some(id), "account.changed");
        store.set_account_bar(id, bar, is_on, event)
    };
    set(AccountBar::NoLogin, true).await.unwrap();
    let account = set(AccountBar::Locked, true).await.unwrap();
    let expected = AccountStatus {
        disabled: false,
        locked: true,
        no_login: true,
    };
    assert_eq!(account.status, expected);
    assert_eq!(store.account(id).await.unwrap().unwrap().status, expected);
    let events = store
        .events_after(Scope::Account(id), None, 10)
        .await
        .unwrap();
    assert_eq!(events.last().unwrap().kind, "account.changed");

    let event = event(None, "account.changed");
    let nobody = AccountId::random();
    let error = store
        .set_account_bar(nobody, AccountBar::Disabled, true, event)
        .await;
    assert!(matches!(error, Err(Error::NotFound)));
}

async fn bars_set_at_the_same_time_are_all_kept(database: &Database) {
    let store = database.open().await;
    for _ in 0..20 {
        let id = account(&store).await;
        let set = |bar| store.set_account_bar(id, bar, true, event(Some(id), "account.changed"));
        let (first, second, third) = tokio::join!(
            set(AccountBar::Disabled),
            set(AccountBar::Locked),
            set(AccountBar::NoLogin)
        );
        first.and(second).and(third).unwrap();
        let kept = store.account(id).await.unwrap().unwrap().status;
        assert!(kept.disabled && kept.locked && kept.no_login, "{kept:?}");
    }
}

async fn an_account_with_certificates_cannot_be_removed(database: &Database) {
    let store = database.open().await;
    let id = account(&store).await;
    let record = record(id, None);
    let certificate = record.certificate.id;
    store.add_certificate(record).await.unwrap();
    let removed = store
        .delete_account(id, event(None, "account.removed"))
        .await;
    assert!(matches!(removed, Err(Error::InUse)), "{removed:?}");
    assert!(store.account(id).await.unwrap().is_some());

    let gone = event(Some(id), "certificate.removed");
    assert!(
        store
            .delete_certificate(Scope::Account(id), certificate, gone)
            .await
            .unwrap()
    );
    assert!(
        store
            .delete_account(id, event(None, "account.removed"))
            .await
            .unwrap()
    );
    assert!(
        !store
            .delete_account(id, event(None, "account.removed"))
            .await
            .unwrap()
    );
}

async fn removing_an_account_removes_its_tokens(database: &Database) {
    let store = database.open().await;
    let id = account(&store).await;
    let token = new_token(id);
    store
        .create_token(token.clone(), event(Some(id), "token.created"))
        .await
        .unwrap();
    store
        .delete_account(id, event(None, "account.removed"))
        .await
        .unwrap();
    assert!(store.token_by_hash(&token.hash).await.unwrap().is_none());
}

async fn a_token_is_found_by_its_hash_together_with_its_account(database: &Database) {
    let store = database.open().await;
    let id = account(&store).await;
    let token = new_token(id);
    store
        .create_token(token.clone(), event(Some(id), "token.created"))
        .await
        .unwrap();
    let (found, owner) = store.token_by_hash(&token.hash).await.unwrap().unwrap();
    assert_eq!(owner.id, id);
    assert_eq!(
        found,
        Token {
            id: token.id,
            account_id: id,
            name: token.name,
            read_only: true,
            dialects: token.dialects,
            scopes: Some(Vec::new()),
            expires_at: Some(moment(100)),
            created_at: moment(6),
        }
    );
    assert!(store.token_by_hash(&[0xff; 32]).await.unwrap().is_none());

    let removal = event(Some(id), "token.removed");
    assert!(
        store
            .delete_token(Scope::Account(id), token.id, removal.clone())
            .await
            .unwrap()
    );
    assert!(
        !store
            .delete_token(Scope::Account(id), token.id, removal)
            .await
            .unwrap()
    );
    assert!(store.token_by_hash(&token.hash).await.unwrap().is_none());
}

async fn a_hash_is_stored_once(database: &Database) {
    let store = database.open().await;
    let id = account(&store).await;
    let token = new_token(id);
    store
        .create_token(token.clone(), event(Some(id), "token.created"))
        .await
        .unwrap();
    let again = NewToken {
        id: TokenId::random(),
        ..token
    };
    let error = store
        .create_token(again, event(Some(id), "token.created"))
        .await;
    assert!(matches!(error, Err(Error::Duplicate)));
}

async fn a_token_needs_an_account(database: &Database) {
    let store = database.open().await;
    let token = new_token(AccountId::random());
    let error = store
        .create_token(token, event(None, "token.created"))
        .await;
    assert!(matches!(error, Err(Error::UnknownAccount)));
}

async fn tokens_are_listed_page_by_page(database: &Database) {
    let store = database.open().await;
    let id = account(&store).await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        let token = new_token(id);
        expected.push(token.id);
        store
            .create_token(token, event(Some(id), "token.created"))
            .await
            .unwrap();
    }
    expected.sort();
    for scope in [Scope::Account(id), Scope::Everything] {
        let mut found: Vec<TokenId> = Vec::new();
        loop {
            let page = store.tokens(scope, found.last().copied(), 2).await.unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page.iter().map(|token| token.id));
        }
        assert_eq!(found, expected);
    }
}

async fn overlong_names_are_refused(database: &Database) {
    let store = database.open().await;
    let error = create(&store, &"x".repeat(257)).await.unwrap_err();
    assert!(matches!(error, Error::TooLong { limit: 256, .. }));
    let id = account(&store).await;
    let token = NewToken {
        name: "x".repeat(257),
        ..new_token(id)
    };
    let error = store
        .create_token(token, event(None, "token.created"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }));
}

async fn an_account_has_one_policy_until_it_is_taken_away(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let changed = || event(Some(one), "policy.changed");
    assert_eq!(store.policy(one).await.unwrap(), None);
    for policy in ["first", "second"] {
        store
            .set_policy(one, Some(policy), changed())
            .await
            .unwrap();
        assert_eq!(store.policy(one).await.unwrap().as_deref(), Some(policy));
    }
    assert_eq!(store.policy(other).await.unwrap(), None);
    store.set_policy(one, None, changed()).await.unwrap();
    assert_eq!(store.policy(one).await.unwrap(), None);

    let long = "x".repeat(POLICY_LIMIT + 1);
    let refused = store.set_policy(one, Some(&long), changed()).await;
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
    let nobody = store.set_policy(
        AccountId::random(),
        Some("first"),
        event(None, "policy.changed"),
    );
    let nobody = nobody.await;
    assert!(matches!(nobody, Err(Error::UnknownAccount)), "{nobody:?}");

    store
        .set_policy(one, Some("last"), changed())
        .await
        .unwrap();
    assert!(
        store
            .delete_account(one, event(None, "account.deleted"))
            .await
            .unwrap()
    );
    assert_eq!(database.count("policies").await, 0);
}
