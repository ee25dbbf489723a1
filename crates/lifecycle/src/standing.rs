//! How the house as a whole stands: what its operator watches.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::Store;
use time::OffsetDateTime;

use crate::{Error, Issuers, Surroundings};

/// How long an answer is good: anybody may ask, and the store should not notice.
const FRESH: Duration = Duration::from_secs(5);

/// What all nodes together have achieved and have still to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// When the first of all valid certificates ends that has not ended yet.
    pub earliest_expiry: Option<OffsetDateTime>,
    /// How long what is due longest has been due.
    pub lag: Duration,
    /// What is left of the orders of each directory that everybody uses.
    pub budgets: Vec<DirectoryBudget>,
}

/// What is left of the orders of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryBudget {
    /// The name of the directory.
    pub directory: String,
    /// How many can be placed now.
    pub left: u32,
    /// How many can be placed at once when none was for a while.
    pub burst: u32,
}

/// Finds out how the house stands.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    store: Store,
    surroundings: Surroundings,
    issuers: Issuers,
    known: Arc<Mutex<Option<(OffsetDateTime, Standing)>>>,
}

impl Watch {
    pub(crate) fn new(store: Store, surroundings: Surroundings, issuers: Issuers) -> Self {
        Self {
            store,
            surroundings,
            issuers,
            known: Arc::default(),
        }
    }

    /// How it stands now, or stood some seconds ago.
    pub(crate) async fn standing(&self) -> Result<Standing, Error> {
        let now = self.surroundings.now();
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((then, standing)) = known
            && then <= now
            && now < then + FRESH
        {
            return Ok(standing);
        }
        let standing = Standing {
            earliest_expiry: self.store.earliest_expiry(now).await?,
            lag: self.store.overdue(now).await?,
            budgets: self.issuers.shared_budgets().await?,
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, standing.clone()));
        Ok(standing)
    }
}
