//! Posting deliveries.
//!
//! A delivery is claimed by a lease, as work on certificates is. What a node that died had claimed is
//! posted again when its lease is over: a receiver tells the second copy by the number of the
//! delivery, which stays the same.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::time::Duration;

use store::{AccountId, Delivery};
use time::OffsetDateTime;
use tokio::task::{Id, JoinSet};

use super::Notices;
use crate::Error;
use crate::tally::DeliveryOutcome;
use crate::webhooks::Posting;

/// How long a node has a delivery to itself: twice as long as a receiver may take for its answer.
const LEASE: Duration = Duration::from_secs(60);
/// How often is looked for what has become due.
const LOOK: Duration = Duration::from_millis(500);
/// Deliveries that a node posts at a time.
const AT_A_TIME: usize = 64;
/// The same of one account, whose receivers may all hang.
const OF_ONE_ACCOUNT: usize = 4;
/// How long after each failed attempt the next one is made. After the one that follows the last of
/// them, the delivery is given up.
const PAUSES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(10 * 60)];

impl Notices {
    /// Posts what is due, for ever. Faults are logged and tried again.
    pub(super) async fn send(&self) {
        let mut posting = Round::default();
        loop {
            if let Err(error) = self.claim(&mut posting).await {
                tracing::warn!(
                    error = &error as &dyn StdError,
                    "could not look for deliveries that are due"
                );
            }
            if posting.tasks.is_empty() {
                tokio::time::sleep(LOOK).await;
            } else {
                // Whoever is done makes room for others of its account.
                drop(tokio::time::timeout(LOOK, posting.wait()).await);
            }
        }
    }

    /// Posts everything that is due now. Returns how many attempts that were.
    pub(crate) async fn send_due(&self) -> Result<usize, Error> {
        let mut posting = Round::default();
        let mut attempts = 0;
        loop {
            let claimed = self.claim(&mut posting).await?;
            attempts += claimed;
            if claimed == 0 && !posting.wait().await {
                return Ok(attempts);
            }
        }
    }

    /// Begins to post what is due, as far as there is room. Returns how much that was.
    async fn claim(&self, posting: &mut Round) -> Result<usize, Error> {
        let room = AT_A_TIME.saturating_sub(posting.tasks.len());
        if room == 0 {
            return Ok(0);
        }
        let now = self.surroundings.now();
        let until = now + LEASE;
        let of_account = posting.of_account.iter();
        let busy = of_account.filter(|(_, count)| **count >= OF_ONE_ACCOUNT);
        let busy: Vec<AccountId> = busy.map(|(account, _)| *account).collect();
        let claimed = self
            .store
            .claim_deliveries(now, until, (room, OF_ONE_ACCOUNT), &busy)
            .await?;
        let count = claimed.len();
        for delivery in claimed {
            let account = delivery.webhook.account_id;
            *posting.of_account.entry(account).or_default() += 1;
            let notices = self.clone();
            let attempt = posting.tasks.spawn(async move {
                notices.attempt(delivery, until).await;
            });
            posting.accounts.insert(attempt.id(), account);
        }
        Ok(count)
    }

    /// Makes one attempt, and writes down what came of it.
    async fn attempt(&self, delivery: Delivery, until: OffsetDateTime) {
        let posting = Posting {
            webhook: &delivery.webhook,
            secret: delivery.secret.bytes(),
            delivery: &delivery.id.to_string(),
            body: &delivery.body,
        };
        let posted = posting.post(&self.surroundings).await;
        let (id, webhook) = (delivery.id, delivery.webhook.id);
        let recorded = match (posted, PAUSES.get(usize::from(delivery.attempt))) {
            (Ok(status), _) => {
                tracing::debug!(delivery = %id, %webhook, status, "delivered a notice");
                self.tally.delivery(DeliveryOutcome::Delivered);
                self.store.end_delivery(id).await
            }
            (Err(reason), Some(pause)) => {
                tracing::info!(delivery = %id, %webhook, reason, "could not deliver a notice yet");
                self.tally.delivery(DeliveryOutcome::Failed);
                let attempt = delivery.attempt.saturating_add(1);
                let next = self.surroundings.now() + *pause;
                self.store.put_off_delivery(id, until, attempt, next).await
            }
            (Err(reason), None) => {
                tracing::warn!(delivery = %id, %webhook, reason, "gave up delivering a notice");
                self.tally.delivery(DeliveryOutcome::Dropped);
                self.store.end_delivery(id).await
            }
        };
        // It is due again when the lease is over.
        if let Err(error) = recorded {
            tracing::warn!(
                delivery = %id,
                error = &error as &dyn StdError,
                "could not record what came of a delivery"
            );
        }
    }
}

/// What is being posted.
#[derive(Default)]
struct Round {
    tasks: JoinSet<()>,
    /// Whose they are.
    accounts: HashMap<Id, AccountId>,
    of_account: HashMap<AccountId, usize>,
}

impl Round {
    /// Until one of them is done; whether there was one.
    async fn wait(&mut self) -> bool {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return false;
        };
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(error = &error as &dyn StdError, "a delivery ended badly");
                error.id()
            }
        };
        if let Some(account) = self.accounts.remove(&id)
            && let Some(count) = self.of_account.get_mut(&account)
        {
            *count -= 1;
            if *count == 0 {
                self.of_account.remove(&account);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_delivery_that_ends_badly_makes_room_for_others_of_its_account() {
        let account = AccountId::random();
        let mut round = Round::default();
        let attempt = round.tasks.spawn(async { panic!("on purpose") });
        round.accounts.insert(attempt.id(), account);
        *round.of_account.entry(account).or_default() += 1;
        assert!(round.wait().await);
        assert!(round.of_account.is_empty() && round.accounts.is_empty());
        assert!(!round.wait().await);
    }
}
