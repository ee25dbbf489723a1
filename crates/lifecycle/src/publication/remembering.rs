//! Tests only: what is answered from memory, and what is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pki::{
    CertId, CertStatus, HashAlgorithm, KeyAlgorithm, OcspFailure, OcspRequest, RevocationReason,
    Serial, SubjectFields, VerifiedAnswer,
};
use store::CertificateRef;
use tokio::time::Instant;

use super::Memory;
use super::memory::{KeptAnswer, Known};
use super::ocsp::OcspAnswer;
use crate::testing::Fixture;
use crate::{
    Authority, DEFAULT_AUTHORITY, IssueRequest, Issued, KeySource, RevocationTarget,
    parse_identifiers,
};

const HOUR: Duration = Duration::from_secs(60 * 60);

impl Fixture {
    fn memory(&self) -> &Memory {
        &self.house.authorities.memory
    }

    /// As if the node had read the feed to its end for the next hour.
    fn has_heard_all(&self) {
        let hearing = &self.memory().hearing;
        hearing.has_heard_all(Instant::now() + HOUR);
        assert!(hearing.is_fresh());
    }

    async fn issue(&self, name: &str) -> Issued {
        let request = IssueRequest {
            authority: DEFAULT_AUTHORITY.to_owned(),
            subject: SubjectFields::default(),
            identifiers: parse_identifiers([name], [], []).unwrap(),
            days: Some(30),
            key: KeySource::Generate(KeyAlgorithm::P256),
            name: None,
        };
        let certificates = &self.house.certificates;
        certificates
            .issue(&self.administrator, request)
            .await
            .unwrap()
    }

    async fn revoke(&self, issued: &Issued) {
        let target = RevocationTarget::Certificate(CertificateRef::Id(issued.id));
        let certificates = &self.house.certificates;
        let reason = RevocationReason::Superseded;
        let revoked = certificates.revoke(&self.administrator, &target, reason);
        revoked.await.unwrap();
    }

    async fn authority(&self) -> Arc<Authority> {
        let named = self.house.authorities.named(DEFAULT_AUTHORITY).await;
        named.unwrap()
    }

    async fn question(&self, serial: &Serial) -> OcspRequest {
        let authority = self.authority().await;
        let hashes = authority.issuing.issuer_hashes();
        OcspRequest {
            cert_ids: vec![CertId::new(HashAlgorithm::Sha256, hashes, serial)],
            nonce: None,
        }
    }

    async fn ask(&self, question: &OcspRequest) -> OcspAnswer {
        let authorities = &self.house.authorities;
        authorities.answer_ocsp(&question.to_der()).await
    }

    async fn says_good(&self, question: &OcspRequest, answer: &OcspAnswer) -> bool {
        let issuer = self.authority().await.issuing_certificate().clone();
        let read = VerifiedAnswer::read(&answer.der, &question.cert_ids[0], &issuer, self.now());
        read.unwrap().is_good
    }
}

fn failed() -> Vec<u8> {
    OcspFailure::InternalError.to_der()
}

#[tokio::test]
async fn an_answer_is_signed_once_for_most_of_its_life() {
    let fixture = Fixture::new().await;
    let question = fixture
        .question(fixture.issue("a.test").await.leaf.serial())
        .await;
    fixture.has_heard_all();
    let first = fixture.ask(&question).await;
    fixture.turn(17 * HOUR);
    // P-256 signatures of the same differ.
    assert_eq!(fixture.ask(&question).await.der, first.der);
    fixture.turn(HOUR);
    let second = fixture.ask(&question).await;
    assert_ne!(second.der, first.der);
    let (first, second) = (first.repeatable.unwrap(), second.repeatable.unwrap());
    assert_eq!(second.next_update - first.next_update, 18 * HOUR);
    assert_ne!(first.tag, second.tag);
}

#[tokio::test]
async fn who_has_heard_of_all_revocations_answers_without_the_store() {
    let fixture = Fixture::new().await;
    let known = fixture
        .question(fixture.issue("a.test").await.leaf.serial())
        .await;
    let unknown = fixture
        .question(fixture.issue("b.test").await.leaf.serial())
        .await;
    let with_nonce = |nonce| OcspRequest {
        nonce: Some(vec![nonce; 32]),
        ..known.clone()
    };
    fixture.has_heard_all();
    let first = fixture.ask(&known).await;
    fixture.store.close().await;
    assert_eq!(fixture.ask(&known).await.der, first.der);
    for nonce in [1, 2] {
        let question = with_nonce(nonce);
        let answer = fixture.ask(&question).await;
        assert!(answer.repeatable.is_none());
        assert!(fixture.says_good(&question, &answer).await);
    }
    assert_eq!(fixture.ask(&unknown).await.der, failed());
}

#[tokio::test]
async fn who_may_have_missed_a_revocation_asks_the_store() {
    let fixture = Fixture::new().await;
    let issued = fixture.issue("a.test").await;
    let question = fixture.question(issued.leaf.serial()).await;
    let first = fixture.ask(&question).await;
    // What the store confirms is not signed again.
    assert_eq!(fixture.ask(&question).await.der, first.der);
    // As another node does it, which this one has not heard of.
    let elsewhere = fixture.another_house();
    let target = RevocationTarget::Certificate(CertificateRef::Id(issued.id));
    let revoked = elsewhere.certificates.revoke(
        &fixture.administrator,
        &target,
        RevocationReason::Superseded,
    );
    revoked.await.unwrap();
    let second = fixture.ask(&question).await;
    assert!(!fixture.says_good(&question, &second).await);
    fixture.store.close().await;
    assert_eq!(fixture.ask(&question).await.der, failed());
}

#[tokio::test]
async fn a_revocation_changes_the_answers_about_its_certificate_and_no_others() {
    let fixture = Fixture::new().await;
    let (revoked, other) = (fixture.issue("a.test").await, fixture.issue("b.test").await);
    let about_revoked = fixture.question(revoked.leaf.serial()).await;
    let about_other = fixture.question(other.leaf.serial()).await;
    fixture.has_heard_all();
    let before = fixture.ask(&about_other).await;
    for nonce in [None, Some(vec![5; 16])] {
        let question = OcspRequest {
            nonce,
            ..about_revoked.clone()
        };
        let answer = fixture.ask(&question).await;
        assert!(fixture.says_good(&question, &answer).await);
    }
    fixture.revoke(&revoked).await;
    for nonce in [None, Some(vec![5; 16])] {
        let question = OcspRequest {
            nonce,
            ..about_revoked.clone()
        };
        let answer = fixture.ask(&question).await;
        assert!(!fixture.says_good(&question, &answer).await);
    }
    assert_eq!(fixture.ask(&about_other).await.der, before.der);
}

#[tokio::test]
async fn an_answer_that_was_being_signed_during_the_revocation_is_given_to_nobody_afterwards() {
    let fixture = Fixture::new().await;
    let issued = fixture.issue("a.test").await;
    let question = fixture.question(issued.leaf.serial()).await;
    let der = question.to_der();
    fixture.has_heard_all();
    let stale = fixture.ask(&question).await;
    let answers = &fixture.memory().answers;
    let kept = answers.remove(&*der).unwrap().1;
    // Somebody is signing what was true before, and somebody waits for it.
    let signing = answers.get_value_or_guard_async(&*der).await;
    let signing = signing.err().unwrap();
    let mut waiting = Box::pin(fixture.ask(&question));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("the answer is not signed yet"),
        () = std::future::ready(()) => {}
    }
    fixture.revoke(&issued).await;
    assert!(signing.insert(kept).is_ok());
    let answer = waiting.await;
    assert_ne!(answer.der, stale.der);
    assert!(!fixture.says_good(&question, &answer).await);
    let again = fixture.ask(&question).await;
    assert_eq!(again.der, answer.der);
}

#[tokio::test]
async fn what_anybody_can_make_up_is_not_kept() {
    let fixture = Fixture::new().await;
    let issued = fixture.issue("a.test").await;
    let usual = fixture.question(issued.leaf.serial()).await;
    fixture.has_heard_all();
    let mut never_issued = fixture
        .question(&Serial::from_random([9; 16]).unwrap())
        .await;
    let nonce = OcspRequest {
        nonce: Some(vec![1; 32]),
        ..usual.clone()
    };
    let both = OcspRequest {
        cert_ids: [&*usual.cert_ids, &*never_issued.cert_ids].concat(),
        nonce: None,
    };
    for question in [&never_issued, &nonce, &both] {
        fixture.ask(question).await;
    }
    never_issued.cert_ids.clear();
    fixture.ask(&never_issued).await;
    assert_eq!(fixture.memory().answers.len(), 0);
    fixture.ask(&usual).await;
    assert_eq!(fixture.memory().answers.len(), 1);
}

#[test]
fn the_memory_for_answers_is_bounded() {
    let memory = Memory::default();
    let now = time::OffsetDateTime::UNIX_EPOCH;
    let der = Bytes::from(vec![0; 4096]);
    for number in 0..40_000_u32 {
        let kept = KeptAnswer {
            answer: OcspAnswer {
                der: der.clone(),
                repeatable: None,
            },
            known: Known {
                status: CertStatus::Good,
                certificate: None,
                since: memory.hearing.moment(),
            },
            term: now..now + HOUR,
        };
        let question = number.to_be_bytes().to_vec();
        memory.answers.insert(question, Arc::new(kept));
    }
    assert!(memory.answers.weight() <= 64 * 1024 * 1024);
    assert!(memory.answers.len() > 10_000);
}
