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
use crate::{Error, ceremony, events, off_the_reactor};

/// Lifetime of a delegated responder's certificate; it is replaced at a third of it left.
const RESPONDER_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long a responder is kept after its end, for clocks that differ.
const ENDED: Duration = Duration::from_secs(24 * 60 * 60);

/// The responder of a tier, made on first use and replaced before its certificate ends.
#[derive(Default)]
pub(crate) struct ResponderSlot {
    current: RwLock<Option<CurrentResponder>>,
    /// One task at a time looks for another responder.
    looking: Mutex<()>,
}

#[derive(Clone)]
pub(crate) struct CurrentResponder {
    pub(crate) responder: Arc<Responder>,
    /// When the certificate ends that its answers are verified with.
    pub(crate) not_after: OffsetDateTime,
    /// When it may answer, if it has a certificate of its own.
    term: Option<Range<OffsetDateTime>>,
}

impl ResponderSlot {
    fn at(&self, now: OffsetDateTime) -> Option<CurrentResponder> {
        // Each change is one assignment, so a panic elsewhere leaves nothing half done.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let is_in_term = |current: &&CurrentResponder| {
            current.term.as_ref().is_none_or(|term| term.contains(&now))
        };
        current.as_ref().filter(is_in_term).cloned()
    }

    fn set(&self, responder: CurrentResponder) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(responder);
    }
}

impl Authorities {
    /// Who answers for a tier now.
    pub(crate) async fn responder(
        &self,
        authority: &Authority,
        tier: &Tier,
        now: OffsetDateTime,
    ) -> Result<CurrentResponder, Error> {
        if let Some(current) = tier.responder.at(now) {
            return Ok(current);
        }
        let _alone = tier.responder.looking.lock().await;
        if let Some(current) = tier.responder.at(now) {
            return Ok(current);
        }
        let found = if is_widely_verified(tier.key_kind) && tier.has_key() {
            CurrentResponder {
                responder: Arc::new(Responder::direct(tier.signer()?)),
                not_after: tier.certificate().not_after(),
                term: None,
            }
        } else {
            self.delegate(authority, tier, now).await?
        };
        tier.responder.set(found.clone());
        Ok(found)
    }

    /// A P-256 responder with a certificate of the tier: the one in the store, or a new one.
    async fn delegate(
        &self,
        authority: &Authority,
        tier: &Tier,
        now: OffsetDateTime,
    ) -> Result<CurrentResponder, Error> {
        loop {
            let known = self.store.certified_responders(tier.id).await?;
            if let Some(found) = self.stored_delegate(authority, tier, now).await? {
                return Ok(found);
            }
            // Another node may have been faster; then there is one in the store.
            if let Some(made) = self.new_delegate(authority, tier, known, now).await? {
                return Ok(made);
            }
        }
    }

    async fn stored_delegate(
        &self,
        authority: &Authority,
        tier: &Tier,
        now: OffsetDateTime,
    ) -> Result<Option<CurrentResponder>, Error> {
        let issuer_key = tier.certificate().subject_key_identifier();
        for stored in self.store.ca_certificates(authority.id).await? {
            // While the key is away, there will be no other one.
            let term = if tier.can_sign() {
                term(stored.not_before, stored.not_after)
            } else {
                stored.not_before..stored.not_after
            };
            if stored.role != CaRole::Responder || !term.contains(&now) {
                continue;
            }
            let certificate =
                pki::Certificate::from_der(&stored.certificate).map_err(Error::signing)?;
            if certificate.authority_key_identifier() == issuer_key {
                let key = self.ca_key(stored.private_key_id).await?;
                let responder = Responder::delegated(certificate, key).map_err(Error::signing)?;
                return Ok(Some(CurrentResponder {
                    responder: Arc::new(responder),
                    not_after: stored.not_after,
                    term: Some(term),
                }));
            }
        }
        Ok(None)
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
            off_the_reactor(signing).await.map_err(Error::signing)??
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
