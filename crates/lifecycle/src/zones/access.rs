//! From the name of a record to who can write it.

use dns::{Account, Credentials, TextRecord};
use egress::EgressPolicy;
use pki::DnsName;
use store::{AccountId, DnsProviderId};

use super::{DnsProviders, PROGRAMS};
use crate::Error;
use crate::challenges::delegation::{DelegationError, climb, follow};
use crate::challenges::records;

/// Where a record is to be written.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its name after all aliases.
    pub(crate) name: String,
    /// Who writes it.
    pub(crate) provider: store::DnsProvider,
}

/// Why it is not known where a record is to be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// The aliases at its name have no end that is known.
    #[error(transparent)]
    Delegation(#[from] DelegationError),
    /// The store failed.
    #[error(transparent)]
    House(#[from] Error),
}

impl From<store::Error> for PlaceError {
    fn from(error: store::Error) -> Self {
        Self::House(error.into())
    }
}

impl DnsProviders {
    /// Whether the records of a name can be written on behalf of an account. DNS is asked only when
    /// no provider has a zone above the name itself.
    pub(crate) async fn covers(&self, account: AccountId, name: &DnsName) -> Result<bool, Error> {
        let name = name.as_str();
        let record = records::dns_01_name(name.strip_prefix("*.").unwrap_or(name));
        if self.provider_above(account, None, &record).await?.is_some() {
            return Ok(true);
        }
        match self.place(account, None, &record).await {
            Ok(place) => Ok(place.is_some()),
            Err(PlaceError::Delegation(_)) => Ok(false),
            Err(PlaceError::House(error)) => Err(error),
        }
    }

    /// Where a record of an account is to be written: at the end of the aliases at its name, by the
    /// provider with the longest zone above that, the account's own before a shared one. With
    /// `writer`, a DNS account that was named for it, no zones of other DNS accounts count if it has
    /// one. `None` when there is no provider.
    pub(crate) async fn place(
        &self,
        account: AccountId,
        writer: Option<DnsProviderId>,
        record: &str,
    ) -> Result<Option<Place>, PlaceError> {
        let resolver = &self.surroundings.network().resolver;
        let way = follow(&**resolver, record).await;
        let name = match way {
            Ok(mut way) => way.pop().unwrap_or_else(|| record.to_owned()),
            // Whoever can write the record does not need to know what is there now.
            Err(DelegationError::Lookup(error)) => {
                let provider = self.provider_above(account, writer, record).await?;
                let Some(provider) = provider else {
                    return Err(DelegationError::Lookup(error).into());
                };
                let name = record.to_owned();
                return Ok(Some(Place { name, provider }));
            }
            Err(error) => return Err(error.into()),
        };
        let provider = self.provider_above(account, writer, &name).await?;
        Ok(provider.map(|provider| Place { name, provider }))
    }

    /// The provider with the longest zone that a name is in.
    async fn provider_above(
        &self,
        account: AccountId,
        writer: Option<DnsProviderId>,
        name: &str,
    ) -> Result<Option<store::DnsProvider>, Error> {
        let zones: Vec<&str> = climb(name).collect();
        let mut found = self.store.dns_providers_for(account, &zones).await?;
        let is_writers =
            |one: &store::DnsProvider| writer.is_some() && one.dns_account_id == writer;
        if found.iter().any(is_writers) {
            found.retain(|one| one.dns_account_id.is_none() || is_writers(one));
        }
        Ok(found.into_iter().next())
    }

    /// The right to change the zone of a provider; `None` when it is gone.
    pub(crate) async fn access(
        &self,
        provider: &store::DnsProvider,
    ) -> Result<Option<Account>, Error> {
        let Some(credentials) = self.credentials(provider.id).await? else {
            return Ok(None);
        };
        Ok(Some(Account {
            kind: provider.kind.clone(),
            credentials,
            policy: if provider.is_trusted {
                EgressPolicy::BACKENDS
            } else {
                EgressPolicy::PUBLIC
            },
            may_run_programs: provider.is_trusted && provider.kind == PROGRAMS,
        }))
    }

    /// A record in the zone of a provider.
    pub(crate) fn record(provider: &store::DnsProvider, name: &str, value: &str) -> TextRecord {
        TextRecord {
            zone: provider.zone.clone(),
            name: name.to_owned(),
            value: value.to_owned(),
            proof: None,
        }
    }

    pub(super) async fn credentials(
        &self,
        id: DnsProviderId,
    ) -> Result<Option<Credentials>, Error> {
        let Some(sealed) = self.store.dns_credentials(id).await? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(sealed.bytes()).ok();
        let credentials = text.and_then(Credentials::from_json);
        let credentials = credentials.ok_or(store::Error::Corrupt(
            "the credentials of a DNS provider cannot be read",
        ))?;
        Ok(Some(credentials))
    }
}
