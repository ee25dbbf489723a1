//! Tokens: the credentials of accounts. Only a hash is ever stored.

use time::OffsetDateTime;

use crate::accounts::{self, ACCOUNT_NAME_LIMIT, Account};
use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AccountId, TokenId};
use crate::scope::{Scope, page_limit};
use crate::sql::{Row, Statement};
use crate::store::Store;

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its identifier.
    pub id: TokenId,
    /// The account that it speaks for.
    pub account_id: AccountId,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// Whether it may only look.
    pub read_only: bool,
    /// The dialects it is good for; none means all.
    pub dialects: Option<Vec<String>>,
    /// The scopes it is limited to; none means no limit.
    pub scopes: Option<Vec<String>>,
    /// When it stops working.
    pub expires_at: Option<OffsetDateTime>,
    /// When it is made.
    pub created_at: OffsetDateTime,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its identifier.
    pub id: TokenId,
    /// The account that it speaks for.
    pub account_id: AccountId,
    /// What people call it.
    pub name: String,
    /// Whether it may only look.
    pub read_only: bool,
    /// The dialects it is good for; none means all.
    pub dialects: Option<Vec<String>>,
    /// The scopes it is limited to; none means no limit.
    pub scopes: Option<Vec<String>>,
    /// When it stops working; the store does not look at it.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

impl Store {
    /// Makes a token. [`Error::UnknownAccount`] when its account does not exist,
    /// [`Error::Duplicate`] when the hash or the identifier is taken.
    pub async fn create_token(&self, token: NewToken, event: NewEvent) -> Result<(), Error> {
        let insert = insertion(token)?;
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            transaction.execute(insert.clone()).await?;
            events::insert(transaction, vec![event.clone()]).await
        })
    }

    /// The token with this hash (SHA-256) and its account, in one query.
    pub async fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<(Token, Account)>, Error> {
        let statement = Statement::new(
            "select t.id, t.account_id, t.name, t.read_only, t.dialects, t.scopes, t.expires_at, \
             t.created_at, a.id, a.name, a.role, a.disabled, a.locked, a.no_login, a.created_at \
             from tokens t join accounts a on a.id = t.account_id where t.hash = ?",
        )
        .bind(hash.as_slice());
        let Some(mut row) = self.backend().row(statement).await? else {
            return Ok(None);
        };
        let token = read(&mut row)?;
        let account = accounts::read(&mut row)?;
        Ok(Some((token, account)))
    }

    /// Tokens by identifier, those after `after`, at most `limit` (and never more than 1,000).
    pub async fn tokens(
        &self,
        scope: Scope,
        after: Option<TokenId>,
        limit: usize,
    ) -> Result<Vec<Token>, Error> {
        let after = after.unwrap_or_else(|| TokenId::from_uuid(uuid::Uuid::nil()));
        let statement = Statement::new(
            "select id, account_id, name, read_only, dialects, scopes, expires_at, created_at \
             from tokens where id > ?",
        )
        .bind(after);
        let statement = scope
            .restrict(statement, "account_id")
            .text(" order by id limit ?")
            .bind(page_limit(limit));
        let rows = self.backend().rows(statement).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Removes a token; the answer is whether there was one. The event counts for the account that
    /// the token was of.
    pub async fn delete_token(
        &self,
        scope: Scope,
        id: TokenId,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let delete = Statement::new("delete from tokens where id = ?").bind(id);
        let delete = scope
            .restrict(delete, "account_id")
            .text(" returning account_id");
        in_transaction!(self.backend(), |transaction| {
            let Some(mut row) = transaction.row(delete.clone()).await? else {
                return Ok(false);
            };
            let event = NewEvent {
                account_id: Some(row.take()?),
                ..event.clone()
            };
            events::insert(transaction, vec![event.into_row()]).await?;
            Ok(true)
        })
    }
}

/// The statement that stores a token.
pub(crate) fn insertion(token: NewToken) -> Result<Statement, Error> {
    let NewToken {
        id,
        account_id,
        name,
        hash,
        read_only,
        dialects,
        scopes,
        expires_at,
        created_at,
    } = token;
    if name.len() > ACCOUNT_NAME_LIMIT {
        return Err(Error::TooLong {
            what: "the name of the token",
            limit: ACCOUNT_NAME_LIMIT,
        });
    }
    Ok(Statement::new(
        "insert into tokens (id, account_id, name, hash, read_only, dialects, scopes, \
         expires_at, created_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(account_id)
    .bind(name)
    .bind(hash.as_slice())
    .bind(read_only)
    .bind(dialects.map(|list| list.join("\n")))
    .bind(scopes.map(|list| list.join("\n")))
    .bind(expires_at)
    .bind(created_at))
}

fn read(row: &mut Row) -> Result<Token, Error> {
    Ok(Token {
        id: row.take()?,
        account_id: row.take()?,
        name: row.take()?,
        read_only: row.take()?,
        dialects: row.take::<Option<String>>()?.as_deref().map(lines),
        scopes: row.take::<Option<String>>()?.as_deref().map(lines),
        expires_at: row.take()?,
        created_at: row.take()?,
    })
}

/// Takes a list apart that was stored one item to a line.
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
