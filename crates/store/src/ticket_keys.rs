//! The secrets under which the edge seals session tickets, shared by all nodes. Each is a
//! generation of its own; of two nodes that make the same generation one is told so and takes the
//! other's.

use std::fmt;

use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::backend::in_transaction;
use crate::error::Error;
use crate::scope::{PAGE_LIMIT, page_limit};
use crate::seal::{Purpose, SealError};
use crate::sql::{Row, Statement, Value};
use crate::store::Store;

/// The length of the secret of a generation, in bytes.
pub const TICKET_SECRET_LENGTH: usize = 64;

/// A generation of ticket keys out of the store.
pub struct TicketKey {
    /// Its number; a newer one has a higher number.
    pub generation: u64,
    /// What the keys are derived from.
    pub secret: Zeroizing<[u8; TICKET_SECRET_LENGTH]>,
    /// When it was made, to the microsecond.
    pub created_at: OffsetDateTime,
}

impl Store {
    /// The generations of ticket keys, newest first, at most 1,000. [`Error::Seal`] when one does
    /// not open.
    pub async fn ticket_keys(&self) -> Result<Vec<TicketKey>, Error> {
        let statement = Statement::new(
            "select generation, created_at, sealed from ticket_keys order by generation desc limit ?",
        );
        let rows = self.backend().rows(statement.bind(page_limit(PAGE_LIMIT)));
        let rows = rows.await?;
        rows.into_iter()
            .map(|row| self.open_ticket_key(row))
            .collect()
    }

    /// Adds a generation of ticket keys. [`Error::Duplicate`] when it exists, because another node
    /// was faster.
    pub async fn add_ticket_key(
        &self,
        generation: u64,
        secret: &[u8; TICKET_SECRET_LENGTH],
        created_at: OffsetDateTime,
    ) -> Result<(), Error> {
        let sealed = self
            .sealer()
            .seal(Purpose::TicketKey, row_of(generation), secret)?;
        let insert = Statement::new(
            "insert into ticket_keys (generation, created_at, sealed) values (?, ?, ?)",
        )
        .bind(number(generation))
        .bind(created_at)
        .bind(sealed);
        in_transaction!(self.backend(), |transaction| {
            transaction.execute(insert.clone()).await.map(drop)
        })
    }

    /// Removes the generations before this one; the answer is how many.
    pub async fn delete_ticket_keys_before(&self, generation: u64) -> Result<u64, Error> {
        let delete = Statement::new("delete from ticket_keys where generation < ?");
        let delete = delete.bind(number(generation));
        in_transaction!(self.backend(), |transaction| {
            transaction.execute(delete.clone()).await
        })
    }

    fn open_ticket_key(&self, mut row: Row) -> Result<TicketKey, Error> {
        let generation = row.take()?;
        let created_at = row.take()?;
        let sealed: Vec<u8> = row.take()?;
        let opened = self
            .sealer()
            .open(Purpose::TicketKey, row_of(generation), &sealed)?;
        let mut secret = Zeroizing::new([0; TICKET_SECRET_LENGTH]);
        if opened.len() != secret.len() {
            return Err(SealError::Corrupt.into());
        }
        secret.copy_from_slice(&opened);
        Ok(TicketKey {
            generation,
            secret,
            created_at,
        })
    }
}

/// Shows nothing of the secret.
impl fmt::Debug for TicketKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TicketKey")
            .field("generation", &self.generation)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// What a sealed secret is bound to.
fn row_of(generation: u64) -> Uuid {
    Uuid::from_u128(generation.into())
}

fn number(generation: u64) -> Value {
    i64::try_from(generation).unwrap_or(i64::MAX).into()
}
