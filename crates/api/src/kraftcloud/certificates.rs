//! `/v1/certificates`: which call is meant, and the calls that find and delete.

use http::Method;
use lifecycle::{CertificateFilter, House, Principal};
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use std::time::Instant;

use super::body::{Document, Members, missing_reference, normal_name};
use super::envelope::{Reach, carried_out};
use super::faults::{Code, Fault, ItemFault, Refusal};
use super::listing::{self, Question};
use super::object::{Detail, Item};
use super::query;
use super::references::{Reference, merge};
use super::writing;
use crate::exchange::Response;

pub(super) use crate::exchange::UPLOAD_LIMIT as BODY_LIMIT;

/// What can be asked under `/v1/certificates`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Create,
    Delete,
    DeleteOne(Reference),
    Find(Detail),
    FindOne(Reference),
    Update,
    UpdateOne(Reference),
}

/// An authenticated request.
pub(super) struct Call<'a> {
    pub(super) house: &'a House,
    pub(super) principal: Principal,
    pub(super) query: &'a str,
    pub(super) body: Document,
    pub(super) started: Instant,
}

impl Endpoint {
    /// The endpoint at these segments after `certificates`, which are still encoded.
    pub(super) fn of(method: &Method, segments: &[&str]) -> Result<Self, Refusal> {
        let one = |segment: &str| {
            Reference::segment(percent_decode_str(segment).decode_utf8_lossy().into_owned())
        };
        Ok(match (method.as_str(), segments) {
            ("GET" | "HEAD", []) => Self::Find(Detail::Full),
            ("POST", []) => Self::Create,
            ("PUT" | "PATCH", []) => Self::Update,
            ("DELETE", []) => Self::Delete,
            (_, []) => return Err(Refusal::wrong_method("GET, HEAD, POST, PUT, PATCH, DELETE")),
            ("GET" | "HEAD", ["list"]) => Self::Find(Detail::Brief),
            (_, ["list"]) => return Err(Refusal::wrong_method("GET, HEAD")),
            ("GET" | "HEAD", [segment]) => Self::FindOne(one(segment)),
            ("PUT" | "PATCH", [segment]) => Self::UpdateOne(one(segment)),
            ("DELETE", [segment]) => Self::DeleteOne(one(segment)),
            (_, [_]) => return Err(Refusal::wrong_method("GET, HEAD, PUT, PATCH, DELETE")),
            _ => return Err(Refusal::no_such_endpoint()),
        })
    }
}

impl Call<'_> {
    /// Carries the request out.
    pub(super) async fn respond(self, endpoint: Endpoint) -> Result<Response, Refusal> {
        match endpoint {
            Endpoint::Create => writing::create(self).await,
            Endpoint::Delete => self.delete().await,
            Endpoint::DeleteOne(own) => self.delete_one(own).await,
            Endpoint::Find(detail) => self.find(detail).await,
            Endpoint::FindOne(own) => self.find_one(own).await,
            Endpoint::Update => writing::update(self).await,
            Endpoint::UpdateOne(own) => writing::update_one(self, own).await,
        }
    }

    /// Refuses what names another certificate than the path does. One that does not exist is left
    /// to the call itself.
    pub(super) async fn require_same(
        &self,
        own: &Reference,
        others: &[Reference],
    ) -> Result<(), Refusal> {
        if others.iter().all(|other| other == own) {
            return Ok(());
        }
        let found = self
            .house
            .certificates
            .find(&self.principal, own.target())
            .await;
        match found {
            Ok(found) if !others.iter().all(|other| other.names(&found)) => Err(Refusal::form(
                Code::NotBoth,
                "the path names one certificate, query or body another one",
            )),
            Ok(_) => Ok(()),
            Err(error) => match own.fault(error) {
                Fault::Item(ItemFault {
                    code: Code::NotFound,
                    ..
                }) => Ok(()),
                Fault::Item(_) => Err(Refusal::internal()),
                Fault::Request(refusal) => Err(refusal),
            },
        }
    }

    /// The list, or the certificates that query and body name.
    async fn find(mut self, default: Detail) -> Result<Response, Refusal> {
        let parameters = query::listing(self.query)?;
        let detail = parameters.detail.unwrap_or(default);
        let named = query::references(self.query)?;
        let (filter, references) = match std::mem::replace(&mut self.body, Document::Empty) {
            Document::One(members) if !members.is_reference() => (filter_of(*members)?, Vec::new()),
            body => (None, references_of(body)?),
        };
        let references = merge(named, references);
        if references.is_empty() {
            let question = Question {
                certificates: self.house.certificates.clone(),
                principal: self.principal,
                filter: CertificateFilter {
                    common_name: filter,
                    ..CertificateFilter::default()
                },
                detail,
                started: self.started,
            };
            return listing::respond(question, &parameters).await;
        }
        if filter.is_some() {
            let message = "name certificates or filter them, not both";
            return Err(Refusal::form(Code::NotBoth, message));
        }
        self.show(&references, detail, Reach::Global).await
    }

    async fn find_one(mut self, own: Reference) -> Result<Response, Refusal> {
        let detail = query::listing(self.query)?.detail.unwrap_or(Detail::Full);
        self.require_nothing_else(&own).await?;
        self.show(&[own], detail, Reach::Local).await
    }

    async fn show(
        &self,
        references: &[Reference],
        detail: Detail,
        reach: Reach,
    ) -> Result<Response, Refusal> {
        let certificates = &self.house.certificates;
        let targets: Vec<_> = references.iter().map(|one| one.target().clone()).collect();
        let found = certificates.find_each(&self.principal, &targets).await?;
        let items: Vec<Item> = references
            .iter()
            .zip(found)
            .map(|(reference, found)| match found {
                Some(certificate) => {
                    Item::of(Arc::unwrap_or_clone(certificate), certificates, detail)
                }
                None => Item::failed(reference.identity(), reference.not_found()),
            })
            .collect();
        Ok(carried_out(&items, reach, self.started))
    }

    async fn delete(mut self) -> Result<Response, Refusal> {
        let named = query::references(self.query)?;
        let body = std::mem::replace(&mut self.body, Document::Empty);
        let references = merge(named, references_of(body)?);
        if references.is_empty() {
            return Err(missing_reference());
        }
        self.delete_each(&references, Reach::Global).await
    }

    async fn delete_one(mut self, own: Reference) -> Result<Response, Refusal> {
        self.require_nothing_else(&own).await?;
        self.delete_each(&[own], Reach::Local).await
    }

    async fn delete_each(
        &self,
        references: &[Reference],
        reach: Reach,
    ) -> Result<Response, Refusal> {
        let certificates = &self.house.certificates;
        let mut items = Vec::with_capacity(references.len());
        for reference in references {
            let deleted = certificates
                .delete(&self.principal, reference.target())
                .await;
            items.push(match deleted {
                Ok(certificate) => Item::of(certificate, certificates, Detail::Brief),
                Err(error) => {
                    let fault = settle(reference.fault(error), &items)?;
                    Item::failed(reference.identity(), fault)
                }
            });
        }
        Ok(carried_out(&items, reach, self.started))
    }

    /// Refuses a query or body that says more than which certificate the path names.
    async fn require_nothing_else(&mut self, own: &Reference) -> Result<(), Refusal> {
        let mut others = query::references(self.query)?;
        let body = std::mem::replace(&mut self.body, Document::Empty);
        for mut members in body.into_objects() {
            members.require_bare_reference()?;
            others.extend(members.take_references()?);
        }
        self.require_same(own, &others).await
    }
}

/// What a fault means after `done`: the request can be refused as a whole only while nothing has
/// been changed.
pub(super) fn settle(fault: Fault, done: &[Item]) -> Result<ItemFault, Refusal> {
    let nothing_changed = done.iter().all(|item| item.fault().is_some());
    match fault {
        Fault::Item(fault) => Ok(fault),
        Fault::Request(refusal) if nothing_changed => Err(refusal),
        Fault::Request(refusal) => Ok(ItemFault {
            code: refusal.code.unwrap_or(Code::Unknown),
            message: refusal.message,
        }),
    }
}

/// The certificates that a body names.
fn references_of(body: Document) -> Result<Vec<Reference>, Refusal> {
    body.into_objects()
        .into_iter()
        .map(|mut members| {
            let reference = members.take_reference()?;
            members.require_bare_reference()?;
            Ok(reference)
        })
        .collect()
}

/// The common name that a body filters by.
fn filter_of(mut members: Members) -> Result<Option<String>, Refusal> {
    let common_name = members.take_common_name()?;
    members.require_bare_reference()?;
    Ok(common_name.map(|name| normal_name(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_methods_and_no_others() {
        let allowed = |method: &str, segments: &[&str]| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            Endpoint::of(&method, segments).map_err(|refusal| refusal.allow)
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
