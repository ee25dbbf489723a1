//! What directories are to issue: one task for each certificate that is claimed, and for each issuer
//! only so many at a time, so that none of them holds the others up.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::time::Duration;

use tokio::task::{Id, JoinSet};

use super::{LOOK, Scheduler};
use crate::Error;
use crate::orders::LEASE;

/// Attempts under way at a time.
const PLACES: usize = 256;
/// How long attempts may go on that are under way when nothing more is taken on.
const FAREWELL: Duration = Duration::from_secs(5);

/// The attempts that are under way.
#[derive(Debug, Default)]
pub(super) struct Pool {
    tasks: JoinSet<()>,
    issuers: HashMap<Id, String>,
}

/// What was taken on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intake {
    pub(super) count: usize,
    /// Whether more may be due than there was room for.
    pub(super) is_full: bool,
}

impl Pool {
    /// Waits for an attempt to end. Whether there was one.
    pub(super) async fn finished(&mut self) -> bool {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return false;
        };
        self.forget(ended);
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.forget(ended);
        }
        true
    }

    fn forget(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        self.issuers.remove(&id);
        if let Err(error) = ended
            && !error.is_cancelled()
        {
            tracing::error!(
                error = &error as &dyn StdError,
                "an attempt at a certificate ended badly"
            );
        }
    }

    fn under_way(&self) -> HashMap<&str, usize> {
        let mut counts = HashMap::new();
        for issuer in self.issuers.values() {
            *counts.entry(issuer.as_str()).or_default() += 1;
        }
        counts
    }
}

impl Scheduler {
    pub(super) async fn run_for_directories(&self) {
        let mut rung = self.certificates.due.subscribe();
        let mut retired = self.retired.subscribe();
        let mut pool = Pool::default();
        loop {
            let intake = self.take_on(&mut pool).await.unwrap_or_else(|error| {
                tracing::warn!(
                    error = &error as &dyn StdError,
                    "could not look for certificates that are due"
                );
                Intake {
                    count: 0,
                    is_full: false,
                }
            });
            if *retired.borrow() {
                break;
            }
            if !intake.is_full {
                let resting = self.rest(&mut rung, &mut retired, LOOK);
                tokio::pin!(resting);
                loop {
                    tokio::select! {
                        _ = &mut resting => break,
                        true = pool.finished() => {}
                    }
                }
            } else if intake.count == 0 {
                tokio::select! {
                    _ = self.rest(&mut rung, &mut retired, LOOK) => {}
                    true = pool.finished() => {}
                }
            }
        }
        let farewell = async { while pool.finished().await {} };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            let count = pool.tasks.len();
            tracing::info!(count, "left attempts to others that were under way");
            pool.tasks.shutdown().await;
        }
    }

    /// Claims what is due, as far as there is room for it, and begins an attempt for each.
    pub(super) async fn take_on(&self, pool: &mut Pool) -> Result<Intake, Error> {
        let mut except = self.authorities.names().await?;
        let mut room = PLACES.saturating_sub(pool.tasks.len());
        let mut is_limited = false;
        let most = self.issuers.concurrency().await?;
        for (issuer, count) in pool.under_way() {
            let places = most.of(issuer).saturating_sub(count);
            if places == 0 {
                except.push(issuer.to_owned());
                is_limited = true;
            } else {
                room = room.min(places);
            }
        }
        room = room.min(most.least());
        let is_retired = *self.retired.borrow();
        if room == 0 || is_retired {
            return Ok(Intake {
                count: 0,
                is_full: !is_retired,
            });
        }
        let now = self.surroundings.now();
        let until = now + LEASE;
        let claimed = self.store.claim_due(now, until, room, &except).await?;
        let count = claimed.len();
        for certificate in claimed {
            let issuer = certificate.issuer.clone().unwrap_or_default();
            let orders = self.orders.clone();
            let attempt = pool.tasks.spawn(async move {
                if let Err(error) = orders.attempt(&certificate, until).await {
                    tracing::warn!(
                        name = certificate.common_name,
                        certificate = %certificate.id,
                        error = &error as &dyn StdError,
                        "could not go on obtaining a certificate"
                    );
                }
            });
            pool.issuers.insert(attempt.id(), issuer);
        }
        Ok(Intake {
            count,
            is_full: count == room || (is_limited && !pool.tasks.is_empty()),
        })
    }
}
