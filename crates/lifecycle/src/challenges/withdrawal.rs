//! Withdrawing records when their challenges are over: for as long as it takes, and never what
//! somebody else put there or still needs.

use std::error::Error as StdError;
use std::time::Duration;

use store::{PendingChallenge, Scope};
use tokio::task::JoinSet;

use acme::client::ChallengeKind;

use super::{ChallengeError, Solvers, preparation};
use crate::Error;
use crate::zones::DnsProviders;

/// How often records are looked for that are due.
const LOOK: Duration = Duration::from_secs(5);
/// How many are claimed together.
const BATCH: usize = 32;
/// How long a claim lasts. A provider that fails is asked again then.
const LEASE: Duration = Duration::from_secs(60);
/// The longest time until the next try.
const LONGEST: time::Duration = time::Duration::HOUR;

impl Solvers {
    /// Withdraws what is due, for ever. Faults are logged and tried again.
    pub(crate) async fn withdraw(&self) {
        loop {
            match self.withdraw_due().await {
                Ok(BATCH) => {}
                Ok(_) => tokio::time::sleep(LOOK).await,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn StdError,
                        "could not look for DNS records to withdraw"
                    );
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    /// Tries to withdraw each record that is due now, at most so many as are claimed together.
    /// Returns how many that were.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub(crate) async fn withdraw_due(&self) -> Result<usize, Error> {
        let now = self.surroundings.now();
        let until = now + LEASE;
        let claimed = self.store.claim_withdrawals(now, until, BATCH).await?;
        let count = claimed.len();
        let mut withdrawing = JoinSet::new();
        for row in claimed {
            let solvers = self.clone();
            withdrawing.spawn(async move {
                let withdrawn = solvers.withdraw_one(&row).await;
                (row, withdrawn)
            });
        }
        while let Some(withdrawn) = withdrawing.join_next().await {
            let (row, withdrawn) = withdrawn.map_err(Error::signing)?;
            if let Err(error) = withdrawn {
                let now = self.surroundings.now();
                let at = now + pause(now - row.created_at);
                // If that cannot be written down either, it is due again when the claim is over.
                let put_off = self.store.put_off_withdrawal(row.id, until, at).await;
                tracing::warn!(
                    name = row.name,
                    record = row.record.as_ref().map(|record| record.name.as_str()),
                    error = &error as &dyn StdError,
                    is_put_off = put_off.is_ok(),
                    "could not withdraw a DNS record; it is tried again"
                );
            }
        }
        Ok(count)
    }

    async fn withdraw_one(&self, row: &PendingChallenge) -> Result<(), ChallengeError> {
        let Some(record) = &row.record else {
            self.store.withdrawn(row.id).await?;
            return Ok(());
        };
        let stays = row.kind == ChallengeKind::DnsPersist01.as_str();
        if stays || self.is_needed(row).await? {
            self.store.withdrawn(row.id).await?;
            return Ok(());
        }
        let provider = self
            .store
            .dns_provider(Scope::Everything, record.provider_id)
            .await?;
        let access = match &provider {
            Some(provider) => self.providers.access(provider).await?,
            None => None,
        };
        let (Some(provider), Some(access)) = (provider, access) else {
            tracing::warn!(
                record = record.name,
                text = record.value,
                "a DNS record stays, because its provider was removed; remove it by hand"
            );
            self.store.withdrawn(row.id).await?;
            return Ok(());
        };
        let mut text = DnsProviders::record(&provider, &record.name, &record.value);
        text.proof = preparation::proof(row);
        let records = &self.surroundings.network().records;
        match records.withdraw(&access, &text).await {
            Ok(()) => {
                self.store.withdrawn(row.id).await?;
                Ok(())
            }
            Err(source) => Err(ChallengeError::Provider {
                record: record.name.clone(),
                zone: record.zone.clone(),
                source,
            }),
        }
    }

    /// Whether another challenge that goes on wants the very same record.
    async fn is_needed(&self, row: &PendingChallenge) -> Result<bool, Error> {
        let Some(record) = &row.record else {
            return Ok(false);
        };
        Ok(self
            .store
            .is_record_needed(&row.name, &record.name, &record.value)
            .await?)
    }
}

/// The longer it did not work, the longer until the next try.
fn pause(age: time::Duration) -> time::Duration {
    let quarter: time::Duration = age / 4;
    quarter.clamp(time::Duration::MINUTE, LONGEST)
}
