//! What the tests of this module share.

use crate::routing::{Backend, InstanceId, Route, ServiceId};

pub(super) fn instance_id(number: u128) -> InstanceId {
    format!("{number:032x}").parse().unwrap()
}

pub(super) fn service_id() -> ServiceId {
    format!("{:032x}", 1).parse().unwrap()
}

/// A service with an instance at each of these addresses.
pub(super) fn route<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Route {
    let backends = addresses
        .into_iter()
        .zip(0..)
        .map(|(address, number)| Backend {
            instance: instance_id(number),
            address: address.to_owned(),
        });
    Route {
        service: service_id(),
        ports: Vec::new(),
        soft_limit: 1,
        hard_limit: 65_535,
        backends: backends.collect(),
        policy: lifecycle::EgressPolicy::BACKENDS,
    }
}
