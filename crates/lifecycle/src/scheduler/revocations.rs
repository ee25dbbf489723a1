//! Telling directories that certificates of theirs are revoked here, until they know.
//!
//! Some are told at a time, each of a few revocations, and each within a deadline, so that a directory
//! that does not answer holds up no other one.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::time::Duration;

use acme::client::Failure;
use store::{DirectoryId, PendingRevocation};
use time::OffsetDateTime;
use tokio::task::{Id, JoinSet};

use super::Scheduler;
use crate::Error;
use crate::issuers::LoginError;

/// How often it is looked for what directories have to be told.
const LOOK: Duration = Duration::from_secs(5);
/// Revocations that a node works on at a time.
const AT_A_TIME: usize = 16;
/// The same of one directory.
const OF_ONE_DIRECTORY: usize = 4;
/// How long a directory may take to take note of one.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a node has them to itself, at the least.
const LEASE: Duration = Duration::from_secs(300);
/// When a directory is told again, at first and at the latest.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(12 * 60 * 60);

/// What directories are being told.
#[derive(Debug, Default)]
struct Round {
    tasks: JoinSet<Result<bool, Error>>,
    directories: HashMap<Id, DirectoryId>,
    /// Those that failed, which are told nothing more in this round.
    failed: Vec<DirectoryId>,
}

impl Round {
    /// How much a directory is being told.
    fn of(&self, directory: DirectoryId) -> usize {
        let told = self.directories.values();
        told.filter(|told| **told == directory).count()
    }

    /// The directories that are told nothing more for now.
    fn except(&self) -> Vec<DirectoryId> {
        let mut except = self.failed.clone();
        for directory in self.directories.values() {
            if self.of(*directory) >= OF_ONE_DIRECTORY && !except.contains(directory) {
                except.push(*directory);
            }
        }
        except
    }

    /// Until a directory has been told of one, or was told in vain. Whether there was one.
    async fn wait(&mut self) -> Result<bool, Error> {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return Ok(false);
        };
        let (id, did_answer) = match ended {
            Ok((id, told)) => (id, told),
            Err(error) => (error.id(), Err(Error::signing(error))),
        };
        let directory = self.directories.remove(&id);
        if !did_answer? {
            self.failed.extend(directory);
        }
        Ok(true)
    }
}

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

    /// Tells directories of all revocations that are due, except those that fail meanwhile.
    pub(super) async fn tell_of_revocations(&self) -> Result<(), Error> {
        let mut round = Round::default();
        loop {
            let is_retired = *self.retired.borrow();
            let room = AT_A_TIME.saturating_sub(round.tasks.len());
            let mut is_last = is_retired;
            if room > 0 && !is_retired {
                let now = self.surroundings.now();
                let except = round.except();
                let due = self
                    .store
                    .claim_revocations(now, now + LEASE, room, &except)
                    .await?;
                is_last = due.is_empty();
                for revocation in due {
                    self.begin_telling(&mut round, revocation, now).await?;
                }
            }
            if !round.wait().await? && is_last {
                return Ok(());
            }
        }
    }

    async fn begin_telling(
        &self,
        round: &mut Round,
        revocation: PendingRevocation,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let directory = revocation.directory_id;
        if round.of(directory) >= OF_ONE_DIRECTORY {
            // More were due for it than it is told at a time.
            let (version, attempt) = (revocation.version_id, revocation.attempt);
            self.store.put_off_revocation(version, attempt, now).await?;
            return Ok(());
        }
        let scheduler = self.clone();
        let telling = round
            .tasks
            .spawn(async move { scheduler.tell(&revocation, now).await });
        round.directories.insert(telling.id(), directory);
        Ok(())
    }

    /// Tells a directory of one revocation. Whether there is sense in telling it of others.
    async fn tell(
        &self,
        revocation: &PendingRevocation,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        let version = revocation.version_id;
        let Some(directory) = self.issuers.directory(revocation.directory_id).await? else {
            self.store.settle_revocation(version).await?;
            return Ok(true);
        };
        let issuer = &directory.row.name;
        let telling = async {
            let login = self.issuers.login(&directory).await?;
            let client = &self.surroundings.network().directories;
            let reason = revocation.reason.code();
            let told = client.revoke(&login, &revocation.leaf, reason).await;
            if matches!(&told, Err(Failure::Refused { .. })) {
                // The next attempt is made with the key that is in use then.
                let issuers = &self.issuers;
                issuers.finish_key_change(&directory, &login.key).await?;
            }
            told.map_err(LoginError::Directory)
        };
        let told = tokio::time::timeout(PATIENCE, telling).await;
        let told = told.unwrap_or_else(|_| {
            Err(LoginError::Directory(Failure::Unreachable {
                reason: format!("it has not answered in {} seconds", PATIENCE.as_secs()),
            }))
        });
        match told {
            Ok(()) => {
                tracing::info!(issuer, %version, "told the issuer of a revocation");
                self.store.settle_revocation(version).await?;
                Ok(true)
            }
            Err(LoginError::House(error)) => Err(error),
            Err(LoginError::Directory(failure)) => {
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
                Ok(matches!(failure, Failure::Refused { .. }))
            }
        }
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
