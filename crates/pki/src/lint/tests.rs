//! Every rule of the lint, broken once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::asn1::{ObjectIdentifier, Writer, tag};
use crate::issuance::{prepare, prepare_self_signed};
use crate::profile::{CaProfile, LeafProfile, NameConstraints, Profile, Subtree, Usages};
use crate::testing::{self, ca_profile, leaf_profile, serial, signer};
use crate::{DnsName, ResponderProfile, Serial, SubjectPart};

fn rule(profile: impl Into<Profile>, issuer: &Signer) -> Option<&'static str> {
    let prepared = prepare(profile, &serial(3), issuer).unwrap();
    prepared.lint().err().map(|error| error.rule)
}

pub(super) fn leaf() -> LeafProfile {
    leaf_profile(&["example.com"], testing::key().public_key())
}

pub(super) fn below(issuer: &Signer, change: impl FnOnce(&mut CaProfile)) -> Signer {
    let key = crate::PrivateKey::generate(crate::KeyAlgorithm::P256).unwrap();
    let mut profile = ca_profile("Below", key.public_key());
    change(&mut profile);
    Signer::new(testing::issue(profile, issuer), key).unwrap()
}

pub(super) fn responder() -> ResponderProfile {
    ResponderProfile {
        subject: testing::name("Responder"),
        public_key: testing::key().public_key().clone(),
        validity: testing::days(7),
    }
}

/// The bytes to sign of a good leaf.
pub(super) static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let linted = prepare(leaf(), &serial(3), signer())
        .unwrap()
        .lint()
        .unwrap();
    linted.to_be_signed().to_vec()
});

fn check_leaf(body: &[u8]) -> Result<(), LintError> {
    check(
        body,
        Kind::Leaf(Usages::default()),
        Issuer::Authority(signer()),
    )
}

/// The good leaf with the value of one extension changed in place.
pub(super) fn with_value(object: &ObjectIdentifier, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut body = BODY.clone();
    let view = TbsView::read(&BODY).unwrap();
    let value = extension::find(&view.extensions, object).unwrap().value;
    let at = body
        .windows(value.len())
        .position(|part| part == value)
        .unwrap();
    change(&mut body[at..at + value.len()]);
    body
}

pub(super) fn with_subject(values: &[(u8, &[u8])]) -> LeafProfile {
    let mut writer = Writer::new();
    writer.sequence(|name| {
        for (string_type, value) in values {
            name.nested(tag::SET, |relative| {
                relative.sequence(|attribute| {
                    attribute.oid(&oid::COMMON_NAME);
                    attribute.element(*string_type, value);
                });
            });
        }
    });
    LeafProfile {
        subject: DistinguishedName::from_der(&writer.finish()).unwrap(),
        ..leaf()
    }
}

#[test]
fn good_certificates_pass() {
    assert_eq!(rule(leaf(), signer()), None);
    assert_eq!(rule(responder(), signer()), None);
    assert_eq!(
        rule(ca_profile("Below", testing::key().public_key()), signer()),
        None
    );
    let no_subject = LeafProfile {
        subject: DistinguishedName::empty(),
        ..leaf()
    };
    assert_eq!(rule(no_subject, signer()), None);
    let no_names = LeafProfile {
        identifiers: vec![],
        ..leaf()
    };
    assert_eq!(rule(no_names, signer()), None);
}

#[test]
fn serials_must_conform() {
    for octets in [&[0][..], &[0x80; 20], &[1; 21]] {
        let serial = Serial::from_be_bytes(octets).unwrap();
        let error = prepare(leaf(), &serial, signer())
            .unwrap()
            .lint()
            .unwrap_err();
        assert_eq!(error.rule, "serial_number");
    }
}

#[test]
fn somebody_must_be_named() {
    let nobody = LeafProfile {
        subject: DistinguishedName::empty(),
        identifiers: vec![],
        ..leaf()
    };
    assert_eq!(rule(nobody, signer()), Some("subject_alt_name"));
    let responder = ResponderProfile {
        subject: DistinguishedName::empty(),
        ..responder()
    };
    assert_eq!(rule(responder, signer()), Some("subject"));
    let mut root = ca_profile("", testing::key().public_key());
    root.subject = DistinguishedName::empty();
    let prepared = prepare_self_signed(root, &serial(1), testing::key()).unwrap();
    assert_eq!(prepared.lint().unwrap_err().rule, "issuer");
}

#[test]
fn parts_of_the_subject_must_be_sound_text() {
    for values in [
        &[(tag::UTF8_STRING, &[b'a'; 65][..])][..],
        &[(tag::UTF8_STRING, b"a\0b")],
        &[(tag::UTF8_STRING, b"")],
        &[(tag::UTF8_STRING, &[0xff])],
        &[(tag::INTEGER, &[1])],
        &[(tag::UTF8_STRING, b"good"), (tag::UTF8_STRING, b"b\nad")],
    ] {
        assert_eq!(
            rule(with_subject(values), signer()),
            Some("subject"),
            "{values:?}"
        );
    }
    assert_eq!(
        rule(with_subject(&[(tag::BMP_STRING, &[0, b'a'])]), signer()),
        None
    );
}

#[test]
fn the_issuers_own_key_is_not_certified_again() {
    let profile = leaf_profile(&["example.com"], signer().key().public_key());
    assert_eq!(rule(profile, signer()), Some("public_key"));
}

#[test]
fn path_lengths_shrink() {
    let last = below(signer(), |profile| profile.path_length = Some(0));
    assert_eq!(rule(leaf(), &last), None);
    let authority = |path_length| {
        let mut profile = ca_profile("Deep", testing::key().public_key());
        profile.path_length = path_length;
        profile
    };
    assert_eq!(rule(authority(None), &last), Some("basic_constraints"));
    assert_eq!(rule(authority(Some(0)), &last), Some("basic_constraints"));
    let middle = below(signer(), |profile| profile.path_length = Some(1));
    assert_eq!(rule(authority(Some(0)), &middle), None);
    assert_eq!(rule(authority(Some(1)), &middle), Some("basic_constraints"));
}

#[test]
fn addresses_in_the_subject_are_names_to_constraints() {
    let host = |name: &str| vec![Subtree::EmailHost(DnsName::parse(name).unwrap())];
    let constrained = |permitted: Vec<Subtree>, excluded: Vec<Subtree>| {
        below(signer(), |profile| {
            profile.name_constraints = Some(NameConstraints {
                permitted,
                excluded,
            });
        })
    };
    let of = |emails: &[&str]| {
        let parts = emails.iter().map(|email| (SubjectPart::Email, *email));
        LeafProfile {
            subject: DistinguishedName::from_parts(parts).unwrap(),
            identifiers: vec![],
            ..leaf()
        }
    };
    let permitted = constrained(host("example.com"), vec![]);
    let excluded = constrained(vec![], host("example.com"));
    let of_hosts = constrained(
        vec![Subtree::Dns(DnsName::parse("a.test").unwrap())],
        vec![],
    );
    let refused = Some("name_constraints");
    for (emails, within, without) in [
        (&["me@Example.com"][..], None, refused),
        (&["me@example.org"], refused, None),
        (&["me@example.com", "me@a.example.com"], refused, refused),
        (&["nobody"], refused, refused),
    ] {
        assert_eq!(rule(of(emails), &permitted), within, "{emails:?}");
        assert_eq!(rule(of(emails), &excluded), without, "{emails:?}");
        assert_eq!(rule(of(emails), &of_hosts), None, "{emails:?}");
    }
    // An alternative name of the kind takes nothing away from the subject.
    let email = crate::EmailAddress::parse("me@example.com").unwrap();
    let both = LeafProfile {
        identifiers: vec![Identifier::Email(email)],
        ..of(&["me@example.org"])
    };
    assert_eq!(rule(both, &permitted), refused);
}

#[test]
fn names_outside_the_issuers_constraints_are_refused() {
    let constrained = below(signer(), |profile| {
        profile.name_constraints = Some(NameConstraints {
            permitted: vec![Subtree::Dns(DnsName::parse("example.com").unwrap())],
            excluded: vec![],
        });
    });
    assert_eq!(rule(leaf(), &constrained), None);
    let outside = leaf_profile(&["example.org"], testing::key().public_key());
    assert_eq!(rule(outside, &constrained), Some("name_constraints"));
}

#[test]
fn damaged_bytes_are_found() {
    assert_eq!(check_leaf(&BODY), Ok(()));
    let faults: [(Vec<u8>, &str); 6] = [
        (
            with_value(&oid::KEY_USAGE, |value| value[3] |= 0x04),
            "key_usage",
        ),
        (
            with_value(&oid::KEY_USAGE, |value| value[3] = 0x20),
            "key_usage",
        ),
        (
            with_value(&oid::EXTENDED_KEY_USAGE, |value| value[11] = 9),
            "extended_key_usage",
        ),
        (
            with_value(&oid::SUBJECT_KEY_IDENTIFIER, |value| value[5] ^= 1),
            "key_identifiers",
        ),
        (
            with_value(&oid::AUTHORITY_KEY_IDENTIFIER, |value| value[9] ^= 1),
            "key_identifiers",
        ),
        (
            with_value(&oid::SUBJECT_ALT_NAME, |value| value[5] = b' '),
            "subject_alt_name",
        ),
    ];
    for (body, rule) in faults {
        assert_eq!(check_leaf(&body).unwrap_err().rule, rule);
    }
    let mut version = BODY.clone();
    let at = version
        .windows(5)
        .position(|part| part == [0xa0, 3, 2, 1, 2])
        .unwrap();
    version[at + 4] = 1;
    assert_eq!(check_leaf(&version).unwrap_err().rule, "version");
    assert_eq!(check_leaf(&BODY[1..]).unwrap_err().rule, "structure");
}

#[test]
fn a_leaf_is_for_what_it_was_asked_for_and_nothing_else() {
    const ALL: [Usages; 3] = [Usages::Client, Usages::Server, Usages::ServerAndClient];
    for asked in ALL {
        let profile = LeafProfile {
            usages: asked,
            ..leaf()
        };
        let linted = prepare(profile, &serial(3), signer()).unwrap().lint();
        let body = linted.unwrap().to_be_signed().to_vec();
        for checked in ALL {
            let outcome = check(&body, Kind::Leaf(checked), Issuer::Authority(signer()));
            let rule = outcome.err().map(|error| error.rule);
            let expected = (asked != checked).then_some("extended_key_usage");
            assert_eq!(rule, expected, "{asked:?} as {checked:?}");
        }
    }
}

#[test]
fn a_certificate_for_another_issuer_is_found() {
    let other = testing::authority(crate::KeyAlgorithm::P384);
    let error = check(
        &BODY,
        Kind::Leaf(Usages::default()),
        Issuer::Authority(&other),
    )
    .unwrap_err();
    assert_eq!(error.rule, "signature_algorithm");
    let error = check(
        &BODY,
        Kind::Leaf(Usages::default()),
        Issuer::Itself(&testing::key().into()),
    )
    .unwrap_err();
    assert_eq!(error.rule, "issuer");
    let error = check(&BODY, Kind::Authority, Issuer::Authority(signer())).unwrap_err();
    assert_eq!(error.rule, "basic_constraints");
    let error = check(&BODY, Kind::Responder, Issuer::Authority(signer())).unwrap_err();
    assert_eq!(error.rule, "extended_key_usage");
}

proptest! {
    #[test]
    fn never_panics_on_damage(at: proptest::sample::Index, value: u8) {
        let mut body = BODY.clone();
        let at = at.index(body.len());
        body[at] = value;
        let _ = check_leaf(&body);
    }
}
