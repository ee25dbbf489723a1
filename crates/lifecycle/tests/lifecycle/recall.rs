//! Renewals that directories ask for (RFC 9773), and revocations that they are told of.

use crate::support::directory::{Call, Manners, name_of, unreachable};
use crate::support::site::{Site, named};
use crate::support::{DAY, HOUR, MINUTE, eventually};
use lifecycle::{CertificateId, CertificateRef, ManagedRequest, RevocationTarget, State, Version};
use pki::RevocationReason;
use time::Duration;

fn informative() -> Manners {
    Manners {
        has_renewal_info: true,
        ..Manners::default()
    }
}

impl Site {
    async fn all_versions(&self, id: CertificateId) -> Vec<Version> {
        let reference = CertificateRef::Id(id);
        let certificates = &self.house().certificates;
        let versions = certificates.versions(self.principal(), &reference).await;
        versions.unwrap()
    }
}

#[tokio::test]
async fn a_directory_moves_a_renewal_and_what_it_calls_back_is_revoked_once_replaced() {
    let site = Site::new(informative()).await;
    let id = site.request(&["a.test"]).await;
    site.house().obtain_due_now().await.unwrap();
    let obtained = site.find(id).await;
    let first = obtained.current.clone().unwrap();
    // It is looked at long before it is renewed.
    let next = obtained.next_action_at.unwrap() - site.fixture.now();
    assert!(
        next >= Duration::hours(6) && next <= Duration::hours(7),
        "{next}"
    );
    let name = name_of(&site.leaf(id).await);
    let now = site.fixture.now();
    site.directory
        .set_window(&name, now + Duration::days(60), now + Duration::days(62));
    site.fixture.turn(7 * HOUR);
    site.house().obtain_due_now().await.unwrap();
    let planned = site.find(id).await.renew_at.unwrap();
    assert!(planned >= now + Duration::days(60) && planned <= now + Duration::days(62));
    assert_eq!(site.directory.calls(Call::NewOrder), 1);

    // The directory is about to revoke it.
    let start = site.fixture.now() + Duration::hours(8);
    site.directory
        .set_window(&name, start, start + Duration::hours(24));
    site.directory.fail_next(Call::Revoke, unreachable);
    for _ in 0..36 {
        site.fixture.turn(HOUR);
        site.house().obtain_due_now().await.unwrap();
    }
    let renewed = site.find(id).await;
    assert_eq!(renewed.state, State::Valid);
    let second = renewed.current.unwrap();
    assert!(second.created_at >= start && second.created_at <= start + Duration::hours(24));
    let orders = site.directory.orders();
    assert_eq!(orders.len(), 2);
    assert_eq!(orders[1].replaces, Some(name));
    let versions = site.all_versions(id).await;
    assert_eq!(versions[0].revocation, None);
    assert_eq!(versions[1].id, first.id);
    let revocation = versions[1].revocation.unwrap();
    assert_eq!(revocation.reason, RevocationReason::Superseded);
    let revoked = site.directory.revoked();
    assert_eq!(
        revoked.len(),
        1,
        "told again after the first time was in vain"
    );
    assert_eq!(revoked[0].1, RevocationReason::Superseded.code());
    assert_eq!(site.directory.calls(Call::Revoke), 2);
}

#[tokio::test]
async fn a_renewal_in_its_own_time_says_what_it_replaces_and_revokes_nothing() {
    let site = Site::new(informative()).await;
    let id = site.request(&["a.test"]).await;
    site.house().obtain_due_now().await.unwrap();
    let name = name_of(&site.leaf(id).await);
    for _ in 0..66 {
        site.fixture.turn(DAY);
        site.house().obtain_due_now().await.unwrap();
    }
    let orders = site.directory.orders();
    assert_eq!(orders.len(), 2);
    assert_eq!(orders[1].replaces, Some(name));
    assert!(
        site.all_versions(id)
            .await
            .iter()
            .all(|version| version.revocation.is_none())
    );
    assert!(site.directory.revoked().is_empty());
}

#[tokio::test]
async fn whoever_wants_a_renewal_gets_it_at_once_and_nothing_is_revoked() {
    let site = Site::new(informative()).await;
    let id = site.request(&["a.test"]).await;
    site.house().obtain_due_now().await.unwrap();
    let name = name_of(&site.leaf(id).await);
    let now = site.fixture.now();
    site.directory
        .set_window(&name, now + Duration::days(60), now + Duration::days(62));
    let reference = CertificateRef::Id(id);
    let certificates = &site.house().certificates;
    certificates
        .renew(site.principal(), &reference)
        .await
        .unwrap();
    site.house().obtain_due_now().await.unwrap();
    assert_eq!(site.versions(id).await, 2);
    assert!(site.directory.revoked().is_empty());
    let settled = site.find(id).await;
    assert!(settled.renew_at.unwrap() > now + Duration::days(50));
}

#[tokio::test]
async fn a_directory_that_does_not_want_to_hear_what_is_replaced_gets_the_order_all_the_same() {
    let site = Site::new(informative()).await;
    let id = site.request(&["a.test"]).await;
    site.house().obtain_due_now().await.unwrap();
    site.directory.fail_next(Call::NewOrder, || {
        let detail = "it was replaced already";
        crate::support::directory::refused(acme::ErrorKind::AlreadyReplaced, 409, detail, None)
    });
    let reference = CertificateRef::Id(id);
    let certificates = &site.house().certificates;
    certificates
        .renew(site.principal(), &reference)
        .await
        .unwrap();
    site.house().obtain_due_now().await.unwrap();
    assert_eq!(site.versions(id).await, 2);
    assert_eq!(site.directory.orders()[1].replaces, None);
}

#[tokio::test]
async fn a_certificate_is_revoked_here_at_once_and_at_its_directory_as_soon_as_that_goes() {
    let site = Site::new(Manners::default()).await;
    let id = site.request(&["a.test"]).await;
    site.house().obtain_due_now().await.unwrap();
    let leaf = site.leaf(id).await.der().to_vec();
    site.directory.fail(Call::Revoke, unreachable);
    let target = RevocationTarget::Certificate(CertificateRef::Id(id));
    let certificates = &site.house().certificates;
    let reason = RevocationReason::KeyCompromise;
    certificates
        .revoke(site.principal(), &target, reason)
        .await
        .unwrap();
    assert_eq!(site.find(id).await.state, State::Revoked);
    site.house().obtain_due_now().await.unwrap();
    assert!(site.directory.revoked().is_empty());
    // Not even its deletion makes that forgotten.
    let reference = CertificateRef::Id(id);
    certificates
        .delete(site.principal(), &reference)
        .await
        .unwrap();
    site.directory.recover();
    site.fixture.turn(MINUTE);
    site.house().obtain_due_now().await.unwrap();
    let expected = vec![(leaf, reason.code())];
    assert_eq!(site.directory.revoked(), expected);
    site.fixture.turn(DAY);
    site.house().obtain_due_now().await.unwrap();
    assert_eq!(site.directory.revoked(), expected);
}

/// How many certificates are called back at once; `CHANCERY_RECALLED` says otherwise.
const RECALLED: usize = 300;

#[tokio::test]
async fn everything_that_a_directory_calls_back_at_once_is_replaced_within_its_window() {
    let recalled = std::env::var("CHANCERY_RECALLED").ok();
    let recalled = recalled.map_or(RECALLED, |count| count.parse().unwrap());
    let site = Site::new(informative()).await;
    let limits = r#"{"orders":"none","domain":"none"}"#;
    site.add_issuer("generous", Some(limits)).await;
    let mut requested = Vec::with_capacity(recalled);
    for number in 0..recalled {
        let request = ManagedRequest {
            issuer: Some("generous".to_owned()),
            ..named(&format!("d{number}.test"))
        };
        let certificates = &site.house().certificates;
        let made = certificates
            .request_managed(site.principal(), request)
            .await;
        requested.push(made.unwrap().id);
    }
    site.work(site.house(), &requested, HOUR).await;
    assert_eq!(site.directory.calls(Call::NewOrder), recalled);

    let start = site.fixture.now();
    let end = start + Duration::hours(24);
    site.directory.recall(start, end);
    for _ in 0..(26 * HOUR / (10 * MINUTE)) {
        let (one, other) = tokio::join!(
            site.house().obtain_due_now(),
            site.fixture.other_node().obtain_due_now()
        );
        one.unwrap();
        other.unwrap();
        site.fixture.turn(10 * MINUTE);
    }
    let mut latest = start;
    for id in requested {
        let versions = site.all_versions(id).await;
        let [second, first] = versions.as_slice() else {
            panic!("{} versions", versions.len());
        };
        assert_eq!(second.revocation, None);
        assert_eq!(
            first.revocation.unwrap().reason,
            RevocationReason::Superseded
        );
        assert!(second.created_at <= end + Duration::minutes(10));
        latest = latest.max(second.created_at);
    }
    assert_eq!(site.directory.revoked().len(), recalled);
    // Spread over the window, not all at its beginning.
    assert!(latest > start + Duration::hours(12), "{latest}");
}

#[tokio::test]
async fn a_directory_that_never_answers_holds_up_no_revocation_at_another() {
    let site = Site::new(Manners::default()).await;
    site.add_issuer("silent", None).await;
    let certificates = &site.house().certificates;
    let mut ids = Vec::new();
    for number in 0..6 {
        let request = ManagedRequest {
            issuer: Some("silent".to_owned()),
            ..named(&format!("d{number}.test"))
        };
        let made = certificates.request_managed(site.principal(), request);
        ids.push(made.await.unwrap().id);
    }
    let last = site.request(&["a.test"]).await;
    ids.push(last);
    site.house().obtain_due_now().await.unwrap();
    site.directory.silence("https://silent.test/directory");
    for id in &ids {
        let target = RevocationTarget::Certificate(CertificateRef::Id(*id));
        let reason = RevocationReason::KeyCompromise;
        let revoked = certificates.revoke(site.principal(), &target, reason);
        revoked.await.unwrap();
    }
    let house = site.house().clone();
    let working = tokio::spawn(async move { house.obtain_due().await });
    eventually("the other directory is told", async || {
        (!site.directory.revoked().is_empty()).then_some(())
    })
    .await;
    assert!(site.directory.calls(Call::Revoke) <= 5);
    working.abort();
}
