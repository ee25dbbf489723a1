//! The audit log: who did what to what, and proof that nobody has changed it since.
//!
//! Every operation writes its event in its own transaction; here events are looked at, linked into
//! a chain (see [`store::AuditLink`]) about a second later, and the chain is verified.

mod linker;

use std::time::Duration;

use store::{ChainHead, EventFilter, EventId, EventPage, Linking, Store, VerifiedStretch};
use time::OffsetDateTime;

use crate::{Error, Principal, Surroundings, feed};

/// The audit log.
#[derive(Debug, Clone)]
pub struct Audit {
    store: Store,
    surroundings: Surroundings,
}

impl Audit {
    pub(crate) fn new(store: Store, surroundings: Surroundings) -> Self {
        Self {
            store,
            surroundings,
        }
    }

    /// The events that a filter wants, newest first, from a place on backwards, at most `limit`: of
    /// the caller's account, or all for an administrator. A page may be short and have a next one
    /// all the same, when much was looked through.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn events(
        &self,
        principal: &Principal,
        filter: &EventFilter,
        from: Option<EventId>,
        limit: usize,
    ) -> Result<EventPage, Error> {
        let scope = principal.administered_scope();
        Ok(self.store.search_events(scope, filter, from, limit).await?)
    }

    /// The moment so long ago.
    #[must_use]
    pub fn ago(&self, time: Duration) -> OffsetDateTime {
        self.surroundings.now() - time
    }

    /// Verifies the next stretch of the chain: after a link up to which it was verified before, or
    /// from the beginning. `expected` is a link that was its head once, and must still be in it.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for anybody but administrators, [`Error::Store`]. A broken chain is no
    /// error but an answer.
    pub async fn verify(
        &self,
        principal: &Principal,
        after: Option<&ChainHead>,
        expected: Option<&ChainHead>,
    ) -> Result<VerifiedStretch, Error> {
        principal.require_administrator()?;
        Ok(self.store.verify_links(after, expected).await?)
    }

    /// Links all events that are not linked yet, unless another node does.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn link_now(&self) -> Result<(), Error> {
        loop {
            let head = self.store.audit_head().await?;
            let now = self.surroundings.now();
            match self.store.link_events(head.as_ref(), now).await? {
                Linking::Linked { is_last: false, .. } => {}
                Linking::Linked { .. } | Linking::Nothing | Linking::Overtaken => return Ok(()),
            }
        }
    }

    /// Links events for ever. Faults are logged and tried again.
    pub(crate) async fn link(&self) {
        let (store, surroundings) = (self.store.clone(), self.surroundings.clone());
        feed::read(linker::Linker::new(store, surroundings)).await;
    }
}
