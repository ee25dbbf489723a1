//! Services in memory. A change of one marks it, and who needs it next reads it again: what comes
//! after the change is served by it, and the counts of its instances go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use lifecycle::{Error, ServiceId};
use quick_cache::sync::Cache;
use tokio::sync::Mutex;

use crate::http::balancer::Service;
use crate::metrics;
use crate::shared::Shared;

/// The services in memory.
#[derive(Debug)]
pub(crate) struct Services(Cache<ServiceId, Option<Arc<Slot>>>);

#[derive(Debug)]
struct Slot {
    service: RwLock<Arc<Service>>,
    is_stale: AtomicBool,
    /// Held by who reads it again.
    reading: Mutex<()>,
}

impl Services {
    /// So many services, at most.
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    /// A service with its instances.
    ///
    /// # Errors
    /// When it is not in memory and the store cannot be asked.
    pub(crate) async fn find(
        &self,
        shared: &Shared,
        id: ServiceId,
    ) -> Result<Option<Arc<Service>>, Error> {
        let slot = match self.0.get(&id) {
            Some(slot) => {
                shared.metrics.looked_up(metrics::Cache::Services, true);
                slot
            }
            None => self.load(shared, id).await?,
        };
        let Some(slot) = slot else { return Ok(None) };
        if slot.is_stale.load(Ordering::Acquire) && !self.refresh(shared, id, &slot).await {
            return Ok(None);
        }
        Ok(Some(slot.service()))
    }

    /// Notes that a service is not as it was.
    pub(crate) fn changed(&self, id: ServiceId) {
        match self.0.peek(&id) {
            Some(Some(slot)) => slot.is_stale.store(true, Ordering::Release),
            // One that is being loaded may be the old one.
            Some(None) | None => {
                self.0.remove(&id);
            }
        }
    }

    async fn load(&self, shared: &Shared, id: ServiceId) -> Result<Option<Arc<Slot>>, Error> {
        let guard = match self.0.get_value_or_guard_async(&id).await {
            Ok(slot) => {
                shared.metrics.looked_up(metrics::Cache::Services, true);
                return Ok(slot);
            }
            Err(guard) => guard,
        };
        shared.metrics.looked_up(metrics::Cache::Services, false);
        let route = shared.routing.service(id).await?;
        let slot = route.map(|route| {
            Arc::new(Slot {
                service: RwLock::new(Arc::new(Service::new(route, None))),
                is_stale: AtomicBool::new(false),
                reading: Mutex::new(()),
            })
        });
        let _ = guard.insert(slot.clone());
        Ok(slot)
    }

    /// Reads a service again; false if it is no more.
    async fn refresh(&self, shared: &Shared, id: ServiceId, slot: &Slot) -> bool {
        let _reading = slot.reading.lock().await;
        if !slot.is_stale.swap(false, Ordering::AcqRel) {
            return true;
        }
        match shared.routing.service(id).await {
            Ok(Some(route)) => {
                let service = Arc::new(Service::new(route, Some(&slot.service())));
                *slot.service.write().unwrap_or_else(PoisonError::into_inner) = service;
                true
            }
            Ok(None) => {
                self.0.remove(&id);
                false
            }
            Err(error) => {
                // What it was is better than nothing.
                slot.is_stale.store(true, Ordering::Release);
                let error = &error as &dyn std::error::Error;
                tracing::warn!(service = %id, error, "could not read a service again");
                true
            }
        }
    }
}

impl Slot {
    fn service(&self) -> Arc<Service> {
        // No code that can panic runs while the lock is held.
        self.service
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
