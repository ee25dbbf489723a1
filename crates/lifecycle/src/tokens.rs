//! Tokens: the credentials of accounts, and the only way to become a [`Principal`].
//!
//! One format fits every client: standard padded base64 of `<account>:<40 random hex digits>`
//! (the alphabet of account names keeps `+` and `/` out of it). Only a SHA-256 of it is stored; the text is shown once. A hash of a
//! 160-bit secret is looked up by equality, so no comparison of secrets takes place whose time
//! could tell something.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use store::{Account, AccountId, NewEvent, NewToken, PAGE_LIMIT, Store, Token, TokenId};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::accounts::{HOUSE_ACCOUNT, check_account_name};
use crate::principal::Limits;
use crate::{Dialect, Error, Noun, Principal, Surroundings, events};

/// How long a node may go on trusting a token that it has just seen, without asking the store.
/// A token that is deleted, or whose account is disabled, is refused everywhere after this time.
const TRUST: Duration = Duration::from_secs(1);

/// Most tokens remembered at a time; more simply cost a read each.
const REMEMBERED: usize = 10_000;

/// Longest name of a token, in characters.
const MAX_NAME: usize = 64;

/// The scopes of Cloud 66.
const SCOPES: [&str; 5] = ["public", "redeploy", "jobs", "users", "admin"];

/// What a new token may do.
#[derive(Debug, Clone, Default)]
pub struct TokenLimits {
    /// Account that the token is for; `None` means the caller's own.
    pub account: Option<String>,
    /// A name for people; may be empty.
    pub name: String,
    /// Refuse every change.
    pub read_only: bool,
    /// Only these dialects; `None` means all.
    pub dialects: Option<Vec<Dialect>>,
    /// Cloud 66 scopes, which make it a token for that API alone; `None` means all.
    pub scopes: Option<Vec<String>>,
    /// How long the token is good for; `None` means until it is deleted.
    pub lifetime: Option<Duration>,
}

/// Why a presented token does not make a principal.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// The token is good but not for this dialect.
    #[error("this token is not allowed in the {0} API")]
    DialectNotAllowed(Dialect),
    /// The account is disabled.
    #[error("the account is disabled")]
    Disabled,
    /// Not of the token format.
    #[error("malformed token")]
    Malformed,
    /// The store could not be asked.
    #[error("the store failed")]
    Store(#[source] store::Error),
    /// Well-formed, but there is no such account.
    #[error("no such account")]
    UnknownAccount,
    /// The account exists, but the secret is wrong, expired or deleted.
    #[error("wrong, expired or deleted token")]
    WrongSecret,
}

/// A token's stored form together with its text, which is shown this once.
pub struct MintedToken {
    /// What is kept.
    pub token: Token,
    /// The credential itself.
    pub text: Zeroizing<String>,
}

impl std::fmt::Debug for MintedToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("MintedToken")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl MintedToken {
    /// What the store keeps of it.
    pub(crate) fn record(&self) -> NewToken {
        let token = self.token.clone();
        NewToken {
            id: token.id,
            account_id: token.account_id,
            name: token.name,
            hash: hash_of(&self.text),
            read_only: token.read_only,
            dialects: token.dialects,
            scopes: token.scopes,
            expires_at: token.expires_at,
            created_at: token.created_at,
        }
    }
}

/// Operations on tokens.
#[derive(Debug, Clone)]
pub struct Tokens {
    store: Store,
    surroundings: Surroundings,
    seen: Arc<Mutex<HashMap<[u8; 32], Seen>>>,
}

#[derive(Debug, Clone)]
struct Seen {
    at: OffsetDateTime,
    token: Arc<Token>,
    account: Arc<Account>,
}

impl Tokens {
    pub(crate) fn new(store: Store, surroundings: Surroundings) -> Self {
        Self {
            store,
            surroundings,
            seen: Arc::default(),
        }
    }

    /// Turns the text that a client presented into a principal for `dialect`.
    ///
    /// # Errors
    /// Each kind of [`AuthenticationError`]; dialects decide how much of it they tell.
    pub async fn authenticate(
        &self,
        presented: &str,
        dialect: Dialect,
    ) -> Result<Principal, AuthenticationError> {
        let account_name = account_of(presented).ok_or(AuthenticationError::Malformed)?;
        let hash = hash_of(presented);
        let now = self.surroundings.now();
        let Some((token, account)) = self.look_up(hash, now).await? else {
            let account = self.store.account_by_name(&account_name).await;
            return match account.map_err(AuthenticationError::Store)? {
                Some(_) => Err(AuthenticationError::WrongSecret),
                None => Err(AuthenticationError::UnknownAccount),
            };
        };
        if token.expires_at.is_some_and(|expiry| expiry <= now) {
            return Err(AuthenticationError::WrongSecret);
        }
        if account.status.disabled {
            return Err(AuthenticationError::Disabled);
        }
        let is_named = match &token.dialects {
            Some(dialects) => dialects.iter().any(|name| name == dialect.as_str()),
            None => dialect != Dialect::Delivery,
        };
        // Scopes are words of Cloud 66; elsewhere nothing would hold such a token to them.
        let is_unscoped = token.scopes.is_none() || dialect == Dialect::Cloud66;
        if !is_named || !is_unscoped {
            return Err(AuthenticationError::DialectNotAllowed(dialect));
        }
        Ok(Principal::of(&token, &account))
    }

    /// Makes a token for the caller's account, or for another one if the caller administers. It can
    /// do nothing, and nowhere and for no longer, than the token that the caller came with.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Invalid`] for a scope that does not exist and for delivery
    /// together with anything else, [`Error::NotFound`] for the account, [`Error::TooLong`] for the
    /// name.
    pub async fn create(
        &self,
        principal: &Principal,
        limits: TokenLimits,
    ) -> Result<MintedToken, Error> {
        principal.require_write()?;
        let limits = within(limits, principal.limits(), self.surroundings.now())?;
        check_delivery(&limits)?;
        let account = match &limits.account {
            Some(name) if name != principal.account_name() => {
                principal.require_administrator()?;
                let account = self.store.account_by_name(name).await?;
                account.ok_or_else(|| Error::not_found(Noun::Account, name))?
            }
            _ => {
                let account = self.store.account(principal.account_id()).await?;
                account.ok_or_else(|| Error::not_found(Noun::Account, principal.account_name()))?
            }
        };
        if account.name == HOUSE_ACCOUNT {
            return Err(Error::Forbidden {
                reason: "the house's own account has no tokens",
            });
        }
        self.mint(principal.account_name(), &account, limits).await
    }

    /// The tokens of the caller's account, or of all accounts for an administrator; never their
    /// texts.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, principal: &Principal) -> Result<Vec<Token>, Error> {
        let scope = principal.administered_scope();
        let mut tokens: Vec<Token> = Vec::new();
        loop {
            let after = tokens.last().map(|token| token.id);
            let page = self.store.tokens(scope, after, PAGE_LIMIT).await?;
            let is_last = page.len() < PAGE_LIMIT;
            tokens.extend(page);
            if is_last {
                return Ok(tokens);
            }
        }
    }

    /// Deletes a token; every node refuses it within a second.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a token out of the caller's reach.
    pub async fn delete(&self, principal: &Principal, id: TokenId) -> Result<(), Error> {
        principal.require_write()?;
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(principal.account_id()),
            events::TOKEN_DELETED,
            Some(id.as_uuid()),
            "",
        );
        let scope = principal.administered_scope();
        if !self.store.delete_token(scope, id, event).await? {
            return Err(Error::not_found(Noun::Token, id));
        }
        self.remembered().retain(|_, seen| seen.token.id != id);
        Ok(())
    }

    async fn mint(
        &self,
        actor: &str,
        account: &Account,
        limits: TokenLimits,
    ) -> Result<MintedToken, Error> {
        let (minted, event) = self.draw(actor, (account.id, &account.name), limits)?;
        match self.store.create_token(minted.record(), event).await {
            // Somebody deleted the account in the meantime.
            Err(store::Error::UnknownAccount) => {
                Err(Error::not_found(Noun::Account, &account.name))
            }
            created => {
                created?;
                Ok(minted)
            }
        }
    }

    /// A token for `account`, not stored yet.
    pub(crate) fn draw(
        &self,
        actor: &str,
        (account_id, account_name): (AccountId, &str),
        limits: TokenLimits,
    ) -> Result<(MintedToken, NewEvent), Error> {
        if limits.name.chars().count() > MAX_NAME {
            return Err(Error::TooLong {
                field: "name",
                limit: MAX_NAME,
            });
        }
        if let Some(scopes) = &limits.scopes {
            check_scopes(scopes)?;
        }
        let now = self.surroundings.now();
        let text = self.new_text(account_name);
        let token = Token {
            id: TokenId::from_random(self.surroundings.random()),
            account_id,
            name: limits.name,
            read_only: limits.read_only,
            dialects: limits
                .dialects
                .map(|dialects| dialects.iter().map(ToString::to_string).collect()),
            scopes: limits.scopes,
            expires_at: limits.lifetime.map(|lifetime| now + lifetime),
            created_at: now,
        };
        let event = events::of(
            &self.surroundings,
            actor,
            Some(account_id),
            events::TOKEN_CREATED,
            Some(token.id.as_uuid()),
            &token.name,
        );
        Ok((MintedToken { token, text }, event))
    }

    fn new_text(&self, account_name: &str) -> Zeroizing<String> {
        let secret = Zeroizing::new(hexadecimal(&self.surroundings.random::<20>()));
        let plain = Zeroizing::new(format!("{account_name}:{}", secret.as_str()));
        Zeroizing::new(STANDARD.encode(plain.as_bytes()))
    }

    async fn look_up(
        &self,
        hash: [u8; 32],
        now: OffsetDateTime,
    ) -> Result<Option<(Arc<Token>, Arc<Account>)>, AuthenticationError> {
        if let Some(seen) = self.remembered().get(&hash)
            && seen.at <= now
            && now - seen.at < TRUST
        {
            return Ok(Some((seen.token.clone(), seen.account.clone())));
        }
        let found = self.store.token_by_hash(&hash).await;
        let Some((token, account)) = found.map_err(AuthenticationError::Store)? else {
            self.remembered().remove(&hash);
            return Ok(None);
        };
        let (token, account) = (Arc::new(token), Arc::new(account));
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(
            hash,
            Seen {
                at: now,
                token: token.clone(),
                account: account.clone(),
            },
        );
        Ok(Some((token, account)))
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Seen>> {
        // The map is a cache: whatever a panicking holder left behind is still true or too old.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether all of these are scopes.
pub(crate) fn check_scopes(scopes: &[String]) -> Result<(), Error> {
    let unknown = scopes
        .iter()
        .find(|scope| !SCOPES.contains(&scope.as_str()));
    let Some(unknown) = unknown else {
        return Ok(());
    };
    let shown: String = unknown.chars().take(MAX_NAME).collect();
    Err(Error::invalid(
        "scopes",
        format!(
            "'{}' is not one of {}",
            shown.escape_debug(),
            SCOPES.join(", ")
        ),
    ))
}

/// A token that lies about on the machines of TLS servers is to open nothing else.
fn check_delivery(limits: &TokenLimits) -> Result<(), Error> {
    let dialects = limits.dialects.as_deref().unwrap_or_default();
    if !dialects.contains(&Dialect::Delivery) {
        return Ok(());
    }
    if dialects.len() > 1 || limits.read_only || limits.scopes.is_some() {
        return Err(Error::invalid(
            "dialects",
            "a token for delivery is for nothing else: it has no other APIs, no scopes, and is not \
             read-only",
        ));
    }
    Ok(())
}

/// The limits asked for, narrowed to those of the token that asks.
pub(crate) fn within(
    mut asked: TokenLimits,
    maker: &Limits,
    now: OffsetDateTime,
) -> Result<TokenLimits, Error> {
    if let Some(allowed) = &maker.dialects {
        let is_allowed = |dialect: &Dialect| allowed.iter().any(|name| name == dialect.as_str());
        match &asked.dialects {
            Some(dialects) if !dialects.iter().all(is_allowed) => {
                return Err(Error::Forbidden {
                    reason: "this token is limited to some APIs; it cannot make one for others",
                });
            }
            Some(_) => {}
            None => {
                let dialects = Dialect::ALL.into_iter().filter(is_allowed);
                asked.dialects = Some(dialects.collect());
            }
        }
    }
    if let Some(scopes) = &maker.scopes {
        let asked_scopes = asked.scopes.get_or_insert_with(|| scopes.clone());
        if !asked_scopes.iter().all(|scope| scopes.contains(scope)) {
            return Err(Error::Forbidden {
                reason: "this token is limited to some scopes; it cannot make one for others",
            });
        }
    }
    if let Some(end) = maker.expires_at {
        let left = Duration::try_from(end - now).unwrap_or_default();
        if *asked.lifetime.get_or_insert(left) > left {
            return Err(Error::Forbidden {
                reason: "this token expires; it cannot make one that lives longer",
            });
        }
    }
    Ok(asked)
}

/// The account named by a token text of the one format, or `None` if it is not of that format.
pub(crate) fn account_of(presented: &str) -> Option<String> {
    // 64 characters of account, a colon and 40 digits make 140 characters of base64.
    if presented.len() > 140 {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(presented).ok()?).ok()?;
    let (account, secret) = decoded.split_once(':')?;
    let is_secret = secret.len() == 40
        && secret
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (is_secret && check_account_name(account).is_ok()).then(|| account.to_owned())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn hash_of(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_of_the_one_format_name_an_account() {
        let secret = "0123456789abcdef0123456789abcdef01234567";
        let good = STANDARD.encode(format!("admin:{secret}"));
        assert_eq!(account_of(&good).as_deref(), Some("admin"));
        for bad in [
            String::new(),
            "nonsense".to_owned(),
            STANDARD.encode("admin"),
            STANDARD.encode(format!("admin:{}", &secret[1..])),
            STANDARD.encode(format!("admin:x:{}", &secret[2..])),
            STANDARD.encode(format!("admin:{}", secret.to_uppercase())),
            STANDARD.encode(format!("a b:{secret}")),
            good.trim_end_matches('=').to_owned() + "====",
            "A".repeat(100_000),
        ] {
            assert_eq!(account_of(&bad), None, "{bad:.60}");
        }
    }
}
