//! Why control over a name cannot be proven.

use acme::client::ChallengeKind;
use dns::ProviderError;

use crate::Error;

/// Why challenges were not prepared, or why there is no sense in answering them. The text names the
/// cause and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ChallengeError {
    /// Something is in the way that an order cannot get past.
    #[error("{reason}")]
    Misconfigured {
        /// What was expected, what was found, and what to do.
        reason: String,
    },
    /// None of the ways that the directory offers can be gone.
    #[error("control over '{name}' cannot be proven: {reason}")]
    NotProvable {
        /// The name, a wildcard with its `*.`.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The DNS provider did not publish a record.
    #[error("the record {record} of zone {zone} could not be published: {source}")]
    Provider {
        /// Name of the record.
        record: String,
        /// Zone that the provider is for.
        zone: String,
        /// Why.
        source: ProviderError,
    },
    /// A record was published, but the servers of its zone do not have it.
    #[error("the record {record} was published, but {server} does not have it: {reason}")]
    NotVisible {
        /// Name of the record.
        record: String,
        /// A server that lacks it.
        server: String,
        /// What it has instead, and what to do.
        reason: String,
    },
    /// The directory does not say what it has to say for this kind.
    #[error("the directory's challenge of the kind {} lacks something: {reason}", .kind.as_str())]
    Malformed {
        /// The kind of challenge.
        kind: ChallengeKind,
        /// What is missing.
        reason: String,
    },
    /// Somebody else has taken the certificate on meanwhile, or it is gone.
    #[error("somebody else works on the certificate")]
    Unclaimed,
    /// The house is at fault.
    #[error(transparent)]
    House(#[from] Error),
}

impl ChallengeError {
    /// Whether the name is not to blame: the same attempt may well succeed later, and should not
    /// count.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Provider { source, .. } => matches!(source, ProviderError::Unreachable { .. }),
            Self::House(error) => error.is_internal(),
            Self::Unclaimed => true,
            Self::Misconfigured { .. }
            | Self::NotProvable { .. }
            | Self::NotVisible { .. }
            | Self::Malformed { .. } => false,
        }
    }
}

impl From<store::Error> for ChallengeError {
    fn from(error: store::Error) -> Self {
        Self::House(error.into())
    }
}
