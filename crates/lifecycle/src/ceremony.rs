//! The one way by which any certificate is signed: prepare, lint, sign; and what goes with it.

use std::time::Duration;

use pki::{
    Certificate, KeyError, LeafProfile, PrivateKey, Profile, Serial, Signer, Urls, Validity,
};
use store::{
    CaCertificateId, CaRole, Exportable, NewCaCertificate, NewCaKey, NewPrivateKey, PrivateKeyId,
};
use time::OffsetDateTime;

use crate::{Error, Surroundings};

/// Clocks of relying parties run a little late; what is signed now is valid since then.
pub(crate) const BACKDATING: Duration = Duration::from_secs(5 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Prepare, lint, sign: the only way by which a certificate comes to be. What preparing and linting
/// refuse is the fault of what was asked for.
pub(crate) fn sign(
    profile: Profile,
    serial: &Serial,
    signer: &Signer,
) -> Result<Certificate, Error> {
    pki::prepare(profile, serial, signer)
        .map_err(|error| Error::invalid("certificate", error.to_string()))?
        .lint()
        .map_err(|error| Error::invalid("certificate", error.to_string()))?
        .sign()
        .map_err(unsigned)
}

/// The same for a leaf that signs itself.
pub(crate) fn sign_itself(
    profile: LeafProfile,
    serial: &Serial,
    key: &PrivateKey,
) -> Result<Certificate, Error> {
    pki::prepare_self_signed(profile, serial, key)
        .map_err(|error| Error::invalid("certificate", error.to_string()))?
        .lint()
        .map_err(|error| Error::invalid("certificate", error.to_string()))?
        .sign()
        .map_err(unsigned)
}

/// What it means that a key did not sign.
pub(crate) fn unsigned(error: KeyError) -> Error {
    match error {
        KeyError::Outside(_) => Error::KeyUnavailable {
            reason: error.to_string(),
        },
        error => Error::signing(error),
    }
}

pub(crate) fn new_ca_certificate(
    role: CaRole,
    certificate: &Certificate,
    key: PrivateKey,
    surroundings: &Surroundings,
) -> NewCaCertificate {
    let key = NewCaKey::Kept(new_key(key, surroundings));
    new_member(role, certificate, key, surroundings)
}

/// A CA certificate of an authority that is to be recorded, wherever its key is.
pub(crate) fn new_member(
    role: CaRole,
    certificate: &Certificate,
    key: NewCaKey,
    surroundings: &Surroundings,
) -> NewCaCertificate {
    let now = surroundings.now();
    NewCaCertificate {
        id: CaCertificateId::from_time_and_random(now, surroundings.random()),
        role,
        certificate: certificate.der().to_vec(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        key,
        superiors: None,
        crl_number: 0,
    }
}

/// A key of an authority that is to be kept in the store.
pub(crate) fn new_key(key: PrivateKey, surroundings: &Surroundings) -> NewPrivateKey {
    NewPrivateKey {
        id: PrivateKeyId::from_time_and_random(surroundings.now(), surroundings.random()),
        key,
        exportable: Exportable::Never,
    }
}

/// A fresh random serial number: 127 bits, the low 64 of them not zero.
pub(crate) fn serial(surroundings: &Surroundings) -> Serial {
    loop {
        if let Some(serial) = Serial::from_random(surroundings.random()) {
            return serial;
        }
    }
}

/// From a little before `now` for `lifetime`.
pub(crate) fn validity(now: OffsetDateTime, lifetime: Duration) -> Result<Validity, Error> {
    Validity::new(now - BACKDATING, now + lifetime).map_err(Error::signing)
}

/// `days` as a duration.
pub(crate) fn days(days: u32) -> Duration {
    DAY * days
}

pub(crate) fn urls_by_key_identifier(public_url: &str, key_identifier: &str) -> Urls {
    Urls {
        ocsp: Some(format!("{public_url}/ocsp")),
        ca_issuers: Some(format!("{public_url}/ca/{key_identifier}.cer")),
        crl: Some(format!("{public_url}/ca/{key_identifier}.crl")),
    }
}

pub(crate) fn hex_key_identifier(certificate: &Certificate) -> String {
    let identifier = certificate.subject_key_identifier().unwrap_or_default();
    identifier
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
