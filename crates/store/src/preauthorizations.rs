//! What accounts need not prove control over, because an administrator vouches for them.

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::AccountId;
use crate::inventory::within;
use crate::sql::{Statement, Value, row_marks};
use crate::store::Store;

/// The most patterns of an account.
pub const PREAUTHORIZATIONS_LIMIT: usize = 1_000;

/// The longest pattern, in bytes.
pub const PREAUTHORIZATION_LIMIT: usize = 256;

impl Store {
    /// The patterns of an account, in their order as texts.
    pub async fn preauthorizations(&self, account: AccountId) -> Result<Vec<String>, Error> {
        let rows = self.backend().rows(of_account(account)).await?;
        rows.into_iter().map(|mut row| row.take()).collect()
    }

    /// Adds patterns to those of an account, and takes others away: all or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownAccount`], [`Error::TooLong`], [`Error::Full`] when the account would have
    /// more than [`PREAUTHORIZATIONS_LIMIT`].
    pub async fn change_preauthorizations(
        &self,
        account: AccountId,
        added: &[String],
        removed: &[String],
        event: NewEvent,
    ) -> Result<(), Error> {
        if added.len() > PREAUTHORIZATIONS_LIMIT || removed.len() > PREAUTHORIZATIONS_LIMIT {
            return Err(Error::Full);
        }
        for pattern in added {
            within("the pattern", PREAUTHORIZATION_LIMIT, pattern.len())?;
        }
        let now = event.at;
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if !removed.is_empty() {
                let delete = Statement::new(
                    "delete from preauthorizations where account_id = ? and pattern in ",
                )
                .bind(account)
                .list(removed.iter().map(String::as_str));
                transaction.execute(delete).await?;
            }
            if !added.is_empty() {
                transaction.execute(inserting(account, added, now)).await?;
            }
            let count = transaction.row(counting(account)).await?;
            let count: u64 = count.map_or(Ok(0), |mut row| row.take())?;
            if usize::try_from(count).unwrap_or(usize::MAX) > PREAUTHORIZATIONS_LIMIT {
                return Err(Error::Full);
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }
}

pub(crate) fn of_account(account: AccountId) -> Statement {
    Statement::new("select pattern from preauthorizations where account_id = ? order by pattern")
        .bind(account)
}

fn counting(account: AccountId) -> Statement {
    Statement::new("select count(*) from preauthorizations where account_id = ?").bind(account)
}

fn inserting(account: AccountId, patterns: &[String], now: OffsetDateTime) -> Statement {
    let marks = row_marks(patterns.len(), 3);
    let values = patterns
        .iter()
        .flat_map(|pattern| [Value::from(now), account.into(), pattern.as_str().into()]);
    Statement::with_values(
        format!(
            "insert into preauthorizations (created_at, account_id, pattern) values {marks} \
             on conflict (account_id, pattern) do nothing"
        ),
        values.collect(),
    )
}
