//! Grants, and the clients that ask for them.

use store::{
    AccountId, Error, GRANT_TEXT_LIMIT, GRANTS_LIMIT, Grant, NewToken, REDIRECTS_LIMIT,
    RegisteredClient, Store, TokenId,
};

use crate::support::{Database, account, event, moment};

on_both_databases!(
    a_grant_comes_back_as_it_was_given,
    a_grant_is_redeemed_once_even_by_many_at_a_time,
    a_grant_is_no_good_without_the_token_that_it_was_given_with,
    an_account_has_so_many_grants_and_no_more,
    what_expired_is_forgotten_and_nothing_else,
    a_client_takes_its_grants_with_it_but_not_its_tokens,
    a_name_is_one_clients,
);

fn grant(account_id: AccountId, number: u8) -> Grant {
    Grant {
        hash: [number; 32],
        account_id,
        client: "shop".to_owned(),
        redirect: "https://shop.test/back?a=b".to_owned(),
        scopes: vec!["public".to_owned(), "admin".to_owned()],
        challenge: Some("S256 abc".to_owned()),
        token_expires_at: Some(moment(100)),
        expires_at: moment(10),
        given_with: None,
        token_id: None,
    }
}

fn token(account_id: AccountId, number: u8) -> NewToken {
    NewToken {
        id: TokenId::random(),
        account_id,
        name: "of shop".to_owned(),
        hash: [number; 32],
        read_only: false,
        dialects: None,
        scopes: None,
        expires_at: None,
        created_at: moment(5),
    }
}

fn client(name: &str) -> RegisteredClient {
    RegisteredClient {
        name: name.to_owned(),
        redirects: vec!["https://a.test".to_owned(), "https://b.test/x".to_owned()],
        secret_hash: Some([9; 32]),
        created_at: moment(1),
    }
}

/// The same grant, given with a token that is there.
async fn given(store: &Store, grant: Grant) -> Grant {
    let number = 100 + grant.hash[0];
    let shown = token(grant.account_id, number);
    let given_with = Some(shown.id);
    let event = event(Some(grant.account_id), "token.created");
    store.create_token(shown, event).await.unwrap();
    Grant {
        given_with,
        ..grant
    }
}

async fn add(store: &Store, grant: Grant) -> Result<(), Error> {
    let owner = Some(grant.account_id);
    store.add_grant(grant, event(owner, "grant.given")).await
}

async fn a_grant_comes_back_as_it_was_given(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let plain = Grant {
        hash: [2; 32],
        challenge: None,
        token_expires_at: None,
        ..grant(account, 1)
    };
    for given in [grant(account, 1), plain] {
        add(&store, given.clone()).await.unwrap();
        let found = store.grant_by_hash(&given.hash).await.unwrap();
        assert_eq!(found, Some(given));
    }
    assert_eq!(store.grant_by_hash(&[3; 32]).await.unwrap(), None);
    let again = add(&store, grant(account, 1)).await;
    assert!(matches!(again, Err(Error::Duplicate)), "{again:?}");
    let nobodys = add(&store, grant(AccountId::random(), 4)).await;
    assert!(matches!(nobodys, Err(Error::UnknownAccount)), "{nobodys:?}");
    let long = Grant {
        redirect: "x".repeat(GRANT_TEXT_LIMIT + 1),
        ..grant(account, 5)
    };
    let long = add(&store, long).await;
    assert!(matches!(long, Err(Error::TooLong { .. })), "{long:?}");
}

async fn a_grant_is_redeemed_once_even_by_many_at_a_time(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let grant = given(&store, grant(account, 1)).await;
    add(&store, grant).await.unwrap();
    let attempts: Vec<_> = (0..8)
        .map(|number| {
            let (store, token) = (store.clone(), token(account, number));
            let id = token.id;
            let event = event(Some(account), "token.created");
            let redeem = async move { store.redeem_grant(&[1; 32], token, event).await };
            (id, tokio::spawn(redeem))
        })
        .collect();
    let mut redeemed = Vec::new();
    for (id, attempt) in attempts {
        if attempt.await.unwrap().unwrap() {
            redeemed.push(id);
        }
    }
    assert_eq!(redeemed.len(), 1);
    let found = store.grant_by_hash(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(found.token_id, redeemed.first().copied());
    assert_eq!(database.count("tokens").await, 2);
    let unknown = store.redeem_grant(
        &[2; 32],
        token(account, 9),
        event(Some(account), "token.created"),
    );
    assert!(!unknown.await.unwrap());
    assert_eq!(database.count("tokens").await, 2);
}

async fn a_grant_is_no_good_without_the_token_that_it_was_given_with(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let orphan = given(&store, grant(account, 1)).await;
    let shown = orphan.given_with.unwrap();
    for grant in [orphan, grant(account, 2)] {
        add(&store, grant).await.unwrap();
    }
    let deleted = event(Some(account), "token.deleted");
    let deleted = store.delete_token(store::Scope::Account(account), shown, deleted);
    assert!(deleted.await.unwrap());
    for number in [1, 2] {
        let created = event(Some(account), "token.created");
        let hash = [number; 32];
        let redeemed = store.redeem_grant(&hash, token(account, number), created);
        assert!(!redeemed.await.unwrap());
        let found = store.grant_by_hash(&hash).await.unwrap();
        assert_eq!(found.unwrap().token_id, None);
    }
    assert_eq!(database.count("tokens").await, 0);
}

async fn an_account_has_so_many_grants_and_no_more(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    for number in 0..GRANTS_LIMIT {
        let number = u8::try_from(number).unwrap();
        add(&store, grant(owner, number)).await.unwrap();
    }
    let more = add(&store, grant(owner, 200)).await;
    assert!(matches!(more, Err(Error::Full)), "{more:?}");
}

async fn what_expired_is_forgotten_and_nothing_else(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    for (number, end) in [(1, 10), (2, 11), (3, 12)] {
        let expires_at = moment(end);
        let grant = Grant {
            expires_at,
            ..grant(account, number)
        };
        add(&store, grant).await.unwrap();
    }
    assert_eq!(store.sweep_grants(moment(11)).await.unwrap(), 2);
    assert!(store.grant_by_hash(&[2; 32]).await.unwrap().is_none());
    assert!(store.grant_by_hash(&[3; 32]).await.unwrap().is_some());
}

async fn a_client_takes_its_grants_with_it_but_not_its_tokens(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    for name in ["shop", "other"] {
        let registered = store.register_client(client(name), event(None, "client.registered"));
        registered.await.unwrap();
    }
    add(&store, grant(account, 1)).await.unwrap();
    let second = given(&store, grant(account, 2)).await;
    add(&store, second).await.unwrap();
    let redeemed = store.redeem_grant(
        &[2; 32],
        token(account, 1),
        event(Some(account), "token.created"),
    );
    assert!(redeemed.await.unwrap());
    let elsewhere = Grant {
        client: "other".to_owned(),
        ..grant(account, 3)
    };
    add(&store, elsewhere).await.unwrap();

    let removed = store.remove_registered_client("shop", event(None, "client.removed"));
    assert!(removed.await.unwrap());
    let again = store.remove_registered_client("shop", event(None, "client.removed"));
    assert!(!again.await.unwrap());
    assert!(store.grant_by_hash(&[1; 32]).await.unwrap().is_none());
    assert!(store.grant_by_hash(&[2; 32]).await.unwrap().is_some());
    assert!(store.grant_by_hash(&[3; 32]).await.unwrap().is_some());
    assert_eq!(database.count("tokens").await, 2);
    let left = store.registered_clients().await.unwrap();
    assert_eq!(left, [client("other")]);
}

async fn a_name_is_one_clients(database: &Database) {
    let store = database.open().await;
    let register = |client| store.register_client(client, event(None, "client.registered"));
    register(client("shop")).await.unwrap();
    let public = RegisteredClient {
        secret_hash: None,
        ..client("cli")
    };
    register(public.clone()).await.unwrap();
    let found = store.registered_client("cli").await.unwrap();
    assert_eq!(found, Some(public));
    assert_eq!(store.registered_client("Cli").await.unwrap(), None);
    let again = register(client("shop")).await;
    assert!(matches!(again, Err(Error::DuplicateName)), "{again:?}");
    let many = RegisteredClient {
        redirects: vec!["https://a.test".to_owned(); REDIRECTS_LIMIT + 1],
        ..client("many")
    };
    let many = register(many).await;
    assert!(matches!(many, Err(Error::TooLong { .. })), "{many:?}");
    assert_eq!(database.count("events").await, 2);
}
