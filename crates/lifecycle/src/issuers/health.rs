//! How directories have done lately: what this node has seen, and, for the others and for the time
//! after a restart, until when a directory is closed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use store::{DirectoryId, Store};
use time::OffsetDateTime;

use crate::Error;
use crate::schedule::Health;

/// The bucket whose level says until when a directory is closed.
const CLOSED: &str = "closed";

/// What this node has seen of a directory.
#[derive(Debug, Clone, Default)]
struct Seen {
    health: Health,
    /// What went wrong last.
    reason: Option<String>,
}

/// The health of all directories.
#[derive(Debug, Clone)]
pub(crate) struct HealthBook {
    store: Store,
    seen: Arc<Mutex<HashMap<DirectoryId, Seen>>>,
}

impl HealthBook {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            seen: Arc::default(),
        }
    }

    /// What this node has seen of a directory.
    pub(crate) fn seen(&self, directory: DirectoryId) -> Health {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&directory)
            .map(|seen| seen.health)
            .unwrap_or_default()
    }

    /// What went wrong last, while that matters.
    pub(crate) fn reason(&self, directory: DirectoryId) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&directory)?.reason.clone()
    }

    /// The bucket to ask the store for to hear what other nodes have seen.
    pub(crate) fn bucket() -> String {
        CLOSED.to_owned()
    }

    /// Until when a directory is closed, as any node has seen it.
    pub(crate) async fn closed_until(
        &self,
        directory: DirectoryId,
        now: OffsetDateTime,
    ) -> Result<Option<OffsetDateTime>, Error> {
        let levels = self.store.levels(directory, &[Self::bucket()]).await?;
        let shared = levels.into_iter().flatten().find(|until| *until > now);
        Ok(shared.max(self.seen(directory).closed_until(now)))
    }

    /// A directory did what it was asked, or refused for reasons of the one who asked.
    pub(crate) async fn succeeded(
        &self,
        directory: DirectoryId,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let was_closed = self.change(directory, |seen| {
            let was_closed = seen.health.closed_until(now).is_some();
            seen.health = seen.health.succeeded(now);
            seen.reason = None;
            was_closed
        });
        if was_closed {
            self.publish(directory, now).await?;
        }
        Ok(())
    }

    /// A directory failed an order that began at `started`.
    pub(crate) async fn failed(
        &self,
        directory: DirectoryId,
        started: OffsetDateTime,
        now: OffsetDateTime,
        reason: &str,
    ) -> Result<(), Error> {
        let closed_until = self.change(directory, |seen| {
            let before = seen.health.closed_until(now);
            seen.health = seen.health.failed(started, now);
            seen.reason = Some(reason.to_owned());
            let closed_until = seen.health.closed_until(now);
            closed_until.filter(|_| closed_until != before)
        });
        match closed_until {
            Some(until) => self.publish(directory, until).await,
            None => Ok(()),
        }
    }

    /// An order was let through to a directory that may be closed.
    pub(crate) fn probed(&self, directory: DirectoryId, now: OffsetDateTime) {
        self.change(directory, |seen| seen.health = seen.health.probed(now));
    }

    fn change<Told>(&self, directory: DirectoryId, change: impl FnOnce(&mut Seen) -> Told) -> Told {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        change(seen.entry(directory).or_default())
    }

    async fn publish(&self, directory: DirectoryId, until: OffsetDateTime) -> Result<(), Error> {
        let published = self
            .store
            .spend(directory, &[Self::bucket()], |_| Some(vec![Some(until)]))
            .await;
        match published {
            // It was removed.
            Ok(_) | Err(store::Error::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
