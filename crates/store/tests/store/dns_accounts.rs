//! DNS accounts, and the providers that are made of them.

use store::{
    AccountId, DNS_ACCOUNT_NAME_LIMIT, DNS_ACCOUNTS_LIMIT, DnsAccount, DnsProviderId, Error,
    Installation, NewDnsProvider, NewZone, Scope, Secret, Store,
};

use crate::support::{Database, account, add_certificate_for, add_service, event, install, moment};

on_both_databases!(
    a_dns_account_is_its_account_s_alone,
    dns_accounts_provide_the_same_zone_side_by_side,
    a_provider_that_an_installation_names_stays,
    what_was_added_for_a_zone_is_not_replaced,
    a_dns_account_that_is_named_stays,
    an_account_has_so_many_dns_accounts,
);

fn dns_account(account_id: AccountId, name: &str) -> DnsAccount {
    DnsAccount {
        id: DnsProviderId::random(),
        account_id,
        name: name.to_owned(),
        kind: "hetzner".to_owned(),
        is_trusted: false,
        created_at: moment(4),
    }
}

fn credentials(of: &str) -> Secret {
    Secret::from(format!("the secret of {of}").into_bytes())
}

async fn add(store: &Store, owner: AccountId, name: &str) -> DnsProviderId {
    let account = dns_account(owner, name);
    let id = account.id;
    let added = store.add_dns_account(account, credentials(name), event(Some(owner), "added"));
    added.await.unwrap();
    id
}

async fn provide(store: &Store, owner: AccountId, account: DnsProviderId, zone: &str) -> bool {
    let (scope, event) = (Scope::Account(owner), event(Some(owner), "provided"));
    let zone = NewZone {
        dns_account: account,
        zone: zone.to_owned(),
        provider: DnsProviderId::random(),
        event,
    };
    store.provide_zone(scope, zone).await.unwrap()
}

async fn a_dns_account_is_its_account_s_alone(database: &Database) {
    let store = database.open().await;
    let (owner, stranger) = (account(&store).await, account(&store).await);
    let made = dns_account(owner, "main");
    let added = store.add_dns_account(made.clone(), credentials("main"), event(None, "added"));
    added.await.unwrap();
    let (own, foreign) = (Scope::Account(owner), Scope::Account(stranger));
    assert_eq!(
        store.dns_accounts(own).await.unwrap(),
        std::slice::from_ref(&made)
    );
    assert_eq!(
        store.dns_account(own, made.id).await.unwrap(),
        Some(made.clone())
    );
    assert_eq!(store.dns_accounts(foreign).await.unwrap(), []);
    assert_eq!(store.dns_account(foreign, made.id).await.unwrap(), None);
    let zone = NewZone {
        dns_account: made.id,
        zone: "a.test".to_owned(),
        provider: DnsProviderId::random(),
        event: event(None, "provided"),
    };
    let refused = store.provide_zone(foreign, zone).await;
    assert!(matches!(refused, Err(Error::NotFound)));
    let removed = store.remove_dns_account(foreign, made.id, event(None, "removed"));
    assert!(!removed.await.unwrap());
    let again = dns_account(owner, "main");
    let again = store.add_dns_account(again, credentials("main"), event(None, "added"));
    assert!(matches!(again.await, Err(Error::DuplicateName)));
    let long = dns_account(owner, &"x".repeat(DNS_ACCOUNT_NAME_LIMIT + 1));
    let long = store.add_dns_account(long, credentials("main"), event(None, "added"));
    assert!(matches!(long.await, Err(Error::TooLong { .. })));
    let removed = store.remove_dns_account(own, made.id, event(None, "removed"));
    assert!(removed.await.unwrap());
    assert_eq!(store.dns_accounts(own).await.unwrap(), []);
}

async fn dns_accounts_provide_the_same_zone_side_by_side(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let first = add(&store, owner, "first").await;
    let second = add(&store, owner, "second").await;
    for (by, is_change) in [
        (first, true),
        (first, false),
        (second, true),
        (second, false),
    ] {
        assert_eq!(provide(&store, owner, by, "a.test").await, is_change);
        let found = store.dns_providers_for(owner, &["a.test"]).await.unwrap();
        let own = found.iter().find(|one| one.dns_account_id == Some(by));
        let own = own.unwrap();
        assert_eq!(own.kind, "hetzner");
        let kept = store.dns_credentials(own.id).await.unwrap().unwrap();
        let name = if by == first { "first" } else { "second" };
        assert_eq!(kept.bytes(), credentials(name).bytes());
    }
    provide(&store, owner, first, "b.test").await;
    let removed =
        store.remove_dns_account(Scope::Account(owner), second, event(Some(owner), "removed"));
    assert!(removed.await.unwrap());
    let left = store.dns_providers_for(owner, &["a.test", "b.test"]).await;
    let left: Vec<String> = left.unwrap().into_iter().map(|one| one.zone).collect();
    assert_eq!(left, ["a.test", "b.test"], "the first one's");
}

async fn what_was_added_for_a_zone_is_not_replaced(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let explicit = NewDnsProvider {
        id: DnsProviderId::random(),
        account_id: Some(owner),
        zone: "a.test".to_owned(),
        kind: "rfc2136".to_owned(),
        credentials: credentials("a.test"),
        is_trusted: false,
        created_at: moment(4),
    };
    let id = explicit.id;
    store
        .add_dns_provider(explicit, event(Some(owner), "added"))
        .await
        .unwrap();
    let account = add(&store, owner, "main").await;
    assert!(!provide(&store, owner, account, "a.test").await);
    let found = store.dns_providers_for(owner, &["a.test"]).await.unwrap();
    assert_eq!(found[0].id, id);
    assert_eq!(found[0].dns_account_id, None);
}

/// An installation that names a DNS provider.
async fn naming(store: &Store, owner: AccountId, id: DnsProviderId) -> Installation {
    let service_id = add_service(store, owner, &[]).await;
    let certificate_id = add_certificate_for(store, owner, "a.test", &[]).await;
    let installation = Installation {
        service_id,
        certificate_id,
        account_id: owner,
        server_names: vec!["a.test".to_owned()],
        domains: Vec::new(),
        wildcard: true,
        dns_provider_id: Some(id),
        ssl_termination: true,
        created_at: moment(1),
        updated_at: moment(1),
    };
    install(store, &installation).await.unwrap();
    installation
}

async fn a_provider_that_an_installation_names_stays(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let provider = NewDnsProvider {
        id: DnsProviderId::random(),
        account_id: Some(owner),
        zone: "a.test".to_owned(),
        kind: "rfc2136".to_owned(),
        credentials: credentials("a.test"),
        is_trusted: false,
        created_at: moment(4),
    };
    let (scope, id) = (Scope::Account(owner), provider.id);
    let added = store.add_dns_provider(provider, event(Some(owner), "added"));
    added.await.unwrap();
    let installation = naming(&store, owner, id).await;
    let removed = || store.remove_dns_provider(scope, id, event(Some(owner), "removed"));
    assert!(matches!(removed().await, Err(Error::InUse)));
    assert!(store.dns_provider(scope, id).await.unwrap().is_some());
    let gone = store.delete_certificate(scope, installation.certificate_id, event(None, "gone"));
    assert!(gone.await.unwrap());
    assert!(removed().await.unwrap());
}

async fn a_dns_account_that_is_named_stays(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let scope = Scope::Account(owner);
    let id = add(&store, owner, "main").await;
    let mut installation = naming(&store, owner, id).await;
    let refused = store.remove_dns_account(scope, id, event(Some(owner), "removed"));
    assert!(matches!(refused.await, Err(Error::InUse)));
    assert!(store.dns_account(scope, id).await.unwrap().is_some());
    installation.dns_provider_id = None;
    install(&store, &installation).await.unwrap();
    let removed = store.remove_dns_account(scope, id, event(Some(owner), "removed"));
    assert!(removed.await.unwrap());
}

async fn an_account_has_so_many_dns_accounts(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    for number in 0..DNS_ACCOUNTS_LIMIT {
        add(&store, owner, &number.to_string()).await;
    }
    let more = store.add_dns_account(
        dns_account(owner, "more"),
        credentials("more"),
        event(Some(owner), "added"),
    );
    assert!(matches!(more.await, Err(Error::Full)));
}
