//! Instances: where the workloads of services listen. The house runs none of them; it knows their
//! addresses, and looks whether they accept connections.

mod probe;
mod request;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use store::{
    INSTANCES_LIMIT, Instance, InstanceId, InstanceRef, InstanceRemoval, NewEvent, NewInstance,
    Page, Protocol, PublishedPort, Service, ServiceId, Store,
};

use self::probe::{Prober, Target};
use self::request::{InstancePlan, PlannedService};
use crate::certificates::{MAX_REFERENCES, account_gone};
use crate::services::{ServiceView, fitting, require_few};
use crate::settings::Settings;
use crate::{EgressPolicy, Error, Noun, Principal, Services, Surroundings, events};

pub use request::{NewInstanceRequest, ServiceChoice};

/// Draws of random names before giving up.
const DRAWS: u32 = 8;

/// As many octets of arguments and environment weigh as much as a domain that is shown.
const TEXT: usize = 256;

/// Operations on instances.
#[derive(Debug, Clone)]
pub struct Instances {
    store: Store,
    surroundings: Surroundings,
    settings: Arc<Settings>,
    services: Services,
    prober: Prober,
}

/// An instance with its service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceView {
    /// The instance.
    pub instance: Instance,
    /// The service that it works for.
    pub service: Option<Arc<ServiceView>>,
    /// Whether it accepts connections.
    pub is_running: bool,
}

impl Instances {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        settings: Arc<Settings>,
        services: Services,
    ) -> Self {
        Self {
            store,
            surroundings,
            settings,
            services,
            prober: Prober::default(),
        }
    }

    /// The form of a request for an instance, without looking at anything stored.
    ///
    /// # Errors
    /// Faults of form alone, and [`Error::DomainReserved`].
    pub fn check_request(&self, request: &NewInstanceRequest) -> Result<(), Error> {
        request.clone().plan(&self.settings.metro_domain).map(drop)
    }

    /// Whether an instance may have this address, without looking at anything stored.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no address, and [`Error::BackendForbidden`].
    pub fn check_address(&self, principal: &Principal, address: &str) -> Result<(), Error> {
        request::check_address(&request::address(address)?, self.policy(principal))
    }

    /// Creates an instance, and the service that comes with it.
    ///
    /// # Errors
    /// Faults of form, see [`Error::is_form_fault`]; [`Error::NotFound`] for the service;
    /// [`Error::NameTaken`], [`Error::BackendForbidden`], [`Error::Forbidden`]; [`Error::Unfit`] for a
    /// service that has very many instances; for a new service
    /// those of [`Services::create`].
    pub async fn create(
        &self,
        principal: &Principal,
        request: NewInstanceRequest,
    ) -> Result<InstanceView, Error> {
        principal.require_write()?;
        let plan = request.plan(&self.settings.metro_domain)?;
        if let Some(address) = &plan.address {
            request::check_address(address, self.policy(principal))?;
        }
        let mut draws = 1..DRAWS;
        loop {
            let (service_id, draft) = match &plan.service {
                None => (None, None),
                Some(PlannedService::Existing(reference)) => {
                    let service = self.services.find_bare(principal, reference).await?;
                    (Some(service.id), None)
                }
                Some(PlannedService::New(service)) => {
                    let draft = self.services.draft(principal, service).await?;
                    (Some(draft.service.id), Some((service, draft)))
                }
            };
            let instance = self.instance(principal, &plan, service_id)?;
            let (id, name) = (instance.id, instance.name.clone());
            let new_service = draft
                .as_ref()
                .map(|(_, draft)| (draft.service.clone(), draft.domains.clone()));
            let mut events = vec![self.event(principal, id, service_id, events::INSTANCE_CREATED)];
            events.extend(draft.iter().flat_map(|(_, draft)| draft.events.clone()));
            let created = self
                .store
                .create_instance(instance, new_service, events)
                .await;
            let Err(error) = created else {
                self.services.published.notify_one();
                return self.view(principal, id).await;
            };
            if let Some((_, draft)) = &draft {
                self.services.withdraw(principal, draft).await;
            }
            let is_drawn_again = match (&error, &draft) {
                (store::Error::DuplicateName, _) => plan.name.is_none(),
                (error, Some((service, _))) => service.may_be_drawn_again(error),
                _ => false,
            };
            if draws.next().is_some() && is_drawn_again {
                continue;
            }
            return Err(match (error, draft) {
                (store::Error::DuplicateName, _) => Error::NameTaken {
                    noun: Noun::Instance,
                    name,
                },
                (store::Error::UnknownAccount, _) => account_gone(principal),
                (store::Error::Full, _) => Error::Unfit {
                    reason: format!("a service has at most {INSTANCES_LIMIT} instances"),
                },
                (error, Some((_, draft))) => draft.refused(principal, error),
                (error, None) => error.into(),
            });
        }
    }

    /// For each reference the instance of the caller that it names, in the same order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than [`MAX_REFERENCES`], or when their services have very many
    /// domains.
    pub async fn find_each(
        &self,
        principal: &Principal,
        references: &[InstanceRef],
    ) -> Result<Vec<Option<Arc<InstanceView>>>, Error> {
        if references.len() > MAX_REFERENCES {
            return Err(Error::invalid(
                "references",
                format!("at most {MAX_REFERENCES} instances can be named in one request"),
            ));
        }
        let scope = principal.scope();
        let found = self.store.instances_by_refs(scope, references).await?;
        require_few(
            self.sizes(found.iter().flatten().map(AsRef::as_ref))
                .await?,
        )?;
        let distinct: HashMap<InstanceId, Instance> = found
            .iter()
            .flatten()
            .map(|instance| (instance.id, Instance::clone(instance)))
            .collect();
        let views = self.views(principal, distinct.into_values().collect());
        let views: HashMap<InstanceId, Arc<InstanceView>> = views
            .await?
            .into_iter()
            .map(|view| (view.instance.id, Arc::new(view)))
            .collect();
        let view = |instance: Option<Arc<Instance>>| views.get(&instance?.id).cloned();
        Ok(found.into_iter().map(view).collect())
    }

    /// A page of the caller's instances, ordered by creation, without what belongs to them; see
    /// [`Self::fill`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(
        &self,
        principal: &Principal,
        page: &Page<InstanceId>,
    ) -> Result<Vec<Instance>, Error> {
        Ok(self.store.list_instances(principal.scope(), page).await?)
    }

    /// Everything that belongs to these instances, or to as many of the first of them as can be
    /// shown at a time; and the first one for which there was no room.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn fill(
        &self,
        principal: &Principal,
        mut instances: Vec<Instance>,
    ) -> Result<(Vec<InstanceView>, Option<Instance>), Error> {
        let sizes = self.sizes(instances.iter()).await?;
        let rest = instances.split_off(fitting(sizes));
        let views = self.views(principal, instances).await?;
        Ok((views, rest.into_iter().next()))
    }

    /// Deletes an instance, and with the last one of a service that came with its instances that
    /// service too.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Forbidden`].
    pub async fn delete(
        &self,
        principal: &Principal,
        reference: &InstanceRef,
    ) -> Result<Instance, Error> {
        principal.require_write()?;
        let instance = self.find_bare(principal, reference).await?;
        let (id, service) = (instance.id, instance.service_id);
        let gone = self.event(principal, id, service, events::INSTANCE_DELETED);
        let service_events = match instance.service_id {
            Some(service) => self.services.deletion_events(principal, service).await?,
            None => Vec::new(),
        };
        let removal = self
            .store
            .delete_instance(principal.scope(), instance.id, vec![gone], service_events)
            .await?;
        self.services.published.notify_one();
        match removal {
            InstanceRemoval::NotFound => Err(not_found(reference)),
            InstanceRemoval::Removed | InstanceRemoval::RemovedWithService(_) => Ok(instance),
        }
    }

    async fn find_bare(
        &self,
        principal: &Principal,
        reference: &InstanceRef,
    ) -> Result<Instance, Error> {
        let references = std::slice::from_ref(reference);
        let found = self
            .store
            .instances_by_refs(principal.scope(), references)
            .await?;
        let found = found.into_iter().flatten().next();
        found
            .map(Arc::unwrap_or_clone)
            .ok_or_else(|| not_found(reference))
    }

    async fn view(&self, principal: &Principal, id: InstanceId) -> Result<InstanceView, Error> {
        let reference = InstanceRef::Id(id);
        let instance = self.find_bare(principal, &reference).await?;
        let views = self.views(principal, vec![instance]).await?;
        let view = views.into_iter().next();
        view.ok_or_else(|| not_found(&reference))
    }

    /// How much is shown of each of these instances.
    async fn sizes<'a>(
        &self,
        instances: impl Iterator<Item = &'a Instance> + Clone,
    ) -> Result<Vec<usize>, Error> {
        let services = instances.clone().filter_map(|instance| instance.service_id);
        let services = self.services.sizes(services).await?;
        let size = |instance: &Instance| {
            let texts = (instance.args.len() + instance.env.len()) / TEXT;
            let service = instance.service_id.and_then(|id| services.get(&id));
            texts + service.copied().unwrap_or_default()
        };
        Ok(instances.map(size).collect())
    }

    /// `instances` with their services, in the same order.
    async fn views(
        &self,
        principal: &Principal,
        instances: Vec<Instance>,
    ) -> Result<Vec<InstanceView>, Error> {
        let ids: HashSet<ServiceId> = instances
            .iter()
            .filter_map(|instance| instance.service_id)
            .collect();
        let services = self.services.views_by_id(principal, ids).await?;
        let policy = self.policy(principal);
        let with_services = instances.into_iter().map(|instance| {
            let service = instance
                .service_id
                .and_then(|id| services.get(&id).cloned());
            let target = service
                .as_ref()
                .and_then(|view| target(&instance, &view.service, policy));
            (instance, service, target)
        });
        let with_services: Vec<_> = with_services.collect();
        let targets = with_services
            .iter()
            .filter_map(|(_, _, target)| target.clone());
        let running = self.prober.running(targets.collect()).await;
        let view = |(instance, service, target): (_, _, Option<Target>)| InstanceView {
            instance,
            service,
            is_running: target.is_some_and(|target| running.contains(&target)),
        };
        Ok(with_services.into_iter().map(view).collect())
    }

    fn instance(
        &self,
        principal: &Principal,
        plan: &InstancePlan,
        service_id: Option<ServiceId>,
    ) -> Result<NewInstance, Error> {
        let encoded = |error: serde_json::Error| Error::invalid("args", error.to_string());
        Ok(NewInstance {
            id: InstanceId::from_random(self.surroundings.random()),
            account_id: principal.account_id(),
            service_id,
            name: plan.name(&self.surroundings),
            image: plan.image.clone(),
            memory_mb: plan.memory_mb,
            args: serde_json::to_string(&plan.args).map_err(encoded)?,
            env: serde_json::to_string(&plan.env).map_err(encoded)?,
            address: plan.address.clone(),
            created_at: self.surroundings.now(),
        })
    }

    fn event(
        &self,
        principal: &Principal,
        id: InstanceId,
        service: Option<ServiceId>,
        kind: &'static str,
    ) -> NewEvent {
        let service = service.map(|id| id.to_string()).unwrap_or_default();
        events::of(
            &self.surroundings,
            principal.account_name(),
            Some(principal.account_id()),
            kind,
            Some(id.as_uuid()),
            &service,
        )
    }

    /// Where the caller's instances may be.
    fn policy(&self, principal: &Principal) -> EgressPolicy {
        let is_administrator = principal.is_administrator();
        self.settings.backends.for_account(is_administrator)
    }
}

/// Where the workload of an instance should be listening: on the destination of the first port that
/// clients reach it through.
fn target(instance: &Instance, service: &Service, policy: EgressPolicy) -> Option<Target> {
    let reaches = |port: &&PublishedPort| port.protocol == Protocol::Tcp && !port.handlers.redirect;
    let port = service.ports.iter().find(reaches)?;
    Some(Target {
        address: instance.address.clone()?,
        port: port.destination_port,
        policy,
    })
}

fn not_found(reference: &InstanceRef) -> Error {
    match reference {
        InstanceRef::Id(id) => Error::not_found(Noun::Instance, id),
        InstanceRef::Name(name) => Error::not_found(Noun::Instance, name),
    }
}
