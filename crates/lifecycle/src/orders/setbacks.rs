//! The end of an attempt that made no version: what is written down, and when it goes on.

use store::DirectoryId;
use time::OffsetDateTime;

use super::renewing::Renewal;
use super::{Attempt, Pause, Refund, Setback};
use crate::accounts::HOUSE_ACCOUNT;
use crate::schedule::{
    Cause, Choice, Failed, Mark, PAUSES, Plan, Verdict, after_failure, after_wait, aside, choose,
    urgent_from,
};
use crate::{Error, OrderOutcome, events};

/// When an order is taken up again that its directory failed at.
const AGAIN: time::Duration = time::Duration::seconds(20);

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
                let at = self.not_too_late(at);
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
        let is_news = self.certificate.failure.as_ref() != Some(reason);
        let event = (counts || is_news).then(|| {
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

    /// `at`, or the moment at which a renewal becomes urgent, if that comes first: from then on it may
    /// pass those that it waits behind.
    fn not_too_late(&self, at: OffsetDateTime) -> OffsetDateTime {
        let now = self.orders.now();
        let Some(version) = &self.certificate.current else {
            return at;
        };
        let urgent = urgent_from(version.not_before, version.not_after);
        if urgent <= now {
            return at;
        }
        let ends = Some(version.not_after);
        at.min(after_wait(urgent, ends, now, self.orders.draw()))
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
        let aside = aside(setback.cause, now);
        let buckets = [self.aside_bucket(aside.is_binding)];
        let set = self
            .orders
            .store
            .spend(id, &buckets, |_| Some(vec![Some(aside.until)]));
        match set.await {
            Ok(_) | Err(store::Error::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        let considered = self.consider(directory, &Renewal::FIRST).await?;
        let others: Vec<_> = considered
            .iter()
            .filter(|considered| considered.directory.row.id != id)
            .map(|considered| considered.candidate)
            .collect();
        Ok(match choose(&others, now) {
            Some(Choice::Try(index)) => others.get(index).map(|other| match other.verdict {
                Verdict::Admitted => now,
                Verdict::Denied { at, .. } => at,
            }),
            Some(Choice::Wait(until)) => Some(until),
            None => None,
        })
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
