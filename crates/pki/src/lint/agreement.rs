//! The lint beside pkilint, over the same certificates. Where the two disagree is a list here, with the
//! reason, so that a new disagreement is seen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use testbed::pkilint::{Severity, lint_certificate};

use super::tests::{BODY, below, leaf, responder, with_subject, with_value};
use super::*;
use crate::asn1::{Writer, tag};
use crate::issuance::prepare;
use crate::profile::{CaProfile, LeafProfile, NameConstraints, Profile, Subtree};
use crate::testing::{self, ca_profile, leaf_profile, serial, signer};
use crate::{DnsName, Serial};

/// What the lint refuses and pkilint has nothing against, and why the lint is right for us.
const REFUSED_HERE_ONLY: &[(&str, &str)] = &[
    (
        "neither subject nor name",
        "RFC 5280 section 4.1.2.6: it would certify nothing",
    ),
    (
        "authority without subject",
        "RFC 5280 section 4.1.2.6: what it signs could not name its issuer",
    ),
    (
        "control character",
        "allowed by X.520, but a trap for whoever shows it",
    ),
    ("the issuer's own key", "to be seen beside its issuer only"),
    (
        "authority below a path length of 0",
        "to be seen beside its issuer only",
    ),
    (
        "name outside the issuer's constraints",
        "to be seen beside its issuer only",
    ),
    (
        "unknown purpose",
        "allowed by RFC 5280, but not asked of this authority",
    ),
    (
        "another subject key identifier",
        "RFC 5280 section 4.2.1.2 leaves the method open; ours is the first one",
    ),
    (
        "another authority key identifier",
        "to be seen beside its issuer only",
    ),
];

/// A certificate about to be signed.
struct Case {
    name: &'static str,
    body: Vec<u8>,
    kind: Kind,
    issuer: Signer,
}

impl Case {
    fn of(name: &'static str, profile: impl Into<Profile>, kind: Kind, issuer: &Signer) -> Self {
        Self::with_serial(name, profile, kind, issuer, &serial(3))
    }

    fn with_serial(
        name: &'static str,
        profile: impl Into<Profile>,
        kind: Kind,
        issuer: &Signer,
        serial: &Serial,
    ) -> Self {
        let prepared = prepare(profile, serial, issuer).unwrap();
        Self::of_body(name, prepared.body().to_vec(), kind, issuer)
    }

    fn of_body(name: &'static str, body: Vec<u8>, kind: Kind, issuer: &Signer) -> Self {
        Self {
            name,
            body,
            kind,
            issuer: issuer.clone(),
        }
    }

    /// The rule that the lint sees broken.
    fn broken(&self) -> Option<&'static str> {
        let outcome = check(&self.body, self.kind, Issuer::Authority(&self.issuer));
        outcome.err().map(|error| error.rule)
    }

    /// What pkilint calls an error in it.
    fn errors(&self) -> Vec<String> {
        let findings = lint_certificate(&self.certificate());
        let errors = findings
            .iter()
            .filter(|found| found.severity <= Severity::Error);
        errors.map(ToString::to_string).collect()
    }

    /// The certificate with a signature that is none; neither of the two looks at it.
    fn certificate(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.sequence(|certificate| {
            certificate.raw(&self.body);
            certificate.raw(self.issuer.key().algorithm().signature_algorithm().to_der());
            certificate.bit_string(&[0x30, 6, 2, 1, 1, 2, 1, 1]);
        });
        writer.finish()
    }
}

const LEAF: Kind = Kind::Leaf(Usages::ServerAndClient);

fn sound() -> Vec<Case> {
    let key = testing::key().public_key();
    let constrained = below(signer(), |profile| {
        profile.name_constraints = Some(NameConstraints {
            permitted: vec![Subtree::Dns(DnsName::parse("example.com").unwrap())],
            excluded: vec![],
        });
    });
    let mut authority = ca_profile("Below", key);
    authority.name_constraints = Some(NameConstraints {
        permitted: vec![Subtree::Dns(DnsName::parse("example.com").unwrap())],
        excluded: vec![Subtree::Dns(DnsName::parse("secret.example.com").unwrap())],
    });
    vec![
        Case::of("leaf", leaf(), LEAF, signer()),
        Case::of("leaf below constraints", leaf(), LEAF, &constrained),
        Case::of("responder", responder(), Kind::Responder, signer()),
        Case::of("authority", authority, Kind::Authority, signer()),
        Case::of(
            "leaf without subject",
            LeafProfile {
                subject: DistinguishedName::empty(),
                ..leaf()
            },
            LEAF,
            signer(),
        ),
    ]
}

fn flawed() -> Vec<Case> {
    let key = testing::key().public_key();
    let other_serial = |name, octets: &[u8]| {
        let serial = Serial::from_be_bytes(octets).unwrap();
        Case::with_serial(name, leaf(), LEAF, signer(), &serial)
    };
    let subject = |name, string_type, value: &[u8]| {
        let profile = with_subject(&[(string_type, value)]);
        Case::of(name, profile, LEAF, signer())
    };
    let damaged = |name, object, change: fn(&mut [u8])| {
        Case::of_body(name, with_value(object, change), LEAF, signer())
    };
    let last = below(signer(), |profile| profile.path_length = Some(0));
    let constrained = below(signer(), |profile| {
        profile.name_constraints = Some(NameConstraints {
            permitted: vec![Subtree::Dns(DnsName::parse("example.com").unwrap())],
            excluded: vec![],
        });
    });
    let mut early_version = BODY.clone();
    let version = [0xa0, 3, 2, 1, 2];
    let at = early_version.windows(5).position(|part| part == version);
    early_version[at.unwrap() + 4] = 1;
    let own_key = signer().key().public_key();
    vec![
        other_serial("serial 0", &[0]),
        other_serial("serial of 21 octets", &[1; 21]),
        Case::of(
            "neither subject nor name",
            LeafProfile {
                subject: DistinguishedName::empty(),
                identifiers: vec![],
                ..leaf()
            },
            LEAF,
            signer(),
        ),
        Case::of(
            "authority without subject",
            CaProfile {
                subject: DistinguishedName::empty(),
                ..ca_profile("", key)
            },
            Kind::Authority,
            signer(),
        ),
        subject(
            "common name of 65 characters",
            tag::UTF8_STRING,
            &[b'a'; 65],
        ),
        subject("control character", tag::UTF8_STRING, b"a\0b"),
        subject("empty common name", tag::UTF8_STRING, b""),
        subject("common name that is not UTF-8", tag::UTF8_STRING, &[0xff]),
        subject("common name that is a number", tag::INTEGER, &[1]),
        Case::of(
            "the issuer's own key",
            leaf_profile(&["example.com"], own_key),
            LEAF,
            signer(),
        ),
        Case::of(
            "authority below a path length of 0",
            ca_profile("Deep", key),
            Kind::Authority,
            &last,
        ),
        Case::of(
            "name outside the issuer's constraints",
            leaf_profile(&["example.org"], key),
            LEAF,
            &constrained,
        ),
        damaged(
            "leaf that may sign certificates",
            &oid::KEY_USAGE,
            |value| {
                value[3] |= 0x04;
            },
        ),
        damaged(
            "key encipherment with an EC key",
            &oid::KEY_USAGE,
            |value| {
                value[3] = 0x20;
            },
        ),
        damaged("unknown purpose", &oid::EXTENDED_KEY_USAGE, |value| {
            value[11] = 9;
        }),
        damaged(
            "another subject key identifier",
            &oid::SUBJECT_KEY_IDENTIFIER,
            |value| {
                value[5] ^= 1;
            },
        ),
        damaged(
            "another authority key identifier",
            &oid::AUTHORITY_KEY_IDENTIFIER,
            |value| {
                value[9] ^= 1;
            },
        ),
        damaged("blank in a name", &oid::SUBJECT_ALT_NAME, |value| {
            value[5] = b' ';
        }),
        Case::of_body("version 2", early_version, LEAF, signer()),
    ]
}

#[test]
fn pkilint_has_nothing_against_what_the_lint_lets_pass() {
    for case in sound() {
        assert_eq!(case.broken(), None, "{}", case.name);
        assert_eq!(case.errors(), [""; 0], "{}", case.name);
    }
}

#[test]
fn what_the_lint_refuses_pkilint_refuses_too_but_for_a_list() {
    let mut alone = Vec::new();
    for case in flawed() {
        assert!(case.broken().is_some(), "{}", case.name);
        if case.errors().is_empty() {
            alone.push(case.name);
        }
    }
    let known: Vec<&str> = REFUSED_HERE_ONLY.iter().map(|(name, _)| *name).collect();
    assert_eq!(alone, known);
}
