//! Shards: the parts into which the revocation list of an authority is divided.
//!
//! Every version that an authority signs has a place in one of its shards from the moment of its
//! issuance on, because the certificate says where its list is. Shards are counted from 0 and filled
//! one after the other; nodes take places by the thousand, so that issuing does not wait for them.

use crate::backend::{Transaction, in_transaction};
use crate::error::Error;
use crate::ids::AuthorityId;
use crate::sql::Statement;
use crate::store::Store;

/// How a shard stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardStanding {
    /// How many revocations it has seen: when it changes, lists of it are out of date.
    pub revocations: u64,
    /// The last shard that the authority has begun.
    pub last_shard: u64,
}

impl Store {
    /// Takes `count` places in the last shard of an authority, or in a new one if that would have
    /// more than `limit` then. Returns the shard. [`Error::NotFound`] when there is no such authority.
    pub async fn take_places(
        &self,
        authority: AuthorityId,
        count: u64,
        limit: u64,
    ) -> Result<u64, Error> {
        let take = taking(authority, count, limit);
        let begin = Statement::new(
            "insert into crl_shards (authority_id, shard, places, revocations, crl_number) \
             select authority_id, max(shard) + 1, ?, 0, 0 from crl_shards where authority_id = ? \
             group by authority_id on conflict (authority_id, shard) do nothing returning shard",
        )
        .bind(count.cast_signed())
        .bind(authority);
        loop {
            let shard = in_transaction!(self.backend(), |transaction| {
                let row = match transaction.row(take.clone()).await? {
                    Some(row) => Some(row),
                    None => transaction.row(begin.clone()).await?,
                };
                row.map(|mut row| row.take()).transpose()
            })?;
            if let Some(shard) = shard {
                return Ok(shard);
            }
            // Another node began the next one.
            self.shard(authority, 0).await?.ok_or(Error::NotFound)?;
        }
    }

    /// How a shard stands, if it has been begun.
    pub async fn shard(
        &self,
        authority: AuthorityId,
        shard: u64,
    ) -> Result<Option<ShardStanding>, Error> {
        let Some(mut row) = self.backend().row(standing(authority, shard)).await? else {
            return Ok(None);
        };
        Ok(Some(ShardStanding {
            revocations: row.take()?,
            last_shard: row.take()?,
        }))
    }
}

/// Begins shard 0 of a new authority.
pub(crate) async fn begin(
    transaction: &mut Transaction,
    authority: AuthorityId,
) -> Result<(), Error> {
    let insert = Statement::new(
        "insert into crl_shards (authority_id, shard, places, revocations, crl_number) \
         values (?, 0, 0, 0, 0)",
    );
    transaction.execute(insert.bind(authority)).await?;
    Ok(())
}

/// Counts a revocation.
pub(crate) fn counting(authority: AuthorityId, shard: i64) -> Statement {
    Statement::new(
        "update crl_shards set revocations = revocations + 1 where authority_id = ? and shard = ?",
    )
    .bind(authority)
    .bind(shard)
}

pub(crate) fn taking(authority: AuthorityId, count: u64, limit: u64) -> Statement {
    Statement::new(
        "update crl_shards set places = places + ? where authority_id = ? \
         and shard = (select max(shard) from crl_shards where authority_id = ?) \
         and places + ? <= ? returning shard",
    )
    .bind(count.cast_signed())
    .bind(authority)
    .bind(authority)
    .bind(count.cast_signed())
    .bind(limit.cast_signed())
}

pub(crate) fn standing(authority: AuthorityId, shard: u64) -> Statement {
    Statement::new(
        "select revocations, (select max(shard) from crl_shards where authority_id = ?) \
         from crl_shards where authority_id = ? and shard = ?",
    )
    .bind(authority)
    .bind(authority)
    .bind(shard.cast_signed())
}
