//! Installations, environments of services, and certificates that are obtained anew.

use store::{
    Acknowledgement, Attachment, CertificateRef, CertificateRemoval, DnsProviderId, Error,
    Exportable, Installation, Installing, Material, NewService, Origin, Renewed, Scope,
    ServiceFilter, State, Target, TargetDirectoryId, TargetId,
};
use time::Duration;

use crate::support::{
    Database, account, add_certificate_for, add_service, domain, event, install, moment,
    record_with_key, service,
};

on_both_databases!(
    an_installation_is_found_as_it_was_written,
    an_installation_goes_with_its_service_and_with_its_certificate,
    who_adds_has_seen_the_others,
    what_is_refused_leaves_nothing,
    the_names_of_a_service_have_a_limit,
    services_are_counted_and_walked_by_page,
    a_certificate_can_be_obtained_anew_under_other_names,
    a_removal_is_told_of_while_a_target_may_have_the_files,
);

fn installation(of: (store::AccountId, store::ServiceId, store::CertificateId)) -> Installation {
    let (account_id, service_id, certificate_id) = of;
    Installation {
        service_id,
        certificate_id,
        account_id,
        server_names: vec!["A.example".to_owned(), "b.example".to_owned()],
        domains: vec!["a.example".to_owned()],
        wildcard: true,
        dns_provider_id: Some(DnsProviderId::from_uuid(uuid::Uuid::from_u128(7))),
        ssl_termination: false,
        created_at: moment(1),
        updated_at: moment(2),
    }
}

async fn an_installation_is_found_as_it_was_written(database: &Database) {
    let store = database.open().await;
    let (owner, stranger) = (account(&store).await, account(&store).await);
    let service = add_service(&store, owner, &[]).await;
    let certificate = add_certificate_for(&store, owner, "a.example", &[]).await;
    let first = installation((owner, service, certificate));
    install(&store, &first).await.unwrap();
    let scope = Scope::Account(owner);
    assert_eq!(
        store.installations(scope, service).await.unwrap(),
        std::slice::from_ref(&first)
    );
    let foreign = store.installations(Scope::Account(stranger), service).await;
    assert_eq!(foreign.unwrap(), []);
    let wanted = [certificate, store::CertificateId::random()];
    let found = store.installations_of(&wanted).await;
    assert_eq!(found.unwrap(), std::slice::from_ref(&first));
    assert_eq!(store.installations_of(&[]).await.unwrap(), []);

    let changed = Installation {
        server_names: vec!["c.example".to_owned()],
        domains: Vec::new(),
        wildcard: false,
        dns_provider_id: None,
        ssl_termination: true,
        updated_at: moment(3),
        ..first.clone()
    };
    install(&store, &changed).await.unwrap();
    assert_eq!(
        store.installations(scope, service).await.unwrap(),
        [changed]
    );

    let overlong = Installation {
        server_names: vec!["x".repeat(store::IDENTIFIERS_LIMIT + 1)],
        ..first
    };
    let refused = install(&store, &overlong).await;
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
}

async fn an_installation_goes_with_its_service_and_with_its_certificate(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let scope = Scope::Account(owner);
    for goes_with_service in [true, false] {
        let service = add_service(&store, owner, &[]).await;
        let certificate = add_certificate_for(&store, owner, "a.example", &[]).await;
        let made = installation((owner, service, certificate));
        install(&store, &made).await.unwrap();
        if goes_with_service {
            let gone = store.delete_service(scope, service, vec![event(None, "service.deleted")]);
            assert!(gone.await.unwrap());
        } else {
            let gone =
                store.delete_certificate(scope, certificate, event(None, "certificate.deleted"));
            assert!(gone.await.unwrap());
        }
        assert_eq!(database.count("installations").await, 0);
        let late = install(&store, &made).await;
        match goes_with_service {
            true => assert!(matches!(late, Err(Error::NotFound)), "{late:?}"),
            false => assert!(matches!(late, Err(Error::UnknownCertificate)), "{late:?}"),
        }
    }
}

async fn who_adds_has_seen_the_others(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let service = add_service(&store, owner, &[]).await;
    let mut made = Vec::new();
    for name in ["a.example", "b.example"] {
        let certificate = add_certificate_for(&store, owner, name, &[]).await;
        made.push(installation((owner, service, certificate)));
    }
    let at = |made: &Installation, revision| store.install(Installing::of(made.clone(), revision));
    let outcomes = tokio::join!(at(&made[0], 0), at(&made[1], 0));
    let (stale, other) = match outcomes {
        (Err(stale), Ok(())) => (stale, 0),
        (Ok(()), Err(stale)) => (stale, 1),
        both => panic!("only one of them was right: {both:?}"),
    };
    assert!(matches!(stale, Error::Stale), "{stale:?}");
    // As many as before are not the same ones.
    let scope = Scope::Account(owner);
    let gone = made[1 - other].certificate_id;
    let gone = store.delete_certificate(scope, gone, event(None, "certificate.deleted"));
    assert!(gone.await.unwrap());
    let stale = at(&made[other], 0).await;
    assert!(matches!(stale, Err(Error::Stale)), "{stale:?}");
    assert_eq!(
        store.installations_revision(scope, service).await.unwrap(),
        Some(1)
    );
    at(&made[other], 1).await.unwrap();
    let elsewhere = Installation {
        account_id: account(&store).await,
        ..made[other].clone()
    };
    let refused = at(&elsewhere, 2).await;
    assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
}

async fn what_is_refused_leaves_nothing(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let scope = Scope::Account(owner);
    let service = add_service(&store, owner, &["own.example"]).await;
    let taken = format!("{}.example", uuid::Uuid::new_v4().simple());
    add_service(&store, owner, &[&taken]).await;
    let record = record_with_key(owner, None, Exportable::Never);
    let id = record.certificate.id;
    let installing = Installing {
        material: Material::Added(Box::new(record)),
        add_domains: vec![domain(&taken, Some(id))],
        attachments: vec![Attachment {
            domain: "own.example".to_owned(),
            from: None,
            certificate_id: Some(id),
            alternate_id: None,
            is_explicit: true,
        }],
        switched: Some(event(None, "domain.switched")),
        ..Installing::of(installation((owner, service, id)), 0)
    };
    let last = store.last_event().await.unwrap();
    let refused = store.install(installing.clone()).await;
    assert!(matches!(refused, Err(Error::DomainTaken(_))), "{refused:?}");
    // Nor does anything come of it if a domain is served with something else than was thought.
    let mistaken = Installing {
        add_domains: Vec::new(),
        attachments: vec![Attachment {
            from: Some(id),
            ..installing.attachments[0].clone()
        }],
        ..installing.clone()
    };
    let refused = store.install(mistaken).await;
    assert!(matches!(refused, Err(Error::Stale)), "{refused:?}");
    let found = store.certificate(scope, &CertificateRef::Id(id)).await;
    assert_eq!(found.unwrap(), None);
    assert_eq!(store.installations(scope, service).await.unwrap(), []);
    assert_eq!(store.last_event().await.unwrap(), last);

    let good = Installing {
        add_domains: vec![domain("new.example", Some(id))],
        events: vec![event(Some(owner), "domain.added")],
        ..installing
    };
    store.install(good).await.unwrap();
    let domains = store.domains_of_services(&[service]).await.unwrap();
    let served: Vec<_> = domains
        .iter()
        .map(|domain| {
            (
                domain.name.as_str(),
                domain.certificate_id,
                domain.is_explicit,
            )
        })
        .collect();
    assert_eq!(
        served,
        [
            ("own.example", Some(id), true),
            ("new.example", Some(id), false)
        ]
    );
    let told = store.events_after(scope, last, 10).await.unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
}

async fn the_names_of_a_service_have_a_limit(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let service = add_service(&store, owner, &[]).await;
    let names = vec!["n".repeat(1_000); 250];
    let fitting = store::INSTALLATIONS_BYTES_LIMIT / (1_000 * names.len());
    for number in 0..=fitting {
        let certificate = add_certificate_for(&store, owner, "a.example", &[]).await;
        let made = Installation {
            server_names: names.clone(),
            domains: Vec::new(),
            ..installation((owner, service, certificate))
        };
        let added = install(&store, &made).await;
        if number < fitting {
            added.unwrap();
            // It does not count twice when it is changed.
            install(&store, &made).await.unwrap();
        } else {
            assert!(matches!(added, Err(Error::Full)), "{added:?}");
        }
    }
}

async fn services_are_counted_and_walked_by_page(database: &Database) {
    let store = database.open().await;
    let (owner, stranger) = (account(&store).await, account(&store).await);
    add_service(&store, stranger, &[]).await;
    let mut names = Vec::new();
    for number in 0..5 {
        let environment = if number == 3 { "Staging" } else { "production" };
        let made = NewService {
            environment: environment.to_owned(),
            created_at: moment(number),
            ..service(owner)
        };
        names.push(made.name.clone());
        store
            .create_service(made, Vec::new(), vec![event(None, "service.created")])
            .await
            .unwrap();
    }
    let scope = Scope::Account(owner);
    let every = ServiceFilter::default();
    for (skipped, limit, expected) in [(0, 2, &names[0..2]), (4, 2, &names[4..]), (5, 2, &[])] {
        let found = store
            .stretch_of_services(scope, &every, skipped, limit)
            .await;
        let (found, count) = found.unwrap();
        let found: Vec<_> = found.iter().map(|service| service.name.clone()).collect();
        assert_eq!((found.as_slice(), count), (expected, 5));
    }
    let staging = ServiceFilter {
        environment: Some("sTAGING".to_owned()),
        name: Some(names[3].to_uppercase()),
    };
    let (found, count) = store
        .stretch_of_services(scope, &staging, 0, 9)
        .await
        .unwrap();
    assert_eq!((found.len(), count), (1, 1));
    assert_eq!(found[0].environment, "Staging");
}

async fn a_certificate_can_be_obtained_anew_under_other_names(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let scope = Scope::Account(owner);
    let id = add_certificate_for(&store, owner, "a.example", &["a.example", "b.example"]).await;
    let before = store.certificate(scope, &CertificateRef::Id(id)).await;
    let before = before.unwrap().unwrap();
    let at = moment(9) + Duration::HOUR;
    let renewed = Renewed {
        common_name: "c.example".to_owned(),
        identifiers: vec!["c.example".to_owned(), "*.c.example".to_owned()],
        issuer: "default".to_owned(),
        next_attempt_at: at,
    };
    store
        .request_anew(
            scope,
            id,
            renewed.clone(),
            event(None, "certificate.requested"),
        )
        .await
        .unwrap();
    let after = store.certificate(scope, &CertificateRef::Id(id)).await;
    let after = after.unwrap().unwrap();
    assert_eq!(after.origin, Origin::Issued);
    assert_eq!(after.issuer.as_deref(), Some("default"));
    let pending = State::Pending {
        attempt: 0,
        next_attempt_at: at,
    };
    assert_eq!((after.state, after.current), (pending, before.current));
    assert_eq!(after.identifiers, renewed.identifiers);
    let covering = store
        .certificates_covering(scope, &["a.example", "b.example", "*.c.example"])
        .await
        .unwrap();
    let covered: Vec<_> = covering
        .iter()
        .map(|covering| covering.name.as_str())
        .collect();
    assert_eq!(covered, ["*.c.example"]);

    let foreign = Scope::Account(account(&store).await);
    let refused = store
        .request_anew(foreign, id, renewed, event(None, "certificate.requested"))
        .await;
    assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
}

async fn a_removal_is_told_of_while_a_target_may_have_the_files(database: &Database) {
    let store = database.open().await;
    let owner = account(&store).await;
    let scope = Scope::Account(owner);
    let service = add_service(&store, owner, &[]).await;
    let record = record_with_key(owner, None, Exportable::Never);
    let certificate = record.certificate.id;
    store.add_certificate(record).await.unwrap();
    let target = Target {
        id: TargetId::random(),
        account_id: owner,
        name: "web".to_owned(),
        services: None,
        directory_id: Some(TargetDirectoryId::random()),
        is_overfull: false,
        seen_at: None,
        created_at: moment(1),
    };
    let told = ["target.added", "target.changed"].map(|kind| event(Some(owner), kind));
    let [added, changed] = told;
    let added = store.register_target(target.clone(), added, changed);
    added.await.unwrap();
    let offered = event(Some(owner), "certificate.key_taken");
    assert!(
        store
            .offer_placement(target.id, certificate, offered)
            .await
            .unwrap()
    );
    let removal = CertificateRemoval {
        service_id: service,
        certificate_id: certificate,
        account_id: owner,
        shown: "{}".to_owned(),
        removed_at: moment(2),
    };
    store.begin_removal(&removal).await.unwrap();
    let told = || async { store.removals(scope, service).await.unwrap() };
    assert_eq!(told().await, [], "it is still in the inventory");
    assert_eq!(store.forget_removals().await.unwrap(), 0);
    let gone = store.delete_certificate(scope, certificate, event(Some(owner), "gone"));
    assert!(gone.await.unwrap());
    assert_eq!(told().await, std::slice::from_ref(&removal));
    let stranger = Scope::Account(account(&store).await);
    assert_eq!(store.removals(stranger, service).await.unwrap(), []);
    assert_eq!(store.forget_removals().await.unwrap(), 0);
    let said = vec![(
        certificate,
        Acknowledgement::Removed,
        event(Some(owner), "placement"),
    )];
    store.acknowledge_placements(target.id, said).await.unwrap();
    assert_eq!(told().await, []);
    assert_eq!(store.forget_removals().await.unwrap(), 1);

    let gone = store.delete_service(scope, service, vec![event(Some(owner), "service.deleted")]);
    assert!(gone.await.unwrap());
    let late = store.begin_removal(&removal).await;
    assert!(matches!(late, Err(Error::NotFound)), "{late:?}");
}
