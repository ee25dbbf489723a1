//! Issuers: private authorities and ACME directories, under one set of names.
//!
//! A directory is registered with at once when it is added, so that a mistake shows to whoever makes
//! it. Administrators add directories for everybody or for one account; tenants add their own, which
//! have to be reachable in public and through TLS.

mod views;

use std::sync::Arc;

pub use acme::client::{DirectoryInfo, ExternalAccount};
use pki::DnsName;
use store::{AccountId, Store};

use crate::settings::Settings;
use crate::{Authorities, Error, Noun, Principal, Surroundings};

pub use views::{Budget, DirectoryView, HealthView, IssuerDetails, IssuerKind, IssuerView};

/// An ACME directory to be added.
#[derive(Debug, Clone, Default)]
pub struct NewIssuer {
    /// Its name; neither an authority's nor that of another issuer of the same owner.
    pub name: String,
    /// URL of the directory object.
    pub url: String,
    /// E-mail address that the directory may write to.
    pub contact: Option<String>,
    /// Whether the terms of service are agreed to.
    pub agrees_to_terms: bool,
    /// Trust anchors for its TLS, PEM, instead of the system's. Administrators only.
    pub roots: Option<String>,
    /// The account elsewhere that the new one is bound to.
    pub external_account: Option<ExternalAccount>,
    /// The profile of all orders, of those on offer.
    pub profile: Option<String>,
    /// Common name of an issuer in the chain that is preferred when there are several chains.
    pub preferred_chain: Option<String>,
    /// The directory's limits as JSON, where they are not Let's Encrypt's.
    pub limits: Option<String>,
    /// The account that it is for. Without one, an administrator's is for everybody and a tenant's
    /// for the tenant. Administrators only.
    pub account: Option<String>,
    /// Its place in the order of preference, the lowest first; 0 if it is never to step in for
    /// another one. Behind all others unless given.
    pub rank: Option<u32>,
    /// Whether it becomes the default issuer.
    pub is_default: bool,
}

/// Operations on issuers.
#[derive(Debug, Clone)]
pub struct Issuers {
    store: Store,
    surroundings: Surroundings,
    settings: Arc<Settings>,
    authorities: Authorities,
}

impl Issuers {
    /// Opens an account with a directory and adds it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is wrong with the request, also in the eyes of the directory;
    /// [`Error::NameTaken`]; [`Error::Forbidden`]; [`Error::Directory`] when the directory cannot be
    /// reached or does not speak ACME.
    pub async fn add(
        &self,
        principal: &Principal,
        _issuer: NewIssuer,
    ) -> Result<IssuerView, Error> {
        self.unavailable(principal).await
    }

    /// The issuers that the caller can use: authorities by name, then directories by rank.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, principal: &Principal) -> Result<Vec<IssuerView>, Error> {
        self.unavailable(principal).await
    }

    /// An issuer with what is left of its limits, and what the directory says of itself now.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn show(&self, principal: &Principal, _name: &str) -> Result<IssuerDetails, Error> {
        self.unavailable(principal).await
    }

    /// Gives a directory up. Certificates that name it are renewed by `successor` from then on, or by
    /// the default issuer. The account with the directory is deactivated if it can be reached.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for the successor; [`Error::Forbidden`]; [`Error::Unfit`] for the
    /// default issuer without a successor.
    pub async fn remove(
        &self,
        principal: &Principal,
        _name: &str,
        _successor: Option<&str>,
    ) -> Result<(), Error> {
        self.unavailable(principal).await
    }

    /// Makes an issuer the one that obtains certificates when none is named: for the caller's
    /// account, or for everybody with `for_all`, which administrators may.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`].
    pub async fn make_default(
        &self,
        principal: &Principal,
        _name: &str,
        _for_all: bool,
    ) -> Result<(), Error> {
        self.unavailable(principal).await
    }

    /// Changes the place of a directory in the order of preference; see [`NewIssuer::rank`].
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`].
    pub async fn rank(&self, principal: &Principal, _name: &str, _rank: u32) -> Result<(), Error> {
        self.unavailable(principal).await
    }

    /// Gives the account with a directory a new key (RFC 8555 section 7.3.5). Broken off, it is
    /// finished by the next call.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Directory`].
    pub async fn change_key(&self, principal: &Principal, _name: &str) -> Result<(), Error> {
        self.unavailable(principal).await
    }

    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        settings: Arc<Settings>,
        authorities: Authorities,
    ) -> Self {
        Self {
            store,
            surroundings,
            settings,
            authorities,
        }
    }

    /// The name of an issuer that an account can use.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn usable(&self, _account: AccountId, name: &str) -> Result<String, Error> {
        match self.authorities.named(name).await {
            Ok(authority) => Ok(authority.name.clone()),
            Err(Error::NotFound { .. }) => Err(Error::not_found(Noun::Issuer, name)),
            Err(error) => Err(error),
        }
    }

    /// The name of what obtains an account's certificates when nothing is named. That there is such
    /// an issuer is not checked: there may be one tomorrow.
    pub(crate) async fn default_of(&self, _account: AccountId) -> Result<String, Error> {
        std::future::ready(()).await;
        Ok(self.settings.default_issuer.clone())
    }

    /// Whether an issuer can prove control over the zone of a wildcard for an account. A private
    /// authority has nothing to prove.
    pub(crate) async fn can_prove_zone(
        &self,
        _account: AccountId,
        issuer: &str,
        _wildcard: &DnsName,
    ) -> Result<bool, Error> {
        match self.authorities.named(issuer).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn unavailable<Answer>(&self, principal: &Principal) -> Result<Answer, Error> {
        principal.require_write()?;
        self.store.ping().await?;
        let (at, authorities) = (self.surroundings.now(), &self.authorities);
        tracing::debug!(%at, ?authorities, "issuers were asked for");
        Err(Error::Unsupported {
            reason: "this version has no ACME directories yet".to_owned(),
        })
    }
}
