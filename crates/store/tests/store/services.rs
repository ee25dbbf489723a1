//! Services: making, finding, changing and removing them.

use std::time::Duration;

use store::{
    AccountId, CertificateId, Error, Handlers, NewDomain, NewEvent, NewService, Order, Page,
    PageStart, Protocol, PublishedPort, Scope, ServiceChange, ServiceId, ServiceRef, Store,
};
use tokio::task::JoinSet;

use crate::support::{
    Database, account, add_certificate_for, add_service, domain, domain_names, event, kinds,
    moment, service, unique,
};

on_both_databases!(
    a_service_comes_back_as_it_was,
    a_service_is_made_as_a_whole_or_not_at_all,
    of_many_who_want_a_domain_at_once_one_gets_it,
    ten_thousand_domains_are_added_at_once,
    only_what_is_said_is_changed,
    domains_are_added_behind_the_others_and_taken_away,
    a_change_that_fails_changes_nothing,
    a_change_made_up_for_another_state_is_not_made,
    changes_at_the_same_time_are_all_made,
    a_removed_service_frees_its_domains,
    services_are_listed_page_by_page,
    references_are_answered_in_their_order,
    the_services_of_certificates_are_told,
    a_certificate_with_very_many_services_does_not_hide_others,
    an_account_with_services_cannot_be_removed,
    overlong_texts_are_refused,
);

const HTTPS: PublishedPort = PublishedPort {
    port: 443,
    destination_port: 8080,
    handlers: Handlers {
        tls: true,
        http: true,
        redirect: false,
    },
    protocol: Protocol::Tcp,
};

async fn create(store: &Store, service: NewService, domains: Vec<NewDomain>) -> Result<(), Error> {
    let made = event(Some(service.account_id), "service.created");
    store.create_service(service, domains, vec![made]).await
}

async fn change(store: &Store, id: ServiceId, change: ServiceChange) -> Result<(), Error> {
    let changed = vec![event(None, "service.changed")];
    store
        .change_service(Scope::Everything, id, change, changed)
        .await
}

async fn a_service_comes_back_as_it_was(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let certificate = add_certificate_for(&store, account, "a.example", &[]).await;
    let alternate = add_certificate_for(&store, account, "a.example", &[]).await;
    let redirect = PublishedPort {
        port: 80,
        handlers: Handlers {
            redirect: true,
            ..Handlers::default()
        },
        ..HTTPS
    };
    let made = NewService {
        ports: vec![HTTPS, redirect],
        soft_limit: 7,
        hard_limit: u32::MAX,
        autokill: Some(Duration::from_millis(1_500)),
        is_persistent: false,
        created_at: moment(3),
        ..service(account)
    };
    let explicit = NewDomain {
        alternate_id: Some(alternate),
        is_explicit: true,
        ..domain("z.example", Some(certificate))
    };
    let domains = vec![explicit, domain("a.example", None)];
    create(&store, made.clone(), domains).await.unwrap();

    let scope = Scope::Account(account);
    let found = store.service(scope, made.id).await.unwrap().unwrap();
    assert_eq!((found.id, found.account_id), (made.id, account));
    assert_eq!((found.name, found.ports), (made.name, made.ports));
    assert_eq!((found.soft_limit, found.hard_limit), (7, u32::MAX));
    assert_eq!(found.autokill, made.autokill);
    assert!(!found.is_persistent);
    assert_eq!(found.created_at, moment(3));
    let domains = store.domains_of_services(&[made.id]).await.unwrap();
    let [first, second] = domains.as_slice() else {
        panic!("{domains:?}")
    };
    assert_eq!(first.name, "z.example", "the order is kept");
    assert_eq!((first.service_id, first.account_id), (made.id, account));
    assert_eq!(first.certificate_id, Some(certificate));
    assert_eq!(first.alternate_id, Some(alternate));
    assert!(first.is_explicit && !second.is_explicit);
    assert_eq!(second.created_at, moment(3));
    assert_eq!((second.certificate_id, second.alternate_id), (None, None));
    assert_eq!(
        kinds(&store, account).await.last().unwrap(),
        "service.created"
    );
}

async fn a_service_is_made_as_a_whole_or_not_at_all(database: &Database) {
    let store = database.open().await;
    let (account, neighbour) = (account(&store).await, account(&store).await);
    add_service(&store, neighbour, &["taken.example"]).await;
    let first = service(account);
    create(&store, first.clone(), Vec::new()).await.unwrap();
    let before = (
        kinds(&store, account).await,
        database.count("domains").await,
    );

    let wanted = |names: &[&str]| {
        names
            .iter()
            .map(|name| domain(name, None))
            .collect::<Vec<_>>()
    };
    let failed = create(
        &store,
        service(account),
        wanted(&["free.example", "taken.example"]),
    );
    let failed = failed.await;
    assert!(matches!(&failed, Err(Error::DomainTaken(name)) if name == "taken.example"));
    let failed = create(
        &store,
        service(account),
        wanted(&["b.example", "c.example", "b.example"]),
    );
    let failed = failed.await;
    assert!(matches!(&failed, Err(Error::DomainTaken(name)) if name == "b.example"));
    let nobody = vec![domain("d.example", Some(CertificateId::random()))];
    let failed = create(&store, service(account), nobody).await;
    assert!(
        matches!(failed, Err(Error::UnknownCertificate)),
        "{failed:?}"
    );
    let again = NewService {
        name: first.name.clone(),
        ..service(account)
    };
    let failed = create(&store, again, wanted(&["e.example"])).await;
    assert!(matches!(failed, Err(Error::DuplicateName)), "{failed:?}");
    let failed = create(&store, service(AccountId::random()), wanted(&["f.example"])).await;
    assert!(matches!(failed, Err(Error::UnknownAccount)), "{failed:?}");

    let after = (
        kinds(&store, account).await,
        database.count("domains").await,
    );
    assert_eq!(after, before);
    assert_eq!(database.count("services").await, 2);
    let same_name = NewService {
        name: first.name,
        ..service(neighbour)
    };
    create(&store, same_name, Vec::new()).await.unwrap();
}

async fn of_many_who_want_a_domain_at_once_one_gets_it(database: &Database) {
    let store = database.open().await;
    let other_node = database.open().await;
    let account = account(&store).await;
    for round in 0..5 {
        let name = format!("{round}.example");
        let mut tasks = JoinSet::new();
        for index in 0..12 {
            let store = [&store, &other_node][index % 2].clone();
            let domains = vec![
                domain(&format!("{round}-{index}.example"), None),
                domain(&name, None),
            ];
            tasks.spawn(async move { create(&store, service(account), domains).await });
        }
        let mut winners = 0;
        for outcome in tasks.join_all().await {
            match outcome {
                Ok(()) => winners += 1,
                Err(Error::DomainTaken(taken)) => assert_eq!(taken, name),
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(winners, 1);
    }
    assert_eq!(database.count("services").await, 5);
    assert_eq!(database.count("domains").await, 10);
}

/// CockroachDB knows no other isolation; there every conflict must be met by trying again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_of_serializable_transactions_are_tried_again() {
    let database = Database::postgres();
    database.make_serializable().await;
    of_many_who_want_a_domain_at_once_one_gets_it(&database).await;
}

async fn ten_thousand_domains_are_added_at_once(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let made = service(account);
    let names: Vec<String> = (0..10_000)
        .map(|index| format!("d{index}.example"))
        .collect();
    let domains = names.iter().map(|name| domain(name, None)).collect();
    let events = names.iter().map(|name| NewEvent {
        detail: name.clone(),
        ..event(Some(account), "domain.added")
    });
    let (id, events) = (made.id, events.collect());
    store.create_service(made, domains, events).await.unwrap();

    assert_eq!(domain_names(&store, id).await, names);
    let mut told = Vec::new();
    let mut position = None;
    loop {
        let page = store.events_after(Scope::Everything, position, 1_000).await;
        let page = page.unwrap();
        let Some(last) = page.last() else { break };
        position = Some(last.id);
        let added = page
            .into_iter()
            .filter(|event| event.kind == "domain.added");
        told.extend(added.map(|event| event.detail));
    }
    assert_eq!(told, names);

    // There is no room for more, but for others.
    let change = |removed: &[&str], added: &str| ServiceChange {
        remove_domains: removed.iter().map(|name| (*name).to_owned()).collect(),
        add_domains: vec![domain(added, None)],
        ..ServiceChange::default()
    };
    let event = || vec![event(Some(account), "service.changed")];
    let (scope, full) = (Scope::Account(account), change(&[], "more.example"));
    let refused = store.change_service(scope, id, full, event()).await;
    assert!(matches!(refused, Err(Error::Full)), "{refused:?}");
    let exchange = change(&["d7.example"], "more.example");
    store
        .change_service(scope, id, exchange, event())
        .await
        .unwrap();
    let sizes = store.sizes_of_services(&[id, ServiceId::random()]).await;
    assert_eq!(sizes.unwrap(), [(id, 10_000)].into());
}

async fn only_what_is_said_is_changed(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let made = NewService {
        autokill: Some(Duration::from_secs(1)),
        ..service(account)
    };
    let id = made.id;
    create(&store, made.clone(), Vec::new()).await.unwrap();
    let find = async || {
        store
            .service(Scope::Account(account), id)
            .await
            .unwrap()
            .unwrap()
    };

    let ports = ServiceChange {
        ports: Some(vec![HTTPS]),
        ..ServiceChange::default()
    };
    change(&store, id, ports).await.unwrap();
    let found = find().await;
    assert_eq!(found.ports, [HTTPS]);
    assert_eq!((found.soft_limit, found.hard_limit), (1, 65_535));
    assert_eq!((found.autokill, &found.name), (made.autokill, &made.name));

    let limits = ServiceChange {
        soft_limit: Some(5),
        hard_limit: Some(6),
        autokill: Some(None),
        ..ServiceChange::default()
    };
    change(&store, id, limits).await.unwrap();
    let found = find().await;
    assert_eq!(
        (found.soft_limit, found.hard_limit, found.autokill),
        (5, 6, None)
    );
    assert_eq!(found.ports, [HTTPS]);

    let nobody = change(&store, ServiceId::random(), ServiceChange::default()).await;
    assert!(matches!(nobody, Err(Error::NotFound)));
}

async fn domains_are_added_behind_the_others_and_taken_away(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let certificate = add_certificate_for(&store, account, "*.example", &[]).await;
    let id = add_service(&store, account, &["c.example", "b.example", "a.example"]).await;
    let edit = ServiceChange {
        remove_domains: vec!["b.example".to_owned(), "c.example".to_owned()],
        add_domains: vec![
            domain("0.example", None),
            domain("c.example", Some(certificate)),
        ],
        ..ServiceChange::default()
    };
    change(&store, id, edit).await.unwrap();
    assert_eq!(
        domain_names(&store, id).await,
        ["a.example", "0.example", "c.example"]
    );
    let found = store.routed(&["c.example", "b.example"]).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].certificate_id, Some(certificate));
    let everything = ServiceChange {
        remove_domains: domain_names(&store, id).await,
        ..ServiceChange::default()
    };
    change(&store, id, everything).await.unwrap();
    assert_eq!(domain_names(&store, id).await, [""; 0]);
    let first = ServiceChange {
        add_domains: vec![domain("first.example", None)],
        ..ServiceChange::default()
    };
    change(&store, id, first).await.unwrap();
    assert_eq!(domain_names(&store, id).await, ["first.example"]);
}

async fn a_change_that_fails_changes_nothing(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = add_service(&store, account, &["mine.example"]).await;
    add_service(&store, account, &["other.example"]).await;
    let events = database.count("events").await;
    let remove = |names: &[&str]| ServiceChange {
        soft_limit: Some(9),
        remove_domains: names.iter().map(ToString::to_string).collect(),
        ..ServiceChange::default()
    };
    let failed = change(&store, id, remove(&["mine.example", "other.example"])).await;
    assert!(matches!(failed, Err(Error::NotFound)), "{failed:?}");
    let add = |name: &str, certificate| ServiceChange {
        add_domains: vec![domain("new.example", None), domain(name, certificate)],
        ..remove(&["mine.example"])
    };
    let failed = change(&store, id, add("other.example", None)).await;
    assert!(matches!(&failed, Err(Error::DomainTaken(name)) if name == "other.example"));
    let nobody = Some(CertificateId::random());
    let failed = change(&store, id, add("third.example", nobody)).await;
    assert!(
        matches!(failed, Err(Error::UnknownCertificate)),
        "{failed:?}"
    );
    let failed = store
        .change_service(Scope::Everything, id, remove(&[]), Vec::new())
        .await;
    assert!(matches!(failed, Err(Error::Inconsistent(_))), "{failed:?}");

    assert_eq!(domain_names(&store, id).await, ["mine.example"]);
    let found = store.service(Scope::Everything, id).await.unwrap().unwrap();
    assert_eq!(found.soft_limit, 1);
    assert_eq!(database.count("events").await, events);
}

async fn a_change_made_up_for_another_state_is_not_made(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = add_service(&store, account, &[]).await;
    let seen = store.service(Scope::Everything, id).await.unwrap();
    let with_limit = |hard_limit| ServiceChange {
        so_far: seen.clone(),
        hard_limit: Some(hard_limit),
        ..ServiceChange::default()
    };
    change(&store, id, with_limit(7)).await.unwrap();
    let late = change(&store, id, with_limit(8)).await;
    assert!(matches!(late, Err(Error::NotFound)), "{late:?}");
    let found = store.service(Scope::Everything, id).await.unwrap();
    assert_eq!(found.unwrap().hard_limit, 7);
}

async fn changes_at_the_same_time_are_all_made(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = add_service(&store, account, &[]).await;
    let mut tasks = JoinSet::new();
    for index in 0..20 {
        let store = store.clone();
        tasks.spawn(async move {
            let add = ServiceChange {
                add_domains: vec![domain(&format!("{index}.example"), None)],
                ..ServiceChange::default()
            };
            change(&store, id, add).await.unwrap();
        });
    }
    tasks.join_all().await;
    assert_eq!(domain_names(&store, id).await.len(), 20);
    assert_eq!(
        database
            .count("(select distinct position from domains) as places")
            .await,
        20
    );
}

async fn a_removed_service_frees_its_domains(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let id = add_service(&store, account, &["a.example", "b.example"]).await;
    let removed = || vec![event(Some(account), "service.deleted")];
    assert!(store.delete_service(scope, id, removed()).await.unwrap());
    assert!(!store.delete_service(scope, id, removed()).await.unwrap());
    assert_eq!(store.service(scope, id).await.unwrap(), None);
    let told = kinds(&store, account).await;
    assert_eq!(
        told.iter()
            .filter(|kind| *kind == "service.deleted")
            .count(),
        1
    );
    add_service(&store, account, &["b.example"]).await;
}

async fn services_are_listed_page_by_page(database: &Database) {
    let store = database.open().await;
    let (account, neighbour) = (account(&store).await, account(&store).await);
    let mut expected = Vec::new();
    for index in 0..9 {
        let made = NewService {
            created_at: moment(index / 2),
            ..service(account)
        };
        expected.push((made.created_at, made.id));
        create(&store, made, Vec::new()).await.unwrap();
    }
    expected.sort();
    add_service(&store, neighbour, &[]).await;
    let list = async |scope, from, order| {
        let page = Page {
            from,
            limit: 4,
            order,
        };
        let found = store.list_services(scope, &page).await.unwrap();
        let found = found
            .into_iter()
            .map(|service| (service.created_at, service.id));
        found.collect::<Vec<_>>()
    };
    let own = Scope::Account(account);
    let first = list(own, PageStart::Beginning, Order::Ascending).await;
    assert_eq!(first, expected[..4]);
    let (created_at, id) = first[3];
    let from = PageStart::At { created_at, id };
    assert_eq!(list(own, from, Order::Ascending).await, expected[3..7]);
    let from = PageStart::Time(moment(1));
    let mut backwards = list(own, from, Order::Descending).await;
    backwards.reverse();
    assert_eq!(backwards, expected[..4]);
    let page = Page {
        from: PageStart::Beginning,
        limit: usize::MAX,
        order: Order::Ascending,
    };
    let everything = store.list_services(Scope::Everything, &page).await;
    assert_eq!(everything.unwrap().len(), 10);
}

async fn references_are_answered_in_their_order(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let first = service(one);
    let namesake = NewService {
        name: first.name.clone(),
        ..service(other)
    };
    create(&store, first.clone(), Vec::new()).await.unwrap();
    create(&store, namesake.clone(), Vec::new()).await.unwrap();
    let references = [
        ServiceRef::Name("no\0body".to_owned()),
        ServiceRef::Id(namesake.id),
        ServiceRef::Name(first.name.clone()),
        ServiceRef::Id(first.id),
    ];
    let found = store
        .services_by_refs(Scope::Account(one), &references)
        .await;
    let found: Vec<_> = found
        .unwrap()
        .into_iter()
        .map(|found| found.map(|found| found.id))
        .collect();
    assert_eq!(found, [None, None, Some(first.id), Some(first.id)]);
    let ambiguous = store.services_by_refs(Scope::Everything, &references).await;
    assert!(matches!(ambiguous, Err(Error::AmbiguousName)));
}

async fn the_services_of_certificates_are_told(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let wildcard = add_certificate_for(&store, account, "*.example", &[]).await;
    let single = add_certificate_for(&store, account, "c.example", &[]).await;
    let unused = add_certificate_for(&store, account, "d.example", &[]).await;
    let alternate = add_certificate_for(&store, account, "g.example", &[]).await;
    let (one, other) = (service(account), service(account));
    let domains = vec![
        domain("a.example", Some(wildcard)),
        domain("b.example", Some(wildcard)),
        NewDomain {
            alternate_id: Some(alternate),
            ..domain("c.example", Some(single))
        },
        domain("g.example", Some(alternate)),
    ];
    create(&store, one.clone(), domains).await.unwrap();
    let domains = vec![
        domain("e.example", Some(wildcard)),
        domain("f.example", None),
    ];
    create(&store, other.clone(), domains).await.unwrap();

    let asked = [unused, wildcard, single, wildcard, alternate];
    let found = store.services_with_certificates(&asked).await.unwrap();
    let mut expected = vec![
        (alternate, one.id, one.name.clone()),
        (wildcard, one.id, one.name.clone()),
        (wildcard, other.id, other.name),
        (single, one.id, one.name),
    ];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(store.services_with_certificates(&[]).await.unwrap(), []);
}

async fn a_certificate_with_very_many_services_does_not_hide_others(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut certificates = Vec::new();
    for _ in 0..3 {
        certificates.push(add_certificate_for(&store, account, "*.example", &[]).await);
    }
    certificates.sort_unstable();
    for (index, certificate) in certificates.iter().enumerate() {
        let domains = vec![domain(&format!("{index}.example"), Some(*certificate))];
        create(&store, service(account), domains).await.unwrap();
    }
    // Copies of the second service, behind the store's back because they are so many.
    let (series, id) = if database.is_sqlite() {
        (
            "(with recursive series (n) as (select 1 union all select n + 1 from series where n < 2500) select n from series)",
            "randomblob(16)",
        )
    } else {
        (
            "generate_series(1, 2500) as series (n)",
            "uuid_send(gen_random_uuid())",
        )
    };
    database
        .tamper(&format!(
            "insert into services (id, account_id, name, ports, soft_limit, hard_limit, \
             persistent, created_at) select {id}, account_id, 'copy-' || n, ports, soft_limit, \
             hard_limit, persistent, n from services, {series} where services.id = \
             (select service_id from domains where name = '1.example'); \
             insert into domains (position, created_at, explicit, name, parent, service_id, \
             account_id, certificate_id) select 0, 0, explicit, 'copy' || s.created_at, '', s.id, \
             s.account_id, certificate_id from domains d, services s \
             where d.name = '1.example' and s.name like 'copy-%'"
        ))
        .await;
    let found = store
        .services_with_certificates(&certificates)
        .await
        .unwrap();
    let count = |index: usize| {
        found
            .iter()
            .filter(|(id, ..)| *id == certificates[index])
            .count()
    };
    assert_eq!((count(0), count(1), count(2)), (1, 1_000, 1));
    let few = store.services_with_certificates(&certificates[1..2]).await;
    assert_eq!(few.unwrap().len(), 1_000);
}

async fn an_account_with_services_cannot_be_removed(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let id = add_service(&store, account, &["a.example"]).await;
    let removed = || event(Some(account), "account.removed");
    let failed = store.delete_account(account, removed()).await;
    assert!(matches!(failed, Err(Error::InUse)), "{failed:?}");
    let gone = store
        .delete_service(Scope::Everything, id, Vec::new())
        .await;
    assert!(gone.unwrap());
    assert!(store.delete_account(account, removed()).await.unwrap());
}

async fn overlong_texts_are_refused(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let overlong = NewService {
        name: "n".repeat(store::NAME_LIMIT + 1),
        ..service(account)
    };
    let failed = create(&store, overlong, Vec::new()).await;
    assert!(matches!(failed, Err(Error::TooLong { .. })), "{failed:?}");
    let overlong = NewService {
        ports: vec![HTTPS; store::PORTS_LIMIT / 10],
        ..service(account)
    };
    let failed = create(&store, overlong, Vec::new()).await;
    assert!(matches!(failed, Err(Error::TooLong { .. })), "{failed:?}");
    let longest = format!("{}.{}", unique(), "d".repeat(store::DOMAIN_NAME_LIMIT));
    let (longest, overlong) = (
        &longest[..store::DOMAIN_NAME_LIMIT],
        &longest[..=store::DOMAIN_NAME_LIMIT],
    );
    let failed = create(&store, service(account), vec![domain(overlong, None)]).await;
    assert!(matches!(failed, Err(Error::TooLong { .. })), "{failed:?}");
    create(&store, service(account), vec![domain(longest, None)])
        .await
        .unwrap();
}
