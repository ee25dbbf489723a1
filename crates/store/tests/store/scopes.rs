//! What one account cannot see or change of another.

use pki::{Revocation, RevocationReason};
use store::{
    AccountId, CertificateFilter, CertificateRef, Error, Exportable, InstanceId, InstanceRef,
    InstanceRemoval, NewInstance, NewRecord, NewToken, Order, Page, PageStart, RevokeOutcome,
    Scope, ServiceChange, ServiceId, ServiceRef, State, Store, TokenId,
};

use crate::support::{
    Database, account, add_service, authority, domain_names, event, find, moment, record_with_key,
    renewal, version,
};

on_both_databases!(
    nothing_of_another_account_is_found,
    nothing_of_another_account_is_changed,
);

struct Neighbours {
    intruder: Scope,
    owner: AccountId,
    owned: NewRecord,
    token: NewToken,
    service: ServiceId,
    instance: NewInstance,
}

async fn neighbours(store: &Store) -> Neighbours {
    let owner = account(store).await;
    let intruder = Scope::Account(account(store).await);
    let authority = authority(store).await;
    let mut owned = record_with_key(owner, Some(authority), Exportable::Always);
    owned.version.as_mut().unwrap().serial = vec![42];
    store.add_certificate(owned.clone()).await.unwrap();
    let token = NewToken {
        id: TokenId::random(),
        account_id: owner,
        name: "theirs".to_owned(),
        hash: [9; 32],
        read_only: false,
        dialects: None,
        scopes: None,
        expires_at: None,
        created_at: moment(0),
    };
    store
        .create_token(token.clone(), event(Some(owner), "token.created"))
        .await
        .unwrap();
    let service = add_service(store, owner, &["a.example"]).await;
    let instance = NewInstance {
        id: InstanceId::random(),
        account_id: owner,
        service_id: Some(service),
        name: "theirs".to_owned(),
        image: String::new(),
        memory_mb: None,
        args: String::new(),
        env: String::new(),
        address: None,
        created_at: moment(0),
    };
    store
        .create_instance(instance.clone(), None, Vec::new())
        .await
        .unwrap();
    Neighbours {
        intruder,
        owner,
        owned,
        token,
        service,
        instance,
    }
}

fn whole_list<Id>() -> Page<Id> {
    Page {
        from: PageStart::Beginning,
        limit: 10,
        order: Order::Ascending,
    }
}

async fn nothing_of_another_account_is_found(database: &Database) {
    let store = database.open().await;
    let Neighbours {
        intruder,
        owner,
        owned,
        service,
        instance,
        ..
    } = neighbours(&store).await;
    let id = owned.certificate.id;
    let version = owned.version.as_ref().unwrap();
    let by_id = CertificateRef::Id(id);
    let by_name = CertificateRef::Name(owned.certificate.name.clone());
    let page = whole_list();
    let filter = CertificateFilter {
        common_name: Some(owned.certificate.common_name.clone()),
        ..CertificateFilter::default()
    };
    for (scope, count) in [(Scope::Account(owner), 1), (intruder, 0)] {
        let found = store.certificate(scope, &by_id).await.unwrap();
        assert_eq!(found.into_iter().count(), count);
        let found = store.certificate(scope, &by_name).await.unwrap();
        assert_eq!(found.into_iter().count(), count);
        let both = [by_id.clone(), by_name.clone()];
        let found = store.certificates_by_refs(scope, &both).await.unwrap();
        assert_eq!(found.into_iter().flatten().count(), 2 * count);
        let found = store
            .list_certificates(scope, &CertificateFilter::default(), &page)
            .await;
        assert_eq!(found.unwrap().len(), count);
        assert_eq!(
            store
                .list_certificates(scope, &filter, &page)
                .await
                .unwrap()
                .len(),
            count
        );
        assert_eq!(store.versions(scope, id).await.unwrap().len(), count);
        let found = store.version(scope, version.id).await.unwrap();
        assert_eq!(found.into_iter().count(), count);
        let found = store.chain(scope, version.id).await.unwrap();
        assert_eq!(found.into_iter().count(), count);
        let found = store.version_by_serial_low(scope, 42).await.unwrap();
        assert_eq!(found.into_iter().count(), count);
        let found = store
            .private_key(scope, version.private_key_id.unwrap())
            .await
            .unwrap();
        assert_eq!(found.into_iter().count(), count);
        assert_eq!(store.tokens(scope, None, 10).await.unwrap().len(), count);
        let name = owned.certificate.common_name.as_str();
        let found = store.certificates_covering(scope, &[name]).await.unwrap();
        assert_eq!(found.len(), count);
        let found = store.service(scope, service).await.unwrap();
        assert_eq!(found.into_iter().count(), count);
        let references = [ServiceRef::Id(service)];
        let found = store.services_by_refs(scope, &references).await.unwrap();
        assert_eq!(found.into_iter().flatten().count(), count);
        let list = store.list_services(scope, &whole_list()).await.unwrap();
        assert_eq!(list.len(), count);
        let found = store.domains_named(scope, &["a.example"]).await.unwrap();
        assert_eq!(found.len(), count);
        let references = [
            InstanceRef::Id(instance.id),
            InstanceRef::Name(instance.name.clone()),
        ];
        let found = store.instances_by_refs(scope, &references).await.unwrap();
        assert_eq!(found.into_iter().flatten().count(), 2 * count);
        let list = store.list_instances(scope, &whole_list()).await.unwrap();
        assert_eq!(list.len(), count);
        let events = store.events_after(scope, None, 10).await.unwrap();
        assert!(
            events
                .iter()
                .all(|event| scope == Scope::Account(event.account_id.unwrap()))
        );
        assert_eq!(
            events
                .iter()
                .filter(|event| event.kind == "token.created")
                .count(),
            count
        );
    }
}

async fn nothing_of_another_account_is_changed(database: &Database) {
    let store = database.open().await;
    let Neighbours {
        intruder,
        owner,
        owned,
        token,
        service,
        instance,
    } = neighbours(&store).await;
    let id = owned.certificate.id;
    let current = owned.version.as_ref().unwrap();
    let key = current.private_key_id.unwrap();
    let attempt = || event(None, "intrusion");
    let before = find(&store, Scope::Everything, id).await;
    let events_before = database.count("events").await;

    let outcome = store
        .add_version(intruder, id, renewal(version(None), &[], None, attempt()))
        .await;
    assert!(matches!(outcome, Err(Error::NotFound)));
    let outcome = store
        .set_certificate_state(intruder, id, State::Revoked, None, attempt())
        .await;
    assert!(matches!(outcome, Err(Error::NotFound)));
    assert!(
        !store
            .delete_certificate(intruder, id, attempt())
            .await
            .unwrap()
    );
    let revocation = Revocation {
        at: moment(1),
        reason: RevocationReason::KeyCompromise,
    };
    let outcome = store
        .revoke_version(intruder, current.id, revocation, attempt())
        .await;
    assert_eq!(outcome.unwrap(), RevokeOutcome::NotFound);
    assert!(!store.erase_private_key(intruder, key).await.unwrap());
    assert!(
        !store
            .delete_token(intruder, token.id, attempt())
            .await
            .unwrap()
    );

    let change = ServiceChange {
        remove_domains: vec!["a.example".to_owned()],
        ..ServiceChange::default()
    };
    let outcome = store
        .change_service(intruder, service, change, vec![attempt()])
        .await;
    assert!(matches!(outcome, Err(Error::NotFound)));
    let outcome = store
        .postpone(intruder, id, 1, moment(1), None, attempt())
        .await;
    assert!(matches!(outcome, Err(Error::NotFound)));
    let outcome = store
        .delete_instance(intruder, instance.id, vec![attempt()], vec![attempt()])
        .await;
    assert_eq!(outcome.unwrap(), InstanceRemoval::NotFound);
    let outcome = store
        .delete_service(intruder, service, vec![attempt()])
        .await;
    assert!(!outcome.unwrap());

    assert_eq!(find(&store, Scope::Everything, id).await, before);
    assert_eq!(domain_names(&store, service).await, ["a.example"]);
    let instances = store.instances_of_services(&[service]).await.unwrap();
    assert_eq!(instances.len(), 1);
    assert!(
        store
            .private_key(Scope::Account(owner), key)
            .await
            .unwrap()
            .is_some()
    );
    assert!(store.token_by_hash(&token.hash).await.unwrap().is_some());
    assert_eq!(database.count("events").await, events_before);

    // A revocation seen by the owner only.
    let scope = Scope::Account(owner);
    store
        .revoke_version(scope, current.id, revocation, attempt())
        .await
        .unwrap();
    let outcome = store
        .revoke_version(intruder, current.id, revocation, attempt())
        .await;
    assert_eq!(
        outcome.unwrap(),
        RevokeOutcome::NotFound,
        "not even that it is revoked"
    );
}
