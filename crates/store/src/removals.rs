//! Removals: what is still shown of certificates that were taken off a service and out of the
//! inventory, as long as some target has not said that their files are gone.

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::error::Error;
use crate::ids::{AccountId, CertificateId, ServiceId};
use crate::inventory::{IDENTIFIERS_LIMIT, within};
use crate::scope::{PAGE_LIMIT, Scope, page_limit};
use crate::sql::{Row, Statement};
use crate::store::Store;

/// A certificate that is being taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRemoval {
    /// The service that it was on.
    pub service_id: ServiceId,
    /// The certificate, which is gone.
    pub certificate_id: CertificateId,
    /// The account of both.
    pub account_id: AccountId,
    /// What is shown of it, in a form that only those know who wrote it; at most twice
    /// [`IDENTIFIERS_LIMIT`] bytes.
    pub shown: String,
    /// When it was taken off.
    pub removed_at: OffsetDateTime,
}

impl Store {
    /// Writes down that a certificate is being taken away; what was written before stays.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when the service is gone, [`Error::TooLong`].
    pub async fn begin_removal(&self, removal: &CertificateRemoval) -> Result<(), Error> {
        let limit = 2 * IDENTIFIERS_LIMIT;
        within(
            "what is shown of the certificate",
            limit,
            removal.shown.len(),
        )?;
        let insert = Statement::new(
            "insert into removals (removed_at, service_id, certificate_id, account_id, shown) \
             values (?, ?, ?, ?, ?) on conflict (service_id, certificate_id) do nothing",
        )
        .bind(removal.removed_at)
        .bind(removal.service_id)
        .bind(removal.certificate_id)
        .bind(removal.account_id)
        .bind(removal.shown.as_str());
        in_transaction!(self.backend(), |transaction| {
            let begun = transaction.execute(insert.clone()).await;
            begun.map_err(|error| error.or_missing(Error::NotFound))?;
            Ok(())
        })
    }

    /// The removals from a service that go on: some target may still have the files, and the
    /// certificate is gone from the inventory. In the order in which they were begun, at most
    /// 1,000.
    pub async fn removals(
        &self,
        scope: Scope,
        service: ServiceId,
    ) -> Result<Vec<CertificateRemoval>, Error> {
        let statement = Statement::new(format!(
            "select service_id, certificate_id, account_id, shown, removed_at from removals \
             where service_id = ? and {GOES_ON}"
        ));
        let statement = scope.restrict(statement.bind(service), "account_id");
        let statement = statement
            .text(" order by removed_at, certificate_id limit ?")
            .bind(page_limit(PAGE_LIMIT));
        let rows = self.backend().rows(statement).await?;
        rows.into_iter().map(read).collect()
    }

    /// Forgets the removals that are done: no target has the files any more. Those whose certificate
    /// is still in the inventory have hardly begun and are left alone. The answer is how many were
    /// forgotten.
    pub async fn forget_removals(&self) -> Result<u64, Error> {
        let delete = Statement::new(format!(
            "delete from removals where not ({GOES_ON}) and not exists (select 1 from certificates c \
             where c.id = removals.certificate_id)"
        ));
        in_transaction!(self.backend(), |transaction| {
            transaction.execute(delete.clone()).await
        })
    }
}

const GOES_ON: &str = "exists (select 1 from placements p \
     where p.certificate_id = removals.certificate_id) \
     and not exists (select 1 from certificates c where c.id = removals.certificate_id)";

fn read(mut row: Row) -> Result<CertificateRemoval, Error> {
    Ok(CertificateRemoval {
        service_id: row.take()?,
        certificate_id: row.take()?,
        account_id: row.take()?,
        shown: row.take()?,
        removed_at: row.take()?,
    })
}
