//! What directories are to issue: one task for each certificate that is claimed, and for each issuer
//! only so many at a time, so that none of them holds the others up.
//!
//! An account that has directories of its own can make them as slow as it likes, and orders may come
//! to them in the place of any other. So all that such an account has under way has a share of its own,
//! and all such accounts together leave room for the others.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::time::Duration;

use store::{AccountId, Certificate, Claimable, Owners};
use time::OffsetDateTime;
use tokio::task::{Id, JoinSet};

use super::{LOOK, Scheduler};
use crate::Error;
use crate::issuers::Concurrency;
use crate::orders::LEASE;

/// Attempts under way at a time.
const PLACES: usize = 256;
/// The same for one account that has directories of its own.
const SHARE: usize = 16;
/// The same for all such accounts together.
const SHARES: usize = 128;
/// How long attempts may go on that are under way when nothing more is taken on.
const FAREWELL: Duration = Duration::from_secs(5);

/// What an attempt counts towards.
#[derive(Debug, Clone)]
struct Line {
    /// The account, if it has directories of its own.
    account: Option<AccountId>,
    issuer: String,
}

/// The attempts that are under way.
#[derive(Debug, Default)]
pub(super) struct Pool {
    tasks: JoinSet<()>,
    lines: HashMap<Id, Line>,
}

/// What was taken on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Intake {
    pub(super) count: usize,
    /// Whether more may be due than there was room for.
    pub(super) is_full: bool,
}

/// How much room there is, and for whom there is none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Room {
    places: usize,
    except_shared: Vec<String>,
    except_own: Vec<(AccountId, String)>,
    except_accounts: Vec<AccountId>,
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
        self.lines.remove(&id);
        if let Err(error) = ended
            && !error.is_cancelled()
        {
            tracing::error!(
                error = &error as &dyn StdError,
                "an attempt at a certificate ended badly"
            );
        }
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
                Intake::default()
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
        let authorities = self.authorities.names().await?;
        let most = self.issuers.concurrency().await?;
        let mut taken = Intake::default();
        for owners in [Owners::WithoutDirectories, Owners::WithDirectories] {
            if *self.retired.borrow() {
                break;
            }
            let room = room(owners, pool.lines.values(), &most);
            let is_limited = !(room.except_shared.is_empty()
                && room.except_own.is_empty()
                && room.except_accounts.is_empty());
            let mut claimed = Vec::new();
            let now = self.surroundings.now();
            let until = now + LEASE;
            if room.places > 0 {
                let claimable = Claimable {
                    owners,
                    except_authorities: &authorities,
                    except_shared: &room.except_shared,
                    except_own: &room.except_own,
                    except_accounts: &room.except_accounts,
                };
                let claim = self.store.claim_due(now, until, room.places, claimable);
                claimed = claim.await?;
            }
            let count = claimed.len();
            taken.count += count;
            for certificate in claimed {
                self.begin(pool, owners, certificate, until);
            }
            taken.is_full |= count == room.places || (is_limited && !pool.tasks.is_empty());
        }
        Ok(taken)
    }

    fn begin(
        &self,
        pool: &mut Pool,
        owners: Owners,
        certificate: Certificate,
        until: OffsetDateTime,
    ) {
        let line = Line {
            account: (owners == Owners::WithDirectories).then_some(certificate.account_id),
            issuer: certificate.issuer.clone().unwrap_or_default(),
        };
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
        pool.lines.insert(attempt.id(), line);
    }
}

/// How many attempts can be begun for accounts that have directories of their own, or for the others,
/// while these are under way: so many that none is begun too much, whoever they turn out to be for.
fn room<'a>(owners: Owners, under_way: impl Iterator<Item = &'a Line>, most: &Concurrency) -> Room {
    let mut shared: HashMap<&str, usize> = HashMap::new();
    let mut own: HashMap<(AccountId, &str), usize> = HashMap::new();
    let mut accounts: HashMap<AccountId, usize> = HashMap::new();
    let mut all = 0;
    for Line { account, issuer } in under_way {
        all += 1;
        if let Some(account) = *account {
            *accounts.entry(account).or_default() += 1;
            if most.own(account, issuer).is_some() {
                *own.entry((account, issuer)).or_default() += 1;
                continue;
            }
        }
        *shared.entry(issuer).or_default() += 1;
    }
    let mut room = Room {
        places: PLACES.saturating_sub(all).min(most.least_shared()),
        ..Room::default()
    };
    let narrow = |places: usize, left: usize| match left {
        0 => (places, true),
        left => (places.min(left), false),
    };
    for (issuer, count) in shared {
        let left = most.shared(issuer).saturating_sub(count);
        let (places, is_full) = narrow(room.places, left);
        room.places = places;
        if is_full {
            room.except_shared.push(issuer.to_owned());
        }
    }
    if owners != Owners::WithDirectories {
        return room;
    }
    let held: usize = accounts.values().sum();
    room.places = room
        .places
        .min(SHARES.saturating_sub(held))
        .min(most.least_own().min(SHARE));
    for (account, count) in accounts {
        let (places, is_full) = narrow(room.places, SHARE.saturating_sub(count));
        room.places = places;
        if is_full {
            room.except_accounts.push(account);
        }
    }
    for ((account, issuer), count) in own {
        let left = most.own(account, issuer).unwrap_or(SHARE);
        let (places, is_full) = narrow(room.places, left.saturating_sub(count));
        room.places = places;
        if is_full && !room.except_accounts.contains(&account) {
            room.except_own.push((account, issuer.to_owned()));
        }
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(account: Option<AccountId>, issuer: &str) -> Line {
        Line {
            account,
            issuer: issuer.to_owned(),
        }
    }

    fn under_way(lines: &[(Option<AccountId>, &str, usize)]) -> Vec<Line> {
        let lines = lines.iter();
        lines
            .flat_map(|(account, issuer, count)| vec![line(*account, issuer); *count])
            .collect()
    }

    #[test]
    fn the_directories_of_one_account_leave_room_for_everybody_else() {
        let (greedy, modest) = (AccountId::random(), AccountId::random());
        let most = Concurrency::new(
            [("shared", 32)],
            [(greedy, "slow", 1000), (modest, "own", 4)],
        );
        let slow = under_way(&[(Some(greedy), "slow", SHARE)]);
        let others = room(Owners::WithoutDirectories, slow.iter(), &most);
        assert_eq!(others.places, 32);
        assert!(others.except_shared.is_empty());
        let owners = room(Owners::WithDirectories, slow.iter(), &most);
        assert_eq!(owners.places, 4);
        assert_eq!(owners.except_accounts, [greedy]);
    }

    #[test]
    fn what_such_an_account_orders_elsewhere_counts_towards_its_share() {
        let account = AccountId::random();
        let most = Concurrency::new([("shared", 32)], [(account, "own", 32)]);
        let lines = under_way(&[(Some(account), "own", 10), (Some(account), "shared", 4)]);
        let owners = room(Owners::WithDirectories, lines.iter(), &most);
        assert_eq!(owners.places, 2);
        assert!(owners.except_accounts.is_empty());
        let others = room(Owners::WithoutDirectories, lines.iter(), &most);
        assert_eq!(others.places, 28);
    }

    #[test]
    fn many_accounts_with_slow_directories_leave_half_of_the_places() {
        let accounts: Vec<AccountId> = (0..SHARES).map(|_| AccountId::random()).collect();
        let most = Concurrency::new(
            [("shared", 30)],
            accounts.iter().map(|one| (*one, "own", 8)),
        );
        let lines: Vec<Line> = accounts
            .iter()
            .map(|account| line(Some(*account), "own"))
            .collect();
        assert_eq!(room(Owners::WithDirectories, lines.iter(), &most).places, 0);
        let others = room(Owners::WithoutDirectories, lines.iter(), &most);
        assert_eq!(others.places, 30);
    }

    #[test]
    fn a_directory_that_has_enough_to_do_is_left_out_and_no_other_of_its_name() {
        let (one, other) = (AccountId::random(), AccountId::random());
        let most = Concurrency::new([("le", 2)], [(one, "le", 1), (other, "le", 3)]);
        let lines = under_way(&[
            (None, "le", 2),
            (Some(one), "le", 1),
            (Some(other), "le", 1),
        ]);
        let owners = room(Owners::WithDirectories, lines.iter(), &most);
        assert_eq!(owners.except_shared, ["le"]);
        assert_eq!(owners.except_own, [(one, "le".to_owned())]);
        assert_eq!(owners.places, 1);
        assert!(owners.except_accounts.is_empty());
    }
}
