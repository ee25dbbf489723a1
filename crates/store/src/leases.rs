//! Leases on work that is due: who claims a certificate has it to itself until the lease ends.
//!
//! A lease is nothing but the time of the next action moved forward. A node that dies loses its
//! lease, never the work.

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::certificates::{self, Certificate};
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::CertificateId;
use crate::references::LOOKUP_PORTION;
use crate::scope::{Scope, page_limit};
use crate::sql::Statement;
use crate::store::Store;

impl Store {
    /// Claims certificates whose next action is due at `now`, those due longest first, at most
    /// `limit` (and never more than 1,000), until `until`. Whoever asks meanwhile gets others.
    pub async fn claim_due(
        &self,
        now: OffsetDateTime,
        until: OffsetDateTime,
        limit: usize,
    ) -> Result<Vec<Certificate>, Error> {
        let claim = claim(now, until, limit);
        in_transaction!(self.backend(), |transaction| {
            let mut ids: Vec<CertificateId> = Vec::new();
            for mut row in transaction.rows(claim.clone()).await? {
                ids.push(row.take()?);
            }
            let mut claimed = Vec::with_capacity(ids.len());
            for portion in ids.chunks(LOOKUP_PORTION) {
                let statement = certificates::by_ids(Scope::Everything, portion);
                for row in transaction.rows(statement).await? {
                    claimed.push(certificates::read(row)?);
                }
            }
            Ok(claimed)
        })
    }

    /// Writes down that an attempt at the next version of a valid certificate failed and when the
    /// next one is due; its state stays. [`Error::NotFound`] when there is no such certificate in
    /// the scope, or it is not valid any more.
    pub async fn postpone(
        &self,
        scope: Scope,
        certificate: CertificateId,
        attempt: u8,
        next_action_at: OffsetDateTime,
        event: NewEvent,
    ) -> Result<(), Error> {
        let update = Statement::new(
            "update certificates set attempt = ?, next_action_at = ? \
             where id = ? and state = 'valid'",
        )
        .bind(i64::from(attempt))
        .bind(next_action_at)
        .bind(certificate);
        let update = scope.restrict(update, "account_id");
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(update.clone()).await? == 0 {
                return Err(Error::NotFound);
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }
}

pub(crate) fn claim(now: OffsetDateTime, until: OffsetDateTime, limit: usize) -> Statement {
    Statement::new(
        // The condition is repeated for PostgreSQL, where another node may have been faster. No index
        // serves an expression, so the rows are found by what the inner statement says.
        "update certificates set next_action_at = ? where +next_action_at <= ? and id in \
         (select id from certificates where next_action_at <= ? order by next_action_at limit ?) \
         returning id",
    )
    .bind(until)
    .bind(now)
    .bind(now)
    .bind(page_limit(limit))
}
