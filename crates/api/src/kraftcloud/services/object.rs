//! Services as this dialect shows them.

use std::sync::Arc;

use lifecycle::{Certificate, Certificates, DomainView, ServiceView};
use serde::Serialize;

use crate::kraftcloud::certificates::state;
use crate::kraftcloud::item::Identity;
use crate::notation::{PortView, timestamp};

/// What is shown of a service beyond its identity.
#[derive(Debug, Serialize)]
pub(in crate::kraftcloud) struct Shown {
    created_at: String,
    persistent: bool,
    autoscale: bool,
    soft_limit: u32,
    hard_limit: u32,
    /// The first domain, for clients that know only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    fqdn: Option<String>,
    services: Vec<PortView>,
    domains: Vec<Domain>,
    instances: Vec<Identity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    autokill: Option<Autokill>,
}

/// A domain with the certificate that it is served with, if that is one of the account's.
#[derive(Debug, Serialize)]
pub(in crate::kraftcloud) struct Domain {
    fqdn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateOfDomain>,
}

#[derive(Debug, Serialize)]
struct CertificateOfDomain {
    #[serde(flatten)]
    identity: Identity,
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct Autokill {
    time_ms: u64,
}

impl Shown {
    /// A service; `certificates` tells which ones are in force.
    pub(super) fn of(view: &ServiceView, certificates: &Certificates) -> Self {
        let ServiceView {
            service,
            domains,
            instances,
        } = view;
        Self {
            created_at: timestamp(service.created_at),
            persistent: service.is_persistent,
            autoscale: false,
            soft_limit: service.soft_limit,
            hard_limit: service.hard_limit,
            fqdn: domains.first().map(|domain| domain.name.clone()),
            services: service.ports.iter().map(PortView::of).collect(),
            domains: Domain::each(domains, certificates),
            instances: instances
                .iter()
                .map(|(id, name)| Identity::of(id.as_uuid(), name))
                .collect(),
            autokill: service.autokill.map(|time| Autokill {
                time_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }
}

impl Domain {
    /// These domains; `certificates` tells which ones are in force.
    pub(in crate::kraftcloud) fn each(
        domains: &[DomainView],
        certificates: &Certificates,
    ) -> Vec<Self> {
        let shown = domains.iter().map(|domain| Self {
            fqdn: domain.name.clone(),
            certificate: domain
                .certificate
                .as_ref()
                .map(|certificate| CertificateOfDomain::of(certificate, certificates)),
        });
        shown.collect()
    }
}

impl CertificateOfDomain {
    fn of(certificate: &Arc<Certificate>, certificates: &Certificates) -> Self {
        Self {
            identity: Identity::of(certificate.id.as_uuid(), &certificate.name),
            state: state(certificate, certificates),
        }
    }
}
