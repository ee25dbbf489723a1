//! Whether a certificate that another CA has signed makes a tier that signs as all of ours do. That is
//! looked at before it is recorded: an authority whose tier cannot sign issues nothing.

use pki::{
    Certificate, DistinguishedName, KeyAlgorithm, LeafProfile, PrivateKey, Profile, Signer,
    SigningKey, SubjectFields, Urls,
};
use time::OffsetDateTime;

use crate::ceremony::{days, serial, validity};
use crate::{Error, Surroundings};

/// Sees whether certificate and key make a tier below `above` whose leaves and lists are as all of
/// ours are. Nothing is signed.
///
/// # Errors
/// [`Error::Invalid`] with what is in the way.
pub(super) fn check_signer(
    certificate: &Certificate,
    key: impl Into<SigningKey>,
    above: &[Certificate],
    surroundings: &Surroundings,
) -> Result<(), Error> {
    if !certificate.may_sign_lists() {
        let reason = "the certificate does not allow signing revocation lists";
        return Err(Error::invalid("chain", reason));
    }
    let signer = Signer::below(certificate.clone(), key, above)
        .map_err(|error| Error::invalid("chain", error.to_string()))?;
    try_leaf(&signer, surroundings)
}

/// The certificates above `certificate` out of `given`, its issuer first. Every signature is
/// verified, and that every one of them may sign the next: validity, CA, key usage, path length, and name
/// constraints that can be obeyed.
pub(super) fn path_above(
    certificate: &Certificate,
    given: &[Certificate],
    now: OffsetDateTime,
) -> Result<Vec<Certificate>, Error> {
    let wrong = |one: &Certificate, what: &str| {
        Error::invalid(
            "chain",
            format!("the certificate of '{}' {what}", one.subject()),
        )
    };
    let mut above: Vec<Certificate> = Vec::new();
    loop {
        let last = above.last().unwrap_or(certificate);
        if !last.is_ca() {
            return Err(wrong(last, "is not one of a CA"));
        }
        if !last.may_sign_certificates() {
            return Err(wrong(last, "does not allow signing certificates"));
        }
        if now < last.not_before() || last.not_after() < now {
            return Err(wrong(last, "is not valid now"));
        }
        let below = u8::try_from(above.len()).unwrap_or(u8::MAX);
        if last.path_length().is_some_and(|most| most < below) {
            return Err(wrong(last, "does not allow that many CAs below"));
        }
        if last.subject_key_identifier().is_none() {
            return Err(wrong(last, "has no subject key identifier"));
        }
        if last.understood_name_constraints().is_none() {
            return Err(wrong(
                last,
                "has name constraints of a kind that is not supported",
            ));
        }
        let key = last
            .public_key()
            .map_err(|error| wrong(last, &format!("has a key that is not supported: {error}")))?;
        if last.is_self_issued() && last.verify_signature_by(&key) {
            return Ok(above);
        }
        let issuer = given.iter().find(|candidate| {
            candidate.subject() == last.issuer()
                && candidate.der() != last.der()
                && candidate
                    .public_key()
                    .is_ok_and(|key| last.verify_signature_by(&key))
        });
        match issuer {
            Some(issuer) if !above.contains(issuer) => above.push(issuer.clone()),
            // Who relies on it has the root, and it is left out at times.
            _ if !above.is_empty() => return Ok(above),
            _ => {
                let issuer = last.issuer();
                return Err(wrong(
                    last,
                    &format!("is not signed by any of the others; add that of '{issuer}'"),
                ));
            }
        }
    }
}

/// Sees whether a leaf of this authority would be one as all of ours are. It is not signed.
fn try_leaf(signer: &Signer, surroundings: &Surroundings) -> Result<(), Error> {
    let key = PrivateKey::generate(KeyAlgorithm::P256).map_err(Error::signing)?;
    let subject = SubjectFields {
        common_name: Some("trial".to_owned()),
        ..SubjectFields::default()
    };
    let profile = Profile::Leaf(LeafProfile {
        subject: DistinguishedName::from_fields(&subject).map_err(Error::signing)?,
        identifiers: Vec::new(),
        public_key: key.public_key().clone(),
        usages: pki::Usages::default(),
        validity: validity(surroundings.now(), days(1))?,
        urls: Urls::default(),
    });
    let unfit = |reason: String| {
        let reason = format!("the CA could not sign certificates as they are made here: {reason}");
        Error::invalid("chain", reason)
    };
    pki::prepare(profile, &serial(surroundings), signer)
        .map_err(|error| unfit(error.to_string()))?
        .lint()
        .map_err(|error| unfit(error.to_string()))?;
    Ok(())
}
