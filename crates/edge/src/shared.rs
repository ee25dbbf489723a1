//! What all connections share: the way from a name to its site, service and certificate.

use std::sync::Arc;

use crate::http::balancer::Service;
use crate::metrics::Metrics;
use crate::routing::{Routing, ServiceId, Site};
use crate::settings::Settings;

/// What all connections of an edge share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) routing: Routing,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
}

impl Shared {
    /// The site of a name in lower case: the domain of that name, or else the wildcard over it.
    /// Costs nothing but memory for names that nobody has.
    ///
    /// # Errors
    /// When it is not in memory and the store cannot be asked.
    pub(crate) async fn site(&self, name: &str) -> Result<Option<Arc<Site>>, lifecycle::Error> {
        let Ok(name) = pki::DnsName::parse(name) else {
            return Ok(None);
        };
        Ok(self.routing.site(&name).await?.map(Arc::new))
    }

    /// A service with its instances.
    ///
    /// # Errors
    /// When it is not in memory and the store cannot be asked.
    pub(crate) async fn service(
        &self,
        id: ServiceId,
    ) -> Result<Option<Arc<Service>>, lifecycle::Error> {
        let route = self.routing.service(id).await?;
        Ok(route.map(|route| Arc::new(Service::new(route, None))))
    }
}
