//! Keys, authorities and profiles shared by the tests. RSA keys are slow to make: one per size.

use std::sync::LazyLock;

use pki::{
    CaProfile, Certificate, DistinguishedName, Identifier, KeyAlgorithm, LeafProfile, PrivateKey,
    Profile, PublicKey, Serial, Signer, SubjectFields, Urls, Usages, Validity,
};
use testbed::Workdir;
use time::{Duration, OffsetDateTime};

/// One key of every kind that can be generated, for authorities.
pub(crate) static AUTHORITY_KEYS: LazyLock<Vec<PrivateKey>> = LazyLock::new(|| {
    KeyAlgorithm::ALL
        .into_iter()
        .map(|algorithm| PrivateKey::generate(algorithm).unwrap())
        .collect()
});

/// One key of every kind, for leaves. Of RSA only the smallest size is made anew.
pub(crate) static LEAF_KEYS: LazyLock<Vec<PrivateKey>> = LazyLock::new(|| {
    AUTHORITY_KEYS
        .iter()
        .zip(KeyAlgorithm::ALL)
        .map(|(known, algorithm)| match algorithm {
            KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => known.clone(),
            _ => PrivateKey::generate(algorithm).unwrap(),
        })
        .collect()
});

pub(crate) fn authority_key(algorithm: KeyAlgorithm) -> PrivateKey {
    let at = KeyAlgorithm::ALL
        .iter()
        .position(|known| *known == algorithm);
    AUTHORITY_KEYS[at.unwrap()].clone()
}

/// The present, which `openssl verify` compares with.
#[expect(clippy::disallowed_methods, reason = "openssl looks at the real clock")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub(crate) fn validity(days: i64) -> Validity {
    Validity::new(now() - Duration::minutes(5), now() + Duration::days(days)).unwrap()
}

pub(crate) fn serial(number: u8) -> Serial {
    Serial::from_random([number; 16]).unwrap()
}

pub(crate) fn subject(common_name: &str) -> DistinguishedName {
    DistinguishedName::from_fields(&SubjectFields {
        common_name: Some(common_name.to_owned()),
        organization: Some("Müller, Söhne & \"Co\"".to_owned()),
        country: Some("DE".to_owned()),
        ..SubjectFields::default()
    })
    .unwrap()
}

pub(crate) fn hosts(names: &[&str]) -> Vec<Identifier> {
    names
        .iter()
        .map(|name| Identifier::parse_host(name).unwrap())
        .collect()
}

pub(crate) fn urls() -> Urls {
    Urls {
        ocsp: Some("http://pki.example/ocsp".to_owned()),
        ca_issuers: Some("http://pki.example/ca.cer".to_owned()),
        crl: Some("http://pki.example/crl".to_owned()),
    }
}

pub(crate) fn ca_profile(common_name: &str, key: &PublicKey) -> CaProfile {
    CaProfile {
        subject: subject(common_name),
        public_key: key.clone(),
        validity: validity(3650),
        path_length: None,
        name_constraints: None,
        urls: Urls::default(),
    }
}

pub(crate) fn leaf_profile(names: &[&str], key: &PublicKey) -> LeafProfile {
    LeafProfile {
        subject: subject("leaf.example"),
        identifiers: hosts(names),
        public_key: key.clone(),
        validity: validity(7),
        usages: Usages::default(),
        urls: urls(),
    }
}

pub(crate) fn root(key: &PrivateKey) -> Signer {
    let certificate =
        pki::prepare_self_signed(ca_profile("Root", key.public_key()), &serial(1), key)
            .unwrap()
            .lint()
            .unwrap()
            .sign()
            .unwrap();
    Signer::new(certificate, key.clone()).unwrap()
}

pub(crate) fn issue(profile: impl Into<Profile>, number: u8, issuer: &Signer) -> Certificate {
    pki::prepare(profile, &serial(number), issuer)
        .unwrap()
        .lint()
        .unwrap()
        .sign()
        .unwrap()
}

/// Writes a certificate as PEM and returns its path.
pub(crate) fn write(workdir: &Workdir, name: &str, certificate: &Certificate) -> String {
    workdir.write(name, certificate.to_pem())
}
