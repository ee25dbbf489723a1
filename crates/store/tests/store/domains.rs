//! Finding domains.

use store::{AccountId, Domain, NewDomain, Scope, ServiceId};

use crate::support::{
    Database, account, add_certificate_for, add_service, domain, moment, service,
};

on_both_databases!(
    all_names_are_paged_in_the_order_of_their_bytes,
    a_page_of_names_is_never_longer_than_the_limit,
    domains_are_found_by_name,
    domains_are_found_under_their_parent,
    domains_are_found_by_their_certificate,
    domains_of_several_services_stay_apart,
    accounts_with_domains_are_told,
);

fn names(domains: &[Domain]) -> Vec<&str> {
    domains.iter().map(|domain| domain.name.as_str()).collect()
}

async fn all_names_are_paged_in_the_order_of_their_bytes(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    assert_eq!(store.domain_names_after(None, 10).await.unwrap(), [""; 0]);
    // Languages put some of these in another order.
    let mut expected = [
        "a.example",
        "a-b.example",
        "ab.example",
        "*.example",
        "1.example",
        "a.b.example",
        "_x.example",
        "zz",
        "xn--4ca.example",
    ];
    add_service(&store, account, &expected).await;
    expected.sort_unstable();
    for limit in [1, 2, 4, 9, 10_000] {
        let mut found: Vec<String> = Vec::new();
        loop {
            let after = found.last().map(String::as_str);
            let page = store.domain_names_after(after, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected);
    }
}

async fn a_page_of_names_is_never_longer_than_the_limit(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let many: Vec<String> = (0..store::DOMAIN_NAMES_LIMIT + 1)
        .map(|index| format!("{index:06}.example"))
        .collect();
    let domains = many.iter().map(|name| domain(name, None)).collect();
    store
        .create_service(service(account), domains, Vec::new())
        .await
        .unwrap();
    let page = store.domain_names_after(None, usize::MAX).await.unwrap();
    assert_eq!(page, many[..store::DOMAIN_NAMES_LIMIT]);
    let rest = store
        .domain_names_after(page.last().map(String::as_str), usize::MAX)
        .await;
    assert_eq!(rest.unwrap(), many[store::DOMAIN_NAMES_LIMIT..]);
    assert_eq!(store.domain_names_after(None, 0).await.unwrap(), [""; 0]);
}

async fn domains_are_found_by_name(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let certificate = add_certificate_for(&store, one, "a.example", &[]).await;
    let made = service(one);
    let id = made.id;
    let domains = vec![domain("a.example", Some(certificate))];
    store
        .create_service(made, domains, Vec::new())
        .await
        .unwrap();
    add_service(&store, other, &["b.example"]).await;

    let asked = [
        "a.example",
        "A.example",
        "nobody.example",
        "b.example",
        "a\0.example",
    ];
    let own = store
        .domains_named(Scope::Account(one), &asked)
        .await
        .unwrap();
    let expected = Domain {
        name: "a.example".to_owned(),
        service_id: id,
        account_id: one,
        certificate_id: Some(certificate),
        alternate_id: None,
        is_explicit: false,
        created_at: moment(0),
    };
    assert_eq!(own, [expected]);
    let mut all = store.routed(&asked).await.unwrap();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(names(&all), ["a.example", "b.example"]);
    assert_eq!(store.routed(&[]).await.unwrap(), []);
}

async fn domains_are_found_under_their_parent(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    add_service(
        &store,
        one,
        &[
            "c.example.com",
            "a.example.com",
            "example.com",
            "x.a.example.com",
            "b.example.net",
            "com",
        ],
    )
    .await;
    add_service(&store, other, &["b.example.com"]).await;
    let both: &[&str] = &["a.example.com", "c.example.com"];
    for (parent, after, limit, expected) in [
        ("example.com", None, 10, both),
        ("example.com", None, 1, &["a.example.com"]),
        ("example.com", Some("a.example.com"), 10, &["c.example.com"]),
        ("example.net", None, 10, &["b.example.net"]),
        ("nobody.example", None, 10, &[]),
    ] {
        let found = store.domains_under(one, parent, after, limit).await;
        assert_eq!(names(&found.unwrap()), expected, "{parent} {after:?}");
    }
}

async fn domains_are_found_by_their_certificate(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let asked = add_certificate_for(&store, account, "*.example", &[]).await;
    let another = add_certificate_for(&store, account, "*.example", &[]).await;
    let mut expected = Vec::new();
    for index in 0..3 {
        let made = service(account);
        let mut domains = Vec::new();
        for (label, certificate, alternate) in [
            ("first", Some(asked), None),
            ("second", Some(another), Some(asked)),
            ("third", Some(another), None),
            ("fourth", None, None),
        ] {
            let name = format!("{label}{index}.example");
            if [certificate, alternate].contains(&Some(asked)) {
                expected.push((made.id, name.clone()));
            }
            domains.push(NewDomain {
                alternate_id: alternate,
                ..domain(&name, certificate)
            });
        }
        store
            .create_service(made, domains, Vec::new())
            .await
            .unwrap();
    }
    expected.sort();
    for limit in [1, 2, 6, 1_000] {
        let mut found: Vec<Domain> = Vec::new();
        loop {
            let page = store
                .domains_of_certificate(asked, found.last(), limit)
                .await
                .unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        let found: Vec<_> = found
            .into_iter()
            .map(|domain| (domain.service_id, domain.name))
            .collect();
        assert_eq!(found, expected);
    }
}

async fn domains_of_several_services_stay_apart(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut services = Vec::new();
    for index in 0..300 {
        let (one, other) = (format!("b{index}.example"), format!("a{index}.example"));
        services.push(add_service(&store, account, &[&one, &other]).await);
    }
    let unknown = ServiceId::random();
    let asked: Vec<_> = services.iter().copied().chain([unknown]).collect();
    let found = store.domains_of_services(&asked).await.unwrap();
    assert_eq!(found.len(), 600);
    for (index, id) in services.iter().enumerate() {
        let own: Vec<_> = found
            .iter()
            .filter(|domain| domain.service_id == *id)
            .collect();
        let own: Vec<_> = own.iter().map(|domain| domain.name.clone()).collect();
        assert_eq!(
            own,
            [format!("b{index}.example"), format!("a{index}.example")]
        );
    }
}

async fn accounts_with_domains_are_told(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    add_service(&store, one, &["a.example", "b.example"]).await;
    add_service(&store, other, &[]).await;
    let asked = [other, AccountId::random(), one];
    assert_eq!(store.accounts_with_domains(&asked).await.unwrap(), [one]);
    assert_eq!(store.accounts_with_domains(&[]).await.unwrap(), []);
}
