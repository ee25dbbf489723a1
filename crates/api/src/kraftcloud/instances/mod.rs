//! `/v1/instances`: instances as a kind of object of this dialect. None is ever run here, so there is
//! nothing to start or stop.

mod object;
mod request;

use std::sync::Arc;

use http::{Method, StatusCode};
use lifecycle::{
    Error, House, Instance, InstanceId, InstanceRef, InstanceView, NewInstanceRequest, Noun, Page,
    Principal,
};

use super::body::{Members as _, missing_reference};
use super::envelope::Reach;
use super::faults::{Code, Fault, ItemFault, Refusal};
use super::fields::Fields;
use super::item::{Detail, Identity};
use super::kind::{Call, Endpoint, Filled, Filter, Head, Kind, named_by};
use super::outcomes::Outcomes;
use super::query;
use super::references::{Reference, Target, merge};
use super::services::require_form;
use crate::exchange::Response;
use object::Shown;

/// What clients want done to instances.
const ACTIONS: [&str; 3] = ["start", "stop", "suspend"];

/// The kind of object that is an instance.
pub(super) struct Instances;

/// The endpoint at these segments after `instances`: an action counts as an update.
pub(super) fn endpoint(method: &Method, segments: &[&str]) -> Result<Endpoint, Refusal> {
    let is_action = |segment: &str| ACTIONS.contains(&segment);
    let is_change = matches!(*method, Method::PUT | Method::POST);
    match segments {
        [action] if is_change && is_action(action) => Ok(Endpoint::Update),
        [one, action] if is_action(action) && is_change => Ok(Endpoint::UpdateOne(named_by(one))),
        [_, action] if is_action(action) => Err(Refusal::wrong_method("PUT, POST")),
        _ => Endpoint::of::<Instances>(method, segments),
    }
}

impl Kind for Instances {
    const KEY: &'static str = "instances";
    const NOUN: Noun = Noun::Instance;
    const ABSENT: StatusCode = StatusCode::OK;
    const METHODS: &'static str = "GET, HEAD, POST, DELETE";
    const METHODS_OF_ONE: &'static str = "GET, HEAD, DELETE";

    type Id = InstanceId;
    type Members = Fields;
    type Order = NewInstanceRequest;
    type Object = Arc<InstanceView>;
    type Shown = Shown;

    fn head(view: &Arc<InstanceView>) -> Head<'_, InstanceId> {
        Head {
            id: view.instance.id,
            uuid: view.instance.id.as_uuid(),
            name: &view.instance.name,
            created_at: view.instance.created_at,
        }
    }

    async fn find_each(
        house: &House,
        principal: &Principal,
        targets: Vec<Target>,
    ) -> Result<Vec<Option<Arc<InstanceView>>>, Error> {
        let references: Vec<InstanceRef> = targets.iter().map(instance).collect();
        house.instances.find_each(principal, &references).await
    }

    async fn list(
        house: &House,
        principal: &Principal,
        _: &Filter,
        page: &Page<InstanceId>,
    ) -> Result<Vec<Arc<InstanceView>>, Error> {
        let listed = house.instances.list(principal, page).await?;
        Ok(listed.into_iter().map(bare).collect())
    }

    async fn fill(
        house: &House,
        principal: &Principal,
        instances: Vec<Arc<InstanceView>>,
    ) -> Result<Filled<Arc<InstanceView>>, Error> {
        let instances = instances.into_iter().map(|view| view.instance.clone());
        let (views, rest) = house.instances.fill(principal, instances.collect()).await?;
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
        let deleted = house.instances.delete(principal, &instance(target)).await?;
        Ok(Identity::of(deleted.id.as_uuid(), &deleted.name))
    }

    async fn show_each(
        house: &House,
        instances: Vec<Arc<InstanceView>>,
    ) -> Result<Vec<Shown>, Error> {
        let shown = instances
            .iter()
            .map(|view| Shown::of(view, &house.certificates));
        Ok(shown.collect())
    }

    fn order(
        house: &House,
        fields: Fields,
    ) -> Result<(Option<String>, NewInstanceRequest), Refusal> {
        let order = request::new_instance(fields)?;
        require_form(house.instances.check_request(&order))?;
        Ok((order.name.clone(), order))
    }

    async fn make(
        house: &House,
        principal: &Principal,
        order: NewInstanceRequest,
    ) -> Result<Arc<InstanceView>, Fault> {
        let made = house.instances.create(principal, order).await?;
        Ok(Arc::new(made))
    }

    async fn update(mut call: Call<'_, Self>) -> Result<Response, Refusal> {
        let mut named = Vec::new();
        for mut object in call.take_objects() {
            named.push(object.take_reference()?);
        }
        let references = merge(query::references(call.query)?, named);
        if references.is_empty() {
            return Err(missing_reference());
        }
        act(&call, &references, Reach::Global).await
    }

    async fn update_one(mut call: Call<'_, Self>, own: Reference) -> Result<Response, Refusal> {
        call.require_nothing_else(&own).await?;
        act(&call, &[own], Reach::Local).await
    }
}

/// What a list knows of a instance before anything else is read.
fn bare(instance: Instance) -> Arc<InstanceView> {
    Arc::new(InstanceView {
        instance,
        service: None,
        is_running: false,
    })
}

/// What the house calls it.
fn instance(target: &Target) -> InstanceRef {
    target.reference(InstanceId::from_uuid)
}

/// Says of each instance that nothing can be done to it.
async fn act(
    call: &Call<'_, Instances>,
    references: &[Reference],
    reach: Reach,
) -> Result<Response, Refusal> {
    let targets = references.iter().map(|one| one.target().clone()).collect();
    let found = Instances::find_each(call.house, &call.principal, targets).await?;
    let mut outcomes = Outcomes::<Instances>::new();
    for (reference, found) in references.iter().zip(found) {
        let fault = match found {
            Some(_) => ItemFault {
                code: Code::NotSupported,
                message: "this server runs no instances: start and stop them where they run"
                    .to_owned(),
            },
            None => reference.not_found(Noun::Instance),
        };
        outcomes.push(reference.identity(), Err(Fault::Item(fault)))?;
    }
    outcomes
        .answer(call.house, Detail::Full, reach, call.started)
        .await
}
