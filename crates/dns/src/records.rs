//! Publishing and withdrawing TXT records.

use std::fmt::Debug;

use async_trait::async_trait;
use egress::EgressPolicy;

use crate::Credentials;

/// The right to change zones at a provider.
#[derive(Debug, Clone)]
pub struct Account {
    /// The kind of provider, such as `rfc2136` or `cloudflare`.
    pub kind: String,
    /// What it wants to see.
    pub credentials: Credentials,
    /// Which addresses may be connected to, where the credentials name the server.
    pub policy: EgressPolicy,
    /// Whether programs of this machine may be run for it.
    pub may_run_programs: bool,
}

/// A TXT record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextRecord {
    /// Name at the top of the zone that it is in, without final dot.
    pub zone: String,
    /// Its own name, in full, without final dot.
    pub name: String,
    /// Its text.
    pub value: String,
    /// What it proves, where it answers a challenge. Some providers make the text themselves.
    pub proof: Option<Proof>,
}

/// What a record proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The domain that is proven to be controlled, without `*.` in front.
    pub domain: String,
    /// The key authorization (RFC 8555 section 8.1), which begins with the challenge's token.
    pub key_authorization: String,
}

impl Proof {
    /// The token of the challenge.
    #[must_use]
    pub fn token(&self) -> &str {
        let (token, _) = self.key_authorization.split_once('.').unwrap_or_default();
        token
    }
}

impl TextRecord {
    /// What providers get that make the text themselves.
    pub(crate) fn raw_proof(&self) -> Result<&Proof, ProviderError> {
        self.proof.as_ref().ok_or_else(|| ProviderError::Refused {
            reason: "the mode RAW needs a challenge to answer".to_owned(),
        })
    }
}

/// Why a record was not published or withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The credentials are not accepted, or lack something.
    #[error("the DNS provider does not accept the credentials: {reason}")]
    Credentials {
        /// What the provider said, or which field is missing.
        reason: String,
    },
    /// The credentials are good, but not for this zone.
    #[error("the DNS provider has no zone for {name} in this account")]
    NoZone {
        /// The name of the record.
        name: String,
    },
    /// The provider refused.
    #[error("the DNS provider refused: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
    /// The provider cannot be reached, or failed.
    #[error("the DNS provider cannot be reached: {reason}")]
    Unreachable {
        /// What went wrong.
        reason: String,
    },
    /// There is no driver for this kind of provider.
    #[error("there is no driver for DNS providers of the kind {kind}")]
    Unsupported {
        /// The kind.
        kind: String,
    },
}

/// Who changes zones. Both operations can be repeated. Several values live beside each other under
/// one name, as those of a domain and of the wildcard over it do.
#[async_trait]
pub trait Records: Debug + Send + Sync {
    /// Adds a value to those of its name.
    ///
    /// # Errors
    /// [`ProviderError`].
    async fn publish(&self, account: &Account, record: &TextRecord) -> Result<(), ProviderError>;

    /// Takes a value away and leaves the others of its name. It need not be there.
    ///
    /// # Errors
    /// [`ProviderError`].
    async fn withdraw(&self, account: &Account, record: &TextRecord) -> Result<(), ProviderError>;
}
