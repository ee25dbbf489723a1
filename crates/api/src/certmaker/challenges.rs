//! Challenges: the answer to an order that waits for one, and the routes on which clients say that
//! they have met it.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use lifecycle::{Error, Principal, ProofKind, WaitingOrder, Way};
use serde::Serialize;

use super::faults::Fault;
use super::members::{Members, saturating_integer};
use super::orders::{Encoding, delivery, located};
use super::{PREFIX, body_of};
use crate::Context;
use crate::exchange::{Response, answer, empty, json};
use crate::notation::timestamp;

const CHALLENGE_LOCATION: HeaderName = HeaderName::from_static("x-challenge-location");
/// Where clients say which port their web server has; the first one present counts.
const PORT_HEADERS: [&str; 2] = ["x-validation-port", "x-challenge-port"];

/// The answer to an order that waits: as clients of the third generation read it, and beside it as
/// those of the second do.
#[derive(Serialize)]
struct Challenges<'a> {
    challenges: Vec<Challenge<'a>>,
    http01_challenge: bool,
    dns01_challenge: bool,
    challenge_id: &'a str,
    challenge_token: &'a str,
}

#[derive(Serialize)]
struct Challenge<'a> {
    challenge_type: &'static str,
    challenge_id: &'a str,
    challenge_token: &'a str,
    valid_until: String,
}

/// The form of an answer that says what is to be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON with everything.
    Json,
    /// The token, and an address.
    Token,
}

/// 202, with what has to be proven. A client that prefers a kind of challenge is told of no other
/// where it can be told of one only.
pub(super) fn waiting(
    context: &Context,
    order: &WaitingOrder,
    preferred: Option<ProofKind>,
    form: Form,
) -> Response {
    let mut response = match form {
        Form::Json => json(StatusCode::ACCEPTED, &challenges(order, preferred)),
        Form::Token => answer(StatusCode::ACCEPTED, "text/plain", order.token.clone()),
    };
    let address = format!(
        "{}{PREFIX}/challenge/{}/solve",
        context.settings.public_url, order.id
    );
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match HeaderValue::try_from(address) {
        Ok(address) => drop(headers.insert(CHALLENGE_LOCATION, address)),
        Err(error) => tracing::error!(%error, "the public URL fits into no header"),
    }
    response
}

fn challenges(order: &WaitingOrder, preferred: Option<ProofKind>) -> Challenges<'_> {
    let valid_until = timestamp(order.valid_until);
    let challenge = |kind: &ProofKind| Challenge {
        challenge_type: kind.as_str(),
        challenge_id: &order.id,
        challenge_token: &order.token,
        valid_until: valid_until.clone(),
    };
    let preferred = preferred.filter(|kind| order.kinds.contains(kind));
    let is_told = |kind: ProofKind| match preferred {
        Some(preferred) => kind == preferred,
        None => order.kinds.contains(&kind),
    };
    Challenges {
        challenges: order.kinds.iter().map(challenge).collect(),
        http01_challenge: is_told(ProofKind::Http01),
        dns01_challenge: is_told(ProofKind::Dns01),
        challenge_id: &order.id,
        challenge_token: &order.token,
    }
}

/// `POST` or `GET /http-01/{id}/solve`.
pub(super) async fn solve_http(
    context: &Context,
    principal: &Principal,
    id: &str,
    head: &Parts,
    body: Incoming,
) -> Result<Response, Fault> {
    context.house.inbound_orders.admit_solve(principal)?;
    let body = body_of(context, body).await?;
    let port = match port_in_body(&body)? {
        0 => port_in_headers(&head.headers)?,
        port => port,
    };
    solve(context, principal, id, Way::Http { port }).await
}

/// `GET` or `POST /dns-01/{id}/solve`.
pub(super) async fn solve_dns(
    context: &Context,
    principal: &Principal,
    id: &str,
) -> Result<Response, Fault> {
    context.house.inbound_orders.admit_solve(principal)?;
    solve(context, principal, id, Way::Dns).await
}

/// `GET /challenge/{id}/solve`, which answers with addresses and has statuses of its own.
pub(super) async fn solve_located(
    context: &Context,
    principal: &Principal,
    id: &str,
    head: &Parts,
) -> Result<Response, Fault> {
    let orders = &context.house.inbound_orders;
    orders.admit_solve(principal)?;
    let port = port_in_headers(&head.headers)?;
    let completed = orders.solve(principal, id, Way::Located { port }).await;
    let completed = completed.map_err(|error| match error {
        Error::Unproven { has_answer, .. } => Fault::UnprovenLocated {
            text: error.to_string(),
            has_answer,
        },
        error => error.into(),
    })?;
    let mut response = empty(StatusCode::OK);
    response.headers_mut().remove(CONTENT_TYPE);
    let has_key = completed.key.is_some();
    Ok(located(context, &completed.leaf, has_key, response))
}

async fn solve(
    context: &Context,
    principal: &Principal,
    id: &str,
    way: Way,
) -> Result<Response, Fault> {
    let orders = &context.house.inbound_orders;
    let completed = orders.solve(principal, id, way).await?;
    let encoding = Encoding::of(&completed.form);
    let (leaf, key) = (&completed.leaf, completed.key.as_ref());
    let response = json(StatusCode::CREATED, &delivery(leaf, key, encoding));
    Ok(located(context, leaf, key.is_some(), response))
}

/// The port that a body names; 0 if it names none.
fn port_in_body(body: &[u8]) -> Result<u16, Fault> {
    if body.trim_ascii().is_empty() {
        return Ok(0);
    }
    match Members::parse(body)?.raw("challengeport") {
        Some(text) => port(text),
        None => Ok(0),
    }
}

/// The port that the headers name; 0 if they name none.
fn port_in_headers(headers: &HeaderMap) -> Result<u16, Fault> {
    let named = PORT_HEADERS.iter().find_map(|name| headers.get(*name));
    match named.map(HeaderValue::to_str) {
        Some(Ok(text)) => port(text.trim()),
        Some(Err(_)) => Err(no_port()),
        None => Ok(0),
    }
}

fn port(text: &str) -> Result<u16, Fault> {
    let port = saturating_integer(text);
    let port = port.and_then(|port| u16::try_from(port).ok());
    port.ok_or_else(no_port)
}

fn no_port() -> Fault {
    Fault::invalid("'challenge_port' must be an integer from 0 to 65535")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_port_is_a_whole_number_or_not_there() {
        for (body, expected) in [
            ("", 0),
            (" \r\n", 0),
            ("{}", 0),
            (r#"{"challenge_port":null}"#, 0),
            (r#"{"challenge_port":0}"#, 0),
            (r#"{"ChallengePort":8080}"#, 8080),
            (r#"{"challenge_port":65535,"other":[1]}"#, 65535),
        ] {
            assert_eq!(port_in_body(body.as_bytes()).unwrap(), expected, "{body}");
        }
        for body in [
            "x",
            "8080",
            "[]",
            "{} {}",
            r#"{"challenge_port":65536}"#,
            r#"{"challenge_port":-1}"#,
            r#"{"challenge_port":80.0}"#,
            r#"{"challenge_port":8e1}"#,
            r#"{"challenge_port":"80"}"#,
            r#"{"challenge_port":true}"#,
            r#"{"challenge_port":[80]}"#,
            r#"{"challenge_port":99999999999999999999}"#,
        ] {
            assert!(port_in_body(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn the_first_header_with_a_port_counts() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            port_in_headers(&headers.collect()).ok()
        };
        let (validation, challenge) = ("x-validation-port", "x-challenge-port");
        assert_eq!(of(&[]), Some(0));
        assert_eq!(of(&[(challenge, "8081")]), Some(8081));
        assert_eq!(
            of(&[(challenge, "8081"), (validation, " 8080 ")]),
            Some(8080)
        );
        for bad in ["", "x", "-1", "65536", "80,81", "0x50"] {
            assert_eq!(of(&[(validation, bad)]), None, "{bad}");
        }
    }
}
