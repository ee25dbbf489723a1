//! Services as they are shown: with their domains, what those are served with, and their instances.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use store::{
    Certificate, CertificateId, CertificateRef, InstanceId, Scope, Service, ServiceId, ServiceRef,
};

use super::{Services, not_found};
use crate::{Error, Principal};

/// Most domains and instances that are shown at a time where the rest can follow.
const AT_A_TIME: usize = 20_000;
/// Most domains and instances that are shown where everything has to be there at once.
const AT_ONCE: usize = 100_000;

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

/// How many objects of these sizes, from the first one on, can be shown at a time: at least one.
pub(crate) fn fitting(sizes: impl IntoIterator<Item = usize>) -> usize {
    let mut sum: usize = 0;
    let fits = |(place, size): &(usize, usize)| {
        sum = sum.saturating_add(*size);
        *place == 0 || sum <= AT_A_TIME
    };
    sizes.into_iter().enumerate().take_while(fits).count()
}

/// Refuses to show objects of these sizes at once.
pub(crate) fn require_few(sizes: impl IntoIterator<Item = usize>) -> Result<(), Error> {
    if sizes.into_iter().fold(0, usize::saturating_add) <= AT_ONCE {
        return Ok(());
    }
    Err(Error::invalid(
        "references",
        "the answer would be too long; name fewer of them in one request",
    ))
}

impl Services {
    /// Everything that belongs to these services, or to as many of the first of them as can be shown
    /// at a time; and the first one for which there was no room.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn fill(
        &self,
        principal: &Principal,
        mut services: Vec<Service>,
    ) -> Result<(Vec<ServiceView>, Option<Service>), Error> {
        let sizes = self
            .sizes(services.iter().map(|service| service.id))
            .await?;
        let size = |service: &Service| sizes.get(&service.id).copied().unwrap_or_default();
        let rest = services.split_off(fitting(services.iter().map(size)));
        let views = self.views(principal.scope(), services).await?;
        Ok((views, rest.into_iter().next()))
    }

    /// How many domains and instances services have.
    pub(crate) async fn sizes(
        &self,
        services: impl Iterator<Item = ServiceId>,
    ) -> Result<HashMap<ServiceId, usize>, Error> {
        let distinct: HashSet<ServiceId> = services.collect();
        let distinct: Vec<ServiceId> = distinct.into_iter().collect();
        Ok(self.store.sizes_of_services(&distinct).await?)
    }

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
            if let Some(view) = views.get_mut(place(instance.service_id)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_is_shown_at_a_time_and_no_more_than_fit() {
        for (sizes, expected) in [
            (vec![], 0),
            (vec![0; 1_000], 1_000),
            (vec![AT_A_TIME + 1, 0], 1),
            (vec![AT_A_TIME, 0, 1, 0], 2),
            (vec![1, usize::MAX, 1], 1),
        ] {
            assert_eq!(fitting(sizes.clone()), expected, "{sizes:?}");
        }
    }

    #[test]
    fn what_is_shown_at_once_is_bounded() {
        assert!(require_few([AT_ONCE - 1, 1, 0]).is_ok());
        assert!(require_few([AT_ONCE, 1]).is_err());
        assert!(require_few([usize::MAX, usize::MAX]).is_err());
    }
}
