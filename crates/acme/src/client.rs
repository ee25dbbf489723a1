//! What a client asks of an ACME directory, and what it gets to hear: the words of RFC 8555 section
//! 7 and RFC 9773 as types. Who speaks to directories implements [`Client`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pki::{KeyKind, PrivateKey};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{Identifier, Jwk, Problem, Token, UnusableKey};

/// Where a directory is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// URL of the directory object (RFC 8555 section 7.1.1).
    pub url: String,
    /// Trust anchors for its TLS, PEM, instead of the system's.
    pub roots: Option<Arc<str>>,
    /// Whether an administrator named it, so that it may be in a private network or on this machine,
    /// and without TLS.
    pub is_trusted: bool,
}

/// The P-256 key of an account with a directory, as PKCS#8.
pub struct AccountKey(Zeroizing<Vec<u8>>);

impl AccountKey {
    /// A key from its PKCS#8 form. That it is one shows when it is used.
    #[must_use]
    pub fn from_pkcs8(der: Zeroizing<Vec<u8>>) -> Self {
        Self(der)
    }

    /// The PKCS#8 form.
    #[must_use]
    pub fn as_pkcs8(&self) -> &[u8] {
        &self.0
    }

    /// The public key, whose thumbprint names the account in key authorizations (RFC 8555 section
    /// 8.1).
    ///
    /// # Errors
    /// [`UnusableKey`].
    pub fn jwk(&self) -> Result<Jwk, UnusableKey> {
        let key = PrivateKey::from_pkcs8_der(&self.0).map_err(|_| UnusableKey)?;
        match key.algorithm() {
            KeyKind::P256 => Jwk::from_public_key(key.public_key()).map_err(|_| UnusableKey),
            _ => Err(UnusableKey),
        }
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AccountKey")
    }
}

/// An account with a directory, and the key that proves it.
#[derive(Debug, Clone)]
pub struct Login {
    /// The directory.
    pub endpoint: Endpoint,
    /// URL of the account (RFC 8555 section 7.3).
    pub account_url: String,
    /// Its key.
    pub key: Arc<AccountKey>,
}

/// What opens an account (RFC 8555 section 7.3).
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its key.
    pub key: Arc<AccountKey>,
    /// Whom the directory may write to: an e-mail address.
    pub contact: Option<String>,
    /// Whether the terms of service are agreed to.
    pub agrees_to_terms: bool,
    /// The account elsewhere that this one is bound to (section 7.3.4).
    pub external_account: Option<ExternalAccount>,
}

/// An account known to the authority by other means (RFC 8555 section 7.3.4).
#[derive(Clone)]
pub struct ExternalAccount {
    /// Its identifier.
    pub key_id: String,
    /// The key shared with the authority.
    pub hmac_key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ExternalAccount")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// What a directory says of itself (RFC 8555 section 7.1.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectoryInfo {
    /// Where its terms of service are.
    pub terms_of_service: Option<String>,
    /// Profiles on offer, with their descriptions.
    pub profiles: BTreeMap<String, String>,
    /// Names that it goes by in CAA records.
    pub caa_identities: Vec<String>,
    /// Names that it goes by in records that stay (draft-ietf-acme-dns-persist-02); none where it does
    /// not say that it offers `dns-persist-01`.
    pub persistent_issuers: Vec<String>,
    /// What hashed names of accounts in such records begin with (the same). Without it, accounts go
    /// by their URLs, as in earlier drafts.
    pub account_hash_prefix: Option<String>,
    /// Whether accounts have to be bound to an account elsewhere.
    pub requires_external_account: bool,
    /// Whether it tells when to renew (RFC 9773).
    pub has_renewal_info: bool,
}

/// An order to be placed (RFC 8555 section 7.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// What the certificate shall name.
    pub identifiers: Vec<Identifier>,
    /// The profile, of those on offer.
    pub profile: Option<String>,
    /// The certificate that this one replaces, by its identifier of RFC 9773 section 4.1.
    pub replaces: Option<String>,
}

/// State of an order (RFC 8555 section 7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderStatus {
    /// Control over some identifiers is not proven yet.
    Pending,
    /// All is proven; the request can be sent.
    Ready,
    /// The certificate is being made.
    Processing,
    /// The certificate is there.
    Valid,
    /// It has failed for good.
    Invalid,
}

/// An order as the directory has it (RFC 8555 section 7.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Where it is.
    pub url: String,
    /// Its state.
    pub status: OrderStatus,
    /// URLs of its authorizations.
    pub authorizations: Vec<String>,
    /// Why it failed.
    pub error: Option<Problem>,
    /// When to look again.
    pub retry_after: Option<Duration>,
    /// When the directory forgets it.
    pub expires_at: Option<OffsetDateTime>,
}

/// State of an authorization (RFC 8555 section 7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizationStatus {
    /// One of its challenges is to be met.
    Pending,
    /// Control is proven.
    Valid,
    /// A challenge failed.
    Invalid,
    /// The account gave it up.
    Deactivated,
    /// It has had its time.
    Expired,
    /// The directory took it back.
    Revoked,
}

/// The proof of control over one identifier (RFC 8555 section 7.1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Where it is.
    pub url: String,
    /// What it is about; of a wildcard, the name without `*.`.
    pub identifier: Identifier,
    /// Whether it is about the wildcard under the identifier.
    pub is_wildcard: bool,
    /// Its state.
    pub status: AuthorizationStatus,
    /// The ways to prove it.
    pub challenges: Vec<Challenge>,
    /// When it has had its time.
    pub expires_at: Option<OffsetDateTime>,
}

/// A way to prove control.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChallengeKind {
    /// A TXT record named after the account (draft-ietf-acme-dns-account-label).
    DnsAccount01,
    /// A TXT record (RFC 8555 section 8.4).
    Dns01,
    /// A TXT record that stays (draft-ietf-acme-dns-persist).
    DnsPersist01,
    /// A text on port 80 (RFC 8555 section 8.3).
    Http01,
    /// A certificate on port 443 (RFC 8737).
    TlsAlpn01,
    /// A way that is not known here.
    Other(String),
}

impl ChallengeKind {
    /// The name in the registry of validation methods.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::DnsAccount01 => "dns-account-01",
            Self::Dns01 => "dns-01",
            Self::DnsPersist01 => "dns-persist-01",
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for ChallengeKind {
    fn from(name: &str) -> Self {
        match name {
            "dns-account-01" => Self::DnsAccount01,
            "dns-01" => Self::Dns01,
            "dns-persist-01" => Self::DnsPersist01,
            "http-01" => Self::Http01,
            "tls-alpn-01" => Self::TlsAlpn01,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// State of a challenge (RFC 8555 section 7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeStatus {
    /// The directory waits to hear that it is met.
    Pending,
    /// The directory is looking.
    Processing,
    /// It was met.
    Valid,
    /// It was not met.
    Invalid,
}

/// One way to prove control over one identifier (RFC 8555 section 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Which way.
    pub kind: ChallengeKind,
    /// Where it is.
    pub url: String,
    /// Its state.
    pub status: ChallengeStatus,
    /// What the answer is made of.
    pub token: Option<Token>,
    /// Why it was not met.
    pub error: Option<Problem>,
    /// Names of the authority that a record which stays may give; of `dns-persist-01` only.
    pub issuer_domain_names: Vec<String>,
}

/// When a directory wants a certificate to be renewed (RFC 9773 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalInfo {
    /// Beginning of the window.
    pub start: OffsetDateTime,
    /// End of the window.
    pub end: OffsetDateTime,
    /// A page about why.
    pub explanation: Option<String>,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

/// Why a directory did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It cannot be reached, or does not answer.
    #[error("the directory cannot be reached: {reason}")]
    Unreachable {
        /// What went wrong.
        reason: String,
    },
    /// There is no secure connection to it: its certificate is not trusted, most of the time.
    #[error("the directory cannot be reached: {reason}")]
    Insecure {
        /// What went wrong.
        reason: String,
    },
    /// It refused.
    #[error("the directory refused: {}", .problem.detail.as_deref().unwrap_or("it gives no reason"))]
    Refused {
        /// What it said.
        problem: Box<Problem>,
        /// The HTTP status.
        status: u16,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// What it answers is not ACME, or too long.
    #[error("the directory does not answer in ACME: {reason}")]
    Garbled {
        /// What is wrong with it.
        reason: String,
    },
    /// It names a URL that must not be followed.
    #[error("the directory names a URL that is not followed: {reason}")]
    Forbidden {
        /// Which, and why not.
        reason: String,
    },
}

/// A certificate with what leads to its anchor, DER, the leaf first.
pub type Chain = Vec<Vec<u8>>;

/// Who speaks to directories. Nothing is kept between two calls but what saves requests.
#[async_trait]
pub trait Client: fmt::Debug + Send + Sync {
    /// What the directory says of itself.
    ///
    /// # Errors
    /// [`Failure`].
    async fn directory(&self, endpoint: &Endpoint) -> Result<DirectoryInfo, Failure>;

    /// Opens an account, or finds the one that the key has already, and returns its URL.
    ///
    /// # Errors
    /// [`Failure`].
    async fn register(
        &self,
        endpoint: &Endpoint,
        registration: &Registration,
    ) -> Result<String, Failure>;

    /// Whether the directory knows the account by this key, asked without changing anything.
    ///
    /// # Errors
    /// [`Failure`].
    async fn is_known(&self, login: &Login) -> Result<bool, Failure>;

    /// Replaces the key of an account (RFC 8555 section 7.3.5).
    ///
    /// # Errors
    /// [`Failure`].
    async fn change_key(&self, login: &Login, key: &AccountKey) -> Result<(), Failure>;

    /// Gives an account up (RFC 8555 section 7.3.6).
    ///
    /// # Errors
    /// [`Failure`].
    async fn deactivate(&self, login: &Login) -> Result<(), Failure>;

    /// Places an order.
    ///
    /// # Errors
    /// [`Failure`].
    async fn new_order(&self, login: &Login, order: &NewOrder) -> Result<Order, Failure>;

    /// How it stands with an order.
    ///
    /// # Errors
    /// [`Failure`].
    async fn order(&self, login: &Login, url: &str) -> Result<Order, Failure>;

    /// How it stands with an authorization.
    ///
    /// # Errors
    /// [`Failure`].
    async fn authorization(&self, login: &Login, url: &str) -> Result<Authorization, Failure>;

    /// Tells the directory that a challenge can be looked at (RFC 8555 section 7.5.1).
    ///
    /// # Errors
    /// [`Failure`].
    async fn answer(&self, login: &Login, challenge: &Challenge) -> Result<(), Failure>;

    /// Sends the request, DER, for an order that is ready (RFC 8555 section 7.4).
    ///
    /// # Errors
    /// [`Failure`].
    async fn finalize(&self, login: &Login, url: &str, request: &[u8]) -> Result<Order, Failure>;

    /// The certificate of an order that is valid: the default chain first, then the alternates
    /// (RFC 8555 section 7.4.2).
    ///
    /// # Errors
    /// [`Failure`].
    async fn certificate(&self, login: &Login, url: &str) -> Result<Vec<Chain>, Failure>;

    /// When to renew a certificate, named by its identifier of RFC 9773 section 4.1.
    ///
    /// # Errors
    /// [`Failure`].
    async fn renewal_info(
        &self,
        endpoint: &Endpoint,
        certificate: &str,
    ) -> Result<RenewalInfo, Failure>;

    /// Revokes a certificate, DER, for the reason of RFC 5280 section 5.3.1.
    ///
    /// # Errors
    /// [`Failure`].
    async fn revoke(&self, login: &Login, certificate: &[u8], reason: u8) -> Result<(), Failure>;
}
