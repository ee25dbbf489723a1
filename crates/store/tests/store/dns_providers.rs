//! DNS providers and their credentials.

use store::{
    AccountId, DnsProvider, DnsProviderId, Error, NewDnsProvider, Scope, SealError, Secret, Store,
};

use crate::support::{Database, account, event, kinds, master_key, moment};

on_both_databases!(
    a_provider_comes_back_without_its_credentials,
    credentials_open_for_their_provider_alone,
    the_provider_of_the_longest_zone_is_found,
    a_zone_has_one_provider_of_each_owner,
    providers_are_listed_page_by_page,
    an_account_reaches_its_own_and_removes_nothing_else,
    the_providers_of_an_account_go_with_it,
);

fn provider(owner: Option<AccountId>, zone: &str) -> NewDnsProvider {
    NewDnsProvider {
        id: DnsProviderId::random(),
        account_id: owner,
        zone: zone.to_owned(),
        kind: "rfc2136".to_owned(),
        credentials: Secret::from(format!("the secret of {zone}").into_bytes()),
        is_trusted: owner.is_none(),
        created_at: moment(4),
    }
}

async fn add(store: &Store, owner: Option<AccountId>, zone: &str) -> DnsProviderId {
    let provider = provider(owner, zone);
    let id = provider.id;
    let added = store.add_dns_provider(provider, event(owner, "dns-provider.added"));
    added.await.unwrap();
    id
}

async fn a_provider_comes_back_without_its_credentials(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    for owner in [Some(account), None] {
        let made = provider(owner, "example.com");
        let added = store.add_dns_provider(made.clone(), event(owner, "dns-provider.added"));
        added.await.unwrap();
        let found = store.dns_provider(Scope::Account(account), made.id).await;
        let found = found.unwrap().unwrap();
        assert_eq!(
            found,
            DnsProvider {
                id: made.id,
                account_id: owner,
                zone: "example.com".to_owned(),
                kind: "rfc2136".to_owned(),
                is_trusted: owner.is_none(),
                dns_account_id: None,
                created_at: moment(4),
            }
        );
        // The first bytes of the credentials.
        let shown = format!("{made:?} {found:?}");
        assert!(!shown.contains("116, 104, 101"), "{shown}");
        let credentials = store.dns_credentials(made.id).await.unwrap();
        assert_eq!(credentials, Some(made.credentials));
    }
    let nobody = DnsProviderId::random();
    assert_eq!(store.dns_credentials(nobody).await.unwrap(), None);
    assert_eq!(database.count("dns_providers").await, 2);
    let mut long = provider(None, &"a.".repeat(127));
    let refused = store.add_dns_provider(long.clone(), event(None, "added"));
    let refused = refused.await;
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
    long.zone = "a.example".to_owned();
    long.credentials = vec![b'x'; 70_000].into();
    let refused = store.add_dns_provider(long, event(None, "added")).await;
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
}

async fn credentials_open_for_their_provider_alone(database: &Database) {
    let store = database.open().await;
    let one = add(&store, None, "one.example").await;
    let other = add(&store, None, "other.example").await;
    store.close().await;
    let stranger = database.open_with(&master_key(2)).await.unwrap();
    let refused = stranger.dns_credentials(one).await;
    assert!(matches!(
        refused,
        Err(Error::Seal(SealError::WrongMasterKey { .. }))
    ));
    stranger.close().await;
    database
        .tamper(
            "update dns_providers set credentials = (select credentials from dns_providers \
             where zone = 'one.example') where zone = 'other.example'",
        )
        .await;
    let store = database.open().await;
    let refused = store.dns_credentials(other).await;
    assert!(matches!(refused, Err(Error::Seal(SealError::Corrupt))));
}

async fn the_provider_of_the_longest_zone_is_found(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let shared_short = add(&store, None, "example.com").await;
    let shared_long = add(&store, None, "a.example.com").await;
    let own_short = add(&store, Some(one), "example.com").await;
    let own_long = add(&store, Some(one), "a.example.com").await;
    add(&store, Some(other), "b.a.example.com").await;
    add(&store, Some(one), "example.org").await;
    let zones = ["b.a.example.com", "a.example.com", "example.com", "com"];
    let found = store.dns_providers_for(one, &zones).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|provider| provider.id).collect();
    assert_eq!(found, [own_long, shared_long, own_short, shared_short]);
    assert_eq!(store.dns_providers_for(one, &["net"]).await.unwrap(), []);
    assert_eq!(store.dns_providers_for(one, &[]).await.unwrap(), []);
}

async fn a_zone_has_one_provider_of_each_owner(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    for owner in [None, Some(one), Some(other)] {
        add(&store, owner, "example.com").await;
        let again = provider(owner, "example.com");
        let again = store.add_dns_provider(again, event(owner, "added")).await;
        assert!(matches!(again, Err(Error::DuplicateName)), "{again:?}");
    }
    let orphan = provider(Some(AccountId::random()), "example.com");
    let orphan = store.add_dns_provider(orphan, event(None, "added")).await;
    assert!(matches!(orphan, Err(Error::UnknownAccount)), "{orphan:?}");
}

async fn providers_are_listed_page_by_page(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    for zone in ["b.example", "a.example", "c.example"] {
        for owner in [None, Some(one), Some(other)] {
            add(&store, owner, zone).await;
        }
    }
    for (scope, expected) in [(Scope::Account(one), 6), (Scope::Everything, 9)] {
        let mut all: Vec<DnsProvider> = Vec::new();
        loop {
            let page = store.dns_providers(scope, all.last(), 4).await.unwrap();
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        assert_eq!(all.len(), expected);
        assert!(all.is_sorted_by(|one, other| { (&one.zone, one.id) < (&other.zone, other.id) }));
    }
}

async fn an_account_reaches_its_own_and_removes_nothing_else(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let scope = Scope::Account(one);
    let shared = add(&store, None, "example.com").await;
    let theirs = add(&store, Some(other), "example.com").await;
    let own = add(&store, Some(one), "example.com").await;
    assert_eq!(store.dns_provider(scope, theirs).await.unwrap(), None);
    let removed = || event(Some(one), "dns-provider.removed");
    for (id, expected) in [(shared, false), (theirs, false), (own, true), (own, false)] {
        let gone = store.remove_dns_provider(scope, id, removed()).await;
        assert_eq!(gone.unwrap(), expected);
    }
    assert_eq!(
        kinds(&store, one).await,
        [
            "account.created",
            "dns-provider.added",
            "dns-provider.removed"
        ]
    );
    let gone = store.remove_dns_provider(Scope::Everything, shared, removed());
    assert!(gone.await.unwrap());
}

async fn the_providers_of_an_account_go_with_it(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    add(&store, Some(account), "example.com").await;
    let deleted = store.delete_account(account, event(None, "account.deleted"));
    assert!(deleted.await.unwrap());
    assert_eq!(database.count("dns_providers").await, 0);
}
