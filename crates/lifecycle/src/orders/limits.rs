//! What an order takes of the limits of its directory, and what is given back of that.

use std::sync::{Mutex, PoisonError};

use acme::client::Failure;

use super::placing::Considered;
use super::{Attempt, Pause, Refund};
use crate::issuers::{Directory, waiting_for};
use crate::schedule::{Cause, Demand, Mark, Purpose, Urgency, Verdict};

impl Attempt<'_> {
    /// Takes what the order needs of the limits of its directory.
    pub(super) async fn spend(&mut self, chosen: &Considered) -> Result<(), Pause> {
        let (now, draw) = (self.orders.now(), self.orders.draw());
        let (id, demand) = (chosen.directory.row.id, &chosen.demand);
        let is_counted = chosen.replaces.is_none();
        if !is_counted && chosen.candidate.verdict == Verdict::Admitted {
            self.is_counted = Some(false);
            return Ok(());
        }
        let verdict = Mutex::new(None);
        let spent = self.orders.store.spend(id, demand.buckets(), |levels| {
            let decision = demand.decide(levels, now, draw);
            *verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(decision.verdict);
            Some(decision.levels)
        });
        match spent.await {
            Ok(_) => {}
            Err(store::Error::NotFound) => return Err(Pause::Until(now)),
            Err(error) => return Err(error.into()),
        }
        let verdict = verdict.into_inner().unwrap_or_else(PoisonError::into_inner);
        match verdict {
            Some(Verdict::Denied { at, by }) => {
                let tally = &self.orders.tally;
                tally.denied(chosen.directory.shared_name(), by);
                Err(Pause::Denied {
                    at,
                    reason: waiting_for(&chosen.directory, by, at),
                })
            }
            _ => {
                self.is_counted = Some(is_counted);
                Ok(())
            }
        }
    }

    /// Writes down that a limit of a directory is reached, and until when.
    pub(super) async fn limited(
        &mut self,
        directory: &Directory,
        failure: &Failure,
    ) -> Result<Cause, Pause> {
        let now = self.orders.now();
        let (detail, retry_after) = match failure {
            Failure::Refused {
                problem,
                retry_after,
                ..
            } => (problem.to_string(), *retry_after),
            _ => (String::new(), None),
        };
        let until = retry_after.map(|pause| now + pause);
        let names = &self.certificate.identifiers;
        let mark = Mark::refusal(&directory.limits, names, &detail, until, now);
        self.mark(directory, &mark).await?;
        Ok(Cause::Limited {
            until: mark.closed_until().unwrap_or(now),
        })
    }

    pub(super) async fn mark(&mut self, directory: &Directory, mark: &Mark) -> Result<(), Pause> {
        let now = self.orders.now();
        let buckets = [mark.bucket().to_owned()];
        let marked = self
            .orders
            .store
            .spend(directory.row.id, &buckets, |levels| {
                let level = levels.first().copied().flatten();
                Some(vec![Some(mark.level(level, now))])
            });
        match marked.await {
            Ok(_) | Err(store::Error::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives back what an order was counted towards that came to nothing.
    pub(super) async fn give_back(
        &mut self,
        directory: &Directory,
        refund: Refund,
    ) -> Result<(), Pause> {
        if refund == Refund::Nothing || self.is_counted != Some(true) {
            return Ok(());
        }
        let account = self.certificate.account_id.to_string();
        let purpose = Purpose {
            identifiers: &self.certificate.identifiers,
            account: directory.is_shared().then_some(account.as_str()),
            urgency: Urgency::First,
            is_replacement: false,
            since: self.certificate.created_at,
        };
        let demand = Demand::new(&directory.limits, purpose);
        let was_taken = refund == Refund::Certificate;
        let (store, id) = (&self.orders.store, directory.row.id);
        let given = store.spend(id, demand.buckets(), |levels| {
            Some(demand.give_back(levels, was_taken))
        });
        match given.await {
            Ok(_) | Err(store::Error::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The bucket whose level says until when a directory is not tried for the certificate, or until
    /// when others are preferred.
    pub(super) fn aside_bucket(&self, is_binding: bool) -> String {
        let what = if is_binding { "aside" } else { "disliked" };
        format!("{what} {}", self.certificate.id)
    }
}
