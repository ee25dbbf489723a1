//! Services for tests to make and look at.

use lifecycle::{
    CertificateFilter, DomainRequest, Error, NewServiceRequest, Order, Page, PageStart,
    PortRequest, Principal, Protocol, ServiceId, ServiceRef, ServiceView, StateKind,
};
use pki::KeyAlgorithm;

use super::Fixture;

pub(crate) const HTTPS: PortRequest = PortRequest {
    port: 443,
    destination_port: Some(8080),
    handlers: None,
    protocol: Protocol::Tcp,
};

pub(crate) async fn fixture() -> Fixture {
    Fixture::new(KeyAlgorithm::P256).await
}

pub(crate) fn domain(name: &str) -> DomainRequest {
    DomainRequest {
        name: name.to_owned(),
        certificate: None,
    }
}

pub(crate) fn request(domains: &[&str]) -> NewServiceRequest {
    NewServiceRequest {
        ports: vec![HTTPS],
        domains: domains.iter().copied().map(domain).collect(),
        is_persistent: true,
        ..NewServiceRequest::default()
    }
}

pub(crate) fn named(name: &str, domains: &[&str]) -> NewServiceRequest {
    NewServiceRequest {
        name: Some(name.to_owned()),
        ..request(domains)
    }
}

pub(crate) fn by_id(view: &ServiceView) -> ServiceRef {
    ServiceRef::Id(view.service.id)
}

pub(crate) fn names(view: &ServiceView) -> Vec<&str> {
    view.domains
        .iter()
        .map(|domain| domain.name.as_str())
        .collect()
}

pub(crate) fn page() -> Page<ServiceId> {
    Page {
        from: PageStart::Beginning,
        limit: 100,
        order: Order::Ascending,
    }
}

impl Fixture {
    pub(crate) async fn create_service(&self, request: NewServiceRequest) -> ServiceView {
        let services = &self.house().services;
        services.create(&self.principal, request).await.unwrap()
    }

    pub(crate) async fn refused(&self, principal: &Principal, request: NewServiceRequest) -> Error {
        let services = &self.house().services;
        services.create(principal, request).await.unwrap_err()
    }

    pub(crate) async fn show(&self, reference: &ServiceRef) -> Option<ServiceView> {
        let services = &self.house().services;
        let references = std::slice::from_ref(reference);
        let found = services.find_each(&self.principal, references).await;
        let found = found.unwrap().pop().flatten();
        found.map(|view| ServiceView::clone(&view))
    }

    pub(crate) async fn certificates_in(&self, principal: &Principal, state: StateKind) -> usize {
        let filter = CertificateFilter {
            state: Some(state),
            ..CertificateFilter::default()
        };
        let page = Page {
            from: PageStart::Beginning,
            limit: 1_000,
            order: Order::Ascending,
        };
        let certificates = &self.house().certificates;
        let listed = certificates.list(principal, &filter, &page).await;
        listed.unwrap().len()
    }
}
