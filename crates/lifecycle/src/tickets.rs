//! Secrets for TLS session tickets, shared by all nodes through the store, so that a session begun
//! on one node is resumed on another. They are replaced regularly: a stolen one opens few sessions.

use std::time::Duration;

use store::TICKET_SECRET_LENGTH;
use zeroize::Zeroizing;

use crate::Error;
use crate::publication::is_younger;
use crate::routing::{Routing, TicketSecret};

/// How old the newest secret may get before another one is made.
const ROTATION: Duration = Duration::from_secs(6 * 60 * 60);
/// How many secrets are kept: the newest makes tickets, the others still open theirs.
const KEPT: u64 = 3;

impl Routing {
    /// The secrets in force, the newest first, at most three. Makes a new one first when the
    /// newest is older than six hours.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn ticket_keys(&self) -> Result<Vec<TicketSecret>, Error> {
        let now = self.surroundings.now();
        let secrets = self.stored_ticket_keys().await?;
        // One from the future tells that the clock was set back; it would be in force for too long.
        let is_fresh = |secret: &TicketSecret| is_younger(secret.created_at, ROTATION, now);
        if secrets.first().is_some_and(is_fresh) {
            return Ok(secrets);
        }
        let generation = secrets.first().map_or(1, |newest| newest.generation + 1);
        let secret = Zeroizing::new(self.surroundings.random::<TICKET_SECRET_LENGTH>());
        match self.store.add_ticket_key(generation, &secret, now).await {
            Ok(()) => {
                tracing::info!(generation, "made a secret for session tickets");
                let oldest = (generation + 1).saturating_sub(KEPT);
                self.store.delete_ticket_keys_before(oldest).await?;
            }
            // Another node was faster; its secret is the one.
            Err(store::Error::Duplicate) => {}
            Err(error) => return Err(error.into()),
        }
        self.stored_ticket_keys().await
    }

    async fn stored_ticket_keys(&self) -> Result<Vec<TicketSecret>, Error> {
        let stored = self.store.ticket_keys().await?.into_iter();
        let secrets = stored.take(usize::try_from(KEPT).unwrap_or(usize::MAX));
        let secrets = secrets.map(|key| TicketSecret {
            generation: key.generation,
            secret: key.secret,
            created_at: key.created_at,
        });
        Ok(secrets.collect())
    }
}
