//! Proof of control where nothing can be proven: what the house obtains and renews by itself.

use crate::support::services::{fixture, request};
use crate::support::{DAY, Fixture, MINUTE, SECOND, eventually};
use lifecycle::{
    Certificate, CertificateRef, Error, ManagedRequest, RevocationTarget, StateKind, Switch,
};
use pki::RevocationReason;
use store::Scope;

/// The name of the house's own certificate.
const METRO: &str = "*.metro.internal";

impl Fixture {
    /// Demands proof from now on, or does so no more.
    async fn demand_proof(&self, is_demanded: bool) {
        let changes = [(Switch::Http01, Some(is_demanded))];
        let switches = &self.house().switches;
        switches.set(&self.principal, &changes).await.unwrap();
        self.turn(2 * SECOND);
    }

    /// Vouches for the administrator's account.
    async fn vouch(&self, name: &str) {
        let (account, names) = (self.principal.account_name(), [name.to_owned()]);
        let preauthorizations = &self.house().preauthorizations;
        let changed = preauthorizations.change(&self.principal, account, &names, &[]);
        changed.await.unwrap();
    }

    async fn request_managed(&self, name: &str) -> Result<Certificate, Error> {
        let request = ManagedRequest::of_name(None, name).unwrap();
        let certificates = &self.house().certificates;
        certificates.request_managed(&self.principal, request).await
    }

    /// Whoever's certificate of this common name, as the house has it now.
    async fn managed(&self, name: &str) -> Certificate {
        let filter = store::CertificateFilter {
            common_name: Some(name.to_owned()),
            ..store::CertificateFilter::default()
        };
        let page = lifecycle::Page {
            from: lifecycle::PageStart::Beginning,
            limit: 10,
            order: lifecycle::Order::Ascending,
        };
        let store = &self.nodes[0].store;
        let listed = store.list_certificates(Scope::Everything, &filter, &page);
        let mut listed = listed.await.unwrap();
        assert_eq!(listed.len(), 1, "{name}");
        listed.pop().unwrap()
    }
}

fn is_proof_wanted(error: &Error) -> bool {
    let text = error.to_string();
    matches!(error, Error::Unsupported { .. })
        && text.contains("proof of control over 'a.test'")
        && text.contains("chancery account preauthorize")
}

#[tokio::test]
async fn what_has_to_be_proven_is_renewed_for_whoever_is_vouched_for_and_for_the_house() {
    let fixture = fixture().await;
    fixture.request_managed("a.test").await.unwrap();
    fixture.house().obtain_due_now().await.unwrap();
    let first = fixture.managed("a.test").await.current;
    let metro = fixture.managed(METRO).await.current;
    assert!(first.is_some() && metro.is_some());

    fixture.demand_proof(true).await;
    fixture.turn(21 * DAY);
    fixture.house().obtain_due_now().await.unwrap();
    let kept = fixture.managed("a.test").await;
    assert_eq!(kept.current, first);
    assert_eq!(kept.attempt, 1);
    let failure = kept.failure.unwrap();
    assert!(
        failure.contains("proof of control over 'a.test'"),
        "{failure}"
    );
    assert_ne!(fixture.managed(METRO).await.current, metro);

    fixture.vouch("a.test").await;
    fixture.turn(2 * MINUTE);
    fixture.house().obtain_due_now().await.unwrap();
    let renewed = fixture.managed("a.test").await;
    assert_ne!(renewed.current, first);
    assert_eq!((renewed.attempt, renewed.failure), (0, None));
}

#[tokio::test]
async fn nothing_is_requested_that_would_have_to_be_proven() {
    let fixture = fixture().await;
    fixture.demand_proof(true).await;
    let refused = fixture.request_managed("a.test").await.unwrap_err();
    assert!(is_proof_wanted(&refused), "{refused}");
    let service = request(&["a.test.", "b.test."]);
    let refused = fixture.refused(&fixture.principal, service).await;
    assert!(is_proof_wanted(&refused), "{refused}");
    let pending = fixture.certificates_in(&fixture.principal, StateKind::Pending);
    assert_eq!(pending.await, 0);
    // Names of the house's own domain.
    fixture.create_service(request(&["shop"])).await;
    fixture.vouch("a.test").await;
    fixture.request_managed("a.test").await.unwrap();
}

#[tokio::test]
async fn a_domain_that_would_have_to_be_proven_keeps_no_other_one_from_its_certificate() {
    let fixture = fixture().await;
    let issued = fixture.issue("*.a.test", 90).await;
    let domains = request(&["x.a.test.", "y.a.test."]);
    fixture.create_service(domains).await;
    fixture.demand_proof(true).await;
    fixture.vouch("y.a.test").await;
    let target = RevocationTarget::Certificate(CertificateRef::Id(issued.id));
    let certificates = &fixture.house().certificates;
    let reason = RevocationReason::Superseded;
    let revoked = certificates.revoke(&fixture.principal, &target, reason);
    revoked.await.unwrap();
    let requested = eventually("another certificate is requested", || async {
        let [served, _] = fixture.served("y.a.test").await;
        served.filter(|served| *served != issued.id)
    });
    tokio::select! {
        () = fixture.house().follow_changes(|_| ()) => unreachable!(),
        _ = requested => (),
    }
    assert_eq!(fixture.served("x.a.test").await, [Some(issued.id), None]);
    assert_eq!(
        fixture
            .certificates_in(&fixture.principal, StateKind::Pending)
            .await,
        1
    );
}
