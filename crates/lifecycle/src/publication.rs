//! What an authority publishes about the certificates it signed: OCSP answers (RFC 6960) and
//! revocation lists (RFC 5280 section 5).
//!
//! Revoking changes a row and a counter and nothing else; a list is rebuilt when somebody asks for
//! it and the counter has moved, or when it is a day old, by one task at a time.

use std::sync::Arc;
use std::time::Duration;

use pki::{
    CertId, CertStatus, KeyAlgorithm, KeyKind, OcspFailure, OcspRequest, PrivateKey, Profile,
    Responder, ResponderProfile, RevokedEntry, Serial, SubjectFields,
};
use store::{CaRole, PAGE_LIMIT};
use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::accounts::HOUSE_ACCOUNT;
use crate::authorities::{Authorities, Authority, Tier};
use crate::ceremony::{self, BACKDATING};
use crate::{Error, events};

/// How long a revocation list may be relied upon.
const LIST_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How old a list may get before it is signed anew without a revocation.
const LIST_RENEWAL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an OCSP answer may be relied upon.
const ANSWER_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Lifetime of a delegated responder's certificate; it is replaced at a third of it left.
const RESPONDER_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Revoked certificates read from the store at a time while a list is built.
const PAGE: usize = PAGE_LIMIT;

/// A revocation list as it was last built on this node.
#[derive(Debug, Clone)]
pub(crate) struct PublishedList {
    der: Arc<[u8]>,
    built_at: OffsetDateTime,
    revocations: u64,
}

/// The responder of a tier, made on first use and replaced before its certificate ends.
#[derive(Default)]
pub(crate) struct ResponderSlot(Mutex<Option<(Arc<Responder>, Option<OffsetDateTime>)>>);

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
        match self.answer_parsed(&request).await {
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

    /// The current revocation list of the CA certificate with this subject key identifier, DER.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a key identifier that is not ours.
    pub async fn revocation_list_by_key_identifier(
        &self,
        key_identifier: &str,
    ) -> Result<Arc<[u8]>, Error> {
        let (authority, tier) = self.tier_by_key_identifier(key_identifier).await?;
        self.list_of(&authority, &tier).await
    }

    /// The current revocation list of the leaves of `authority`, DER.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Signing`].
    pub async fn revocation_list(&self, authority: &Authority) -> Result<Arc<[u8]>, Error> {
        self.list_of(authority, &authority.issuing).await
    }

    async fn answer_parsed(&self, request: &OcspRequest) -> Result<OcspAnswer, Error> {
        let Some((authority, tier)) = self.issuer_of(request).await? else {
            return Ok(OcspAnswer::failure(OcspFailure::Unauthorized));
        };
        let mut answers = Vec::with_capacity(request.cert_ids.len());
        for cert_id in &request.cert_ids {
            let status = match cert_id.serial() {
                Some(serial) if cert_id.issued_by(tier.signer.issuer_hashes()) => {
                    self.status(&authority, &tier, serial).await?
                }
                _ => CertStatus::Unknown,
            };
            answers.push((cert_id, status));
        }
        let now = self.surroundings.now();
        let responder = self.responder(&authority, &tier, now).await?;
        let der = responder
            .respond(
                &answers,
                request.nonce.as_deref(),
                now,
                now - BACKDATING,
                now + ANSWER_LIFETIME,
            )
            .map_err(Error::signing)?;
        let definite = !answers
            .iter()
            .any(|(_, status)| matches!(status, CertStatus::Unknown));
        Ok(OcspAnswer {
            der,
            cacheable: definite && request.nonce.is_none(),
        })
    }

    /// The first CA of ours that the request names. One response has one signer.
    async fn issuer_of(
        &self,
        request: &OcspRequest,
    ) -> Result<Option<(Arc<Authority>, Arc<Tier>)>, Error> {
        let named = |tiers: Vec<(Arc<Authority>, Arc<Tier>)>| {
            tiers.into_iter().find(|(_, tier)| {
                let asks = |cert_id: &CertId| cert_id.issued_by(tier.signer.issuer_hashes());
                request.cert_ids.iter().any(asks)
            })
        };
        if let Some(found) = named(self.open_tiers().await) {
            return Ok(Some(found));
        }
        // Made by another node, or not used since this one started.
        self.all().await?;
        Ok(named(self.open_tiers().await))
    }

    async fn status(
        &self,
        authority: &Authority,
        tier: &Tier,
        serial: &Serial,
    ) -> Result<CertStatus, Error> {
        if tier.id != authority.issuing.id {
            // The root of two tiers signed exactly one certificate.
            let is_issuing = authority.issuing_certificate().serial() == serial;
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
        if let Some((responder, renew_at)) = slot.as_ref()
            && renew_at.is_none_or(|at| now < at)
        {
            return Ok(responder.clone());
        }
        let made = if is_widely_verified(tier.key_kind) {
            (Arc::new(Responder::direct(&tier.signer)), None)
        } else {
            let (responder, renew_at) = self.delegate(authority, tier, now).await?;
            (Arc::new(responder), Some(renew_at))
        };
        *slot = Some(made.clone());
        Ok(made.0)
    }

    /// A P-256 responder with a certificate of the tier: the one in the store, or a new one.
    async fn delegate(
        &self,
        authority: &Authority,
        tier: &Tier,
        now: OffsetDateTime,
    ) -> Result<(Responder, OffsetDateTime), Error> {
        let renewal = |not_after: OffsetDateTime| not_after - RESPONDER_LIFETIME / 3;
        let issuer_key = tier.certificate().subject_key_identifier();
        for stored in self.store.ca_certificates(authority.id).await? {
            if stored.role != CaRole::Responder || renewal(stored.not_after) <= now {
                continue;
            }
            let certificate =
                pki::Certificate::from_der(&stored.certificate).map_err(Error::signing)?;
            if certificate.authority_key_identifier() == issuer_key {
                let key = self.ca_key(stored.private_key_id).await?;
                let responder = Responder::delegated(certificate, key).map_err(Error::signing)?;
                return Ok((responder, renewal(stored.not_after)));
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
        let certificate = ceremony::sign(profile, &self.serial(), &tier.signer)?;
        let not_after = certificate.not_after();
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
        Ok((responder, renewal(not_after)))
    }

    async fn list_of(&self, authority: &Authority, tier: &Tier) -> Result<Arc<[u8]>, Error> {
        let mut list = tier.list.lock().await;
        let now = self.surroundings.now();
        let row = self.store.authority(&authority.name).await?;
        let revocations = row.map_or(0, |row| row.revocations);
        if let Some(list) = list.as_ref()
            && list.revocations == revocations
            && now - list.built_at < LIST_RENEWAL
        {
            return Ok(list.der.clone());
        }
        let entries = if tier.id == authority.issuing.id {
            self.revoked_entries(authority, now).await?
        } else {
            Vec::new()
        };
        let number = self.store.next_crl_number(tier.id).await?;
        let der = pki::crl::build(
            &tier.signer,
            number,
            now - BACKDATING,
            now + LIST_LIFETIME,
            entries,
            None,
        )
        .map_err(Error::signing)?;
        let der: Arc<[u8]> = der.into();
        *list = Some(PublishedList {
            der: der.clone(),
            built_at: now,
            revocations,
        });
        Ok(der)
    }

    async fn revoked_entries(
        &self,
        authority: &Authority,
        now: OffsetDateTime,
    ) -> Result<Vec<RevokedEntry>, Error> {
        let mut entries = Vec::new();
        let mut after = None;
        loop {
            let page = self
                .store
                .revoked_page(authority.id, after, PAGE, now)
                .await?;
            let full = page.len() >= PAGE;
            after = page.last().map(|row| row.id);
            for row in page {
                let serial = Serial::from_be_bytes(&row.serial)
                    .ok_or_else(|| Error::signing("a recorded serial number is not one"))?;
                entries.push(RevokedEntry {
                    serial,
                    at: row.revocation.at,
                    reason: row.revocation.reason,
                });
            }
            if !full {
                return Ok(entries);
            }
        }
    }
}

/// Whether the OCSP libraries in the field verify answers signed with such a key. Ed25519 is not
/// among what they know.
fn is_widely_verified(algorithm: KeyKind) -> bool {
    algorithm != KeyKind::Ed25519
}
