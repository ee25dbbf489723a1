//! Targets: who may have keys, what a target is to have, and what is made of what it says.

mod directories;
mod handshakes;

use std::time::Duration;

use crate::support::services::{fixture, named};
use crate::support::{Fixture, eventually};
use lifecycle::{
    Acknowledgement, AuthenticationError, CertificateId, DEFAULT_AUTHORITY, Dialect, Error,
    IssueRequest, KeySource, Noun, OnTargets, PlacementStanding, Plan, Principal, Reference,
    Refusal, Role, ServiceRef, TargetAt, TargetDirectoryId, TokenLimits, parse_identifiers,
};
use pki::{KeyAlgorithm, PrivateKey, RevocationReason, SubjectFields};

const AT_ONCE: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(30);

impl Fixture {
    /// Somebody who delivers for that account.
    async fn deliverer(&self, account: &str) -> Principal {
        let limits = TokenLimits {
            account: Some(account.to_owned()),
            dialects: Some(vec![Dialect::Delivery]),
            ..TokenLimits::default()
        };
        let tokens = &self.house().tokens;
        let minted = tokens.create(&self.principal, limits).await.unwrap();
        let principal = tokens.authenticate(&minted.text, Dialect::Delivery).await;
        principal.unwrap()
    }

    /// A certificate of `principal` whose key the house keeps.
    async fn kept(&self, principal: &Principal, name: &str, key: KeyAlgorithm) -> CertificateId {
        let request = IssueRequest {
            authority: DEFAULT_AUTHORITY.to_owned(),
            subject: SubjectFields::default(),
            identifiers: parse_identifiers([name], [], []).unwrap(),
            days: Some(7),
            key: KeySource::Keep(key),
            name: None,
        };
        let certificates = &self.house().certificates;
        certificates.issue(principal, request).await.unwrap().id
    }

    async fn plan(&self, deliverer: &Principal, name: &str) -> Plan {
        let targets = &self.house().targets;
        targets
            .plan(deliverer, at(name), None, AT_ONCE)
            .await
            .unwrap()
    }

    async fn say(
        &self,
        deliverer: &Principal,
        name: &str,
        said: impl IntoIterator<Item = (CertificateId, Acknowledgement)>,
    ) {
        let said = said.into_iter().collect();
        let targets = &self.house().targets;
        targets
            .acknowledge(deliverer, at(name), said)
            .await
            .unwrap();
    }
}

/// The target of that name with a directory that no other name has.
fn at(name: &str) -> TargetAt<'_> {
    let mut bytes = [0; 16];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    TargetAt {
        name,
        directory: TargetDirectoryId::from_random(bytes),
    }
}

fn wanted(plan: &Plan) -> Vec<CertificateId> {
    plan.place.iter().map(|one| one.certificate).collect()
}

fn sorted(mut ids: Vec<CertificateId>) -> Vec<CertificateId> {
    ids.sort();
    ids
}

#[tokio::test]
async fn a_token_for_delivery_is_for_nothing_else_and_no_other_is_for_delivery() {
    let fixture = fixture().await;
    let tokens = &fixture.house().tokens;
    let mint = |dialects: Option<Vec<Dialect>>| TokenLimits {
        dialects,
        ..TokenLimits::default()
    };
    let delivery = Some(vec![Dialect::Delivery]);
    let minted = tokens.create(&fixture.principal, mint(delivery.clone()));
    let minted = minted.await.unwrap();
    for dialect in Dialect::ALL {
        let allowed = tokens.authenticate(&minted.text, dialect).await;
        assert_eq!(allowed.is_ok(), dialect == Dialect::Delivery, "{dialect}");
    }
    for dialects in [None, Some(vec![Dialect::Chancery, Dialect::D9t])] {
        let other = tokens.create(&fixture.principal, mint(dialects)).await;
        let refused = tokens
            .authenticate(&other.unwrap().text, Dialect::Delivery)
            .await;
        assert!(matches!(
            refused,
            Err(AuthenticationError::DialectNotAllowed(Dialect::Delivery))
        ));
    }
    for mixed in [
        mint(Some(vec![Dialect::Delivery, Dialect::Chancery])),
        TokenLimits {
            read_only: true,
            ..mint(delivery.clone())
        },
        TokenLimits {
            scopes: Some(vec!["public".to_owned()]),
            ..mint(delivery.clone())
        },
    ] {
        let refused = tokens.create(&fixture.principal, mixed).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    let limited = fixture.tenant("limited", mint(Some(vec![Dialect::Chancery])));
    let refused = tokens.create(&limited.await, mint(delivery)).await;
    assert!(
        matches!(refused, Err(Error::Forbidden { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn nobody_without_the_delivery_right_gets_a_key() {
    let fixture = fixture().await;
    let administrator = &fixture.principal;
    let targets = &fixture.house().targets;
    let id = fixture
        .kept(administrator, "a.test", KeyAlgorithm::P256)
        .await;
    let deliverer = fixture.deliverer("admin").await;
    targets.register(&deliverer, at("web"), None).await.unwrap();
    targets.material(&deliverer, at("web"), id).await.unwrap();
    let registered = targets.register(administrator, at("other"), None).await;
    let planned = targets.plan(administrator, at("web"), None, AT_ONCE).await;
    let read = targets.material(administrator, at("web"), id).await;
    let handshake = targets.for_handshake(administrator, "a.test", true).await;
    let said = targets
        .acknowledge(administrator, at("web"), Vec::new())
        .await;
    for refused in [
        registered.unwrap_err(),
        planned.unwrap_err(),
        read.unwrap_err(),
        handshake.unwrap_err(),
        said.unwrap_err(),
    ] {
        assert!(matches!(refused, Error::Forbidden { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn a_target_has_what_its_account_or_its_services_have_and_nothing_of_others() {
    let fixture = fixture().await;
    let house = fixture.house();
    let shop = fixture.tenant("shop", TokenLimits::default()).await;
    let foreign = fixture
        .kept(&fixture.principal, "foreign.test", KeyAlgorithm::P256)
        .await;
    let served = fixture.kept(&shop, "a.test", KeyAlgorithm::P256).await;
    let unused = fixture.kept(&shop, "b.test", KeyAlgorithm::P256).await;
    let made = house
        .services
        .create(&shop, named("web", &["a.test."]))
        .await;
    let service = made.unwrap().service.id;
    let deliverer = fixture.deliverer("shop").await;
    let targets = &house.targets;
    targets.register(&deliverer, at("all"), None).await.unwrap();
    let by_name = [ServiceRef::Name("web".to_owned())];
    let one = targets
        .register(&deliverer, at("one"), Some(&by_name))
        .await;
    assert_eq!(one.unwrap().services, Some(vec![service]));
    assert_eq!(
        sorted(wanted(&fixture.plan(&deliverer, "all").await)),
        sorted(vec![served, unused])
    );
    assert_eq!(wanted(&fixture.plan(&deliverer, "one").await), [served]);
    for (target, id) in [("one", unused), ("one", foreign), ("all", foreign)] {
        let refused = targets
            .material(&deliverer, at(target), id)
            .await
            .unwrap_err();
        assert!(
            matches!(
                &refused,
                Error::NotFound {
                    noun: Noun::Certificate,
                    ..
                }
            ),
            "{refused:?}"
        );
    }
    let material = targets
        .material(&deliverer, at("one"), served)
        .await
        .unwrap();
    let key = PrivateKey::from_pkcs8_der(&material.key.pkcs8).unwrap();
    let leaf = pki::Certificate::from_der(&material.chain[0]).unwrap();
    assert_eq!(
        key.public_key().fingerprint(),
        leaf.public_key().unwrap().fingerprint()
    );
    assert_eq!(material.chain.len(), 2, "the issuing CA comes along");
    assert!(!format!("{material:?}").contains("pkcs8"));

    // Nobody names a service, target or certificate of somebody else.
    let own = fixture.deliverer("admin").await;
    let other = [ServiceRef::Id(service)];
    let refused = targets
        .register(&own, at("x"), Some(&other))
        .await
        .unwrap_err();
    assert!(matches!(
        &refused,
        Error::NotFound {
            noun: Noun::Service,
            ..
        }
    ));
    let refused = targets
        .plan(&own, at("all"), None, AT_ONCE)
        .await
        .unwrap_err();
    assert!(matches!(
        &refused,
        Error::NotFound {
            noun: Noun::Target,
            ..
        }
    ));
    let refused = targets.remove(&fixture.principal, "all").await.unwrap_err();
    assert!(matches!(
        &refused,
        Error::NotFound {
            noun: Noun::Target,
            ..
        }
    ));
    // The certificates of the house itself are nobody's.
    let accounts = &house.accounts;
    let second = accounts
        .create(&fixture.principal, "second", Role::Admin)
        .await;
    second.unwrap();
    let second = fixture.deliverer("second").await;
    targets.register(&second, at("all"), None).await.unwrap();
    assert_eq!(fixture.plan(&second, "all").await.place, []);
}

#[tokio::test]
async fn what_targets_say_tells_how_far_a_certificate_has_come() {
    let fixture = fixture().await;
    let administrator = &fixture.principal;
    let targets = &fixture.house().targets;
    let id = fixture
        .kept(administrator, "a.test", KeyAlgorithm::P256)
        .await;
    let service = fixture.create_service(named("web", &["a.test."])).await;
    let other = fixture.create_service(named("other", &[])).await;
    let far = |service: lifecycle::ServiceId| async move {
        let found = targets.placements(administrator, service, &[id]).await;
        found.unwrap().remove(&id).unwrap()
    };
    let service = service.service.id;
    assert_eq!(far(service).await, OnTargets::Everywhere);
    assert!(!targets.holds(id).await.unwrap());

    let deliverer = fixture.deliverer("admin").await;
    let only = [ServiceRef::Id(service)];
    for (target, services) in [("one", Some(only.as_slice())), ("two", None)] {
        targets
            .register(&deliverer, at(target), services)
            .await
            .unwrap();
    }
    let elsewhere = [ServiceRef::Id(other.service.id)];
    let third = targets
        .register(&deliverer, at("three"), Some(&elsewhere))
        .await;
    third.unwrap();
    assert_eq!(
        far(service).await,
        OnTargets::Everywhere,
        "none has come yet"
    );
    for target in ["one", "two", "three"] {
        fixture.plan(&deliverer, target).await;
    }
    assert_eq!(far(service).await, OnTargets::Outstanding);

    let version = targets
        .material(&deliverer, at("one"), id)
        .await
        .unwrap()
        .version;
    assert!(targets.holds(id).await.unwrap(), "its key was handed out");
    fixture
        .say(&deliverer, "one", [(id, Acknowledgement::Placed(version))])
        .await;
    assert_eq!(far(service).await, OnTargets::Outstanding);
    let refusal = Refusal {
        version_id: Some(version),
        reason: "no space left on device".to_owned(),
    };
    fixture
        .say(&deliverer, "two", [(id, Acknowledgement::Refused(refusal))])
        .await;
    assert_eq!(
        far(service).await,
        OnTargets::Refused {
            target: "two".to_owned(),
            reason: "no space left on device".to_owned()
        }
    );
    fixture
        .say(&deliverer, "two", [(id, Acknowledgement::Placed(version))])
        .await;
    assert_eq!(far(service).await, OnTargets::Everywhere);
    let plan = fixture.plan(&deliverer, "two").await;
    assert!(plan.place.iter().all(|one| one.is_acknowledged));

    // Revoked, it is to go; and it is there until both have said that it is not.
    let certificates = &fixture.house().certificates;
    let target = lifecycle::RevocationTarget::Certificate(Reference::Id(id));
    let revoked = certificates.revoke(administrator, &target, RevocationReason::Superseded);
    revoked.await.unwrap();
    for name in ["one", "two"] {
        let plan = fixture.plan(&deliverer, name).await;
        assert_eq!(plan.place, []);
        assert_eq!(plan.remove.len(), 1);
        assert_eq!(plan.remove[0].certificate, id);
        assert!(targets.holds(id).await.unwrap());
        fixture
            .say(&deliverer, name, [(id, Acknowledgement::Removed)])
            .await;
        assert_eq!(fixture.plan(&deliverer, name).await.remove, []);
    }
    assert!(!targets.holds(id).await.unwrap());
}

#[tokio::test]
async fn a_target_that_is_removed_holds_nothing_back() {
    let fixture = fixture().await;
    let administrator = &fixture.principal;
    let targets = &fixture.house().targets;
    let id = fixture
        .kept(administrator, "a.test", KeyAlgorithm::P256)
        .await;
    let deliverer = fixture.deliverer("admin").await;
    targets.register(&deliverer, at("web"), None).await.unwrap();
    let version = targets
        .material(&deliverer, at("web"), id)
        .await
        .unwrap()
        .version;
    fixture
        .say(&deliverer, "web", [(id, Acknowledgement::Placed(version))])
        .await;
    let shown = targets.show(administrator, "web").await.unwrap();
    let [only] = shown.certificates.as_slice() else {
        panic!("{shown:?}");
    };
    assert_eq!((only.certificate, only.version), (id, Some(version)));
    assert_eq!(only.standing, PlacementStanding::Placed);
    assert!(shown.target.seen_at.is_none(), "it has asked for no plan");
    fixture.plan(&deliverer, "web").await;
    let listed = targets.list(administrator).await.unwrap();
    assert_eq!(listed[0].seen_at, Some(fixture.now()));
    targets.remove(administrator, "web").await.unwrap();
    assert!(!targets.holds(id).await.unwrap());
    let gone = targets.plan(&deliverer, at("web"), None, AT_ONCE).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
}

#[tokio::test]
async fn who_waits_for_a_plan_hears_of_it_when_it_changes() {
    let fixture = fixture().await;
    let targets = &fixture.house().targets;
    let deliverer = fixture.deliverer("admin").await;
    targets.register(&deliverer, at("web"), None).await.unwrap();
    let empty = fixture.plan(&deliverer, "web").await;
    let waiting = targets.plan(&deliverer, at("web"), Some(&empty.tag), LONG);
    // The other node issues.
    let changing = async {
        let certificates = &fixture.other_node().certificates;
        let request = IssueRequest {
            authority: DEFAULT_AUTHORITY.to_owned(),
            subject: SubjectFields::default(),
            identifiers: parse_identifiers(["a.test"], [], []).unwrap(),
            days: Some(7),
            key: KeySource::Keep(KeyAlgorithm::P256),
            name: None,
        };
        let issued = certificates.issue(&fixture.principal, request).await;
        issued.unwrap().id
    };
    let heard = async {
        let (plan, id) = tokio::join!(waiting, changing);
        assert_eq!(wanted(&plan.unwrap()), [id]);
    };
    let heard = tokio::time::timeout(LONG / 2, heard);
    tokio::select! {
        () = fixture.house().follow_changes(|_| ()) => unreachable!(),
        heard = heard => heard.unwrap(),
    }
    let now = fixture.plan(&deliverer, "web").await;
    let same = targets
        .plan(&deliverer, at("web"), Some(&now.tag), AT_ONCE)
        .await;
    assert_eq!(
        same.unwrap(),
        now,
        "who has no patience is answered at once"
    );
}

#[tokio::test]
async fn what_is_installed_without_a_domain_is_wanted_too() {
    let fixture = fixture().await;
    let administrator = &fixture.principal;
    let targets = &fixture.house().targets;
    let id = fixture
        .kept(administrator, "a.test", KeyAlgorithm::P256)
        .await;
    let service = fixture.create_service(named("web", &[])).await;
    let service = service.service.id;
    let deliverer = fixture.deliverer("admin").await;
    let only = [ServiceRef::Id(service)];
    let made = targets.register(&deliverer, at("web"), Some(&only)).await;
    made.unwrap();
    assert_eq!(fixture.plan(&deliverer, "web").await.place, []);
    let installed = store::Installation {
        service_id: service,
        certificate_id: id,
        account_id: administrator.account_id(),
        server_names: vec!["elsewhere.test".to_owned()],
        domains: Vec::new(),
        wildcard: false,
        dns_provider_id: None,
        ssl_termination: true,
        created_at: fixture.now(),
        updated_at: fixture.now(),
    };
    let store = &fixture.nodes[0].store;
    let installing = store::Installing::of(installed, 0);
    store.install(installing).await.unwrap();
    assert_eq!(wanted(&fixture.plan(&deliverer, "web").await), [id]);
    let far = targets.placements(administrator, service, &[id]).await;
    assert_eq!(far.unwrap()[&id], OnTargets::Outstanding);
}

#[tokio::test]
async fn two_who_deliver_to_one_target_are_told_and_nobody_waits_for_a_node_that_ends() {
    let fixture = fixture().await;
    let house = fixture.house().clone();
    let deliverer = fixture.deliverer("admin").await;
    house
        .targets
        .register(&deliverer, at("web"), None)
        .await
        .unwrap();
    let tag = fixture.plan(&deliverer, "web").await.tag;
    let wait = || {
        let (house, deliverer, tag) = (house.clone(), deliverer.clone(), tag.clone());
        tokio::spawn(async move {
            house
                .targets
                .plan(&deliverer, at("web"), Some(&tag), LONG)
                .await
        })
    };
    let first = wait();
    let second = eventually("the second takes the place of the first", || async {
        let second = wait();
        tokio::task::yield_now().await;
        first.is_finished().then_some(second)
    });
    let second = second.await;
    let first = first.await.unwrap();
    assert!(matches!(first, Err(Error::Unfit { .. })), "{first:?}");
    house.retire();
    let second = tokio::time::timeout(LONG / 2, second).await;
    assert_eq!(second.unwrap().unwrap().unwrap().tag, tag);
}
