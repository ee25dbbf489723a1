//! Programs that may ask people for grants. The operator registers them; they belong to no account.

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::grants::GRANT_TEXT_LIMIT;
use crate::inventory::within;
use crate::scope::page_limit;
use crate::sql::{Row, Statement};
use crate::store::Store;
use crate::tokens::lines;

/// The most clients.
pub const REGISTERED_CLIENTS_LIMIT: usize = 1_000;

/// The most redirects of a client.
pub const REDIRECTS_LIMIT: usize = 20;

/// A program that may ask people for grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredClient {
    /// What it calls itself.
    pub name: String,
    /// Where codes may be sent.
    pub redirects: Vec<String>,
    /// SHA-256 of its secret, if it can keep one.
    pub secret_hash: Option<[u8; 32]>,
    /// When it was registered.
    pub created_at: OffsetDateTime,
}

impl Store {
    /// Registers a client.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateName`], [`Error::TooLong`] for a text or too many redirects,
    /// [`Error::Full`] beyond [`REGISTERED_CLIENTS_LIMIT`].
    pub async fn register_client(
        &self,
        client: RegisteredClient,
        event: NewEvent,
    ) -> Result<(), Error> {
        let RegisteredClient {
            name,
            redirects,
            secret_hash,
            created_at,
        } = client;
        within("the list of redirects", REDIRECTS_LIMIT, redirects.len())?;
        within("the name of the client", GRANT_TEXT_LIMIT, name.len())?;
        for redirect in &redirects {
            within("the redirect", GRANT_TEXT_LIMIT, redirect.len())?;
        }
        let limit = i64::try_from(REGISTERED_CLIENTS_LIMIT).unwrap_or(i64::MAX);
        let insert = Statement::new(
            "insert into registered_clients (created_at, name, redirects, secret_hash) \
             select * from (values (?, ?, ?, ?)) as fresh \
             where (select count(*) from registered_clients) < ? \
             on conflict (name) do nothing",
        )
        .bind(created_at)
        .bind(name.clone())
        .bind(redirects.join("\n"))
        .bind(secret_hash.map(Vec::from))
        .bind(limit);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(insert.clone()).await? == 0 {
                return Err(match transaction.row(named(&name)).await? {
                    Some(_) => Error::DuplicateName,
                    None => Error::Full,
                });
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }

    /// The client of this name.
    pub async fn registered_client(&self, name: &str) -> Result<Option<RegisteredClient>, Error> {
        let row = self.backend().row(named(name)).await?;
        row.map(|mut row| read(&mut row)).transpose()
    }

    /// All clients, by name.
    pub async fn registered_clients(&self) -> Result<Vec<RegisteredClient>, Error> {
        let statement = Statement::new(format!("{SELECTION} order by name limit ?"))
            .bind(page_limit(REGISTERED_CLIENTS_LIMIT));
        let rows = self.backend().rows(statement).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Removes a client, with the grants that it has not redeemed; the answer is whether there was
    /// one. Its tokens go on working.
    pub async fn remove_registered_client(
        &self,
        name: &str,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let delete = Statement::new("delete from registered_clients where name = ?").bind(name);
        let grants = Statement::new("delete from grants where client = ? and token_id is null");
        let grants = grants.bind(name);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(delete.clone()).await? == 0 {
                return Ok(false);
            }
            transaction.execute(grants.clone()).await?;
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }
}

const SELECTION: &str = "select name, redirects, secret_hash, created_at from registered_clients";

fn named(name: &str) -> Statement {
    Statement::new(format!("{SELECTION} where name = ?")).bind(name)
}

fn read(row: &mut Row) -> Result<RegisteredClient, Error> {
    let (name, redirects) = (row.take()?, lines(&row.take::<String>()?));
    let secret: Option<Vec<u8>> = row.take()?;
    let secret_hash = secret.map(|hash| {
        <[u8; 32]>::try_from(hash).map_err(|_| Error::Corrupt("a hash has not 32 octets"))
    });
    Ok(RegisteredClient {
        name,
        redirects,
        secret_hash: secret_hash.transpose()?,
        created_at: row.take()?,
    })
}
