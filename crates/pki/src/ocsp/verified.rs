//! Reading OCSP answers of other people's responders (RFC 6960 4.2), for stapling: only an answer
//! that a client would believe is worth handing on.

use time::OffsetDateTime;

use super::CertId;
use crate::asn1::{Element, Malformed, Reader, oid, parse_time, single, tag};
use crate::certificate::Certificate;
use crate::extension;
use crate::key::PublicKey;
use crate::signed::Signed;

/// The longest answer that is read, in octets.
pub const MAX_ANSWER: usize = 64 * 1024;
/// The most certificates that an answer may embed or tell about.
const MAX_ENTRIES: usize = 16;
/// `successful` (RFC 6960 4.2.1).
const SUCCESSFUL: u8 = 0;

/// What a believable answer says of the certificate that was asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VerifiedAnswer {
    /// Whether it says "good", and not "revoked" or "unknown".
    pub is_good: bool,
    /// From when on this is known.
    pub this_update: OffsetDateTime,
    /// By when there will be something newer. `None` if the responder always has something newer.
    pub next_update: Option<OffsetDateTime>,
}

impl VerifiedAnswer {
    /// Reads an answer, and believes it if `issuer` signed it, or a responder that `issuer` has
    /// certified and whose certificate is embedded and valid at `now` (RFC 6960 4.2.2.2).
    ///
    /// # Errors
    /// [`VerifiedAnswerError`].
    pub fn read(
        der: &[u8],
        question: &CertId,
        issuer: &Certificate,
        now: OffsetDateTime,
    ) -> Result<Self, VerifiedAnswerError> {
        const WHAT: &str = "the basic answer";
        if der.len() > MAX_ANSWER {
            return Err(VerifiedAnswerError::TooLong);
        }
        let basic = single(successful(der)?, tag::SEQUENCE, WHAT)?;
        let mut reader = basic.reader();
        let signed = Signed::read(&mut reader, WHAT)?;
        let embedded = reader.optional(tag::context_constructed(0), WHAT)?;
        reader.finish(WHAT)?;
        let embedded = match embedded {
            Some(embedded) => embedded_certificates(&embedded)?,
            None => Vec::new(),
        };
        if !is_believable(&signed, &embedded, issuer, now) {
            return Err(VerifiedAnswerError::NotBelievable);
        }
        let answer = find(&signed.body, question)?.ok_or(VerifiedAnswerError::AboutAnother)?;
        if answer.this_update > now || answer.next_update.is_some_and(|next| next <= now) {
            return Err(VerifiedAnswerError::OutOfDate);
        }
        Ok(answer)
    }
}

/// Why an answer is of no use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerifiedAnswerError {
    /// It does not tell about the certificate that was asked about.
    #[error("the OCSP answer is about other certificates")]
    AboutAnother,
    /// The responder refused; the code is that of RFC 6960 4.2.1.
    #[error("the OCSP responder refused with code {0}")]
    Failure(u8),
    /// It is not DER, or not an answer; the text says which part.
    #[error("the OCSP answer is malformed: {0}")]
    Malformed(&'static str),
    /// Neither the issuer nor a responder of its choice signed it.
    #[error("the OCSP answer is not signed by the issuer or a responder that it has certified")]
    NotBelievable,
    /// It is not yet, or no longer, in force.
    #[error("the OCSP answer is not in force now")]
    OutOfDate,
    /// It has more than [`MAX_ANSWER`] octets.
    #[error("the OCSP answer is longer than {MAX_ANSWER} octets")]
    TooLong,
}

impl From<Malformed> for VerifiedAnswerError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

/// The DER of the BasicOCSPResponse inside a successful OCSPResponse.
fn successful(der: &[u8]) -> Result<&[u8], VerifiedAnswerError> {
    const WHAT: &str = "the answer";
    let mut outer = single(der, tag::SEQUENCE, WHAT)?.reader();
    let status = outer.expect(tag::ENUMERATED, "the status")?;
    let status = status.small_integer("the status")?;
    let bytes = outer.optional(tag::context_constructed(0), WHAT)?;
    outer.finish(WHAT)?;
    if status != SUCCESSFUL {
        return Err(VerifiedAnswerError::Failure(status));
    }
    let bytes = bytes.ok_or(Malformed(WHAT))?;
    let mut typed = single(bytes.contents, tag::SEQUENCE, WHAT)?.reader();
    let kind = typed.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents;
    let basic = typed.expect(tag::OCTET_STRING, WHAT)?.contents;
    typed.finish(WHAT)?;
    if kind != oid::OCSP_BASIC.as_bytes() {
        return Err(VerifiedAnswerError::Malformed("the kind of the answer"));
    }
    Ok(basic)
}

fn embedded_certificates(explicit: &Element<'_>) -> Result<Vec<Certificate>, Malformed> {
    const WHAT: &str = "the embedded certificates";
    let mut list = single(explicit.contents, tag::SEQUENCE, WHAT)?.reader();
    let mut certificates = Vec::new();
    while !list.is_empty() {
        if certificates.len() == MAX_ENTRIES {
            return Err(Malformed(WHAT));
        }
        let element = list.expect(tag::SEQUENCE, WHAT)?;
        certificates.push(Certificate::from_der(element.encoded).map_err(|_| Malformed(WHAT))?);
    }
    Ok(certificates)
}

fn is_believable(
    signed: &Signed<'_>,
    embedded: &[Certificate],
    issuer: &Certificate,
    now: OffsetDateTime,
) -> bool {
    let Ok(issuer_key) = issuer.public_key() else {
        return false;
    };
    let is_signed_by = |key: &PublicKey| signed.is_signed_by(key) == Some(true);
    let is_delegate = |certificate: &Certificate| {
        certificate.is_ocsp_signer()
            && certificate.issuer() == issuer.subject()
            && certificate.not_before() <= now
            && now <= certificate.not_after()
            && certificate.verify_signature_by(&issuer_key)
            && certificate.public_key().is_ok_and(|key| is_signed_by(&key))
    };
    is_signed_by(&issuer_key) || embedded.iter().any(is_delegate)
}

/// The part of a ResponseData that is about `question`.
fn find(body: &Element<'_>, question: &CertId) -> Result<Option<VerifiedAnswer>, Malformed> {
    const WHAT: &str = "the signed part of the answer";
    let mut data = body.reader();
    data.optional(tag::context_constructed(0), "the version")?;
    // ResponderID, byName or byKey: whose key signed is found out by verifying.
    data.element("the responder")?;
    data.expect(tag::GENERALIZED_TIME, "the time of the answer")?;
    let mut list = data.sequence(WHAT)?;
    if let Some(extensions) = data.optional(tag::context_constructed(1), WHAT)? {
        refuse_critical(&extensions)?;
    }
    data.finish(WHAT)?;
    let mut count = 0;
    while !list.is_empty() {
        count += 1;
        if count > MAX_ENTRIES {
            return Err(Malformed("the answer tells about too many certificates"));
        }
        let mut entry = list.sequence(WHAT)?;
        let cert_id = CertId::read(&entry.element(WHAT)?)?;
        let answer = entry_after_id(&mut entry)?;
        if cert_id.names_the_same(question) {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

/// What follows the CertID in a SingleResponse.
fn entry_after_id(entry: &mut Reader<'_>) -> Result<VerifiedAnswer, Malformed> {
    const WHAT: &str = "what the answer says of a certificate";
    let status = entry.element(WHAT)?;
    let is_good = status.tag == tag::context_primitive(0);
    let this_update = parse_time(&entry.expect(tag::GENERALIZED_TIME, WHAT)?, WHAT)?;
    let next_update = match entry.optional(tag::context_constructed(0), WHAT)? {
        Some(explicit) => {
            let time = single(explicit.contents, tag::GENERALIZED_TIME, WHAT)?;
            Some(parse_time(&time, WHAT)?)
        }
        None => None,
    };
    if let Some(extensions) = entry.optional(tag::context_constructed(1), WHAT)? {
        refuse_critical(&extensions)?;
    }
    if !entry.is_empty() {
        return Err(Malformed(WHAT));
    }
    Ok(VerifiedAnswer {
        is_good,
        this_update,
        next_update,
    })
}

/// An extension that must be understood is one that clients may not understand either.
fn refuse_critical(explicit: &Element<'_>) -> Result<(), Malformed> {
    const WHAT: &str = "the extensions of the answer";
    let mut reader = explicit.reader();
    let extensions = extension::read_all(&mut reader, WHAT)?;
    reader.finish(WHAT)?;
    if extensions.iter().any(|extension| extension.critical) {
        return Err(Malformed("an extension of the answer is critical"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::ocsp::{CertStatus, HashAlgorithm, IssuerHashes, OcspFailure, Responder};
    use crate::revocation::{Revocation, RevocationReason};
    use crate::serial::Serial;
    use crate::testing;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

    struct Scene {
        issuer: Certificate,
        question: CertId,
        responder: Responder,
    }

    fn scene() -> Scene {
        let signer = testing::signer();
        let issuer = signer.certificate().clone();
        let serial = Serial::from_random([7; 16]).unwrap();
        Scene {
            question: CertId::new(HashAlgorithm::Sha1, &IssuerHashes::of(&issuer), &serial),
            responder: Responder::direct(signer),
            issuer,
        }
    }

    fn answer(scene: &Scene, status: CertStatus) -> Vec<u8> {
        let answers = [(&scene.question, status)];
        let (this, next) = (NOW - Duration::HOUR, NOW + Duration::HOUR);
        let answer = scene.responder.respond(&answers, None, this, this, next);
        answer.unwrap()
    }

    #[test]
    fn what_the_issuer_signed_is_believed() {
        let scene = scene();
        let revoked = CertStatus::Revoked(Revocation {
            at: NOW - Duration::DAY,
            reason: RevocationReason::KeyCompromise,
        });
        for (status, is_good) in [
            (CertStatus::Good, true),
            (CertStatus::Unknown, false),
            (revoked, false),
        ] {
            let der = answer(&scene, status);
            let read = VerifiedAnswer::read(&der, &scene.question, &scene.issuer, NOW).unwrap();
            assert_eq!(read.is_good, is_good);
            assert_eq!(read.next_update, Some(NOW + Duration::HOUR));
        }
    }

    #[test]
    fn what_another_signed_is_not_believed() {
        let scene = scene();
        let other = testing::authority(crate::KeyAlgorithm::P256);
        let forged = Scene {
            responder: Responder::direct(&other),
            issuer: scene.issuer.clone(),
            question: scene.question.clone(),
        };
        let der = answer(&forged, CertStatus::Good);
        let read = VerifiedAnswer::read(&der, &scene.question, &scene.issuer, NOW);
        assert_eq!(read, Err(VerifiedAnswerError::NotBelievable));
    }

    #[test]
    fn an_answer_out_of_its_time_or_about_another_certificate_is_of_no_use() {
        let scene = scene();
        let der = answer(&scene, CertStatus::Good);
        let at = |now| VerifiedAnswer::read(&der, &scene.question, &scene.issuer, now);
        assert_eq!(at(NOW - Duration::DAY), Err(VerifiedAnswerError::OutOfDate));
        assert_eq!(
            at(NOW + Duration::HOUR),
            Err(VerifiedAnswerError::OutOfDate)
        );
        let serial = Serial::from_random([8; 16]).unwrap();
        let hashes = IssuerHashes::of(&scene.issuer);
        let another = CertId::new(HashAlgorithm::Sha1, &hashes, &serial);
        let read = VerifiedAnswer::read(&der, &another, &scene.issuer, NOW);
        assert_eq!(read, Err(VerifiedAnswerError::AboutAnother));
    }

    #[test]
    fn a_refusal_tells_its_code() {
        let scene = scene();
        let der = OcspFailure::TryLater.to_der();
        let read = VerifiedAnswer::read(&der, &scene.question, &scene.issuer, NOW);
        assert_eq!(read, Err(VerifiedAnswerError::Failure(3)));
    }

    proptest! {
        #[test]
        fn an_answer_that_was_tampered_with_is_refused(place in any::<prop::sample::Index>(), bit in 0_u32..8) {
            let scene = scene();
            let mut der = answer(&scene, CertStatus::Good);
            let index = place.index(der.len());
            der[index] ^= 1 << bit;
            prop_assert!(VerifiedAnswer::read(&der, &scene.question, &scene.issuer, NOW).is_err());
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let scene = scene();
            prop_assert!(VerifiedAnswer::read(&bytes, &scene.question, &scene.issuer, NOW).is_err());
        }
    }
}
