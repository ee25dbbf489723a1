//! Places for what takes long and is begun by anybody: so many on a node, and so many of one account.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::AccountId;

use crate::Error;

/// How many of one kind may be under way on this node.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    most: usize,
    most_of_account: usize,
    reason: &'static str,
    /// By account; none is kept at zero.
    taken: Arc<Mutex<HashMap<AccountId, usize>>>,
}

/// A place, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    account: AccountId,
}

impl Places {
    /// Room for `most` in all and for `most_of_account` of one account; `reason` is what whoever finds
    /// no place is told.
    pub(crate) fn new(most: usize, most_of_account: usize, reason: &'static str) -> Self {
        Self {
            most,
            most_of_account,
            reason,
            taken: Arc::default(),
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub(crate) fn take(&self, account: AccountId) -> Result<Place, Error> {
        let mut taken = self.taken();
        let all: usize = taken.values().sum();
        let of_account = taken.get(&account).copied().unwrap_or_default();
        if all >= self.most || of_account >= self.most_of_account {
            return Err(Error::Busy {
                reason: self.reason,
            });
        }
        taken.insert(account, of_account + 1);
        Ok(Place {
            places: self.clone(),
            account,
        })
    }

    /// Each change is complete when the lock is given back.
    fn taken(&self) -> MutexGuard<'_, HashMap<AccountId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        let left = taken.get(&self.account).map_or(0, |count| count - 1);
        if left == 0 {
            taken.remove(&self.account);
        } else {
            taken.insert(self.account, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_node_nor_an_account_takes_more_than_its_places() {
        let account = |octet: u8| AccountId::from_random([octet; 16]);
        let places = Places::new(3, 2, "too much is under way");
        let (first, second) = (places.take(account(1)), places.take(account(1)));
        let refused = places.take(account(1)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "too much is under way; try again in a minute"
        );
        let third = places.take(account(2)).unwrap();
        assert!(places.take(account(3)).is_err());
        drop(third);
        drop(places.take(account(3)).unwrap());
        drop((first.unwrap(), second.unwrap()));
        assert!(places.taken().is_empty());
        assert!(places.take(account(1)).is_ok());
    }
}
