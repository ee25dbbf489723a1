//! Services: what is published where, and under which domains. This module makes, finds and deletes
//! them; its children read requests, choose certificates, and change what is there.
//!
//! A domain belongs to one service, over all accounts. What it is served with is kept with it and
//! chosen anew whenever the certificates around it change, so that nobody chooses while a client
//! waits for a handshake.

mod assignment;
mod change;
mod domains;
mod follow;
mod installing;
mod naming;
mod ports;
mod request;
mod view;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use store::{
    AccountId, CertificateId, NewDomain, NewEvent, NewService, Page, Service, ServiceFilter,
    ServiceId, ServiceRef, Store,
};
use tokio::sync::{Notify, OnceCell};

use crate::certificates::{MAX_REFERENCES, account_gone};
use crate::settings::Settings;
use crate::{Certificates, Error, Noun, Principal, Surroundings, events};

pub use domains::{DomainRequest, MAX_DOMAINS};
pub use ports::{MAX_PORTS, PortRequest};
pub use request::{Edit, NewServiceRequest, ServiceChange};
pub use view::{DomainView, ServiceView};

pub(crate) use installing::Extent;
pub(crate) use request::Plan;
pub(crate) use view::{fitting, require_few};

/// Draws of a random name, and choices of certificates that are gone a moment later, before giving
/// up.
const DRAWS: u32 = 8;

/// Operations on services.
#[derive(Debug, Clone)]
pub struct Services {
    store: Store,
    surroundings: Surroundings,
    settings: Arc<Settings>,
    certificates: Certificates,
    /// The account that the certificate of the metro domain belongs to, once it was looked up.
    house: Arc<OnceCell<AccountId>>,
    /// Wakes who tells the edge of this process, when what it serves has changed.
    pub(crate) published: Arc<Notify>,
}

/// A service that could be stored as it is.
pub(crate) struct Draft {
    pub(crate) service: NewService,
    pub(crate) domains: Vec<NewDomain>,
    pub(crate) events: Vec<NewEvent>,
    /// Certificates that were requested for it; withdrawn when it is not stored.
    requested: Vec<CertificateId>,
}

impl Services {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        settings: Arc<Settings>,
        certificates: Certificates,
    ) -> Self {
        Self {
            store,
            surroundings,
            settings,
            certificates,
            house: Arc::default(),
            published: Arc::default(),
        }
    }

    /// The form of a request for a service, without looking at anything stored.
    ///
    /// # Errors
    /// Faults of form alone, and [`Error::DomainReserved`].
    pub fn check_request(&self, request: &NewServiceRequest) -> Result<(), Error> {
        request.plan(&self.settings.metro_domain).map(drop)
    }

    /// Creates a service. Each domain is served with the certificate that was chosen for it, or with
    /// the best of the account's that covers it; if none does, one is requested.
    ///
    /// # Errors
    /// Faults of form, see [`Error::is_form_fault`]; [`Error::NameTaken`], [`Error::DomainTaken`],
    /// [`Error::DomainReserved`]; [`Error::NotFound`], [`Error::NotUsable`] and
    /// [`Error::CommonNameMismatch`] for a chosen certificate; [`Error::NoCertificate`];
    /// [`Error::Forbidden`].
    pub async fn create(
        &self,
        principal: &Principal,
        request: NewServiceRequest,
    ) -> Result<ServiceView, Error> {
        principal.require_write()?;
        let plan = request.plan(&self.settings.metro_domain)?;
        let mut draws = 1..DRAWS;
        loop {
            let draft = self.draft(principal, &plan).await?;
            let (service, domains) = (draft.service.clone(), draft.domains.clone());
            let created = self
                .store
                .create_service(service, domains, draft.events.clone())
                .await;
            let Err(error) = created else {
                self.published.notify_one();
                return self.view(principal, draft.service.id).await;
            };
            self.withdraw(principal, &draft).await;
            if draws.next().is_none() || !plan.may_be_drawn_again(&error) {
                return Err(draft.refused(principal, error));
            }
        }
    }

    /// For each reference the service of the caller that it names, in the same order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than [`MAX_REFERENCES`], or when they have very many domains.
    pub async fn find_each(
        &self,
        principal: &Principal,
        references: &[ServiceRef],
    ) -> Result<Vec<Option<Arc<ServiceView>>>, Error> {
        if references.len() > MAX_REFERENCES {
            return Err(Error::invalid(
                "references",
                format!("at most {MAX_REFERENCES} services can be named in one request"),
            ));
        }
        let scope = principal.scope();
        let found = self.store.services_by_refs(scope, references).await?;
        let ids = || found.iter().flatten().map(|service| service.id);
        let sizes = self.sizes(ids()).await?;
        require_few(ids().map(|id| sizes.get(&id).copied().unwrap_or_default()))?;
        let mut distinct: HashMap<ServiceId, Service> = HashMap::new();
        for service in found.iter().flatten() {
            distinct
                .entry(service.id)
                .or_insert_with(|| Service::clone(service));
        }
        let views = self.views(scope, distinct.into_values().collect()).await?;
        let views: HashMap<ServiceId, Arc<ServiceView>> = views
            .into_iter()
            .map(|view| (view.service.id, Arc::new(view)))
            .collect();
        let view = |service: Option<Arc<Service>>| views.get(&service?.id).cloned();
        Ok(found.into_iter().map(view).collect())
    }

    /// A page of the caller's services, ordered by creation, without what belongs to them; see
    /// [`Self::fill`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(
        &self,
        principal: &Principal,
        page: &Page<ServiceId>,
    ) -> Result<Vec<Service>, Error> {
        Ok(self.store.list_services(principal.scope(), page).await?)
    }

    /// The caller's services that meet a filter, after the first `skipped` of them, the oldest first,
    /// at most `limit`; and how many there are in all.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn stretch(
        &self,
        principal: &Principal,
        filter: &ServiceFilter,
        skipped: u64,
        limit: usize,
    ) -> Result<(Vec<Service>, u64), Error> {
        let scope = principal.scope();
        Ok(self
            .store
            .stretch_of_services(scope, filter, skipped, limit)
            .await?)
    }

    /// Deletes a service and frees its domains. Certificates that were requested for them stay.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::HasInstances`]; [`Error::Forbidden`].
    pub async fn delete(
        &self,
        principal: &Principal,
        reference: &ServiceRef,
    ) -> Result<Service, Error> {
        principal.require_write()?;
        let service = self.find_bare(principal, reference).await?;
        let events = self.farewell(principal, &service).await?;
        let scope = principal.scope();
        match self.store.delete_service(scope, service.id, events).await {
            Ok(true) => {
                self.published.notify_one();
                Ok(service)
            }
            Ok(false) => Err(not_found(reference)),
            Err(store::Error::Attached) => Err(Error::HasInstances { name: service.name }),
            Err(error) => Err(error.into()),
        }
    }

    /// The services of the account with these identifiers, with everything that belongs to them.
    pub(crate) async fn views_by_id(
        &self,
        principal: &Principal,
        ids: HashSet<ServiceId>,
    ) -> Result<HashMap<ServiceId, Arc<ServiceView>>, Error> {
        let references: Vec<ServiceRef> = ids.into_iter().map(ServiceRef::Id).collect();
        let scope = principal.scope();
        let found = self.store.services_by_refs(scope, &references).await?;
        let found = found.into_iter().flatten().map(Arc::unwrap_or_clone);
        let views = self.views(scope, found.collect()).await?.into_iter();
        Ok(views
            .map(|view| (view.service.id, Arc::new(view)))
            .collect())
    }

    /// The services whose domains are served with each of the certificates, by id and name.
    ///
    /// # Errors
    /// [`Error::Invalid`] when they are very many, counted as often as a certificate is named.
    pub async fn of_certificates(
        &self,
        certificates: &[CertificateId],
    ) -> Result<HashMap<CertificateId, Vec<(ServiceId, String)>>, Error> {
        let users = self.users(certificates).await?;
        require_few(
            certificates
                .iter()
                .map(|id| users.get(id).map_or(0, Vec::len)),
        )?;
        Ok(users)
    }

    /// How many of these certificates, from the first one on, can be shown with their services at a
    /// time: at least one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn fitting_certificates(
        &self,
        certificates: &[CertificateId],
    ) -> Result<usize, Error> {
        let users = self.users(certificates).await?;
        let sizes = certificates
            .iter()
            .map(|id| users.get(id).map_or(0, Vec::len));
        Ok(fitting(sizes))
    }

    async fn users(
        &self,
        certificates: &[CertificateId],
    ) -> Result<HashMap<CertificateId, Vec<(ServiceId, String)>>, Error> {
        let mut services: HashMap<CertificateId, Vec<(ServiceId, String)>> = HashMap::new();
        for (certificate, service, name) in
            self.store.services_with_certificates(certificates).await?
        {
            services
                .entry(certificate)
                .or_default()
                .push((service, name));
        }
        Ok(services)
    }

    /// The events of the deletion of a service that goes with its last instance; none for one that
    /// would stay.
    pub(crate) async fn deletion_events(
        &self,
        principal: &Principal,
        id: ServiceId,
    ) -> Result<Vec<NewEvent>, Error> {
        match self.store.service(principal.scope(), id).await? {
            Some(service) if !service.is_persistent => self.farewell(principal, &service).await,
            _ => Ok(Vec::new()),
        }
    }

    async fn farewell(
        &self,
        principal: &Principal,
        service: &Service,
    ) -> Result<Vec<NewEvent>, Error> {
        let domains = self.store.domains_of_services(&[service.id]).await?;
        let names = domains.iter().map(|domain| domain.name.as_str());
        let mut events = self.domain_events(principal, service.id, events::DOMAIN_REMOVED, names);
        events.push(self.service_event(
            principal,
            service.id,
            &service.name,
            events::SERVICE_DELETED,
        ));
        Ok(events)
    }

    /// One service of the caller, without what belongs to it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn find(
        &self,
        principal: &Principal,
        reference: &ServiceRef,
    ) -> Result<Service, Error> {
        self.find_bare(principal, reference).await
    }

    pub(crate) async fn find_bare(
        &self,
        principal: &Principal,
        reference: &ServiceRef,
    ) -> Result<Service, Error> {
        let references = std::slice::from_ref(reference);
        let found = self
            .store
            .services_by_refs(principal.scope(), references)
            .await?;
        let found = found.into_iter().flatten().next();
        found
            .map(Arc::unwrap_or_clone)
            .ok_or_else(|| not_found(reference))
    }

    /// A service after `plan`, with names drawn and certificates chosen, or requested, for its
    /// domains.
    pub(crate) async fn draft(&self, principal: &Principal, plan: &Plan) -> Result<Draft, Error> {
        let service = NewService {
            id: ServiceId::from_random(self.surroundings.random()),
            account_id: principal.account_id(),
            name: match &plan.name {
                Some(name) => name.clone(),
                None => naming::random_name(&self.surroundings),
            },
            ports: plan.ports.clone(),
            soft_limit: plan.soft_limit,
            hard_limit: plan.hard_limit,
            autokill: plan.autokill,
            is_persistent: plan.is_persistent,
            environment: plan.environment.clone(),
            created_at: self.surroundings.now(),
        };
        let domains = if plan.domains.is_empty() {
            &vec![self.free_subdomain(plan.name.as_deref())?]
        } else {
            &plan.domains
        };
        self.require_free_name(principal, plan).await?;
        self.require_free(domains, None).await?;
        let assigned = self.assign(principal, domains).await?;
        let names = domains.iter().map(|domain| domain.name.as_str());
        let created = events::SERVICE_CREATED;
        let mut events = vec![self.service_event(principal, service.id, &service.name, created)];
        events.extend(self.domain_events(principal, service.id, events::DOMAIN_ADDED, names));
        Ok(Draft {
            service,
            domains: assigned.domains,
            events,
            requested: assigned.requested,
        })
    }
}

impl Draft {
    /// Why the store did not take the draft.
    pub(crate) fn refused(self, principal: &Principal, error: store::Error) -> Error {
        match error {
            store::Error::DuplicateName | store::Error::DuplicateServiceName => Error::NameTaken {
                noun: Noun::Service,
                name: self.service.name,
            },
            store::Error::DomainTaken(name) => Error::DomainTaken { name },
            store::Error::UnknownAccount => account_gone(principal),
            error => error.into(),
        }
    }
}

impl Plan {
    /// Whether a draft of this plan that the store refused can differ from the next one.
    pub(crate) fn may_be_drawn_again(&self, error: &store::Error) -> bool {
        match error {
            store::Error::DuplicateName | store::Error::DuplicateServiceName => self.name.is_none(),
            store::Error::DomainTaken(_) => self.domains.is_empty(),
            // A certificate went between its choice and its use.
            store::Error::UnknownCertificate => true,
            _ => false,
        }
    }
}

fn not_found(reference: &ServiceRef) -> Error {
    match reference {
        ServiceRef::Id(id) => Error::not_found(Noun::Service, id),
        ServiceRef::Name(name) => Error::not_found(Noun::Service, name),
    }
}
