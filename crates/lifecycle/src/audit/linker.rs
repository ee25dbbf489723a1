//! The reader of the change feed that links events into the chain.
//!
//! Each node has one. While the end of the chain moves without a node's doing, the node stands by;
//! it links when there is something to link and nobody did it for as long as a look takes to come
//! round. Two that link at the same time harm nobody: the store takes the links of one.

use std::time::Duration;

use store::{AuditLink, ChainHead, Linking, Store};
use tokio::time::Instant;

use crate::accounts::HOUSE_ACCOUNT;
use crate::feed::Reader;
use crate::{Error, Surroundings, events};

/// How often is looked for events.
const POLL: Duration = Duration::from_secs(1);
/// How often the head of the chain is logged, so that it is kept where the log goes.
const LOGGING: Duration = Duration::from_secs(60 * 60);

/// Links events.
pub(super) struct Linker {
    store: Store,
    surroundings: Surroundings,
    /// The end of the chain when this node last looked, or made it.
    seen: Option<AuditLink>,
    /// What was logged last, and when.
    logged: Option<(ChainHead, Instant)>,
}

impl Linker {
    pub(super) fn new(store: Store, surroundings: Surroundings) -> Self {
        Self {
            store,
            surroundings,
            seen: None,
            logged: None,
        }
    }

    /// Tells the log and the events when what this node saw at the end of the chain is not in it any
    /// more: somebody took links away, and what they covered would be linked anew.
    async fn watch(&self, head: Option<&AuditLink>) -> Result<(), Error> {
        let Some(seen) = self.seen.as_ref().filter(|seen| Some(*seen) != head) else {
            return Ok(());
        };
        let kept = self.store.audit_link(seen.head.number).await?;
        if kept.as_ref() == Some(seen) {
            return Ok(());
        }
        let end = head.map_or_else(|| "nothing".to_owned(), |link| link.head.to_string());
        tracing::error!(
            link = %seen.head,
            event = %seen.last_event,
            end,
            "the audit chain was tampered with: a link is gone or changed"
        );
        let detail = format!("{} is gone; the chain ended with {end}", seen.head);
        let kind = events::AUDIT_CUT;
        let surroundings = &self.surroundings;
        let event = events::of(surroundings, HOUSE_ACCOUNT, None, kind, None, &detail);
        Ok(self.store.add_event(event).await?)
    }

    fn log(&mut self, head: &AuditLink) {
        let is_logged = self
            .logged
            .is_some_and(|(logged, at)| logged == head.head || at.elapsed() < LOGGING);
        if !is_logged {
            tracing::info!(
                head = %head.head,
                event = %head.last_event,
                "this is the head of the audit chain"
            );
            self.logged = Some((head.head, Instant::now()));
        }
    }
}

impl Reader for Linker {
    async fn orient(&mut self) -> Result<(), Error> {
        self.seen = self.store.audit_head().await?;
        Ok(())
    }

    async fn step(&mut self) -> Result<bool, Error> {
        let head = self.store.audit_head().await?;
        self.watch(head.as_ref()).await?;
        let is_moved = head != self.seen;
        self.seen = head.clone();
        if let Some(head) = &head {
            self.log(head);
        }
        if is_moved {
            return Ok(false);
        }
        let now = self.surroundings.now();
        match self.store.link_events(head.as_ref(), now).await? {
            Linking::Linked { head, is_last } => {
                self.log(&head);
                self.seen = Some(head);
                Ok(!is_last)
            }
            Linking::Nothing | Linking::Overtaken => Ok(false),
        }
    }

    async fn wait(&self) {
        tokio::time::sleep(POLL).await;
    }
}
