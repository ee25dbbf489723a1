//! What is remembered of one directory between calls: its directory object, nonces, and where orders
//! go on. All of it only saves requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use acme::client::{AccountKey, Endpoint, Failure};
use acme::{ErrorKind, Jws, Problem, Signatory, UnusableKey};
use bytes::Bytes;
use egress::Fetch;
use http::Method;
use quick_cache::sync::Cache;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::documents::{Directory, Doors, garbled};
use crate::exchange::{Reply, exchange};
use crate::nonces::Nonces;
use crate::target::Origin;

/// How often a request is made again because its nonce was not acceptable. With nine in ten refused,
/// one request in a thousand fails.
pub(crate) const TRIES: usize = 66;
/// The longest answer that is read, in octets.
const MAX_BODY: usize = 1 << 20;
/// The longest directory object that is read, since it is kept.
const MAX_DIRECTORY: usize = 64 * 1_024;
/// How long a directory object is believed.
const DIRECTORY_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long it is believed whatever happens, so that what is really gone does not double all requests.
const DOUBT: Duration = Duration::from_secs(60);
/// Of how many orders it is remembered where they go on.
const ORDERS: usize = 1_024;

/// One directory.
pub(crate) struct Session {
    endpoint: Endpoint,
    origin: Origin,
    fetch: Arc<dyn Fetch>,
    nonces: Nonces,
    directory: Mutex<Known>,
    /// By URL of the order.
    orders: Cache<String, Arc<Doors>>,
}

/// The directory object.
#[derive(Default)]
struct Known {
    directory: Option<(Instant, Arc<Directory>)>,
    /// Why it could not be had at last, for those who waited meanwhile.
    failure: Option<(Instant, Failure)>,
}

impl Session {
    /// # Errors
    /// [`Failure::Forbidden`] for an endpoint that must not be requested.
    pub(crate) fn new(endpoint: Endpoint, fetch: Arc<dyn Fetch>) -> Result<Self, Failure> {
        Ok(Self {
            origin: Origin::of(&endpoint)?,
            endpoint,
            fetch,
            nonces: Nonces::default(),
            directory: Mutex::default(),
            orders: Cache::new(ORDERS),
        })
    }

    /// The directory object, asked for once an hour, and again after something was not where it
    /// said.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn directory(&self) -> Result<Arc<Directory>, Failure> {
        let asked = Instant::now();
        let mut known = self.directory.lock().await;
        if let Some((since, directory)) = &known.directory
            && since.elapsed() < DIRECTORY_LIFETIME
        {
            return Ok(Arc::clone(directory));
        }
        if let Some((failed, failure)) = &known.failure
            && asked < *failed
        {
            return Err(failure.clone());
        }
        let url = self.endpoint.url.as_str();
        let answer = self.ask(Method::GET, url, Bytes::new(), MAX_DIRECTORY);
        match answer.await.and_then(|reply| Directory::read(&reply)) {
            Ok(directory) => {
                let directory = Arc::new(directory);
                known.directory = Some((Instant::now(), Arc::clone(&directory)));
                Ok(directory)
            }
            Err(failure) => {
                known.failure = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// Asks for something public.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn get(&self, url: &str) -> Result<Reply, Failure> {
        let answer = self.ask(Method::GET, url, Bytes::new(), MAX_BODY).await;
        self.doubt(answer).await
    }

    /// Sends a request that is signed already.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn send(&self, url: &str, signed: Bytes) -> Result<Reply, Failure> {
        let answer = self.ask(Method::POST, url, signed, MAX_BODY).await;
        self.doubt(answer).await
    }

    /// Signs a request and sends it; without payload, it only asks (RFC 8555 section 6.3).
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn post(
        &self,
        key: &AccountKey,
        signatory: Signatory<'_>,
        url: &str,
        payload: &[u8],
    ) -> Result<Reply, Failure> {
        let mut tries = 0;
        loop {
            let nonce = self.nonce().await?;
            let jws = Jws::sign(key, signatory, Some(&nonce), url, payload).map_err(unusable)?;
            match self.send(url, json(&jws)?).await {
                Err(failure) if is_bad_nonce(&failure) && tries < TRIES => tries += 1,
                answer => return answer,
            }
        }
    }

    /// A nonce, kept from an answer or asked for (RFC 8555 section 7.2).
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn nonce(&self) -> Result<String, Failure> {
        if let Some(nonce) = self.nonces.take() {
            return Ok(nonce);
        }
        let directory = self.directory().await?;
        let url = directory.new_nonce.as_str();
        let answer = self.ask(Method::HEAD, url, Bytes::new(), MAX_BODY).await;
        self.doubt(answer).await?;
        let nonce = self.nonces.take();
        nonce.ok_or_else(|| garbled("nonce", "there is none where nonces are given out"))
    }

    /// Whether `url`, which the directory named, may be followed.
    ///
    /// # Errors
    /// [`Failure::Forbidden`] otherwise.
    pub(crate) fn check(&self, url: &str) -> Result<(), Failure> {
        self.origin.policy(url).map(drop)
    }

    /// Remembers where an order goes on.
    pub(crate) fn remember(&self, order: &str, doors: Doors) {
        self.orders.insert(order.to_owned(), Arc::new(doors));
    }

    /// Where an order goes on, if that is remembered.
    pub(crate) fn doors(&self, order: &str) -> Option<Arc<Doors>> {
        self.orders.get(order)
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        limit: usize,
    ) -> Result<Reply, Failure> {
        let policy = self.origin.policy(url)?;
        let roots = self.endpoint.roots.clone();
        let fetch = self.fetch.as_ref();
        let answer = exchange(fetch, method, url, body, limit, policy, roots).await?;
        if let Some(nonce) = answer.nonce {
            self.nonces.put(&nonce);
        }
        answer.outcome
    }

    /// Forgets the directory object when something was not where it should be.
    async fn doubt(&self, answer: Result<Reply, Failure>) -> Result<Reply, Failure> {
        if let Err(
            Failure::Unreachable { .. }
            | Failure::Insecure { .. }
            | Failure::Refused { status: 404, .. },
        ) = answer
        {
            let mut known = self.directory.lock().await;
            let is_fresh = |(since, _): &mut (Instant, _)| since.elapsed() < DOUBT;
            known.directory = known.directory.take_if(is_fresh);
        }
        answer
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Session")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Whether a request can be made again with another nonce.
pub(crate) fn is_bad_nonce(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { problem, .. } if problem.kind == ErrorKind::BadNonce)
}

/// The body of a request.
///
/// # Errors
/// Never for what is sent here.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<Bytes, Failure> {
    let body = serde_json::to_vec(value).map_err(|error| garbled("request", &error.to_string()))?;
    Ok(body.into())
}

/// What no directory would accept is refused before it is sent.
pub(crate) fn refused(kind: ErrorKind, detail: &str) -> Failure {
    Failure::Refused {
        problem: Box::new(Problem::new(kind, detail)),
        status: 400,
        retry_after: None,
    }
}

pub(crate) fn unusable(error: UnusableKey) -> Failure {
    refused(ErrorKind::BadPublicKey, &error.to_string())
}
