//! Making the certificates of authorities, and the one way by which any certificate is signed:
//! prepare, lint, sign.

use std::time::Duration;

use pki::{
    CaProfile, Certificate, DistinguishedName, KeyError, PrivateKey, Profile, Serial, Signer,
    SubjectFields, Urls, Validity,
};
use store::{
    CaCertificateId, CaRole, Exportable, NewCaCertificate, NewCaKey, NewPrivateKey, PrivateKeyId,
};
use time::OffsetDateTime;

use crate::settings::{AuthorityTemplate, Tiers};
use crate::{Error, Surroundings};

/// Clocks of relying parties run a little late; what is signed now is valid since then.
pub(crate) const BACKDATING: Duration = Duration::from_secs(5 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ROOT_LIFETIME: Duration = Duration::from_secs(15 * 365 * 24 * 60 * 60);
const ISSUING_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The CA certificates and keys of a new authority, root first.
pub(crate) fn new_tiers(
    template: &AuthorityTemplate,
    public_url: &str,
    surroundings: &Surroundings,
    [root_serial, issuing_serial]: &[Serial; 2],
) -> Result<Vec<NewCaCertificate>, Error> {
    let now = surroundings.now();
    let key = PrivateKey::generate(template.key_algorithm).map_err(Error::signing)?;
    let subject = match template.tiers {
        Tiers::One => template.subject.clone(),
        Tiers::Two => named(&template.subject, "Root CA", &key),
    };
    let profile = CaProfile {
        subject: DistinguishedName::from_fields(&subject).map_err(Error::signing)?,
        public_key: key.public_key().clone(),
        validity: validity(now, ROOT_LIFETIME)?,
        path_length: None,
        name_constraints: None,
        urls: Urls::default(),
    };
    let root = pki::prepare_self_signed(profile, root_serial, &key)
        .map_err(Error::signing)?
        .lint()
        .map_err(Error::signing)?
        .sign()
        .map_err(Error::signing)?;
    let mut tiers = vec![new_ca_certificate(
        CaRole::Root,
        &root,
        key.clone(),
        surroundings,
    )];
    if template.tiers == Tiers::Two {
        let signer = Signer::new(root, key).map_err(Error::signing)?;
        let key = PrivateKey::generate(template.key_algorithm).map_err(Error::signing)?;
        let subject = named(&template.subject, "Issuing CA", &key);
        let profile = Profile::Authority(CaProfile {
            subject: DistinguishedName::from_fields(&subject).map_err(Error::signing)?,
            public_key: key.public_key().clone(),
            validity: validity(now, ISSUING_LIFETIME)?,
            path_length: Some(0),
            name_constraints: None,
            urls: urls_by_key_identifier(public_url, &hex_key_identifier(signer.certificate())),
        });
        let issuing = sign(profile, issuing_serial, &signer)?;
        tiers.push(new_ca_certificate(
            CaRole::Issuing,
            &issuing,
            key,
            surroundings,
        ));
    }
    Ok(tiers)
}

/// The subject of a tier: the template's CN, what the tier is, and the beginning of its key's
/// identifier.
fn named(template: &SubjectFields, tier: &str, key: &PrivateKey) -> SubjectFields {
    let [first, second, ..] = key.public_key().key_identifier();
    let common_name = template.common_name.as_deref().unwrap_or_default();
    let common_name = format!("{common_name} {tier} {first:02X}{second:02X}");
    SubjectFields {
        common_name: Some(common_name.trim().to_owned()),
        ..template.clone()
    }
}

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
    let now = surroundings.now();
    NewCaCertificate {
        id: CaCertificateId::from_time_and_random(now, surroundings.random()),
        role,
        certificate: certificate.der().to_vec(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        key: NewCaKey::Kept(new_key(key, surroundings)),
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
