//! The change feed: what the edge is told, and how domains follow the inventory, also after a crash.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};

use lifecycle::{
    Certificate, CertificateId, CertificateRef, Change, Credentials, DomainRequest, Error,
    HOUSE_ACCOUNT, House, IssueRequest, KeySource, NewServiceRequest, Principal, Replacement,
    RevocationTarget, Route, ServiceChange, ServiceId, ServiceRef, Settings, Site, State,
    TokenLimits, Upload, parse_identifiers,
};
use lifecycle::{DEFAULT_AUTHORITY, Edit, NewInstanceRequest, ServiceChoice};
use pki::{
    CertId, DnsName, HashAlgorithm, IssuerHashes, KeyAlgorithm, RevocationReason, SubjectFields,
    VerifiedAnswer,
};
use store::Scope;
use tokio::task::JoinHandle;

use support::{DAY, Fixture, HOUR, MINUTE, SECOND, eventually, settings};

/// A node that follows the feed, with what it tells its edge.
struct Following {
    told: Arc<Mutex<Vec<Change>>>,
    task: JoinHandle<()>,
}

impl Following {
    fn start(house: &House) -> Self {
        let told: Arc<Mutex<Vec<Change>>> = Arc::default();
        let task = tokio::spawn({
            let (house, told) = (house.clone(), told.clone());
            async move {
                let notify = |change| told.lock().unwrap().push(change);
                house.follow_changes(notify).await;
            }
        });
        Self { told, task }
    }

    /// Waits until the edge was told of `change`.
    async fn tells(&self, change: Change) {
        let what = format!("{change:?}");
        eventually(&what, || async {
            self.told.lock().unwrap().contains(&change).then_some(())
        })
        .await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A pair for these names, made by an account of its own so that it is nobody else's certificate.
struct Smith(Principal);

impl Smith {
    async fn new(fixture: &Fixture) -> Self {
        Self(fixture.tenant("smith", TokenLimits::default()).await)
    }

    async fn pair(&self, house: &House, names: &[&str], days: i64) -> (String, String) {
        self.pair_of(house, names, days, KeyAlgorithm::P256).await
    }

    async fn pair_of(
        &self,
        house: &House,
        names: &[&str],
        days: i64,
        algorithm: KeyAlgorithm,
    ) -> (String, String) {
        let request = IssueRequest {
            authority: DEFAULT_AUTHORITY.to_owned(),
            subject: SubjectFields::default(),
            identifiers: parse_identifiers(names.iter().copied(), [], []).unwrap(),
            days: Some(days),
            key: KeySource::Generate(algorithm),
            name: None,
        };
        let issued = house.certificates.issue(&self.0, request).await.unwrap();
        let key = issued.key.unwrap().to_pkcs8_pem().to_string();
        (issued.leaf.to_pem(), key)
    }

    async fn upload(
        &self,
        house: &House,
        owner: &Principal,
        names: &[&str],
        days: i64,
    ) -> Certificate {
        let (chain, key) = self.pair(house, names, days).await;
        let upload = Upload::parse(None, Some(names[0]), &chain, &key).unwrap();
        house.certificates.upload(owner, upload).await.unwrap()
    }
}

async fn serve(house: &House, owner: &Principal, names: &[&str]) -> ServiceId {
    let domains = names.iter().map(|name| DomainRequest {
        name: (*name).to_owned(),
        certificate: None,
    });
    let request = NewServiceRequest {
        domains: domains.collect(),
        is_persistent: true,
        ..NewServiceRequest::default()
    };
    let made = house.services.create(owner, request).await.unwrap();
    made.service.id
}

async fn site(house: &House, name: &str) -> Option<Site> {
    let name = DnsName::parse(name).unwrap();
    house.routing.site(&name).await.unwrap()
}

async fn certificate_of(house: &House, name: &str) -> CertificateId {
    site(house, name).await.unwrap().certificate.unwrap()
}

async fn credentials(house: &House, id: CertificateId) -> Option<Credentials> {
    house.routing.credentials(id).await.unwrap()
}

async fn revoke(house: &House, owner: &Principal, id: CertificateId) {
    let target = RevocationTarget::Certificate(CertificateRef::Id(id));
    let reason = RevocationReason::Superseded;
    house
        .certificates
        .revoke(owner, &target, reason)
        .await
        .unwrap();
}

async fn is_served_with(house: &House, name: &str, id: CertificateId) {
    eventually("the domain follows", || async {
        (certificate_of(house, name).await == id).then_some(())
    })
    .await;
}

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
async fn a_given_up_certificate_gives_way_to_another_but_is_not_requested_again() {
    let broken = Settings {
        default_issuer: "nowhere".to_owned(),
        ..settings(KeyAlgorithm::P256)
    };
    let fixture = Fixture::with(broken).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let smith = Smith::new(&fixture).await;
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

#[tokio::test]
async fn credentials_hold_the_whole_chain_the_key_and_a_staple_until_tomorrow() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    serve(house, owner, &["a.example.com."]).await;
    let id = certificate_of(house, "a.example.com").await;
    assert!(credentials(house, id).await.is_none(), "it is pending");
    house.obtain_due_now().await.unwrap();
    let served = credentials(house, id).await.unwrap();
    let authority = house.authorities.named(DEFAULT_AUTHORITY).await.unwrap();
    assert_eq!(served.chain.len(), 2);
    assert_eq!(served.chain[1], authority.issuing_certificate().der());
    let leaf = pki::Certificate::from_der(&served.chain[0]).unwrap();
    assert_eq!(served.key.public_key().spki_der(), leaf.spki_der());
    let staple = served.staple.unwrap();
    assert_eq!(staple.produced_at, fixture.now());
    assert_eq!(staple.next_update, fixture.now() + time::Duration::days(1));
    let issuer = authority.issuing_certificate();
    let question = CertId::new(
        HashAlgorithm::Sha1,
        &IssuerHashes::of(issuer),
        leaf.serial(),
    );
    let answer = VerifiedAnswer::read(&staple.response, &question, issuer, fixture.now()).unwrap();
    assert!(answer.is_good);
    assert_eq!(answer.next_update, Some(staple.next_update));

    // A leaf that has ended is better than none.
    fixture.turn(40 * DAY);
    assert!(credentials(house, id).await.is_some());
    revoke(house, owner, id).await;
    assert!(credentials(house, id).await.is_none());

    let smith = Smith::new(&fixture).await;
    let uploaded = smith.upload(house, owner, &["b.example.com"], 7).await;
    let served = credentials(house, uploaded.id).await.unwrap();
    assert_eq!(served.staple, None, "it may be anybody's");
}

#[tokio::test]
async fn a_site_is_the_domain_itself_or_the_wildcard_right_above_it() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let exact = serve(house, owner, &["a.example.com."]).await;
    let wildcard = serve(house, owner, &["*.example.com."]).await;
    let found = async |name: &str| {
        site(house, name)
            .await
            .map(|site| (site.domain, site.service))
    };
    let a = found("a.example.com").await.unwrap();
    assert_eq!(a, ("a.example.com".to_owned(), exact));
    let b = found("b.example.com").await.unwrap();
    assert_eq!(b, ("*.example.com".to_owned(), wildcard));
    for nobody in ["example.com", "x.b.example.com", "com", "a.example.org"] {
        assert_eq!(found(nobody).await, None, "{nobody}");
    }
    let names = house.routing.names(None, 10).await.unwrap();
    assert_eq!(names, ["*.example.com", "a.example.com"]);
    let rest = house
        .routing
        .names(Some("*.example.com"), 10)
        .await
        .unwrap();
    assert_eq!(rest, ["a.example.com"]);
}

#[tokio::test]
async fn a_subdomain_of_the_metro_domain_is_served_with_the_houses_certificate() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    serve(house, owner, &["my-project"]).await;
    house.obtain_due_now().await.unwrap();
    let name = "my-project.metro.internal";
    let id = certificate_of(house, name).await;
    let served = credentials(house, id).await.unwrap();
    let leaf = pki::Certificate::from_der(&served.chain[0]).unwrap();
    assert!(leaf.covers(&DnsName::parse(name).unwrap()));
    let store = &fixture.nodes[0].store;
    let reference = CertificateRef::Id(id);
    let found = store.certificate(Scope::Everything, &reference);
    let found = found.await.unwrap().unwrap();
    let account = store.account_by_name(HOUSE_ACCOUNT).await.unwrap().unwrap();
    assert_eq!(found.account_id, account.id);

    let following = Following::start(house);
    fixture.turn(20 * DAY + HOUR);
    house.obtain_due_now().await.unwrap();
    following.tells(Change::Certificate(id)).await;
    assert_eq!(certificate_of(house, name).await, id);
    assert_ne!(
        credentials(house, id).await.unwrap().version,
        served.version
    );
}

#[tokio::test]
async fn a_domain_that_cannot_be_served_is_healed_at_most_once_a_minute() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let issued = fixture.issue("a.example.com", 7).await;
    serve(house, owner, &["a.example.com."]).await;
    revoke(house, owner, issued.id).await;
    house.routing.heal("a.example.com").await.unwrap();
    let requested = certificate_of(house, "a.example.com").await;
    assert_ne!(requested, issued.id);

    // The same again, but too soon.
    house.obtain_due_now().await.unwrap();
    revoke(house, owner, requested).await;
    fixture.turn(MINUTE - SECOND);
    house.routing.heal("a.example.com").await.unwrap();
    assert_eq!(certificate_of(house, "a.example.com").await, requested);
    fixture.turn(SECOND);
    house.routing.heal("a.example.com").await.unwrap();
    assert_ne!(certificate_of(house, "a.example.com").await, requested);
    house.routing.heal("nobody.test").await.unwrap();
}

#[tokio::test]
async fn ticket_secrets_are_shared_and_replaced_every_six_hours_and_three_are_kept() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (one, other) = (&fixture.house().routing, &fixture.other_node().routing);
    let (first, second) = tokio::join!(one.ticket_keys(), other.ticket_keys());
    let first = first.unwrap();
    assert_eq!(first, second.unwrap(), "of a race there is one outcome");
    assert_eq!(first.len(), 1);
    assert!(!format!("{first:?}").contains("secret:"), "{first:?}");

    fixture.turn(6 * HOUR - SECOND);
    assert_eq!(other.ticket_keys().await.unwrap(), first);
    fixture.turn(SECOND);
    for kept in [2, 3, 3, 3] {
        let (one, other) = tokio::join!(one.ticket_keys(), other.ticket_keys());
        let keys = one.unwrap();
        assert_eq!(keys, other.unwrap());
        assert_eq!(keys.len(), kept);
        assert_eq!(keys[0].created_at, fixture.now());
        let generations: Vec<u64> = keys.iter().map(|key| key.generation).collect();
        let newest = generations[0];
        let row: Vec<u64> = (0..kept as u64).map(|age| newest - age).collect();
        assert_eq!(generations, row);
        assert_ne!(keys[0].secret, keys[1].secret);
        fixture.turn(6 * HOUR);
    }

    // A clock that was wrong for a while.
    let newest = one.ticket_keys().await.unwrap()[0].clone();
    fixture.turn(-30 * DAY);
    let replaced = one.ticket_keys().await.unwrap()[0].clone();
    assert_eq!(replaced.generation, newest.generation + 1);
    assert_eq!(other.ticket_keys().await.unwrap()[0], replaced);
}
