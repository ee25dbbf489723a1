//! Driving an order from where it is to a version in service.

use std::collections::HashSet;

use acme::client::{Authorization, Failure, Order, OrderStatus};
use pki::{
    CertificateRequest, DistinguishedName, Revocation, RevocationReason, Serial, SubjectFields,
};
use store::{
    DirectoryOrder, Exportable, NewPrivateKey, NewVersion, NewVersionRecord, PrivateKeyId,
    Superseded, Version, VersionId,
};
use time::OffsetDateTime;

use super::checks::{Checked, choose_chain};
use super::failures::{Fault, Request, fault, fault_of, told_of};
use super::placing::Counter;
use super::step::{Complaint, Step, look_again, next_step};
use super::{Attempt, Pause, Refund, Setback, held};
use crate::accounts::HOUSE_ACCOUNT;
use crate::certificates::identifiers;
use crate::challenges::{ChallengeError, Visibility};
use crate::issuers::Directory;
use crate::schedule::{AGAIN, Cause, next_look, renew_at};
use crate::{Error, OrderOutcome, events};

/// How long an order is kept that its directory fails at.
const LOYALTY: time::Duration = time::Duration::minutes(3);
/// How long a directory may work on an order.
const LONGEST: time::Duration = time::Duration::minutes(30);
/// What stands before the last that is known of an order that took too long.
const BEFORE: &str = "; before that: ";
/// Steps made in one go. No order has more without waiting; a directory that lies may.
const STEPS: usize = 16;

impl Attempt<'_> {
    /// Goes on with an order for as long as there is something to do. `known` is how it stands, if
    /// the directory has just said so.
    pub(super) async fn drive(
        &mut self,
        counter: &Counter,
        order: DirectoryOrder,
        known: Option<Order>,
    ) -> Result<(), Pause> {
        let mut known = known;
        for _ in 0..STEPS {
            let was_looked_up = known.is_none();
            let found = match known.take() {
                Some(found) => found,
                None => self.look(counter, &order).await?,
            };
            let authorizations = self.authorizations(counter, &order, &found).await?;
            let now = self.orders.now();
            match next_step(&found, &authorizations) {
                Step::Prove => {
                    self.prove(counter, &order, &authorizations).await?;
                    return Err(self.wait(counter, &order, &found, now));
                }
                Step::Wait => return Err(self.wait(counter, &order, &found, now)),
                Step::Finalize => {
                    if was_looked_up {
                        // Nothing is to be proven any more, and what is left may take long.
                        let solvers = &self.orders.solvers;
                        solvers.finish(self.certificate.id, self.until).await?;
                    }
                    known = Some(self.finalize(counter, &order).await?);
                }
                Step::Download => return self.download(counter, &order).await,
                Step::Fail(faults) => return Err(self.order_failed(counter, &order, &faults)),
            }
        }
        Err(self.wait_until(&order, self.orders.now() + AGAIN))
    }

    async fn look(&mut self, counter: &Counter, order: &DirectoryOrder) -> Result<Order, Pause> {
        let url = order.url.as_deref().unwrap_or_default();
        let client = self.orders.client();
        match self.ask(client.order(&counter.login, url)).await? {
            Ok(found) => Ok(found),
            Err(failure) => Err(self
                .hindered(counter, order, &failure, Request::Look)
                .await?),
        }
    }

    /// The authorizations of an order, where they matter.
    async fn authorizations(
        &mut self,
        counter: &Counter,
        order: &DirectoryOrder,
        found: &Order,
    ) -> Result<Vec<Authorization>, Pause> {
        if !matches!(found.status, OrderStatus::Pending | OrderStatus::Invalid) {
            return Ok(Vec::new());
        }
        let mut authorizations = Vec::with_capacity(found.authorizations.len());
        for url in &found.authorizations {
            let client = self.orders.client();
            match self.ask(client.authorization(&counter.login, url)).await? {
                Ok(authorization) => authorizations.push(authorization),
                Err(failure) => {
                    return Err(self
                        .hindered(counter, order, &failure, Request::Look)
                        .await?);
                }
            }
        }
        Ok(authorizations)
    }

    /// Publishes what proves control, and tells the directory once it can be seen.
    async fn prove(
        &mut self,
        counter: &Counter,
        order: &DirectoryOrder,
        authorizations: &[Authorization],
    ) -> Result<(), Pause> {
        self.keep().await?;
        let solvers = &self.orders.solvers;
        let assignment = self.assignment(counter);
        let chosen = match solvers.prepare(&assignment, authorizations).await {
            Ok(chosen) => chosen,
            Err(error) => return Err(self.unprovable(&counter.directory, error, Some(order))),
        };
        if chosen.iter().all(|chosen| chosen.is_answered) {
            return Ok(());
        }
        match solvers.are_visible(self.certificate.id).await {
            Ok(Visibility::Yes) => {}
            Ok(Visibility::Wait(pause)) => {
                return Err(Pause::Until(self.orders.now() + pause));
            }
            Err(error) => return Err(self.unprovable(&counter.directory, error, Some(order))),
        }
        for chosen in chosen.iter().filter(|chosen| !chosen.is_answered) {
            let client = self.orders.client();
            let answered = self.ask(client.answer(&counter.login, &chosen.challenge));
            match answered.await? {
                // It may have been told before, by a node that died then. What becomes of the
                // challenge shows when the authorization is looked at.
                Ok(()) => {}
                Err(failure) if fault(&failure, Request::Look) == Fault::Gone => {}
                Err(failure) => {
                    let pause = self
                        .failed(&counter.directory, &failure, Request::Look)
                        .await?;
                    return Err(kept(pause));
                }
            }
        }
        Ok(solvers.answered(self.certificate.id, self.until).await?)
    }

    async fn finalize(
        &mut self,
        counter: &Counter,
        order: &DirectoryOrder,
    ) -> Result<Order, Pause> {
        // Names are in the extension alone; a subject cannot hold all of them.
        let subject = DistinguishedName::from_fields(&SubjectFields::default());
        let subject = subject.map_err(Error::signing)?;
        let names = identifiers(self.certificate)?;
        let request = CertificateRequest::build(&order.key, &subject, &names);
        let request = request.map_err(Error::signing)?;
        let url = order.url.as_deref().unwrap_or_default();
        let client = self.orders.client();
        match self
            .ask(client.finalize(&counter.login, url, &request))
            .await?
        {
            Ok(found) => Ok(found),
            Err(Failure::Refused { problem, .. })
                if problem.kind == acme::ErrorKind::OrderNotReady =>
            {
                self.look(counter, order).await
            }
            Err(failure) => Err(self
                .hindered(counter, order, &failure, Request::Finalize)
                .await?),
        }
    }

    async fn download(&mut self, counter: &Counter, order: &DirectoryOrder) -> Result<(), Pause> {
        let url = order.url.as_deref().unwrap_or_default();
        let client = self.orders.client();
        let chains = match self.ask(client.certificate(&counter.login, url)).await? {
            Ok(chains) => chains,
            Err(failure) => {
                return Err(self
                    .hindered(counter, order, &failure, Request::Look)
                    .await?);
            }
        };
        let directory = &counter.directory;
        let names = identifiers(self.certificate)?;
        let preferred = directory.row.preferred_chain.as_deref();
        let wanted = (order.key.public_key(), names.as_slice());
        match choose_chain(&chains, preferred, wanted, self.orders.now()) {
            Ok(checked) => self.put_into_service(counter, order, checked).await,
            Err(unfit) => Err(Setback {
                cause: Cause::Directory,
                reason: format!(
                    "{}: the certificate that it issued is refused: {unfit}; tell its operator, or \
                     choose another issuer",
                    directory.row.name
                ),
                directory: Some(directory.row.id),
                ends_order: true,
                names: Vec::new(),
                refund: Refund::Nothing,
            }
            .into()),
        }
    }

    async fn put_into_service(
        &mut self,
        counter: &Counter,
        order: &DirectoryOrder,
        checked: Checked,
    ) -> Result<(), Pause> {
        let now = self.orders.now();
        let surroundings = &self.orders.surroundings;
        let Checked {
            leaf,
            intermediates,
        } = checked;
        let key = NewPrivateKey {
            id: PrivateKeyId::from_time_and_random(now, surroundings.random()),
            key: order.key.clone(),
            exportable: Exportable::Never,
        };
        let version = NewVersion {
            id: VersionId::from_time_and_random(now, surroundings.random()),
            authority_id: None,
            crl_shard: 0,
            directory_id: Some(order.directory_id),
            serial: leaf.serial().as_be_bytes().to_vec(),
            subject: leaf.subject().to_string(),
            issuer: leaf.issuer().to_string(),
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
            leaf: leaf.der().to_vec(),
            intermediates: intermediates
                .iter()
                .map(|intermediate| intermediate.der().to_vec())
                .collect(),
            private_key_id: Some(key.id),
            created_at: now,
        };
        let is_renewal = self.certificate.current.is_some();
        let kind = if is_renewal {
            events::CERTIFICATE_RENEWED
        } else {
            events::CERTIFICATE_ISSUED
        };
        let draw = self.orders.draw();
        let renewal = renew_at(now, version.not_after, draw);
        let next = if counter.info.has_renewal_info {
            next_look(renewal, None, now, draw)
        } else {
            renewal
        };
        let not_after = version.not_after;
        let certificates = &self.orders.certificates;
        let serial = leaf.serial().to_hex();
        let record = NewVersionRecord {
            version,
            key: Some(key),
            identifiers: self.certificate.identifiers.clone(),
            renew_at: Some(renewal),
            next_action_at: Some(next),
            becomes: None,
            event: certificates.event(self.certificate, HOUSE_ACCOUNT, kind, &serial),
        };
        let id = self.certificate.id;
        let (store, until) = (&self.orders.store, self.until);
        let current = self.certificate.current.as_ref();
        match current.filter(|_| order.supersedes) {
            Some(superseded) => {
                let superseded = self.superseded(superseded);
                held(
                    store
                        .supersede_claimed(until, id, record, superseded)
                        .await?,
                )?;
            }
            None => {
                let stored = store.finish_claimed(until, vec![(id, record)]).await?;
                held(stored.contains(&id))?;
            }
        }
        let shared_name = counter.directory.shared_name();
        self.orders.tally.order(shared_name, OrderOutcome::Valid);
        let directory = &counter.directory.row;
        let (name, issuer) = (&self.certificate.common_name, &directory.name);
        if is_renewal {
            tracing::info!(name, certificate = %id, issuer, %not_after, "renewed a certificate");
        } else {
            tracing::info!(name, certificate = %id, issuer, %not_after, "issued a certificate");
        }
        self.orders
            .issuers
            .health()
            .succeeded(directory.id, now)
            .await?;
        Ok(())
    }

    /// That a version is revoked which its directory has called back.
    fn superseded(&self, version: &Version) -> Superseded {
        let reason = RevocationReason::Superseded;
        let kind = events::CERTIFICATE_SUPERSEDED;
        let detail = Serial::from_be_bytes(&version.serial).map(|serial| serial.to_hex());
        let detail = detail.unwrap_or_default();
        let certificates = &self.orders.certificates;
        Superseded {
            version: version.id,
            revocation: Revocation {
                at: self.orders.now(),
                reason,
            },
            event: certificates.event(self.certificate, HOUSE_ACCOUNT, kind, &detail),
        }
    }

    /// When the directory is asked again how an order stands, unless it has had its time.
    fn wait(
        &self,
        counter: &Counter,
        order: &DirectoryOrder,
        found: &Order,
        now: OffsetDateTime,
    ) -> Pause {
        if now - order.created_at < LONGEST {
            return self.wait_until(order, look_again(order.created_at, found.retry_after, now));
        }
        let name = &counter.directory.row.name;
        Setback {
            cause: Cause::Directory,
            reason: overdue(name, self.certificate.failure.as_deref()),
            directory: Some(counter.directory.row.id),
            ends_order: true,
            names: Vec::new(),
            refund: Refund::Certificate,
        }
        .into()
    }

    fn wait_until(&self, order: &DirectoryOrder, at: OffsetDateTime) -> Pause {
        // Of one that has ended, the directory says so in its own time.
        let end = order.expires_at.filter(|end| *end > self.orders.now());
        Pause::Until(end.map_or(at, |end| at.min(end)))
    }

    /// What a failure of a directory means for an order that is placed. A directory that fails now
    /// and then gets a little time; an order that a directory does not know is over.
    async fn hindered(
        &mut self,
        counter: &Counter,
        order: &DirectoryOrder,
        failure: &Failure,
        request: Request,
    ) -> Result<Pause, Pause> {
        let pause = self.failed(&counter.directory, failure, request).await?;
        let is_directory = fault(failure, request) == Fault::Of(Cause::Directory);
        let is_young = self.orders.now() - order.created_at < LOYALTY;
        Ok(if is_directory && is_young {
            kept(pause)
        } else {
            pause
        })
    }

    /// What it means that names could not be validated.
    fn order_failed(
        &self,
        counter: &Counter,
        order: &DirectoryOrder,
        faults: &[Complaint],
    ) -> Pause {
        let directory = &counter.directory.row;
        let has_expired = order.expires_at.is_some_and(|end| end <= self.orders.now());
        let cause = match faults.first().map(|first| fault_of(&first.problem)) {
            Some(Fault::Of(cause)) => cause,
            Some(Fault::Limit | Fault::Gone) => Cause::Directory,
            None if has_expired => Cause::Directory,
            None => Cause::Name,
        };
        let names: HashSet<String> = match cause {
            Cause::Name => faults.iter().map(|fault| fault.name.clone()).collect(),
            _ => HashSet::new(),
        };
        Setback {
            cause,
            reason: told_of(&directory.name, faults),
            directory: Some(directory.id),
            ends_order: true,
            names: names.into_iter().filter(|name| !name.is_empty()).collect(),
            refund: Refund::Certificate,
        }
        .into()
    }

    /// What it means that the house cannot prove control, for an order if there is one yet.
    pub(super) fn unprovable(
        &self,
        directory: &Directory,
        error: ChallengeError,
        order: Option<&DirectoryOrder>,
    ) -> Pause {
        if let ChallengeError::House(error) = error {
            return Pause::House(error);
        }
        let now = self.orders.now();
        let is_young = order.is_some_and(|order| now - order.created_at < LONGEST);
        Setback {
            // The directory did nothing; the pauses of a name do.
            cause: Cause::Name,
            reason: error.to_string(),
            directory: Some(directory.row.id),
            ends_order: !(is_young && error.is_passing()),
            names: Vec::new(),
            refund: match order {
                Some(_) => Refund::Certificate,
                None => Refund::Nothing,
            },
        }
        .into()
    }
}

/// That an order took too long, with the last that went wrong with it.
fn overdue(directory: &str, failure: Option<&str>) -> String {
    let overdue = format!(
        "{directory}: the order has not come to an end in {} minutes; it is placed again, or at \
         another directory",
        LONGEST.whole_minutes()
    );
    // Of an order that took too long before, what went wrong then.
    let before = failure.and_then(|failure| failure.rsplit(BEFORE).next());
    match before.filter(|before| *before != overdue) {
        Some(before) => format!("{overdue}{BEFORE}{before}"),
        None => overdue,
    }
}

/// The same, but the order is taken up again.
fn kept(pause: Pause) -> Pause {
    match pause {
        Pause::Failed(mut setback) => {
            setback.ends_order = false;
            Pause::Failed(setback)
        }
        pause => pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_took_too_long_is_told_with_what_went_wrong_last_and_no_more() {
        let bare = overdue("main", None);
        assert!(bare.starts_with("main: the order has not come to an end"));
        let first = overdue("main", Some("main: connection refused"));
        assert_eq!(
            first,
            format!("{bare}; before that: main: connection refused")
        );
        assert_eq!(overdue("main", Some(&first)), first);
        assert_eq!(overdue("main", Some(&bare)), bare);
    }
}
