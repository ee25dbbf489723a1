//! Services as they are shown: with their domains, what those are served with, and their instances.

use std::collections::HashMap;
use std::sync::Arc;

use store::{
    Certificate, CertificateId, CertificateRef, InstanceId, Scope, Service, ServiceId, ServiceRef,
};

use super::{Services, not_found};
use crate::{Error, Principal};

/// A service with everything that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// The service.
    pub service: Service,
    /// Its domains, in the order in which they were given.
    pub domains: Vec<DomainView>,
    /// Its instances, by id and name, the oldest first.
    pub instances: Vec<(InstanceId, String)>,
}

/// A domain of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainView {
    /// Its full name, without final dot.
    pub name: String,
    /// What it is served with; `None` for subdomains of the metro domain, whose certificate is the
    /// house's.
    pub certificate: Option<Arc<Certificate>>,
}

impl Services {
    /// The service `id` with everything that belongs to it.
    pub(super) async fn view(
        &self,
        principal: &Principal,
        id: ServiceId,
    ) -> Result<ServiceView, Error> {
        let reference = ServiceRef::Id(id);
        let service = self.find_bare(principal, &reference).await?;
        let views = self.views(principal.scope(), vec![service]).await?;
        let view = views.into_iter().next();
        view.ok_or_else(|| not_found(&reference))
    }

    /// `services` with everything that belongs to them, in the same order.
    pub(crate) async fn views(
        &self,
        scope: Scope,
        services: Vec<Service>,
    ) -> Result<Vec<ServiceView>, Error> {
        let ids: Vec<ServiceId> = services.iter().map(|service| service.id).collect();
        let domains = self.store.domains_of_services(&ids).await?;
        let instances = self.store.instances_of_services(&ids).await?;
        let certificates = domains.iter().filter_map(|domain| domain.certificate_id);
        let certificates = self
            .certificates_by_id(scope, certificates.collect())
            .await?;
        let mut views: Vec<ServiceView> = services
            .into_iter()
            .map(|service| ServiceView {
                service,
                domains: Vec::new(),
                instances: Vec::new(),
            })
            .collect();
        let mut places = HashMap::with_capacity(views.len());
        for (place, id) in ids.into_iter().enumerate() {
            places.insert(id, place);
        }
        let place = |service| places.get(&service).copied().unwrap_or(usize::MAX);
        for domain in domains {
            if let Some(view) = views.get_mut(place(domain.service_id)) {
                let certificate = domain.certificate_id;
                view.domains.push(DomainView {
                    name: domain.name,
                    certificate: certificate.and_then(|id| certificates.get(&id).cloned()),
                });
            }
        }
        for instance in instances {
            let service = instance.service_id.map(place);
            if let Some(view) = service.and_then(|place| views.get_mut(place)) {
                view.instances.push((instance.id, instance.name));
            }
        }
        Ok(views)
    }

    /// Those of the certificates that lie in the scope: what belongs to the house, or to another
    /// account, is not shown.
    async fn certificates_by_id(
        &self,
        scope: Scope,
        mut ids: Vec<CertificateId>,
    ) -> Result<HashMap<CertificateId, Arc<Certificate>>, Error> {
        ids.sort_unstable();
        ids.dedup();
        let references: Vec<CertificateRef> = ids.into_iter().map(CertificateRef::Id).collect();
        let found = self.store.certificates_by_refs(scope, &references).await?;
        let found = found.into_iter().flatten();
        Ok(found.map(|found| (found.id, found)).collect())
    }
}
