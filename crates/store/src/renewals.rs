//! How it goes on with a claimed certificate when there is no new version of it: it waits, its
//! renewal is moved, or an attempt has failed.
//!
//! Only who has claimed a certificate may write this; see [`crate::orders`]. An exception is whoever
//! wants it renewed now.

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::CertificateId;
use crate::inventory::{NAME_LIMIT, cut_failure, within};
use crate::orders::{self, hold};
use crate::scope::Scope;
use crate::sql::Statement;
use crate::store::Store;

/// What is written down about an attempt that failed.
#[derive(Debug, Clone)]
pub struct Setback {
    /// When it failed.
    pub at: OffsetDateTime,
    /// Why; a very long reason is cut.
    pub failure: String,
    /// How many attempts have failed by now, as far as they count.
    pub attempt: u8,
    /// When the next one is due. None when no more are made: the certificate is in error then.
    pub next_attempt_at: Option<OffsetDateTime>,
    /// Whether the order ends with the attempt, or goes on with the next one.
    pub ends_order: bool,
    /// What the audit log will say.
    pub event: Option<NewEvent>,
}

impl Store {
    /// Gives a certificate back that is claimed until `until`: its next action is due at
    /// `next_action_at`. With a later moment than `until`, the claim is extended until then.
    /// Returns whether it was held.
    pub async fn release(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
        next_action_at: OffsetDateTime,
    ) -> Result<bool, Error> {
        let update = Statement::new("update certificates set next_action_at = ?");
        self.change_claimed(certificate, until, update.bind(next_action_at))
            .await
    }

    /// Gives a certificate back that is claimed until `until`, with another moment for its renewal.
    /// Returns whether the claim was held.
    pub async fn schedule(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
        renew_at: OffsetDateTime,
        next_action_at: OffsetDateTime,
    ) -> Result<bool, Error> {
        let update = Statement::new("update certificates set renew_at = ?, next_action_at = ?")
            .bind(renew_at)
            .bind(next_action_at);
        self.change_claimed(certificate, until, update).await
    }

    /// Writes down that an attempt at the next version of a certificate failed that is claimed
    /// until `until`, and gives it back. Its version, if it has one, stays in service as long as
    /// more attempts are made. Returns whether the claim was held.
    pub async fn put_off(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
        setback: Setback,
    ) -> Result<bool, Error> {
        let Setback {
            at,
            failure,
            attempt,
            next_attempt_at,
            ends_order,
            event,
        } = setback;
        let update = match next_attempt_at {
            Some(next) => Statement::new("update certificates set attempt = ?, next_action_at = ?")
                .bind(i64::from(attempt))
                .bind(next),
            None => Statement::new(
                "update certificates set state = 'error', attempt = 0, renew_at = null, \
                 next_action_at = null",
            ),
        };
        let update = update
            .text(", reason = ? where id = ?")
            .bind(cut_failure(failure))
            .bind(certificate);
        let ends_order = ends_order || next_attempt_at.is_none();
        let event = event.map(NewEvent::into_row);
        in_transaction!(self.backend(), |transaction| {
            if !hold(transaction, certificate, until).await? {
                return Ok(false);
            }
            transaction.execute(update.clone()).await?;
            if ends_order {
                orders::end(transaction, &[certificate], at).await?;
            }
            events::insert(transaction, event.clone().into_iter().collect()).await?;
            Ok(true)
        })
    }

    /// Makes the next version of a certificate due at `now` that is valid or pending, with as many
    /// attempts as if none had failed, and no reason yet why one did. An order that is under way goes on as it would have anyway.
    /// [`Error::NotFound`] when there is no such certificate in the scope, or it is neither.
    pub async fn renew_now(
        &self,
        scope: Scope,
        certificate: CertificateId,
        now: OffsetDateTime,
        event: NewEvent,
    ) -> Result<(), Error> {
        let update = hastening(scope, certificate, now);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(update.clone()).await? == 0 {
                return Err(Error::NotFound);
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }

    /// Has another issuer obtain a certificate from its next attempt on. Whether there is such a
    /// certificate in the scope.
    pub async fn name_issuer(
        &self,
        scope: Scope,
        certificate: CertificateId,
        issuer: &str,
        event: NewEvent,
    ) -> Result<bool, Error> {
        within("the name of the issuer", NAME_LIMIT, issuer.len())?;
        let update = Statement::new("update certificates set issuer = ? where id = ?");
        let update = scope.restrict(update.bind(issuer).bind(certificate), "account_id");
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(update.clone()).await? == 0 {
                return Ok(false);
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }

    /// Changes a certificate that is claimed until `until`. Returns whether it was.
    async fn change_claimed(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
        update: Statement,
    ) -> Result<bool, Error> {
        let update = update
            .text(" where id = ? and +next_action_at = ?")
            .bind(certificate)
            .bind(until);
        in_transaction!(self.backend(), |transaction| {
            Ok(transaction.execute(update.clone()).await? > 0)
        })
    }
}

/// Makes the next version of a certificate due, see [`Store::renew_now`].
pub(crate) fn hastening(
    scope: Scope,
    certificate: CertificateId,
    now: OffsetDateTime,
) -> Statement {
    let update = Statement::new(
        "update certificates set attempt = 0, reason = null, renew_at = ?, next_action_at = case \
         when exists (select 1 from orders where orders.certificate_id = certificates.id) \
         then next_action_at else ? end where id = ? and state in ('pending', 'valid')",
    )
    .bind(now)
    .bind(now)
    .bind(certificate);
    scope.restrict(update, "account_id")
}
