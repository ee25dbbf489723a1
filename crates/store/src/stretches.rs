//! Services by number of page: for clients that ask for page 3 of 7 and know no other way. Pages
//! before the asked one are walked over in an index, so this is for the lists of people, not for
//! the millions that [`crate::services`] lists by key.

use crate::error::Error;
use crate::scope::{Scope, page_limit};
use crate::services::{self, Service};
use crate::sql::Statement;
use crate::store::Store;

/// Which services are counted; those that meet all conditions. Case does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceFilter {
    /// Only the one of this name.
    pub name: Option<String>,
    /// Only those of this environment.
    pub environment: Option<String>,
}

impl Store {
    /// The services after the first `skipped` of those that are counted, the oldest first, at most
    /// `limit` (and never more than 1,000); and how many there are in all.
    pub async fn stretch_of_services(
        &self,
        scope: Scope,
        filter: &ServiceFilter,
        skipped: u64,
        limit: usize,
    ) -> Result<(Vec<Service>, u64), Error> {
        let count = filtered(
            Statement::new("select count(*) from services s where 1 = 1"),
            filter,
        );
        let row = self
            .backend()
            .row(scope.restrict(count, "s.account_id"))
            .await?;
        let count: i64 = row.map_or(Ok(0), |mut row| row.take())?;
        let count = count.unsigned_abs();
        if skipped >= count {
            return Ok((Vec::new(), count));
        }
        let rows = self
            .backend()
            .rows(stretch(scope, filter, skipped, limit))
            .await?;
        let found = rows.into_iter().map(services::read);
        Ok((found.collect::<Result<_, _>>()?, count))
    }
}

pub(crate) fn stretch(
    scope: Scope,
    filter: &ServiceFilter,
    skipped: u64,
    limit: usize,
) -> Statement {
    let statement = filtered(services::select("1 = 1"), filter);
    scope
        .restrict(statement, "s.account_id")
        .text(" order by s.created_at, s.id limit ? offset ?")
        .bind(page_limit(limit))
        .bind(i64::try_from(skipped).unwrap_or(i64::MAX))
}

fn filtered(mut statement: Statement, filter: &ServiceFilter) -> Statement {
    let ServiceFilter { name, environment } = filter;
    for (column, wanted) in [("s.name", name), ("s.environment", environment)] {
        if let Some(wanted) = wanted {
            statement = statement
                .text(&format!(" and lower({column}) = lower(?)"))
                .bind(wanted.as_str());
        }
    }
    statement
}
