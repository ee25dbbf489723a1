//! Certificates that are to be obtained anew, as something else than they were.

use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::error::Error;
use crate::events::{self, EventRow, NewEvent};
use crate::ids::{AccountId, CertificateId};
use crate::inventory::{NAME_LIMIT, joined, within};
use crate::names;
use crate::orders;
use crate::scope::Scope;
use crate::sql::Statement;
use crate::store::Store;

/// What a certificate is to be obtained as from now on.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// The common name that it is listed under; at most [`NAME_LIMIT`] bytes.
    pub common_name: String,
    /// The names that it must cover, as text.
    pub identifiers: Vec<String>,
    /// The issuer, by name.
    pub issuer: String,
    /// When the first attempt is due.
    pub next_attempt_at: OffsetDateTime,
}

impl Store {
    /// Has an issuer obtain a certificate for other names, or one that came to be in another way
    /// before: it is pending, and its version stays what it is until there is a new one. An order
    /// that is under way ends. [`Error::NotFound`] when there is no such certificate in the scope.
    pub async fn request_anew(
        &self,
        scope: Scope,
        certificate: CertificateId,
        renewed: Renewed,
        event: NewEvent,
    ) -> Result<(), Error> {
        let request = PreparedRequest::new(scope, certificate, renewed, event)?;
        in_transaction!(self.backend(), |transaction| {
            request.apply(transaction).await?;
            events::insert(transaction, vec![request.event.clone()]).await
        })
    }
}

/// A certificate that is to be obtained anew, ready to be written.
pub(crate) struct PreparedRequest {
    update: Statement,
    certificate: CertificateId,
    common_name: String,
    identifiers: Vec<String>,
    now: OffsetDateTime,
    pub(crate) event: EventRow,
}

impl PreparedRequest {
    pub(crate) fn new(
        scope: Scope,
        certificate: CertificateId,
        renewed: Renewed,
        event: NewEvent,
    ) -> Result<Self, Error> {
        let Renewed {
            common_name,
            identifiers,
            issuer,
            next_attempt_at,
        } = renewed;
        within(
            "the common name of the certificate",
            NAME_LIMIT,
            common_name.len(),
        )?;
        within("the name of the issuer", NAME_LIMIT, issuer.len())?;
        let update = Statement::new(
            "update certificates set origin = 'issued', state = 'pending', attempt = 0, \
             reason = null, renew_at = null, next_action_at = ?, common_name = ?, \
             identifiers = ?, issuer = ? where id = ?",
        )
        .bind(next_attempt_at)
        .bind(common_name.as_str())
        .bind(joined(&identifiers)?)
        .bind(issuer)
        .bind(certificate);
        let update = scope
            .restrict(update, "account_id")
            .text(" returning account_id");
        Ok(Self {
            update,
            certificate,
            common_name,
            identifiers,
            now: event.at,
            event: event.into_row(),
        })
    }

    /// Writes it, yet without its event.
    pub(crate) async fn apply(&self, transaction: &mut Transaction) -> Result<(), Error> {
        let row = transaction.row(self.update.clone()).await?;
        let account: AccountId = row.ok_or(Error::NotFound)?.take()?;
        let (id, identifiers) = (self.certificate, &self.identifiers);
        let names = names::rows(account, id, &self.common_name, identifiers);
        names::replace(transaction, id, &names).await?;
        orders::end(transaction, &[id], self.now).await
    }
}
