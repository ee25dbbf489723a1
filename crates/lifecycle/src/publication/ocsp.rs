//! OCSP answers (RFC 6960).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pki::{
    CertId, CertStatus, HashAlgorithm, KeyAlgorithm, KeyKind, OcspFailure, OcspRequest, PrivateKey,
    Profile, Responder, ResponderProfile, Serial, SubjectFields,
};
use store::CaRole;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::accounts::HOUSE_ACCOUNT;
use crate::authorities::{Authorities, Authority, Tier};
use crate::ceremony::{self, BACKDATING};
use crate::routing::Staple;
use crate::{Error, events};

/// How long an OCSP answer may be relied upon.
const ANSWER_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Lifetime of a delegated responder's certificate; it is replaced at a third of it left.
const RESPONDER_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The responder of a tier, made on first use and replaced before its certificate ends.
#[derive(Default)]
pub(crate) struct ResponderSlot(Mutex<Option<CurrentResponder>>);

#[derive(Clone)]
struct CurrentResponder {
    responder: Arc<Responder>,
    /// When it may answer, if it has a certificate of its own.
    term: Option<Range<OffsetDateTime>>,
}

/// An answer for the wire.
#[derive(Debug, Clone)]
pub struct OcspAnswer {
    /// The DER of an `OCSPResponse`.
    pub der: Vec<u8>,
    /// Whether the same question may be answered with it again for a while: it says something
    /// definite and holds no nonce.
    pub cacheable: bool,
}

impl OcspAnswer {
    fn failure(failure: OcspFailure) -> Self {
        Self {
            der: failure.to_der(),
            cacheable: false,
        }
    }
}

impl Authorities {
    /// Answers an OCSP request about certificates of any authority of this server. There is always
    /// an answer; faults are answers too (RFC 6960 section 2.3).
    pub async fn answer_ocsp(&self, request: &[u8]) -> OcspAnswer {
        let Ok(request) = OcspRequest::from_der(request) else {
            return OcspAnswer::failure(OcspFailure::MalformedRequest);
        };
        match self.answer_parsed(request).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "OCSP answer failed"
                );
                OcspAnswer::failure(OcspFailure::InternalError)
            }
        }
    }

    async fn answer_parsed(&self, request: OcspRequest) -> Result<OcspAnswer, Error> {
        let Some((authority, tier)) = self.issuer_of(&request).await? else {
            return Ok(OcspAnswer::failure(OcspFailure::Unauthorized));
        };
        let mut statuses = Vec::with_capacity(request.cert_ids.len());
        for cert_id in &request.cert_ids {
            statuses.push(match cert_id.serial() {
                Some(serial) if cert_id.issued_by(tier.issuer_hashes()) => {
                    self.status(&authority, &tier, serial).await?
                }
                _ => CertStatus::Unknown,
            });
        }
        let is_definite = !statuses
            .iter()
            .any(|status| matches!(status, CertStatus::Unknown));
        let cacheable = is_definite && request.nonce.is_none();
        let now = self.surroundings.now();
        let signed = self.sign(&authority, &tier, request, statuses, now).await?;
        Ok(match signed {
            Some(der) => OcspAnswer { der, cacheable },
            None => OcspAnswer::failure(OcspFailure::TryLater),
        })
    }

    /// The proof that the certificate with this serial number is good, for servers to send along
    /// with it (RFC 6066 section 8). The caller knows that `tier` of `authority` issued it, and that
    /// it was neither revoked nor has expired. `None` when too many wait for signatures.
    pub(crate) async fn staple(
        &self,
        authority: &Authority,
        tier: &Tier,
        serial: &Serial,
    ) -> Result<Option<Staple>, Error> {
        // Of the hashes, clients know this one best (RFC 5019 section 2.1.1).
        let hashes = tier.issuer_hashes();
        let request = OcspRequest {
            cert_ids: vec![CertId::new(HashAlgorithm::Sha1, hashes, serial)],
            nonce: None,
        };
        let now = self.surroundings.now();
        let signed = self.sign(authority, tier, request, vec![CertStatus::Good], now);
        Ok(signed.await?.map(|response| Staple {
            response,
            produced_at: now,
            next_update: now + ANSWER_LIFETIME,
        }))
    }

    /// The signed answer to `request`; `None` when too many wait for signatures.
    async fn sign(
        &self,
        authority: &Authority,
        tier: &Tier,
        request: OcspRequest,
        statuses: Vec<CertStatus>,
        now: OffsetDateTime,
    ) -> Result<Option<Vec<u8>>, Error> {
        let responder = self.responder(authority, tier, now).await?;
        let respond = move || {
            let answers: Vec<_> = request.cert_ids.iter().zip(statuses).collect();
            responder.respond(
                &answers,
                request.nonce.as_deref(),
                now,
                now - BACKDATING,
                now + ANSWER_LIFETIME,
            )
        };
        let signed = if tier.is_slow() {
            self.slow_signatures.sign(respond).await?
        } else {
            Some(respond())
        };
        signed.transpose().map_err(Error::signing)
    }

    /// A CA of ours that the request names. One response has one signer.
    async fn issuer_of(
        &self,
        request: &OcspRequest,
    ) -> Result<Option<(Arc<Authority>, Arc<Tier>)>, Error> {
        self.tier(|tier| {
            let asks = |cert_id: &CertId| cert_id.issued_by(tier.issuer_hashes());
            request.cert_ids.iter().any(asks)
        })
        .await
    }

    async fn status(
        &self,
        authority: &Authority,
        tier: &Tier,
        serial: &Serial,
    ) -> Result<CertStatus, Error> {
        if !tier.signs_leaves {
            // Besides, the root of two tiers signs only responders, which nobody has to check.
            let is_issuing = authority.has_ca_certificate(serial);
            return Ok(if is_issuing {
                CertStatus::Good
            } else {
                CertStatus::Unknown
            });
        }
        let issued = self
            .store
            .issued_version(authority.id, serial.as_be_bytes())
            .await?;
        Ok(match issued {
            None => CertStatus::Unknown,
            Some(issued) => match issued.revocation {
                Some(revocation) => CertStatus::Revoked(revocation),
                None => CertStatus::Good,
            },
        })
    }

    async fn responder(
        &self,
        authority: &Authority,
        tier: &Tier,
        now: OffsetDateTime,
    ) -> Result<Arc<Responder>, Error> {
        let mut slot = tier.responder.0.lock().await;
        if let Some(current) = slot.as_ref()
            && current.term.as_ref().is_none_or(|term| term.contains(&now))
        {
            return Ok(current.responder.clone());
        }
        let made = if is_widely_verified(tier.key_kind) && tier.can_sign() {
            CurrentResponder {
                responder: Arc::new(Responder::direct(tier.signer()?)),
                term: None,
            }
        } else {
            self.delegate(authority, tier, now).await?
        };
        *slot = Some(made.clone());
        Ok(made.responder)
    }

    /// A P-256 responder with a certificate of the tier: the one in the store, or a new one.
    async fn delegate(
        &self,
        authority: &Authority,
        tier: &Tier,
        now: OffsetDateTime,
    ) -> Result<CurrentResponder, Error> {
        let issuer_key = tier.certificate().subject_key_identifier();
        for stored in self.store.ca_certificates(authority.id).await? {
            let term = term(stored.not_before, stored.not_after);
            if stored.role != CaRole::Responder || !term.contains(&now) {
                continue;
            }
            let certificate =
                pki::Certificate::from_der(&stored.certificate).map_err(Error::signing)?;
            if certificate.authority_key_identifier() == issuer_key {
                let key = self.ca_key(stored.private_key_id).await?;
                let responder = Responder::delegated(certificate, key).map_err(Error::signing)?;
                return Ok(CurrentResponder {
                    responder: Arc::new(responder),
                    term: Some(term),
                });
            }
        }
        let key = PrivateKey::generate(KeyAlgorithm::P256).map_err(Error::signing)?;
        let subject = SubjectFields {
            common_name: Some(format!("{} OCSP responder", authority.name)),
            ..SubjectFields::default()
        };
        let profile = Profile::Responder(ResponderProfile {
            subject: pki::DistinguishedName::from_fields(&subject).map_err(Error::signing)?,
            public_key: key.public_key().clone(),
            validity: ceremony::validity(now, RESPONDER_LIFETIME)?,
        });
        let certificate = ceremony::sign(profile, &self.serial(), tier.signer()?)?;
        let mut term = term(certificate.not_before(), certificate.not_after());
        // No certificate begins before its issuer's. If the clock was set back to before that, the
        // next question must not make another one.
        term.start = term.start.min(now);
        let row = ceremony::new_ca_certificate(
            CaRole::Responder,
            &certificate,
            key.clone(),
            &self.surroundings,
        );
        let event = events::of(
            &self.surroundings,
            HOUSE_ACCOUNT,
            None,
            events::RESPONDER_RENEWED,
            Some(authority.id.as_uuid()),
            &authority.name,
        );
        self.store
            .add_ca_certificate(authority.id, row, event)
            .await?;
        let responder = Responder::delegated(certificate, key).map_err(Error::signing)?;
        Ok(CurrentResponder {
            responder: Arc::new(responder),
            term: Some(term),
        })
    }
}

/// When a responder answers with a certificate of that validity. Another one takes over when a
/// third is left: of this certificate's life, which is shorter than others when its issuer's ends.
fn term(not_before: OffsetDateTime, not_after: OffsetDateTime) -> Range<OffsetDateTime> {
    not_before..not_after - (not_after - not_before) / 3
}

/// Whether the OCSP libraries in the field verify answers signed with such a key. Ed25519 is not
/// among what they know.
fn is_widely_verified(key_kind: KeyKind) -> bool {
    key_kind != KeyKind::Ed25519
}
