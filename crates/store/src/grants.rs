//! Grants: what people allowed clients, from the consent until the client has its token or the grant
//! has expired. Only hashes of the codes are kept.

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::directories::within_number;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AccountId, TokenId};
use crate::inventory::within;
use crate::sql::{Row, Statement};
use crate::store::Store;
use crate::tokens::{self, NewToken, lines};

/// The most grants of an account that have not expired.
pub const GRANTS_LIMIT: usize = 100;

/// The longest name of a client, redirect and challenge of a grant, in bytes.
pub const GRANT_TEXT_LIMIT: usize = 2_048;

/// What somebody allowed a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// SHA-256 of the code.
    pub hash: [u8; 32],
    /// The account that the client may act for.
    pub account_id: AccountId,
    /// The client that it was given to.
    pub client: String,
    /// Where the code was sent.
    pub redirect: String,
    /// The scopes of the token to come.
    pub scopes: Vec<String>,
    /// What whoever redeems it has to know the origin of; its form is known elsewhere.
    pub challenge: Option<String>,
    /// When the token to come stops working.
    pub token_expires_at: Option<OffsetDateTime>,
    /// Until when it can be redeemed; the store does not look at it.
    pub expires_at: OffsetDateTime,
    /// The token that was shown when it was given; a grant from before this was kept has none, and
    /// cannot be redeemed.
    pub given_with: Option<TokenId>,
    /// The token that came of it.
    pub token_id: Option<TokenId>,
}

impl Store {
    /// Keeps a grant.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownAccount`], [`Error::TooLong`], [`Error::Full`] beyond [`GRANTS_LIMIT`],
    /// [`Error::Duplicate`] when the hash is taken.
    pub async fn add_grant(&self, grant: Grant, event: NewEvent) -> Result<(), Error> {
        let Grant {
            hash,
            account_id,
            client,
            redirect,
            scopes,
            challenge,
            token_expires_at,
            expires_at,
            given_with,
            token_id,
        } = grant;
        let texts = [&client, &redirect, challenge.as_ref().unwrap_or(&client)];
        for text in texts {
            within("a text of the grant", GRANT_TEXT_LIMIT, text.len())?;
        }
        let insert = Statement::new(
            "insert into grants (expires_at, token_expires_at, hash, account_id, given_with, \
             token_id, client, redirect, scopes, challenge) \
             select * from (values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)) as fresh",
        )
        .bind(expires_at)
        .bind(token_expires_at)
        .bind(hash.as_slice())
        .bind(account_id)
        .bind(given_with)
        .bind(token_id)
        .bind(client)
        .bind(redirect)
        .bind(scopes.join("\n"))
        .bind(challenge);
        let insert = within_number(insert, "grants", Some(account_id), GRANTS_LIMIT);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(insert.clone()).await? == 0 {
                return Err(Error::Full);
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }

    /// The grant whose code has this hash (SHA-256): what a client has to show for the account.
    pub async fn grant_by_hash(&self, hash: &[u8; 32]) -> Result<Option<Grant>, Error> {
        let statement = Statement::new(
            "select account_id, client, redirect, scopes, challenge, token_expires_at, \
             expires_at, given_with, token_id from grants where hash = ?",
        );
        let row = self.backend().row(statement.bind(hash.as_slice())).await?;
        row.map(|mut row| read(*hash, &mut row)).transpose()
    }

    /// Makes a token of a grant, once, while the token is there that it was given with; the answer is
    /// whether this was the time.
    ///
    /// # Errors
    ///
    /// Those of [`Store::create_token`].
    pub async fn redeem_grant(
        &self,
        hash: &[u8; 32],
        token: NewToken,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let redeem = Statement::new(
            "update grants set token_id = ? where hash = ? and account_id = ? \
             and token_id is null \
             and exists (select 1 from tokens t where t.id = grants.given_with)",
        )
        .bind(token.id)
        .bind(hash.as_slice())
        .bind(token.account_id);
        let insert = tokens::insertion(token)?;
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(redeem.clone()).await? == 0 {
                return Ok(false);
            }
            transaction.execute(insert.clone()).await?;
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }

    /// Forgets grants that expired until `now`. The answer is how many that were.
    pub async fn sweep_grants(&self, now: OffsetDateTime) -> Result<u64, Error> {
        let delete = sweeping(now);
        in_transaction!(self.backend(), |transaction| {
            transaction.execute(delete.clone()).await
        })
    }
}

/// An account has so few that no portions are needed.
pub(crate) fn sweeping(now: OffsetDateTime) -> Statement {
    Statement::new("delete from grants where expires_at <= ?").bind(now)
}

fn read(hash: [u8; 32], row: &mut Row) -> Result<Grant, Error> {
    Ok(Grant {
        hash,
        account_id: row.take()?,
        client: row.take()?,
        redirect: row.take()?,
        scopes: lines(&row.take::<String>()?),
        challenge: row.take()?,
        token_expires_at: row.take()?,
        expires_at: row.take()?,
        given_with: row.take()?,
        token_id: row.take()?,
    })
}
