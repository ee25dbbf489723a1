//! CAs that others have made, and certificates that others have signed for CAs of ours: two nodes on
//! one embedded database, with a clock that the tests turn.

use crate::support::authorities::{
    PASSPHRASE, is_good, key_identifier, leads_to, new_authority, passphrase, tier,
};
use crate::support::foreign::{Foreign, NO_CERTIFICATES, NO_LISTS, with_usage};
use crate::support::published::number_of;
use crate::support::{Fixture, SECOND, settings};
use lifecycle::{CaMaterial, DEFAULT_AUTHORITY, DueKind, Error, House, ImportRequest, Tiers};
use pki::{Certificate, CertificateRequest, KeyAlgorithm, NameConstraints, PrivateKey};
use store::{
    AuthorityChange, CaCertificateId, CaRole, KeyPlace, NewCaCertificate, NewCaKey, NewEvent,
};
use zeroize::Zeroizing;

fn pem(parts: &[&Certificate]) -> String {
    parts.iter().map(|one| one.to_pem()).collect()
}

fn import(name: &str, key: &str, certificates: String) -> ImportRequest {
    ImportRequest {
        name: name.to_owned(),
        material: CaMaterial::Pem {
            key: Zeroizing::new(key.to_owned()),
            certificates,
        },
        passphrase: passphrase(),
    }
}

impl Fixture {
    async fn request(&self, for_new_key: bool) -> CertificateRequest {
        let authorities = &self.house().authorities;
        let request = authorities
            .request_certificate(&self.principal, DEFAULT_AUTHORITY, for_new_key)
            .await
            .unwrap();
        CertificateRequest::from_pem_or_der(request.as_bytes()).unwrap()
    }

    /// Puts a certificate for the key of the default authority into service behind its back.
    async fn force(&self, certificate: Vec<u8>, is_issuing: bool) {
        let store = &self.nodes[0].store;
        let row = store.authority(DEFAULT_AUTHORITY).await.unwrap().unwrap();
        let stored = store.ca_certificates(row.id).await.unwrap();
        let issuing = stored.iter().find(|one| one.id == row.issuing_id).unwrap();
        let member = NewCaCertificate {
            id: CaCertificateId::from_time_and_random(self.now(), rand()),
            role: CaRole::Issuing,
            certificate,
            key: NewCaKey::At(KeyPlace::Store, issuing.private_key_id),
            not_before: self.now(),
            not_after: issuing.not_after,
            superiors: None,
            crl_number: 0,
        };
        let change = AuthorityChange {
            id: row.id,
            seen: row.changes,
            root_id: row.root_id,
            issuing_id: if is_issuing {
                member.id
            } else {
                row.issuing_id
            },
            next_key_id: None,
            certificates: vec![member],
            keys: Vec::new(),
            placed: Vec::new(),
            erased_keys: Vec::new(),
            event: NewEvent {
                at: self.now(),
                account_id: None,
                actor: "a test".to_owned(),
                kind: "authority.certified",
                object: None,
                detail: String::new(),
            },
        };
        assert!(store.change_authority(change).await.unwrap());
        self.turn(2 * SECOND);
    }
}

/// Ten octets that nobody has seen.
fn rand() -> [u8; 10] {
    let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
    let identifier = key.public_key().key_identifier();
    identifier[..10].try_into().unwrap()
}

#[tokio::test]
async fn an_authority_from_elsewhere_is_taken_over() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let authorities = &fixture.house().authorities;
    let now = fixture.now();
    let root = Foreign::root(now);
    let between = root.below("Between", None, now);
    let issuing = between.below("Issuing", Some(0), now);
    let encrypted = issuing.key.to_encrypted_pem(PASSPHRASE).unwrap();
    let chain = |parts: &[&Foreign]| -> String {
        parts.iter().map(|one| one.certificate().to_pem()).collect()
    };
    let whole = chain(&[&root, &issuing, &between]);
    let request = import("taken", &encrypted, whole.clone());
    let taken = authorities
        .import(&fixture.principal, request)
        .await
        .unwrap();
    assert_eq!(tier(&taken, "root").key_place, "elsewhere");
    assert_eq!(tier(&taken, "issuing").key_place, "store");
    fixture.turn(2 * SECOND);
    for house in [fixture.house(), fixture.other_node()] {
        let issued = fixture.sign(house, "taken", &["a.test"]).await.unwrap();
        let sent = [issuing.certificate().clone(), between.certificate().clone()];
        assert_eq!(issued.intermediates, sent);
        assert!(leads_to(&issued.leaf, &sent, root.certificate()));
        assert!(is_good(house, issuing.certificate(), &issued.leaf).await);
    }
    let single = import("single", &root.key.to_pkcs8_pem(), chain(&[&root]));
    let single = authorities.import(&fixture.principal, single).await;
    assert_eq!(single.unwrap().tiers.len(), 1);
    // Both know the root, and only one of them what it signed, whichever is looked at first.
    for _ in 0..8 {
        let node = fixture.node(settings(KeyAlgorithm::P256)).await.house;
        let issued = fixture.sign(&node, "single", &["a.test"]).await.unwrap();
        assert!(is_good(&node, root.certificate(), &issued.leaf).await);
        assert!(fixture.is_listed(&node, root.certificate()).await);
    }
    for (key, certificates) in [(&root, chain(&[&root])), (&issuing, whole.clone())] {
        let request = import("twin", &key.key.to_pkcs8_pem(), certificates);
        let twin = authorities.import(&fixture.principal, request).await;
        assert!(matches!(twin, Err(Error::Unfit { .. })), "{twin:?}");
    }

    let leaf = fixture.sign(fixture.house(), "taken", &["b.test"]).await;
    let leaf = leaf.unwrap();
    let leaf_key = leaf.key.unwrap().to_pkcs8_pem();
    let without = |usage| {
        let certificate = with_usage(issuing.certificate(), usage, &between.key);
        certificate.to_pem() + &chain(&[&between, &root])
    };
    let leaf_chain = leaf.leaf.to_pem() + &whole;
    for (what, request) in [
        (
            "no root",
            import("x", &encrypted, chain(&[&issuing, &between])),
        ),
        (
            "no issuer",
            import("x", &encrypted, chain(&[&issuing, &root])),
        ),
        ("a leaf", import("x", &leaf_key, leaf_chain)),
        ("no lists", import("x", &encrypted, without(NO_LISTS))),
        (
            "no leaves",
            import("x", &encrypted, without(NO_CERTIFICATES)),
        ),
        ("no key", import("x", "nothing", whole.clone())),
        ("no certificate", import("x", &encrypted, String::new())),
        (
            "a wrong passphrase",
            ImportRequest {
                passphrase: Zeroizing::new("wrong".to_owned()),
                ..import("x", &encrypted, whole.clone())
            },
        ),
    ] {
        let refused = authorities.import(&fixture.principal, request).await;
        assert!(
            matches!(refused, Err(Error::Invalid { .. })),
            "{what}: {refused:?}"
        );
    }
    let other_key = root.key.to_pkcs8_pem();
    let mismatch = import("x", &other_key, chain(&[&issuing]));
    let mismatch = authorities.import(&fixture.principal, mismatch).await;
    assert!(matches!(mismatch, Err(Error::KeyMismatch)), "{mismatch:?}");
    let again = import("taken", &encrypted, whole);
    let again = authorities.import(&fixture.principal, again).await;
    assert!(matches!(again, Err(Error::NameTaken { .. })), "{again:?}");
}

#[tokio::test]
async fn another_ca_certifies_the_issuing_ca() {
    for for_new_key in [false, true] {
        let fixture = Fixture::new(KeyAlgorithm::P256).await;
        let (house, other) = (fixture.house(), fixture.other_node());
        let now = fixture.now();
        let own = fixture.shown(DEFAULT_AUTHORITY).await;
        let (own_root, old) = (
            tier(&own, "root").certificate.clone(),
            tier(&own, "issuing").certificate.clone(),
        );
        let early = fixture.sign(house, DEFAULT_AUTHORITY, &["a.test"]).await;
        let early = early.unwrap();
        let request = fixture.request(for_new_key).await;
        let root = Foreign::root(now);
        let between = root.below("Between", Some(1), now);
        let certified = between.certify(&request, now);
        // Not without who signed it, not with one that may have no CA below, not another's.
        let narrow = root.below("Narrow", Some(0), now);
        let foreign = narrow.certificate().to_pem() + &root.certificate().to_pem();
        let refused = fixture.install(&certified.to_pem()).await.unwrap_err();
        assert!(refused.to_string().contains("Between"), "{refused}");
        let refused = fixture.install(&foreign).await;
        assert!(matches!(refused, Err(Error::KeyMismatch)), "{refused:?}");
        let refused = fixture.install(&(old.to_pem() + &own_root.to_pem())).await;
        assert!(matches!(refused, Err(Error::Unfit { .. })), "{refused:?}");

        for usage in [NO_CERTIFICATES, NO_LISTS] {
            let unfit = with_usage(&certified, usage, &between.key);
            let chain = pem(&[&unfit, between.certificate()]);
            let refused = fixture.install(&chain).await.unwrap_err();
            assert!(refused.to_string().contains("does not allow"), "{refused}");
        }
        let mute = with_usage(between.certificate(), NO_CERTIFICATES, &root.key);
        let refused = fixture.install(&pem(&[&certified, &mute])).await;
        let refused = refused.unwrap_err();
        assert!(refused.to_string().contains("Between"), "{refused}");

        let chain = certified.to_pem() + &between.certificate().to_pem();
        let installed = fixture.install(&chain).await.unwrap();
        assert_eq!(tier(&installed, "issuing").certificate, certified);
        assert!(fixture.install(&chain).await.is_err());
        fixture.turn(2 * SECOND);
        for house in [house, other] {
            let late = fixture.sign(house, DEFAULT_AUTHORITY, &["b.test"]).await;
            let late = late.unwrap();
            assert_eq!(
                late.intermediates[..2],
                [certified.clone(), between.certificate().clone()]
            );
            assert!(leads_to(
                &late.leaf,
                &late.intermediates,
                root.certificate()
            ));
            assert!(is_good(house, &certified, &late.leaf).await);
            assert!(is_good(house, &old, &early.leaf).await);
            for ca in [&old, &certified] {
                assert!(fixture.is_listed(house, ca).await);
            }
        }
        let due = fixture.shown(DEFAULT_AUTHORITY).await.due;
        let kinds: Vec<DueKind> = due.iter().map(|due| due.kind).collect();
        assert!(kinds.contains(&DueKind::Recertification), "{kinds:?}");
        assert!(!kinds.contains(&DueKind::Issuing), "{kinds:?}");
    }
}

#[tokio::test]
async fn the_constraints_of_every_ca_above_count() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let authorities = &fixture.house().authorities;
    let now = fixture.now();
    let constraints = NameConstraints {
        permitted: vec!["plant.test".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
        excluded: Vec::new(),
    };
    let root = Foreign::root_for(now, Some(constraints));
    let between = root.below("Between", None, now);
    let issuing = between.below("Issuing", Some(0), now);
    let chain = [&issuing, &between, &root].map(Foreign::certificate);
    let request = import("taken", &issuing.key.to_pkcs8_pem(), pem(&chain));
    authorities
        .import(&fixture.principal, request)
        .await
        .unwrap();
    let certified = between.certify(&fixture.request(false).await, now);
    let chain = pem(&[&certified, between.certificate(), root.certificate()]);
    let installed = fixture.install(&chain).await.unwrap();
    // The root is not sent along.
    let superiors = &tier(&installed, "issuing").superiors;
    assert_eq!(superiors, std::slice::from_ref(between.certificate()));
    fixture.turn(2 * SECOND);
    for house in [fixture.house(), fixture.other_node()] {
        for name in ["taken", DEFAULT_AUTHORITY] {
            let permitted = fixture.sign(house, name, &["a.plant.test", "10.1.2.3"]);
            let permitted = permitted.await.unwrap();
            assert!(!permitted.intermediates.contains(root.certificate()));
            for outside in ["a.test", "11.1.2.3", "2001:db8::1"] {
                let refused = fixture.sign(house, name, &[outside]).await.unwrap_err();
                assert!(
                    refused.to_string().contains("name_constraints"),
                    "{refused}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_was_in_service_before_comes_back() {
    for for_new_key in [false, true] {
        let fixture = Fixture::new(KeyAlgorithm::P256).await;
        let now = fixture.now();
        let own = fixture.shown(DEFAULT_AUTHORITY).await;
        let old = tier(&own, "issuing").certificate.clone();
        let early = fixture.sign(fixture.house(), DEFAULT_AUTHORITY, &["a.test"]);
        let early = early.await.unwrap();
        let number = async |house: &House| {
            let authorities = &house.authorities;
            let name = key_identifier(&old);
            let list = authorities.revocation_list_by_key_identifier(&name, 0);
            number_of(&list.await.unwrap())
        };
        let first = number(fixture.house()).await;
        let request = fixture.request(for_new_key).await;
        let root = Foreign::root(now);
        let certified = root.certify(&request, now);
        let chain = pem(&[&certified, root.certificate()]);
        fixture.install(&chain).await.unwrap();
        fixture.turn(2 * SECOND);
        let between = number(fixture.other_node()).await;
        assert!(first < between);

        // What is above it is known here.
        let back = fixture.install(&old.to_pem()).await.unwrap();
        assert_eq!(tier(&back, "issuing").certificate, old);
        let again = fixture.install(&old.to_pem()).await;
        assert!(matches!(again, Err(Error::Unfit { .. })), "{again:?}");
        fixture.turn(2 * SECOND);
        for house in [fixture.house(), fixture.other_node()] {
            let late = fixture.sign(house, DEFAULT_AUTHORITY, &["b.test"]).await;
            let late = late.unwrap();
            assert!(leads_to(
                &late.leaf,
                &late.intermediates,
                &tier(&own, "root").certificate
            ));
            assert!(is_good(house, &old, &late.leaf).await);
            assert!(is_good(house, &old, &early.leaf).await);
            assert!(between < number(house).await);
        }
    }
}

#[tokio::test]
async fn a_single_tier_comes_back_to_its_own_root() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let authorities = &fixture.house().authorities;
    let principal = &fixture.principal;
    let made = authorities.create(principal, new_authority("one", Tiers::One));
    let own = made.await.unwrap().tiers[0].certificate.clone();
    let request = authorities.request_certificate(principal, "one", false);
    let request = request.await.unwrap();
    let request = CertificateRequest::from_pem_or_der(request.as_bytes()).unwrap();
    let root = Foreign::root(fixture.now());
    let certified = root.certify(&request, fixture.now());
    let chain = pem(&[&certified, root.certificate(), &own]);
    let installed = authorities
        .install_certificate(principal, "one", &chain)
        .await;
    assert_eq!(installed.unwrap().tiers[0].certificate, certified);
    let own_pem = own.to_pem();
    let back = authorities
        .install_certificate(principal, "one", &own_pem)
        .await;
    let back = back.unwrap();
    assert_eq!(tier(&back, "root and issuing").certificate, own);
    let issued = fixture.sign(fixture.house(), "one", &["a.test"]).await;
    assert!(leads_to(&issued.unwrap().leaf, &[], &own));
}

#[tokio::test]
async fn an_authority_that_cannot_sign_is_seen_and_mended() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let now = fixture.now();
    let root = Foreign::root(now);
    let request = fixture.request(false).await;
    let certified = root.certify(&request, now);
    // A former tier that is none.
    fixture.force(vec![0x30, 1, 5], false).await;
    let signed = fixture.sign(fixture.other_node(), DEFAULT_AUTHORITY, &["a.test"]);
    assert!(signed.await.is_ok());

    let mute = with_usage(&certified, NO_CERTIFICATES, &root.key);
    fixture.force(mute.der().to_vec(), true).await;
    let fresh = fixture.node(settings(KeyAlgorithm::P256)).await.house;
    fresh.furnish(|_| Ok(())).await.unwrap();
    for house in [&fresh, fixture.house()] {
        let all = house.authorities.all(&fixture.principal).await.unwrap();
        assert_eq!(tier(&all[0], "issuing").certificate, mute);
        let signed = fixture.sign(house, DEFAULT_AUTHORITY, &["a.test"]).await;
        assert!(
            matches!(signed, Err(Error::KeyUnavailable { .. })),
            "{signed:?}"
        );
    }
    assert_eq!(
        fixture.request(false).await.public_key(),
        request.public_key()
    );
    let chain = pem(&[&certified, root.certificate()]);
    fixture.install(&chain).await.unwrap();
    fixture.turn(2 * SECOND);
    for house in [&fresh, fixture.house(), fixture.other_node()] {
        let signed = fixture.sign(house, DEFAULT_AUTHORITY, &["a.test"]).await;
        assert!(is_good(house, &certified, &signed.unwrap().leaf).await);
    }

    // One that cannot be read at all takes the others from nobody's view.
    let request = new_authority("another", Tiers::Two);
    let authorities = &fixture.house().authorities;
    authorities
        .create(&fixture.principal, request)
        .await
        .unwrap();
    fixture.force(vec![0x30, 1, 5], true).await;
    let all = fresh.authorities.all(&fixture.principal).await.unwrap();
    let tiers: Vec<_> = all
        .iter()
        .map(|one| (&*one.name, one.tiers.len()))
        .collect();
    assert_eq!(tiers, [("another", 2), (DEFAULT_AUTHORITY, 0)]);
}
