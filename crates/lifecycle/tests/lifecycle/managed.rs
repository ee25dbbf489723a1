//! Managed certificates: requested, obtained, renewed and given up, over time and on several nodes.

use std::collections::HashSet;

use lifecycle::{
    Attempts, Certificate, CertificateId, CertificateRef, Certificates, DEFAULT_AUTHORITY,
    DomainRequest, Error, HOUSE_ACCOUNT, House, ManagedRequest, NewServiceRequest, Principal,
    RevocationTarget, Settings, State, Upload,
};
use pki::{DnsName, KeyAlgorithm, RevocationReason};
use sqlx::{Connection as _, SqliteConnection};
use store::{CertificateFilter, NewEvent, Order, Page, PageStart, Scope};
use time::Duration;

use crate::support::{DAY, Fixture, MINUTE, SECOND, SPARE, settings};

/// How long after each failed attempt the next one is due, in minutes.
const PAUSES: [i64; 7] = [1, 5, 15, 60, 180, 360, 720];

/// An authority that there is not.
const NOWHERE: &str = "nowhere";

/// Settings whose issuer of managed certificates does not exist.
fn without_issuer() -> Settings {
    Settings {
        default_issuer: NOWHERE.to_owned(),
        ..settings(KeyAlgorithm::P256)
    }
}

/// The same after the operator has made good for it.
fn with_issuer() -> Settings {
    let mut settings = without_issuer();
    let template = settings.authorities[DEFAULT_AUTHORITY].clone();
    settings.authorities.insert(NOWHERE.to_owned(), template);
    settings
}

fn seconds(count: i64) -> Duration {
    Duration::seconds(count)
}

fn days(count: i64) -> Duration {
    Duration::days(count)
}

async fn request(house: &House, principal: &Principal, common_name: &str) -> CertificateId {
    let requested = house
        .certificates
        .request_managed(
            principal,
            ManagedRequest::of_name(None, common_name).unwrap(),
        )
        .await
        .unwrap();
    requested.id
}

async fn find(house: &House, principal: &Principal, id: CertificateId) -> Certificate {
    let reference = CertificateRef::Id(id);
    house
        .certificates
        .find(principal, &reference)
        .await
        .unwrap()
}

async fn versions(house: &House, principal: &Principal, id: CertificateId) -> usize {
    let reference = CertificateRef::Id(id);
    let versions = house.certificates.versions(principal, &reference).await;
    versions.unwrap().len()
}

/// Everything the account of the house has under the wildcard of the metro domain.
async fn metro_certificates(fixture: &Fixture) -> Vec<Certificate> {
    let filter = CertificateFilter {
        common_name: Some("*.metro.internal".to_owned()),
        ..CertificateFilter::default()
    };
    let page = Page {
        from: PageStart::Beginning,
        limit: 100,
        order: Order::Ascending,
    };
    let listed = fixture.nodes[0]
        .store
        .list_certificates(Scope::Everything, &filter, &page);
    listed.await.unwrap()
}

/// A house that has already obtained what it has for itself.
async fn furnished(settings: Settings) -> Fixture {
    let fixture = Fixture::with(settings).await;
    fixture.house().obtain_due_now().await.unwrap();
    fixture
}

#[tokio::test]
async fn a_request_is_pending_until_it_is_obtained_with_a_key_that_stays_in_the_house() {
    let fixture = furnished(settings(KeyAlgorithm::P256)).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let certificates = &house.certificates;
    let requested = certificates
        .request_managed(
            &principal,
            ManagedRequest::of_name(None, "App.Example.com.").unwrap(),
        )
        .await
        .unwrap();
    let name = requested.name.strip_prefix("app.example.com-").unwrap();
    assert_eq!(name.len(), 5);
    let attempts = Attempts {
        failed: 0,
        next: fixture.now(),
    };
    assert_eq!(certificates.attempts(&requested), Some(attempts));
    assert_eq!(find(house, &principal, requested.id).await, requested);

    assert_eq!(house.obtain_due_now().await.unwrap(), 1);
    let obtained = find(house, &principal, requested.id).await;
    assert_eq!(obtained.state, State::Valid);
    assert_eq!(certificates.attempts(&obtained), None);
    assert!(certificates.is_in_force(&obtained));
    let version = obtained.current.as_ref().unwrap();
    assert_eq!(version.subject, "CN=app.example.com");
    assert_eq!(version.not_after, fixture.now() + days(30));
    let chain = certificates.chain(&obtained).await.unwrap();
    let covered = DnsName::parse("app.example.com").unwrap();
    assert!(chain.first().unwrap().covers(&covered));
    let key = fixture.nodes[0]
        .store
        .private_key(Scope::Everything, version.private_key_id.unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(key.exportable, store::Exportable::Never);
    let leaf_key = chain.first().unwrap().spki_der().to_vec();
    assert_eq!(key.key.public_key().spki_der(), leaf_key);
    assert_eq!(house.obtain_due_now().await.unwrap(), 0);
}

#[tokio::test]
async fn a_name_without_room_in_the_subject_is_obtained_all_the_same() {
    let fixture = furnished(settings(KeyAlgorithm::P256)).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let label = "a".repeat(63);
    let long = [label.as_str(); 3].join(".") + ".test";
    let id = request(house, &principal, &long).await;
    house.obtain_due_now().await.unwrap();
    let obtained = find(house, &principal, id).await;
    assert_eq!(obtained.state, State::Valid);
    assert_eq!(obtained.current.unwrap().subject, "");
}

#[tokio::test]
async fn the_loop_obtains_what_is_requested_without_being_asked() {
    let fixture = furnished(settings(KeyAlgorithm::Ed25519)).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let working = tokio::spawn({
        let house = house.clone();
        async move { house.obtain_due().await }
    });
    let id = request(house, &principal, "a.example.com").await;
    crate::support::eventually("the certificate is obtained", || async {
        let certificate = find(house, &principal, id).await;
        (certificate.state == State::Valid).then_some(())
    })
    .await;
    working.abort();
}

#[tokio::test]
async fn two_nodes_obtain_each_of_many_certificates_once() {
    let fixture = furnished(settings(KeyAlgorithm::P256)).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let mut requested = Vec::new();
    for number in 0..300 {
        requested.push(request(house, &principal, &format!("d{number}.example.com")).await);
    }
    let (one, other) = tokio::join!(
        fixture.house().obtain_due_now(),
        fixture.other_node().obtain_due_now()
    );
    assert_eq!(one.unwrap() + other.unwrap(), 300);
    for id in requested {
        assert_eq!(find(house, &principal, id).await.state, State::Valid);
        assert_eq!(versions(house, &principal, id).await, 1);
    }
}

#[tokio::test]
async fn the_work_of_a_node_that_died_is_done_once_when_its_lease_is_over() {
    let fixture = furnished(settings(KeyAlgorithm::P256)).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let id = request(house, &principal, "a.example.com").await;
    // As a node that dies right after it has claimed what is due.
    let now = fixture.now();
    let claimed = fixture.nodes[0]
        .store
        .claim_due(
            now,
            now + seconds(5 * MINUTE),
            10,
            store::Claimable::default(),
        )
        .await;
    assert_eq!(claimed.unwrap().len(), 1);

    fixture.turn(5 * MINUTE - SECOND);
    assert_eq!(fixture.other_node().obtain_due_now().await.unwrap(), 0);
    fixture.turn(SECOND);
    assert_eq!(fixture.other_node().obtain_due_now().await.unwrap(), 1);
    assert_eq!(find(house, &principal, id).await.state, State::Valid);
    assert_eq!(versions(house, &principal, id).await, 1);
}

#[tokio::test]
async fn eight_attempts_are_made_after_growing_pauses_and_then_no_more() {
    let fixture = furnished(without_issuer()).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let id = request(house, &principal, "a.example.com").await;
    for (failed, minutes) in (1_u8..).zip(PAUSES) {
        assert_eq!(house.obtain_due_now().await.unwrap(), 1, "{failed}");
        let certificate = find(house, &principal, id).await;
        let pause = minutes * MINUTE;
        let next = fixture.now() + seconds(pause);
        let attempts = house.certificates.attempts(&certificate);
        assert_eq!(attempts, Some(Attempts { failed, next }));
        assert!(!house.certificates.is_in_force(&certificate));
        fixture.turn(pause - SECOND);
        assert_eq!(house.obtain_due_now().await.unwrap(), 0, "{failed}");
        fixture.turn(SECOND);
    }
    assert_eq!(house.obtain_due_now().await.unwrap(), 1);
    let certificate = find(house, &principal, id).await;
    let State::Error { reason } = &certificate.state else {
        panic!("{:?}", certificate.state);
    };
    assert!(reason.contains("'nowhere'"), "{reason}");
    assert_eq!(house.certificates.attempts(&certificate), None);
    fixture.turn(400 * DAY);
    assert_eq!(
        house.obtain_due_now().await.unwrap(),
        1,
        "the metro domain's"
    );
}

#[tokio::test]
async fn attempts_begin_anew_when_they_are_restarted() {
    let fixture = Fixture::with(without_issuer()).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let id = request(house, &principal, "a.example.com").await;
    let reference = CertificateRef::Id(id);
    let restart = |certificates: &Certificates| {
        let (certificates, principal) = (certificates.clone(), principal.clone());
        let reference = reference.clone();
        async move { certificates.restart(&principal, &reference).await }
    };
    assert!(matches!(
        restart(&house.certificates).await,
        Err(Error::Managed { .. })
    ));
    for minutes in PAUSES.into_iter().chain([0]) {
        house.obtain_due_now().await.unwrap();
        fixture.turn(minutes * MINUTE);
    }
    assert!(matches!(
        find(house, &principal, id).await.state,
        State::Error { .. }
    ));

    let restarted = restart(&house.certificates).await.unwrap();
    let attempts = Attempts {
        failed: 0,
        next: fixture.now(),
    };
    assert_eq!(house.certificates.attempts(&restarted), Some(attempts));
    assert_eq!(find(house, &principal, id).await, restarted);
    let repaired = fixture.node(with_issuer()).await.house;
    assert_eq!(repaired.obtain_due_now().await.unwrap(), 1);
    assert_eq!(find(house, &principal, id).await.state, State::Valid);
    assert!(matches!(
        restart(&house.certificates).await,
        Err(Error::Managed { .. })
    ));
}

#[tokio::test]
async fn a_revoked_version_is_replaced_on_demand_but_nothing_that_was_not_managed() {
    let fixture = furnished(settings(KeyAlgorithm::P256)).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let id = request(house, &principal, "a.example.com").await;
    house.obtain_due_now().await.unwrap();
    let revoke = |id| {
        let target = RevocationTarget::Certificate(CertificateRef::Id(id));
        let principal = principal.clone();
        async move {
            let certificates = &house.certificates;
            let reason = RevocationReason::KeyCompromise;
            certificates.revoke(&principal, &target, reason).await
        }
    };
    revoke(id).await.unwrap();
    fixture.turn(30 * DAY);
    assert_eq!(
        house.obtain_due_now().await.unwrap(),
        1,
        "the metro domain's"
    );
    let revoked = find(house, &principal, id).await;
    assert_eq!(revoked.state, State::Revoked);
    let reference = CertificateRef::Id(id);
    house
        .certificates
        .restart(&principal, &reference)
        .await
        .unwrap();
    house.obtain_due_now().await.unwrap();
    let again = find(house, &principal, id).await;
    assert_eq!(again.state, State::Valid);
    assert_ne!(again.current, revoked.current);

    // Its key is its owner's: it was issued on order, and has been fetched.
    let issued = fixture.issue("b.example.com", 7).await;
    revoke(issued.id).await.unwrap();
    let reference = CertificateRef::Id(issued.id);
    let refused = house.certificates.restart(&principal, &reference).await;
    assert!(matches!(refused, Err(Error::Managed { .. })));

    let upload = Upload::parse(
        Some("up".to_owned()),
        None,
        &issued.leaf.to_pem(),
        &issued.key.unwrap().to_pkcs8_pem(),
    )
    .unwrap();
    house.certificates.upload(&principal, upload).await.unwrap();
    let reference = CertificateRef::Name("up".to_owned());
    let refused = house.certificates.restart(&principal, &reference).await;
    assert!(matches!(refused, Err(Error::NotManaged { .. })));
}

#[tokio::test]
async fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
    let fixture = furnished(settings(KeyAlgorithm::P256)).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let id = request(house, &principal, "a.example.com").await;
    house.obtain_due_now().await.unwrap();
    let first = find(house, &principal, id).await.current.unwrap();
    // Somewhere between two fifths and a third, so that what was obtained at once is not renewed at
    // once.
    let life = first.not_after - fixture.now();
    let earliest: Duration = life * 3 / 5;
    fixture.turn(earliest.whole_seconds() - 2 * SECOND);
    assert_eq!(house.obtain_due_now().await.unwrap(), 0);
    let planned = find(house, &principal, id).await.renew_at.unwrap();
    assert!(planned >= first.created_at + earliest);
    assert!(planned <= first.created_at + life * 2 / 3);
    let latest: Duration = life * 2 / 3 - earliest;
    fixture.turn(latest.whole_seconds() + 2 * SECOND);
    assert_eq!(
        house.obtain_due_now().await.unwrap(),
        2,
        "also the metro domain's"
    );
    let renewed = find(house, &principal, id).await;
    assert_eq!(renewed.state, State::Valid);
    let second = renewed.current.unwrap();
    assert_eq!(second.not_after, fixture.now() + days(30));
    assert_ne!(second.private_key_id, first.private_key_id);
    assert_eq!(versions(house, &principal, id).await, 2);
    assert_eq!(house.obtain_due_now().await.unwrap(), 0);
}

#[tokio::test]
async fn a_renewal_that_fails_is_tried_again_while_the_version_stays_in_service() {
    let fixture = Fixture::with(with_issuer()).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let id = request(house, &principal, "a.example.com").await;
    house.obtain_due_now().await.unwrap();
    let first = find(house, &principal, id).await.current;

    // The authority is there no more, as far as this node can see.
    forget_authority(&fixture).await;
    let broken = fixture.node(without_issuer()).await.house;
    fixture.turn(21 * DAY);
    for (failed, minutes) in (1_u8..).zip(PAUSES) {
        broken.obtain_due_now().await.unwrap();
        let certificate = find(&broken, &principal, id).await;
        let next = fixture.now() + seconds(minutes * MINUTE);
        let certificates = &broken.certificates;
        let attempts = Some(Attempts { failed, next });
        assert_eq!(certificates.attempts(&certificate), attempts);
        assert!(certificates.is_in_force(&certificate), "{failed}");
        assert_eq!(certificate.current, first);
        fixture.turn(minutes * MINUTE);
    }
    // Nothing is given up that is still in force, but attempts become rare.
    broken.obtain_due_now().await.unwrap();
    let waiting = find(&broken, &principal, id).await;
    assert_eq!(waiting.state, State::Valid);
    assert!(broken.certificates.is_in_force(&waiting));
    let failure = waiting.failure.unwrap();
    assert!(failure.contains("'nowhere'"), "{failure}");
    fixture.turn(9 * DAY);
    broken.obtain_due_now().await.unwrap();
    let given_up = find(&broken, &principal, id).await;
    assert!(matches!(given_up.state, State::Error { .. }));
    assert_eq!(given_up.current, first);
    assert!(!broken.certificates.is_in_force(&given_up));
}

/// Hides the authority, which no operation of the house does.
async fn forget_authority(fixture: &Fixture) {
    let url = format!("sqlite:{}", fixture.data.path().join("test.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("update authorities set name = 'gone' where name = 'nowhere'")
        .execute(&mut connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_form_of_a_request_is_checked_and_names_are_unique() {
    let fixture = furnished(settings(KeyAlgorithm::P256)).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let ask = |name: Option<&'static str>, common_name: &'static str| {
        let principal = principal.clone();
        async move {
            let request = ManagedRequest::of_name(name.map(str::to_owned), common_name)?;
            let certificates = &house.certificates;
            certificates.request_managed(&principal, request).await
        }
    };
    for bad in ["localhost", "", "10.0.0.1", "a_b.example.com", "a..b"] {
        let refused = ask(None, bad).await;
        assert!(matches!(refused, Err(Error::NotFullyQualified)), "{bad:?}");
    }
    let request = ManagedRequest {
        name: None,
        names: lifecycle::parse_identifiers(["localhost"], [], []).unwrap(),
        issuer: None,
    };
    let refused = house.certificates.request_managed(&principal, request);
    let refused = refused.await.unwrap_err().to_string();
    assert!(
        refused.contains("'localhost'") && refused.contains("--issuer default"),
        "{refused}"
    );
    for (name, common_name) in [(None, "*.example.com"), (Some("list"), "a.example.com")] {
        let refused = ask(name, common_name).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })));
    }
    ask(Some("mine"), "a.example.com").await.unwrap();
    let taken = ask(Some("mine"), "b.example.com").await;
    assert!(matches!(taken, Err(Error::NameTaken { .. })));
    let (one, other) = (ask(None, "a.example.com"), ask(None, "a.example.com"));
    assert_ne!(one.await.unwrap().name, other.await.unwrap().name);
    assert_eq!(house.obtain_due_now().await.unwrap(), 3);
}

#[tokio::test]
async fn deleting_a_request_cancels_it() {
    let fixture = furnished(settings(KeyAlgorithm::P256)).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let id = request(house, &principal, "a.example.com").await;
    let reference = CertificateRef::Id(id);
    house
        .certificates
        .delete(&principal, &reference)
        .await
        .unwrap();
    assert_eq!(house.obtain_due_now().await.unwrap(), 0);
}

#[tokio::test]
async fn a_wildcard_is_requested_for_a_domain_where_an_authority_can_issue_it() {
    let domain = |name: &str| NewServiceRequest {
        domains: vec![DomainRequest {
            name: name.to_owned(),
            certificate: None,
        }],
        ..NewServiceRequest::default()
    };
    let fixture = furnished(settings(KeyAlgorithm::P256)).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let services = &house.services;
    let made = services.create(&principal, domain("*.example.com.")).await;
    let made = made.unwrap();
    let certificate = made.domains.first().unwrap().certificate.clone().unwrap();
    assert_eq!(certificate.common_name, "*.example.com");
    let name = certificate.name.strip_prefix("example.com-").unwrap();
    assert_eq!(name.len(), 5);
    assert_eq!(house.obtain_due_now().await.unwrap(), 1);
    let obtained = find(house, &principal, certificate.id).await;
    assert_eq!(obtained.state, State::Valid);

    let fixture = Fixture::with(without_issuer()).await;
    let (house, principal) = (fixture.house(), fixture.principal.clone());
    let services = &house.services;
    let refused = services.create(&principal, domain("*.example.com.")).await;
    assert!(matches!(refused, Err(Error::NoCertificate { .. })));
    // For a single name there may be an issuer tomorrow.
    let made = services.create(&principal, domain("a.example.com.")).await;
    let made = made.unwrap();
    let certificate = made.domains.first().unwrap().certificate.clone().unwrap();
    assert!(matches!(certificate.state, State::Pending { .. }));
}

#[tokio::test]
async fn every_start_and_every_node_finds_the_one_certificate_of_the_metro_domain() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let keep = |_: &str| Ok(());
    let (one, other) = tokio::join!(
        fixture.house().furnish(keep),
        fixture.other_node().furnish(keep)
    );
    one.unwrap();
    other.unwrap();
    fixture.house().obtain_due_now().await.unwrap();
    fixture.other_node().furnish(keep).await.unwrap();
    let found = metro_certificates(&fixture).await;
    let states: Vec<&State> = found.iter().map(|found| &found.state).collect();
    assert_eq!(states, [&State::Valid]);
    let issuers: HashSet<_> = found.iter().map(|found| found.issuer.as_deref()).collect();
    assert_eq!(issuers, HashSet::from([Some(DEFAULT_AUTHORITY)]));
    let house_account = fixture.nodes[0].store.account_by_name(HOUSE_ACCOUNT).await;
    let owner = house_account.unwrap().unwrap().id;
    assert!(found.iter().all(|found| found.account_id == owner));
}

#[tokio::test]
async fn a_metro_certificate_that_was_given_up_is_begun_anew_and_follows_the_default_issuer() {
    let fixture = furnished(settings(KeyAlgorithm::P256)).await;
    let (house, keep) = (fixture.house(), |_: &str| Ok(()));
    let given_up = metro_certificates(&fixture).await;
    let event = NewEvent {
        at: fixture.now(),
        account_id: None,
        actor: "test".to_owned(),
        kind: "certificate.failed",
        object: None,
        detail: String::new(),
    };
    let state = State::Error {
        reason: "in vain".to_owned(),
    };
    let store = &fixture.nodes[0].store;
    store
        .set_certificate_state(Scope::Everything, given_up[0].id, state, None, event)
        .await
        .unwrap();
    house.furnish(keep).await.unwrap();
    house.furnish(keep).await.unwrap();
    let restarted = metro_certificates(&fixture).await;
    assert_eq!(restarted.len(), 1);
    assert_eq!(restarted[0].id, given_up[0].id);
    assert!(matches!(
        restarted[0].state,
        State::Pending { attempt: 0, .. }
    ));

    let fixture = furnished(settings(KeyAlgorithm::P256)).await;
    let house = fixture.house();
    let issuers = &house.issuers;
    let before = metro_certificates(&fixture).await;
    assert_eq!(before[0].issuer.as_deref(), Some(DEFAULT_AUTHORITY));
    let chosen = issuers.make_default(&fixture.principal, SPARE, true).await;
    chosen.unwrap();
    house.furnish(keep).await.unwrap();
    let after = metro_certificates(&fixture).await;
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].issuer.as_deref(), Some(SPARE));
    assert_eq!(after[0].state, State::Valid);
    assert_eq!(after[0].next_action_at, before[0].next_action_at);
}
