//! Authorities and profiles for the unit tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::LazyLock;

use time::OffsetDateTime;
use time::macros::datetime;

use crate::issuance::{prepare, prepare_self_signed};
use crate::profile::{CaProfile, LeafProfile, Profile, Urls, Usages, Validity};
use crate::{
    Certificate, DistinguishedName, Identifier, KeyAlgorithm, PrivateKey, PublicKey, Serial,
    Signer, SubjectFields,
};

pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

/// A P-256 root that is made once.
pub(crate) fn signer() -> &'static Signer {
    static SIGNER: LazyLock<Signer> = LazyLock::new(|| authority(KeyAlgorithm::P256));
    &SIGNER
}

/// A new root.
pub(crate) fn authority(algorithm: KeyAlgorithm) -> Signer {
    let key = PrivateKey::generate(algorithm).unwrap();
    let profile = ca_profile("Test Root", key.public_key());
    let certificate = prepare_self_signed(profile, &serial(1), &key)
        .unwrap()
        .lint()
        .unwrap()
        .sign()
        .unwrap();
    Signer::new(certificate, key).unwrap()
}

pub(crate) fn issue(profile: impl Into<Profile>, issuer: &Signer) -> Certificate {
    prepare(profile, &serial(2), issuer)
        .unwrap()
        .lint()
        .unwrap()
        .sign()
        .unwrap()
}

pub(crate) fn ca_profile(common_name: &str, key: &PublicKey) -> CaProfile {
    CaProfile {
        subject: name(common_name),
        public_key: key.clone(),
        validity: days(3650),
        path_length: None,
        name_constraints: None,
        urls: Urls::default(),
    }
}

pub(crate) fn leaf_profile(hosts: &[&str], key: &PublicKey) -> LeafProfile {
    LeafProfile {
        subject: name("leaf"),
        identifiers: hosts
            .iter()
            .map(|host| Identifier::parse_host(host).unwrap())
            .collect(),
        public_key: key.clone(),
        validity: days(7),
        usages: Usages::default(),
        urls: Urls::default(),
    }
}

pub(crate) fn days(days: i64) -> Validity {
    Validity::new(NOW, NOW + time::Duration::days(days)).unwrap()
}

pub(crate) fn name(common_name: &str) -> DistinguishedName {
    DistinguishedName::from_fields(&SubjectFields {
        common_name: Some(common_name.to_owned()),
        ..SubjectFields::default()
    })
    .unwrap()
}

pub(crate) fn serial(number: u8) -> Serial {
    Serial::from_random([number; 16]).unwrap()
}

pub(crate) fn key() -> &'static PrivateKey {
    static KEY: LazyLock<PrivateKey> =
        LazyLock::new(|| PrivateKey::generate(KeyAlgorithm::P256).unwrap());
    &KEY
}
