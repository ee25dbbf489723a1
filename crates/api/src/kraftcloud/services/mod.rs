//! `/v1/services`: service groups as a kind of object of this dialect.

mod changing;
mod object;
mod request;

use std::sync::Arc;

use http::StatusCode;
use lifecycle::{
    Error, House, NewServiceRequest, Noun, Page, Principal, Service, ServiceId, ServiceRef,
    ServiceView,
};

use super::faults::{Fault, Refusal};
use super::fields::Fields;
use super::item::Identity;
use super::kind::{Call, Filled, Filter, Head, Kind};
use super::references::{Reference, Target};
use crate::exchange::Response;
use object::Shown;

pub(super) use object::Domain;
pub(super) use request::service_of_instance;

/// The kind of object that is a service.
pub(super) struct Services;

impl Kind for Services {
    const KEY: &'static str = "service_groups";
    const NOUN: Noun = Noun::Service;
    const ABSENT: StatusCode = StatusCode::NOT_FOUND;
    const METHODS: &'static str = "GET, HEAD, POST, PATCH, DELETE";
    const METHODS_OF_ONE: &'static str = "GET, HEAD, PATCH, DELETE";

    type Id = ServiceId;
    type Members = Fields;
    type Order = NewServiceRequest;
    type Object = Arc<ServiceView>;
    type Shown = Shown;

    fn head(view: &Arc<ServiceView>) -> Head<'_, ServiceId> {
        Head {
            id: view.service.id,
            uuid: view.service.id.as_uuid(),
            name: &view.service.name,
            created_at: view.service.created_at,
        }
    }

    async fn find_each(
        house: &House,
        principal: &Principal,
        targets: Vec<Target>,
    ) -> Result<Vec<Option<Arc<ServiceView>>>, Error> {
        let references: Vec<ServiceRef> = targets.iter().map(service).collect();
        house.services.find_each(principal, &references).await
    }

    async fn list(
        house: &House,
        principal: &Principal,
        _: &Filter,
        page: &Page<ServiceId>,
    ) -> Result<Vec<Arc<ServiceView>>, Error> {
        let listed = house.services.list(principal, page).await?;
        Ok(listed.into_iter().map(bare).collect())
    }

    async fn fill(
        house: &House,
        principal: &Principal,
        services: Vec<Arc<ServiceView>>,
    ) -> Result<Filled<Arc<ServiceView>>, Error> {
        let services = services.into_iter().map(|view| view.service.clone());
        let (views, rest) = house.services.fill(principal, services.collect()).await?;
        Ok(Filled {
            objects: views.into_iter().map(Arc::new).collect(),
            rest: rest.map(bare),
        })
    }

    async fn delete(
        house: &House,
        principal: &Principal,
        target: &Target,
    ) -> Result<Identity, Error> {
        let deleted = house.services.delete(principal, &service(target)).await?;
        Ok(Identity::of(deleted.id.as_uuid(), &deleted.name))
    }

    async fn show_each(
        house: &House,
        services: Vec<Arc<ServiceView>>,
    ) -> Result<Vec<Shown>, Error> {
        let shown = services
            .iter()
            .map(|view| Shown::of(view, &house.certificates));
        Ok(shown.collect())
    }

    fn order(
        house: &House,
        fields: Fields,
    ) -> Result<(Option<String>, NewServiceRequest), Refusal> {
        let order = request::new_service(fields)?;
        require_form(house.services.check_request(&order))?;
        Ok((order.name.clone(), order))
    }

    async fn make(
        house: &House,
        principal: &Principal,
        order: NewServiceRequest,
    ) -> Result<Arc<ServiceView>, Fault> {
        let made = house.services.create(principal, order).await?;
        Ok(Arc::new(made))
    }

    async fn update(call: Call<'_, Self>) -> Result<Response, Refusal> {
        changing::update(call).await
    }

    async fn update_one(call: Call<'_, Self>, own: Reference) -> Result<Response, Refusal> {
        changing::update_one(call, own).await
    }
}

/// What a list knows of a service before anything else is read.
fn bare(service: Service) -> Arc<ServiceView> {
    Arc::new(ServiceView {
        service,
        domains: Vec::new(),
        instances: Vec::new(),
    })
}

/// What the house calls it.
pub(super) fn service(target: &Target) -> ServiceRef {
    target.reference(ServiceId::from_uuid)
}

/// Refuses what is wrong in form. What else a check found out is for the item to tell.
pub(super) fn require_form(checked: Result<(), Error>) -> Result<(), Refusal> {
    match checked.map_err(Fault::from) {
        Err(Fault::Request(refusal)) => Err(refusal),
        Err(Fault::Item(_)) | Ok(()) => Ok(()),
    }
}
