//! Which issuer an account's certificates come from when nobody names one.

use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::AccountId;
use crate::inventory::{NAME_LIMIT, within};
use crate::sql::Statement;
use crate::store::Store;

impl Store {
    /// The issuer that an account has chosen, by name.
    pub async fn default_issuer(&self, account: AccountId) -> Result<Option<String>, Error> {
        let statement = Statement::new("select issuer from default_issuers where account_id = ?");
        let row = self.backend().row(statement.bind(account)).await?;
        row.map(|mut row| row.take()).transpose()
    }

    /// Chooses an issuer for an account, in place of an earlier choice. [`Error::UnknownAccount`],
    /// [`Error::TooLong`].
    pub async fn set_default_issuer(
        &self,
        account: AccountId,
        issuer: &str,
        event: NewEvent,
    ) -> Result<(), Error> {
        within("the name of the issuer", NAME_LIMIT, issuer.len())?;
        let upsert = Statement::new(
            "insert into default_issuers (account_id, issuer) values (?, ?) \
             on conflict (account_id) do update set issuer = excluded.issuer",
        )
        .bind(account)
        .bind(issuer);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            transaction.execute(upsert.clone()).await?;
            events::insert(transaction, vec![event.clone()]).await
        })
    }
}
