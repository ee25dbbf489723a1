//! Speaks to ACME directories (RFC 8555, RFC 9773): [`AcmeClient`].
//!
//! The steps of an order, revocation and the end of an account are instant-acme's (`library`). The
//! house drives orders itself, one stored step at a time and by URL, so what instant-acme can only do
//! in one go, or with keys of its own making, is done here over the JWS of [`acme`]:
//!
//! | what | why |
//! |---|---|
//! | opening an account, changing its key (`accounts`) | keys come from the store; contact, external account and key together |
//! | authorizations and answers to challenges | it reaches them through an order only; members of later drafts |
//! | other chains | it follows no links |
//! | renewal information | it asks in an account's name and insists on `Retry-After` |
//!
//! A directory is not trusted. Answers are limited in length and number (`session`, `documents`), no
//! URL outside the rules of `target` is followed, redirects never, and whatever is not as it should be
//! ends in a [`Failure`]. Between calls nothing is kept but what saves requests.

mod accounts;
mod documents;
mod exchange;
mod library;
mod nonces;
mod problem;
mod retry_after;
mod session;
mod target;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use acme::client::{
    AccountKey, Authorization, Chain, Challenge, Client, DirectoryInfo, Endpoint, Failure, Login,
    NewOrder, Order, OrderStatus, Registration, RenewalInfo,
};
use acme::{ErrorKind, Signatory};
use async_trait::async_trait;
use egress::Fetch;
use instant_acme::RevocationReason;
use quick_cache::sync::Cache;
use tokio::time::timeout;

use crate::documents::garbled;
use crate::library::Step;
use crate::session::{Session, is_bad_nonce, refused};

/// Of how many directories something is remembered.
const SESSIONS: usize = 256;
/// Longest time for one call, of however many requests it consists.
const DEADLINE: Duration = Duration::from_secs(50);

/// Who speaks to directories.
pub struct AcmeClient {
    fetch: Arc<dyn Fetch>,
    sessions: Cache<Endpoint, Arc<Session>>,
}

impl AcmeClient {
    /// A client whose requests are made by `fetch`.
    #[must_use]
    pub fn new(fetch: Arc<dyn Fetch>) -> Self {
        Self {
            fetch,
            sessions: Cache::new(SESSIONS),
        }
    }

    fn session(&self, endpoint: &Endpoint) -> Result<Arc<Session>, Failure> {
        self.sessions.get_or_insert_with(endpoint, || {
            Session::new(endpoint.clone(), Arc::clone(&self.fetch)).map(Arc::new)
        })
    }

    /// Makes a step about an order and reads what becomes of it.
    async fn step(&self, login: &Login, url: &str, step: &Step<'_>) -> Result<Order, Failure> {
        let session = self.session(&login.endpoint)?;
        let reply = library::take(&session, login, step).await?;
        let (order, doors) = documents::order(url, &reply)?;
        session.remember(url, doors);
        Ok(order)
    }

    async fn place(&self, login: &Login, order: &NewOrder) -> Result<Order, Failure> {
        let session = self.session(&login.endpoint)?;
        let mut order = Cow::Borrowed(order);
        if order.replaces.is_some() && session.directory().await?.renewal_info.is_none() {
            // It would mean nothing there.
            order.to_mut().replaces = None;
        }
        let reply = library::take(&session, login, &Step::Place(&order)).await?;
        let url = reply.location.as_deref();
        let url = url.ok_or_else(|| garbled("order", "it has no URL"))?;
        session.check(url)?;
        let (order, doors) = documents::order(url, &reply)?;
        session.remember(url, doors);
        Ok(order)
    }

    async fn finish(&self, login: &Login, url: &str, request: &[u8]) -> Result<Order, Failure> {
        let session = self.session(&login.endpoint)?;
        if session.doors(url).is_none() {
            self.step(login, url, &Step::Look(url)).await?;
        }
        let doors = session.doors(url);
        let doors = doors.ok_or_else(|| garbled("order", "it is not there any more"))?;
        self.step(login, url, &Step::Finalize(url, doors, request))
            .await
    }

    async fn chains(&self, login: &Login, url: &str) -> Result<Vec<Chain>, Failure> {
        let session = self.session(&login.endpoint)?;
        let known = session
            .doors(url)
            .filter(|doors| doors.certificate.is_some());
        let doors = match known {
            Some(doors) => doors,
            None => {
                let order = self.step(login, url, &Step::Look(url)).await?;
                if order.status != OrderStatus::Valid {
                    let detail = "the order has no certificate yet";
                    return Err(refused(ErrorKind::OrderNotReady, detail));
                }
                let doors = session
                    .doors(url)
                    .filter(|doors| doors.certificate.is_some());
                doors.ok_or_else(|| garbled("order", "it names no certificate"))?
            }
        };
        let reply = library::take(&session, login, &Step::Download(url, doors)).await?;
        let mut chains = vec![documents::chain(&reply)?];
        let signatory = Signatory::Account(&login.account_url);
        for alternate in &reply.alternates {
            let other = session.post(&login.key, signatory, alternate, b"").await;
            // The certificate is there: another chain to it is not worth a failure.
            match other.and_then(|reply| documents::chain(&reply)) {
                Ok(chain) => chains.push(chain),
                Err(failure) => tracing::debug!(%failure, alternate, "no other chain"),
            }
        }
        Ok(chains)
    }
}

#[async_trait]
impl Client for AcmeClient {
    async fn directory(&self, endpoint: &Endpoint) -> Result<DirectoryInfo, Failure> {
        let session = self.session(endpoint)?;
        within(async { Ok(session.directory().await?.info()) }).await
    }

    async fn register(
        &self,
        endpoint: &Endpoint,
        registration: &Registration,
    ) -> Result<String, Failure> {
        let session = self.session(endpoint)?;
        within(accounts::register(&session, registration)).await
    }

    async fn is_known(&self, login: &Login) -> Result<bool, Failure> {
        let session = self.session(&login.endpoint)?;
        let url = login.account_url.as_str();
        let signatory = Signatory::Account(url);
        match within(session.post(&login.key, signatory, url, b"")).await {
            Ok(_) => Ok(true),
            Err(failure) if is_bad_nonce(&failure) => Err(failure),
            Err(Failure::Refused {
                status: 400 | 401 | 403 | 404,
                ..
            }) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn change_key(&self, login: &Login, key: &AccountKey) -> Result<(), Failure> {
        let session = self.session(&login.endpoint)?;
        within(accounts::change_key(&session, login, key)).await
    }

    async fn deactivate(&self, login: &Login) -> Result<(), Failure> {
        let session = self.session(&login.endpoint)?;
        within(library::take(&session, login, &Step::Deactivate)).await?;
        Ok(())
    }

    async fn new_order(&self, login: &Login, order: &NewOrder) -> Result<Order, Failure> {
        within(self.place(login, order)).await
    }

    async fn order(&self, login: &Login, url: &str) -> Result<Order, Failure> {
        within(self.step(login, url, &Step::Look(url))).await
    }

    async fn authorization(&self, login: &Login, url: &str) -> Result<Authorization, Failure> {
        let session = self.session(&login.endpoint)?;
        let signatory = Signatory::Account(&login.account_url);
        let reply = within(session.post(&login.key, signatory, url, b"")).await?;
        documents::authorization(url, &reply)
    }

    async fn answer(&self, login: &Login, challenge: &Challenge) -> Result<(), Failure> {
        let session = self.session(&login.endpoint)?;
        let signatory = Signatory::Account(&login.account_url);
        within(session.post(&login.key, signatory, &challenge.url, b"{}")).await?;
        Ok(())
    }

    async fn finalize(&self, login: &Login, url: &str, request: &[u8]) -> Result<Order, Failure> {
        within(self.finish(login, url, request)).await
    }

    async fn certificate(&self, login: &Login, url: &str) -> Result<Vec<Chain>, Failure> {
        within(self.chains(login, url)).await
    }

    async fn renewal_info(
        &self,
        endpoint: &Endpoint,
        certificate: &str,
    ) -> Result<RenewalInfo, Failure> {
        let session = self.session(endpoint)?;
        within(async {
            let directory = session.directory().await?;
            let base = directory.renewal_info.as_deref();
            let base = base.ok_or_else(|| garbled("directory", "it has no renewal information"))?;
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if !certificate.bytes().all(is_allowed) {
                let detail = "the certificate is not named as RFC 9773 says";
                return Err(refused(ErrorKind::Malformed, detail));
            }
            let url = format!("{}/{certificate}", base.trim_end_matches('/'));
            documents::renewal_info(&session.get(&url).await?)
        })
        .await
    }

    async fn revoke(&self, login: &Login, certificate: &[u8], reason: u8) -> Result<(), Failure> {
        let session = self.session(&login.endpoint)?;
        let Some(reason) = revocation_reason(reason) else {
            let detail = format!("{reason} is no reason to revoke");
            return Err(refused(ErrorKind::BadRevocationReason, &detail));
        };
        let step = Step::Revoke(certificate, reason);
        match within(library::take(&session, login, &step)).await {
            Err(Failure::Refused { problem, .. }) if problem.kind == ErrorKind::AlreadyRevoked => {
                Ok(())
            }
            outcome => outcome.map(drop),
        }
    }
}

impl fmt::Debug for AcmeClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AcmeClient")
            .field("fetch", &self.fetch)
            .finish_non_exhaustive()
    }
}

/// A call that ends in time. Steps are stored by the caller, and are asked for again.
async fn within<T>(call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(DEADLINE, call).await.unwrap_or_else(|_| {
        Err(Failure::Unreachable {
            reason: format!(
                "it has not come to an end in {} seconds",
                DEADLINE.as_secs()
            ),
        })
    })
}

fn revocation_reason(code: u8) -> Option<RevocationReason> {
    Some(match code {
        0 => RevocationReason::Unspecified,
        1 => RevocationReason::KeyCompromise,
        2 => RevocationReason::CaCompromise,
        3 => RevocationReason::AffiliationChanged,
        4 => RevocationReason::Superseded,
        5 => RevocationReason::CessationOfOperation,
        6 => RevocationReason::CertificateHold,
        8 => RevocationReason::RemoveFromCrl,
        9 => RevocationReason::PrivilegeWithdrawn,
        10 => RevocationReason::AaCompromise,
        _ => return None,
    })
}
