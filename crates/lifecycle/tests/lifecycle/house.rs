//! The rules over time: a house on an embedded database, with a clock that the tests turn.

use std::time::Duration;

use crate::support::{DAY, Fixture, MINUTE, Node, SECOND, TurnedClock, settings};
use bytes::Bytes;
use lifecycle::{
    AuthenticationError, CertificateFilter, CertificateRef, DEFAULT_AUTHORITY, Dialect, Error,
    HOUSE_ACCOUNT, Order, Page, PageStart, RevocationTarget, Role, SerialReference, TokenLimits,
};
use pki::{
    CertId, Certificate, DnsName, HashAlgorithm, Identifier, IssuerHashes, KeyAlgorithm,
    OcspRequest, RevocationReason,
};

/// The certificate that signed the answer to an OCSP question about `leaf`, if it is embedded.
async fn responder_of(fixture: &Fixture, leaf: &Certificate) -> Bytes {
    let authorities = &fixture.house().authorities;
    let authority = authorities.named(DEFAULT_AUTHORITY).await.unwrap();
    let hashes = IssuerHashes::of(authority.issuing_certificate());
    let request = OcspRequest {
        cert_ids: vec![CertId::new(HashAlgorithm::Sha1, &hashes, leaf.serial())],
        nonce: None,
    };
    authorities.answer_ocsp(&request.to_der()).await.der
}

fn serial_of(certificate: &Certificate) -> SerialReference {
    SerialReference::from_decimal(&certificate.serial().to_string()).unwrap()
}

#[tokio::test]
async fn a_deleted_token_is_trusted_for_no_longer_than_a_second() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let administrator = fixture.principal.clone();
    let tokens = &fixture.house().tokens;
    let minted = tokens
        .create(&administrator, TokenLimits::default())
        .await
        .unwrap();
    let other_node = &fixture.other_node().tokens;
    other_node
        .authenticate(&minted.text, Dialect::KraftCloud)
        .await
        .unwrap();
    tokens
        .delete(&administrator, minted.token.id)
        .await
        .unwrap();
    fixture.turn(SECOND);
    let refused = other_node
        .authenticate(&minted.text, Dialect::KraftCloud)
        .await;
    assert!(matches!(refused, Err(AuthenticationError::WrongSecret)));
}

#[tokio::test]
async fn an_expired_token_is_refused_from_the_moment_on() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let limits = TokenLimits {
        lifetime: Some(Duration::from_secs(10 * 60)),
        ..TokenLimits::default()
    };
    let administrator = fixture.principal.clone();
    let tokens = &fixture.house().tokens;
    let minted = tokens.create(&administrator, limits).await.unwrap();
    fixture.turn(10 * MINUTE - SECOND);
    assert!(
        tokens
            .authenticate(&minted.text, Dialect::D9t)
            .await
            .is_ok()
    );
    fixture.turn(SECOND);
    let refused = tokens.authenticate(&minted.text, Dialect::D9t).await;
    assert!(matches!(refused, Err(AuthenticationError::WrongSecret)));
}

#[tokio::test]
async fn a_generated_key_can_be_fetched_for_an_hour_and_is_erased_then() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let principal = fixture.principal.clone();
    let certificates = &fixture.house().certificates;
    let issued = fixture.issue("a.test", 7).await;
    let serial = serial_of(&issued.leaf);
    fixture.turn(60 * MINUTE - SECOND);
    assert_eq!(certificates.erase_expired_keys().await.unwrap(), 0);
    let key = certificates
        .issued_private_key(&principal, &serial)
        .await
        .unwrap();
    assert_eq!(
        key.public_key().spki_der(),
        issued.key.unwrap().public_key().spki_der()
    );
    let taken = fixture.events_of("certificate.key_taken").await;
    let [taken] = taken.as_slice() else {
        panic!("{taken:?}");
    };
    assert_eq!(taken.object, Some(issued.id.as_uuid()));
    assert_eq!(taken.actor, principal.account_name());
    fixture.turn(SECOND);
    let gone = certificates.issued_private_key(&principal, &serial).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })));
    assert_eq!(certificates.erase_expired_keys().await.unwrap(), 1);
    assert!(
        certificates
            .issued_certificate(&principal, &serial)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn revocation_erases_a_fetchable_key_at_once() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let principal = fixture.principal.clone();
    let certificates = &fixture.house().certificates;
    let issued = fixture.issue("a.test", 7).await;
    let target = RevocationTarget::Certificate(CertificateRef::Id(issued.id));
    certificates
        .revoke(&principal, &target, RevocationReason::KeyCompromise)
        .await
        .unwrap();
    let gone = certificates
        .issued_private_key(&principal, &serial_of(&issued.leaf))
        .await;
    assert!(matches!(gone, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_list_is_built_again_after_a_revocation_and_after_a_day_and_not_in_between() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let principal = fixture.principal.clone();
    let house = fixture.house();
    let authority = house.authorities.named(DEFAULT_AUTHORITY).await.unwrap();
    let list = || async {
        house
            .authorities
            .revocation_list(&authority, 0)
            .await
            .unwrap()
    };
    let first = list().await;
    fixture.turn(DAY - MINUTE);
    assert_eq!(list().await, first);
    let issued = fixture.issue("a.test", 7).await;
    let target = RevocationTarget::Certificate(CertificateRef::Id(issued.id));
    house
        .certificates
        .revoke(&principal, &target, RevocationReason::Superseded)
        .await
        .unwrap();
    let second = list().await;
    assert_ne!(second, first);
    fixture.turn(DAY);
    let third = list().await;
    assert_ne!(third, second);
    // Eight days after its end a certificate leaves the list, which then is as long as the empty
    // one.
    fixture.turn(15 * DAY);
    assert!(list().await.len() < third.len());
}

#[tokio::test]
async fn deleting_a_certificate_does_not_undo_its_revocation() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let principal = fixture.principal.clone();
    let house = fixture.house();
    let authority = house.authorities.named(DEFAULT_AUTHORITY).await.unwrap();
    let empty = house
        .authorities
        .revocation_list(&authority, 0)
        .await
        .unwrap();
    let issued = fixture.issue("a.test", 30).await;
    let reference = CertificateRef::Id(issued.id);
    let target = RevocationTarget::Certificate(reference.clone());
    house
        .certificates
        .revoke(&principal, &target, RevocationReason::KeyCompromise)
        .await
        .unwrap();
    house
        .certificates
        .delete(&principal, &reference)
        .await
        .unwrap();
    fixture.turn(2 * DAY);
    let list = house
        .authorities
        .revocation_list(&authority, 0)
        .await
        .unwrap();
    assert!(list.len() > empty.len());
    let again = RevocationTarget::Serial(serial_of(&issued.leaf));
    let refused = house
        .certificates
        .revoke(&principal, &again, RevocationReason::Unspecified)
        .await;
    assert!(matches!(refused, Err(Error::AlreadyRevoked)));
}

#[tokio::test]
async fn an_ed25519_authority_answers_through_a_responder_that_is_renewed_before_its_end() {
    let fixture = Fixture::new(KeyAlgorithm::Ed25519).await;
    let issued = fixture.issue("a.test", 90).await;
    let embedded = |answer: &[u8]| {
        let mark = b"default OCSP responder";
        assert!(answer.windows(mark.len()).any(|window| window == mark));
        answer.len()
    };
    // Answers differ in time and signature; the responder's certificate stands at their end.
    let tail = |answer: &[u8]| answer[answer.len() - 200..].to_vec();
    let first = responder_of(&fixture, &issued.leaf).await;
    embedded(&first);
    fixture.turn(19 * DAY);
    let same = responder_of(&fixture, &issued.leaf).await;
    assert_eq!(tail(&same), tail(&first));
    fixture.turn(2 * DAY);
    let renewed = responder_of(&fixture, &issued.leaf).await;
    embedded(&renewed);
    assert_ne!(tail(&renewed), tail(&first));
}

#[tokio::test]
async fn the_listener_keeps_its_certificate_until_a_third_of_its_life_is_left() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let identifiers = [Identifier::Dns(DnsName::parse("localhost").unwrap())];
    let identity = || async {
        fixture
            .house()
            .listener_identity(&identifiers)
            .await
            .unwrap()
    };
    let first = identity().await;
    assert_eq!(first.chain.len(), 2);
    fixture.turn(59 * DAY);
    assert_eq!(identity().await.chain, first.chain);
    fixture.turn(2 * DAY);
    assert_ne!(identity().await.chain, first.chain);
    let other = [Identifier::Ip("127.0.0.1".parse().unwrap())];
    let for_other = fixture.house().listener_identity(&other).await.unwrap();
    assert_ne!(for_other.chain[0], identity().await.chain[0]);
}

#[tokio::test]
async fn accounts_see_and_change_nothing_of_each_other() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let administrator = fixture.principal.clone();
    let house = fixture.house();
    house
        .accounts
        .create(&administrator, "shop", Role::User)
        .await
        .unwrap();
    let limits = TokenLimits {
        account: Some("shop".to_owned()),
        ..TokenLimits::default()
    };
    let minted = house.tokens.create(&administrator, limits).await.unwrap();
    let shop = house
        .tokens
        .authenticate(&minted.text, Dialect::Chancery)
        .await
        .unwrap();
    let issued = fixture.issue("admins.test", 7).await;
    let certificates = &house.certificates;
    for reference in [
        CertificateRef::Id(issued.id),
        CertificateRef::Name(issued.name.clone()),
    ] {
        assert!(certificates.find(&shop, &reference).await.is_err());
        assert!(certificates.versions(&shop, &reference).await.is_err());
        assert!(certificates.delete(&shop, &reference).await.is_err());
        let each = certificates.find_each(&shop, &[reference]).await.unwrap();
        assert_eq!(each, [None]);
    }
    let serial = serial_of(&issued.leaf);
    assert!(
        certificates
            .issued_certificate(&shop, &serial)
            .await
            .is_err()
    );
    assert!(
        certificates
            .issued_private_key(&shop, &serial)
            .await
            .is_err()
    );
    let target = RevocationTarget::Serial(serial);
    let refused = certificates
        .revoke(&shop, &target, RevocationReason::Unspecified)
        .await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
    let page = Page {
        from: PageStart::Beginning,
        limit: 10,
        order: Order::Ascending,
    };
    let listed = certificates
        .list(&shop, &CertificateFilter::default(), &page)
        .await
        .unwrap();
    assert!(listed.is_empty());
    assert!(house.accounts.list(&shop).await.is_err());
    assert_eq!(house.tokens.list(&shop).await.unwrap().len(), 1);
    let other_token = house.tokens.list(&administrator).await.unwrap();
    let of_admin = other_token
        .iter()
        .find(|token| token.account_id == administrator.account_id())
        .unwrap();
    assert!(house.tokens.delete(&shop, of_admin.id).await.is_err());
}

#[tokio::test]
async fn nobody_gets_a_token_of_the_house_itself() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let administrator = fixture.principal.clone();
    let limits = TokenLimits {
        account: Some(HOUSE_ACCOUNT.to_owned()),
        ..TokenLimits::default()
    };
    let refused = fixture.house().tokens.create(&administrator, limits).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
    let deleted = fixture
        .house()
        .accounts
        .delete(&administrator, HOUSE_ACCOUNT)
        .await;
    assert!(deleted.is_err());
}

#[tokio::test]
async fn the_first_token_is_kept_before_it_comes_into_force_and_never_made_again() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::open(&data, &TurnedClock::new(), settings(KeyAlgorithm::P256)).await;
    let house = &node.house;
    let full = std::io::Error::other("disk full");
    assert!(house.furnish(|_| Err(full)).await.is_err());
    let mut kept = String::new();
    let keep = |text: &str| {
        text.clone_into(&mut kept);
        Ok(())
    };
    house.furnish(keep).await.unwrap();
    let administrator = house
        .tokens
        .authenticate(&kept, Dialect::Chancery)
        .await
        .unwrap();
    for token in house.tokens.list(&administrator).await.unwrap() {
        house.tokens.delete(&administrator, token.id).await.unwrap();
    }
    // What an administrator took away does not come back by a restart.
    house
        .furnish(|_| panic!("a second start makes no second token"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_limited_token_makes_none_that_can_do_more() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let administrator = fixture.principal.clone();
    let tokens = &fixture.house().tokens;
    let narrow = TokenLimits {
        dialects: Some(vec![Dialect::Chancery, Dialect::CertMaker]),
        lifetime: Some(Duration::from_secs(10 * 60)),
        ..TokenLimits::default()
    };
    let minted = tokens.create(&administrator, narrow).await.unwrap();
    let limited = tokens
        .authenticate(&minted.text, Dialect::Chancery)
        .await
        .unwrap();
    let child = tokens
        .create(&limited, TokenLimits::default())
        .await
        .unwrap();
    assert_eq!(
        child.token.dialects.unwrap(),
        ["chancery".to_owned(), "certmaker".to_owned()]
    );
    assert_eq!(child.token.expires_at, minted.token.expires_at);
    for wider in [
        TokenLimits {
            dialects: Some(vec![Dialect::KraftCloud]),
            ..TokenLimits::default()
        },
        TokenLimits {
            lifetime: Some(Duration::from_secs(11 * 60)),
            ..TokenLimits::default()
        },
    ] {
        let refused = tokens.create(&limited, wider).await;
        assert!(matches!(refused, Err(Error::Forbidden { .. })));
    }
}

#[tokio::test]
async fn a_scoped_token_works_in_the_api_that_knows_scopes_and_nowhere_else() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let administrator = fixture.principal.clone();
    let tokens = &fixture.house().tokens;
    let scoped = |scope: &str| TokenLimits {
        scopes: Some(vec![scope.to_owned()]),
        ..TokenLimits::default()
    };
    let minted = tokens
        .create(&administrator, scoped("public"))
        .await
        .unwrap();
    for dialect in Dialect::ALL {
        let allowed = tokens.authenticate(&minted.text, dialect).await.is_ok();
        assert_eq!(allowed, dialect == Dialect::Cloud66, "{dialect}");
    }
    for unknown in ["root", "public\nadmin", ""] {
        let refused = tokens.create(&administrator, scoped(unknown)).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{unknown:?}");
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_prolongs_no_trust() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let administrator = fixture.principal.clone();
    let tokens = &fixture.house().tokens;
    let limits = TokenLimits::default();
    let minted = tokens.create(&administrator, limits).await.unwrap();
    let other_node = &fixture.other_node().tokens;
    other_node
        .authenticate(&minted.text, Dialect::D9t)
        .await
        .unwrap();
    tokens
        .delete(&administrator, minted.token.id)
        .await
        .unwrap();
    fixture.turn(-60 * MINUTE);
    let refused = other_node.authenticate(&minted.text, Dialect::D9t).await;
    assert!(matches!(refused, Err(AuthenticationError::WrongSecret)));
}

#[tokio::test]
async fn a_read_only_token_gets_no_private_key() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let administrator = fixture.principal.clone();
    let issued = fixture.issue("a.test", 7).await;
    let tokens = &fixture.house().tokens;
    let limits = TokenLimits {
        read_only: true,
        ..TokenLimits::default()
    };
    let minted = tokens.create(&administrator, limits).await.unwrap();
    let reader = tokens
        .authenticate(&minted.text, Dialect::CertMaker)
        .await
        .unwrap();
    let certificates = &fixture.house().certificates;
    let serial = serial_of(&issued.leaf);
    assert!(
        certificates
            .issued_certificate(&reader, &serial)
            .await
            .is_ok()
    );
    let refused = certificates.issued_private_key(&reader, &serial).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
}
