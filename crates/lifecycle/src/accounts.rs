//! Accounts: the tenants of the house.

use store::{
    Account, AccountBar, AccountId, AccountStatus, NewAccount, NewEvent, PAGE_LIMIT, Role,
    ServiceFilter, Store,
};

use crate::{Error, Noun, Principal, Surroundings, events};

/// The account that owns what the house keeps for itself, such as the certificate of its own API
/// listener. It has no tokens, and none can be made for it.
pub const HOUSE_ACCOUNT: &str = "chancery";

/// The account made at first start.
pub const FIRST_ADMINISTRATOR: &str = "admin";

/// A change of an account's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountChange {
    /// Refused in every dialect.
    Disable,
    /// Undoes [`Self::Disable`].
    Enable,
    /// Never any web login; the APIs go on working.
    ForbidLogin,
    /// Undoes [`Self::ForbidLogin`].
    AllowLogin,
    /// No web login for now; the APIs go on working.
    Lock,
    /// Undoes [`Self::Lock`].
    Unlock,
}

impl AccountChange {
    /// The bar, and whether it is put on.
    const fn bar(self) -> (AccountBar, bool) {
        match self {
            Self::Disable => (AccountBar::Disabled, true),
            Self::Enable => (AccountBar::Disabled, false),
            Self::ForbidLogin => (AccountBar::NoLogin, true),
            Self::AllowLogin => (AccountBar::NoLogin, false),
            Self::Lock => (AccountBar::Locked, true),
            Self::Unlock => (AccountBar::Locked, false),
        }
    }

    const fn event(self) -> &'static str {
        match self {
            Self::Disable => events::ACCOUNT_DISABLED,
            Self::Enable => events::ACCOUNT_ENABLED,
            Self::ForbidLogin => events::ACCOUNT_LOGIN_FORBIDDEN,
            Self::AllowLogin => events::ACCOUNT_LOGIN_ALLOWED,
            Self::Lock => events::ACCOUNT_LOCKED,
            Self::Unlock => events::ACCOUNT_UNLOCKED,
        }
    }
}

/// Operations on accounts.
#[derive(Debug, Clone)]
pub struct Accounts {
    store: Store,
    surroundings: Surroundings,
}

impl Accounts {
    pub(crate) fn new(store: Store, surroundings: Surroundings) -> Self {
        Self {
            store,
            surroundings,
        }
    }

    /// Makes an account. Only administrators may.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Invalid`] for a name outside of the token format,
    /// [`Error::NameTaken`].
    pub async fn create(
        &self,
        principal: &Principal,
        name: &str,
        role: Role,
    ) -> Result<Account, Error> {
        principal.require_administrator()?;
        principal.require_write()?;
        self.insert(principal.account_name(), name, role).await
    }

    /// The caller in the place of the account `name`: what is listed, shown and changed is that
    /// account's, and the caller stays who has done it. Administrators stand in for anybody, others
    /// for themselves.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`].
    pub async fn stand_in(&self, principal: &Principal, name: &str) -> Result<Principal, Error> {
        if name != principal.account_name() {
            principal.require_administrator()?;
        }
        Ok(principal.in_place_of(&self.named(name).await?))
    }

    /// All accounts, by name. Only administrators may ask.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn list(&self, principal: &Principal) -> Result<Vec<Account>, Error> {
        principal.require_administrator()?;
        let mut accounts: Vec<Account> = Vec::new();
        loop {
            let after = accounts.last().map(|account| account.name.clone());
            let page = self.store.accounts(after.as_deref(), PAGE_LIMIT).await?;
            let is_last = page.len() < PAGE_LIMIT;
            accounts.extend(page);
            if is_last {
                return Ok(accounts);
            }
        }
    }

    /// The caller's own account, and how many services it has.
    ///
    /// # Errors
    /// [`Error::NotFound`] when somebody has just deleted it.
    pub async fn own(&self, principal: &Principal) -> Result<(Account, u64), Error> {
        let account = self.store.account(principal.account_id()).await?;
        let account =
            account.ok_or_else(|| Error::not_found(Noun::Account, principal.account_name()))?;
        let (scope, all) = (principal.scope(), ServiceFilter::default());
        let (_, services) = self.store.stretch_of_services(scope, &all, 0, 1).await?;
        Ok((account, services))
    }

    /// Changes an account's standing; takes effect on every node within a second.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`]; [`Error::Invalid`] when an administrator would
    /// disable the own account.
    pub async fn change(
        &self,
        principal: &Principal,
        name: &str,
        change: AccountChange,
    ) -> Result<Account, Error> {
        principal.require_administrator()?;
        principal.require_write()?;
        let account = self.named(name).await?;
        if account.id == principal.account_id() && change == AccountChange::Disable {
            return Err(Error::invalid(
                "name",
                "you cannot disable your own account",
            ));
        }
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(account.id),
            change.event(),
            Some(account.id.as_uuid()),
            &account.name,
        );
        let (bar, is_on) = change.bar();
        match self
            .store
            .set_account_bar(account.id, bar, is_on, event)
            .await
        {
            Err(store::Error::NotFound) => Err(Error::not_found(Noun::Account, name)),
            changed => Ok(changed?),
        }
    }

    /// Deletes an account without certificates, and its tokens.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`]; [`Error::Invalid`] while it has certificates.
    pub async fn delete(&self, principal: &Principal, name: &str) -> Result<(), Error> {
        principal.require_administrator()?;
        principal.require_write()?;
        let account = self.named(name).await?;
        if account.id == principal.account_id() || account.name == HOUSE_ACCOUNT {
            return Err(Error::invalid(
                "name",
                format!("account '{name}' cannot be deleted by you"),
            ));
        }
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            None,
            events::ACCOUNT_DELETED,
            Some(account.id.as_uuid()),
            &account.name,
        );
        match self.store.delete_account(account.id, event).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::not_found(Noun::Account, name)),
            Err(store::Error::InUse) => Err(Error::invalid(
                "name",
                format!(
                    "account '{name}' still has certificates; delete those first, or disable the \
                     account"
                ),
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// The account `name`, made with `role` if it is not there yet. For first starts.
    pub(crate) async fn ensure(&self, name: &str, role: Role) -> Result<Account, Error> {
        if let Some(account) = self.store.account_by_name(name).await? {
            return Ok(account);
        }
        match self.insert(HOUSE_ACCOUNT, name, role).await {
            // Another node was faster.
            Err(Error::NameTaken { .. }) => self.named(name).await,
            other => other,
        }
    }

    pub(crate) async fn named(&self, name: &str) -> Result<Account, Error> {
        self.store
            .account_by_name(name)
            .await?
            .ok_or_else(|| Error::not_found(Noun::Account, name))
    }

    async fn insert(&self, actor: &str, name: &str, role: Role) -> Result<Account, Error> {
        let (account, event) = self.draft(actor, name, role)?;
        match self.store.create_account(account, event).await {
            Err(store::Error::Duplicate | store::Error::DuplicateName) => Err(Error::NameTaken {
                noun: Noun::Account,
                name: name.to_owned(),
            }),
            created => Ok(created?),
        }
    }

    /// An account that is not stored yet, and the event of its making.
    pub(crate) fn draft(
        &self,
        actor: &str,
        name: &str,
        role: Role,
    ) -> Result<(NewAccount, NewEvent), Error> {
        check_account_name(name)?;
        let account = NewAccount {
            id: AccountId::from_random(self.surroundings.random()),
            name: name.to_owned(),
            role,
            status: AccountStatus::default(),
            created_at: self.surroundings.now(),
        };
        let event = events::of(
            &self.surroundings,
            actor,
            Some(account.id),
            events::ACCOUNT_CREATED,
            Some(account.id.as_uuid()),
            name,
        );
        Ok((account, event))
    }
}

/// An account's name is part of its tokens, which fixes its alphabet (spec: 2–64 characters of
/// `[A-Za-z0-9._$@-]`).
pub(crate) fn check_account_name(name: &str) -> Result<(), Error> {
    let characters_fit = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._$@-".contains(&byte));
    if characters_fit && (2..=64).contains(&name.len()) {
        return Ok(());
    }
    Err(Error::invalid(
        "name",
        format!(
            "'{}' is not an account name: 2 to 64 characters of A-Z a-z 0-9 . _ $ @ -",
            name.escape_debug()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::check_account_name;

    #[test]
    fn account_names_keep_to_the_token_alphabet() {
        for good in ["ab", "robot$ci.user", "a@b-c_d", &"x".repeat(64)] {
            assert!(check_account_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "a:b", "a b", "ä1", "a/b", "a\0b", &"x".repeat(65)] {
            assert!(check_account_name(bad).is_err(), "{bad}");
        }
    }
}
