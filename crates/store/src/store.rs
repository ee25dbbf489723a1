//! The store itself: opening, closing, asking whether it is there.

use std::fmt;
use std::sync::Arc;

use crate::audit::ChainKey;
use crate::backend::Backend;
use crate::error::Error;
use crate::migrate;
use crate::recorder::Recorder;
use crate::seal::{MasterKey, Sealer};
use crate::sql::Statement;
use crate::url::DatabaseUrl;

/// The memory of the house: everything that must survive, in SQLite or PostgreSQL.
///
/// Cheap to clone; all clones share connections and the writer. What a function reports as done is
/// on disk; what was interrupted has not happened.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Backend,
    recorder: Recorder,
    sealer: Sealer,
    chain_key: ChainKey,
}

impl Store {
    /// Opens the database, makes it if need be (SQLite: the file, mode 0600, in a directory that
    /// exists), and brings its schema up to date. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when the database cannot be reached or the file cannot be made,
    /// [`Error::NewerSchema`] when a newer release has written it.
    pub async fn open(url: &DatabaseUrl, master_key: &MasterKey) -> Result<Self, Error> {
        let sealer = Sealer::new(master_key)?;
        let chain_key = ChainKey::derive(master_key)?;
        let backend = Backend::open(url).await?;
        migrate::run(&backend).await?;
        let recorder = Recorder::start(&backend);
        Ok(Self {
            inner: Arc::new(Inner {
                backend,
                recorder,
                sealer,
                chain_key,
            }),
        })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.backend()
            .rows(Statement::new("select 1"))
            .await
            .map(drop)
    }

    /// Writes what is under way, then closes all connections. Calls that come later fail with
    /// [`Error::Closed`].
    pub async fn close(&self) {
        self.inner.recorder.close().await;
        self.inner.backend.close().await;
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.inner.backend
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.inner.recorder
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.inner.sealer
    }

    pub(crate) fn chain_key(&self) -> &ChainKey {
        &self.inner.chain_key
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Store").finish_non_exhaustive()
    }
}
