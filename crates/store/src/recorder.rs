//! Group commit: certificates that are added at the same time share a transaction.
//!
//! A writer task takes whatever is waiting, up to [`BATCH`] records, writes it with at most five
//! kinds of statements, one more for each inbound order that is completed, and one commit, and only
//! then answers the callers. A record that the database refuses is found by halving the batch between
//! savepoints, so that it alone fails. A caller that went away before its turn is left out; one that
//! goes away later changes nothing.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::backend::{Backend, Transaction, in_transaction};
use crate::error::Error;
use crate::events::{self, EventRow};
use crate::inbound_orders::{self, Completion};
use crate::names::CERTIFICATE_NAMES;
use crate::sql::{Statement, Value, row_marks};

/// The most records in one transaction. A power of two; so are the sizes of its statements.
const BATCH: usize = 128;

/// How many records may wait before callers have to.
const QUEUE: usize = 4 * BATCH;

/// The most rows that one statement inserts; a power of two. The databases take no more than 32,766
/// and 65,535 values in one statement.
const LARGEST_PORTION: usize = 1_024;

/// PostgreSQL can gather one batch while it makes another durable.
const POSTGRES_WRITERS: usize = 2;

/// A table, with its columns in the order in which rows give their values.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static str,
}

pub(crate) const CERTIFICATES: Table = Table {
    name: "certificates",
    columns: "created_at, attempt, not_after, next_action_at, id, account_id, current_version_id, \
              name, common_name, identifiers, origin, state, reason, issuer",
};

pub(crate) const VERSIONS: Table = Table {
    name: "versions",
    columns: "serial_low, not_before, not_after, revoked_at, revocation_reason, created_at, crl_shard, \
              id, certificate_id, account_id, authority_id, directory_id, private_key_id, serial, \
              subject, issuer, leaf, intermediates",
};

pub(crate) const PRIVATE_KEYS: Table = Table {
    name: "private_keys",
    columns: "exportable_until, created_at, exportable, id, account_id, fingerprint, algorithm, \
              sealed",
};

/// A record, ready to be written: the values of its rows.
pub(crate) struct RecordRows {
    pub(crate) certificate: Vec<Value>,
    pub(crate) version: Option<Vec<Value>>,
    pub(crate) key: Option<Vec<Value>>,
    pub(crate) names: Vec<Vec<Value>>,
    pub(crate) completion: Option<Completion>,
    pub(crate) event: EventRow,
}

/// The way to the writer tasks.
pub(crate) struct Recorder {
    sender: Mutex<Option<mpsc::Sender<Job>>>,
    writers: AsyncMutex<Vec<JoinHandle<()>>>,
}

impl Recorder {
    pub(crate) fn start(backend: &Backend) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let receiver = Arc::new(AsyncMutex::new(receiver));
        let count = match backend {
            Backend::Sqlite { .. } => 1,
            Backend::Postgres { .. } => POSTGRES_WRITERS,
        };
        let writers = (0..count)
            .map(|_| tokio::spawn(write_batches(backend.clone(), Arc::clone(&receiver))))
            .collect();
        Self {
            sender: Mutex::new(Some(sender)),
            writers: AsyncMutex::new(writers),
        }
    }

    /// Returns when the record is on disk, or will never be.
    pub(crate) async fn record(&self, rows: RecordRows) -> Result<(), Error> {
        let sender = self
            .sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let sender = sender.ok_or(Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        sender
            .send(Job { rows, reply })
            .await
            .map_err(|_| Error::Closed)?;
        drop(sender);
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Takes no more records, and returns when those that wait are written.
    pub(crate) async fn close(&self) {
        drop(
            self.sender
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        for writer in self.writers.lock().await.drain(..) {
            if let Err(error) = writer.await {
                tracing::error!(%error, "a writer of the store ended badly");
            }
        }
    }
}

/// Inserts rows into a table, in statements of 1, 2, 4, … rows.
pub(crate) async fn insert_rows(
    transaction: &mut Transaction,
    table: &Table,
    mut rows: &[&Vec<Value>],
) -> Result<(), Error> {
    while let Some(columns) = rows.first().map(|row| row.len()) {
        let (portion, rest) = rows.split_at(largest_portion(rows.len()));
        let Table {
            name,
            columns: column_names,
        } = table;
        let marks = row_marks(portion.len(), columns);
        let values = portion.iter().flat_map(|row| row.iter().cloned()).collect();
        transaction
            .execute(Statement::with_values(
                format!("insert into {name} ({column_names}) values {marks}"),
                values,
            ))
            .await?;
        rows = rest;
    }
    Ok(())
}

/// How many of `count` rows, which is not zero, the next statement takes: the largest power of two,
/// so that few different statements exist and all of them stay prepared.
pub(crate) fn largest_portion(count: usize) -> usize {
    (1 << count.max(1).ilog2()).min(LARGEST_PORTION)
}

struct Job {
    rows: RecordRows,
    reply: oneshot::Sender<Result<(), Error>>,
}

async fn write_batches(backend: Backend, receiver: Arc<AsyncMutex<mpsc::Receiver<Job>>>) {
    loop {
        let mut jobs = Vec::with_capacity(BATCH);
        if receiver.lock().await.recv_many(&mut jobs, BATCH).await == 0 {
            return;
        }
        jobs.retain(|job| !job.reply.is_closed());
        let (records, replies): (Vec<_>, Vec<_>) =
            jobs.into_iter().map(|job| (job.rows, job.reply)).unzip();
        let outcomes = write(&backend, &records).await;
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // Nobody listening any more is not an error: the record is written all the same.
            drop(reply.send(outcome));
        }
    }
}

/// Writes records in one transaction; one outcome for each.
async fn write(backend: &Backend, records: &[RecordRows]) -> Vec<Result<(), Error>> {
    match write_together(backend, records).await {
        Ok(()) => records.iter().map(|_| Ok(())).collect(),
        Err(error) if records.len() == 1 => vec![Err(error)],
        Err(error) => {
            if let Some(outage) = error.for_everybody() {
                return share(outage, records.len());
            }
            match write_apart(backend, records).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    let outage = error.for_everybody().unwrap_or(Error::Closed);
                    share(outage, records.len())
                }
            }
        }
    }
}

async fn write_together(backend: &Backend, records: &[RecordRows]) -> Result<(), Error> {
    in_transaction!(backend, |transaction| insert(transaction, records).await)
}

/// Writes all records but those that the database refuses, halving until they are found.
async fn write_apart(
    backend: &Backend,
    records: &[RecordRows],
) -> Result<Vec<Result<(), Error>>, Error> {
    in_transaction!(backend, |transaction| {
        let mut outcomes: Vec<Result<(), Error>> = records.iter().map(|_| Ok(())).collect();
        let half = records.len() / 2;
        let mut parts = vec![half..records.len(), 0..half];
        while let Some(part) = parts.pop() {
            let Some(portion) = records.get(part.clone()) else {
                continue;
            };
            transaction.script("savepoint part".to_owned()).await?;
            let Err(error) = insert(transaction, portion).await else {
                transaction
                    .script("release savepoint part".to_owned())
                    .await?;
                continue;
            };
            if error.for_everybody().is_some() {
                return Err(error);
            }
            transaction
                .script("rollback to savepoint part; release savepoint part".to_owned())
                .await?;
            if portion.len() > 1 {
                let middle = part.start + portion.len() / 2;
                parts.push(middle..part.end);
                parts.push(part.start..middle);
            } else if let Some(outcome) = outcomes.get_mut(part.start) {
                *outcome = Err(error);
            }
        }
        Ok(outcomes)
    })
}

async fn insert(transaction: &mut Transaction, records: &[RecordRows]) -> Result<(), Error> {
    insert_records(transaction, records).await?;
    let events = records.iter().map(|record| record.event.clone()).collect();
    events::insert(transaction, events).await
}

/// Writes records, yet without their events.
pub(crate) async fn insert_records(
    transaction: &mut Transaction,
    records: &[RecordRows],
) -> Result<(), Error> {
    let certificates: Vec<_> = records.iter().map(|record| &record.certificate).collect();
    insert_rows(transaction, &CERTIFICATES, &certificates).await?;
    let versions: Vec<_> = records
        .iter()
        .filter_map(|record| record.version.as_ref())
        .collect();
    insert_rows(transaction, &VERSIONS, &versions).await?;
    let keys: Vec<_> = records
        .iter()
        .filter_map(|record| record.key.as_ref())
        .collect();
    insert_rows(transaction, &PRIVATE_KEYS, &keys).await?;
    let names: Vec<_> = records.iter().flat_map(|record| &record.names).collect();
    insert_rows(transaction, &CERTIFICATE_NAMES, &names).await?;
    let completions = records
        .iter()
        .filter_map(|record| record.completion.as_ref());
    let mut completions: Vec<&Completion> = completions.collect();
    // In one order for all writers, so that none waits for one that waits for it.
    completions.sort_unstable_by(|one, other| one.order.cmp(&other.order));
    for completion in completions {
        inbound_orders::complete(transaction, completion).await?;
    }
    Ok(())
}

fn share(error: Error, count: usize) -> Vec<Result<(), Error>> {
    let mut outcomes: Vec<_> = (1..count)
        .map(|_| Err(error.for_everybody().unwrap_or(Error::Closed)))
        .collect();
    outcomes.push(Err(error));
    outcomes
}
