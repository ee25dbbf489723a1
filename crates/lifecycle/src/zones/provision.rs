//! Finding the zones of names, and making DNS accounts their providers.

use std::time::Duration;

use pki::DnsName;
use store::{AccountId, DnsProviderId, NewZone, Scope};
use tokio::time::{Instant, timeout_at};

use super::DnsProviders;
use crate::challenges::delegation::{climb, follow};
use crate::challenges::records;
use crate::schedule::registered_domain;
use crate::{Error, Noun, events};

/// How long zones are looked for before they are taken to be where domains are registered.
const PATIENCE: Duration = Duration::from_secs(5);

impl DnsProviders {
    /// Makes a DNS account of `account` a provider of the zones of those names that it has no zone
    /// above yet. Zones that somebody added a provider for stay with that.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unfit`] when the account would have too many zones.
    pub(crate) async fn have_zones(
        &self,
        account: AccountId,
        actor: &str,
        writer: DnsProviderId,
        names: &[DnsName],
    ) -> Result<(), Error> {
        let mut lacking = Vec::new();
        for name in names {
            let record = records::dns_01_name(host(name));
            let zones: Vec<&str> = climb(&record).collect();
            let found = self.store.dns_providers_for(account, &zones).await?;
            if !found.iter().any(|one| one.dns_account_id == Some(writer)) {
                lacking.push(name.clone());
            }
        }
        for zone in self.zones_of(&lacking).await {
            let zone = self.new_zone(account, actor, writer, zone);
            self.provide(account, zone).await?;
        }
        Ok(())
    }

    /// The zones that the records of these names are in, each once.
    pub(super) async fn zones_of(&self, names: &[DnsName]) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut zones: Vec<String> = Vec::new();
        let mut hosts: Vec<&str> = Vec::new();
        for name in names {
            let host = host(name);
            if hosts.contains(&host) {
                continue;
            }
            hosts.push(host);
            let found = timeout_at(deadline, self.zone_of(host)).await;
            let zone = found.ok().flatten();
            let zone = zone.unwrap_or_else(|| registered_domain(host));
            if !zones.contains(&zone) {
                zones.push(zone);
            }
        }
        zones
    }

    /// The zone that the record of a name is in, aliases followed, as far as DNS says.
    async fn zone_of(&self, host: &str) -> Option<String> {
        let resolver = &self.surroundings.network().resolver;
        let record = records::dns_01_name(host);
        let mut way = follow(&**resolver, &record).await.ok()?;
        let name = way.pop().unwrap_or(record);
        let zone = resolver.zone(&name).await.ok()?;
        // An answer for a whole registry would make the account the provider of strangers' names.
        let is_within = registered_domain(&zone.apex) == registered_domain(&name);
        is_within.then_some(zone.apex)
    }

    /// A zone that a DNS account is to be a provider of.
    pub(super) fn new_zone(
        &self,
        account: AccountId,
        actor: &str,
        dns_account: DnsProviderId,
        zone: String,
    ) -> NewZone {
        let provider = DnsProviderId::from_random(self.surroundings.random());
        let event = events::of(
            &self.surroundings,
            actor,
            Some(account),
            events::DNS_PROVIDER_ADDED,
            Some(provider.as_uuid()),
            &zone,
        );
        NewZone {
            dns_account,
            zone,
            provider,
            event,
        }
    }

    async fn provide(&self, account: AccountId, zone: NewZone) -> Result<(), Error> {
        let dns_account = zone.dns_account;
        match self.store.provide_zone(Scope::Account(account), zone).await {
            // Somebody else may have done so in the meantime.
            Ok(_) | Err(store::Error::Duplicate | store::Error::DuplicateName) => Ok(()),
            Err(store::Error::NotFound) => Err(Error::not_found(Noun::DnsProvider, dns_account)),
            Err(store::Error::Full) => Err(Error::Unfit {
                reason: format!(
                    "an account has at most {} DNS providers",
                    store::DNS_PROVIDERS_LIMIT
                ),
            }),
            Err(error) => Err(error.into()),
        }
    }
}

fn host(name: &DnsName) -> &str {
    let name = name.as_str();
    name.strip_prefix("*.").unwrap_or(name)
}
