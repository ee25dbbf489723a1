//! The policies of accounts: what each may have certified by the private authorities.

mod policy;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::{AccountId, Store};
use time::OffsetDateTime;

use crate::accounts::HOUSE_ACCOUNT;
use crate::{Accounts, Error, Principal, Surroundings, events};
pub use policy::{Policy, PolicyText};

/// For how long a policy holds on a node that has read it. A change holds everywhere after this time.
const KNOWN: Duration = Duration::from_secs(1);
/// Most policies remembered at a time; more simply cost a read each.
const REMEMBERED: usize = 10_000;

/// Operations on policies.
#[derive(Clone)]
pub struct Policies {
    store: Store,
    surroundings: Surroundings,
    accounts: Accounts,
    seen: Arc<Mutex<HashMap<AccountId, Seen>>>,
}

/// A policy that was read a moment ago.
struct Seen {
    at: OffsetDateTime,
    policy: Arc<Policy>,
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Policies")
    }
}

impl Policies {
    pub(crate) fn new(store: Store, surroundings: Surroundings, accounts: Accounts) -> Self {
        Self {
            store,
            surroundings,
            accounts,
            seen: Arc::default(),
        }
    }

    /// The policy of an account; without one everything is free. Administrators may ask for anybody's.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`] for the account.
    pub async fn show(&self, principal: &Principal, account: &str) -> Result<Policy, Error> {
        if account != principal.account_name() {
            principal.require_administrator()?;
        }
        let account = self.accounts.named(account).await?;
        self.read(account.id).await
    }

    /// Gives an account a policy, in place of an earlier one; `None` takes it away. It holds on every
    /// node within a second, for whatever is signed from then on. Only administrators may.
    ///
    /// # Errors
    /// [`Error::Forbidden`]; [`Error::NotFound`] for the account, [`Error::Invalid`] for the house's own;
    /// [`Error::TooLong`].
    pub async fn set(
        &self,
        principal: &Principal,
        account: &str,
        policy: Option<&Policy>,
    ) -> Result<(), Error> {
        principal.require_administrator()?;
        principal.require_write()?;
        if account == HOUSE_ACCOUNT {
            return Err(Error::invalid(
                "account",
                "the server's own account takes no policy",
            ));
        }
        let account = self.accounts.named(account).await?;
        let text = policy.map(Policy::to_json);
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(account.id),
            events::POLICY_CHANGED,
            Some(account.id.as_uuid()),
            text.as_deref().unwrap_or("removed"),
        );
        self.store
            .set_policy(account.id, text.as_deref(), event)
            .await?;
        self.seen().remove(&account.id);
        Ok(())
    }

    /// What holds for an account now.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Signing`] when what is stored cannot be read: then nothing is signed.
    pub(crate) async fn of(&self, account: AccountId) -> Result<Arc<Policy>, Error> {
        let now = self.surroundings.now();
        if let Some(seen) = self.seen().get(&account)
            && seen.at <= now
            && now - seen.at < KNOWN
        {
            return Ok(seen.policy.clone());
        }
        let policy = Arc::new(self.read(account).await?);
        let mut seen = self.seen();
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        let fresh = Seen {
            at: now,
            policy: policy.clone(),
        };
        seen.insert(account, fresh);
        Ok(policy)
    }

    async fn read(&self, account: AccountId) -> Result<Policy, Error> {
        match self.store.policy(account).await? {
            None => Ok(Policy::default()),
            Some(text) => Policy::from_json(&text)
                .ok_or_else(|| Error::signing("the account's policy cannot be read")),
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<AccountId, Seen>> {
        // It is a cache: whatever a panicking holder left behind is still true or too old.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
