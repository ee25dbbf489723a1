//! DNS providers: zones with the right to write their records.
//!
//! A provider belongs to an account, or is shared by the operator with all of them; then every
//! account can prove control over the names of its zone. What an administrator added may be anywhere
//! on the network and may run programs; what a tenant added has to be reachable in public.

mod access;
mod accounts;
mod provision;
#[cfg(test)]
mod tests;
mod trial;

use dns::Credentials;
use pki::DnsName;
use store::{AccountId, DnsProviderId, PAGE_LIMIT, Secret, Store};
use time::OffsetDateTime;

use crate::challenges::records;
use crate::places::Places;
use crate::schedule::registered_domain;
use crate::{Error, Noun, Principal, Surroundings, events};

pub(crate) use access::{Place, PlaceError};
pub use accounts::{DnsAccounts, NewDnsAccount, RecordWriter};

/// A kind whose programs run on this machine.
const PROGRAMS: &str = "exec";

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
    trials: Places,
}

impl DnsProviders {
    pub(crate) fn new(store: Store, surroundings: Surroundings) -> Self {
        Self {
            store,
            surroundings,
            trials: Places::new(
                trial::AT_A_TIME,
                trial::OF_ACCOUNT,
                "as many zones are being tested as can be",
            ),
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
        let NewDnsProvider {
            zone,
            kind,
            credentials,
            account,
        } = provider;
        let zone = zone_name(&zone)?;
        let checked = dns::check(&kind, &credentials);
        checked.map_err(|error| Error::invalid("credentials", error.to_string()))?;
        let is_trusted = principal.is_administrator();
        if kind == PROGRAMS && !is_trusted {
            return Err(Error::Forbidden {
                reason: "only administrators add providers that run programs of this server",
            });
        }
        let owner = self.owner(principal, account.as_deref()).await?;
        let now = self.surroundings.now();
        let id = DnsProviderId::from_random(self.surroundings.random());
        let event = self.event(principal, events::DNS_PROVIDER_ADDED, owner, id, &zone);
        let new = store::NewDnsProvider {
            id,
            account_id: owner,
            zone: zone.clone(),
            kind: kind.clone(),
            credentials: Secret::from(credentials.to_json().as_bytes().to_vec()),
            is_trusted,
            created_at: now,
        };
        match self.store.add_dns_provider(new, event).await {
            Ok(()) => {}
            Err(store::Error::DuplicateName) => {
                return Err(Error::NameTaken {
                    noun: Noun::DnsProvider,
                    name: zone,
                });
            }
            Err(store::Error::Full) => {
                let limit = store::DNS_PROVIDERS_LIMIT;
                return Err(Error::Unfit {
                    reason: format!("an account has at most {limit} DNS providers"),
                });
            }
            Err(error) => return Err(error.into()),
        }
        Ok(DnsProvider {
            zone,
            kind,
            fields: credentials.names().map(str::to_owned).collect(),
            is_shared: owner.is_none(),
            created_at: now,
        })
    }

    /// The providers that serve the caller's names: its own and the shared ones, by zone.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, principal: &Principal) -> Result<Vec<DnsProvider>, Error> {
        let mut listed = Vec::new();
        let mut after: Option<store::DnsProvider> = None;
        loop {
            let (scope, from) = (principal.scope(), after.as_ref());
            let page = self.store.dns_providers(scope, from, PAGE_LIMIT).await?;
            let is_last = page.len() < PAGE_LIMIT;
            after = page.last().cloned();
            for provider in page {
                listed.push(self.view(provider).await?);
            }
            if is_last {
                return Ok(listed);
            }
        }
    }

    /// Removes the caller's provider of a zone, or the shared one if the caller has none and is an
    /// administrator. Records that are still published through it stay where they are, and are
    /// named in the log.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::InUse`] while a certificate names it.
    pub async fn remove(&self, principal: &Principal, zone: &str) -> Result<(), Error> {
        let found = self.own(principal, zone).await?;
        self.remove_found(principal, &found).await
    }

    async fn remove_found(
        &self,
        principal: &Principal,
        found: &store::DnsProvider,
    ) -> Result<(), Error> {
        let kind = events::DNS_PROVIDER_REMOVED;
        let event = self.event(principal, kind, found.account_id, found.id, &found.zone);
        let scope = principal.administered_scope();
        match self.store.remove_dns_provider(scope, found.id, event).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::not_found(Noun::DnsProvider, &found.zone)),
            Err(store::Error::InUse) => Err(accounts::in_use(&found.zone)),
            Err(error) => Err(error.into()),
        }
    }

    /// The provider of this very zone that the caller's names would be proven with, if the caller
    /// may do with it what it likes.
    async fn own(&self, principal: &Principal, zone: &str) -> Result<store::DnsProvider, Error> {
        principal.require_write()?;
        let name = zone_name(zone)?;
        let account = principal.account_id();
        let found = self.store.dns_providers_for(account, &[&name]).await?;
        let found = found.into_iter().next();
        let found = found.ok_or_else(|| Error::not_found(Noun::DnsProvider, zone))?;
        if found.account_id.is_none() && principal.stands_in() {
            return Err(Error::not_found(Noun::DnsProvider, zone));
        }
        if found.account_id.is_none() {
            principal.require_administrator()?;
        }
        Ok(found)
    }

    async fn view(&self, provider: store::DnsProvider) -> Result<DnsProvider, Error> {
        let credentials = self.credentials(provider.id).await?;
        let fields = credentials.iter().flat_map(Credentials::names);
        Ok(DnsProvider {
            fields: fields.map(str::to_owned).collect(),
            zone: provider.zone,
            kind: provider.kind,
            is_shared: provider.account_id.is_none(),
            created_at: provider.created_at,
        })
    }

    /// Whom a new provider belongs to: nobody in particular when it is shared.
    async fn owner(
        &self,
        principal: &Principal,
        account: Option<&str>,
    ) -> Result<Option<AccountId>, Error> {
        match account {
            Some(name) if name == principal.account_name() => Ok(Some(principal.account_id())),
            Some(name) => {
                principal.require_administrator()?;
                let account = self.store.account_by_name(name).await?;
                let account = account.ok_or_else(|| Error::not_found(Noun::Account, name))?;
                Ok(Some(account.id))
            }
            None if principal.is_administrator() => Ok(None),
            None => Ok(Some(principal.account_id())),
        }
    }

    fn event(
        &self,
        principal: &Principal,
        kind: &'static str,
        owner: Option<AccountId>,
        id: DnsProviderId,
        zone: &str,
    ) -> store::NewEvent {
        let actor = principal.account_name();
        events::of(
            &self.surroundings,
            actor,
            owner,
            kind,
            Some(id.as_uuid()),
            zone,
        )
    }
}

/// What is to be done so that the records of a name, a wildcard or not, can be written.
pub(crate) fn advice(name: &str) -> String {
    let host = name.strip_prefix("*.").unwrap_or(name);
    format!(
        "add a DNS provider for the zone of {host} (chancery dns add {} --provider KIND …; chancery dns \
         kinds lists them), or point the CNAME {} at a name in a zone that has one",
        registered_domain(host),
        records::dns_01_name(host)
    )
}

/// The name of a zone in its one form.
fn zone_name(text: &str) -> Result<String, Error> {
    let name = DnsName::parse(text).map_err(|error| Error::invalid("zone", error.to_string()))?;
    if name.as_str().starts_with("*.") {
        return Err(Error::invalid(
            "zone",
            format!("'{text}' is a wildcard; name the zone that it is in"),
        ));
    }
    Ok(name.to_string())
}
