//! Orders: how a directory comes to issue a version of a certificate.
//!
//! An attempt is made for a certificate that is claimed. It does as many steps as go without waiting,
//! each written down before the next request is sent, and gives the certificate back with a moment at
//! which it is worth going on. Whoever claims it then, after a crash, too, goes on from what is
//! written down: an order is in the store before its directory hears of it, and where the directory
//! answered is in the store before anything else is asked. So no order is placed twice.

mod checks;
mod driving;
mod failures;
mod limits;
mod placing;
mod renewing;
mod setbacks;
mod step;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use acme::client::{AccountKey, Client, Failure};
use store::{Certificate, DirectoryId, State, Store};
use time::OffsetDateTime;

use crate::challenges::Solvers;
use crate::schedule::Cause;
use crate::{Certificates, Error, Issuers, Surroundings, Tally};

use renewing::Renewal;

/// How long a certificate is claimed for an attempt, and by how much a claim is extended.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// A claim with less time than this left is extended before a directory is asked for anything.
const LEAST_LEASE: Duration = Duration::from_secs(30);
/// Longest time that a directory takes for one answer.
const PATIENCE: Duration = Duration::from_secs(25);

/// Who obtains versions from directories.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    store: Store,
    surroundings: Surroundings,
    issuers: Issuers,
    solvers: Solvers,
    certificates: Certificates,
    tally: Tally,
    is_stopping: Arc<AtomicBool>,
}

/// Why an attempt ended without a version.
#[derive(Debug)]
enum Pause {
    /// Somebody else has the certificate now, or it is gone.
    Lost,
    /// There is nothing to do before this moment.
    Until(OffsetDateTime),
    /// It is not tried before this moment, and here is why.
    Denied { at: OffsetDateTime, reason: String },
    /// The version in service is to be renewed then, and looked at before.
    Scheduled {
        renew_at: OffsetDateTime,
        next: OffsetDateTime,
    },
    /// It failed.
    Failed(Box<Setback>),
    /// The store failed; the claim runs out.
    House(Error),
}

/// An attempt that failed.
#[derive(Debug)]
struct Setback {
    /// Whose fault it was.
    cause: Cause,
    /// The cause and the remedy, for people.
    reason: String,
    /// Where.
    directory: Option<DirectoryId>,
    /// Whether the order ends with it, or goes on with the next attempt.
    ends_order: bool,
    /// The names that could not be validated.
    names: Vec<String>,
    /// What is given back of the limits that the order was counted towards.
    refund: Refund,
}

/// What is given back of the limits that an order was counted towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refund {
    /// Nothing was counted, or all of it counts.
    Nothing,
    /// No certificate was issued.
    Certificate,
    /// The directory did not take the order.
    Order,
}

/// An attempt that is under way.
struct Attempt<'a> {
    orders: &'a Orders,
    certificate: &'a Certificate,
    /// Until when the certificate is claimed.
    until: OffsetDateTime,
    /// When the attempt began.
    started: OffsetDateTime,
    /// Whether the order counts towards limits; nothing where there is none.
    is_counted: Option<bool>,
    /// What the order is to renew, once that is known.
    renewal: Option<Renewal>,
    /// The key that the directory was last asked with.
    key: Option<Arc<AccountKey>>,
}

impl Orders {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        issuers: Issuers,
        solvers: Solvers,
        certificates: Certificates,
        tally: Tally,
    ) -> Self {
        Self {
            store,
            surroundings,
            issuers,
            solvers,
            certificates,
            tally,
            is_stopping: Arc::default(),
        }
    }

    /// Makes an attempt for a certificate that is claimed until `until`.
    ///
    /// # Errors
    /// [`Error::Store`]; an attempt that fails is none.
    pub(crate) async fn attempt(
        &self,
        certificate: &Certificate,
        until: OffsetDateTime,
    ) -> Result<(), Error> {
        let mut attempt = Attempt {
            orders: self,
            certificate,
            until,
            started: self.surroundings.now(),
            is_counted: None,
            renewal: None,
            key: None,
        };
        match attempt.run().await {
            Ok(()) => Ok(()),
            Err(pause) => attempt.conclude(pause).await,
        }
    }

    /// Has attempts that are under way give their certificates back before their next request.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    fn now(&self) -> OffsetDateTime {
        self.surroundings.now()
    }

    fn draw(&self) -> u64 {
        u64::from_be_bytes(self.surroundings.random())
    }

    fn client(&self) -> &dyn Client {
        self.surroundings.network().directories.as_ref()
    }
}

impl Attempt<'_> {
    async fn run(&mut self) -> Result<(), Pause> {
        let order = self.orders.store.order(self.certificate.id).await?;
        if let Some(order) = order {
            return self.resume(order).await;
        }
        let renewal = match self.certificate.state {
            State::Valid => self.consider_renewal().await?,
            _ => Renewal::FIRST,
        };
        self.renewal = Some(renewal.clone());
        self.place(renewal).await
    }

    /// Sees to it that the claim lasts for another request.
    async fn keep(&mut self) -> Result<(), Pause> {
        let now = self.orders.now();
        if self.orders.is_stopping.load(Ordering::Acquire) {
            return Err(Pause::Until(now));
        }
        if now + LEAST_LEASE < self.until {
            return Ok(());
        }
        let until = now + LEASE;
        let (store, id) = (&self.orders.store, self.certificate.id);
        if !store.release(id, self.until, until).await? {
            return Err(Pause::Lost);
        }
        self.until = until;
        Ok(())
    }

    /// Asks a directory for something, while the certificate is claimed.
    async fn ask<Answer>(
        &mut self,
        request: impl Future<Output = Result<Answer, Failure>>,
    ) -> Result<Result<Answer, Failure>, Pause> {
        self.keep().await?;
        let answer = tokio::time::timeout(PATIENCE, request).await;
        Ok(answer.unwrap_or_else(|_| {
            Err(Failure::Unreachable {
                reason: format!("it has not answered in {} seconds", PATIENCE.as_secs()),
            })
        }))
    }
}

/// What was written down was written down by who has the certificate.
fn held(is_held: bool) -> Result<(), Pause> {
    if is_held { Ok(()) } else { Err(Pause::Lost) }
}

impl From<Error> for Pause {
    fn from(error: Error) -> Self {
        Self::House(error)
    }
}

impl From<store::Error> for Pause {
    fn from(error: store::Error) -> Self {
        Self::House(error.into())
    }
}

impl From<Setback> for Pause {
    fn from(setback: Setback) -> Self {
        Self::Failed(Box::new(setback))
    }
}
