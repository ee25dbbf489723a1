//! What the edge needs to know: which names are served, by which service, with which certificate,
//! and what has changed since. It is asked by the house itself and not for an account, so it sees
//! everything; nothing of it may reach a client but through a handshake or a service.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pki::{DnsName, Serial};
use store::{
    AccountId, CertificateId, Domain, EventId, InstanceId, PublishedPort, Role, Scope, ServedKey,
    ServedVersion, ServiceId, Store, Version, VersionId,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::publication::is_younger;
use crate::services::Services;
use crate::{Authorities, Authority, EgressPolicy, Error, Settings, Surroundings, feed};

/// How long a domain is left alone after its certificate was selected again.
const HEALING: Duration = Duration::from_secs(60);

/// A name that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The domain: the name that was asked for, or the wildcard that covers it.
    pub domain: String,
    /// The service that it leads to.
    pub service: ServiceId,
    /// The certificate it is served with.
    pub certificate: Option<CertificateId>,
    /// A certificate with a key of another kind, for clients that cannot use the first.
    pub alternate: Option<CertificateId>,
}

/// Where the requests for a service go.
#[derive(Debug, Clone)]
pub struct Route {
    /// The service.
    pub service: ServiceId,
    /// What it publishes.
    pub ports: Vec<PublishedPort>,
    /// Requests at a time from which an instance is avoided.
    pub soft_limit: u32,
    /// The most requests at a time that an instance gets.
    pub hard_limit: u32,
    /// Its instances that have an address.
    pub backends: Vec<Backend>,
    /// What the edge may connect to for this service.
    pub policy: EgressPolicy,
}

/// An instance that can be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The instance.
    pub instance: InstanceId,
    /// Its IP address or host name, without a port.
    pub address: String,
}

/// What a server needs to prove a name in a handshake.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The version of the certificate.
    pub version: VersionId,
    /// Leaf and intermediates, DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's key.
    pub key: ServedKey,
    /// When the leaf ends.
    pub not_after: OffsetDateTime,
    /// A fresh proof that the leaf is not revoked, when an authority of ours signed it.
    pub staple: Option<Staple>,
}

/// A chain with its key.
pub(crate) struct Bearings {
    pub(crate) version: Version,
    /// Leaf and intermediates, DER, the leaf first.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: ServedKey,
    /// The authority of ours that signed it, and the leaf.
    pub(crate) signed_by: Option<(Arc<Authority>, pki::Certificate)>,
}

/// An OCSP response (RFC 6960) about one leaf, saying that it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staple {
    /// The DER of the `OCSPResponse`.
    pub response: Vec<u8>,
    /// When it was signed.
    pub produced_at: OffsetDateTime,
    /// Until when it may be relied upon.
    pub next_update: OffsetDateTime,
}

/// Something the edge may have remembered is no longer so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This certificate has another current version, was revoked, or is gone.
    Certificate(CertificateId),
    /// This name is served now.
    DomainAdded(String),
    /// This name is no longer served.
    DomainRemoved(String),
    /// This name is served with another certificate.
    DomainSwitched(String),
    /// Ports, limits or instances of this service are others, or it is gone.
    Service(ServiceId),
}

/// A secret from which all nodes make the same keys for TLS session tickets.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketSecret {
    /// Grows by one with each secret; tickets name the one they are made with.
    pub generation: u64,
    /// The secret.
    pub secret: Zeroizing<[u8; 64]>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// Shows nothing of the secret.
impl fmt::Debug for TicketSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TicketSecret")
            .field("generation", &self.generation)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// The edge's view of the house.
#[derive(Debug, Clone)]
pub struct Routing {
    pub(crate) store: Store,
    pub(crate) surroundings: Surroundings,
    settings: Arc<Settings>,
    authorities: Authorities,
    services: Services,
    healed: Arc<Mutex<HashMap<String, OffsetDateTime>>>,
}

impl Routing {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        settings: Arc<Settings>,
        authorities: Authorities,
        services: Services,
    ) -> Self {
        Self {
            store,
            surroundings,
            settings,
            authorities,
            services,
            healed: Arc::default(),
        }
    }

    /// Names of all domains in their order, those after the name `after`, at most `limit` (and
    /// never more than 10,000).
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn names(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        Ok(self.store.domain_names_after(after, limit).await?)
    }

    /// What serves `name`: the domain of that name, or else the wildcard that covers it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn site(&self, name: &DnsName) -> Result<Option<Site>, Error> {
        let exact = name.as_str();
        let wildcard = exact
            .split_once('.')
            .map(|(_, parent)| format!("*.{parent}"));
        let names: Vec<&str> = std::iter::once(exact).chain(wildcard.as_deref()).collect();
        let mut found = self.store.routed(&names).await?;
        let best = found.iter().position(|domain| domain.name == exact);
        let domain = match best {
            Some(place) => Some(found.swap_remove(place)),
            None => found.pop(),
        };
        Ok(domain.map(|domain| {
            let Domain {
                name,
                service_id,
                certificate_id,
                alternate_id,
                ..
            } = domain;
            Site {
                domain: name,
                service: service_id,
                certificate: certificate_id,
                alternate: alternate_id,
            }
        }))
    }

    /// Where the requests for a service go; `None` if there is no such service.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn service(&self, id: ServiceId) -> Result<Option<Route>, Error> {
        let Some(service) = self.store.service(Scope::Everything, id).await? else {
            return Ok(None);
        };
        let instances = self.store.instances_of_services(&[id]).await?;
        let backends = instances.into_iter().filter_map(|instance| {
            Some(Backend {
                instance: instance.id,
                address: instance.address?,
            })
        });
        Ok(Some(Route {
            service: id,
            ports: service.ports,
            soft_limit: service.soft_limit,
            hard_limit: service.hard_limit,
            backends: backends.collect(),
            policy: self.policy(service.account_id).await?,
        }))
    }

    /// What a certificate is served with. `None` if there is no such certificate, it has no
    /// version yet or none with a stored key, or its version was revoked. One that has expired is
    /// still served: better than nothing, and clients decide.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::NotFound`] for an authority that has disappeared.
    pub async fn credentials(&self, id: CertificateId) -> Result<Option<Credentials>, Error> {
        let Some(bearings) = self.bearings(id).await? else {
            return Ok(None);
        };
        let Bearings {
            version,
            chain,
            key,
            signed_by,
        } = bearings;
        let staple = match signed_by {
            Some((authority, leaf)) => self.staple(&authority, &leaf, &version).await,
            None => None,
        };
        Ok(Some(Credentials {
            version: version.id,
            chain,
            key,
            not_after: version.not_after,
            staple,
        }))
    }

    /// As [`Self::credentials`], without a staple.
    pub(crate) async fn bearings(&self, id: CertificateId) -> Result<Option<Bearings>, Error> {
        let Some(served) = self.store.served_version(id).await? else {
            return Ok(None);
        };
        let ServedVersion {
            version,
            issuer,
            chain: stored,
            key,
        } = served;
        let mut chain = vec![stored.leaf.clone()];
        chain.extend(stored.intermediates);
        let mut signed_by = None;
        if let (Some(_), Some(issuer)) = (version.authority_id, &issuer) {
            let authority = self.authorities.named(issuer).await?;
            let leaf = pki::Certificate::from_der(&stored.leaf).map_err(Error::signing)?;
            let intermediates = authority.intermediates_of(&leaf);
            chain.extend(intermediates.iter().map(|issuer| issuer.der().to_vec()));
            signed_by = Some((authority, leaf));
        }
        Ok(Some(Bearings {
            version,
            chain,
            key,
            signed_by,
        }))
    }

    /// Selects the certificate of a domain again that could not be served; at most once a minute
    /// for each domain. A change is told by the feed.
    ///
    /// # Errors
    /// As creating a service with this domain.
    pub async fn heal(&self, domain: &str) -> Result<(), Error> {
        if !self.may_heal(domain) {
            return Ok(());
        }
        let domains = self
            .store
            .domains_named(Scope::Everything, &[domain])
            .await?;
        self.services.follow(&domains).await?;
        Ok(())
    }

    /// The place in the change feed up to which everything has happened that is seen from now on.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn position(&self) -> Result<Option<EventId>, Error> {
        Ok(self.store.last_event().await?)
    }

    /// What changed after a place in the feed, and the place up to which that is told. There may
    /// be more when the place has moved.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn changes(
        &self,
        after: Option<EventId>,
    ) -> Result<(Vec<Change>, Option<EventId>), Error> {
        let stretch = feed::stretch(&self.store, after).await?;
        let concerned = feed::concerned(&self.store, &stretch.events).await?;
        let changes = concerned.into_iter().filter_map(feed::change);
        Ok((changes.collect(), stretch.place))
    }

    /// A fresh staple for a version that is not revoked. A handshake does without one rather than
    /// fail.
    async fn staple(
        &self,
        authority: &Arc<Authority>,
        leaf: &pki::Certificate,
        version: &Version,
    ) -> Option<Staple> {
        if version.not_after <= self.surroundings.now() {
            return None;
        }
        let serial = Serial::from_be_bytes(&version.serial)?;
        let tier = authority.issuer_of(leaf);
        match self.authorities.staple(authority, tier, &serial).await {
            Ok(staple) => staple,
            Err(error) => {
                tracing::warn!(
                    version = %version.id,
                    error = &error as &dyn std::error::Error,
                    "could not sign a staple"
                );
                None
            }
        }
    }

    async fn policy(&self, account: AccountId) -> Result<EgressPolicy, Error> {
        let account = self.store.account(account).await?;
        let is_administrator = account.is_some_and(|account| account.role == Role::Admin);
        Ok(self.settings.backends.for_account(is_administrator))
    }

    fn may_heal(&self, domain: &str) -> bool {
        let now = self.surroundings.now();
        // Each change is one call on the map, so a panic elsewhere leaves nothing half done.
        let mut healed = self.healed.lock().unwrap_or_else(PoisonError::into_inner);
        if healed
            .get(domain)
            .is_some_and(|then| is_younger(*then, HEALING, now))
        {
            return false;
        }
        // Seldom, because very many may have to be healed at a time.
        if healed.len() == healed.capacity() {
            healed.retain(|_, then| is_younger(*then, HEALING, now));
            let remembered = healed.len();
            healed.reserve(remembered);
        }
        healed.insert(domain.to_owned(), now);
        true
    }
}
