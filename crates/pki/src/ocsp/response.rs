//! OCSP answers (RFC 6960 4.2), signed by the issuer itself or by a responder it has certified.

use std::sync::Arc;

use time::OffsetDateTime;

use super::CertId;
use super::request::write_nonce;
use crate::asn1::{Writer, oid, tag};
use crate::certificate::Certificate;
use crate::key::{KeyError, SigningKey};
use crate::revocation::{Revocation, RevocationReason};
use crate::signed;
use crate::signer::Signer;

/// The state of one certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CertStatus {
    /// Issued and not revoked.
    Good,
    /// Revoked.
    Revoked(Revocation),
    /// Never issued.
    Unknown,
}

/// Signs answers. Clones share the key.
#[derive(Clone, Debug)]
pub struct Responder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    key: SigningKey,
    key_identifier: [u8; 20],
    /// Embedded in each answer, so that clients can verify it; the issuer's own is not needed.
    certificate: Option<Certificate>,
}

impl Responder {
    /// The issuer answers for itself.
    pub fn direct(issuer: &Signer) -> Self {
        Self::new(issuer.key().clone(), None)
    }

    /// A key that the issuer has certified for it answers.
    ///
    /// # Errors
    /// [`ResponderError`], each variant.
    pub fn delegated(
        certificate: Certificate,
        key: impl Into<SigningKey>,
    ) -> Result<Self, ResponderError> {
        let key = key.into();
        if certificate.spki_der() != key.public_key().spki_der() {
            return Err(ResponderError::KeyMismatch);
        }
        if !certificate.is_ocsp_signer() {
            return Err(ResponderError::NotAResponder);
        }
        Ok(Self::new(key, Some(certificate)))
    }

    /// Signs one answer about several certificates, as DER.
    ///
    /// # Errors
    /// [`KeyError::Provider`] if the crypto library fails.
    pub fn respond(
        &self,
        answers: &[(&CertId, CertStatus)],
        nonce: Option<&[u8]>,
        produced_at: OffsetDateTime,
        this_update: OffsetDateTime,
        next_update: OffsetDateTime,
    ) -> Result<Vec<u8>, KeyError> {
        let mut body = Writer::with_capacity(512);
        body.sequence(|data| {
            // ResponderID byKey: shorter than a name, and certain.
            data.nested(tag::context_constructed(2), |by_key| {
                by_key.element(tag::OCTET_STRING, &self.0.key_identifier);
            });
            data.generalized_time(produced_at);
            data.sequence(|list| {
                for (cert_id, status) in answers {
                    list.sequence(|answer| {
                        answer.raw(cert_id.as_der());
                        write_status(answer, status);
                        answer.generalized_time(this_update);
                        answer.nested(tag::context_constructed(0), |explicit| {
                            explicit.generalized_time(next_update);
                        });
                    });
                }
            });
            if let Some(nonce) = nonce {
                data.nested(tag::context_constructed(1), |explicit| {
                    explicit.sequence(|extensions| write_nonce(extensions, nonce));
                });
            }
        });
        let basic = signed::sign(&self.0.key, &body.finish(), |rest| {
            if let Some(certificate) = &self.0.certificate {
                rest.nested(tag::context_constructed(0), |explicit| {
                    explicit.sequence(|list| list.raw(certificate.der()));
                });
            }
        })?;
        let mut writer = Writer::with_capacity(basic.len() + 64);
        writer.sequence(|response| {
            response.element(tag::ENUMERATED, &[0]);
            response.nested(tag::context_constructed(0), |explicit| {
                explicit.sequence(|bytes| {
                    bytes.oid(&oid::OCSP_BASIC);
                    bytes.element(tag::OCTET_STRING, &basic);
                });
            });
        });
        Ok(writer.finish())
    }

    fn new(key: SigningKey, certificate: Option<Certificate>) -> Self {
        Self(Arc::new(Inner {
            key_identifier: key.public_key().key_identifier(),
            key,
            certificate,
        }))
    }
}

/// Why a certificate and a key do not make a responder.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResponderError {
    /// The certificate is for another key.
    #[error("the responder's certificate and key do not belong together")]
    KeyMismatch,
    /// The certificate does not allow signing OCSP answers.
    #[error("the certificate is not one of an OCSP responder")]
    NotAResponder,
}

/// The answer when there is none (RFC 6960 4.2.1): not signed, and valid for no certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OcspFailure {
    /// `internalError`: something went wrong here.
    InternalError,
    /// `malformedRequest`: the request could not be read.
    MalformedRequest,
    /// `sigRequired`: requests must be signed.
    SigRequired,
    /// `tryLater`: too busy now.
    TryLater,
    /// `unauthorized`: nothing is known here about that issuer.
    Unauthorized,
}

impl OcspFailure {
    /// The DER of the answer.
    pub fn to_der(self) -> Vec<u8> {
        let code = match self {
            Self::MalformedRequest => 1,
            Self::InternalError => 2,
            Self::TryLater => 3,
            Self::SigRequired => 5,
            Self::Unauthorized => 6,
        };
        let mut writer = Writer::with_capacity(5);
        writer.sequence(|response| response.element(tag::ENUMERATED, &[code]));
        writer.finish()
    }
}

fn write_status(answer: &mut Writer, status: &CertStatus) {
    match status {
        CertStatus::Good => answer.element(tag::context_primitive(0), &[]),
        CertStatus::Unknown => answer.element(tag::context_primitive(2), &[]),
        CertStatus::Revoked(Revocation { at, reason }) => {
            answer.nested(tag::context_constructed(1), |revoked| {
                revoked.generalized_time(*at);
                if *reason != RevocationReason::Unspecified {
                    revoked.nested(tag::context_constructed(0), |explicit| {
                        explicit.element(tag::ENUMERATED, &[reason.code()]);
                    });
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::testing;

    #[test]
    fn failures_have_their_codes() {
        assert_eq!(
            OcspFailure::MalformedRequest.to_der(),
            [0x30, 3, 0x0a, 1, 1]
        );
        assert_eq!(OcspFailure::InternalError.to_der(), [0x30, 3, 0x0a, 1, 2]);
        assert_eq!(OcspFailure::TryLater.to_der(), [0x30, 3, 0x0a, 1, 3]);
        assert_eq!(OcspFailure::SigRequired.to_der(), [0x30, 3, 0x0a, 1, 5]);
        assert_eq!(OcspFailure::Unauthorized.to_der(), [0x30, 3, 0x0a, 1, 6]);
    }

    #[test]
    fn only_a_certified_responder_may_answer_for_another() {
        let signer = testing::signer();
        assert_eq!(
            Responder::delegated(signer.certificate().clone(), signer.key().clone()).unwrap_err(),
            ResponderError::NotAResponder
        );
        let other = testing::authority(crate::KeyAlgorithm::P256);
        assert_eq!(
            Responder::delegated(signer.certificate().clone(), other.key().clone()).unwrap_err(),
            ResponderError::KeyMismatch
        );
    }
}
