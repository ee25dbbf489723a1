//! Certificates by when they end, and how late what is due is: what those who watch over all of
//! them ask.

use std::time::Duration;

use time::OffsetDateTime;

use crate::certificates::{self, Certificate};
use crate::error::Error;
use crate::ids::CertificateId;
use crate::scope::page_limit;
use crate::sql::Statement;
use crate::store::Store;

impl Store {
    /// The valid certificates of all accounts whose current version ends after `from` and not after
    /// `to`, by the end and then by identifier, at most `limit` (and never more than 1,000). A next
    /// page has the end of the last certificate as `from` and its identifier as `after`, so that
    /// others with the same end follow.
    pub async fn expiring_between(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        after: Option<CertificateId>,
        limit: usize,
    ) -> Result<Vec<Certificate>, Error> {
        let rows = self
            .backend()
            .rows(ending_between(from, to, after, limit))
            .await?;
        rows.into_iter().map(certificates::read).collect()
    }

    /// When the first of all valid certificates ends that has not ended at `now`.
    pub async fn earliest_expiry(
        &self,
        now: OffsetDateTime,
    ) -> Result<Option<OffsetDateTime>, Error> {
        let row = self.backend().row(first_end(now)).await?;
        row.map(|mut row| row.take()).transpose()
    }

    /// How long what is due longest has been due at `now`; zero when nothing is. What somebody has
    /// claimed is not due.
    pub async fn overdue(&self, now: OffsetDateTime) -> Result<Duration, Error> {
        let Some(mut row) = self.backend().row(first_due()).await? else {
            return Ok(Duration::ZERO);
        };
        let first: OffsetDateTime = row.take()?;
        Ok(Duration::try_from(now - first).unwrap_or_default())
    }
}

pub(crate) fn ending_between(
    from: OffsetDateTime,
    to: OffsetDateTime,
    after: Option<CertificateId>,
    limit: usize,
) -> Statement {
    let statement = match after {
        Some(id) => certificates::select("(c.not_after, c.id) > (?, ?)")
            .bind(from)
            .bind(id),
        None => certificates::select("c.not_after > ?").bind(from),
    };
    statement
        .text(
            " and c.not_after is not null and c.not_after <= ? and c.state = 'valid' \
             order by c.not_after, c.id limit ?",
        )
        .bind(to)
        .bind(page_limit(limit))
}

pub(crate) fn first_end(now: OffsetDateTime) -> Statement {
    Statement::new(
        "select not_after from certificates where not_after > ? and state = 'valid' \
         order by not_after, id limit 1",
    )
    .bind(now)
}

pub(crate) fn first_due() -> Statement {
    Statement::new(
        "select next_action_at from certificates where next_action_at is not null \
         order by next_action_at limit 1",
    )
}
