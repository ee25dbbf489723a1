//! Orders: decode, place, and answer in the form that the ordering client reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, CACHE_CONTROL, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use lifecycle::{InboundRequest, IssueRequest, Issued, KeySource, Placed, Principal};
use percent_encoding::percent_decode_str;
use pki::{CertificateRequest, PrivateKey, SubjectFields};
use serde::Serialize;
use zeroize::Zeroizing;

use super::challenges::{Form, waiting};
use super::faults::Fault;
use super::members::saturating_integer;
use super::simple_request::SimpleRequest;
use super::{PREFIX, authority_of, body_of};
use crate::Context;
use crate::exchange::{Response, empty, json};
use crate::settings::G1SuccessStatus;

const CERTIFICATE_LOCATION: HeaderName = HeaderName::from_static("x-certificate-location");
const PRIVATE_KEY_LOCATION: HeaderName = HeaderName::from_static("x-privatekey-location");

/// The answer to an order of the JSON routes. Despite the names, the values are PEM only where the
/// client is known to want it.
#[derive(Serialize)]
pub(super) struct Delivery {
    certificate_pem: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key_pem: Option<Zeroizing<String>>,
}

/// How an answer carries a certificate and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Base64 of the DER, whatever the member's name says.
    Der,
    /// PEM text.
    Pem,
}

impl Encoding {
    /// The word for it that is kept with an order.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Der => "der",
            Self::Pem => "pem",
        }
    }

    /// The encoding of a kept order.
    pub(super) fn of(word: &str) -> Self {
        if word == Self::Pem.as_str() {
            Self::Pem
        } else {
            Self::Der
        }
    }
}

/// `POST /certificate/request-with-simplerequest`: certificate and key in the answer.
pub(super) async fn by_simple_request(
    context: &Context,
    principal: &Principal,
    head: &Parts,
    body: Incoming,
) -> Result<Response, Fault> {
    let order = simple_request(context, principal, body).await?;
    let (client, preferred) = (order.client, order.preferred);
    Ok(match place_simple(context, principal, head, order).await? {
        Placed::Issued(issued) => delivered(context, &issued, client.encoding),
        Placed::Waiting(order) => waiting(context, &order, preferred, Form::Json),
    })
}

/// `POST /certificate/request`: nothing but the addresses of certificate and key in the answer.
pub(super) async fn by_location(
    context: &Context,
    principal: &Principal,
    head: &Parts,
    body: Incoming,
) -> Result<Response, Fault> {
    let order = simple_request(context, principal, body).await?;
    let (client, preferred) = (order.client, order.preferred);
    let issued = match place_simple(context, principal, head, order).await? {
        Placed::Issued(issued) => issued,
        Placed::Waiting(order) => return Ok(waiting(context, &order, preferred, Form::Token)),
    };
    let status = match context.settings.certmaker.g1_success_status {
        G1SuccessStatus::Auto if client.is_bot => StatusCode::OK,
        G1SuccessStatus::Ok => StatusCode::OK,
        G1SuccessStatus::Auto | G1SuccessStatus::Created => StatusCode::CREATED,
    };
    let has_key = issued.key.is_some();
    Ok(located(context, &issued.leaf, has_key, empty(status)))
}

/// `POST /certificate/request-with-csr`: the client has the key.
pub(super) async fn by_request(
    context: &Context,
    principal: &Principal,
    head: &Parts,
    body: Incoming,
) -> Result<Response, Fault> {
    if !context.house.switches.current().await?.csr {
        return Err(Fault::ModeOff("CSR"));
    }
    context.house.inbound_orders.admit_order(principal)?;
    let days = days_of(head.uri.query())?;
    let signed = CertificateRequest::from_pem_or_der(&body_of(context, body).await?)?;
    let order = IssueRequest {
        authority: authority_of(context, &head.headers).await?.name.clone(),
        subject: SubjectFields::default(),
        identifiers: Vec::new(),
        days,
        key: KeySource::Request(Box::new(signed)),
        name: None,
    };
    let request = InboundRequest {
        order,
        form: Encoding::Der.as_str(),
        preferred: None,
    };
    let placed = context.house.inbound_orders.place(principal, request);
    Ok(match placed.await? {
        Placed::Issued(issued) => delivered(context, &issued, Encoding::Der),
        Placed::Waiting(order) => waiting(context, &order, None, accepted_form(&head.headers)),
    })
}

async fn simple_request(
    context: &Context,
    principal: &Principal,
    body: Incoming,
) -> Result<SimpleRequest, Fault> {
    if !context.house.switches.current().await?.simple_request {
        return Err(Fault::ModeOff("SimpleRequest"));
    }
    context.house.inbound_orders.admit_order(principal)?;
    SimpleRequest::parse(&body_of(context, body).await?)
}

async fn place_simple(
    context: &Context,
    principal: &Principal,
    head: &Parts,
    order: SimpleRequest,
) -> Result<Placed, Fault> {
    let request = InboundRequest {
        order: IssueRequest {
            authority: authority_of(context, &head.headers).await?.name.clone(),
            subject: order.subject,
            identifiers: order.identifiers,
            days: order.days,
            key: KeySource::Generate(context.settings.certmaker.key_algorithm),
            name: None,
        },
        form: order.client.encoding.as_str(),
        preferred: order.preferred,
    };
    let placed = context.house.inbound_orders.place(principal, request);
    Ok(placed.await?)
}

fn delivered(context: &Context, issued: &Issued, encoding: Encoding) -> Response {
    let (leaf, key) = (&issued.leaf, issued.key.as_ref());
    let response = json(StatusCode::CREATED, &delivery(leaf, key, encoding));
    located(context, leaf, key.is_some(), response)
}

/// Leaf and key, without the chain: old clients overwrite their files without truncating them, so
/// lengths must hardly change.
pub(super) fn delivery(
    leaf: &pki::Certificate,
    key: Option<&PrivateKey>,
    encoding: Encoding,
) -> Delivery {
    match encoding {
        Encoding::Der => Delivery {
            certificate_pem: STANDARD.encode(leaf.der()),
            private_key_pem: key.map(|key| Zeroizing::new(STANDARD.encode(&*key.to_pkcs8_der()))),
        },
        Encoding::Pem => Delivery {
            certificate_pem: leaf.to_pem(),
            private_key_pem: key.map(PrivateKey::to_pkcs8_pem),
        },
    }
}

/// The same answer with the addresses of what was issued.
pub(super) fn located(
    context: &Context,
    leaf: &pki::Certificate,
    has_key: bool,
    mut response: Response,
) -> Response {
    let at = |kind: &str| {
        let serial = leaf.serial();
        let address = format!(
            "{}{PREFIX}/{kind}/{serial}/obtain",
            context.settings.public_url
        );
        HeaderValue::try_from(address)
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let locations = [
        (CERTIFICATE_LOCATION, Some(at("certificate"))),
        (PRIVATE_KEY_LOCATION, has_key.then(|| at("privatekey"))),
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

/// How a client with a CSR wants to be told what to prove.
fn accepted_form(headers: &HeaderMap) -> Form {
    let mut accepted = headers.get_all(ACCEPT).iter();
    let wants_text = accepted.any(|value| {
        let value = value.to_str().unwrap_or_default();
        value.split(',').any(|range| {
            let (kind, _) = range.split_once(';').unwrap_or((range, ""));
            kind.trim().eq_ignore_ascii_case("text/plain")
        })
    });
    if wants_text { Form::Token } else { Form::Json }
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
