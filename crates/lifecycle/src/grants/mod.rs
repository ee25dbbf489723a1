//! Grants: what a person allows a program to do with an account (OAuth 2, RFC 6749 section 4.1).
//!
//! A person who shows a token of an account gives a *client* a grant; the client gets a code, and
//! redeems it for a token of its own, which can do no more than the one that was shown. A code is
//! good for ten minutes, once, for the client and the redirect that it was asked with, and for
//! whoever knows the verifier if there was a challenge (RFC 7636). A code that comes a second time was
//! seen by somebody else, so the token that came of it is deleted (RFC 6749 section 4.1.2).
//!
//! Accounts have no passwords. Locked accounts, and those that may not log in on the web, give no
//! grants.

mod challenge;
mod clients;

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use store::{AccountStatus, Grant, NewEvent, Store};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::tokens::{hash_of, within};
use crate::{
    Dialect, Error, LoginError, Logins, MintedToken, Principal, Surroundings, TokenLimits, Tokens,
    events,
};
use challenge::Challenge;

pub use clients::{
    CX_CLIENT, ClientView, MintedClient, NewClient, OUT_OF_BAND, Redirect, RegisteredClients,
};

/// How long a code can be redeemed.
const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// What a client gets that names no scope.
const LEAST_SCOPE: &str = "public";
/// Longest code and verifier that are looked at; RFC 7636 section 4.1 ends at 128 octets.
const MAX_CODE: usize = 128;

/// What a client asks a person for, as it came.
#[derive(Debug, Clone, Default)]
pub struct GrantRequest {
    /// Who asks.
    pub client: String,
    /// Where the code is to be sent.
    pub redirect: String,
    /// The scopes wanted, separated by blanks; the least if empty.
    pub scope: String,
    /// The challenge of RFC 7636, if there is one.
    pub challenge: Option<String>,
    /// Its method: `S256`, or `plain`, which is meant without one.
    pub challenge_method: Option<String>,
}

/// What a person is asked to allow: a request that could be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who asks.
    pub client: String,
    /// Where the code would be sent.
    pub redirect: Redirect,
    /// The scopes wanted.
    pub scopes: Vec<String>,
    challenge: Option<Challenge>,
}

/// Why a person who answers gives no grant.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// The token that was shown is of no use.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The account does not do this on the web.
    #[error("this account may not log in on the web; ask the operator")]
    Barred,
    /// The house refused: the token is too narrow, there are too many grants.
    #[error(transparent)]
    House(#[from] Error),
}

/// What a client shows to have its token.
#[derive(Debug)]
pub struct Redemption {
    /// Who it says it is.
    pub client: String,
    /// How it proves that.
    pub secret: Option<Zeroizing<String>>,
    /// The code.
    pub code: Zeroizing<String>,
    /// Where it was sent.
    pub redirect: String,
    /// What the challenge was made of.
    pub verifier: Option<Zeroizing<String>>,
}

/// Why a client gets no token.
#[derive(Debug, thiserror::Error)]
pub enum RedemptionError {
    /// There is no such client, or its secret is wrong.
    #[error("unknown client, or wrong secret")]
    Client,
    /// The code is of no use to this client.
    #[error("{0}")]
    Grant(&'static str),
    /// The house failed.
    #[error(transparent)]
    House(#[from] Error),
}

impl From<store::Error> for RedemptionError {
    fn from(error: store::Error) -> Self {
        Self::House(error.into())
    }
}

/// Operations on grants.
#[derive(Debug, Clone)]
pub struct Grants {
    store: Store,
    surroundings: Surroundings,
    tokens: Tokens,
    logins: Logins,
    clients: RegisteredClients,
}

impl Grants {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        tokens: Tokens,
        logins: Logins,
        clients: RegisteredClients,
    ) -> Self {
        Self {
            store,
            surroundings,
            tokens,
            logins,
            clients,
        }
    }

    /// What a person would be asked on behalf of a request. A request that fails must be answered
    /// here and not at the redirect: it may be anybody's.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the client; [`Error::Invalid`] for a redirect that is not one of the
    /// client's, unknown scopes, and a challenge that is none.
    pub async fn question(&self, request: &GrantRequest) -> Result<Question, Error> {
        let client = self.clients.named(&request.client).await?;
        let redirect = client
            .redirects
            .iter()
            .find(|one| **one == request.redirect);
        let Some(redirect) = redirect else {
            return Err(Error::invalid(
                "redirect_uri",
                "this client may not have its codes sent there",
            ));
        };
        let mut scopes: Vec<String> = Vec::new();
        for scope in request.scope.split_ascii_whitespace() {
            if !scopes.iter().any(|known| known == scope) {
                scopes.push(scope.to_owned());
            }
        }
        if scopes.is_empty() {
            scopes.push(LEAST_SCOPE.to_owned());
        }
        crate::tokens::check_scopes(&scopes)?;
        let (challenge, method) = (&request.challenge, &request.challenge_method);
        let challenge = Challenge::of(challenge.as_deref(), method.as_deref())?;
        if challenge.is_none() && client.needs_challenge {
            return Err(Error::invalid(
                "code_challenge",
                "this client has no secret, so it has to send a code_challenge (RFC 7636)",
            ));
        }
        Ok(Question {
            client: client.name,
            redirect: Redirect::parse(redirect)?,
            scopes,
            challenge,
        })
    }

    /// A text that nobody can guess, for a page to know its own form by.
    #[must_use]
    pub fn nonce(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.surroundings.random::<32>())
    }

    /// Gives what was asked, on the word of somebody at `address` who shows a token of an account; the
    /// answer is the code.
    ///
    /// # Errors
    /// [`ConsentError`].
    pub async fn give(
        &self,
        question: &Question,
        shown: &str,
        address: IpAddr,
    ) -> Result<Zeroizing<String>, ConsentError> {
        let now = self.surroundings.now();
        let principal = self.log_in(shown, address).await?;
        let wanted = TokenLimits {
            dialects: Some(vec![Dialect::Cloud66]),
            scopes: Some(question.scopes.clone()),
            ..TokenLimits::default()
        };
        let limits = within(wanted, principal.limits(), now)?;
        let code = Zeroizing::new(self.nonce());
        let grant = Grant {
            hash: hash_of(&code),
            account_id: principal.account_id(),
            client: question.client.clone(),
            redirect: question.redirect.to_string(),
            scopes: limits.scopes.unwrap_or_default(),
            challenge: question.challenge.as_ref().map(ToString::to_string),
            token_expires_at: limits.lifetime.map(|lifetime| now + lifetime),
            expires_at: now + LIFETIME,
            given_with: principal.token_id(),
            token_id: None,
        };
        let (actor, account) = (principal.account_name(), principal.account_id());
        let event = self.event(actor, &grant, events::GRANT_GIVEN);
        match self.store.add_grant(grant, event).await {
            Ok(()) => Ok(code),
            Err(store::Error::Full) => Err(ConsentError::House(Error::TooMany {
                what: "grants that wait for their clients",
                retry_after: LIFETIME,
            })),
            // Somebody deleted the account in the meantime.
            Err(store::Error::UnknownAccount) => {
                let missing = Error::not_found(crate::Noun::Account, account);
                Err(ConsentError::House(missing))
            }
            Err(error) => Err(ConsentError::House(error.into())),
        }
    }

    /// Makes a client's token of a grant. Who gave it must still be able to: the token that was shown
    /// is there, and the account neither disabled nor locked nor kept from logging in on the web.
    ///
    /// # Errors
    /// [`RedemptionError`].
    pub async fn redeem(&self, redemption: &Redemption) -> Result<MintedToken, RedemptionError> {
        let Redemption {
            client,
            secret,
            code,
            redirect,
            verifier,
        } = redemption;
        self.clients
            .authenticate(client, secret.as_ref().map(|secret| secret.as_str()))
            .await?;
        let unknown = RedemptionError::Grant("the code is unknown, expired or used up");
        if code.len() > MAX_CODE {
            return Err(unknown);
        }
        let hash = hash_of(code);
        let Some(grant) = self.store.grant_by_hash(&hash).await? else {
            return Err(unknown);
        };
        let now = self.surroundings.now();
        if grant.client != *client {
            return Err(RedemptionError::Grant("the code is another client's"));
        }
        if grant.token_id.is_some() {
            self.revoke(&grant).await?;
            return Err(unknown);
        }
        if grant.expires_at <= now {
            return Err(unknown);
        }
        if grant.redirect != *redirect {
            let reason = "redirect_uri is not the one that the code was asked with";
            return Err(RedemptionError::Grant(reason));
        }
        let verifier = verifier.as_ref().map(|verifier| verifier.as_str());
        if !challenge::is_met(grant.challenge.as_deref(), verifier) {
            let reason = "code_verifier does not fit the code_challenge";
            return Err(RedemptionError::Grant(reason));
        }
        self.mint(&grant, now).await?.ok_or(unknown)
    }

    /// Forgets grants that have expired.
    pub(crate) async fn sweep(&self) -> Result<u64, Error> {
        Ok(self.store.sweep_grants(self.surroundings.now()).await?)
    }

    async fn log_in(&self, shown: &str, address: IpAddr) -> Result<Principal, ConsentError> {
        let dialect = Dialect::Cloud66;
        let principal = self.logins.log_in(None, shown.trim(), address, dialect);
        let principal = principal.await?;
        principal.require_write()?;
        let account = self.store.account(principal.account_id()).await;
        let account = account.map_err(Error::from)?;
        match account {
            Some(account) if may_grant(account.status) => Ok(principal),
            _ => Err(ConsentError::Barred),
        }
    }

    async fn mint(
        &self,
        grant: &Grant,
        now: OffsetDateTime,
    ) -> Result<Option<MintedToken>, RedemptionError> {
        let account = self.store.account(grant.account_id).await?;
        let Some(account) = account.filter(|account| may_grant(account.status)) else {
            return Ok(None);
        };
        let lifetime = grant.token_expires_at.map(|end| end - now);
        let lifetime = lifetime.map(|left| Duration::try_from(left).unwrap_or_default());
        if lifetime.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        let limits = TokenLimits {
            name: format!("client {}", grant.client)
                .chars()
                .take(64)
                .collect(),
            dialects: Some(vec![Dialect::Cloud66]),
            scopes: Some(grant.scopes.clone()),
            lifetime,
            ..TokenLimits::default()
        };
        let owner = (account.id, account.name.as_str());
        let (minted, event) = self.tokens.draw(&account.name, owner, limits)?;
        let token = minted.record();
        let redeemed = match self.store.redeem_grant(&grant.hash, token, event).await {
            // Somebody deleted the account in the meantime.
            Err(store::Error::UnknownAccount) => false,
            redeemed => redeemed?,
        };
        if redeemed {
            return Ok(Some(minted));
        }
        // The token that was shown is gone, or somebody else has just been faster with the same code.
        if let Some(grant) = self.store.grant_by_hash(&grant.hash).await? {
            self.revoke(&grant).await?;
        }
        Ok(None)
    }

    /// Deletes the token that came of a grant whose code has come again.
    async fn revoke(&self, grant: &Grant) -> Result<(), Error> {
        let Some(token) = grant.token_id else {
            return Ok(());
        };
        let event = NewEvent {
            object: Some(token.as_uuid()),
            ..self.event(&grant.client, grant, events::GRANT_REPLAYED)
        };
        let scope = store::Scope::Account(grant.account_id);
        if self.store.delete_token(scope, token, event).await? {
            tracing::warn!(
                client = grant.client,
                "a code came twice; the token that came of it was deleted"
            );
        }
        Ok(())
    }

    fn event(&self, actor: &str, grant: &Grant, kind: &'static str) -> NewEvent {
        let detail = format!("{} {}", grant.client, grant.scopes.join(","));
        let owner = Some(grant.account_id);
        events::of(&self.surroundings, actor, owner, kind, None, &detail)
    }
}

fn may_grant(status: AccountStatus) -> bool {
    !status.disabled && !status.locked && !status.no_login
}
