//! Accounts: the tenants to whom everything else belongs.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::AccountId;
use crate::private_key_labels;
use crate::scope::page_limit;
use crate::sql::{Row, Statement};
use crate::store::Store;
use crate::tokens::{self, NewToken};

/// The longest name of an account or a token, in bytes.
pub const ACCOUNT_NAME_LIMIT: usize = 256;

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// May manage accounts, authorities and issuers as well.
    Admin,
    /// May manage what belongs to it.
    User,
}

impl Role {
    /// `admin` or `user`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "admin" => Ok(Self::Admin),
            "user" => Ok(Self::User),
            _ => Err(Error::Corrupt("an account has an unknown role")),
        }
    }
}

/// What an account is barred from. The dialects tell the three apart in their answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct AccountStatus {
    /// Switched off by the operator.
    pub disabled: bool,
    /// Locked, for instance after an incident.
    pub locked: bool,
    /// May own things but not sign in.
    pub no_login: bool,
}

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its identifier.
    pub id: AccountId,
    /// Its name, unique in the installation; at most [`ACCOUNT_NAME_LIMIT`] bytes.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What it is barred from.
    pub status: AccountStatus,
    /// When it is made.
    pub created_at: OffsetDateTime,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its identifier.
    pub id: AccountId,
    /// Its name, unique in the installation.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What it is barred from.
    pub status: AccountStatus,
    /// When it was made, to the microsecond.
    pub created_at: OffsetDateTime,
}

/// One of the bars of an [`AccountStatus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountBar {
    /// Refused everywhere.
    Disabled,
    /// Refused by the web login.
    Locked,
    /// Never allowed to log in on the web.
    NoLogin,
}

impl Store {
    /// Makes an account. [`Error::Duplicate`] when the name is taken.
    pub async fn create_account(
        &self,
        account: NewAccount,
        event: NewEvent,
    ) -> Result<Account, Error> {
        let insert = insertion(account)?;
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            let mut row = transaction
                .row(insert.clone())
                .await?
                .ok_or(Error::NotFound)?;
            events::insert(transaction, vec![event.clone()]).await?;
            read(&mut row)
        })
    }

    /// Makes an account and its first token, both or neither. [`Error::Duplicate`] when the
    /// account's name is taken.
    pub async fn create_account_with_token(
        &self,
        (account, account_event): (NewAccount, NewEvent),
        (token, token_event): (NewToken, NewEvent),
    ) -> Result<(), Error> {
        let account = insertion(account)?;
        let token = tokens::insertion(token)?;
        let events = vec![account_event.into_row(), token_event.into_row()];
        in_transaction!(self.backend(), |transaction| {
            transaction.row(account.clone()).await?;
            transaction.execute(token.clone()).await?;
            events::insert(transaction, events.clone()).await
        })
    }

    /// The account with this identifier.
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, Error> {
        self.one_account(Statement::new(select("where id = ?")).bind(id))
            .await
    }

    /// The account with this name.
    pub async fn account_by_name(&self, name: &str) -> Result<Option<Account>, Error> {
        self.one_account(Statement::new(select("where name = ?")).bind(name))
            .await
    }

    /// Accounts by name, those after the name `after`, at most `limit` (and never more than 1,000).
    pub async fn accounts(&self, after: Option<&str>, limit: usize) -> Result<Vec<Account>, Error> {
        let statement = match after {
            Some(name) => Statement::new(select("where name > ?")).bind(name),
            None => Statement::new(select("")),
        }
        .text(" order by name limit ?")
        .bind(page_limit(limit));
        let rows = self.backend().rows(statement).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Puts a bar on an account or lifts it, whatever happens to its other bars at the same time.
    /// Returns the account as it is then; [`Error::NotFound`] when there is none.
    pub async fn set_account_bar(
        &self,
        id: AccountId,
        bar: AccountBar,
        is_on: bool,
        event: NewEvent,
    ) -> Result<Account, Error> {
        let update = Statement::new(match bar {
            AccountBar::Disabled => "update accounts set disabled = ? where id = ?",
            AccountBar::Locked => "update accounts set locked = ? where id = ?",
            AccountBar::NoLogin => "update accounts set no_login = ? where id = ?",
        })
        .bind(is_on)
        .bind(id)
        .text(" returning id, name, role, disabled, locked, no_login, created_at");
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            let mut row = transaction
                .row(update.clone())
                .await?
                .ok_or(Error::NotFound)?;
            events::insert(transaction, vec![event.clone()]).await?;
            read(&mut row)
        })
    }

    /// Removes an account with its tokens, directories, DNS providers, webhooks and the private keys
    /// that were made on their own; the answer is whether there was one. [`Error::InUse`] while it has certificates, services or instances. What
    /// its certificates left behind for OCSP and CRLs stays.
    pub async fn delete_account(&self, id: AccountId, event: NewEvent) -> Result<bool, Error> {
        let uses = in_use(id);
        let keys = private_key_labels::deleting_own(id);
        let delete = Statement::new("delete from accounts where id = ?").bind(id);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            // Nobody may add anything meanwhile: keys that come later would stay.
            let lock = Statement::new("select 1 from accounts where id = ?").bind(id);
            let lock = lock.text(transaction.removal_lock());
            if transaction.row(lock).await?.is_none() {
                return Ok(false);
            }
            if transaction.row(uses.clone()).await?.is_some() {
                return Err(Error::InUse);
            }
            transaction.execute(keys.clone()).await?;
            match transaction.execute(delete.clone()).await {
                Ok(0) => Ok(false),
                Ok(_) => {
                    events::insert(transaction, vec![event.clone()]).await?;
                    Ok(true)
                }
                Err(Error::UnknownAccount) => Err(Error::InUse),
                Err(error) => Err(error),
            }
        })
    }

    async fn one_account(&self, statement: Statement) -> Result<Option<Account>, Error> {
        self.backend()
            .row(statement)
            .await?
            .map(|mut row| read(&mut row))
            .transpose()
    }
}

/// The columns of an account, in the order in which [`read`] takes them.
pub(crate) const COLUMNS: &str = "id, name, role, disabled, locked, no_login, created_at";

pub(crate) fn read(row: &mut Row) -> Result<Account, Error> {
    Ok(Account {
        id: row.take()?,
        name: row.take()?,
        role: row.take::<String>()?.parse()?,
        status: AccountStatus {
            disabled: row.take()?,
            locked: row.take()?,
            no_login: row.take()?,
        },
        created_at: row.take()?,
    })
}

/// Whether an account has certificates, services or instances.
pub(crate) fn in_use(id: AccountId) -> Statement {
    Statement::new(
        "select 1 where exists (select 1 from certificates where account_id = ?) \
         or exists (select 1 from services where account_id = ?) \
         or exists (select 1 from instances where account_id = ?)",
    )
    .bind(id)
    .bind(id)
    .bind(id)
}

fn insertion(account: NewAccount) -> Result<Statement, Error> {
    let NewAccount {
        id,
        name,
        role,
        status,
        created_at,
    } = account;
    if name.len() > ACCOUNT_NAME_LIMIT {
        return Err(Error::TooLong {
            what: "the name of the account",
            limit: ACCOUNT_NAME_LIMIT,
        });
    }
    Ok(Statement::new(
        "insert into accounts (id, name, role, disabled, locked, no_login, created_at) \
         values (?, ?, ?, ?, ?, ?, ?) \
         returning id, name, role, disabled, locked, no_login, created_at",
    )
    .bind(id)
    .bind(name)
    .bind(role.as_str())
    .bind(status.disabled)
    .bind(status.locked)
    .bind(status.no_login)
    .bind(created_at))
}

fn select(condition: &str) -> String {
    format!("select {COLUMNS} from accounts {condition}")
}
