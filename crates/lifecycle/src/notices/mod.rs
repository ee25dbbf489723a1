//! Telling accounts what happens to their certificates: what ends soon becomes an event, events
//! become deliveries to webhooks, and deliveries are posted.
//!
//! Each node does all three. An event is made once and a delivery is made once, because both are
//! written together with the move of a place that only one node can move. A delivery is posted until
//! its receiver takes it, three times at most, and carries the same number each time.

mod expiry;
mod notifier;
mod sender;

use std::error::Error as StdError;
use std::time::Duration;

use store::Store;

use crate::{Certificates, Surroundings, Tally, feed};

/// How often is looked for what ends soon.
const LOOK: Duration = Duration::from_secs(60);

/// Tells accounts what happens.
#[derive(Debug, Clone)]
pub(crate) struct Notices {
    store: Store,
    surroundings: Surroundings,
    certificates: Certificates,
    tally: Tally,
}

impl Notices {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        certificates: Certificates,
        tally: Tally,
    ) -> Self {
        Self {
            store,
            surroundings,
            certificates,
            tally,
        }
    }

    /// Tells for ever. Faults are logged and tried again.
    pub(crate) async fn run(&self) {
        let watch = async {
            loop {
                if let Err(error) = self.tell_of_ends().await {
                    tracing::warn!(
                        error = &error as &dyn StdError,
                        "could not look for certificates that end soon"
                    );
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let notifier = notifier::Notifier::new(self.clone());
        tokio::join!(feed::read(notifier), self.send(), watch);
    }
}
