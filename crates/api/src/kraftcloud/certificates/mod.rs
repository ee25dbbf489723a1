//! `/v1/certificates`: certificates as a kind of object of this dialect.

mod json;
mod members;
mod object;
mod writing;

use std::sync::Arc;

use http::StatusCode;
use lifecycle::{
    Certificate, CertificateFilter, CertificateId, CertificateRef, Error, House, Noun, Page,
    Principal,
};

use super::faults::{Fault, Refusal};
use super::item::Identity;
use super::kind::{Call, Filled, Filter, Head, Kind};
use super::references::{Reference, Target};
use crate::exchange::Response;
use members::CertificateMembers;
use object::Shown;
use writing::Order;

pub(super) use object::state;

/// The kind of object that is a certificate.
pub(super) struct Certificates;

impl Kind for Certificates {
    const KEY: &'static str = "certificates";
    const NOUN: Noun = Noun::Certificate;
    const ABSENT: StatusCode = StatusCode::NOT_FOUND;
    const IS_HEAVY: bool = true;
    const METHODS: &'static str = "GET, HEAD, POST, PUT, PATCH, DELETE";
    const METHODS_OF_ONE: &'static str = "GET, HEAD, PUT, PATCH, DELETE";

    type Id = CertificateId;
    type Members = CertificateMembers;
    type Order = Order;
    type Object = Certificate;
    type Shown = Shown;

    fn head(certificate: &Certificate) -> Head<'_, CertificateId> {
        Head {
            id: certificate.id,
            uuid: certificate.id.as_uuid(),
            name: &certificate.name,
            created_at: certificate.created_at,
        }
    }

    fn is_shown(filter: &Filter, certificate: &Certificate) -> bool {
        let wanted = filter.common_name.as_ref();
        wanted.is_none_or(|name| *name == certificate.common_name)
    }

    async fn find_each(
        house: &House,
        principal: &Principal,
        targets: Vec<Target>,
    ) -> Result<Vec<Option<Certificate>>, Error> {
        let references: Vec<CertificateRef> = targets.iter().map(certificate).collect();
        let found = house.certificates.find_each(principal, &references).await?;
        Ok(found
            .into_iter()
            .map(|found| found.map(Arc::unwrap_or_clone))
            .collect())
    }

    async fn list(
        house: &House,
        principal: &Principal,
        filter: &Filter,
        page: &Page<CertificateId>,
    ) -> Result<Vec<Certificate>, Error> {
        let filter = CertificateFilter {
            common_name: filter.common_name.clone(),
            ..CertificateFilter::default()
        };
        house.certificates.list(principal, &filter, page).await
    }

    async fn fill(
        house: &House,
        _: &Principal,
        mut certificates: Vec<Certificate>,
    ) -> Result<Filled<Certificate>, Error> {
        let ids: Vec<_> = certificates.iter().map(|one| one.id).collect();
        let rest = certificates.split_off(house.services.fitting_certificates(&ids).await?);
        Ok(Filled {
            objects: certificates,
            rest: rest.into_iter().next(),
        })
    }

    async fn delete(
        house: &House,
        principal: &Principal,
        target: &Target,
    ) -> Result<Identity, Error> {
        let reference = certificate(target);
        let deleted = house.certificates.delete(principal, &reference).await?;
        Ok(Identity::of(deleted.id.as_uuid(), &deleted.name))
    }

    async fn show_each(house: &House, certificates: Vec<Certificate>) -> Result<Vec<Shown>, Error> {
        let ids: Vec<_> = certificates.iter().map(|one| one.id).collect();
        let services = house.services.of_certificates(&ids).await?;
        // Repeated references show the same certificate more than once.
        let shown = certificates.into_iter().map(|certificate| {
            let services = services.get(&certificate.id).map_or(&[][..], Vec::as_slice);
            Shown::of(certificate, services, &house.certificates)
        });
        Ok(shown.collect())
    }

    fn order(_: &House, members: CertificateMembers) -> Result<(Option<String>, Order), Refusal> {
        let name = members.name.clone();
        Ok((name, Order::read(members)?))
    }

    async fn make(
        house: &House,
        principal: &Principal,
        order: Order,
    ) -> Result<Certificate, Fault> {
        order.carry_out(&house.certificates, principal).await
    }

    async fn update(call: Call<'_, Self>) -> Result<Response, Refusal> {
        writing::update(call).await
    }

    async fn update_one(call: Call<'_, Self>, own: Reference) -> Result<Response, Refusal> {
        writing::update_one(call, own).await
    }
}

/// What the house calls it.
pub(super) fn certificate(target: &Target) -> CertificateRef {
    target.reference(CertificateId::from_uuid)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::item::Detail;
    use super::super::kind::Endpoint;
    use super::*;

    #[test]
    fn every_path_has_its_methods_and_no_others() {
        let allowed = |method: &str, segments: &[&str]| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            Endpoint::of::<Certificates>(&method, segments).map_err(|refusal| refusal.allow)
        };
        assert_eq!(allowed("PATCH", &[]), Ok(Endpoint::Update));
        assert_eq!(
            allowed("OPTIONS", &[]),
            Err(Some("GET, HEAD, POST, PUT, PATCH, DELETE"))
        );
        assert_eq!(allowed("GET", &["list"]), Ok(Endpoint::Find(Detail::Brief)));
        assert_eq!(allowed("DELETE", &["list"]), Err(Some("GET, HEAD")));
        assert_eq!(
            allowed("DELETE", &["a%20b"]),
            Ok(Endpoint::DeleteOne(Reference::name("a b".to_owned())))
        );
        assert_eq!(
            allowed("POST", &["c1"]),
            Err(Some("GET, HEAD, PUT, PATCH, DELETE"))
        );
        assert_eq!(allowed("GET", &["c1", "x"]), Err(None));
    }
}
