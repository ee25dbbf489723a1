//! PATCH: operations on properties of services. Each is carried out by itself, and answered by an
//! item of its own.

use lifecycle::{House, Noun, ServiceChange};
use serde::Serialize;
use serde_json::value::RawValue;

use super::request::Operation;
use super::{Services, require_form, service};
use crate::exchange::Response;
use crate::kraftcloud::body::{Members as _, missing_reference};
use crate::kraftcloud::envelope::{Reach, carried_out};
use crate::kraftcloud::faults::{Code, Refusal, is_missing};
use crate::kraftcloud::fields::Fields;
use crate::kraftcloud::item::{Identity, Item};
use crate::kraftcloud::kind;
use crate::kraftcloud::outcomes::settle;
use crate::kraftcloud::query;
use crate::kraftcloud::references::Reference;

type Call<'a> = kind::Call<'a, Services>;

/// What is shown of an operation beyond the identity of the service.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Box<RawValue>>,
}

/// PATCH /v1/services.
pub(super) async fn update(mut call: Call<'_>) -> Result<Response, Refusal> {
    let objects = call.take_objects();
    if objects.is_empty() {
        return Err(missing_reference());
    }
    let operations = call.read_each(objects, |house, mut object: Fields| {
        let reference = object.take_reference()?;
        Ok((reference, operation(house, object)?))
    });
    let operations = operations.await?;
    carry_out(&call, operations, Reach::Global).await
}

/// PATCH /v1/services/<uuid>.
pub(super) async fn update_one(mut call: Call<'_>, own: Reference) -> Result<Response, Refusal> {
    let mut others = query::references(call.query)?;
    let objects = call.take_objects();
    if objects.is_empty() {
        let message = "send an operation as a JSON object";
        return Err(Refusal::form(Code::Malformed, message));
    }
    let operations = call.read_each(objects, |house, mut object: Fields| {
        let named = object.take_references()?;
        Ok((named, operation(house, object)?))
    });
    let mut own_operations = Vec::new();
    for (named, operation) in operations.await? {
        others.extend(named);
        own_operations.push((own.clone(), operation));
    }
    call.require_same(&own, &others).await?;
    carry_out(&call, own_operations, Reach::Local).await
}

fn operation(house: &House, object: Fields) -> Result<Operation, Refusal> {
    let operation = Operation::read(object)?;
    require_form(house.services.check_change(&operation.change))?;
    Ok(operation)
}

async fn carry_out(
    call: &Call<'_>,
    operations: Vec<(Reference, Operation)>,
    reach: Reach,
) -> Result<Response, Refusal> {
    let mut items: Vec<Item<Shown>> = Vec::with_capacity(operations.len());
    // A certificate that an operation names may be missing too: that is no 404.
    let mut absent = 0;
    for (reference, Operation { id, change }) in operations {
        let item = match change_one(call, &reference, change).await {
            Ok(identity) => Item::of(identity, None),
            Err(error) => {
                absent += usize::from(is_missing(Noun::Service, &error));
                let nothing_changed = items.iter().all(|item| item.fault().is_some());
                let fault = reference.fault(Noun::Service, error);
                Item::failed(reference.identity(), settle(fault, nothing_changed)?)
            }
        };
        items.push(item.with(Shown { id }));
    }
    let reach = if absent == items.len() {
        reach
    } else {
        Reach::Global
    };
    Ok(carried_out::<Services, _>(&items, reach, call.started))
}

async fn change_one(
    call: &Call<'_>,
    reference: &Reference,
    change: ServiceChange,
) -> Result<Identity, lifecycle::Error> {
    let target = service(reference.target());
    let services = &call.house.services;
    let changed = services.change(&call.principal, &target, change).await?;
    Ok(Identity::of(changed.id.as_uuid(), &changed.name))
}
