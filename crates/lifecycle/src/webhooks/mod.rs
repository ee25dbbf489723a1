//! Webhooks: where accounts want to be told what happens to their certificates.
//!
//! What is posted there, and when, is the business of [`crate::notices`].

mod notice;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use egress::{EgressPolicy, Ports, Request, Trust};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use store::{AccountId, NewWebhook as Record, PAGE_LIMIT, Scope, Store, Webhook, WebhookId};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::accounts::HOUSE_ACCOUNT;
use crate::{Error, Noun, Principal, Surroundings, events};

pub(crate) use notice::Notice;
pub use notice::{NoticeKind, WebhookFormat};

/// Octets of a secret that the house makes.
const SECRET_LENGTH: usize = 32;
/// Shortest and longest secret that somebody brings along, in characters.
const SECRET_LENGTHS: std::ops::RangeInclusive<usize> = 16..=256;
/// Longest URL, in characters.
const MAX_URL: usize = 2048;
/// How long a receiver may take for its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that is read of an answer, which nobody looks at.
const ANSWER_LIMIT: usize = 256 * 1024;
/// Trials under way at a time; whoever asks for more waits.
const TRIALS: usize = 8;
/// The header that is the same for every attempt at a delivery, and for no other delivery.
const DELIVERY_HEADER: HeaderName = HeaderName::from_static("x-chancery-delivery");

/// A webhook to be added.
#[derive(Debug, Default)]
pub struct NewWebhook {
    /// Where notices are posted to: http or https.
    pub url: String,
    /// What deliveries are signed with; made by the house if `None`.
    pub secret: Option<Zeroizing<String>>,
    /// The kinds of notices that are wanted; all if empty.
    pub kinds: Vec<NoticeKind>,
    /// The vocabulary of their bodies.
    pub format: WebhookFormat,
    /// The account that it is for; the caller's own if `None`. Only administrators may name another.
    pub account: Option<String>,
}

/// A webhook together with its secret, which is shown this once.
pub struct MintedWebhook {
    /// What is kept.
    pub webhook: Webhook,
    /// What deliveries are signed with.
    pub secret: Zeroizing<String>,
}

impl std::fmt::Debug for MintedWebhook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("MintedWebhook")
            .field("webhook", &self.webhook)
            .finish_non_exhaustive()
    }
}

/// What became of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// The receiver took it.
    Delivered {
        /// What it answered.
        status: u16,
    },
    /// It did not.
    Failed {
        /// Why, for the owner of the webhook.
        reason: String,
    },
}

/// Operations on webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    store: Store,
    surroundings: Surroundings,
    trials: Arc<Semaphore>,
}

impl Webhooks {
    pub(crate) fn new(store: Store, surroundings: Surroundings) -> Self {
        Self {
            store,
            surroundings,
            trials: Arc::new(Semaphore::new(TRIALS)),
        }
    }

    /// Adds a webhook, which is told of what happens from now on. That of an administrator may be on
    /// this machine itself, others may not.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the URL or the secret, [`Error::NotFound`] for the account,
    /// [`Error::Unfit`] beyond the most webhooks of an account, [`Error::Forbidden`].
    pub async fn add(
        &self,
        principal: &Principal,
        webhook: NewWebhook,
    ) -> Result<MintedWebhook, Error> {
        principal.require_write()?;
        let policy = policy(principal.is_administrator());
        check_url(&webhook.url, policy)?;
        let secret = match webhook.secret {
            Some(secret) => checked_secret(secret)?,
            None => {
                let octets = Zeroizing::new(self.surroundings.random::<SECRET_LENGTH>());
                Zeroizing::new(URL_SAFE_NO_PAD.encode(*octets))
            }
        };
        let account_id = self.owner(principal, webhook.account.as_deref()).await?;
        let mut kinds = webhook.kinds;
        kinds.sort_unstable();
        kinds.dedup();
        let webhook = Webhook {
            id: WebhookId::from_random(self.surroundings.random()),
            account_id,
            url: webhook.url,
            kinds: kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
            format: webhook.format.as_str().to_owned(),
            is_trusted: principal.is_administrator(),
            created_at: self.surroundings.now(),
        };
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(account_id),
            events::WEBHOOK_ADDED,
            Some(webhook.id.as_uuid()),
            &webhook.url,
        );
        let record = Record {
            id: webhook.id,
            account_id,
            url: webhook.url.clone(),
            secret: secret.as_bytes().to_vec().into(),
            kinds: webhook.kinds.clone(),
            format: webhook.format.clone(),
            is_trusted: webhook.is_trusted,
            created_at: webhook.created_at,
        };
        match self.store.add_webhook(record, event).await {
            Ok(()) => Ok(MintedWebhook { webhook, secret }),
            Err(store::Error::Full) => Err(Error::Unfit {
                reason: format!(
                    "an account has at most {} webhooks; remove one first",
                    store::WEBHOOKS_LIMIT
                ),
            }),
            Err(store::Error::UnknownAccount) => {
                Err(Error::not_found(Noun::Account, principal.account_name()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The webhooks of the caller's account, or of all accounts for an administrator; never their
    /// secrets.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, principal: &Principal) -> Result<Vec<Webhook>, Error> {
        self.within(principal.administered_scope()).await
    }

    /// The webhooks of the caller's account alone, whoever the caller is; never their secrets.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn own(&self, principal: &Principal) -> Result<Vec<Webhook>, Error> {
        self.within(principal.scope()).await
    }

    async fn within(&self, scope: Scope) -> Result<Vec<Webhook>, Error> {
        let mut webhooks: Vec<Webhook> = Vec::new();
        loop {
            let after = webhooks.last().map(|webhook| webhook.id);
            let page = self.store.webhooks(scope, after, PAGE_LIMIT).await?;
            let is_last = page.len() < PAGE_LIMIT;
            webhooks.extend(page);
            if is_last {
                webhooks.sort_by_key(|webhook| webhook.created_at);
                return Ok(webhooks);
            }
        }
    }

    /// Removes a webhook, with what was still to be delivered to it.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a webhook out of the caller's reach, [`Error::Forbidden`].
    pub async fn remove(&self, principal: &Principal, id: WebhookId) -> Result<(), Error> {
        principal.require_write()?;
        let scope = principal.administered_scope();
        let webhook = self.find(scope, id).await?;
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(webhook.account_id),
            events::WEBHOOK_REMOVED,
            Some(id.as_uuid()),
            &webhook.url,
        );
        if !self.store.remove_webhook(scope, id, event).await? {
            return Err(Error::not_found(Noun::Webhook, id));
        }
        Ok(())
    }

    /// Posts a delivery that tells of nothing, signed as all others are, and waits for what comes of
    /// it: up to half a minute. It is not tried again.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a webhook out of the caller's reach, [`Error::Forbidden`]; what fails
    /// at the receiver is none.
    pub async fn test(&self, principal: &Principal, id: WebhookId) -> Result<Trial, Error> {
        principal.require_write()?;
        let webhook = self.find(principal.administered_scope(), id).await?;
        let secret = self.store.webhook_secret(id).await?;
        let secret = secret.ok_or_else(|| Error::not_found(Noun::Webhook, id))?;
        // Nobody closes it.
        let _turn = self.trials.acquire().await.map_err(Error::signing)?;
        let body = WebhookFormat::named(&webhook.format).trial();
        let delivery = uuid::Builder::from_random_bytes(self.surroundings.random()).into_uuid();
        let posting = Posting {
            webhook: &webhook,
            secret: secret.bytes(),
            delivery: &delivery.to_string(),
            body: &body,
        };
        Ok(match posting.post(&self.surroundings).await {
            Ok(status) => Trial::Delivered { status },
            Err(reason) => Trial::Failed { reason },
        })
    }

    async fn find(&self, scope: Scope, id: WebhookId) -> Result<Webhook, Error> {
        let found = self.store.webhook(scope, id).await?;
        found.ok_or_else(|| Error::not_found(Noun::Webhook, id))
    }

    async fn owner(
        &self,
        principal: &Principal,
        account: Option<&str>,
    ) -> Result<AccountId, Error> {
        match account {
            Some(name) if name != principal.account_name() => {
                principal.require_administrator()?;
                let account = self.store.account_by_name(name).await?;
                let account = account.filter(|account| account.name != HOUSE_ACCOUNT);
                let account = account.ok_or_else(|| Error::not_found(Noun::Account, name))?;
                Ok(account.id)
            }
            _ => Ok(principal.account_id()),
        }
    }
}

/// One attempt at posting a body to a webhook.
pub(crate) struct Posting<'a> {
    pub(crate) webhook: &'a Webhook,
    pub(crate) secret: &'a [u8],
    /// The same for every attempt.
    pub(crate) delivery: &'a str,
    /// As it is kept: without the time of sending.
    pub(crate) body: &'a str,
}

impl Posting<'_> {
    /// Posts it now. The answer is the status of the receiver's, if that is one of success, or why
    /// the attempt failed.
    pub(crate) async fn post(&self, surroundings: &Surroundings) -> Result<u16, String> {
        let body = notice::stamped(self.body, surroundings.now());
        let signature = signature::of(self.secret, body.as_bytes());
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(DELIVERY_HEADER, value(self.delivery)?);
        headers.insert(signature::HEADER, value(&signature)?);
        let request = Request {
            method: Method::POST,
            url: self.webhook.url.clone(),
            headers,
            body: body.into(),
            policy: policy(self.webhook.is_trusted),
            ports: Ports::Any,
            trust: Trust::System,
            deadline: PATIENCE,
            body_limit: ANSWER_LIMIT,
            // Whoever is told is the one that was named.
            redirects: 0,
        };
        match surroundings.network().fetch.fetch(request).await {
            Ok(answer) if answer.status.is_success() => Ok(answer.status.as_u16()),
            Ok(answer) => Err(format!("the receiver answered {}", answer.status)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Private addresses are where receivers are; this machine itself is for administrators.
fn policy(is_trusted: bool) -> EgressPolicy {
    EgressPolicy::BACKENDS.for_account(is_trusted)
}

/// Whether a URL can be posted to. That its name has no other address by then is checked when it is.
fn check_url(url: &str, policy: EgressPolicy) -> Result<(), Error> {
    let wrong = |reason: &str| Err(Error::invalid("url", reason));
    if url.chars().count() > MAX_URL {
        return Err(Error::TooLong {
            field: "url",
            limit: MAX_URL,
        });
    }
    let parsed = url.parse::<Uri>().ok().filter(|_| url.is_ascii());
    let Some(uri) = parsed else {
        return wrong("the URL of a webhook looks like https://hooks.example.com/chancery");
    };
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
        return wrong("the URL of a webhook looks like https://hooks.example.com/chancery");
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return wrong("the URL of a webhook begins with https:// or http://");
    }
    if uri
        .authority()
        .is_some_and(|part| part.as_str().contains('@'))
        || url.contains('#')
    {
        return wrong("the URL of a webhook has neither credentials nor a fragment");
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse().map(|address| policy.check(address)) {
        Ok(Err(reason)) => Err(Error::invalid(
            "url",
            format!("{host} may not be posted to: {reason}"),
        )),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

fn checked_secret(secret: Zeroizing<String>) -> Result<Zeroizing<String>, Error> {
    let is_visible = secret.bytes().all(|byte| byte.is_ascii_graphic());
    if is_visible && SECRET_LENGTHS.contains(&secret.len()) {
        return Ok(secret);
    }
    Err(Error::invalid(
        "secret",
        format!(
            "a secret has {} to {} visible ASCII characters; leave it out to have one made",
            SECRET_LENGTHS.start(),
            SECRET_LENGTHS.end()
        ),
    ))
}
