//! What this node has done since it started, counted for its operator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::schedule::Reason;

/// Stands for all directories that accounts brought along: what they are named is theirs to choose,
/// and how many there are, too.
const OWN: &str = "(own)";

/// What became of an attempt at an order with an ACME directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderOutcome {
    /// There is a certificate.
    Valid,
    /// A name could not be validated, or the directory does not issue for it.
    Refused,
    /// A limit of the directory was reached.
    Limited,
    /// The directory could not be reached, or answered what no directory answers.
    Unavailable,
    /// The directory does not accept the account or the profile.
    Account,
}

impl OrderOutcome {
    /// The word for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
            Self::Account => "account",
        }
    }
}

/// What became of an attempt at a delivery to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryOutcome {
    /// The receiver took it.
    Delivered,
    /// It did not, and is asked again.
    Failed,
    /// It was given up, or not even tried because too many wait.
    Dropped,
}

impl DeliveryOutcome {
    /// The word for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// Counters that all parts of the house share.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<Counts>>);

/// All counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts at orders, by directory and outcome. Directories of single accounts count together.
    pub orders: BTreeMap<(String, OrderOutcome), u64>,
    /// Orders that were put off because of a limit, by directory and limit. Directories of single
    /// accounts count together.
    pub denials: BTreeMap<(String, Reason), u64>,
    /// Attempts at deliveries, by outcome.
    pub deliveries: BTreeMap<DeliveryOutcome, u64>,
}

impl Tally {
    /// All counts as they are now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner().clone()
    }

    /// Counts an attempt at an order with a directory, which is named if everybody uses it.
    pub(crate) fn order(&self, shared_directory: Option<&str>, outcome: OrderOutcome) {
        let directory = shared_directory.unwrap_or(OWN).to_owned();
        *self.inner().orders.entry((directory, outcome)).or_default() += 1;
    }

    /// Counts an order that a limit of a directory puts off, which is named if everybody uses it.
    pub(crate) fn denied(&self, shared_directory: Option<&str>, limit: Reason) {
        let directory = shared_directory.unwrap_or(OWN).to_owned();
        *self.inner().denials.entry((directory, limit)).or_default() += 1;
    }

    /// Counts an attempt at a delivery.
    pub(crate) fn delivery(&self, outcome: DeliveryOutcome) {
        *self.inner().deliveries.entry(outcome).or_default() += 1;
    }

    /// Each count is one addition, so a panic elsewhere leaves nothing half done.
    fn inner(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
