//! What the operator decides about the wires.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use pki::KeyAlgorithm;

/// Settings of the APIs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Base of every absolute URL in answers, without a final slash.
    pub public_url: String,
    /// Where this server ends TLS for the domains of services, if it does.
    pub edge_https: Option<SocketAddr>,
    /// The CertMaker dialect.
    pub certmaker: CertMakerSettings,
    /// The Cloud 66 dialect.
    pub cloud66: Cloud66Settings,
    /// The D9T dialect.
    pub d9t: D9tSettings,
}

/// Settings of the D9T dialect.
#[derive(Debug, Clone)]
pub struct D9tSettings {
    /// Algorithm of keys that are generated.
    pub key_algorithm: KeyAlgorithm,
    /// Whether a request without credentials is answered 401, for clients that send none before they
    /// are asked.
    pub challenge_401: bool,
    /// Base of links, without a final slash; the address that the client used if there is none.
    pub base_url: Option<String>,
}

/// Settings of the CertMaker dialect.
#[derive(Debug, Clone)]
pub struct CertMakerSettings {
    /// The authority behind this dialect.
    pub authority: String,
    /// Algorithm of keys that are generated for orders without a CSR.
    pub key_algorithm: KeyAlgorithm,
    /// HTTP status of a successful `POST /certificate/request`.
    pub g1_success_status: G1SuccessStatus,
    /// HTTP status for a well-formed token of no account.
    pub unknown_account_status: UnknownAccountStatus,
    /// Whether `GET /certificate/{sn}/revoke` revokes.
    pub allow_get_revoke: bool,
}

/// Settings of the Cloud 66 dialect.
#[derive(Debug, Clone)]
pub struct Cloud66Settings {
    /// What certificates that an issuer obtains are said to come from.
    pub ca_name: String,
    /// Requests of an account in an hour, on each node; any number if none.
    pub requests_per_hour: Option<NonZeroU32>,
}

impl Default for Cloud66Settings {
    fn default() -> Self {
        Self {
            ca_name: "Let's Encrypt".to_owned(),
            requests_per_hour: None,
        }
    }
}

/// How a successful order of the first client generation is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum G1SuccessStatus {
    /// 200 for the bot, which is recognised by its keys, 201 for all others.
    #[default]
    Auto,
    /// Always 200.
    Ok,
    /// Always 201.
    Created,
}

/// How a token of an account that does not exist is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownAccountStatus {
    /// 404, as the CertMaker document says.
    #[default]
    NotFound,
    /// 401, which hides which accounts exist.
    Unauthorized,
}
