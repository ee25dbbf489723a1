//! Up to where certificates were told to end soon: one place for each time ahead, by the end of the
//! certificates and then by identifier, so that nothing is kept of single certificates.

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::CertificateId;
use crate::references::LOOKUP_PORTION;
use crate::sql::Statement;
use crate::store::Store;

/// A place in the order of ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryPlace {
    /// The end up to which was told.
    pub not_after: OffsetDateTime,
    /// Of the certificates with this very end, the last one that was told; none for all of them.
    pub certificate_id: Option<CertificateId>,
}

impl Store {
    /// The place up to which was told that certificates end in `days` days.
    pub async fn expiry_place(&self, days: u32) -> Result<Option<ExpiryPlace>, Error> {
        let statement =
            Statement::new("select not_after, certificate_id from expiry_places where days = ?")
                .bind(i64::from(days));
        let row = self.backend().row(statement).await?;
        row.map(|mut row| {
            Ok(ExpiryPlace {
                not_after: row.take()?,
                certificate_id: row.take()?,
            })
        })
        .transpose()
    }

    /// Moves that place, and writes the events for the certificates in between, both or neither.
    /// Returns whether the place was where the caller believes; if another node has moved it,
    /// nothing is changed.
    pub async fn move_expiry_place(
        &self,
        days: u32,
        from: Option<ExpiryPlace>,
        to: ExpiryPlace,
        events: Vec<NewEvent>,
    ) -> Result<bool, Error> {
        let days = i64::from(days);
        let advance = match from {
            Some(from) => Statement::new(
                "update expiry_places set not_after = ?, certificate_id = ? where days = ? \
                 and not_after = ? and certificate_id is not distinct from ?",
            )
            .bind(to.not_after)
            .bind(to.certificate_id)
            .bind(days)
            .bind(from.not_after)
            .bind(from.certificate_id),
            None => Statement::new(
                "insert into expiry_places (not_after, certificate_id, days) values (?, ?, ?) \
                 on conflict (days) do nothing",
            )
            .bind(to.not_after)
            .bind(to.certificate_id)
            .bind(days),
        };
        let events = events::into_rows(events);
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(advance.clone()).await? == 0 {
                return Ok(false);
            }
            events::insert(transaction, events.clone()).await?;
            Ok(true)
        })
    }

    /// Those of these certificates for whose common name their account has a younger valid
    /// certificate that ends later.
    pub async fn superseded(
        &self,
        certificates: &[CertificateId],
    ) -> Result<Vec<CertificateId>, Error> {
        let mut found = Vec::new();
        for portion in certificates.chunks(LOOKUP_PORTION) {
            for mut row in self.backend().rows(with_successors(portion)).await? {
                found.push(row.take()?);
            }
        }
        Ok(found)
    }
}

pub(crate) fn with_successors(certificates: &[CertificateId]) -> Statement {
    Statement::new("select c.id from certificates c where c.id in ")
        .list(certificates.iter().copied())
        .text(
            // No index serves an expression: the certificates for one name are few, those that end
            // later are most of them.
            " and exists (select 1 from certificates n where n.common_name = c.common_name \
             and n.account_id = c.account_id and n.created_at > c.created_at \
             and +n.not_after > c.not_after and n.state || '' = 'valid')",
        )
}
