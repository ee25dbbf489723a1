//! What all connections share: the way from a name to its site, service and certificate, in memory
//! as far as it was gone before. What changes in the house takes out what it makes wrong, also what
//! is only being loaded.

use std::sync::Arc;
use std::time::Duration;

use lifecycle::{Answers, CertificateId, Change, Error, Routing, ServiceId, Site, Surroundings};
use pki::DnsName;
use quick_cache::sync::{Cache, EntryAction};
use rustls::server::ClientHello;
use tokio::sync::Semaphore;

use crate::http::Proxy;
use crate::http::balancer::Service;
use crate::identities::{Identity, Templates};
use crate::index::{Fingerprint, Found, Index};
use crate::metrics::{self, Metrics};
use crate::services::Services;
use crate::settings::Settings;
use crate::stapling::Wanted;
use crate::tickets::Tickets;

/// Look-ups in the store at a time for names that the index does not know, while it is incomplete.
const UNKNOWN_AT_A_TIME: usize = 16;

/// What all connections of an edge share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) routing: Routing,
    pub(crate) answers: Answers,
    pub(crate) surroundings: Surroundings,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    pub(crate) proxy: Proxy,
    pub(crate) index: Index,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) templates: Templates,
    sites: Cache<Fingerprint, Arc<Site>>,
    services: Services,
    /// `None`: the certificate cannot be served. A change of it says when that is over.
    identities: Cache<CertificateId, Option<Arc<Identity>>>,
    /// Certificates that want an OCSP response of a foreign responder.
    pub(crate) wanted: Wanted,
    unknown: Semaphore,
}

impl Shared {
    pub(crate) fn new(
        (routing, answers): (Routing, Answers),
        surroundings: Surroundings,
        settings: Settings,
        metrics: Metrics,
    ) -> Result<Self, rustls::Error> {
        let tickets = Arc::new(Tickets::new());
        Ok(Self {
            proxy: Proxy::new(&settings, &metrics),
            index: Index::new(),
            templates: Templates::new(tickets.clone())?,
            tickets,
            sites: Cache::new(settings.sites),
            services: Services::new(settings.services),
            identities: Cache::new(settings.identities),
            wanted: Wanted::new(),
            unknown: Semaphore::new(UNKNOWN_AT_A_TIME),
            routing,
            answers,
            surroundings,
            settings,
            metrics,
        })
    }

    /// The site of a name in lower case: the domain of that name, or else the wildcard over it.
    /// Costs nothing but memory for names that nobody has.
    ///
    /// # Errors
    /// When it is not in memory and the store cannot be asked.
    pub(crate) async fn site(&self, name: &str) -> Result<Option<Arc<Site>>, Error> {
        let Some(found) = self.index.find(name) else {
            if self.index.is_complete() {
                return Ok(None);
            }
            return self.unknown_site(name).await;
        };
        if let Some(site) = self.sites.get(&found.fingerprint) {
            self.metrics.looked_up(metrics::Cache::Sites, true);
            return Ok(Some(site));
        }
        self.load_site(name, found).await
    }

    /// A service with its instances.
    ///
    /// # Errors
    /// When it is not in memory and the store cannot be asked.
    pub(crate) async fn service(&self, id: ServiceId) -> Result<Option<Arc<Service>>, Error> {
        self.services.find(self, id).await
    }

    /// The certificate that a site is served with to a client: of two the one without RSA, if the
    /// client can take it.
    ///
    /// # Errors
    /// When it is not in memory and the store cannot be asked.
    pub(crate) async fn identity(
        &self,
        site: &Site,
        hello: &ClientHello<'_>,
    ) -> Result<Option<Arc<Identity>>, Error> {
        let main = self.optional_identity(site.certificate).await?;
        if site.alternate.is_none() {
            return Ok(main);
        }
        let suits = |identity: &&Arc<Identity>| identity.suits(hello);
        let is_best = |identity: &&Arc<Identity>| !identity.is_rsa() && suits(identity);
        if main.as_ref().filter(is_best).is_some() {
            return Ok(main);
        }
        let alternate = self.optional_identity(site.alternate).await?;
        let both = [&main, &alternate];
        let best = both.into_iter().flatten().find(is_best);
        let chosen = best.or_else(|| both.into_iter().flatten().find(suits));
        Ok(chosen.cloned().or(main).or(alternate))
    }

    /// Has the house look for another certificate for a domain, for those who come later.
    pub(crate) fn heal(&self, domain: &str) {
        let (routing, domain) = (self.routing.clone(), domain.to_owned());
        tokio::spawn(async move {
            if let Err(error) = routing.heal(&domain).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(domain, error, "could not look for another certificate");
            }
        });
    }

    /// Takes out what a change makes wrong.
    pub(crate) fn changed(&self, change: &Change) {
        match change {
            Change::DomainAdded(domain) => {
                self.index.insert(domain);
                self.sites.remove(&self.index.fingerprint(domain));
            }
            Change::DomainRemoved(domain) => {
                self.index.remove(domain);
                self.sites.remove(&self.index.fingerprint(domain));
            }
            Change::DomainSwitched(domain) => {
                self.sites.remove(&self.index.fingerprint(domain));
            }
            Change::Service(id) => self.services.changed(*id),
            Change::Certificate(id) => {
                self.identities.remove(id);
            }
        }
    }

    /// The certificates in memory that can be served.
    pub(crate) fn identities(&self) -> impl Iterator<Item = (CertificateId, Arc<Identity>)> + '_ {
        self.identities
            .iter()
            .filter_map(|(id, identity)| Some((id, identity?)))
    }

    /// A certificate, if it is in memory and can be served.
    pub(crate) fn identity_in_memory(&self, id: CertificateId) -> Option<Arc<Identity>> {
        self.identities.peek(&id).flatten()
    }

    /// Puts `new` in the place of `old`, unless a change has taken that out.
    pub(crate) fn replace_identity(
        &self,
        id: CertificateId,
        old: &Arc<Identity>,
        new: Option<Arc<Identity>>,
    ) {
        self.identities
            .entry(&id, Some(Duration::ZERO), |_, value| {
                if value.as_ref().is_some_and(|value| Arc::ptr_eq(value, old)) {
                    *value = new;
                }
                EntryAction::Retain(())
            });
    }

    /// A certificate as the house has it now.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub(crate) async fn load_identity(
        &self,
        id: CertificateId,
    ) -> Result<Option<Arc<Identity>>, Error> {
        let Some(credentials) = self.routing.credentials(id).await? else {
            return Ok(None);
        };
        let now = self.surroundings.now();
        match Identity::new(&self.templates, credentials, now).await {
            Ok(identity) => Ok(Some(Arc::new(identity))),
            Err(error) => {
                tracing::error!(certificate = %id, %error, "a certificate cannot be served");
                Ok(None)
            }
        }
    }

    async fn load_site(&self, name: &str, found: Found) -> Result<Option<Arc<Site>>, Error> {
        let guard = match self
            .sites
            .get_value_or_guard_async(&found.fingerprint)
            .await
        {
            Ok(site) => {
                self.metrics.looked_up(metrics::Cache::Sites, true);
                return Ok(Some(site));
            }
            Err(guard) => guard,
        };
        self.metrics.looked_up(metrics::Cache::Sites, false);
        let site = self.ask(name).await?;
        let Some(site) = site else {
            self.index.forget(found);
            return Ok(None);
        };
        if self.index.fingerprint(&site.domain) == found.fingerprint {
            // Fails when a change came meanwhile: then the next one loads it again.
            let _ = guard.insert(site.clone());
        } else if !found.is_wildcard {
            self.index.forget(found);
        }
        Ok(Some(site))
    }

    async fn unknown_site(&self, name: &str) -> Result<Option<Arc<Site>>, Error> {
        let Ok(_place) = self.unknown.acquire().await else {
            return Ok(None);
        };
        self.metrics.looked_up(metrics::Cache::Sites, false);
        let site = self.ask(name).await?;
        if let Some(site) = &site {
            self.index.insert(&site.domain);
        }
        Ok(site)
    }

    async fn ask(&self, name: &str) -> Result<Option<Arc<Site>>, Error> {
        // What is no name has no domain.
        let Ok(name) = DnsName::parse(name) else {
            return Ok(None);
        };
        Ok(self.routing.site(&name).await?.map(Arc::new))
    }

    async fn optional_identity(
        &self,
        id: Option<CertificateId>,
    ) -> Result<Option<Arc<Identity>>, Error> {
        let Some(id) = id else { return Ok(None) };
        if let Some(identity) = self.identities.get(&id) {
            self.metrics.looked_up(metrics::Cache::Identities, true);
            return Ok(identity);
        }
        let guard = match self.identities.get_value_or_guard_async(&id).await {
            Ok(identity) => {
                self.metrics.looked_up(metrics::Cache::Identities, true);
                return Ok(identity);
            }
            Err(guard) => guard,
        };
        self.metrics.looked_up(metrics::Cache::Identities, false);
        let identity = self.load_identity(id).await?;
        let _ = guard.insert(identity.clone());
        if identity
            .as_ref()
            .is_some_and(|identity| identity.is_foreign)
        {
            self.wanted.add(id);
        }
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_changes_while_it_is_loaded_is_not_kept() {
        let cache: Cache<u32, &str> = Cache::new(16);
        let Err(loading) = cache.get_value_or_guard_async(&1).await else {
            panic!("nobody has put anything in");
        };
        cache.remove(&1);
        assert!(loading.insert("as it was before").is_err());
        assert_eq!(cache.get(&1), None);
    }
}
