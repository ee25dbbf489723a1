//! Challenges: the proof of control over names, for ACME orders.
//!
//! What is published or answered was committed before, so that it is withdrawn whatever happens to
//! this process. Nothing here waits: who prepares is told when to look again.

mod answers;
mod choice;
pub(crate) mod delegation;
mod error;
pub(crate) mod records;
pub(crate) mod visibility;

use std::sync::Arc;
use std::time::Duration;

use acme::client::{Authorization, Challenge, DirectoryInfo, Login};
use store::{Certificate, CertificateId, Store};
use time::OffsetDateTime;

use crate::{Error, Settings, Surroundings};

pub use answers::Answers;
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
}

impl Solvers {
    pub(crate) fn new(store: Store, surroundings: Surroundings, settings: Arc<Settings>) -> Self {
        Self {
            store,
            surroundings,
            settings,
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
        tracing::trace!(name = assignment.certificate.common_name, "preflight");
        Ok(())
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
        let name = assignment.certificate.common_name.clone();
        match authorizations {
            [] => Ok(Vec::new()),
            _ => Err(ChallengeError::NotProvable {
                name,
                reason: "there are no solvers".to_owned(),
            }),
        }
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
        tracing::trace!(%certificate, "visibility");
        Ok(Visibility::Yes)
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
        tracing::trace!(%certificate, %until, "answered");
        Ok(())
    }

    /// Ends all challenges of a certificate that is claimed until `until`, met or not. What was published is withdrawn soon, for
    /// as long as that takes.
    ///
    /// # Errors
    /// When the store cannot be asked. Can be repeated.
    pub(crate) async fn finish(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
    ) -> Result<(), Error> {
        tracing::trace!(%certificate, %until, "finish");
        Ok(())
    }
}
