//! The change feed: what the edge is told, and how domains follow the inventory, also after a crash.

use lifecycle::{
    CertificateRef, Change, Edit, Error, NewInstanceRequest, Replacement, Route, ServiceChange,
    ServiceChoice, ServiceRef, Settings, State, TokenLimits, Upload,
};
use pki::KeyAlgorithm;

use crate::support::served::{
    Following, Smith, certificate_of, credentials, is_served_with, revoke, serve, site,
};
use crate::support::{Fixture, HOUR, eventually, settings};

#[tokio::test]
async fn a_better_certificate_takes_over_a_domain_and_the_edge_is_told() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let smith = Smith::new(&fixture).await;
    let wildcard = smith.upload(house, owner, &["*.example.com"], 7).await;
    serve(house, owner, &["a.example.com.", "b.example.com."]).await;
    assert_eq!(certificate_of(house, "a.example.com").await, wildcard.id);

    let following = Following::start(house);
    let exact = smith.upload(house, owner, &["a.example.com"], 7).await;
    following
        .tells(Change::DomainSwitched("a.example.com".to_owned()))
        .await;
    assert_eq!(certificate_of(house, "a.example.com").await, exact.id);
    assert_eq!(certificate_of(house, "b.example.com").await, wildcard.id);

    // A wildcard that ends later takes over what the other one serves, and nothing nearer.
    let longer = smith.upload(house, owner, &["*.example.com"], 90).await;
    following
        .tells(Change::DomainSwitched("b.example.com".to_owned()))
        .await;
    assert_eq!(certificate_of(house, "b.example.com").await, longer.id);
    assert_eq!(certificate_of(house, "a.example.com").await, exact.id);
}

#[tokio::test]
async fn nobodys_domain_follows_the_certificate_of_another_account() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let smith = Smith::new(&fixture).await;
    let own = smith.upload(house, owner, &["a.example.com"], 7).await;
    serve(house, owner, &["a.example.com."]).await;
    let stranger = fixture.tenant("stranger", TokenLimits::default()).await;
    serve(house, &stranger, &["b.example.com."]).await;
    let following = Following::start(house);
    smith.upload(house, &stranger, &["a.example.com"], 90).await;
    smith.upload(house, &stranger, &["*.example.com"], 90).await;
    // Once the feed has come to this one, it is past those.
    let better = smith
        .upload(house, &stranger, &["b.example.com"], 100)
        .await;
    is_served_with(house, "b.example.com", better.id).await;
    assert_eq!(certificate_of(house, "a.example.com").await, own.id);
    drop(following);
}

#[tokio::test]
async fn a_revoked_certificate_is_replaced_by_the_next_best_and_by_a_request_at_last() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let smith = Smith::new(&fixture).await;
    let wildcard = smith.upload(house, owner, &["*.example.com"], 90).await;
    let issued = fixture.issue("a.example.com", 7).await;
    serve(house, owner, &["a.example.com."]).await;
    assert_eq!(certificate_of(house, "a.example.com").await, issued.id);

    let following = Following::start(house);
    revoke(house, owner, issued.id).await;
    following.tells(Change::Certificate(issued.id)).await;
    is_served_with(house, "a.example.com", wildcard.id).await;
    assert!(credentials(house, issued.id).await.is_none());

    // Nothing is left but to request one.
    let issued = fixture.issue("c.test", 7).await;
    serve(house, owner, &["c.test."]).await;
    assert_eq!(certificate_of(house, "c.test").await, issued.id);
    revoke(house, owner, issued.id).await;
    let requested = eventually("one is requested", || async {
        let id = certificate_of(house, "c.test").await;
        (id != issued.id).then_some(id)
    })
    .await;
    house.obtain_due_now().await.unwrap();
    following.tells(Change::Certificate(requested)).await;
    assert!(credentials(house, requested).await.is_some());
}

#[tokio::test]
async fn two_nodes_that_follow_request_one_certificate_for_one_loss() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let names: Vec<String> = (0..20).map(|number| format!("d{number}.test")).collect();
    let mut lost = Vec::new();
    for name in &names {
        lost.push(fixture.issue(name, 7).await.id);
        serve(house, owner, &[&format!("{name}.")]).await;
    }
    let _nodes = [
        Following::start(house),
        Following::start(fixture.other_node()),
    ];
    for id in &lost {
        revoke(house, owner, *id).await;
    }
    for (name, lost) in names.iter().zip(&lost) {
        eventually("the domain is served with another one", || async {
            (certificate_of(house, name).await != *lost).then_some(())
        })
        .await;
    }
    let metro = 1;
    assert_eq!(house.obtain_due_now().await.unwrap(), names.len() + metro);
}

#[tokio::test]
async fn what_a_node_did_not_come_to_is_done_from_where_it_was_left() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let smith = Smith::new(&fixture).await;
    smith.upload(house, owner, &["*.example.com"], 7).await;
    serve(house, owner, &["a.example.com.", "b.example.com."]).await;
    let first = smith.upload(house, owner, &["a.example.com"], 7).await;
    let following = Following::start(house);
    is_served_with(house, "a.example.com", first.id).await;
    let kept = || fixture.nodes[0].store.cursor("reconciler");
    let place = eventually("the place is kept", || async { kept().await.unwrap() }).await;
    // As a node that dies after the commit and before it follows.
    drop(following);
    let second = smith.upload(house, owner, &["b.example.com"], 7).await;
    assert_ne!(certificate_of(house, "b.example.com").await, second.id);
    assert_eq!(kept().await.unwrap(), Some(place));

    let again = fixture.node(settings(KeyAlgorithm::P256)).await.house;
    again.furnish(|_| Ok(())).await.unwrap();
    let following = Following::start(&again);
    is_served_with(&again, "b.example.com", second.id).await;
    eventually("the place is moved", || async {
        (kept().await.unwrap() > Some(place)).then_some(())
    })
    .await;
    // Its edge began after the upload, and remembers nothing from before.
    let told = following.told.lock().unwrap().clone();
    assert!(!told.contains(&Change::DomainAdded("b.example.com".to_owned())));
}

#[tokio::test]
async fn the_edge_is_told_of_domains_services_and_instances_as_they_come_and_go() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let following = Following::start(fixture.other_node());
    let service = serve(house, owner, &["a.example.com."]).await;
    let name = || "a.example.com".to_owned();
    following.tells(Change::DomainAdded(name())).await;
    following.tells(Change::Service(service)).await;

    let forget = || following.told.lock().unwrap().clear();
    forget();
    let instance = NewInstanceRequest {
        name: None,
        image: "app".to_owned(),
        memory_mb: None,
        args: Vec::new(),
        env: std::collections::BTreeMap::new(),
        address: Some("10.0.0.7".to_owned()),
        service: Some(ServiceChoice::Existing(ServiceRef::Id(service))),
    };
    let instance = house.instances.create(owner, instance).await.unwrap();
    following.tells(Change::Service(service)).await;
    let route: Route = house.routing.service(service).await.unwrap().unwrap();
    let backend = route.backends.first().unwrap();
    assert_eq!(backend.address, "10.0.0.7");
    assert_eq!(backend.instance, instance.instance.id);
    assert!(route.policy.loopback, "the owner is an administrator");

    forget();
    let reference = ServiceRef::Id(service);
    let change = ServiceChange::Domains(Edit::Delete(vec![name()]));
    let services = &house.services;
    services.change(owner, &reference, change).await.unwrap();
    following.tells(Change::DomainRemoved(name())).await;
    assert_eq!(site(house, "a.example.com").await, None);

    forget();
    let reference = lifecycle::InstanceRef::Id(instance.instance.id);
    let instances = &house.instances;
    instances.delete(owner, &reference).await.unwrap();
    following.tells(Change::Service(service)).await;
    forget();
    let reference = ServiceRef::Id(service);
    house.services.delete(owner, &reference).await.unwrap();
    following.tells(Change::Service(service)).await;
    assert!(house.routing.service(service).await.unwrap().is_none());
}

#[tokio::test]
async fn certificates_of_an_account_without_domains_are_no_news() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let position = house.routing.position().await.unwrap();
    for number in 0..3 {
        fixture.issue(&format!("d{number}.test"), 7).await;
    }
    let (changes, place) = house.routing.changes(position).await.unwrap();
    assert_eq!(changes, []);
    assert!(place > position);
    assert_eq!(place, house.routing.position().await.unwrap());

    serve(house, owner, &["a.test."]).await;
    let id = fixture.issue("b.test", 7).await.id;
    let (changes, _) = house.routing.changes(place).await.unwrap();
    assert!(changes.contains(&Change::DomainAdded("a.test".to_owned())));
    assert!(changes.contains(&Change::Certificate(id)));
}

#[tokio::test]
async fn certificates_whose_keys_are_elsewhere_are_no_news() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let smith = Smith::new(&fixture).await;
    smith.upload(house, owner, &["a.test"], 7).await;
    serve(house, owner, &["a.test."]).await;
    let position = house.routing.position().await.unwrap();
    let signed = fixture.issue_for_request("a.test", 90).await;
    let (changes, place) = house.routing.changes(position).await.unwrap();
    assert_eq!(changes, []);
    assert_eq!(place, house.routing.position().await.unwrap());
    assert!(place > position);

    // Revocations are told of all certificates of an account with domains.
    revoke(house, owner, signed.id).await;
    let (changes, _) = house.routing.changes(place).await.unwrap();
    assert_eq!(changes, [Change::Certificate(signed.id)]);
}

#[tokio::test]
async fn a_given_up_certificate_gives_way_to_another_but_is_not_requested_again() {
    let broken = Settings {
        default_issuer: "nowhere".to_owned(),
        ..settings(KeyAlgorithm::P256)
    };
    let fixture = Fixture::with(broken).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let smith = Smith::new(&fixture).await;
    // The metro domain's.
    assert_eq!(house.obtain_due_now().await.unwrap(), 1);
    serve(house, owner, &["a.example.com.", "b.test."]).await;
    let pending = certificate_of(house, "a.example.com").await;
    let other = certificate_of(house, "b.test").await;
    for _ in 0..8 {
        assert_eq!(house.obtain_due_now().await.unwrap(), 2);
        fixture.turn(12 * HOUR);
    }
    let reference = CertificateRef::Id(pending);
    let given_up = house.certificates.find(owner, &reference);
    assert!(matches!(given_up.await.unwrap().state, State::Error { .. }));
    let _following = Following::start(house);
    let wildcard = smith.upload(house, owner, &["*.example.com"], 90).await;
    is_served_with(house, "a.example.com", wildcard.id).await;
    assert_eq!(certificate_of(house, "b.test").await, other);
    assert_eq!(house.obtain_due_now().await.unwrap(), 0);
}

#[tokio::test]
async fn a_replaced_certificate_that_covers_less_is_left_by_what_it_no_longer_covers() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let smith = Smith::new(&fixture).await;
    let both = ["a.example.com", "b.example.com"];
    let uploaded = smith.upload(house, owner, &both, 7).await;
    serve(house, owner, &["a.example.com.", "b.example.com."]).await;
    assert_eq!(certificate_of(house, "b.example.com").await, uploaded.id);
    let following = Following::start(house);
    let (chain, key) = smith.pair(house, &["a.example.com"], 90).await;
    let replacement = Replacement::parse(None, &chain, &key).unwrap();
    let reference = CertificateRef::Id(uploaded.id);
    house
        .certificates
        .replace(owner, &reference, replacement)
        .await
        .unwrap();
    following
        .tells(Change::DomainSwitched("b.example.com".to_owned()))
        .await;
    assert_eq!(certificate_of(house, "a.example.com").await, uploaded.id);
    assert_ne!(certificate_of(house, "b.example.com").await, uploaded.id);
}

#[tokio::test]
async fn a_certificate_that_serves_a_domain_cannot_be_deleted_and_its_alternate_can() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let smith = Smith::new(&fixture).await;
    let first = smith.upload(house, owner, &["a.example.com"], 90).await;
    let rsa = KeyAlgorithm::Rsa2048;
    let (chain, key) = smith.pair_of(house, &["a.example.com"], 7, rsa).await;
    let upload = Upload::parse(None, None, &chain, &key).unwrap();
    let second = house.certificates.upload(owner, upload).await.unwrap();
    serve(house, owner, &["a.example.com."]).await;
    let served = site(house, "a.example.com").await.unwrap();
    assert_eq!(served.certificate, Some(first.id));
    assert_eq!(served.alternate, Some(second.id));

    let following = Following::start(house);
    let delete = |id| {
        let reference = CertificateRef::Id(id);
        async move { house.certificates.delete(owner, &reference).await }
    };
    let refused = delete(first.id).await;
    assert!(
        matches!(refused, Err(Error::Attached { .. })),
        "{refused:?}"
    );
    delete(second.id).await.unwrap();
    following.tells(Change::Certificate(second.id)).await;
    assert_eq!(site(house, "a.example.com").await.unwrap().alternate, None);
    assert!(credentials(house, second.id).await.is_none());
}
