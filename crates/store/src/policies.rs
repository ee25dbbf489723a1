//! What accounts may have certified by private authorities. What a policy says is up to those who write
//! it; here it is a text.

use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::AccountId;
use crate::inventory::within;
use crate::sql::Statement;
use crate::store::Store;

/// The longest policy that is kept, in bytes.
pub const POLICY_LIMIT: usize = 64 * 1024;

impl Store {
    /// The policy of an account, if it has one.
    pub async fn policy(&self, account: AccountId) -> Result<Option<String>, Error> {
        let statement = Statement::new("select policy from policies where account_id = ?");
        let row = self.backend().row(statement.bind(account)).await?;
        row.map(|mut row| row.take()).transpose()
    }

    /// Gives an account a policy, in place of an earlier one, or takes it away.
    /// [`Error::UnknownAccount`], [`Error::TooLong`] beyond [`POLICY_LIMIT`].
    pub async fn set_policy(
        &self,
        account: AccountId,
        policy: Option<&str>,
        event: NewEvent,
    ) -> Result<(), Error> {
        let change = match policy {
            Some(policy) => {
                within("the policy", POLICY_LIMIT, policy.len())?;
                Statement::new(
                    "insert into policies (account_id, policy) values (?, ?) \
                     on conflict (account_id) do update set policy = excluded.policy",
                )
                .bind(account)
                .bind(policy)
            }
            None => Statement::new("delete from policies where account_id = ?").bind(account),
        };
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            transaction.execute(change.clone()).await?;
            events::insert(transaction, vec![event.clone()]).await
        })
    }
}
