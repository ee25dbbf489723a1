//! Whose rows a call may see or change.

use crate::ids::AccountId;
use crate::sql::Statement;

/// The most rows that one call returns.
pub const PAGE_LIMIT: usize = 1_000;

/// Whose rows a call may see or change. Rows outside the scope do not exist for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The rows of one account.
    Account(AccountId),
    /// The rows of all accounts and of the operator. For the system itself, never for a request.
    Everything,
}

impl Scope {
    /// Adds the condition to a statement that already has one.
    pub(crate) fn restrict(self, statement: Statement, column: &str) -> Statement {
        match self {
            Self::Account(account) => statement.text(&format!(" and {column} = ?")).bind(account),
            Self::Everything => statement,
        }
    }
}

/// What a caller asked for, but never more than [`PAGE_LIMIT`].
pub(crate) fn page_limit(limit: usize) -> i64 {
    i64::try_from(limit.min(PAGE_LIMIT)).unwrap_or(0)
}
