//! OCSP answers (RFC 6960).
//!
//! The usual question, about one certificate and without a nonce, is answered with what was signed
//! for it before, for most of the time that a client may rely on it. An answer is found by the bytes of
//! its question, before anything else is looked at. Whether it still holds is asked of
//! [`Hearing`](super::hearing::Hearing); a node that may not have heard of all revocations asks the store
//! instead, and signs only when the store says something else than before.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use pki::{CertId, CertStatus, HashAlgorithm, OcspFailure, OcspRequest, Serial};
use time::OffsetDateTime;

use super::memory::{KeptAnswer, Known};
use crate::Error;
use crate::authorities::{Authorities, Authority, Tier};
use crate::ceremony::{self, BACKDATING};
use crate::routing::Staple;

/// How long an OCSP answer may be relied upon.
const ANSWER_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The share of its lifetime for which an answer is given again: after that, whoever keeps it for
/// long should have a later one.
const REPEATED: (u32, u32) = (3, 4);
/// Answers of shorter lifetimes are not given again: caches keep them for minutes.
const LEAST_REPEATED: Duration = Duration::from_secs(60 * 60);
/// How often an answer that no longer holds is taken away before one is made for this question
/// alone.
const ATTEMPTS: u32 = 3;

/// An answer for the wire.
#[derive(Debug, Clone)]
pub struct OcspAnswer {
    /// The DER of an `OCSPResponse`.
    pub der: Bytes,
    /// Whether the same question may be answered with it again for a while, and until when: it
    /// says something definite and holds no nonce.
    pub repeatable: Option<Repeatable>,
}

/// What caches want to know of an answer (RFC 5019 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeatable {
    /// Since when its answer is known to be right.
    pub this_update: OffsetDateTime,
    /// Up to when it may be relied upon.
    pub next_update: OffsetDateTime,
    /// Different for answers of different bytes.
    pub tag: u64,
}

impl OcspAnswer {
    fn failure(failure: OcspFailure) -> Self {
        Self {
            der: failure.to_der().into(),
            repeatable: None,
        }
    }
}

/// A question that can be read, about certificates of ours.
struct Question<'a> {
    authority: &'a Arc<Authority>,
    tier: &'a Arc<Tier>,
    request: OcspRequest,
}

impl Question<'_> {
    /// Whether it is one that clients ask again in the same bytes: about one certificate, without
    /// anything that only some clients send. So nobody can have the same answer kept in many copies.
    fn is_usual(&self, der: &[u8]) -> bool {
        self.request.nonce.is_none()
            && self.request.cert_ids.len() == 1
            && self.request.to_der() == der
    }
}

impl Authorities {
    /// Answers an OCSP request about certificates of any authority of this server. There is always
    /// an answer; faults are answers too (RFC 6960 section 2.3).
    pub async fn answer_ocsp(&self, request: &[u8]) -> OcspAnswer {
        if let Some(answer) = self.memory.answer(request, self.surroundings.now()) {
            return answer;
        }
        let Ok(parsed) = OcspRequest::from_der(request) else {
            return OcspAnswer::failure(OcspFailure::MalformedRequest);
        };
        match self.answer_parsed(request, parsed).await {
            Ok(answer) => answer,
            // The key is away, or in a device that is: nothing that an asker should fill the log
            // with.
            Err(Error::KeyUnavailable { .. }) => OcspAnswer::failure(OcspFailure::TryLater),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "OCSP answer failed"
                );
                OcspAnswer::failure(OcspFailure::InternalError)
            }
        }
    }

    async fn answer_parsed(&self, der: &[u8], request: OcspRequest) -> Result<OcspAnswer, Error> {
        let Some((authority, tier)) = self.issuer_of(&request).await? else {
            return Ok(OcspAnswer::failure(OcspFailure::Unauthorized));
        };
        let question = Question {
            authority: &authority,
            tier: &tier,
            request,
        };
        if question.is_usual(der) {
            for _ in 0..ATTEMPTS {
                if let Some(answer) = self.kept_answer(der, &question).await? {
                    return Ok(answer);
                }
            }
        }
        let known = self.known(&question).await?;
        Ok(match self.signed_answer(&question, &known).await? {
            Some((answer, _)) => answer,
            None => OcspAnswer::failure(OcspFailure::TryLater),
        })
    }

    /// The answer that is kept for a usual question, or a new one. Of those who ask at the same
    /// time, one has it signed and the others wait. `None` if what was kept does not hold.
    async fn kept_answer(
        &self,
        der: &[u8],
        question: &Question<'_>,
    ) -> Result<Option<OcspAnswer>, Error> {
        let guard = match self.memory.answers.get_value_or_guard_async(der).await {
            Ok(kept) => {
                if self.still_holds(&kept, question).await? {
                    return Ok(Some(kept.answer.clone()));
                }
                let is_same = |other: &Arc<KeptAnswer>| Arc::ptr_eq(other, &kept);
                self.memory.answers.remove_if(der, is_same);
                return Ok(None);
            }
            Err(guard) => guard,
        };
        let known = self.known(question).await?;
        let Some((answer, term)) = self.signed_answer(question, &known).await? else {
            return Ok(Some(OcspAnswer::failure(OcspFailure::TryLater)));
        };
        if let ([known], Some(_)) = (&*known, answer.repeatable) {
            let kept = KeptAnswer {
                answer: answer.clone(),
                known: *known,
                term,
            };
            // Somebody took the place away meanwhile: then it is not kept.
            let _ = guard.insert(Arc::new(kept));
        }
        Ok(Some(answer))
    }

    /// Whether an answer is in its term, and true: as far as this node has heard, if it has heard
    /// of everything, or else as the store says.
    async fn still_holds(&self, kept: &KeptAnswer, question: &Question<'_>) -> Result<bool, Error> {
        if !self.memory.holds(kept, self.surroundings.now()) {
            return Ok(false);
        }
        if self.memory.hearing.is_fresh() {
            return Ok(true);
        }
        let known = self.known(question).await?;
        Ok(matches!(&*known, [known] if known.status == kept.known.status))
    }

    /// The proof that the certificate with this serial number is good, for servers to send along
    /// with it (RFC 6066 section 8). The caller knows that `tier` of `authority` issued it, and that
    /// it was neither revoked nor has expired. `None` when too many wait for signatures.
    pub(crate) async fn staple(
        &self,
        authority: &Arc<Authority>,
        tier: &Arc<Tier>,
        serial: &Serial,
    ) -> Result<Option<Staple>, Error> {
        // Of the hashes, clients know this one best (RFC 5019 section 2.1.1).
        let hashes = tier.issuer_hashes();
        let question = Question {
            request: OcspRequest {
                cert_ids: vec![CertId::new(HashAlgorithm::Sha1, hashes, serial)],
                nonce: None,
            },
            authority,
            tier,
        };
        let now = self.surroundings.now();
        let signed = self.sign(&question, vec![CertStatus::Good], now).await?;
        Ok(signed.map(|(response, next_update)| Staple {
            response,
            produced_at: now,
            next_update,
        }))
    }

    /// The answer to a question about what is known, and when it may be given again; `None` when too
    /// many wait for signatures.
    async fn signed_answer(
        &self,
        question: &Question<'_>,
        known: &[Known],
    ) -> Result<Option<(OcspAnswer, Range<OffsetDateTime>)>, Error> {
        let statuses: Vec<CertStatus> = known.iter().map(|known| known.status).collect();
        let is_definite = !statuses
            .iter()
            .any(|status| matches!(status, CertStatus::Unknown));
        let now = self.surroundings.now();
        let Some((der, next_update)) = self.sign(question, statuses, now).await? else {
            return Ok(None);
        };
        let may_be_kept = question.request.nonce.is_none() && next_update - now >= LEAST_REPEATED;
        let repeatable = (is_definite && may_be_kept).then(|| Repeatable {
            this_update: now - BACKDATING,
            next_update,
            tag: tag(&der),
        });
        let (repeated, of) = REPEATED;
        let term = now..now + (next_update - now) * repeated / of;
        let der = der.into();
        Ok(Some((OcspAnswer { der, repeatable }, term)))
    }

    /// The signed answer to a question, and up to when it may be relied upon; `None` when too many
    /// wait for signatures.
    async fn sign(
        &self,
        question: &Question<'_>,
        statuses: Vec<CertStatus>,
        now: OffsetDateTime,
    ) -> Result<Option<(Vec<u8>, OffsetDateTime)>, Error> {
        let Question {
            authority,
            tier,
            request,
        } = question;
        let current = self.responder(authority, tier, now).await?;
        let next_update = next_update(now, current.not_after);
        // A delegated responder signs with P-256, and here.
        let is_slow = tier.is_slow() && current.is_direct();
        let respond = move |request: &OcspRequest| {
            let answers: Vec<_> = request.cert_ids.iter().zip(statuses).collect();
            current.responder.respond(
                &answers,
                request.nonce.as_deref(),
                now,
                now - BACKDATING,
                next_update,
            )
        };
        let signed = if is_slow {
            let request = request.clone();
            let respond = move || respond(&request);
            self.slow_signatures.sign(respond).await?
        } else {
            Some(respond(request))
        };
        let der = signed.transpose().map_err(ceremony::unsigned)?;
        Ok(der.map(|der| (der, next_update)))
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

    /// What is known of each certificate of a question.
    async fn known(&self, question: &Question<'_>) -> Result<Vec<Known>, Error> {
        let Question {
            authority,
            tier,
            request,
        } = question;
        let mut known = Vec::with_capacity(request.cert_ids.len());
        for cert_id in &request.cert_ids {
            known.push(match cert_id.serial() {
                Some(serial) if cert_id.issued_by(tier.issuer_hashes()) => {
                    self.known_of(authority, tier, serial).await?
                }
                _ => self.irrevocable(CertStatus::Unknown),
            });
        }
        Ok(known)
    }

    async fn known_of(
        &self,
        authority: &Authority,
        tier: &Tier,
        serial: &Serial,
    ) -> Result<Known, Error> {
        if !tier.signs_leaves {
            // Besides, the root of two tiers signs only responders, which nobody has to check.
            let status = if authority.has_ca_certificate(serial) {
                CertStatus::Good
            } else {
                CertStatus::Unknown
            };
            return Ok(self.irrevocable(status));
        }
        if let Some(known) = self.memory.status(tier.id, serial) {
            return Ok(known);
        }
        let since = self.memory.hearing.moment();
        let issued = self
            .store
            .issued_version(authority.id, serial.as_be_bytes())
            .await?;
        // Anybody can ask about numbers that were never given, and no end of them. What another tier
        // signed is nothing that this one could speak for.
        let subject = tier.certificate().subject().to_string();
        let Some(issued) = issued.filter(|issued| issued.issuer == subject) else {
            return Ok(self.irrevocable(CertStatus::Unknown));
        };
        let known = Known {
            status: issued
                .revocation
                .map_or(CertStatus::Good, CertStatus::Revoked),
            certificate: Some(issued.certificate_id),
            since,
        };
        self.memory.keep_status(tier.id, serial, known);
        Ok(known)
    }

    fn irrevocable(&self, status: CertStatus) -> Known {
        Known {
            status,
            certificate: None,
            since: self.memory.hearing.moment(),
        }
    }
}

/// Up to when an answer of `now` may be relied upon: no longer than the certificate of its signer
/// can be verified, as long as that one can.
fn next_update(now: OffsetDateTime, signer_ends: OffsetDateTime) -> OffsetDateTime {
    let usual = now + ANSWER_LIFETIME;
    if now < signer_ends {
        usual.min(signer_ends)
    } else {
        usual
    }
}

/// What tells answers of different bytes apart.
fn tag(der: &[u8]) -> u64 {
    let digest = digest(&SHA256, der);
    let first = digest.as_ref().first_chunk().copied();
    u64::from_be_bytes(first.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_relies_on_an_answer_for_longer_than_on_its_signer() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let hour = Duration::from_secs(60 * 60);
        assert_eq!(next_update(now, now + 48 * hour), now + 24 * hour);
        assert_eq!(next_update(now, now + hour), now + hour);
        // It ends after it begins in any case.
        assert_eq!(next_update(now, now), now + 24 * hour);
        assert_eq!(next_update(now, now - hour), now + 24 * hour);
    }
}
