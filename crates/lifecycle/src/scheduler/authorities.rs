//! What private authorities are to issue: made in batches, and stored in batches.

use std::error::Error as StdError;
use std::time::Duration;

use store::{Certificate, NewVersionRecord, State};
use time::OffsetDateTime;
use tokio::task::JoinSet;

use super::{LOOK, Scheduler};
use crate::accounts::HOUSE_ACCOUNT;
use crate::schedule::{Cause, Failed, PAUSES, Plan, after_failure};
use crate::{Error, events};

/// How long the node that claimed a certificate has it to itself. A private authority answers within
/// milliseconds, and whoever waits for a node that was killed meanwhile waits as long as this.
const LEASE: Duration = Duration::from_secs(20);
/// Certificates claimed and worked on at a time.
const BATCH: usize = 128;

impl Scheduler {
    pub(super) async fn run_for_authorities(&self) {
        let mut rung = self.certificates.due.subscribe();
        let mut retired = self.retired.subscribe();
        loop {
            if let Err(error) = self.obtain_from_authorities().await {
                tracing::warn!(
                    error = &error as &dyn StdError,
                    "could not look for certificates that are due"
                );
            }
            if self.rest(&mut rung, &mut retired, LOOK).await {
                return;
            }
        }
    }

    /// Makes one attempt for each certificate of an authority that is due now. Returns how many that
    /// were.
    pub(super) async fn obtain_from_authorities(&self) -> Result<usize, Error> {
        let names = self.authorities.names().await?;
        let mut attempted = 0;
        loop {
            let now = self.surroundings.now();
            let until = now + LEASE;
            let claimed = self.store.claim_due_of(now, until, BATCH, &names).await?;
            let is_last = claimed.len() < BATCH;
            attempted += claimed.len();
            self.attempt(claimed, until).await?;
            if is_last || *self.retired.borrow() {
                return Ok(attempted);
            }
        }
    }

    /// Makes one attempt for each of the certificates that are claimed until `until`.
    async fn attempt(&self, claimed: Vec<Certificate>, until: OffsetDateTime) -> Result<(), Error> {
        let mut attempts = JoinSet::new();
        for certificate in claimed {
            if self.is_early(&certificate, until).await? {
                continue;
            }
            let certificates = self.certificates.clone();
            attempts.spawn(async move {
                let made = certificates.next_version(&certificate).await;
                (certificate, made)
            });
        }
        let mut obtained = Vec::new();
        while let Some(attempt) = attempts.join_next().await {
            match attempt.map_err(Error::signing)? {
                (certificate, Ok(record)) => obtained.push((certificate, record)),
                // Not the issuer's fault, so it does not count: the lease runs out, and another
                // attempt is made.
                (certificate, Err(error @ Error::Store(_))) => tracing::warn!(
                    name = certificate.common_name,
                    certificate = %certificate.id,
                    error = &error as &dyn StdError,
                    "could not try to obtain a certificate"
                ),
                (certificate, Err(error)) => self.put_off(&certificate, &error, until).await?,
            }
        }
        self.put_into_service(obtained, until).await
    }

    /// Gives a certificate back whose renewal is not due. It was to be looked at for the sake of a
    /// directory that it came from.
    async fn is_early(
        &self,
        certificate: &Certificate,
        until: OffsetDateTime,
    ) -> Result<bool, Error> {
        match certificate.renew_at {
            Some(renew_at)
                if certificate.state == State::Valid && renew_at > self.surroundings.now() =>
            {
                self.store.release(certificate.id, until, renew_at).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Stores what was obtained, all of it together, or piece by piece if that does not go.
    async fn put_into_service(
        &self,
        obtained: Vec<(Certificate, NewVersionRecord)>,
        until: OffsetDateTime,
    ) -> Result<(), Error> {
        match self.store_together(&obtained, until).await {
            // A serial number was used before. Whoever drew it draws again when the lease is over.
            Err(store::Error::DuplicateSerial) => {
                for piece in &obtained {
                    let piece = std::slice::from_ref(piece);
                    match self.store_together(piece, until).await {
                        Err(store::Error::DuplicateSerial) => {}
                        stored => stored?,
                    }
                }
                Ok(())
            }
            stored => Ok(stored?),
        }
    }

    async fn store_together(
        &self,
        obtained: &[(Certificate, NewVersionRecord)],
        until: OffsetDateTime,
    ) -> Result<(), store::Error> {
        let records = obtained.iter();
        let records = records.map(|(certificate, record)| (certificate.id, record.clone()));
        let stored = self.store.finish_claimed(until, records.collect()).await?;
        for (certificate, record) in obtained {
            let id = certificate.id;
            // Deleted or revoked meanwhile, or the lease was over: this version does not count.
            if !stored.contains(&id) {
                continue;
            }
            let name = &certificate.common_name;
            let not_after = record.version.not_after;
            if certificate.current.is_none() {
                tracing::info!(name, certificate = %id, %not_after, "issued a certificate");
            } else {
                tracing::info!(name, certificate = %id, %not_after, "renewed a certificate");
            }
        }
        Ok(())
    }

    /// Plans the next attempt after one that failed, or gives up.
    async fn put_off(
        &self,
        certificate: &Certificate,
        error: &Error,
        until: OffsetDateTime,
    ) -> Result<(), Error> {
        let now = self.surroundings.now();
        let failed = Failed {
            made: certificate.attempt,
            cause: Cause::Name,
            not_after: certificate
                .current
                .as_ref()
                .map(|version| version.not_after),
            has_alternative: false,
        };
        let draw = u64::from_be_bytes(self.surroundings.random());
        let (attempt, next) = match after_failure(failed, now, draw) {
            Plan::Again { made, at } => (made, Some(at)),
            Plan::GiveUp => (certificate.attempt, None),
        };
        let made = usize::from(certificate.attempt) + 1;
        let detail = format!("attempt {made} of {}: {error}", PAUSES.len() + 1);
        let kind = events::CERTIFICATE_FAILED;
        let event = self
            .certificates
            .event(certificate, HOUSE_ACCOUNT, kind, &detail);
        let setback = store::Setback {
            at: now,
            failure: error.to_string(),
            attempt,
            next_attempt_at: next,
            ends_order: true,
            event: Some(event),
        };
        let (name, id) = (&certificate.common_name, certificate.id);
        if !self.store.put_off(id, until, setback).await? {
            // Deleted meanwhile.
            return Ok(());
        }
        let error = error as &dyn StdError;
        match next {
            Some(next) => {
                tracing::warn!(name, certificate = %id, made, %next, error, "could not obtain a certificate");
            }
            None => {
                tracing::warn!(name, certificate = %id, made, error, "gave up obtaining a certificate");
            }
        }
        Ok(())
    }
}
