//! Administering authorities: two nodes on one embedded database, with a clock that the tests turn.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

use lifecycle::{
    AuthorityView, CaMaterial, DEFAULT_AUTHORITY, DueKind, Error, House, ImportRequest,
    IssueRequest, Issued, KeySource, NewAuthorityRequest, Tiers, TokenLimits, parse_identifiers,
};
use pki::{
    CaProfile, CertId, Certificate, CertificateRequest, DistinguishedName, HashAlgorithm,
    IssuerHashes, KeyAlgorithm, OcspRequest, PrivateKey, Profile, Serial, Signer, SubjectFields,
    Urls, Validity,
};
use support::{DAY, Fixture, HOUR, SECOND};
use time::OffsetDateTime;
use zeroize::Zeroizing;

const PASSPHRASE: &str = "correct horse battery";
const YEAR: i64 = 365 * DAY;

fn passphrase() -> Zeroizing<String> {
    Zeroizing::new(PASSPHRASE.to_owned())
}

fn new_authority(name: &str, tiers: Tiers) -> NewAuthorityRequest {
    NewAuthorityRequest {
        name: name.to_owned(),
        key_algorithm: KeyAlgorithm::P256,
        subject: SubjectFields {
            common_name: Some("Plant".to_owned()),
            ..SubjectFields::default()
        },
        tiers,
        days: None,
        root_days: None,
        permitted: Vec::new(),
        excluded: Vec::new(),
        in_device: false,
    }
}

impl Fixture {
    async fn sign(&self, house: &House, authority: &str, names: &[&str]) -> Result<Issued, Error> {
        let request = IssueRequest {
            authority: authority.to_owned(),
            subject: SubjectFields::default(),
            identifiers: parse_identifiers(names.iter().copied(), [], []).unwrap(),
            days: Some(182),
            key: KeySource::Generate(KeyAlgorithm::P256),
            name: None,
        };
        house.certificates.issue(&self.principal, request).await
    }

    async fn shown(&self, name: &str) -> AuthorityView {
        let authorities = &self.house().authorities;
        authorities.show(&self.principal, name).await.unwrap()
    }

    async fn exported(&self, name: &str) -> Zeroizing<String> {
        let authorities = &self.house().authorities;
        let exported = authorities.export_root_key(&self.principal, name, passphrase());
        exported.await.unwrap()
    }

    async fn return_root_key(&self, key: &str) -> Result<AuthorityView, Error> {
        let authorities = &self.house().authorities;
        let (name, key) = (DEFAULT_AUTHORITY, key.as_bytes());
        authorities
            .return_root_key(&self.principal, name, key, passphrase())
            .await
    }

    async fn install(&self, chain: &str) -> Result<AuthorityView, Error> {
        let authorities = &self.house().authorities;
        authorities
            .install_certificate(&self.principal, DEFAULT_AUTHORITY, chain)
            .await
    }

    /// Whether the house publishes a revocation list of this CA.
    async fn is_listed(&self, house: &House, ca: &Certificate) -> bool {
        let name = key_identifier(ca);
        let list = house
            .authorities
            .revocation_list_by_key_identifier(&name, 0);
        list.await
            .is_ok_and(|list| pki::crl::next_update(&list).unwrap() > self.now())
    }

    async fn remove_root_key(&self, name: &str, copy: &str) -> Result<AuthorityView, Error> {
        let authorities = &self.house().authorities;
        let copy = copy.as_bytes();
        authorities
            .remove_root_key(&self.principal, name, copy, passphrase(), None)
            .await
    }
}

fn tier<'a>(view: &'a AuthorityView, role: &str) -> &'a lifecycle::TierView {
    let found = view.tiers.iter().find(|tier| tier.role == role);
    found.unwrap_or_else(|| panic!("no {role} in {view:?}"))
}

fn key_identifier(certificate: &Certificate) -> String {
    let identifier = certificate.subject_key_identifier().unwrap();
    identifier
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    certificate.issuer() == issuer.subject()
        && certificate.verify_signature_by(&issuer.public_key().unwrap())
}

/// Whether each certificate is signed by the next one, and the last one by `anchor`.
fn leads_to(leaf: &Certificate, chain: &[Certificate], anchor: &Certificate) -> bool {
    let mut last = leaf;
    for issuer in chain {
        if is_signed_by(last, anchor) {
            return true;
        }
        if is_signed_by(last, issuer) {
            last = issuer;
        }
    }
    is_signed_by(last, anchor)
}

/// Whether the house answers that the certificate is good.
async fn is_good(house: &House, issuer: &Certificate, subject: &Certificate) -> bool {
    let hashes = IssuerHashes::of(issuer);
    let request = OcspRequest {
        cert_ids: vec![CertId::new(HashAlgorithm::Sha1, &hashes, subject.serial())],
        nonce: None,
    };
    let answer = house.authorities.answer_ocsp(&request.to_der()).await;
    // The tag of `good` stands after the certID, which holds the serial.
    let serial = subject.serial().as_be_bytes();
    let place = answer
        .der
        .windows(serial.len())
        .position(|part| part == serial);
    place.is_some_and(|place| answer.der[place + serial.len()] == 0x80)
}

/// A CA that is not ours.
struct Foreign {
    signer: Signer,
    key: PrivateKey,
}

impl Foreign {
    fn root(now: OffsetDateTime) -> Self {
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let profile = ca_profile("Elsewhere", &key, None, now);
        let prepared = pki::prepare_self_signed(profile, &serial(1), &key).unwrap();
        let certificate = prepared.lint().unwrap().sign().unwrap();
        let signer = Signer::new(certificate, &key).unwrap();
        Self { signer, key }
    }

    fn below(&self, name: &str, path_length: Option<u8>, now: OffsetDateTime) -> Self {
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let profile = ca_profile(name, &key, path_length, now);
        let certificate = self.sign(profile);
        let signer = Signer::new(certificate, &key).unwrap();
        Self { signer, key }
    }

    fn sign(&self, profile: CaProfile) -> Certificate {
        let profile = Profile::Authority(profile);
        let prepared = pki::prepare(profile, &serial(2), &self.signer).unwrap();
        prepared.lint().unwrap().sign().unwrap()
    }

    fn certify(&self, request: &CertificateRequest, now: OffsetDateTime) -> Certificate {
        self.sign(CaProfile {
            subject: request.subject().clone(),
            public_key: request.public_key().clone(),
            ..ca_profile("", &self.key, Some(0), now)
        })
    }

    fn certificate(&self) -> &Certificate {
        self.signer.certificate()
    }
}

fn serial(number: u8) -> Serial {
    Serial::from_random([number; 16]).unwrap()
}

fn ca_profile(
    name: &str,
    key: &PrivateKey,
    path_length: Option<u8>,
    now: OffsetDateTime,
) -> CaProfile {
    let fields = SubjectFields {
        common_name: Some(name.to_owned()),
        ..SubjectFields::default()
    };
    let later = now + time::Duration::days(3650);
    CaProfile {
        subject: DistinguishedName::from_fields(&fields).unwrap(),
        public_key: key.public_key().clone(),
        validity: Validity::new(now - time::Duration::days(1), later).unwrap(),
        path_length,
        name_constraints: None,
        urls: Urls::default(),
    }
}

#[tokio::test]
async fn an_authority_certifies_only_the_names_that_it_is_made_for() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let authorities = &fixture.house().authorities;
    let request = NewAuthorityRequest {
        permitted: vec!["plant.test".to_owned(), "10.20.0.0/16".to_owned()],
        excluded: vec!["safe.plant.test".to_owned()],
        days: Some(400),
        ..new_authority("plant", Tiers::Two)
    };
    let made = authorities
        .create(&fixture.principal, request.clone())
        .await
        .unwrap();
    assert_eq!(made.permitted, ["plant.test", "10.20.0.0/16"]);
    assert_eq!(made.excluded, ["safe.plant.test", "::/0"]);
    let issuing = &tier(&made, "issuing").certificate;
    assert!(is_signed_by(issuing, &tier(&made, "root").certificate));
    let life = issuing.not_after() - fixture.now();
    assert_eq!(life.whole_days(), 400);

    // The other node knows it, too.
    for house in [fixture.house(), fixture.other_node()] {
        let issued = fixture.sign(house, "plant", &["a.plant.test", "10.20.3.4"]);
        let issued = issued.await.unwrap();
        assert!(is_signed_by(&issued.leaf, issuing));
        for name in ["plant.example", "10.21.0.1", "::1", "x.safe.plant.test"] {
            let refused = fixture.sign(house, "plant", &[name]).await.unwrap_err();
            assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
            assert!(
                refused.to_string().contains("name_constraints"),
                "{refused}"
            );
        }
    }
    let again = authorities.create(&fixture.principal, request).await;
    assert!(matches!(again, Err(Error::NameTaken { .. })), "{again:?}");
}

#[tokio::test]
async fn only_administrators_see_and_change_authorities() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let authorities = &fixture.house().authorities;
    let tenant = fixture.tenant("tenant", TokenLimits::default()).await;
    let name = DEFAULT_AUTHORITY;
    let import = ImportRequest {
        name: "new".to_owned(),
        material: CaMaterial::Pkcs12(Zeroizing::new(Vec::new())),
        passphrase: passphrase(),
    };
    let tries = [
        authorities.all(&tenant).await.map(drop),
        authorities.show(&tenant, name).await.map(drop),
        authorities
            .create(&tenant, new_authority("new", Tiers::Two))
            .await
            .map(drop),
        authorities.import(&tenant, import).await.map(drop),
        authorities
            .export_root_key(&tenant, name, passphrase())
            .await
            .map(drop),
        authorities
            .remove_root_key(&tenant, name, b"", passphrase(), None)
            .await
            .map(drop),
        authorities
            .return_root_key(&tenant, name, b"", passphrase())
            .await
            .map(drop),
        authorities
            .request_certificate(&tenant, name, false)
            .await
            .map(drop),
        authorities
            .install_certificate(&tenant, name, "")
            .await
            .map(drop),
        authorities.make_successor(&tenant, name).await.map(drop),
        authorities.switch_root(&tenant, name).await.map(drop),
    ];
    for refused in tries {
        assert!(
            matches!(refused, Err(Error::Forbidden { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_issues_goes_on_while_the_key_of_the_root_is_away() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, other) = (fixture.house(), fixture.other_node());
    let exported = fixture.exported(DEFAULT_AUTHORITY).await;
    assert!(!exported.contains("BEGIN PRIVATE KEY"), "it is in clear");
    let foreign = Foreign::root(fixture.now());
    let wrong = foreign.key.to_encrypted_pem(PASSPHRASE).unwrap();
    let refused = fixture.remove_root_key(DEFAULT_AUTHORITY, &wrong).await;
    assert!(matches!(refused, Err(Error::KeyMismatch)), "{refused:?}");
    assert_eq!(
        tier(&fixture.shown(DEFAULT_AUTHORITY).await, "root").key_place,
        "store"
    );

    let without = fixture.remove_root_key(DEFAULT_AUTHORITY, &exported).await;
    let without = without.unwrap();
    assert_eq!(tier(&without, "root").key_place, "elsewhere");
    let (root, issuing) = (
        tier(&without, "root").certificate.clone(),
        tier(&without, "issuing").certificate.clone(),
    );
    // For most of the year that it was prepared for.
    for _ in 0..2 {
        fixture.turn(170 * DAY);
        for house in [house, other] {
            let issued = fixture.sign(house, DEFAULT_AUTHORITY, &["a.test"]).await;
            assert!(is_signed_by(&issued.unwrap().leaf, &issuing));
            assert!(is_good(house, &root, &issuing).await);
            assert!(fixture.is_listed(house, &root).await);
        }
    }
    let view = fixture.shown(DEFAULT_AUTHORITY).await;
    let due = view.due.first().unwrap();
    assert_eq!((due.kind, due.is_now), (DueKind::RootList, true));
    assert!(due.advice.contains("import-root"), "{}", due.advice);
    let refused = house
        .authorities
        .make_successor(&fixture.principal, DEFAULT_AUTHORITY)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("import-root"), "{refused}");

    assert!(matches!(
        fixture.return_root_key(&wrong).await,
        Err(Error::KeyMismatch)
    ));
    let returned = fixture.return_root_key(&exported).await.unwrap();
    assert_eq!(tier(&returned, "root").key_place, "store");
}

#[tokio::test]
async fn the_only_tier_keeps_its_key() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let authorities = &fixture.house().authorities;
    let request = new_authority("single", Tiers::One);
    authorities
        .create(&fixture.principal, request)
        .await
        .unwrap();
    let exported = fixture.exported("single").await;
    let refused = fixture.remove_root_key("single", &exported).await;
    assert!(matches!(refused, Err(Error::Unfit { .. })), "{refused:?}");
    let short = Zeroizing::new("short".to_owned());
    let refused = authorities.export_root_key(&fixture.principal, "single", short);
    assert!(matches!(refused.await, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn an_issuing_ca_is_renewed_once_and_the_one_before_answers_on() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, other) = (fixture.house(), fixture.other_node());
    let before = fixture.shown(DEFAULT_AUTHORITY).await;
    let old = tier(&before, "issuing").certificate.clone();
    let due = before.due.first().unwrap();
    assert_eq!(due.kind, DueKind::Issuing);
    assert_eq!(house.authorities.renew_due().await.unwrap(), 0);

    fixture.turn((due.by - fixture.now()).whole_seconds() - DAY);
    assert_eq!(house.authorities.renew_due().await.unwrap(), 0);
    let early = fixture.sign(house, DEFAULT_AUTHORITY, &["old.test"]).await;
    let early = early.unwrap();
    assert!(early.leaf.not_after() - fixture.now() >= time::Duration::days(182));
    fixture.turn(DAY);
    let (one, two) = tokio::join!(house.authorities.renew_due(), other.authorities.renew_due());
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    assert_eq!(house.authorities.renew_due().await.unwrap(), 0);

    fixture.turn(2 * SECOND);
    let after = fixture.shown(DEFAULT_AUTHORITY).await;
    let new = tier(&after, "issuing").certificate.clone();
    assert_ne!(new.spki_der(), old.spki_der());
    assert_ne!(new.subject(), old.subject());
    assert_eq!(tier(&after, "former").certificate, old);
    for house in [house, other] {
        let late = fixture.sign(house, DEFAULT_AUTHORITY, &["new.test"]).await;
        let late = late.unwrap();
        assert!(is_signed_by(&late.leaf, &new));
        assert!(late.leaf.not_after() - fixture.now() >= time::Duration::days(182));
        assert!(is_good(house, &new, &late.leaf).await);
        assert!(is_good(house, &old, &early.leaf).await);
        // Neither speaks for what the other one signed.
        assert!(!is_good(house, &old, &late.leaf).await);
        assert!(!is_good(house, &new, &early.leaf).await);
        for ca in [&old, &new] {
            assert!(fixture.is_listed(house, ca).await);
        }
        // What was issued before is sent with what signed it.
        let authority = house.authorities.named(DEFAULT_AUTHORITY).await.unwrap();
        for (leaf, issuer) in [(&early.leaf, &old), (&late.leaf, &new)] {
            let sent = authority.intermediates_of(leaf);
            assert_eq!(sent, std::slice::from_ref(issuer));
        }
    }
}

#[tokio::test]
async fn nothing_is_renewed_without_the_key_of_the_root_and_people_are_told() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let exported = fixture.exported(DEFAULT_AUTHORITY).await;
    let removed = fixture.remove_root_key(DEFAULT_AUTHORITY, &exported).await;
    let removed = removed.unwrap();
    let due = removed
        .due
        .iter()
        .find(|due| due.kind == DueKind::IssuingWithoutRootKey);
    let by = due.unwrap().by;
    fixture.turn((by - fixture.now()).whole_seconds() - DAY);
    let count = || async {
        let events = fixture.nodes[0]
            .store
            .events_after(store::Scope::Everything, None, 1000)
            .await;
        let events = events.unwrap();
        let due = events.iter().filter(|event| event.kind == "authority.due");
        due.count()
    };
    for house in [fixture.house(), fixture.other_node(), fixture.house()] {
        assert_eq!(house.authorities.renew_due().await.unwrap(), 0);
    }
    assert_eq!(count().await, 1);
    let issued = fixture.sign(fixture.house(), DEFAULT_AUTHORITY, &["a.test"]);
    assert!(issued.await.is_ok());

    let authorities = &fixture.house().authorities;
    fixture.return_root_key(&exported).await.unwrap();
    fixture.turn(DAY);
    assert_eq!(authorities.renew_due().await.unwrap(), 1);
}

#[tokio::test]
async fn a_root_gets_a_successor_that_takes_over_when_people_say_so() {
    for tiers in [Tiers::One, Tiers::Two] {
        let fixture = Fixture::new(KeyAlgorithm::P256).await;
        let (house, other) = (fixture.house(), fixture.other_node());
        let authorities = &house.authorities;
        let request = NewAuthorityRequest {
            days: Some(15 * 365),
            ..new_authority("old", tiers)
        };
        let made = authorities
            .create(&fixture.principal, request)
            .await
            .unwrap();
        let is_single = tiers == Tiers::One;
        let role = if is_single {
            "root and issuing"
        } else {
            "root"
        };
        let old = tier(&made, role).certificate.clone();
        let none = authorities.switch_root(&fixture.principal, "old").await;
        assert!(matches!(none, Err(Error::Unfit { .. })), "{none:?}");

        fixture.turn(13 * YEAR + HOUR);
        let (one, two) = tokio::join!(authorities.renew_due(), other.authorities.renew_due());
        assert!(one.unwrap() + two.unwrap() >= 1);
        let view = fixture.shown("old").await;
        assert_eq!(tier(&view, role).certificate, old);
        let successors: Vec<_> = view
            .tiers
            .iter()
            .filter(|tier| tier.role == "successor")
            .collect();
        // Itself, and what the present root says of it.
        assert_eq!(successors.len(), 2, "{view:?}");
        let before = fixture.sign(house, "old", &["a.test"]).await.unwrap();
        assert!(leads_to(&before.leaf, &before.intermediates, &old));

        let switched = authorities.switch_root(&fixture.principal, "old").await;
        let new = tier(&switched.unwrap(), role).certificate.clone();
        assert!(new.not_after() > old.not_after());
        fixture.turn(2 * SECOND);
        for house in [house, other] {
            let after = fixture.sign(house, "old", &["b.test"]).await.unwrap();
            for anchor in [&old, &new] {
                assert!(leads_to(&after.leaf, &after.intermediates, anchor));
            }
            let issuer = if is_single {
                &old
            } else {
                &made.tiers[0].certificate
            };
            assert!(is_good(house, issuer, &before.leaf).await);
        }
    }
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
    let import = |name: &str, key: &str, certificates: String| ImportRequest {
        name: name.to_owned(),
        material: CaMaterial::Pem {
            key: Zeroizing::new(key.to_owned()),
            certificates,
        },
        passphrase: passphrase(),
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

    let leaf = fixture.sign(fixture.house(), "taken", &["b.test"]).await;
    let leaf = leaf.unwrap();
    let leaf_key = leaf.key.unwrap().to_pkcs8_pem();
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
        let authorities = &house.authorities;
        let now = fixture.now();
        let own = fixture.shown(DEFAULT_AUTHORITY).await;
        let (own_root, old) = (
            tier(&own, "root").certificate.clone(),
            tier(&own, "issuing").certificate.clone(),
        );
        let early = fixture.sign(house, DEFAULT_AUTHORITY, &["a.test"]).await;
        let early = early.unwrap();
        let request = authorities
            .request_certificate(&fixture.principal, DEFAULT_AUTHORITY, for_new_key)
            .await
            .unwrap();
        let request = CertificateRequest::from_pem_or_der(request.as_bytes()).unwrap();
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
