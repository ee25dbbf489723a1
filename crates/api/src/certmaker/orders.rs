//! Orders: decode, issue, and answer in the form that the ordering client reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use http::request::Parts;
use hyper::body::Incoming;
use lifecycle::{IssueRequest, Issued, KeySource, Principal};
use percent_encoding::percent_decode_str;
use pki::{CertificateRequest, SubjectFields};
use serde::Serialize;
use zeroize::Zeroizing;

use super::faults::Fault;
use super::members::saturating_integer;
use super::simple_request::{Client, Encoding, SimpleRequest};
use super::{PREFIX, authority_of, body_of};
use crate::Context;
use crate::exchange::{Response, empty, json};
use crate::settings::G1SuccessStatus;

const CERTIFICATE_LOCATION: HeaderName = HeaderName::from_static("x-certificate-location");
const PRIVATE_KEY_LOCATION: HeaderName = HeaderName::from_static("x-privatekey-location");

/// The answer to an order of the JSON routes. Despite the names, the values are PEM only where the
/// client is known to want it.
#[derive(Serialize)]
struct Delivery {
    certificate_pem: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key_pem: Option<Zeroizing<String>>,
}

/// `POST /certificate/request-with-simplerequest`: certificate and key in the answer.
pub(super) async fn by_simple_request(
    context: &Context,
    principal: &Principal,
    head: &Parts,
    body: Incoming,
) -> Result<Response, Fault> {
    let (issued, client) = issue_simple(context, principal, head, body).await?;
    let response = json(StatusCode::CREATED, &delivery(&issued, client.encoding));
    Ok(located(context, &issued, response))
}

/// `POST /certificate/request`: nothing but the addresses of certificate and key in the answer.
pub(super) async fn by_location(
    context: &Context,
    principal: &Principal,
    head: &Parts,
    body: Incoming,
) -> Result<Response, Fault> {
    let (issued, client) = issue_simple(context, principal, head, body).await?;
    let status = match context.settings.certmaker.g1_success_status {
        G1SuccessStatus::Auto if client.is_bot => StatusCode::OK,
        G1SuccessStatus::Ok => StatusCode::OK,
        G1SuccessStatus::Auto | G1SuccessStatus::Created => StatusCode::CREATED,
    };
    Ok(located(context, &issued, empty(status)))
}

/// `POST /certificate/request-with-csr`: the client has the key.
pub(super) async fn by_request(
    context: &Context,
    principal: &Principal,
    head: &Parts,
    body: Incoming,
) -> Result<Response, Fault> {
    if !context.settings.certmaker.csr {
        return Err(Fault::ModeOff("CSR"));
    }
    let days = days_of(head.uri.query())?;
    let signed = CertificateRequest::from_pem_or_der(&body_of(context, body).await?)?;
    let request = IssueRequest {
        authority: authority_of(context, &head.headers).await?.name.clone(),
        subject: SubjectFields::default(),
        identifiers: Vec::new(),
        days,
        key: KeySource::Request(Box::new(signed)),
        name: None,
    };
    let issued = context.house.certificates.issue(principal, request).await?;
    let response = json(StatusCode::CREATED, &delivery(&issued, Encoding::Der));
    Ok(located(context, &issued, response))
}

async fn issue_simple(
    context: &Context,
    principal: &Principal,
    head: &Parts,
    body: Incoming,
) -> Result<(Issued, Client), Fault> {
    let settings = &context.settings.certmaker;
    if !settings.simple_request {
        return Err(Fault::ModeOff("SimpleRequest"));
    }
    let order = SimpleRequest::parse(&body_of(context, body).await?)?;
    let request = IssueRequest {
        authority: authority_of(context, &head.headers).await?.name.clone(),
        subject: order.subject,
        identifiers: order.identifiers,
        days: order.days,
        key: KeySource::Generate(settings.key_algorithm),
        name: None,
    };
    let issued = context.house.certificates.issue(principal, request).await?;
    Ok((issued, order.client))
}

/// Leaf and key, without the chain: old clients overwrite their files without truncating them, so
/// lengths must hardly change.
fn delivery(issued: &Issued, encoding: Encoding) -> Delivery {
    let key = issued.key.as_ref();
    match encoding {
        Encoding::Der => Delivery {
            certificate_pem: STANDARD.encode(issued.leaf.der()),
            private_key_pem: key.map(|key| Zeroizing::new(STANDARD.encode(&*key.to_pkcs8_der()))),
        },
        Encoding::Pem => Delivery {
            certificate_pem: issued.leaf.to_pem(),
            private_key_pem: key.map(pki::PrivateKey::to_pkcs8_pem),
        },
    }
}

/// The same answer with the addresses of what was issued.
fn located(context: &Context, issued: &Issued, mut response: Response) -> Response {
    let at = |kind: &str| {
        let serial = issued.leaf.serial();
        let address = format!(
            "{}{PREFIX}/{kind}/{serial}/obtain",
            context.settings.public_url
        );
        HeaderValue::try_from(address)
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let key_location = issued.key.as_ref().map(|_| at("privatekey"));
    let locations = [
        (CERTIFICATE_LOCATION, Some(at("certificate"))),
        (PRIVATE_KEY_LOCATION, key_location),
    ];
    for (name, location) in locations {
        match location {
            Some(Ok(location)) => drop(headers.insert(name, location)),
            Some(Err(error)) => tracing::error!(%error, "the public URL fits into no header"),
            None => {}
        }
    }
    response
}

/// The `days` of a query; the last one wins.
fn days_of(query: Option<&str>) -> Result<Option<i64>, Fault> {
    let pairs = query.unwrap_or_default().split('&');
    let mut values = pairs.filter_map(|pair| pair.strip_prefix("days="));
    let Some(value) = values.next_back() else {
        return Ok(None);
    };
    let text = percent_decode_str(value).decode_utf8_lossy();
    let days = saturating_integer(&text);
    Ok(Some(days.ok_or_else(|| {
        Fault::invalid("'days' must be an integer")
    })?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn days_come_from_the_query_or_not_at_all() {
        for (query, days) in [
            (None, None),
            (Some(""), None),
            (Some("day=3&x=days=4"), None),
            (Some("days=30"), Some(30)),
            (Some("x=1&days=30&days=-1"), Some(-1)),
            (Some("days=%33"), Some(3)),
        ] {
            assert_eq!(days_of(query).unwrap(), days, "{query:?}");
        }
        for bad in [
            "days=", "days=x", "days=7.5", "days=+7", "days=%00", "days=%ff",
        ] {
            assert!(days_of(Some(bad)).is_err(), "{bad}");
        }
    }
}
