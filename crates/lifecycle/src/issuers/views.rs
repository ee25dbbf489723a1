//! What people get to see of issuers: never a key.

use std::time::Duration;

use acme::client::DirectoryInfo;
use time::OffsetDateTime;

/// An issuer as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerView {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: IssuerKind,
    /// Whether everybody can use it.
    pub is_shared: bool,
    /// Whether it obtains the caller's certificates when none is named.
    pub is_default: bool,
}

/// What an issuer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerKind {
    /// A private authority of this server.
    Authority,
    /// An ACME directory.
    Directory(Box<DirectoryView>),
}

/// An ACME directory as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryView {
    /// URL of the directory object.
    pub url: String,
    /// E-mail address that the directory may write to.
    pub contact: Option<String>,
    /// URL of the account.
    pub account_url: Option<String>,
    /// The external account that it is bound to.
    pub external_account_id: Option<String>,
    /// The profile of all orders.
    pub profile: Option<String>,
    /// Common name of an issuer in the preferred chain.
    pub preferred_chain: Option<String>,
    /// The place in the order of preference; 0 if it steps in for no other one.
    pub rank: u32,
    /// Whether it has trust anchors of its own.
    pub has_roots: bool,
    /// How it has done lately.
    pub health: HealthView,
    /// When it was added.
    pub created_at: OffsetDateTime,
}

/// How a directory has done lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthView {
    /// Failures since it last did what it was asked.
    pub failures: u32,
    /// Until when nothing is asked of it.
    pub down_until: Option<OffsetDateTime>,
}

/// An issuer with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerDetails {
    /// The issuer.
    pub issuer: IssuerView,
    /// What is left of the limits that are not about single names. None for an authority.
    pub budgets: Vec<Budget>,
    /// What the directory says of itself, or why it says nothing. None for an authority.
    pub directory: Option<Result<DirectoryInfo, String>>,
}

/// What is left of one of a directory's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// What is limited: `orders`, or `domain:example.com` and the like.
    pub bucket: String,
    /// How much can be used now.
    pub left: u32,
    /// How much can be used at once when nothing was used for a while.
    pub burst: u32,
    /// In what time all of it comes back.
    pub period: Duration,
}
