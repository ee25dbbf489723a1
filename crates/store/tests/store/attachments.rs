//! Which certificates domains are served with, and what that does to certificates and keys.

use store::{
    AccountId, Attachment, CertificateId, Domain, Error, Exportable, NewDomain, NewEvent,
    PrivateKeyId, Scope, State, Store,
};
use tokio::task::JoinSet;

use crate::support::{
    Database, account, add_certificate_for, add_service, domain, event, find, moment, private_key,
    record, record_with_key, renewal, service, version,
};

on_both_databases!(
    domains_are_switched_and_each_switch_is_told,
    a_domain_that_was_switched_meanwhile_is_left_alone,
    a_domain_is_not_switched_to_a_certificate_that_is_gone,
    what_does_not_differ_is_not_switched,
    many_domains_are_switched_at_once,
    a_certificate_in_use_is_not_removed,
    a_certificate_is_never_removed_under_a_domain_that_takes_it_up,
    keys_of_attached_certificates_outlive_their_time_for_export,
    a_key_that_comes_later_is_kept_as_well,
);

fn switch(name: &str, from: Option<CertificateId>, to: Option<CertificateId>) -> Attachment {
    Attachment {
        domain: name.to_owned(),
        from,
        certificate_id: to,
        alternate_id: None,
        is_explicit: false,
    }
}

fn switched() -> NewEvent {
    event(None, "domain.switched")
}

async fn find_domain(store: &Store, name: &str) -> Domain {
    store.routed(&[name]).await.unwrap().pop().unwrap()
}

async fn switches(store: &Store, account: AccountId) -> Vec<store::Event> {
    let events = store
        .events_after(Scope::Account(account), None, 1_000)
        .await;
    let mut events = events.unwrap();
    events.retain(|event| event.kind == "domain.switched");
    events
}

async fn domains_are_switched_and_each_switch_is_told(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let certificate = add_certificate_for(&store, one, "a.example", &[]).await;
    let alternate = add_certificate_for(&store, one, "a.example", &[]).await;
    let id = add_service(&store, one, &["a.example", "b.example"]).await;
    add_service(&store, other, &["c.example"]).await;
    let both = Attachment {
        alternate_id: Some(alternate),
        is_explicit: true,
        ..switch("a.example", None, Some(certificate))
    };
    let attachments = vec![
        both,
        switch("c.example", None, Some(certificate)),
        switch("nobody.example", None, Some(certificate)),
    ];
    assert_eq!(store.attach(attachments, switched()).await.unwrap(), 2);

    let found = find_domain(&store, "a.example").await;
    assert_eq!(found.certificate_id, Some(certificate));
    assert_eq!(found.alternate_id, Some(alternate));
    assert!(found.is_explicit);
    assert_eq!(find_domain(&store, "b.example").await.certificate_id, None);
    let events = switches(&store, one).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].object, Some(id.as_uuid()));
    assert_eq!(
        (events[0].detail.as_str(), events[0].actor.as_str()),
        ("a.example", "a test")
    );
    assert_eq!(switches(&store, other).await.len(), 1);

    let away = vec![switch("a.example", Some(certificate), None)];
    assert_eq!(store.attach(away, switched()).await.unwrap(), 1);
    let found = find_domain(&store, "a.example").await;
    assert_eq!((found.certificate_id, found.alternate_id), (None, None));
    assert!(!found.is_explicit);
}

async fn a_domain_that_was_switched_meanwhile_is_left_alone(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let one = add_certificate_for(&store, account, "a.example", &[]).await;
    let other = add_certificate_for(&store, account, "a.example", &[]).await;
    add_service(&store, account, &["a.example"]).await;
    let attach = async |from, to| {
        let attachments = vec![switch("a.example", from, to)];
        store.attach(attachments, switched()).await.unwrap()
    };
    assert_eq!(attach(None, Some(one)).await, 1);
    assert_eq!(attach(None, Some(other)).await, 0);
    assert_eq!(attach(Some(other), None).await, 0);
    assert_eq!(
        find_domain(&store, "a.example").await.certificate_id,
        Some(one)
    );
    assert_eq!(switches(&store, account).await.len(), 1);
}

async fn a_domain_is_not_switched_to_a_certificate_that_is_gone(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let certificate = add_certificate_for(&store, account, "*.example", &[]).await;
    add_service(&store, account, &["a.example", "b.example", "c.example"]).await;
    let gone = Some(CertificateId::random());
    let attachments = vec![
        switch("a.example", None, gone),
        switch("b.example", None, Some(certificate)),
        Attachment {
            alternate_id: gone,
            ..switch("c.example", None, Some(certificate))
        },
    ];
    assert_eq!(store.attach(attachments, switched()).await.unwrap(), 1);
    assert_eq!(find_domain(&store, "a.example").await.certificate_id, None);
    assert_eq!(
        find_domain(&store, "b.example").await.certificate_id,
        Some(certificate)
    );
    assert_eq!(find_domain(&store, "c.example").await.certificate_id, None);
}

async fn what_does_not_differ_is_not_switched(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let certificate = add_certificate_for(&store, account, "*.example", &[]).await;
    add_service(&store, account, &["a.example"]).await;
    let attach =
        async |attachment: Attachment| store.attach(vec![attachment], switched()).await.unwrap();
    assert_eq!(attach(switch("a.example", None, None)).await, 0);
    assert_eq!(
        attach(switch("a.example", None, Some(certificate))).await,
        1
    );
    let same = switch("a.example", Some(certificate), Some(certificate));
    assert_eq!(attach(same.clone()).await, 0);
    let explicit = Attachment {
        is_explicit: true,
        ..same
    };
    assert_eq!(attach(explicit).await, 1);
    assert_eq!(switches(&store, account).await.len(), 2);
    assert_eq!(store.attach(Vec::new(), switched()).await.unwrap(), 0);
}

async fn many_domains_are_switched_at_once(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let certificate = add_certificate_for(&store, account, "*.example", &[]).await;
    let names: Vec<String> = (0..3_000).map(|index| format!("{index}.example")).collect();
    let domains = names.iter().map(|name| domain(name, None)).collect();
    let made = service(account);
    let id = made.id;
    store
        .create_service(made, domains, Vec::new())
        .await
        .unwrap();
    let attachments = names
        .iter()
        .map(|name| switch(name, None, Some(certificate)));
    let count = store
        .attach(attachments.collect(), switched())
        .await
        .unwrap();
    assert_eq!(count, 3_000);
    let found = store.domains_of_services(&[id]).await.unwrap();
    assert!(
        found
            .iter()
            .all(|domain| domain.certificate_id == Some(certificate))
    );
    assert_eq!(
        database
            .count("events where kind = 'domain.switched'")
            .await,
        3_000
    );
}

async fn a_certificate_in_use_is_not_removed(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let used = add_certificate_for(&store, account, "a.example", &[]).await;
    let alternate = add_certificate_for(&store, account, "a.example", &[]).await;
    let made = service(account);
    let domains = vec![NewDomain {
        alternate_id: Some(alternate),
        ..domain("a.example", Some(used))
    }];
    store
        .create_service(made, domains, Vec::new())
        .await
        .unwrap();
    let events = database.count("events").await;
    let remove = async |id| {
        store
            .delete_certificate(scope, id, event(None, "certificate.deleted"))
            .await
    };
    let refused = remove(used).await;
    assert!(matches!(refused, Err(Error::Attached)), "{refused:?}");
    assert!(find(&store, scope, used).await.is_some());
    assert_eq!(database.count("events").await, events);
    let intruder = Scope::Account(AccountId::random());
    let missed = store.delete_certificate(intruder, alternate, event(None, "certificate.deleted"));
    assert!(!missed.await.unwrap());
    assert_eq!(
        find_domain(&store, "a.example").await.alternate_id,
        Some(alternate)
    );

    assert!(remove(alternate).await.unwrap());
    assert_eq!(find_domain(&store, "a.example").await.alternate_id, None);
    let away = vec![switch("a.example", Some(used), None)];
    store.attach(away, switched()).await.unwrap();
    assert!(remove(used).await.unwrap());
}

async fn a_certificate_is_never_removed_under_a_domain_that_takes_it_up(database: &Database) {
    let store = database.open().await;
    let other_node = database.open().await;
    let account = account(&store).await;
    let names: Vec<String> = (0..30).map(|index| format!("{index}.example")).collect();
    let domains: Vec<&str> = names.iter().map(String::as_str).collect();
    add_service(&store, account, &domains).await;
    let mut tasks = JoinSet::new();
    for name in &names {
        let certificate = add_certificate_for(&store, account, name, &[]).await;
        let attachment = switch(name, None, Some(certificate));
        let node = store.clone();
        tasks.spawn(async move {
            match node.attach(vec![attachment], switched()).await {
                Ok(_) | Err(Error::UnknownCertificate) => {}
                Err(error) => panic!("{error:?}"),
            }
        });
        let node = other_node.clone();
        tasks.spawn(async move {
            let removed = event(None, "certificate.deleted");
            match node
                .delete_certificate(Scope::Everything, certificate, removed)
                .await
            {
                Ok(_) | Err(Error::Attached) => {}
                Err(error) => panic!("{error:?}"),
            }
        });
    }
    tasks.join_all().await;
    for found in store.routed(&domains).await.unwrap() {
        if let Some(certificate) = found.certificate_id {
            assert!(find(&store, Scope::Everything, certificate).await.is_some());
        }
    }
    let orphans = "domains where certificate_id not in (select id from certificates)";
    assert_eq!(database.count(orphans).await, 0);
    let attached = database
        .count("domains where certificate_id is not null")
        .await;
    assert_eq!(database.count("certificates").await, attached);
}

async fn exportability(store: &Store, key: PrivateKeyId) -> Option<Exportable> {
    let key = store.private_key(Scope::Everything, key).await.unwrap();
    key.map(|key| key.exportable)
}

async fn keys_of_attached_certificates_outlive_their_time_for_export(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut certificates = Vec::new();
    let mut keys = Vec::new();
    for _ in 0..5 {
        let record = record_with_key(account, None, Exportable::Until(moment(10)));
        certificates.push(record.certificate.id);
        keys.push(record.key.as_ref().unwrap().id);
        store.add_certificate(record).await.unwrap();
    }
    // One is attached from the beginning, two by a switch, one of them as alternate, one by a
    // change of the service, one not at all.
    let first = vec![
        domain("a.example", Some(certificates[0])),
        domain("b.example", None),
    ];
    let made = service(account);
    let id = made.id;
    store.create_service(made, first, Vec::new()).await.unwrap();
    let attachment = Attachment {
        alternate_id: Some(certificates[2]),
        ..switch("b.example", None, Some(certificates[1]))
    };
    store.attach(vec![attachment], switched()).await.unwrap();
    let change = store::ServiceChange {
        add_domains: vec![domain("c.example", Some(certificates[3]))],
        ..store::ServiceChange::default()
    };
    let changed = vec![event(None, "service.changed")];
    store
        .change_service(Scope::Everything, id, change, changed)
        .await
        .unwrap();

    for key in &keys {
        let before = exportability(&store, *key).await;
        assert_eq!(before, Some(Exportable::Until(moment(10))));
    }
    assert_eq!(
        store.erase_expired_private_keys(moment(9)).await.unwrap(),
        0
    );
    assert_eq!(
        store.erase_expired_private_keys(moment(10)).await.unwrap(),
        1
    );
    for key in &keys[..4] {
        assert_eq!(exportability(&store, *key).await, Some(Exportable::Never));
    }
    assert_eq!(exportability(&store, keys[4]).await, None);
    assert_eq!(
        store.erase_expired_private_keys(moment(99)).await.unwrap(),
        0
    );
}

async fn a_key_that_comes_later_is_kept_as_well(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let mut keys = Vec::new();
    for attached in [true, false] {
        let mut pending = record(account, None);
        pending.version = None;
        pending.certificate.state = State::Pending {
            attempt: 0,
            next_attempt_at: moment(0),
        };
        let id = pending.certificate.id;
        store.add_certificate(pending).await.unwrap();
        if attached {
            let domains = vec![domain("a.example", Some(id))];
            store
                .create_service(service(account), domains, Vec::new())
                .await
                .unwrap();
        }
        let key = private_key(Exportable::Until(moment(10)));
        keys.push(key.id);
        let mut version = version(None);
        version.private_key_id = Some(key.id);
        let issued = renewal(version, &[], Some(key), event(None, "certificate.issued"));
        store.add_version(scope, id, issued).await.unwrap();
    }
    assert_eq!(
        store.erase_expired_private_keys(moment(10)).await.unwrap(),
        1
    );
    assert_eq!(
        exportability(&store, keys[0]).await,
        Some(Exportable::Never)
    );
    assert_eq!(exportability(&store, keys[1]).await, None);
}
