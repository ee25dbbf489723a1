//! Keys, requests and certificates to measure with, made on the spot.

use anyhow::Context as _;
use pki::{
    CaProfile, CertificateRequest, DistinguishedName, Identifier, KeyAlgorithm, LeafProfile,
    PrivateKey, Serial, Signer, SubjectFields, Urls, Validity,
};
use time::macros::datetime;

/// The name that the certificate with this number is for.
pub(crate) fn host(number: usize) -> String {
    format!("host-{number}.bench.example")
}

/// A DER certificate request for [`host`] with a new P-256 key.
///
/// # Errors
/// When the crypto library fails.
pub(crate) fn request(number: usize) -> anyhow::Result<Vec<u8>> {
    let key = PrivateKey::generate(KeyAlgorithm::P256)?;
    let host = host(number);
    let identifier = Identifier::parse_host(&host)?;
    Ok(CertificateRequest::build(
        &key,
        &name(&host)?,
        &[identifier],
    )?)
}

/// A self-signed certificate for [`host`] and its key, both PEM.
///
/// # Errors
/// When the crypto library fails.
pub(crate) fn self_signed(number: usize) -> anyhow::Result<(String, String)> {
    let key = PrivateKey::generate(KeyAlgorithm::P256)?;
    let host = host(number);
    let profile = LeafProfile {
        subject: name(&host)?,
        identifiers: vec![Identifier::parse_host(&host)?],
        public_key: key.public_key().clone(),
        validity: validity()?,
        urls: Urls::default(),
    };
    let serial = Serial::from_be_bytes(&(number as u64 + 1).to_be_bytes());
    let serial = serial.context("no serial number")?;
    let prepared = pki::prepare_self_signed(profile, &serial, &key)?;
    let certificate = prepared.lint()?.sign()?;
    Ok((certificate.to_pem(), key.to_pkcs8_pem().to_string()))
}

/// A P-256 authority.
///
/// # Errors
/// When the crypto library fails.
pub(crate) fn authority() -> anyhow::Result<Signer> {
    let key = PrivateKey::generate(KeyAlgorithm::P256)?;
    let profile = CaProfile {
        subject: name("Bench CA")?,
        public_key: key.public_key().clone(),
        validity: validity()?,
        path_length: None,
        name_constraints: None,
        urls: Urls::default(),
    };
    let serial = Serial::from_random([1; 16]).context("no serial number")?;
    let prepared = pki::prepare_self_signed(profile, &serial, &key)?;
    Ok(Signer::new(prepared.lint()?.sign()?, key)?)
}

/// Long enough to hold whenever this runs.
///
/// # Errors
/// Never: the dates are in order.
pub(crate) fn validity() -> anyhow::Result<Validity> {
    let (begin, end) = (
        datetime!(2025-01-01 0:00 UTC),
        datetime!(2049-01-01 0:00 UTC),
    );
    Ok(Validity::new(begin, end)?)
}

fn name(common_name: &str) -> anyhow::Result<DistinguishedName> {
    let fields = SubjectFields {
        common_name: Some(common_name.to_owned()),
        ..SubjectFields::default()
    };
    Ok(DistinguishedName::from_fields(&fields)?)
}
