//! Who signs OCSP answers: the CA itself, or a responder that it has certified (RFC 6960 section
//! 4.2.2.2) where the libraries in the field cannot verify what such a CA signs, where a device would
//! have to be asked each time, or where the key of the CA is away.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use pki::{KeyAlgorithm, KeyKind, PrivateKey, Profile, Responder, ResponderProfile, SubjectFields};
use store::CaRole;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::accounts::HOUSE_ACCOUNT;
use crate::authorities::{Authorities, Authority, Tier};
use crate::labour::sign_off_the_reactor;
use crate::publication::is_younger;
use crate::{Error, ceremony, events};

/// Lifetime of a delegated responder's certificate; it is replaced at a third of it left.
const RESPONDER_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long a responder is kept after its end, for clocks that differ.
const ENDED: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a device is left alone that did not certify a responder.
const PAUSE: Duration = Duration::from_secs(60);

/// The responder of a tier, made on first use and replaced before its certificate ends.
#[derive(Default)]
pub(crate) struct ResponderSlot {
    current: RwLock<Option<CurrentResponder>>,
    /// One task at a time looks for another responder.
    looking: Arc<Mutex<()>>,
    /// When a device last did not certify one, and why.
    refused: RwLock<Option<(OffsetDateTime, String)>>,
}

#[derive(Clone)]
pub(crate) struct CurrentResponder {
    pub(crate) responder: Arc<Responder>,
    /// When the certificate ends that its answers are verified with.
    pub(crate) not_after: OffsetDateTime,
    /// When it may answer, if it has a certificate of its own. Another one should have taken over by
    /// the end of that.
    term: Option<Range<OffsetDateTime>>,
}

impl CurrentResponder {
    /// Whether it is the CA itself.
    pub(crate) fn is_direct(&self) -> bool {
        self.term.is_none()
    }

    fn is_in_term(&self, now: OffsetDateTime) -> bool {
        self.term.as_ref().is_none_or(|term| term.contains(&now))
    }

    /// Whether its answers can be verified, be it in its term or after that.
    fn can_answer(&self, now: OffsetDateTime) -> bool {
        let term = self.term.as_ref();
        term.is_none_or(|term| term.start <= now && now < self.not_after)
    }
}

impl ResponderSlot {
    /// What is known, if it is still good for something.
    fn at(&self, now: OffsetDateTime) -> Option<CurrentResponder> {
        // Each change is one assignment, so a panic elsewhere leaves nothing half done.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let current = current.as_ref();
        current.filter(|current| current.can_answer(now)).cloned()
    }

    fn set(&self, responder: CurrentResponder) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(responder);
    }

    /// Why the device is not asked again yet.
    fn refusal(&self, now: OffsetDateTime) -> Option<String> {
        let refused = self.refused.read().unwrap_or_else(PoisonError::into_inner);
        let (at, reason) = refused.as_ref()?;
        is_younger(*at, PAUSE, now).then(|| reason.clone())
    }

    fn refuse(&self, now: OffsetDateTime, reason: String) {
        let mut refused = self.refused.write().unwrap_or_else(PoisonError::into_inner);
        *refused = Some((now, reason));
    }
}

impl Authorities {
    /// Who answers for a tier now. Where a device certifies responders, nobody waits for it as long as
    /// there is one whose answers can be verified.
    pub(crate) async fn responder(
        &self,
        authority: &Arc<Authority>,
        tier: &Arc<Tier>,
        now: OffsetDateTime,
    ) -> Result<CurrentResponder, Error> {
        let slot = &tier.responder;
        let is_enough = |current: &CurrentResponder| current.is_in_term(now) || tier.is_outside();
        if let Some(current) = slot.at(now).filter(is_enough) {
            if !current.is_in_term(now) {
                self.replace_aside(authority, tier, now);
            }
            return Ok(current);
        }
        let alone = slot.looking.clone().lock_owned().await;
        if let Some(current) = slot.at(now).filter(is_enough) {
            return Ok(current);
        }
        let found = if is_widely_verified(tier.key_kind) && tier.has_key() {
            CurrentResponder {
                responder: Arc::new(Responder::direct(tier.signer()?)),
                not_after: tier.certificate().not_after(),
                term: None,
            }
        } else if tier.is_outside()
            && let Some(stored) = self.stored_delegate(authority, tier, now).await?
        {
            stored
        } else {
            self.delegate(authority, tier, now).await?
        };
        slot.set(found.clone());
        drop(alone);
        if !found.is_in_term(now) {
            self.replace_aside(authority, tier, now);
        }
        Ok(found)
    }

    /// Looks for another responder while the present one goes on, unless somebody does so, or a
    /// device has just refused.
    fn replace_aside(&self, authority: &Arc<Authority>, tier: &Arc<Tier>, now: OffsetDateTime) {
        let slot = &tier.responder;
        if slot.refusal(now).is_some() {
            return;
        }
        let Ok(alone) = slot.looking.clone().try_lock_owned() else {
            return;
        };
        let (authorities, authority, tier) = (self.clone(), authority.clone(), tier.clone());
        tokio::spawn(async move {
            let _alone = alone;
            let slot = &tier.responder;
            if slot.at(now).is_some_and(|current| current.is_in_term(now)) {
                return;
            }
            match authorities.delegate(&authority, &tier, now).await {
                Ok(found) => slot.set(found),
                Err(error) => tracing::warn!(
                    authority = authority.name,
                    error = &error as &dyn std::error::Error,
                    "could not replace an OCSP responder; the one before goes on until its end"
                ),
            }
        });
    }

    /// A P-256 responder with a certificate of the tier, in its term: the one in the store, or a new
    /// one. A device that has refused is left alone for a while.
    async fn delegate(
        &self,
        authority: &Authority,
        tier: &Tier,
        now: OffsetDateTime,
    ) -> Result<CurrentResponder, Error> {
        loop {
            let known = self.store.certified_responders(tier.id).await?;
            let stored = self.stored_delegate(authority, tier, now).await?;
            if let Some(found) = stored.filter(|stored| stored.is_in_term(now)) {
                return Ok(found);
            }
            if let Some(reason) = tier.responder.refusal(now) {
                return Err(Error::KeyUnavailable { reason });
            }
            // Another node may have been faster; then there is one in the store.
            match self.new_delegate(authority, tier, known, now).await {
                Ok(Some(made)) => return Ok(made),
                Ok(None) => {}
                Err(Error::KeyUnavailable { reason }) if tier.is_outside() => {
                    // As of when it refused: it may have taken its time.
                    let now = self.surroundings.now();
                    tier.responder.refuse(now, reason.clone());
                    return Err(Error::KeyUnavailable { reason });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What the store has: one in its term, else the one that ends last of those whose answers can be
    /// verified.
    async fn stored_delegate(
        &self,
        authority: &Authority,
        tier: &Tier,
        now: OffsetDateTime,
    ) -> Result<Option<CurrentResponder>, Error> {
        let issuer_key = tier.certificate().subject_key_identifier();
        let mut candidates = Vec::new();
        for stored in self.store.ca_certificates(authority.id).await? {
            let life = stored.not_before..stored.not_after;
            if stored.role != CaRole::Responder || !life.contains(&now) {
                continue;
            }
            let certificate =
                pki::Certificate::from_der(&stored.certificate).map_err(Error::signing)?;
            if certificate.authority_key_identifier() != issuer_key {
                continue;
            }
            // While the key is away, there will be no other one.
            let term = if tier.can_sign() {
                term(stored.not_before, stored.not_after)
            } else {
                life
            };
            let rank = (term.contains(&now), stored.not_after);
            candidates.push((rank, certificate, stored.private_key_id, term));
        }
        let best = candidates.into_iter().max_by_key(|(rank, ..)| *rank);
        let Some(((_, not_after), certificate, key, term)) = best else {
            return Ok(None);
        };
        let key = self.ca_key(key).await?;
        let responder = Responder::delegated(certificate, key).map_err(Error::signing)?;
        Ok(Some(CurrentResponder {
            responder: Arc::new(responder),
            not_after,
            term: Some(term),
        }))
    }

    /// A new responder, unless the tier has certified another one since it had certified `known`.
    async fn new_delegate(
        &self,
        authority: &Authority,
        tier: &Tier,
        known: u64,
        now: OffsetDateTime,
    ) -> Result<Option<CurrentResponder>, Error> {
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
        let (signer, serial) = (tier.signer()?.clone(), self.serial());
        let signing = move || ceremony::sign(profile, &serial, &signer);
        let certificate = if tier.is_slow() {
            let signed = sign_off_the_reactor(tier.is_outside(), signing).await;
            signed.map_err(Error::signing)??
        } else {
            signing()?
        };
        let not_after = certificate.not_after();
        let mut term = term(certificate.not_before(), not_after);
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
        let ended = now - ENDED;
        let issuer = (authority.id, tier.id);
        let added = self.store.add_responder(issuer, known, row, ended, event);
        if !added.await? {
            return Ok(None);
        }
        let responder = Responder::delegated(certificate, key).map_err(Error::signing)?;
        Ok(Some(CurrentResponder {
            responder: Arc::new(responder),
            not_after,
            term: Some(term),
        }))
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
