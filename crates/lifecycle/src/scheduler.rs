//! The scheduler: obtains and renews managed certificates when they are due.
//!
//! It has no table of jobs. What is due is a moment on the row of the certificate; claiming moves
//! it ahead by a lease, so that no two nodes work on one certificate, and the work of a node that
//! dies is due again when its lease is over.

use std::error::Error as StdError;
use std::time::Duration;

use store::{Certificate, NewVersionRecord, Store};
use time::OffsetDateTime;
use tokio::task::JoinSet;

use crate::accounts::HOUSE_ACCOUNT;
use crate::certificates::Plan;
use crate::{Certificates, Error, Surroundings, events};

/// How long the node that claimed a certificate has it to itself. A private authority answers within
/// milliseconds, and whoever waits for a node that was killed meanwhile waits as long as this.
const LEASE: Duration = Duration::from_secs(20);
/// Certificates claimed and worked on at a time.
const BATCH: usize = 128;
/// How often a node looks for what has become due without its doing.
const LOOK: Duration = Duration::from_secs(1);
/// How long after each failed attempt the next one is made. After the one that follows the last of
/// them, the house gives up.
const PAUSES: [Duration; 7] = [
    minutes(1),
    minutes(5),
    minutes(15),
    minutes(60),
    minutes(180),
    minutes(360),
    minutes(720),
];

/// The scheduler of a node.
#[derive(Debug, Clone)]
pub(crate) struct Scheduler {
    store: Store,
    surroundings: Surroundings,
    certificates: Certificates,
}

impl Scheduler {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        certificates: Certificates,
    ) -> Self {
        Self {
            store,
            surroundings,
            certificates,
        }
    }

    /// Obtains what is due, for ever. Faults are logged and tried again.
    pub(crate) async fn run(&self) {
        loop {
            if let Err(error) = self.obtain_due().await {
                tracing::warn!(
                    error = &error as &dyn StdError,
                    "could not look for certificates that are due"
                );
            }
            // Whoever has just requested one rings; other nodes' requests are found by looking.
            let rung = self.certificates.due.notified();
            drop(tokio::time::timeout(LOOK, rung).await);
        }
    }

    /// Makes one attempt for each certificate that is due now. Returns how many that were.
    pub(crate) async fn obtain_due(&self) -> Result<usize, Error> {
        let mut attempted = 0;
        loop {
            let now = self.surroundings.now();
            let until = now + LEASE;
            let claimed = self.store.claim_due(now, until, BATCH, &[]).await?;
            let is_last = claimed.len() < BATCH;
            attempted += claimed.len();
            self.attempt(claimed, until).await?;
            if is_last {
                return Ok(attempted);
            }
        }
    }

    /// Makes one attempt for each of the certificates that are claimed until `until`.
    async fn attempt(&self, claimed: Vec<Certificate>, until: OffsetDateTime) -> Result<(), Error> {
        let mut attempts = JoinSet::new();
        for certificate in claimed {
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
                (certificate, Err(error)) => self.put_off(&certificate, &error, until).await,
            }
        }
        self.put_into_service(obtained, until).await
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
    async fn put_off(&self, certificate: &Certificate, error: &Error, until: OffsetDateTime) {
        let now = self.surroundings.now();
        if now >= until {
            // Somebody else may be at it already.
            return;
        }
        let plan = after_failure(certificate.attempt, now, error);
        let next = match plan {
            Plan::Attempt { at, .. } => Some(at),
            Plan::GiveUp { .. } => None,
        };
        let attempt = usize::from(certificate.attempt) + 1;
        let detail = format!("attempt {attempt} of {}: {error}", PAUSES.len() + 1);
        let kind = events::CERTIFICATE_FAILED;
        let event = self
            .certificates
            .event(certificate, HOUSE_ACCOUNT, kind, &detail);
        let planned = self.certificates.plan(certificate, plan, event).await;
        let (name, id) = (&certificate.common_name, certificate.id);
        let error = error as &dyn StdError;
        match (planned, next) {
            (Ok(true), Some(next)) => {
                tracing::warn!(name, certificate = %id, attempt, %next, error, "could not obtain a certificate");
            }
            (Ok(true), None) => {
                tracing::warn!(name, certificate = %id, attempt, error, "gave up obtaining a certificate");
            }
            // Deleted meanwhile.
            (Ok(false), _) => {}
            (Err(fault), _) => tracing::warn!(
                name,
                certificate = %id,
                error = &fault as &dyn StdError,
                "could not record a failed attempt"
            ),
        }
    }
}

/// How it goes on after `made` attempts and one more that failed at `now`.
fn after_failure(made: u8, now: OffsetDateTime, error: &Error) -> Plan {
    match PAUSES.get(usize::from(made)) {
        Some(pause) => Plan::Attempt {
            after: made.saturating_add(1),
            at: now + *pause,
            failure: Some(error.to_string()),
        },
        None => Plan::GiveUp {
            reason: error.to_string(),
        },
    }
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}
