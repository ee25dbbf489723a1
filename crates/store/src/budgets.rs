//! Budgets: what is left of the limits of a directory, shared by all nodes.
//!
//! A budget is a moment, the level of its bucket: how far what was spent reaches into the future.
//! What a level means, and what an order costs, is decided elsewhere. A bucket whose level is past
//! is full, as is one that nobody has ever spent from.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::error::Error;
use crate::ids::DirectoryId;
use crate::inventory::within;
use crate::recorder::largest_portion;
use crate::references::LOOKUP_PORTION;
use crate::sql::{Row, Statement, Value, row_marks};
use crate::store::Store;

/// The longest name of a bucket, in bytes.
pub const BUCKET_LIMIT: usize = 1024;

impl Store {
    /// Spends from buckets of a directory, or does not. `decide` is given the levels of the buckets
    /// in their order, `None` for one that is full, and answers with their new levels, in the same
    /// order, `None` for one that stays as it is, or with `None` to leave everything as it is. Nobody
    /// else spends from the directory meanwhile. It may be called several times, of which the last
    /// counts. Returns whether it was spent.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when there is no such directory, [`Error::TooLong`] for the name of a
    /// bucket, [`Error::Inconsistent`] when a bucket is named twice or there are not as many levels
    /// as buckets.
    pub async fn spend<Decide>(
        &self,
        directory: DirectoryId,
        buckets: &[String],
        decide: Decide,
    ) -> Result<bool, Error>
    where
        Decide: Fn(&[Option<OffsetDateTime>]) -> Option<Vec<Option<OffsetDateTime>>>,
    {
        for bucket in buckets {
            within("the name of the bucket", BUCKET_LIMIT, bucket.len())?;
        }
        if buckets.iter().collect::<HashSet<_>>().len() < buckets.len() {
            return Err(Error::Inconsistent("a bucket is named twice"));
        }
        in_transaction!(self.backend(), |transaction| {
            let lock = locking(directory, transaction);
            transaction.row(lock).await?.ok_or(Error::NotFound)?;
            let mut found = HashMap::with_capacity(buckets.len());
            for portion in buckets.chunks(LOOKUP_PORTION) {
                let rows = transaction.rows(level_of(directory, portion)).await?;
                collect(rows, &mut found)?;
            }
            let levels = ordered(buckets, &found);
            let Some(levels) = decide(&levels) else {
                return Ok(false);
            };
            if levels.len() != buckets.len() {
                return Err(Error::Inconsistent(
                    "there is not one level for each bucket",
                ));
            }
            let changed = buckets.iter().zip(levels);
            let changed: Vec<_> = changed
                .filter_map(|(bucket, level)| Some((bucket, level?)))
                .collect();
            write(transaction, directory, &changed).await?;
            Ok(true)
        })
    }

    /// The levels of buckets of a directory, in the order of the buckets; `None` for one that is
    /// full.
    pub async fn levels(
        &self,
        directory: DirectoryId,
        buckets: &[String],
    ) -> Result<Vec<Option<OffsetDateTime>>, Error> {
        let mut found = HashMap::with_capacity(buckets.len());
        for portion in buckets.chunks(LOOKUP_PORTION) {
            let rows = self.backend().rows(level_of(directory, portion)).await?;
            collect(rows, &mut found)?;
        }
        Ok(ordered(buckets, &found))
    }

    /// Forgets the buckets that are full at `now`; the answer is how many.
    pub async fn sweep_budgets(&self, now: OffsetDateTime) -> Result<u64, Error> {
        let delete = sweeping(now);
        let mut swept = 0;
        loop {
            let portion = in_transaction!(self.backend(), |transaction| {
                transaction.execute(delete.clone()).await
            })?;
            swept += portion;
            if portion < PORTION {
                return Ok(swept);
            }
        }
    }
}

/// How many buckets are forgotten at a time, so that other writers get their turn in between.
const PORTION: u64 = 1_000;

pub(crate) fn level_of(directory: DirectoryId, buckets: &[String]) -> Statement {
    Statement::new("select bucket, level from budgets where directory_id = ? and bucket in ")
        .bind(directory)
        .list(buckets.iter().map(String::as_str))
}

pub(crate) fn sweeping(now: OffsetDateTime) -> Statement {
    Statement::new(format!(
        "delete from budgets where (directory_id, bucket) in (select directory_id, bucket \
         from budgets where level <= ? order by level limit {PORTION}) and +level <= ?"
    ))
    .bind(now)
    .bind(now)
}

/// Lets nobody else spend from the directory before the transaction ends.
fn locking(directory: DirectoryId, transaction: &Transaction) -> Statement {
    Statement::new("select 1 from directories where id = ?")
        .bind(directory)
        .text(transaction.row_lock())
}

fn collect(rows: Vec<Row>, found: &mut HashMap<String, OffsetDateTime>) -> Result<(), Error> {
    for mut row in rows {
        found.insert(row.take()?, row.take()?);
    }
    Ok(())
}

fn ordered(
    buckets: &[String],
    found: &HashMap<String, OffsetDateTime>,
) -> Vec<Option<OffsetDateTime>> {
    let levels = buckets.iter().map(|bucket| found.get(bucket).copied());
    levels.collect()
}

async fn write(
    transaction: &mut Transaction,
    directory: DirectoryId,
    changed: &[(&String, OffsetDateTime)],
) -> Result<(), Error> {
    let mut rest = changed;
    while !rest.is_empty() {
        let (portion, later) = rest.split_at(largest_portion(rest.len()));
        let values = portion.iter().flat_map(|(bucket, level)| {
            [
                Value::from(*level),
                directory.into(),
                bucket.as_str().into(),
            ]
        });
        let marks = row_marks(portion.len(), 3);
        let upsert = Statement::with_values(
            format!(
                "insert into budgets (level, directory_id, bucket) values {marks} \
                 on conflict (directory_id, bucket) do update set level = excluded.level"
            ),
            values.collect(),
        );
        transaction.execute(upsert).await?;
        rest = later;
    }
    Ok(())
}
