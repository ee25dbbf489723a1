//! Pages: stretches of lists in the order in which things were added.

use time::OffsetDateTime;

use crate::ids::CertificateId;
use crate::scope::{Scope, page_limit};
use crate::sql::{Statement, Value};

/// Which stretch of a list to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<Id = CertificateId> {
    /// Where the stretch begins.
    pub from: PageStart<Id>,
    /// How many rows it has at most; never more than [`crate::PAGE_LIMIT`].
    pub limit: usize,
    /// In which direction it runs.
    pub order: Order,
}

/// Where a stretch of a list begins. Both kinds of places are part of the stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageStart<Id = CertificateId> {
    /// At this row, whether it still exists or not.
    At {
        /// When it was added.
        created_at: OffsetDateTime,
        /// Its identifier.
        id: Id,
    },
    /// At the beginning of the list.
    Beginning,
    /// At the first row added at this moment, or the next one in the list's direction.
    Time(OffsetDateTime),
}

/// The direction of a list. Rows are ordered by the time they were added, then by identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

impl<Id: Copy> Page<Id> {
    /// Ends a statement that has a condition already, so that it returns this stretch. `table` is
    /// the name of the table in the statement.
    pub(crate) fn restrict(&self, statement: Statement, scope: Scope, table: &str) -> Statement
    where
        Id: Into<Value>,
    {
        self.restrict_by(statement, scope, table, &format!("{table}.created_at"))
    }

    /// The same, with another expression for the time of addition: an index may serve the one and
    /// not the other.
    pub(crate) fn restrict_by(
        &self,
        statement: Statement,
        scope: Scope,
        table: &str,
        created_at: &str,
    ) -> Statement
    where
        Id: Into<Value>,
    {
        let (beyond, direction) = match self.order {
            Order::Ascending => (">=", "asc"),
            Order::Descending => ("<=", "desc"),
        };
        let statement = match self.from {
            PageStart::Beginning => statement,
            PageStart::At {
                created_at: moment,
                id,
            } => statement
                .text(&format!(" and ({created_at}, {table}.id) {beyond} (?, ?)"))
                .bind(moment)
                .bind(id),
            PageStart::Time(moment) => statement
                .text(&format!(" and {created_at} {beyond} ?"))
                .bind(moment),
        };
        scope
            .restrict(statement, &format!("{table}.account_id"))
            .text(&format!(
                " order by {table}.created_at {direction}, {table}.id {direction} limit ?"
            ))
            .bind(page_limit(self.limit))
    }
}
