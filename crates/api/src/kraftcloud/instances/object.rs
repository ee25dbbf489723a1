//! Instances as this dialect shows them.

use lifecycle::{Certificates, Instance, InstanceView, ServiceView};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::kraftcloud::item::Identity;
use crate::kraftcloud::services::Domain;
use crate::notation::timestamp;

/// What is shown of an instance beyond its identity.
#[derive(Debug, Serialize)]
pub(in crate::kraftcloud) struct Shown {
    created_at: String,
    state: &'static str,
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_mb: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<Box<RawValue>>,
    #[serde(flatten)]
    address: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_group: Option<ServiceGroup>,
}

/// Where the workload listens.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Address {
    PrivateFqdn(String),
    PrivateIp(String),
}

#[derive(Debug, Serialize)]
struct ServiceGroup {
    #[serde(flatten)]
    identity: Identity,
    domains: Vec<Domain>,
}

impl Shown {
    /// An instance; `certificates` tells which ones of its service are in force.
    pub(super) fn of(view: &InstanceView, certificates: &Certificates) -> Self {
        let InstanceView {
            instance,
            service,
            is_running,
        } = view;
        let Instance {
            image,
            memory_mb,
            args,
            env,
            address,
            created_at,
            ..
        } = instance;
        Self {
            created_at: timestamp(*created_at),
            state: if *is_running { "running" } else { "stopped" },
            image: image.clone(),
            memory_mb: *memory_mb,
            args: RawValue::from_string(args.clone()).ok(),
            env: RawValue::from_string(env.clone()).ok(),
            address: address.clone().map(Address::of),
            service_group: service
                .as_ref()
                .map(|view| ServiceGroup::of(view, certificates)),
        }
    }
}

impl Address {
    fn of(address: String) -> Self {
        match address.parse::<std::net::IpAddr>() {
            Ok(_) => Self::PrivateIp(address),
            Err(_) => Self::PrivateFqdn(address),
        }
    }
}

impl ServiceGroup {
    fn of(view: &ServiceView, certificates: &Certificates) -> Self {
        Self {
            identity: Identity::of(view.service.id.as_uuid(), &view.service.name),
            domains: Domain::each(&view.domains, certificates),
        }
    }
}
