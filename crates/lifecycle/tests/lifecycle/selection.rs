//! Which certificate a domain is served with, at first and when the certificates around it change.

use crate::support::{DAY, DEADLINE, Fixture, HOUR, settings};
use lifecycle::{
    CertificateId, CertificateRef, DEFAULT_AUTHORITY, DomainRequest, Edit, Error, IssueRequest,
    KeySource, ManagedRequest, NewServiceRequest, Principal, RevocationTarget, ServiceChange,
    ServiceRef, ServiceView, Settings, State, StateKind, TokenLimits, parse_identifiers,
};
use pki::{KeyAlgorithm, RevocationReason, SubjectFields};
use store::{NewEvent, Scope};

type Check<'a> = &'a dyn Fn(&Error) -> bool;

async fn fixture() -> Fixture {
    Fixture::new(KeyAlgorithm::P256).await
}

fn request(domains: &[(&str, Option<CertificateId>)]) -> NewServiceRequest {
    let domain = |(name, certificate): &(&str, Option<CertificateId>)| DomainRequest {
        name: (*name).to_owned(),
        certificate: certificate.map(CertificateRef::Id),
    };
    NewServiceRequest {
        domains: domains.iter().map(domain).collect(),
        is_persistent: true,
        ..NewServiceRequest::default()
    }
}

impl Fixture {
    async fn create(&self, domains: &[(&str, Option<CertificateId>)]) -> ServiceView {
        self.try_create(domains).await.unwrap()
    }

    async fn try_create(
        &self,
        domains: &[(&str, Option<CertificateId>)],
    ) -> Result<ServiceView, Error> {
        let services = &self.house().services;
        services.create(&self.principal, request(domains)).await
    }

    /// A certificate for `names`, listed under the first of them.
    async fn certificate(&self, names: &[&str], days: i64) -> CertificateId {
        self.certificate_of(&self.principal, names, days, KeyAlgorithm::P256)
            .await
    }

    async fn certificate_of(
        &self,
        principal: &Principal,
        names: &[&str],
        days: i64,
        algorithm: KeyAlgorithm,
    ) -> CertificateId {
        let request = IssueRequest {
            authority: DEFAULT_AUTHORITY.to_owned(),
            subject: SubjectFields::default(),
            identifiers: parse_identifiers(names.iter().copied(), [], []).unwrap(),
            days: Some(days),
            key: KeySource::Generate(algorithm),
            name: None,
        };
        let issued = self.house().certificates.issue(principal, request).await;
        issued.unwrap().id
    }

    async fn revoke(&self, id: CertificateId) {
        let target = RevocationTarget::Certificate(CertificateRef::Id(id));
        let reason = RevocationReason::KeyCompromise;
        let certificates = &self.house().certificates;
        let revoked = certificates.revoke(&self.principal, &target, reason).await;
        revoked.unwrap();
    }

    /// Obtaining the certificate is given up.
    async fn give_up(&self, id: CertificateId) {
        let event = NewEvent {
            at: lifecycle::Clock::now(&self.clock),
            account_id: Some(self.principal.account_id()),
            actor: "test".to_owned(),
            kind: "certificate.failed",
            object: Some(id.as_uuid()),
            detail: String::new(),
        };
        let state = State::Error {
            reason: "no luck".to_owned(),
        };
        let store = &self.nodes[0].store;
        let scope = Scope::Everything;
        store
            .set_certificate_state(scope, id, state, None, event)
            .await
            .unwrap();
    }

    async fn state(&self, id: CertificateId) -> StateKind {
        let store = &self.nodes[0].store;
        let reference = CertificateRef::Id(id);
        let found = store.certificate(Scope::Everything, &reference).await;
        found.unwrap().unwrap().state.kind()
    }

    /// Follows the change feed on both nodes until the domain is served with something else than
    /// `before`, and tells with what.
    async fn switched(&self, domain: &str, before: CertificateId) -> CertificateId {
        let changed = async {
            loop {
                match self.served(domain).await[0] {
                    Some(now) if now != before => break now,
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        self.following(changed).await
    }

    /// Follows the change feed on both nodes until `done`.
    async fn following<T>(&self, done: impl Future<Output = T>) -> T {
        tokio::select! {
            () = self.house().follow_changes(|_| ()) => unreachable!(),
            () = self.other_node().follow_changes(|_| ()) => unreachable!(),
            done = tokio::time::timeout(DEADLINE, done) => done.unwrap(),
        }
    }
}

#[tokio::test]
async fn the_nearest_valid_certificate_wins_and_then_the_one_that_ends_last() {
    let fixture = fixture().await;
    let wildcard = fixture.certificate(&["*.a.test"], 100).await;
    let listed = fixture
        .certificate(&["b.test", "x.a.test", "y.a.test"], 90)
        .await;
    let exact = fixture.certificate(&["x.a.test"], 10).await;
    let shorter = fixture.certificate(&["x.a.test"], 5).await;
    fixture
        .create(&[
            ("x.a.test.", None),
            ("y.a.test.", None),
            ("z.a.test.", None),
        ])
        .await;
    assert_eq!(fixture.served("x.a.test").await, [Some(exact), None]);
    assert_eq!(fixture.served("y.a.test").await, [Some(listed), None]);
    assert_eq!(fixture.served("z.a.test").await, [Some(wildcard), None]);
    assert_ne!(shorter, exact);
}

#[tokio::test]
async fn what_cannot_be_served_is_passed_over() {
    let fixture = fixture().await;
    let wildcard = fixture.certificate(&["*.a.test"], 100).await;
    let revoked = fixture.certificate(&["revoked.a.test"], 90).await;
    fixture.revoke(revoked).await;
    let failed = fixture.certificate(&["failed.a.test"], 90).await;
    fixture.give_up(failed).await;
    fixture.certificate(&["ended.a.test"], 1).await;
    fixture.certificate(&["keyless.a.test"], 90).await;
    // The wildcard serves a domain, so its key stays when the others go.
    fixture.create(&[("first.a.test.", None)]).await;
    fixture.turn(2 * HOUR);
    let certificates = &fixture.house().certificates;
    certificates.erase_expired_keys().await.unwrap();
    fixture.turn(DAY);
    let tenant = fixture.tenant("shop", TokenLimits::default()).await;
    let theirs = ["theirs.a.test"];
    fixture
        .certificate_of(&tenant, &theirs, 90, KeyAlgorithm::P256)
        .await;
    for name in ["revoked", "failed", "ended", "keyless", "theirs"] {
        fixture.create(&[(&format!("{name}.a.test."), None)]).await;
        let served = fixture.served(&format!("{name}.a.test")).await;
        assert_eq!(served, [Some(wildcard), None], "{name}");
    }
}

#[tokio::test]
async fn an_rsa_certificate_as_near_becomes_the_alternate() {
    let fixture = fixture().await;
    let principal = &fixture.principal;
    let ecdsa = fixture.certificate(&["a.test"], 90).await;
    let rsa = KeyAlgorithm::Rsa2048;
    let rsa = fixture
        .certificate_of(principal, &["a.test"], 30, rsa)
        .await;
    fixture.create(&[("a.test.", None)]).await;
    assert_eq!(fixture.served("a.test").await, [Some(ecdsa), Some(rsa)]);
}

#[tokio::test]
async fn a_chosen_certificate_must_be_there_be_usable_and_cover_the_name() {
    let fixture = fixture().await;
    let other = fixture.certificate(&["b.test", "c.test"], 90).await;
    let nowhere = CertificateId::from_uuid(uuid_of(9));
    let tenant = fixture.tenant("shop", TokenLimits::default()).await;
    let key = KeyAlgorithm::P256;
    let theirs = fixture.certificate_of(&tenant, &["a.test"], 90, key).await;
    let revoked = fixture.certificate(&["a.test"], 90).await;
    fixture.revoke(revoked).await;
    let failed = fixture.certificate(&["a.test"], 90).await;
    fixture.give_up(failed).await;
    let ended = fixture.certificate(&["a.test"], 1).await;
    let keyless = fixture.certificate(&["a.test"], 90).await;
    fixture.turn(DAY);
    let certificates = &fixture.house().certificates;
    certificates.erase_expired_keys().await.unwrap();
    let good = fixture.certificate(&["*.d.test", "a.test"], 90).await;

    let is_missing = |error: &Error| matches!(error, Error::NotFound { .. });
    let is_unusable = |error: &Error| matches!(error, Error::NotUsable { .. });
    let is_mismatch = |error: &Error| matches!(error, Error::CommonNameMismatch { .. });
    for (what, name, certificate, check) in [
        ("nowhere", "a.test.", nowhere, &is_missing as Check<'_>),
        ("theirs", "a.test.", theirs, &is_missing),
        ("revoked", "a.test.", revoked, &is_unusable),
        ("failed", "a.test.", failed, &is_unusable),
        ("ended", "a.test.", ended, &is_unusable),
        ("keyless", "a.test.", keyless, &is_unusable),
        ("other", "x.test.", good, &is_mismatch),
        ("parent", "d.test.", good, &is_mismatch),
        ("deep", "a.b.d.test.", good, &is_mismatch),
    ] {
        let domains = [("new.test.", None), (name, Some(certificate))];
        let refused = fixture.try_create(&domains).await.unwrap_err();
        assert!(check(&refused), "{what}: {refused}");
    }
    assert!(is_unusable(
        &fixture
            .try_create(&[("b.test.", Some(other))])
            .await
            .unwrap_err()
    ));
    let domains = [
        ("a.test.", Some(good)),
        ("x.d.test.", Some(good)),
        ("*.d.test.", Some(good)),
    ];
    let made = fixture.create(&domains).await;
    for domain in &made.domains {
        assert_eq!(domain.certificate.as_ref().unwrap().id, good);
    }
    // No refused request left a certificate behind that it wanted for its other domain.
    let store = &fixture.nodes[0].store;
    let covering = store
        .certificates_covering(Scope::Everything, &["new.test"])
        .await;
    assert_eq!(covering.unwrap(), []);
}

#[tokio::test]
async fn a_chosen_certificate_may_be_on_its_way_and_stays_when_better_ones_come() {
    let fixture = fixture().await;
    let certificates = &fixture.house().certificates;
    let requested = certificates
        .request_managed(
            &fixture.principal,
            ManagedRequest::of_name(None, "a.test").unwrap(),
        )
        .await
        .unwrap();
    let made = fixture
        .create(&[("a.test.", Some(requested.id)), ("b.test.", None)])
        .await;
    assert_eq!(
        made.domains[0].certificate.as_ref().unwrap().id,
        requested.id
    );
    let before = fixture.served("b.test").await[0].unwrap();
    let better = fixture.certificate(&["a.test", "b.test"], 90).await;
    // Once the other domain has followed, this one had its chance.
    assert_eq!(fixture.switched("b.test", before).await, better);
    assert_eq!(fixture.served("a.test").await, [Some(requested.id), None]);
}

#[tokio::test]
async fn a_domain_falls_back_when_its_chosen_certificate_is_revoked() {
    let fixture = fixture().await;
    let wildcard = fixture.certificate(&["*.a.test"], 90).await;
    let chosen = fixture.certificate(&["x.a.test", "y.test"], 90).await;
    fixture
        .create(&[("x.a.test.", Some(chosen)), ("y.test.", Some(chosen))])
        .await;
    fixture.revoke(chosen).await;
    assert_eq!(fixture.switched("x.a.test", chosen).await, wildcard);
    // Nothing else covers the second one, so a certificate is requested for it.
    let requested = fixture.switched("y.test", chosen).await;
    assert_eq!(fixture.state(requested).await, StateKind::Pending);
    // The choice of its owner ended with the certificate.
    let better = fixture.certificate(&["y.test"], 90).await;
    assert_eq!(fixture.switched("y.test", requested).await, better);
}

#[tokio::test]
async fn a_domain_takes_the_better_certificate_as_soon_as_it_comes() {
    let fixture = fixture().await;
    fixture.create(&[("x.a.test.", None)]).await;
    let requested = fixture.served("x.a.test").await[0].unwrap();
    let wildcard = fixture.certificate(&["*.a.test"], 10).await;
    assert_eq!(fixture.switched("x.a.test", requested).await, wildcard);
    let exact = fixture.certificate(&["x.a.test"], 5).await;
    assert_eq!(fixture.switched("x.a.test", wildcard).await, exact);
}

#[tokio::test]
async fn what_was_given_up_is_not_requested_again_by_itself() {
    let fixture = fixture().await;
    fixture
        .create(&[("a.test.", None), ("b.test.", None)])
        .await;
    let failed = fixture.served("a.test").await[0].unwrap();
    let other = fixture.served("b.test").await[0].unwrap();
    fixture.give_up(failed).await;
    let better = fixture.certificate(&["b.test"], 90).await;
    assert_eq!(fixture.switched("b.test", other).await, better);
    assert_eq!(fixture.served("a.test").await, [Some(failed), None]);
    // A new domain is another matter.
    fixture.create(&[("x.a.test.", None)]).await;
    let requested = fixture.served("x.a.test").await[0].unwrap();
    assert_eq!(fixture.state(requested).await, StateKind::Pending);
}

#[tokio::test]
async fn a_certificate_is_kept_while_a_domain_is_served_with_it() {
    let fixture = fixture().await;
    let house = fixture.house();
    let certificate = fixture
        .certificate(&["a.test", "b.test", "c.test"], 90)
        .await;
    let unused = fixture.certificate(&["d.test"], 90).await;
    let first = fixture
        .create(&[("a.test.", None), ("b.test.", None)])
        .await;
    let second = fixture.create(&[("c.test.", Some(certificate))]).await;
    let mut services = house
        .services
        .of_certificates(&[certificate, unused])
        .await
        .unwrap();
    let mut found = services.remove(&certificate).unwrap();
    found.sort();
    let mut expected = [&first, &second].map(|view| (view.service.id, view.service.name.clone()));
    expected.sort();
    assert_eq!(found, expected);
    assert!(services.is_empty());

    let principal = &fixture.principal;
    let reference = CertificateRef::Id(certificate);
    let delete = || house.certificates.delete(principal, &reference);
    assert!(matches!(delete().await, Err(Error::Attached { .. })));
    let removed = ServiceChange::Domains(Edit::Set(Vec::new()));
    let first = ServiceRef::Id(first.service.id);
    house
        .services
        .change(principal, &first, removed)
        .await
        .unwrap();
    assert!(matches!(delete().await, Err(Error::Attached { .. })));
    let second = ServiceRef::Id(second.service.id);
    house.services.delete(principal, &second).await.unwrap();
    assert_eq!(delete().await.unwrap().id, certificate);
}

#[tokio::test]
async fn setting_the_same_domain_with_another_certificate_switches_it() {
    let fixture = fixture().await;
    let chosen = fixture.certificate(&["a.test"], 10).await;
    let best = fixture.certificate(&["a.test"], 90).await;
    let made = fixture.create(&[("a.test.", Some(chosen))]).await;
    assert_eq!(fixture.served("a.test").await[0], Some(chosen));
    let set = async |certificate| {
        let request = request(&[("a.test.", certificate)]);
        let change = ServiceChange::Domains(Edit::Set(request.domains));
        let reference = ServiceRef::Id(made.service.id);
        let services = &fixture.house().services;
        let changed = services
            .change(&fixture.principal, &reference, change)
            .await;
        changed.unwrap();
        fixture.served("a.test").await[0]
    };
    assert_eq!(set(None).await, Some(best));
    assert_eq!(set(Some(chosen)).await, Some(chosen));
}

fn uuid_of(byte: u8) -> uuid::Uuid {
    uuid::Uuid::from_bytes([byte; 16])
}

#[tokio::test]
async fn a_wildcard_out_of_reach_keeps_no_other_domain_from_its_certificate() {
    let settings = Settings {
        default_issuer: "nowhere".to_owned(),
        ..settings(KeyAlgorithm::P256)
    };
    let fixture = Fixture::with(settings).await;
    let listed = fixture.certificate(&["*.a.test", "b.test"], 90).await;
    fixture
        .create(&[("*.a.test.", None), ("b.test.", None)])
        .await;
    fixture.revoke(listed).await;
    let requested = fixture.switched("b.test", listed).await;
    assert_eq!(fixture.state(requested).await, StateKind::Pending);
    assert_eq!(fixture.served("*.a.test").await, [Some(listed), None]);
}
