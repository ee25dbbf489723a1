//! The authenticated caller. A [`Principal`] can only be had from
//! [`Tokens::authenticate`](crate::Tokens::authenticate), and every operation on tenants' objects
//! takes one: a handler cannot reach the house without knowing who asks.

use std::fmt;
use std::sync::Arc;

use store::{AccountId, Role, Scope, TokenId};
use time::OffsetDateTime;

use crate::Error;
use crate::accounts::HOUSE_ACCOUNT;

/// A wire vocabulary that a token may be limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// CertMaker, all generations.
    CertMaker,
    /// Chancery's own administration API, used by the command line.
    Chancery,
    /// Cloud 66 API v3.
    Cloud66,
    /// D9T Ready.
    D9t,
    /// Delivery to targets, the one dialect that gives private keys out without a document of its
    /// own saying so. A token is good for it only if it names it, and then for nothing else.
    Delivery,
    /// KraftCloud v1 / Unikraft Cloud v1.
    KraftCloud,
}

impl Dialect {
    /// All dialects, in the order shown to people.
    pub const ALL: [Self; 6] = [
        Self::Chancery,
        Self::KraftCloud,
        Self::CertMaker,
        Self::Cloud66,
        Self::D9t,
        Self::Delivery,
    ];

    /// The name used on the command line and in token limits.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertMaker => "certmaker",
            Self::Chancery => "chancery",
            Self::Cloud66 => "cloud66",
            Self::D9t => "d9t",
            Self::Delivery => "delivery",
            Self::KraftCloud => "kraftcloud",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An authenticated caller: an account, reached by one of its tokens.
#[derive(Debug, Clone)]
pub struct Principal {
    account_id: AccountId,
    account_name: String,
    role: Role,
    /// The token that the account was reached by; the house needs none.
    token_id: Option<TokenId>,
    /// What people call that token.
    token_name: String,
    limits: Arc<Limits>,
    /// Whether an administrator stands in for the account; it is not the actor then.
    stands_in: bool,
}

/// What a token narrows of its account's rights.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    pub(crate) read_only: bool,
    pub(crate) dialects: Option<Vec<String>>,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) expires_at: Option<OffsetDateTime>,
}

impl Principal {
    pub(crate) fn of(token: &store::Token, account: &store::Account) -> Self {
        Self {
            account_id: account.id,
            account_name: account.name.clone(),
            role: account.role,
            token_id: Some(token.id),
            token_name: token.name.clone(),
            limits: Arc::new(Limits {
                read_only: token.read_only,
                dialects: token.dialects.clone(),
                scopes: token.scopes.clone(),
                expires_at: token.expires_at,
            }),
            stands_in: false,
        }
    }

    /// The house acting for itself, for the objects of `account`.
    pub(crate) fn house(account: &store::Account) -> Self {
        Self {
            account_id: account.id,
            account_name: account.name.clone(),
            role: account.role,
            token_id: None,
            token_name: String::new(),
            limits: Arc::default(),
            stands_in: false,
        }
    }

    /// This caller in the place of `account`, with its own name and rights.
    pub(crate) fn in_place_of(&self, account: &store::Account) -> Self {
        Self {
            account_id: account.id,
            stands_in: true,
            ..self.clone()
        }
    }

    /// Whether the caller stands in for an account: what is everybody's is not meant then.
    pub(crate) fn stands_in(&self) -> bool {
        self.stands_in
    }

    /// The account that acts.
    #[must_use]
    pub fn account_id(&self) -> AccountId {
        self.account_id
    }

    /// The acting account's name; it is the actor of audit events.
    #[must_use]
    pub fn account_name(&self) -> &str {
        &self.account_name
    }

    pub(crate) fn token_id(&self) -> Option<TokenId> {
        self.token_id
    }

    /// Which token it is, for people: its name, or what it is known by where it has none.
    pub(crate) fn token_shown(&self) -> String {
        match self.token_id {
            Some(id) if self.token_name.is_empty() => id.to_string(),
            _ => self.token_name.clone(),
        }
    }

    /// Whether the account administers the whole server.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.role == Role::Admin
    }

    /// Whether the caller may do what needs this scope of Cloud 66: `public`, `redeploy`, `jobs`,
    /// `users` or `admin`. A token without scopes has all of them.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        let scopes = self.limits.scopes.as_ref();
        scopes.is_none_or(|scopes| scopes.iter().any(|name| name == scope))
    }

    /// Whether the house acts for itself: its account has no tokens.
    pub(crate) fn is_house(&self) -> bool {
        self.account_name == HOUSE_ACCOUNT
    }

    /// The rows that belong to this caller.
    pub(crate) fn scope(&self) -> Scope {
        Scope::Account(self.account_id)
    }

    /// The rows that this caller may administer: all of them for an administrator.
    pub(crate) fn administered_scope(&self) -> Scope {
        if self.is_administrator() {
            Scope::Everything
        } else {
            self.scope()
        }
    }

    pub(crate) fn require_write(&self) -> Result<(), Error> {
        if self.limits.read_only {
            return Err(Error::Forbidden {
                reason: "this token is read-only; use one with write permission",
            });
        }
        Ok(())
    }

    /// Whether the token was made for delivery. No other one may have keys, whatever else it may.
    pub(crate) fn require_delivery(&self) -> Result<(), Error> {
        if is_for_delivery(self.limits.dialects.as_deref()) {
            return Ok(());
        }
        Err(Error::Forbidden {
            reason: "this needs a token that was made for delivery",
        })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn require_administrator(&self) -> Result<(), Error> {
        if self.is_administrator() {
            return Ok(());
        }
        Err(Error::Forbidden {
            reason: "this needs a token of an administrator's account",
        })
    }
}

/// Whether a token that is limited to these dialects is one for delivery.
pub(crate) fn is_for_delivery(dialects: Option<&[String]>) -> bool {
    let delivery = Dialect::Delivery.as_str();
    dialects.is_some_and(|dialects| dialects.iter().any(|name| name == delivery))
}
