//! Challenges: the proof of control over names, for ACME orders.
//!
//! What is published or answered was committed before, so that it is withdrawn whatever happens to
//! this process. Nothing here waits: who prepares is told when to look again.

mod answers;
mod choice;
pub(crate) mod delegation;
mod error;
mod offers;
mod preparation;
pub(crate) mod records;
mod sightings;
#[cfg(test)]
mod tests;
pub(crate) mod visibility;
mod withdrawal;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use acme::client::{Authorization, Challenge, DirectoryInfo, Login};
use store::{Certificate, CertificateId, ChallengeState, PendingChallenge, Store};
use time::OffsetDateTime;

use crate::diagnosis::Examiner;
use crate::zones::DnsProviders;
use crate::{Error, Settings, Surroundings};

pub use answers::Answers;
pub(crate) use choice::Circumstances;
pub use error::ChallengeError;

/// What an order is for, and with whom it was placed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Assignment<'a> {
    /// The certificate. Its count of failed attempts decides which kind of challenge is next, where
    /// there are several.
    pub(crate) certificate: &'a Certificate,
    /// Until when the certificate is claimed.
    pub(crate) until: OffsetDateTime,
    /// The account with the directory.
    pub(crate) login: &'a Login,
    /// What the directory says of itself.
    pub(crate) info: &'a DirectoryInfo,
}

/// A challenge that was chosen, one for each authorization that is pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// The challenge.
    pub(crate) challenge: Challenge,
    /// Whether the directory was told already that it can look.
    pub(crate) is_answered: bool,
}

/// Whether the directory would see what was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// It would.
    Yes,
    /// Not everywhere yet; look again after this time.
    Wait(Duration),
}

/// Who proves control over names.
#[derive(Debug, Clone)]
pub(crate) struct Solvers {
    store: Store,
    surroundings: Surroundings,
    settings: Arc<Settings>,
    providers: DnsProviders,
    examiner: Examiner,
}

impl Solvers {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        settings: Arc<Settings>,
        providers: DnsProviders,
        examiner: Examiner,
    ) -> Self {
        Self {
            store,
            surroundings,
            settings,
            providers,
            examiner,
        }
    }

    /// Looks for what an order would fail of, before one is spent: names that lead nowhere or
    /// elsewhere, CAA records in the way, wildcards without a DNS provider. Takes some seconds at
    /// most, and passes what it cannot tell.
    ///
    /// # Errors
    /// [`ChallengeError::Misconfigured`], [`ChallengeError::NotProvable`].
    pub(crate) async fn preflight(
        &self,
        assignment: &Assignment<'_>,
    ) -> Result<(), ChallengeError> {
        self.have_zones(assignment.certificate).await?;
        self.examiner.preflight(assignment).await
    }

    /// Chooses a challenge for each authorization that is pending, and makes ready what proves it.
    /// Returns the challenges to be answered once [`Self::are_visible`] says so; none when nothing
    /// is pending. Can be repeated: what was chosen and published before stays.
    ///
    /// # Errors
    /// [`ChallengeError`]. Call [`Self::finish`] then, as always in the end.
    pub(crate) async fn prepare(
        &self,
        assignment: &Assignment<'_>,
        authorizations: &[Authorization],
    ) -> Result<Vec<Chosen>, ChallengeError> {
        let offers = offers::pending(assignment.certificate, authorizations)?;
        let mut known = self.ongoing(assignment.certificate.id).await?;
        let (mut chosen, mut fresh) = (Vec::with_capacity(offers.len()), Vec::new());
        let mut open = Vec::new();
        for offer in offers {
            match preparation::take(&mut known, &offer) {
                Some(kept) => chosen.push(kept),
                None => open.push(offer),
            }
        }
        for (challenge, row) in self.choose(assignment, open).await? {
            chosen.push(Chosen {
                is_answered: preparation::is_answered(&challenge, None),
                challenge,
            });
            fresh.push(row);
        }
        if !fresh.is_empty() {
            let (id, until) = (assignment.certificate.id, assignment.until);
            if !self.store.put_challenges(id, until, fresh).await? {
                return Err(ChallengeError::Unclaimed);
            }
        }
        self.publish(assignment).await?;
        Ok(chosen)
    }

    /// Whether all that was published for a certificate can be seen at the servers that the
    /// directory will ask. To be called after [`Self::prepare`], and again after the time that it
    /// says, each time after `prepare`.
    ///
    /// # Errors
    /// [`ChallengeError::NotVisible`] when it has taken too long.
    pub(crate) async fn are_visible(
        &self,
        certificate: CertificateId,
    ) -> Result<Visibility, ChallengeError> {
        let challenges = self.ongoing(certificate).await?;
        self.sight(&challenges).await
    }

    /// Notes that the directory was told of all challenges of a certificate that is claimed until
    /// `until`.
    ///
    /// # Errors
    /// When the store cannot be asked. Can be repeated.
    pub(crate) async fn answered(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
    ) -> Result<(), Error> {
        let challenges = self.ongoing(certificate).await?;
        let ids: Vec<_> = challenges.iter().map(|challenge| challenge.id).collect();
        let state = ChallengeState::Answered;
        let advanced = self
            .store
            .advance_challenges(certificate, until, &ids, state);
        // Whoever has the claim now answers again, which does no harm.
        advanced.await?;
        Ok(())
    }

    /// Ends all challenges of a certificate that is claimed until `until`, met or not. What was
    /// published is withdrawn soon, for as long as that takes.
    ///
    /// # Errors
    /// When the store cannot be asked. Can be repeated.
    pub(crate) async fn finish(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
    ) -> Result<(), Error> {
        let now = self.surroundings.now();
        // Whoever has the claim now ends them.
        self.store
            .finish_challenges(certificate, until, now)
            .await?;
        Ok(())
    }

    /// The challenges of a certificate that are not over.
    async fn ongoing(&self, certificate: CertificateId) -> Result<Vec<PendingChallenge>, Error> {
        let mut challenges = self.store.challenges_of(certificate).await?;
        challenges.retain(|challenge| challenge.state != ChallengeState::Done);
        Ok(challenges)
    }
}
