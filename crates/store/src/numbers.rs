//! Numbers that are small, belong to one kind of thing over all accounts, and are given once.

use crate::backend::Transaction;
use crate::error::Error;
use crate::sql::Statement;

/// What has numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbered {
    Certificate,
    PrivateKey,
}

impl Numbered {
    fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::PrivateKey => "private_key",
        }
    }
}

/// Takes the next `count` numbers; the answer is the first of them. Whoever takes some at the same
/// time waits until this transaction ends.
pub(crate) async fn draw(
    transaction: &mut Transaction,
    kind: Numbered,
    count: usize,
) -> Result<i64, Error> {
    let count = i64::try_from(count).unwrap_or(0);
    let statement = Statement::new("update numbers set last = last + ? where kind = ?");
    let statement = statement.bind(count).bind(kind.as_str());
    let row = transaction.row(statement.text(" returning last")).await?;
    let mut row = row.ok_or(Error::Corrupt("a counter of numbers is missing"))?;
    let last: i64 = row.take()?;
    Ok(last - count + 1)
}
