//! The two databases behind one face, and the rules for talking to each.
//!
//! SQLite: one connection writes, and every write transaction takes the write lock before it reads
//! anything, so that no transaction can fail half-way because another one wrote first. Reading
//! connections are apart and cannot write. PostgreSQL: one pool; a transaction that the server
//! aborts because of another one is run again by [`in_transaction`].
//!
//! Everything that differs between the two is in this module and in [`crate::sql`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Postgres, Sqlite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;
use crate::sql::{Row, Statement};
use crate::url::{DatabaseUrl, Location};

/// How often a transaction is run before its conflict is reported.
pub(crate) const ATTEMPTS: u32 = 10;

const SQLITE_READERS: u32 = 8;

/// Page caches, in KiB (SQLite wants them negative then). More is not better for the writer: its
/// whole cache is walked through at every commit.
const WRITER_CACHE: &str = "-16384";
const READER_CACHE: &str = "-8192";

/// How many pages of 4 KiB the log takes before they are copied into the database, while the
/// writer waits. More pages mean less copying, because a page that was changed often is copied
/// once, but a longer wait.
const CHECKPOINT_PAGES: &str = "4000";

const POSTGRES_CONNECTIONS: u32 = 16;
/// How many transactions of this node may write at once. All end at the same counter (see
/// [`crate::events`]), so more would only wait for each other, or conflict.
const POSTGRES_WRITERS: usize = 4;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection to PostgreSQL may lie idle before it is asked whether it still lives.
const TRUSTED: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) enum Backend {
    Postgres {
        pool: PgPool,
        writers: Arc<Semaphore>,
    },
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
}

impl Backend {
    pub(crate) async fn open(url: &DatabaseUrl) -> Result<Self, Error> {
        match url.location() {
            Location::Sqlite(path) => open_sqlite(path).await,
            Location::Postgres(options) => open_postgres(options).await,
        }
        .map_err(Error::from_sqlx)
    }

    /// Begins a transaction that may write.
    pub(crate) async fn begin(&self) -> Result<Transaction, Error> {
        match self {
            Self::Sqlite { writer, .. } => writer
                .begin_with("BEGIN IMMEDIATE")
                .await
                .map(Transaction::Sqlite),
            Self::Postgres { pool, writers } => {
                let turn = Arc::clone(writers).acquire_owned().await;
                let turn = turn.map_err(|_| Error::Closed)?;
                pool.begin()
                    .await
                    .map(|transaction| Transaction::Postgres(transaction, turn))
            }
        }
        .map_err(Error::from_sqlx)
    }

    /// All rows of a statement that only reads.
    pub(crate) async fn rows(&self, statement: Statement) -> Result<Vec<Row>, Error> {
        match self {
            Self::Sqlite { readers, .. } => {
                let (text, arguments) = statement.for_sqlite()?;
                sqlx::query_with(AssertSqlSafe(text), arguments)
                    .fetch_all(readers)
                    .await
                    .map(|rows| rows.into_iter().map(Row::sqlite).collect())
            }
            Self::Postgres { pool, .. } => {
                let (text, arguments) = statement.for_postgres()?;
                sqlx::query_with(AssertSqlSafe(text), arguments)
                    .fetch_all(pool)
                    .await
                    .map(|rows| rows.into_iter().map(Row::postgres).collect())
            }
        }
        .map_err(Error::from_sqlx)
    }

    /// The first row of a statement that only reads.
    pub(crate) async fn row(&self, statement: Statement) -> Result<Option<Row>, Error> {
        Ok(self.rows(statement).await?.into_iter().next())
    }

    /// The types that are spelled differently.
    pub(crate) fn schema_text(&self, text: &str) -> String {
        // `integer` is the one type with which SQLite numbers rows itself, in the order of commits.
        // SQLite compares texts by their bytes unless told otherwise, PostgreSQL when told to.
        let (position, bytewise) = match self {
            Self::Sqlite { .. } => ("integer", ""),
            Self::Postgres { .. } => ("bigint", "collate \"C\""),
        };
        text.replace("{position}", position)
            .replace("{bytewise}", bytewise)
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite { .. })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres { pool, .. } => pool.close().await,
        }
    }
}

/// A write transaction. Dropped without [`Transaction::finish`], it is rolled back.
pub(crate) enum Transaction {
    Postgres(sqlx::Transaction<'static, Postgres>, OwnedSemaphorePermit),
    Sqlite(sqlx::Transaction<'static, Sqlite>),
}

impl Transaction {
    /// Runs a statement; the answer is how many rows it changed.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64, Error> {
        match self {
            Self::Sqlite(transaction) => {
                let (text, arguments) = statement.for_sqlite()?;
                sqlx::query_with(AssertSqlSafe(text), arguments)
                    .execute(&mut **transaction)
                    .await
                    .map(|done| done.rows_affected())
            }
            Self::Postgres(transaction, _) => {
                let (text, arguments) = statement.for_postgres()?;
                sqlx::query_with(AssertSqlSafe(text), arguments)
                    .execute(&mut **transaction)
                    .await
                    .map(|done| done.rows_affected())
            }
        }
        .map_err(Error::from_sqlx)
    }

    /// Runs a statement that returns rows.
    pub(crate) async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>, Error> {
        match self {
            Self::Sqlite(transaction) => {
                let (text, arguments) = statement.for_sqlite()?;
                sqlx::query_with(AssertSqlSafe(text), arguments)
                    .fetch_all(&mut **transaction)
                    .await
                    .map(|rows| rows.into_iter().map(Row::sqlite).collect())
            }
            Self::Postgres(transaction, _) => {
                let (text, arguments) = statement.for_postgres()?;
                sqlx::query_with(AssertSqlSafe(text), arguments)
                    .fetch_all(&mut **transaction)
                    .await
                    .map(|rows| rows.into_iter().map(Row::postgres).collect())
            }
        }
        .map_err(Error::from_sqlx)
    }

    /// Runs a statement that returns at most one row.
    pub(crate) async fn row(&mut self, statement: Statement) -> Result<Option<Row>, Error> {
        Ok(self.rows(statement).await?.into_iter().next())
    }

    /// Runs statements without values, separated by semicolons.
    pub(crate) async fn script(&mut self, text: String) -> Result<(), Error> {
        match self {
            Self::Sqlite(transaction) => sqlx::raw_sql(AssertSqlSafe(text))
                .execute(&mut **transaction)
                .await
                .map(drop),
            Self::Postgres(transaction, _) => sqlx::raw_sql(AssertSqlSafe(text))
                .execute(&mut **transaction)
                .await
                .map(drop),
        }
        .map_err(Error::from_sqlx)
    }

    /// Commits when `outcome` is good, otherwise rolls back and hands the error on.
    pub(crate) async fn finish<T>(self, outcome: Result<T, Error>) -> Result<T, Error> {
        match (self, &outcome) {
            (Self::Sqlite(transaction), Ok(_)) => transaction.commit().await,
            (Self::Postgres(transaction, _turn), Ok(_)) => transaction.commit().await,
            // What the rollback says does not matter: without a commit nothing happened.
            (Self::Sqlite(transaction), Err(_)) => {
                drop(transaction.rollback().await);
                Ok(())
            }
            (Self::Postgres(transaction, _turn), Err(_)) => {
                drop(transaction.rollback().await);
                Ok(())
            }
        }
        .map_err(Error::from_sqlx)?;
        outcome
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// The end of a query whose rows nobody else may change before the transaction ends. SQLite has
    /// one writer anyway.
    pub(crate) fn row_lock(&self) -> &'static str {
        match self {
            Self::Postgres(..) => " for no key update",
            Self::Sqlite(_) => "",
        }
    }

    /// The same for rows that may be removed: nobody else may refer to them anew either.
    pub(crate) fn removal_lock(&self) -> &'static str {
        match self {
            Self::Postgres(..) => " for update",
            Self::Sqlite(_) => "",
        }
    }
}

/// Runs a block in a write transaction and commits it; runs it again when the database says that
/// another transaction got in the way. The block therefore must have no effect outside the
/// transaction.
macro_rules! in_transaction {
    ($backend:expr, |$transaction:ident| $body:expr) => {{
        let backend: &$crate::backend::Backend = $backend;
        let mut attempt = 1;
        loop {
            let mut transaction = backend.begin().await?;
            let outcome: Result<_, $crate::error::Error> = async {
                let $transaction = &mut transaction;
                $body
            }
            .await;
            match transaction.finish(outcome).await {
                Err(error) if error.may_be_retried() && attempt < $crate::backend::ATTEMPTS => {
                    $crate::backend::step_aside(attempt).await;
                    attempt += 1;
                }
                outcome => break outcome,
            }
        }
    }};
}
pub(crate) use in_transaction;

/// Waits a little before the next attempt, longer each time, and not as long as others do.
pub(crate) async fn step_aside(attempt: u32) {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    let ceiling = 1_u64 << attempt.min(8);
    tokio::time::sleep(Duration::from_millis(1 + random % ceiling)).await;
}

async fn open_sqlite(path: &Path) -> Result<Backend, sqlx::Error> {
    create_private_file(path).map_err(sqlx::Error::Io)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        // A statement that writes many rows keeps what it needs to undo itself. By default that
        // goes through a temporary file, which cost a third of the time of a batch.
        .pragma("temp_store", "memory")
        .pragma("cache_size", READER_CACHE);
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false);
    let writing = options
        .clone()
        .pragma("cache_size", WRITER_CACHE)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
    let mut attempt = 1;
    let writer = loop {
        // While one node gives a new file its log, SQLite refuses others at once instead of letting
        // them wait.
        match writer.clone().connect_with(writing.clone()).await {
            Err(error) if is_busy(&error) && attempt < ATTEMPTS => {
                step_aside(attempt).await;
                attempt += 1;
            }
            outcome => break outcome?,
        }
    };
    let readers = SqlitePoolOptions::new()
        .max_connections(SQLITE_READERS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options.pragma("query_only", "on"))
        .await?;
    Ok(Backend::Sqlite { writer, readers })
}

/// SQLite's code for "another connection holds the lock", in the lower byte.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| code & 0xff == 5)
}

async fn open_postgres(options: &PgConnectOptions) -> Result<Backend, sqlx::Error> {
    let options = options.clone().application_name("chancery");
    // A pool goes on trying while it waits for a connection. At the start a wrong address or
    // password is the likelier reason, and should be reported at once.
    options.connect().await?.close().await?;
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Asking every time whether a connection still lives would double the round trips.
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move { Ok(about.idle_for < TRUSTED || connection.ping().await.is_ok()) })
        })
        .connect_with(options)
        .await?;
    Ok(Backend::Postgres {
        pool,
        writers: Arc::new(Semaphore::new(POSTGRES_WRITERS)),
    })
}

/// SQLite gives the files of its log the mode of the database file, so this settles all of them.
fn create_private_file(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(_) => {
            // The name of the file must survive a power failure, too.
            let directory = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
