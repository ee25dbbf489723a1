//! Instances, and the services that come and go with them.

use store::{
    AccountId, Error, INSTANCES_LIMIT, InstanceId, InstanceOfService, InstanceRef, InstanceRemoval,
    NewInstance, NewService, Order, Page, PageStart, Scope, ServiceId, Store,
};
use tokio::task::JoinSet;

use crate::support::{
    Database, account, add_service, domain, event, kinds, moment, service, unique,
};

on_both_databases!(
    an_instance_comes_back_as_it_was,
    an_instance_is_made_as_a_whole_or_not_at_all,
    an_instance_joins_services_of_its_account_only,
    a_service_is_made_with_its_first_instance,
    a_service_made_for_an_instance_goes_with_the_last_one,
    of_the_last_two_instances_removed_at_once_one_takes_the_service_along,
    an_instance_never_joins_a_service_that_goes,
    a_service_has_a_thousand_instances_at_most,
    a_service_with_instances_is_not_removed,
    instances_are_listed_and_found,
);

fn instance(account: AccountId, service: Option<ServiceId>) -> NewInstance {
    NewInstance {
        id: InstanceId::random(),
        account_id: account,
        service_id: service,
        name: format!("instance-{}", unique()),
        image: "registry.example/app:1".to_owned(),
        memory_mb: None,
        args: "[]".to_owned(),
        env: "{}".to_owned(),
        address: None,
        created_at: moment(0),
    }
}

async fn create(store: &Store, instance: NewInstance) -> Result<(), Error> {
    let made = event(Some(instance.account_id), "instance.created");
    store.create_instance(instance, None, vec![made]).await
}

async fn add(store: &Store, account: AccountId, service: Option<ServiceId>) -> InstanceId {
    let made = instance(account, service);
    let id = made.id;
    create(store, made).await.unwrap();
    id
}

async fn remove(store: &Store, account: AccountId, id: InstanceId) -> InstanceRemoval {
    let events = vec![event(Some(account), "instance.deleted")];
    let service_events = vec![event(Some(account), "service.deleted")];
    store
        .delete_instance(Scope::Account(account), id, events, service_events)
        .await
        .unwrap()
}

/// Makes a service that is not persistent, with one instance and one domain.
async fn add_temporary(store: &Store, account: AccountId, name: &str) -> (ServiceId, InstanceId) {
    let made = NewService {
        is_persistent: false,
        ..service(account)
    };
    let first = instance(account, Some(made.id));
    let ids = (made.id, first.id);
    let with_domains = Some((made, vec![domain(name, None)]));
    store
        .create_instance(first, with_domains, Vec::new())
        .await
        .unwrap();
    ids
}

async fn an_instance_comes_back_as_it_was(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let service = add_service(&store, account, &[]).await;
    let made = NewInstance {
        memory_mb: Some(128),
        args: r#"["--port","80"]"#.to_owned(),
        env: r#"{"A":"b\n"}"#.to_owned(),
        address: Some("2001:db8::1".to_owned()),
        created_at: moment(3),
        ..instance(account, Some(service))
    };
    create(&store, made.clone()).await.unwrap();
    let of_service = InstanceOfService {
        id: made.id,
        service_id: service,
        name: made.name.clone(),
        address: made.address.clone(),
    };
    let found = store.instances_of_services(&[service]).await.unwrap();
    assert_eq!(found, [of_service]);
    let references = [InstanceRef::Id(made.id)];
    let found = store.instances_by_refs(Scope::Account(account), &references);
    let found = found.await.unwrap().remove(0).unwrap();
    assert_eq!((found.id, found.account_id), (made.id, account));
    assert_eq!(found.service_id, Some(service));
    assert_eq!((&found.name, &found.image), (&made.name, &made.image));
    assert_eq!((&found.args, &found.env), (&made.args, &made.env));
    assert_eq!(
        (found.memory_mb, &found.address),
        (Some(128), &made.address)
    );
    assert_eq!(found.created_at, moment(3));
    assert_eq!(
        kinds(&store, account).await.last().unwrap(),
        "instance.created"
    );
}

async fn an_instance_is_made_as_a_whole_or_not_at_all(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    add_service(&store, account, &["taken.example"]).await;
    let first = instance(account, None);
    create(&store, first.clone()).await.unwrap();
    let events = database.count("events").await;

    let namesake = NewInstance {
        name: first.name.clone(),
        ..instance(account, None)
    };
    let failed = create(&store, namesake.clone()).await;
    assert!(matches!(failed, Err(Error::DuplicateName)), "{failed:?}");
    let failed = create(&store, instance(AccountId::random(), None)).await;
    assert!(matches!(failed, Err(Error::UnknownAccount)), "{failed:?}");
    let overlong = NewInstance {
        env: "e".repeat(store::INSTANCE_TEXT_LIMIT + 1),
        ..instance(account, None)
    };
    let failed = create(&store, overlong).await;
    assert!(matches!(failed, Err(Error::TooLong { .. })), "{failed:?}");

    let with = async |instance: NewInstance, service: NewService, name: &str| {
        let instance = NewInstance {
            service_id: Some(service.id),
            ..instance
        };
        let made = vec![event(Some(account), "instance.created")];
        let service = Some((service, vec![domain(name, None)]));
        store.create_instance(instance, service, made).await
    };
    let failed = with(namesake, service(account), "a.example").await;
    assert!(matches!(failed, Err(Error::DuplicateName)), "{failed:?}");
    let failed = with(instance(account, None), service(account), "taken.example").await;
    assert!(matches!(failed, Err(Error::DomainTaken(_))), "{failed:?}");
    let existing = NewService {
        name: store
            .list_services(Scope::Everything, &whole_list())
            .await
            .unwrap()[0]
            .name
            .clone(),
        ..service(account)
    };
    let failed = with(instance(account, None), existing, "a.example").await;
    assert!(
        matches!(failed, Err(Error::DuplicateServiceName)),
        "{failed:?}"
    );
    let stranger = service(AccountId::random());
    let failed = with(instance(account, None), stranger, "a.example").await;
    assert!(matches!(failed, Err(Error::Inconsistent(_))), "{failed:?}");

    for (table, count) in [
        ("instances", 1),
        ("services", 1),
        ("domains", 1),
        ("events", events),
    ] {
        assert_eq!(database.count(table).await, count, "{table}");
    }
}

async fn an_instance_joins_services_of_its_account_only(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let theirs = add_service(&store, other, &[]).await;
    for service in [theirs, ServiceId::random()] {
        let failed = create(&store, instance(one, Some(service))).await;
        assert!(matches!(failed, Err(Error::NotFound)), "{failed:?}");
    }
    add(&store, other, Some(theirs)).await;
}

async fn a_service_is_made_with_its_first_instance(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let (service, instance) = add_temporary(&store, account, "a.example").await;
    let found = store
        .service(Scope::Account(account), service)
        .await
        .unwrap();
    assert!(!found.unwrap().is_persistent);
    let found = store.instances_of_services(&[service]).await.unwrap();
    assert_eq!(found[0].id, instance);
    assert_eq!(
        store.routed(&["a.example"]).await.unwrap()[0].service_id,
        service
    );
}

async fn a_service_made_for_an_instance_goes_with_the_last_one(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let (service, first) = add_temporary(&store, account, "a.example").await;
    let second = add(&store, account, Some(service)).await;
    assert_eq!(
        remove(&store, account, first).await,
        InstanceRemoval::Removed
    );
    assert_eq!(store.routed(&["a.example"]).await.unwrap().len(), 1);
    let gone = remove(&store, account, second).await;
    assert_eq!(gone, InstanceRemoval::RemovedWithService(service));
    assert_eq!(store.routed(&["a.example"]).await.unwrap(), []);
    assert_eq!(
        remove(&store, account, second).await,
        InstanceRemoval::NotFound
    );
    let told = kinds(&store, account).await;
    let told: Vec<_> = told
        .iter()
        .filter(|kind| kind.ends_with("deleted"))
        .collect();
    assert_eq!(
        told,
        ["instance.deleted", "instance.deleted", "service.deleted"]
    );

    let persistent = add_service(&store, account, &["b.example"]).await;
    let only = add(&store, account, Some(persistent)).await;
    assert_eq!(
        remove(&store, account, only).await,
        InstanceRemoval::Removed
    );
    let lonely = add(&store, account, None).await;
    assert_eq!(
        remove(&store, account, lonely).await,
        InstanceRemoval::Removed
    );
    let found = store.service(Scope::Account(account), persistent).await;
    assert!(found.unwrap().is_some());
}

async fn of_the_last_two_instances_removed_at_once_one_takes_the_service_along(
    database: &Database,
) {
    let store = database.open().await;
    let other_node = database.open().await;
    let account = account(&store).await;
    let mut tasks = JoinSet::new();
    for index in 0..15 {
        let (service, first) = add_temporary(&store, account, &format!("{index}.example")).await;
        let second = add(&store, account, Some(service)).await;
        for (node, id) in [(store.clone(), first), (other_node.clone(), second)] {
            tasks.spawn(async move { remove(&node, account, id).await });
        }
    }
    let removals = tasks.join_all().await;
    let with_service = removals
        .iter()
        .filter(|removal| matches!(removal, InstanceRemoval::RemovedWithService(_)));
    assert_eq!(with_service.count(), 15);
    assert_eq!(database.count("services").await, 0);
}

async fn an_instance_never_joins_a_service_that_goes(database: &Database) {
    let store = database.open().await;
    let other_node = database.open().await;
    let account = account(&store).await;
    let mut tasks = JoinSet::new();
    for index in 0..15 {
        let (service, first) = add_temporary(&store, account, &format!("{index}.example")).await;
        let node = store.clone();
        tasks.spawn(async move {
            remove(&node, account, first).await;
        });
        let node = other_node.clone();
        tasks.spawn(async move {
            match create(&node, instance(account, Some(service))).await {
                Ok(()) | Err(Error::NotFound) => {}
                Err(error) => panic!("{error:?}"),
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(
        database.count("services").await,
        database.count("instances").await
    );
    let orphans = "instances where service_id not in (select id from services)";
    assert_eq!(database.count(orphans).await, 0);
}

async fn a_service_with_instances_is_not_removed(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let service = add_service(&store, account, &["a.example"]).await;
    let id = add(&store, account, Some(service)).await;
    let removed = || vec![event(Some(account), "service.deleted")];
    let refused = store.delete_service(scope, service, removed()).await;
    assert!(matches!(refused, Err(Error::Attached)), "{refused:?}");
    assert_eq!(store.routed(&["a.example"]).await.unwrap().len(), 1);
    remove(&store, account, id).await;
    assert!(
        store
            .delete_service(scope, service, removed())
            .await
            .unwrap()
    );
    let told = kinds(&store, account).await;
    let told = told.iter().filter(|kind| *kind == "service.deleted");
    assert_eq!(told.count(), 1);
}

fn whole_list<Id>() -> Page<Id> {
    Page {
        from: PageStart::Beginning,
        limit: 100,
        order: Order::Ascending,
    }
}

async fn instances_are_listed_and_found(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let mut expected = Vec::new();
    for index in 0..5 {
        let made = NewInstance {
            created_at: moment(5 - index),
            ..instance(one, None)
        };
        expected.insert(0, made.id);
        create(&store, made).await.unwrap();
    }
    add(&store, other, None).await;
    let scope = Scope::Account(one);
    let listed = store.list_instances(scope, &whole_list()).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|instance| instance.id).collect();
    assert_eq!(ids, expected);
    let all = store.list_instances(Scope::Everything, &whole_list()).await;
    assert_eq!(all.unwrap().len(), 6);
    let references = [
        InstanceRef::Name(listed[4].name.clone()),
        InstanceRef::Name("nobody".to_owned()),
        InstanceRef::Id(listed[0].id),
    ];
    let found = store.instances_by_refs(scope, &references).await.unwrap();
    let found: Vec<_> = found
        .into_iter()
        .map(|found| found.map(|found| found.id))
        .collect();
    assert_eq!(found, [Some(listed[4].id), None, Some(listed[0].id)]);
}

async fn a_service_has_a_thousand_instances_at_most(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let service = add_service(&store, account, &["a.example"]).await;
    for _ in 0..INSTANCES_LIMIT {
        create(&store, instance(account, Some(service)))
            .await
            .unwrap();
    }
    let refused = create(&store, instance(account, Some(service))).await;
    assert!(matches!(refused, Err(Error::Full)), "{refused:?}");
    create(&store, instance(account, None)).await.unwrap();
    let sizes = store.sizes_of_services(&[service]).await.unwrap();
    assert_eq!(sizes, [(service, INSTANCES_LIMIT + 1)].into());
}
