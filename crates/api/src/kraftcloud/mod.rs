//! KraftCloud v1 and Unikraft Cloud v1, two generations of one API, spoken at once.
//!
//! Clients disagree on base URLs, on how to name objects and on what an error looks like; what all
//! of them understand is answered here. Every answer is JSON in one envelope, and nothing is ever
//! redirected.

mod body;
mod certificates;
mod envelope;
mod faults;
mod json;
mod listing;
mod object;
mod query;
mod references;
mod writing;

use std::time::Instant;

use http::Method;
use http::header::EXPECT;
use lifecycle::{Dialect, Principal, off_the_reactor};
use serde::Serialize;

use crate::Context;
use crate::bodies::Received;
use crate::exchange::{DECODED_AT_ONCE, Request, Response, bearer_token, path, segments};

use body::Document;
use certificates::{BODY_LIMIT, Call, Endpoint};
use envelope::{refused, succeeded};
use faults::Refusal;

/// Answers `/` and `/v1…`. `started` is when the request came in.
pub(crate) async fn respond(context: &Context, request: Request, started: Instant) -> Response {
    match answer(context, request, started).await {
        Ok(response) => response,
        Err(refusal) => refused(&refusal, started),
    }
}

async fn answer(
    context: &Context,
    request: Request,
    started: Instant,
) -> Result<Response, Refusal> {
    let (principal, endpoint) = match admit(context, &request).await {
        Ok(Admitted::Certificates(principal, endpoint)) => (principal, endpoint),
        Ok(Admitted::Health) => return Ok(health(context, started).await),
        Err(refusal) => {
            // Who waits to be told to go on learns of the refusal before sending anything.
            if !request.headers().contains_key(EXPECT) {
                let _ = context.bodies.read(request.into_body(), 0).await;
            }
            return Err(refusal);
        }
    };
    let (head, body) = request.into_parts();
    let Received {
        octets,
        room: _room,
    } = context.bodies.read(body, BODY_LIMIT).await?;
    let body = if octets.len() > DECODED_AT_ONCE {
        off_the_reactor(move || Document::read(&octets)).await??
    } else {
        Document::read(&octets)?
    };
    let call = Call {
        house: &context.house,
        principal,
        query: head.uri.query().unwrap_or_default(),
        body,
        started,
    };
    call.respond(endpoint).await
}

/// What a request may do, before its body is looked at.
enum Admitted {
    Certificates(Principal, Endpoint),
    Health,
}

async fn admit(context: &Context, request: &Request) -> Result<Admitted, Refusal> {
    let segments = segments(path(request));
    let rest = match segments.as_deref() {
        // Clients that append /v1 and users that give it already make /v1/v1.
        Some(["v1", "v1", rest @ ..] | ["v1", rest @ ..]) => Some(rest),
        // The oldest client takes this for a sign of life.
        Some([]) => return Err(Refusal::invalid_token()),
        _ => None,
    };
    if let Some(["healthz"]) = rest {
        return match *request.method() {
            Method::GET | Method::HEAD => Ok(Admitted::Health),
            _ => Err(Refusal::wrong_method("GET, HEAD")),
        };
    }
    let token = bearer_token(request.headers()).ok_or_else(Refusal::invalid_token)?;
    let tokens = &context.house.tokens;
    let principal = tokens.authenticate(token, Dialect::KraftCloud).await?;
    match rest {
        Some(["certificates", rest @ ..]) => {
            let endpoint = Endpoint::of(request.method(), rest)?;
            Ok(Admitted::Certificates(principal, endpoint))
        }
        _ => Err(Refusal::no_such_endpoint()),
    }
}

#[derive(Serialize)]
struct Health {
    checks: Checks,
    versions: Versions,
    license: License,
}

#[derive(Serialize)]
struct Checks {
    store: &'static str,
}

#[derive(Serialize)]
struct Versions {
    chancery: &'static str,
}

#[derive(Serialize)]
struct License {
    valid: bool,
}

async fn health(context: &Context, started: Instant) -> Response {
    let store = match context.house.check().await {
        Ok(()) => "healthy",
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the store is not healthy"
            );
            "degraded"
        }
    };
    let health = Health {
        checks: Checks { store },
        versions: Versions {
            chancery: env!("CARGO_PKG_VERSION"),
        },
        license: License { valid: true },
    };
    succeeded(health, started)
}
