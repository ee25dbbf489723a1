//! The end of an attempt that made no version: what is written down, and when it goes on.

use store::DirectoryId;
use time::OffsetDateTime;

use super::failures::is_news;
use super::{Attempt, Pause, Refund, Setback};
use crate::accounts::HOUSE_ACCOUNT;
use crate::schedule::{
    AGAIN, Cause, Failed, Mark, PAUSES, Plan, after_failure, alternative, asides, not_too_late,
};
use crate::{Error, OrderOutcome, events};

impl Attempt<'_> {
    /// Writes down how it goes on after an attempt that made no version.
    pub(super) async fn conclude(&mut self, pause: Pause) -> Result<(), Error> {
        let (store, id) = (&self.orders.store, self.certificate.id);
        let name = &self.certificate.common_name;
        match pause {
            Pause::Lost => {
                tracing::debug!(name, certificate = %id, "somebody else has it, or it is gone");
                Ok(())
            }
            Pause::Until(at) => {
                store.release(id, self.until, at).await?;
                Ok(())
            }
            Pause::Scheduled { renew_at, next } => {
                store.schedule(id, self.until, renew_at, next).await?;
                Ok(())
            }
            Pause::Denied { at, reason } => {
                let at = match &self.certificate.current {
                    Some(version) => {
                        let validity = (version.not_before, version.not_after);
                        not_too_late(at, validity, self.orders.now(), self.orders.draw())
                    }
                    None => at,
                };
                tracing::debug!(name, certificate = %id, reason, next = %at, "waits");
                let setback = store::Setback {
                    at: self.orders.now(),
                    failure: reason,
                    attempt: self.certificate.attempt,
                    next_attempt_at: Some(at),
                    ends_order: false,
                    event: None,
                };
                store.put_off(id, self.until, setback).await?;
                Ok(())
            }
            Pause::Failed(setback) => match self.set_back(*setback).await {
                Ok(()) | Err(Pause::Lost) => Ok(()),
                Err(Pause::House(error)) => Err(error),
                Err(
                    Pause::Until(_)
                    | Pause::Scheduled { .. }
                    | Pause::Denied { .. }
                    | Pause::Failed(_),
                ) => {
                    store
                        .release(id, self.until, self.orders.now() + AGAIN)
                        .await?;
                    Ok(())
                }
            },
            Pause::House(error) => Err(error),
        }
    }

    async fn set_back(&mut self, setback: Setback) -> Result<(), Pause> {
        let now = self.orders.now();
        let other = match setback.directory {
            Some(directory) => self.tell_directory(directory, &setback, now).await?,
            None => None,
        };
        let failed = Failed {
            made: self.certificate.attempt,
            cause: match (setback.cause, other) {
                // Whoever is free first gets the order.
                (Cause::Limited { until }, Some(free)) => Cause::Limited {
                    until: until.min(free),
                },
                (cause, _) => cause,
            },
            not_after: self
                .certificate
                .current
                .as_ref()
                .map(|version| version.not_after),
            has_alternative: other.is_some_and(|free| free <= now),
        };
        let plan = if setback.ends_order {
            after_failure(failed, now, self.orders.draw())
        } else {
            Plan::Again {
                made: self.certificate.attempt,
                at: now + AGAIN,
            }
        };
        let (attempt, next) = match plan {
            Plan::Again { made, at } => (made, Some(at)),
            Plan::GiveUp => (self.certificate.attempt, None),
        };
        let name = &self.certificate.common_name;
        let (id, reason) = (self.certificate.id, &setback.reason);
        match next {
            Some(next) => {
                tracing::warn!(name, certificate = %id, %next, reason, "could not obtain a certificate");
            }
            None => {
                tracing::warn!(name, certificate = %id, reason, "gave up obtaining a certificate");
            }
        }
        // What does not count is told once.
        let counts = setback.cause == Cause::Name && setback.ends_order;
        let before = self.certificate.failure.as_deref();
        let event = (counts || is_news(setback.cause, before, reason)).then(|| {
            let detail = if counts {
                let made = usize::from(self.certificate.attempt) + 1;
                format!("attempt {made} of {}: {reason}", PAUSES.len() + 1)
            } else {
                reason.clone()
            };
            let kind = events::CERTIFICATE_FAILED;
            let certificates = &self.orders.certificates;
            certificates.event(self.certificate, HOUSE_ACCOUNT, kind, &detail)
        });
        let setback = store::Setback {
            at: now,
            failure: setback.reason,
            attempt,
            next_attempt_at: next,
            ends_order: setback.ends_order,
            event,
        };
        self.orders.store.put_off(id, self.until, setback).await?;
        Ok(())
    }

    /// Writes down what the failure says of its directory, and looks when another one can be tried, if
    /// there is one.
    async fn tell_directory(
        &mut self,
        id: DirectoryId,
        setback: &Setback,
        now: OffsetDateTime,
    ) -> Result<Option<OffsetDateTime>, Pause> {
        let issuers = &self.orders.issuers;
        let Some(directory) = issuers.directory(id).await? else {
            return Ok(Some(now));
        };
        let outcome = outcome(setback.cause);
        let tally = &self.orders.tally;
        tally.order(directory.shared_name(), outcome);
        let health = issuers.health();
        match setback.cause {
            // An account that was revoked fails every name, as a directory does that is down.
            Cause::Directory | Cause::Account => {
                health
                    .failed(id, self.started, now, &setback.reason)
                    .await?;
            }
            // It was not even asked.
            Cause::Name if setback.refund == Refund::Nothing => {}
            Cause::Limited { .. } | Cause::Name => health.succeeded(id, now).await?,
        }
        for name in &setback.names {
            if let Some(mark) = Mark::failure(&directory.limits, name) {
                self.mark(&directory, &mark).await?;
            }
        }
        if !setback.ends_order {
            return Ok(None);
        }
        self.give_back(&directory, setback.refund).await?;
        let asides = asides(setback.cause, now);
        let buckets: Vec<String> = asides
            .iter()
            .map(|aside| self.aside_bucket(aside.is_binding))
            .collect();
        let set = self.orders.store.spend(id, &buckets, |levels| {
            // What it was set aside for before may matter for longer.
            let levels = asides.iter().zip(levels);
            Some(
                levels
                    .map(|(aside, level)| (*level).max(Some(aside.until)))
                    .collect(),
            )
        });
        match set.await {
            Ok(_) | Err(store::Error::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        let renewal = self.renewal_sought();
        let considered = self.consider(directory, &renewal).await?;
        let others: Vec<_> = considered
            .iter()
            .filter(|considered| considered.directory.row.id != id)
            .map(|considered| considered.candidate)
            .collect();
        Ok(alternative(&others, now))
    }
}

fn outcome(cause: Cause) -> OrderOutcome {
    match cause {
        Cause::Directory => OrderOutcome::Unavailable,
        Cause::Limited { .. } => OrderOutcome::Limited,
        Cause::Name => OrderOutcome::Refused,
        Cause::Account => OrderOutcome::Account,
    }
}
