//! Webhooks.

use store::{
    AccountId, Error, NewWebhook, Scope, SealError, Store, WEBHOOKS_LIMIT, Webhook, WebhookId,
};

use crate::support::{Database, account, event, master_key, moment};

on_both_databases!(
    a_webhook_comes_back_without_its_secret,
    the_secret_of_a_webhook_opens_for_it_alone,
    webhooks_are_found_by_account,
    an_account_has_so_many_webhooks_and_no_more,
    an_account_removes_its_own_webhooks_only,
);

pub(crate) fn webhook(account: AccountId) -> NewWebhook {
    NewWebhook {
        id: WebhookId::random(),
        account_id: account,
        url: "https://hooks.example/".to_owned(),
        secret: b"the secret".to_vec().into(),
        kinds: vec![
            "certificate.issued".to_owned(),
            "certificate.failed".to_owned(),
        ],
        format: "chancery".to_owned(),
        is_trusted: false,
        created_at: moment(4),
    }
}

pub(crate) async fn add(store: &Store, account: AccountId) -> Webhook {
    let made = webhook(account);
    let id = made.id;
    let added = store.add_webhook(made, event(Some(account), "webhook.added"));
    added.await.unwrap();
    store.webhook(Scope::Everything, id).await.unwrap().unwrap()
}

async fn a_webhook_comes_back_without_its_secret(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut made = webhook(account);
    for kinds in [made.kinds.clone(), Vec::new()] {
        (made.id, made.kinds) = (WebhookId::random(), kinds);
        let added = store.add_webhook(made.clone(), event(Some(account), "webhook.added"));
        added.await.unwrap();
        let found = store.webhook(Scope::Account(account), made.id).await;
        let found = found.unwrap().unwrap();
        assert_eq!(
            found,
            Webhook {
                id: made.id,
                account_id: account,
                url: made.url.clone(),
                kinds: made.kinds.clone(),
                format: made.format.clone(),
                is_trusted: false,
                created_at: moment(4),
            }
        );
        let shown = format!("{made:?}");
        assert!(!shown.contains("116, 104, 101"), "{shown}");
        let secret = store.webhook_secret(made.id).await.unwrap();
        assert_eq!(secret, Some(made.secret.clone()));
    }
    let orphan = store.add_webhook(webhook(AccountId::random()), event(None, "added"));
    let orphan = orphan.await;
    assert!(matches!(orphan, Err(Error::UnknownAccount)), "{orphan:?}");
    made.url = "x".repeat(5_000);
    let long = store.add_webhook(made, event(None, "added")).await;
    assert!(matches!(long, Err(Error::TooLong { .. })), "{long:?}");
}

async fn the_secret_of_a_webhook_opens_for_it_alone(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut one = webhook(account);
    one.format = "one".to_owned();
    let other = webhook(account);
    for made in [&one, &other] {
        let added = store.add_webhook(made.clone(), event(None, "webhook.added"));
        added.await.unwrap();
    }
    store.close().await;
    let stranger = database.open_with(&master_key(2)).await.unwrap();
    let refused = stranger.webhook_secret(one.id).await;
    assert!(matches!(
        refused,
        Err(Error::Seal(SealError::WrongMasterKey { .. }))
    ));
    stranger.close().await;
    database
        .tamper("update webhooks set secret = (select secret from webhooks where format = 'one')")
        .await;
    let store = database.open().await;
    assert!(store.webhook_secret(one.id).await.unwrap().is_some());
    let refused = store.webhook_secret(other.id).await;
    assert!(matches!(refused, Err(Error::Seal(SealError::Corrupt))));
}

async fn webhooks_are_found_by_account(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let mut all = Vec::new();
    for account in [one, other, one, one] {
        all.push(add(&store, account).await);
    }
    all.sort_by_key(|webhook| webhook.id);
    let of = |account: AccountId| {
        let all = all.iter().filter(|webhook| webhook.account_id == account);
        all.cloned().collect::<Vec<_>>()
    };
    for (scope, expected) in [
        (Scope::Account(one), of(one)),
        (Scope::Account(other), of(other)),
        (Scope::Everything, all.clone()),
    ] {
        let first = store.webhooks(scope, None, 1).await.unwrap();
        assert_eq!(first, expected[..1]);
        let rest = store.webhooks(scope, Some(first[0].id), 10).await.unwrap();
        assert_eq!(rest, expected[1..]);
    }
    let none = account(&store).await;
    let mut found = store
        .webhooks_of_accounts(&[other, one, none])
        .await
        .unwrap();
    found.sort_by_key(|webhook| webhook.id);
    assert_eq!(found, all);
    assert_eq!(store.webhooks_of_accounts(&[none]).await.unwrap(), []);
}

async fn an_account_has_so_many_webhooks_and_no_more(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    for _ in 0..WEBHOOKS_LIMIT {
        add(&store, one).await;
    }
    let refused = store.add_webhook(webhook(one), event(None, "added")).await;
    assert!(matches!(refused, Err(Error::Full)), "{refused:?}");
    add(&store, other).await;
}

async fn an_account_removes_its_own_webhooks_only(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let theirs = add(&store, other).await;
    let scope = Scope::Account(one);
    assert_eq!(store.webhook(scope, theirs.id).await.unwrap(), None);
    let removed = || event(Some(one), "webhook.removed");
    let gone = store.remove_webhook(scope, theirs.id, removed()).await;
    assert!(!gone.unwrap());
    let own = add(&store, one).await;
    assert!(
        store
            .remove_webhook(scope, own.id, removed())
            .await
            .unwrap()
    );
    assert!(
        !store
            .remove_webhook(scope, own.id, removed())
            .await
            .unwrap()
    );
    let deleted = store.delete_account(other, event(None, "account.deleted"));
    assert!(deleted.await.unwrap());
    assert_eq!(database.count("webhooks").await, 0);
}
