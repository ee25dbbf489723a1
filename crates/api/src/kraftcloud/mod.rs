//! KraftCloud v1 and Unikraft Cloud v1, two generations of one API, spoken at once.
//!
//! Clients disagree on base URLs, on how to name objects and on what an error looks like; what all
//! of them understand is answered here. Every answer is JSON in one envelope, and nothing is ever
//! redirected.

mod body;
mod certificates;
mod envelope;
mod faults;
mod fields;
mod instances;
mod item;
mod kind;
mod listing;
mod outcomes;
mod query;
mod quotas;
mod references;
mod services;

use std::time::Instant;

use http::Method;
use http::header::EXPECT;
use lifecycle::{Dialect, House, Principal};
use serde::Serialize;

use crate::Context;
use crate::bodies::Received;
use crate::exchange::{Request, Response, UPLOAD_LIMIT, bearer_token, path, segments};

use certificates::Certificates;
use envelope::{refused, succeeded};
use faults::Refusal;
use instances::Instances;
use kind::{Call, Endpoint, Kind};
use services::Services;

/// Longest body of a request that brings no certificates.
const BODY_LIMIT: usize = 1024 * 1024;

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
    let (principal, route) = match admit(context, &request).await {
        Ok(Admitted::To(principal, route)) => (principal, route),
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
    let limit = match route {
        Route::Certificates(_) => UPLOAD_LIMIT,
        _ => BODY_LIMIT,
    };
    let received = context.bodies.read(body, limit).await?;
    let asked = Asked {
        house: &context.house,
        principal,
        query: head.uri.query().unwrap_or_default(),
        received,
        started,
    };
    match route {
        Route::Certificates(endpoint) => asked.of::<Certificates>(endpoint).await,
        Route::Instances(endpoint) => asked.of::<Instances>(endpoint).await,
        Route::Quotas => Ok(quotas::respond(&asked.principal, started)),
        Route::Services(endpoint) => asked.of::<Services>(endpoint).await,
    }
}

/// What a request may do, before its body is looked at.
enum Admitted {
    Health,
    To(Principal, Route),
}

/// Where an authenticated request goes.
enum Route {
    Certificates(Endpoint),
    Instances(Endpoint),
    Quotas,
    Services(Endpoint),
}

/// An authenticated request with its whole body.
struct Asked<'a> {
    house: &'a House,
    principal: Principal,
    query: &'a str,
    received: Received,
    started: Instant,
}

impl Asked<'_> {
    /// Carries it out on objects of a kind.
    async fn of<K: Kind>(self, endpoint: Endpoint) -> Result<Response, Refusal> {
        let Received {
            octets,
            room: _room,
        } = self.received;
        let call: Call<'_, K> =
            Call::read(self.house, self.principal, self.query, octets, self.started).await?;
        call.respond(endpoint).await
    }
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
    let method = request.method();
    if let Some(["healthz"]) = rest {
        return match *method {
            Method::GET | Method::HEAD => Ok(Admitted::Health),
            _ => Err(Refusal::wrong_method("GET, HEAD")),
        };
    }
    let token = bearer_token(request.headers()).ok_or_else(Refusal::invalid_token)?;
    let tokens = &context.house.tokens;
    let principal = tokens.authenticate(token, Dialect::KraftCloud).await?;
    let route = match rest {
        Some(["certificates", rest @ ..]) => {
            Route::Certificates(Endpoint::of::<Certificates>(method, rest)?)
        }
        Some(["instances", rest @ ..]) => Route::Instances(instances::endpoint(method, rest)?),
        Some(["services", rest @ ..]) => Route::Services(Endpoint::of::<Services>(method, rest)?),
        Some(["users", "quotas"]) => match *method {
            Method::GET | Method::HEAD => Route::Quotas,
            _ => return Err(Refusal::wrong_method("GET, HEAD")),
        },
        _ => return Err(Refusal::no_such_endpoint()),
    };
    Ok(Admitted::To(principal, route))
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
