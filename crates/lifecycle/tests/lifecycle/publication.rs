//! What authorities publish, and to whom: two nodes on one embedded database, with a clock that the
//! tests turn.

use std::sync::Arc;
use std::time::Duration;

use crate::support::published::{self, answer, number_of, question};
use crate::support::served::Following;
use crate::support::{DAY, DEADLINE, Fixture, HOUR, Node, SECOND, SPARE, eventually};
use bytes::Bytes;
use lifecycle::{Authority, CertificateRef, DEFAULT_AUTHORITY, Error, Issued, RevocationTarget};
use pki::{Certificate, KeyAlgorithm, OcspFailure, PrivateKey, RevocationReason, SubjectFields};
use sqlx::{Connection as _, SqliteConnection};
use store::CaRole;
use time::OffsetDateTime;

impl Node {
    async fn authority(&self) -> Arc<Authority> {
        let named = self.house.authorities.named(DEFAULT_AUTHORITY).await;
        named.unwrap()
    }

    async fn list(&self) -> Bytes {
        let authority = self.authority().await;
        let list = self.house.authorities.revocation_list(&authority, 0).await;
        list.unwrap()
    }
}

impl Fixture {
    async fn supersede(&self, issued: &Issued) {
        let target = RevocationTarget::Certificate(CertificateRef::Id(issued.id));
        let certificates = &self.house().certificates;
        certificates
            .revoke(&self.principal, &target, RevocationReason::Superseded)
            .await
            .unwrap();
    }

    /// Keeps the database from being written until the connection is dropped.
    async fn stop_writers(&self) -> SqliteConnection {
        let url = format!("sqlite:{}", self.data.path().join("test.db").display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("begin immediate")
            .execute(&mut connection)
            .await
            .unwrap();
        connection
    }
}

fn key_identifier(certificate: &Certificate) -> String {
    let identifier = certificate.subject_key_identifier().unwrap();
    identifier
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

/// A certificate of somebody else.
fn foreign() -> Certificate {
    let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
    let subject = SubjectFields {
        common_name: Some("Somebody else".to_owned()),
        ..SubjectFields::default()
    };
    let validity = pki::Validity::new(
        OffsetDateTime::UNIX_EPOCH,
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs(60),
    );
    let profile = pki::CaProfile {
        subject: pki::DistinguishedName::from_fields(&subject).unwrap(),
        public_key: key.public_key().clone(),
        validity: validity.unwrap(),
        path_length: None,
        name_constraints: None,
        urls: pki::Urls::default(),
    };
    let serial = pki::Serial::from_random([7; 16]).unwrap();
    let prepared = pki::prepare_self_signed(profile, &serial, &key).unwrap();
    prepared.lint().unwrap().sign().unwrap()
}

fn holds(list: &[u8], issued: &Issued) -> bool {
    let serial = issued.leaf.serial();
    let serial = serial.as_be_bytes();
    list.windows(serial.len()).any(|found| found == serial)
}

/// What is at the end of an answer: the certificate of a responder that has one.
fn responder_in(answer: &[u8]) -> Vec<u8> {
    let mark = b"default OCSP responder";
    assert!(answer.windows(mark.len()).any(|found| found == mark));
    answer[answer.len() - 200..].to_vec()
}

#[tokio::test]
async fn a_list_is_built_to_the_end_although_who_asked_went_away() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let [node, _] = &fixture.nodes;
    let issuing = {
        let authority = node.authority().await;
        let tiers = node.store.ca_certificates(authority.id).await.unwrap();
        let mut tiers = tiers.iter();
        tiers.find(|tier| tier.role == CaRole::Issuing).unwrap().id
    };
    let busy = fixture.stop_writers().await;
    for _ in 0..3 {
        let impatient = tokio::time::timeout(Duration::from_millis(500), node.list()).await;
        assert!(impatient.is_err());
    }
    drop(busy);
    let built = async {
        while node.store.crl_number(issuing).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, built).await.unwrap();
    // All of them waited for the same one.
    assert_eq!(number_of(&node.list().await), 1);
}

#[tokio::test]
async fn everybody_who_asks_at_once_gets_the_same_list() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let [node, _] = &fixture.nodes;
    let lists = || async { tokio::join!(node.list(), node.list(), node.list(), node.list()) };
    let (first, second, third, fourth) = lists().await;
    assert!(
        [&second, &third, &fourth]
            .iter()
            .all(|list| **list == first)
    );
    assert_eq!(number_of(&first), 1);
    let issued = fixture.issue("a.test", 7).await;
    fixture.supersede(&issued).await;
    let (first, second, third, fourth) = lists().await;
    for list in [first, second, third, fourth] {
        assert!(holds(&list, &issued));
        assert_eq!(number_of(&list), 2);
    }
    let signed = fixture.events_of("authority.list_signed").await;
    let details: Vec<_> = signed.iter().map(|event| event.detail.as_str()).collect();
    assert_eq!(details.len(), 2);
    assert!(details[0].ends_with("list 0, number 1"), "{details:?}");
    assert!(details[1].ends_with("list 0, number 2"), "{details:?}");
}

#[tokio::test]
async fn the_list_before_is_published_while_the_next_one_takes_long() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let [node, _] = &fixture.nodes;
    let before = node.list().await;
    let issued = fixture.issue("a.test", 7).await;
    fixture.supersede(&issued).await;
    let busy = fixture.stop_writers().await;
    let meanwhile = tokio::time::timeout(Duration::from_secs(6), node.list()).await;
    assert_eq!(meanwhile.unwrap(), before);
    drop(busy);
    let after = node.list().await;
    assert!(holds(&after, &issued));
    assert_eq!(number_of(&after), 2);
}

#[tokio::test]
async fn a_list_that_may_no_longer_be_relied_upon_is_not_published() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let [node, _] = &fixture.nodes;
    let authority = node.authority().await;
    node.list().await;
    node.store.close().await;
    fixture.turn(7 * DAY - HOUR);
    node.list().await;
    fixture.turn(HOUR);
    let authorities = &node.house.authorities;
    let refused = authorities.revocation_list(&authority, 0).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn the_list_of_a_root_does_not_change_with_revocations_of_leaves() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let [node, _] = &fixture.nodes;
    let authority = node.authority().await;
    let root = key_identifier(authority.root_certificate());
    let authorities = &node.house.authorities;
    let list = || async {
        let list = authorities
            .revocation_list_by_key_identifier(&root, 0)
            .await;
        list.unwrap()
    };
    let first = list().await;
    fixture.supersede(&fixture.issue("a.test", 7).await).await;
    assert_eq!(list().await, first);
    fixture.turn(DAY);
    assert_eq!(number_of(&list().await), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_lists_the_one_with_the_higher_number_holds_no_less() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let mut issued = Vec::new();
    for _ in 0..60 {
        issued.push(fixture.issue("a.test", 7).await);
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let ask = |node: &Node| {
        let (house, stopped) = (node.house.clone(), stopped.clone());
        tokio::spawn(async move {
            let mut lists = Vec::new();
            while !*stopped.borrow() {
                let authority = house.authorities.named(DEFAULT_AUTHORITY).await.unwrap();
                let list = house.authorities.revocation_list(&authority, 0).await;
                lists.push(list.unwrap());
            }
            lists
        })
    };
    let asking = fixture.nodes.each_ref().map(ask);
    for issued in &issued {
        fixture.supersede(issued).await;
    }
    stop.send_replace(true);
    let mut lists = Vec::new();
    for asking in asking {
        lists.extend(asking.await.unwrap());
    }
    lists.sort_unstable_by_key(|list| number_of(list));
    lists.dedup();
    assert!(lists.len() > 2, "{}", lists.len());
    for pair in lists.windows(2) {
        let [lower, higher] = pair else { panic!() };
        assert!(number_of(lower) < number_of(higher));
        let lost = |issued: &&Issued| holds(lower, issued) && !holds(higher, issued);
        assert_eq!(issued.iter().filter(lost).count(), 0);
    }
}

#[tokio::test]
async fn a_revocation_is_on_a_list_from_after_the_end_of_its_certificate() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let [node, _] = &fixture.nodes;
    let issued = fixture.issue("a.test", 2).await;
    fixture.supersede(&issued).await;
    for _ in 0..=9 {
        assert!(holds(&node.list().await, &issued));
        fixture.turn(DAY);
    }
    fixture.turn(DAY);
    assert!(!holds(&node.list().await, &issued));
}

#[tokio::test]
async fn a_list_from_the_future_is_built_again() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let [node, _] = &fixture.nodes;
    assert_eq!(number_of(&node.list().await), 1);
    fixture.turn(-HOUR);
    assert_eq!(number_of(&node.list().await), 2);
    assert_eq!(number_of(&node.list().await), 2);
}

#[tokio::test]
async fn a_responder_from_the_future_is_replaced_once() {
    let fixture = Fixture::new(KeyAlgorithm::Ed25519).await;
    let [node, _] = &fixture.nodes;
    let issuer = node.authority().await.issuing_certificate().clone();
    let leaf = fixture.issue("a.test", 7).await.leaf;
    let responder = || async { responder_in(&answer(&node.house, &issuer, &leaf).await) };
    fixture.turn(2 * DAY);
    let first = responder().await;
    fixture.turn(-DAY);
    let second = responder().await;
    assert_ne!(second, first);
    assert_eq!(responder().await, second);
    // Now even the authority is from the future.
    fixture.turn(-3 * DAY);
    let third = responder().await;
    assert_eq!(responder().await, third);
}

#[test]
fn only_rsa_answers_are_signed_apart_from_the_reactor() {
    for (algorithm, is_apart) in [(KeyAlgorithm::P256, false), (KeyAlgorithm::Rsa2048, true)] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new(algorithm).await;
            let [node, _] = &fixture.nodes;
            let authority = node.authority().await;
            // What the root has signed is known without the store: nothing is waited for but the
            // signature, and the one thread that may block does not come to it.
            let (release, released) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || released.recv());
            let issuing = authority.issuing_certificate();
            let question = question(authority.root_certificate(), issuing, None).to_der();
            let mut answering = Box::pin(node.house.authorities.answer_ocsp(&question));
            let at_once = tokio::select! {
                biased;
                answer = &mut answering => Some(answer),
                () = std::future::ready(()) => None,
            };
            assert_eq!(at_once.is_none(), is_apart, "{algorithm}");
            release.send(()).unwrap();
            busy.await.unwrap().unwrap();
            let answer = match at_once {
                Some(answer) => answer,
                None => answering.await,
            };
            assert!(answer.repeatable.is_some());
        });
    }
}

#[tokio::test]
async fn questions_about_foreign_issuers_reach_the_store_once_a_second() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let [node, _] = &fixture.nodes;
    let foreign = foreign();
    let name = key_identifier(&foreign);
    let authorities = &node.house.authorities;
    let answer = || async { answer(&node.house, &foreign, &foreign).await };
    let unauthorized = OcspFailure::Unauthorized.to_der();
    assert_eq!(answer().await, unauthorized);
    // From here on, whoever asks the store fails.
    node.store.close().await;
    assert_eq!(answer().await, unauthorized);
    for result in [
        authorities.named("unknown").await.map(drop),
        authorities
            .certificate_by_key_identifier(&name)
            .await
            .map(drop),
        authorities
            .revocation_list_by_key_identifier(&name, 0)
            .await
            .map(drop),
    ] {
        assert!(matches!(result, Err(Error::NotFound { .. })), "{result:?}");
    }
    let failed = OcspFailure::InternalError.to_der();
    fixture.turn(SECOND);
    assert_eq!(answer().await, failed);
    fixture.turn(-2 * SECOND);
    assert_eq!(answer().await, failed);
    let asked = authorities.named("unknown").await;
    assert!(matches!(asked, Err(Error::Store(_))), "{asked:?}");
    // What is open needs no look.
    let ours = node.authority().await;
    let issuing = key_identifier(ours.issuing_certificate());
    let found = authorities.certificate_by_key_identifier(&issuing).await;
    assert_eq!(found.unwrap().der(), ours.issuing_certificate().der());
}

#[tokio::test]
async fn what_another_node_has_made_is_found_within_a_second() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let [maker, other] = &fixture.nodes;
    let foreign = foreign();
    answer(&other.house, &foreign, &foreign).await;
    let made = maker.house.authorities.named(SPARE).await.unwrap();
    fixture.turn(SECOND);
    let name = key_identifier(made.issuing_certificate());
    let found = other.house.authorities.certificate_by_key_identifier(&name);
    assert_eq!(found.await.unwrap().der(), made.issuing_certificate().der());
}

#[tokio::test]
async fn nobody_waits_for_the_keys_of_an_authority_they_did_not_ask_for() {
    let fixture = Fixture::new(KeyAlgorithm::Rsa4096).await;
    let [maker, other] = &fixture.nodes;
    let making = tokio::spawn({
        let authorities = other.house.authorities.clone();
        async move { authorities.named(SPARE).await }
    });
    tokio::task::yield_now().await;
    let unknown = other.house.authorities.named("unknown").await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })));
    let default = other.authority().await;
    assert_eq!(default.id, maker.authority().await.id);
    assert!(!making.is_finished());
    making.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_revocation_shows_on_every_node_that_follows_the_feed() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let following = fixture
        .nodes
        .each_ref()
        .map(|node| Following::start(&node.house));
    let issuer = fixture.nodes[0].authority().await;
    let issuer = issuer.issuing_certificate();
    let is_good = async |node: &Node, issued: &Issued| {
        let question = question(issuer, &issued.leaf, None);
        published::is_good(&node.house, fixture.now(), issuer, &question).await
    };
    for _ in 0..5 {
        let issued = fixture.issue("a.test", 7).await;
        for node in &fixture.nodes {
            assert!(is_good(node, &issued).await);
        }
        fixture.supersede(&issued).await;
        assert!(!is_good(&fixture.nodes[0], &issued).await);
        eventually("the other node says so, too", || async {
            (!is_good(&fixture.nodes[1], &issued).await).then_some(())
        })
        .await;
    }
    drop(following);
}
