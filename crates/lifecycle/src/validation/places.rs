//! How many questions of validations are under way at a time, so that one account cannot take what
//! all others need.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use store::AccountId;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Questions of all accounts.
const MOST: usize = 512;
/// Questions of one account.
const MOST_OF_ONE: usize = 64;
/// Accounts remembered before those are forgotten that ask nothing.
const REMEMBERED: usize = 256;

/// The places of this node.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    accounts: Mutex<HashMap<AccountId, Weak<Semaphore>>>,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MOST)),
            accounts: Mutex::default(),
        }
    }
}

impl Places {
    /// Waits for a place, in turn.
    pub(super) async fn take(&self, account: AccountId) -> Result<Place, AcquireError> {
        // Who waits for a place of its own keeps none from others.
        let own = self.of(account).acquire_owned().await?;
        let shared = self.all.clone().acquire_owned().await?;
        Ok(Place {
            _own: own,
            _shared: shared,
        })
    }

    fn of(&self, account: AccountId) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = accounts.get(&account).and_then(Weak::upgrade) {
            return own;
        }
        if accounts.len() >= REMEMBERED {
            accounts.retain(|_, own| own.strong_count() > 0);
        }
        let own = Arc::new(Semaphore::new(MOST_OF_ONE));
        accounts.insert(account, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn account(number: u128) -> AccountId {
        AccountId::from_uuid(uuid::Uuid::from_u128(number))
    }

    fn at_once(places: &Places, account: AccountId) -> Option<Place> {
        let taking = pin!(places.take(account));
        match taking.poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(taken) => Some(taken.unwrap()),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn an_account_that_takes_all_it_can_leaves_places_to_others() {
        let places = Places::default();
        let mut taken = Vec::new();
        while let Some(place) = at_once(&places, account(1)) {
            taken.push(place);
        }
        assert_eq!(taken.len(), MOST_OF_ONE);
        assert!(at_once(&places, account(2)).is_some());
        taken.pop();
        assert!(at_once(&places, account(1)).is_some());
    }

    #[test]
    fn there_are_so_many_places_and_no_more() {
        let places = Places::default();
        let mut taken = Vec::new();
        for number in 0..u128::from(u8::MAX) {
            while let Some(place) = at_once(&places, account(number)) {
                taken.push(place);
            }
        }
        assert_eq!(taken.len(), MOST);
        taken.clear();
        for number in 0..10 * REMEMBERED as u128 {
            assert!(at_once(&places, account(number)).is_some());
        }
        assert!(places.accounts.lock().unwrap().len() <= REMEMBERED);
    }
}
