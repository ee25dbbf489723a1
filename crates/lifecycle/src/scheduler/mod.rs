//! The scheduler: obtains and renews managed certificates when they are due.
//!
//! It has no table of jobs. What is due is a moment on the row of the certificate; claiming moves
//! it ahead by a lease, so that no two nodes work on one certificate, and the work of a node that
//! dies is due again when its lease is over.
//!
//! Private authorities answer at once, so what they are to issue is done in batches. Directories
//! take their time, so what they are to issue is done in tasks, some at a time for each of them.

mod authorities;
mod directories;
mod revocations;

use std::sync::Arc;
use std::time::Duration;

use store::Store;
use tokio::sync::watch;

use crate::orders::Orders;
use crate::{Authorities, Certificates, Error, Issuers, Surroundings};

use directories::Pool;

/// How often a node looks for what has become due without its doing.
const LOOK: Duration = Duration::from_secs(1);

/// The scheduler of a node.
#[derive(Debug, Clone)]
pub(crate) struct Scheduler {
    store: Store,
    surroundings: Surroundings,
    certificates: Certificates,
    authorities: Authorities,
    issuers: Issuers,
    orders: Orders,
    /// Whether nothing more is taken on.
    retired: Arc<watch::Sender<bool>>,
}

impl Scheduler {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        certificates: Certificates,
        authorities: Authorities,
        issuers: Issuers,
        orders: Orders,
    ) -> Self {
        Self {
            store,
            surroundings,
            certificates,
            authorities,
            issuers,
            orders,
            retired: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Obtains what is due, until [`Self::retire`] is called. Faults are logged and tried again.
    pub(crate) async fn run(&self) {
        tokio::join!(
            self.run_for_authorities(),
            self.run_for_directories(),
            self.run_for_revocations()
        );
    }

    /// Takes nothing more on. What is under way is finished, or given back for others to go on with.
    pub(crate) fn retire(&self) {
        self.orders.stop();
        self.retired.send_replace(true);
    }

    /// Makes one attempt for each certificate that is due now. Returns how many that were.
    pub(crate) async fn obtain_due(&self) -> Result<usize, Error> {
        let by_authorities = self.obtain_from_authorities().await?;
        let mut pool = Pool::default();
        let mut by_directories = 0;
        loop {
            let intake = self.take_on(&mut pool).await?;
            by_directories += intake.count;
            if !pool.finished().await && !intake.is_full {
                break;
            }
        }
        self.tell_of_revocations().await?;
        Ok(by_authorities + by_directories)
    }

    /// Waits until something may be due, or nothing more is to be taken on. Whether the latter.
    async fn rest(
        &self,
        rung: &mut watch::Receiver<()>,
        retired: &mut watch::Receiver<bool>,
        length: Duration,
    ) -> bool {
        tokio::select! {
            // Neither sender ends before this does.
            _ = retired.wait_for(|is_retired| *is_retired) => true,
            // Whoever has just requested one rings; other nodes' requests are found by looking.
            _ = rung.changed() => false,
            () = tokio::time::sleep(length) => false,
        }
    }
}
