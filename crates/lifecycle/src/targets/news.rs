//! Waiting until something may have changed for a target.
//!
//! One reader of the change feed on each node tells all who wait which accounts something happened
//! to. Each target has one who waits: a second one for the same target takes the place of the first,
//! which is told so. That bounds what waiting takes, and shows when two machines use one name.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{AccountId, EventId, Store, TargetId, Wanted};
use tokio::sync::{OnceCell, broadcast, oneshot};
use tokio::time::Instant;

use crate::feed::Reader;
use crate::{Error, events};

/// Pieces of news that somebody who waits may be behind; then it looks itself.
const BEHIND: usize = 64;

/// What can change what a target is to have.
const CHANGING: [&str; 12] = [
    events::CERTIFICATE_DELETED,
    events::CERTIFICATE_ISSUED,
    events::CERTIFICATE_RENEWED,
    events::CERTIFICATE_REPLACED,
    events::CERTIFICATE_REVOKED,
    events::CERTIFICATE_SELF_SIGNED,
    events::CERTIFICATE_UPLOADED,
    events::DOMAIN_ADDED,
    events::DOMAIN_REMOVED,
    events::DOMAIN_SWITCHED,
    events::SERVICE_DELETED,
    events::TARGET_CHANGED,
];

/// The accounts that something happened to.
type Happened = Arc<HashSet<AccountId>>;

/// Where those who wait hear that something happened.
#[derive(Debug)]
pub(crate) struct News {
    happened: broadcast::Sender<Happened>,
    waiting: Mutex<HashMap<TargetId, (u64, oneshot::Sender<()>)>>,
    last_turn: AtomicU64,
    is_closed: AtomicBool,
}

impl Default for News {
    fn default() -> Self {
        Self {
            happened: broadcast::Sender::new(BEHIND),
            waiting: Mutex::default(),
            last_turn: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        }
    }
}

/// What ends a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Something may have changed.
    Changed,
    /// The node ends, or the time is over.
    Over,
    /// Somebody else waits for the same target now.
    Superseded,
}

/// The place of one who waits for a target, given up when dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    news: &'a News,
    account: AccountId,
    target: TargetId,
    turn: u64,
    happened: broadcast::Receiver<Happened>,
    superseded: oneshot::Receiver<()>,
}

impl News {
    /// Takes the place of who waits for a target. What happens from now on is heard of.
    pub(crate) fn wait_for(&self, account: AccountId, target: TargetId) -> Waiting<'_> {
        let turn = self.last_turn.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, superseded) = oneshot::channel();
        let happened = self.happened.subscribe();
        // Dropping the sender of the one before tells it.
        self.places().insert(target, (turn, sender));
        Waiting {
            news: self,
            account,
            target,
            turn,
            happened,
            superseded,
        }
    }

    /// Tells that something happened to these accounts.
    pub(super) fn tell(&self, accounts: HashSet<AccountId>) {
        if !accounts.is_empty() {
            // Nobody may be waiting.
            drop(self.happened.send(Arc::new(accounts)));
        }
    }

    /// Ends all waits, now and from now on.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        drop(self.happened.send(Arc::default()));
    }

    fn places(&self) -> MutexGuard<'_, HashMap<TargetId, (u64, oneshot::Sender<()>)>> {
        // Each change of the map is whole before anything can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// Waits until something may have changed for the target, at most until `deadline`.
    pub(crate) async fn until(&mut self, deadline: Instant) -> Ending {
        loop {
            if self.news.is_closed.load(Ordering::SeqCst) {
                return Ending::Over;
            }
            let happened = tokio::select! {
                biased;
                _ = &mut self.superseded => return Ending::Superseded,
                happened = self.happened.recv() => happened,
                () = tokio::time::sleep_until(deadline) => return Ending::Over,
            };
            match happened {
                Ok(accounts) if !accounts.contains(&self.account) => {}
                // Too much has happened to tell all of it.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return Ending::Changed,
                Err(broadcast::error::RecvError::Closed) => return Ending::Over,
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut places = self.news.places();
        if places
            .get(&self.target)
            .is_some_and(|(turn, _)| *turn == self.turn)
        {
            places.remove(&self.target);
        }
    }
}

/// Reads the feed for those who wait.
pub(crate) struct NewsReader {
    store: Store,
    news: Arc<News>,
    /// From where on this node follows: who asked since must hear of what came since.
    beginning: Arc<OnceCell<Option<EventId>>>,
    place: Option<EventId>,
}

impl NewsReader {
    pub(crate) fn new(
        store: Store,
        news: Arc<News>,
        beginning: Arc<OnceCell<Option<EventId>>>,
    ) -> Self {
        Self {
            store,
            news,
            beginning,
            place: None,
        }
    }
}

impl Reader for NewsReader {
    async fn orient(&mut self) -> Result<(), Error> {
        let now = || self.store.last_event();
        self.place = *self.beginning.get_or_try_init(now).await?;
        Ok(())
    }

    async fn step(&mut self) -> Result<bool, Error> {
        let stretch = self.store.feed(Wanted::Only(&CHANGING), self.place).await?;
        let accounts = stretch.events.iter().filter_map(|event| event.account_id);
        self.news.tell(accounts.collect());
        self.place = stretch.place;
        Ok(!stretch.is_last)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn account(number: u8) -> AccountId {
        AccountId::from_random([number; 16])
    }

    fn target(number: u8) -> TargetId {
        TargetId::from_random([number; 16])
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_hears_of_its_own_account_alone() {
        let news = News::default();
        let mut one = news.wait_for(account(1), target(1));
        let mut other = news.wait_for(account(2), target(2));
        news.tell(HashSet::from([account(1)]));
        assert_eq!(one.until(soon()).await, Ending::Changed);
        assert_eq!(other.until(soon()).await, Ending::Over);
        for number in 0..100 {
            news.tell(HashSet::from([account(100 + number)]));
        }
        // It could not follow, and has to look.
        assert_eq!(other.until(soon()).await, Ending::Changed);
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_who_waits_for_a_target_takes_the_place_of_the_first() {
        let news = News::default();
        let mut first = news.wait_for(account(1), target(1));
        let mut second = news.wait_for(account(1), target(1));
        assert_eq!(first.until(soon()).await, Ending::Superseded);
        drop(first);
        news.tell(HashSet::from([account(1)]));
        assert_eq!(second.until(soon()).await, Ending::Changed);
        assert_eq!(second.until(soon()).await, Ending::Over);
        drop(second);
        assert!(news.places().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_when_the_node_ends() {
        let news = News::default();
        let mut one = news.wait_for(account(1), target(1));
        news.close();
        let far = Instant::now() + Duration::from_secs(1_000_000_000);
        assert_eq!(one.until(far).await, Ending::Over);
        let mut late = news.wait_for(account(1), target(2));
        assert_eq!(late.until(far).await, Ending::Over);
    }
}
