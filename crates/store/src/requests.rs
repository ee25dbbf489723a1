//! Certificates that are to be obtained anew, as something else than they were.

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
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
        let now = event.at;
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            let row = transaction.row(update.clone()).await?;
            let account: AccountId = row.ok_or(Error::NotFound)?.take()?;
            let names = names::rows(account, certificate, &common_name, &identifiers);
            names::replace(transaction, certificate, &names).await?;
            orders::end(transaction, &[certificate], now).await?;
            events::insert(transaction, vec![event.clone()]).await
        })
    }
}
