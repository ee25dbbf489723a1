//! Telling directories that certificates of theirs are revoked here, until they know.

use std::error::Error as StdError;
use std::time::Duration;

use store::PendingRevocation;
use time::OffsetDateTime;

use super::Scheduler;
use crate::Error;
use crate::issuers::LoginError;

/// How often it is looked for what directories have to be told.
const LOOK: Duration = Duration::from_secs(5);
/// Revocations that a node works on at a time.
const BATCH: usize = 16;
/// How long a node has them to itself, at the least.
const LEASE: Duration = Duration::from_secs(300);
/// When a directory is told again, at first and at the latest.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(12 * 60 * 60);

impl Scheduler {
    pub(super) async fn run_for_revocations(&self) {
        let mut rung = self.certificates.due.subscribe();
        let mut retired = self.retired.subscribe();
        loop {
            if let Err(error) = self.tell_of_revocations().await {
                tracing::warn!(
                    error = &error as &dyn StdError,
                    "could not tell directories of revocations"
                );
            }
            if self.rest(&mut rung, &mut retired, LOOK).await {
                return;
            }
        }
    }

    /// Tells directories of all revocations that are due.
    pub(super) async fn tell_of_revocations(&self) -> Result<(), Error> {
        loop {
            let now = self.surroundings.now();
            let due = self
                .store
                .claim_revocations(now, now + LEASE, BATCH)
                .await?;
            let is_last = due.len() < BATCH;
            for revocation in due {
                if *self.retired.borrow() {
                    return Ok(());
                }
                self.tell(&revocation, now).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn tell(&self, revocation: &PendingRevocation, now: OffsetDateTime) -> Result<(), Error> {
        let version = revocation.version_id;
        let Some(directory) = self.issuers.directory(revocation.directory_id).await? else {
            self.store.settle_revocation(version).await?;
            return Ok(());
        };
        let issuer = &directory.row.name;
        let told = match self.issuers.login(&directory).await {
            Ok(login) => {
                let client = &self.surroundings.network().directories;
                let reason = revocation.reason.code();
                client.revoke(&login, &revocation.leaf, reason).await
            }
            Err(LoginError::Directory(failure)) => Err(failure),
            Err(LoginError::House(error)) => return Err(error),
        };
        match told {
            Ok(()) => {
                tracing::info!(issuer, %version, "told the issuer of a revocation");
                self.store.settle_revocation(version).await?;
            }
            Err(failure) => {
                let next = now + pause(revocation.attempt);
                tracing::warn!(
                    issuer,
                    %version,
                    %next,
                    error = &failure as &dyn StdError,
                    "could not tell the issuer of a revocation"
                );
                let attempt = revocation.attempt.saturating_add(1);
                self.store
                    .put_off_revocation(version, attempt, next)
                    .await?;
            }
        }
        Ok(())
    }
}

/// How long after so many attempts in vain the next one is made.
fn pause(attempts: u32) -> Duration {
    let factor = 1_u32.checked_shl(attempts).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_day() {
        let minutes = |attempts| pause(attempts).as_secs() / 60;
        assert_eq!([0, 1, 2, 9, 10, 40].map(minutes), [1, 2, 4, 512, 720, 720]);
    }
}
