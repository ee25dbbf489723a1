//! What is handed out again: issued certificates and their keys to their owner, CA certificates and
//! revocation lists to everybody.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::request::Parts;
use lifecycle::{Principal, SerialReference};

use super::authority_of;
use super::faults::Fault;
use crate::Context;
use crate::exchange::{Response, answer};
use crate::publication;

/// Clients compare this text, so it has no charset.
const PEM: &str = "application/x-pem-file";

/// `GET /certificate/{sn}/obtain`.
pub(super) async fn certificate(
    context: &Context,
    principal: &Principal,
    serial: &str,
) -> Result<Response, Fault> {
    let serial = SerialReference::from_decimal(serial).ok_or(Fault::NotFound)?;
    let certificates = &context.house.certificates;
    let certificate = certificates.issued_certificate(principal, &serial).await?;
    Ok(private_pem(certificate.to_pem()))
}

/// `GET /privatekey/{sn}/obtain`.
pub(super) async fn private_key(
    context: &Context,
    principal: &Principal,
    serial: &str,
) -> Result<Response, Fault> {
    let serial = SerialReference::from_decimal(serial).ok_or(Fault::NotFound)?;
    let certificates = &context.house.certificates;
    let key = certificates.issued_private_key(principal, &serial).await?;
    Ok(private_pem(Bytes::from_owner(key.to_pkcs8_pem())))
}

/// `GET /root-certificate/obtain`: the direct issuer of all leaves, because clients build OCSP
/// requests with it.
pub(super) async fn root_certificate(
    context: &Context,
    _: &Principal,
    head: &Parts,
) -> Result<Response, Fault> {
    let authority = authority_of(context, &head.headers).await?;
    Ok(private_pem(authority.issuing_certificate().to_pem()))
}

/// `GET /ca.cer`: the issuer of the leaves that name this address.
pub(super) async fn ca_certificate(context: &Context, head: &Parts) -> Result<Response, Fault> {
    let authority = authority_of(context, &head.headers).await?;
    Ok(publication::ca_certificate(
        authority.addressed_certificate().der(),
    ))
}

/// `GET /crl`, or `/crl/<shard>` of a later shard.
pub(super) async fn revocation_list(
    context: &Context,
    head: &Parts,
    shard: u64,
) -> Result<Response, Fault> {
    let authority = authority_of(context, &head.headers).await?;
    let authorities = &context.house.authorities;
    match authorities.revocation_list(&authority, shard).await {
        Ok(list) => Ok(publication::revocation_list(list)),
        // The authority is there; the shard was not begun.
        Err(lifecycle::Error::NotFound { .. }) => Err(Fault::NotFound),
        Err(error) => Err(error.into()),
    }
}

/// `GET /crl/ca`: the list for the root itself, which counts for no shard of its leaves.
pub(super) async fn revocation_list_of_authorities(
    context: &Context,
    head: &Parts,
) -> Result<Response, Fault> {
    let authority = authority_of(context, &head.headers).await?;
    let authorities = &context.house.authorities;
    let list = authorities.list_of_authorities(&authority).await?;
    Ok(publication::revocation_list(list))
}

/// `GET /crl.pem`.
pub(super) async fn revocation_list_pem(
    context: &Context,
    head: &Parts,
) -> Result<Response, Fault> {
    let authority = authority_of(context, &head.headers).await?;
    let list = context
        .house
        .authorities
        .revocation_list(&authority, 0)
        .await?;
    Ok(answer(StatusCode::OK, PEM, pki::crl::to_pem(&list)))
}

/// PEM that no cache on the way may keep: who gets it depends on a header that caches do not know.
fn private_pem(pem: impl Into<Bytes>) -> Response {
    let mut response = answer(StatusCode::OK, PEM, pem);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
