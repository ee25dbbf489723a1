//! The Cloud 66 API, version 3: stacks and their SSL certificates. A stack is a service.
//!
//! Clients put `.json` behind every path or behind none, send forms or JSON whatever they declare,
//! and crash on what is null where they expect a text. spec/cloud66.md says which, and why. A route
//! is picked by the raw path, then the method is checked, then the token with its scopes, then the
//! body is read.
#![allow(dead_code, reason = "the routes that use it follow")]

mod accounts;
mod body;
mod call;
mod credentials;
mod dns_providers;
mod envelope;
mod faults;
mod paging;
mod ping;

use http::Method;
use http::header::{HeaderName, HeaderValue};
use tracing::Instrument as _;

use crate::Context;
use crate::exchange::{Request, Response, path, segments};

use call::Call;
use credentials::{Access, authenticate};
use faults::Fault;

/// Where the dialect lives.
const PREFIX: &str = "/api/3";

/// Longest body of a request, in octets.
const BODY_LIMIT: usize = 1024 * 1024;

/// What clients call a request of theirs; it comes back with the answer.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Longest name of a request that is worth repeating, in octets.
const REQUEST_ID_SHOWN: usize = 128;

/// Answers `/api/3…`.
pub(crate) async fn respond(context: &Context, request: Request) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let id = id.filter(|id| id.len() <= REQUEST_ID_SHOWN);
    let span = tracing::info_span!("cloud66", request_id = id.as_ref().and_then(shown));
    let mut response = match dispatch(context, request).instrument(span).await {
        Ok(response) => response,
        Err(fault) => fault.respond(),
    };
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// A header as text, if it is one.
fn shown(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

async fn dispatch(context: &Context, request: Request) -> Result<Response, Fault> {
    let raw = path(&request).to_owned();
    let inner = raw.strip_prefix(PREFIX).unwrap_or(&raw);
    let mut segments = segments(inner).ok_or(Fault::NoSuchPath)?;
    if let Some(last) = segments.last_mut() {
        *last = last.strip_suffix(".json").unwrap_or(last);
    }
    let route = Route::of(&segments).ok_or(Fault::NoSuchPath)?;
    let allowed = route.methods();
    if !allowed.split(", ").any(|method| method == request.method()) {
        return Err(Fault::WrongMethod(allowed));
    }
    let Some(access) = route.access(request.method()) else {
        return Ok(ping::pong());
    };
    let (head, body) = request.into_parts();
    let principal = authenticate(context, &head.headers, access).await?;
    let received = context.bodies.read(body, BODY_LIMIT).await?;
    let call = Call::new(context, principal, &head, received);
    // In memory of its own: what some route has under way is too much for the stack of all.
    Box::pin(route.serve(call)).await
}

/// What is served under the prefix.
#[derive(Debug, Clone, Copy)]
enum Route<'a> {
    Account(&'a str),
    Accounts,
    DnsProvider(&'a str),
    DnsProviders,
    Ping,
    PingAuth,
}

impl<'a> Route<'a> {
    fn of(segments: &[&'a str]) -> Option<Self> {
        Some(match segments {
            ["accounts"] => Self::Accounts,
            ["accounts", id] => Self::Account(id),
            ["dns_providers"] | ["stacks", "dns_providers"] => Self::DnsProviders,
            ["dns_providers", id] | ["stacks", "dns_providers", id] => Self::DnsProvider(id),
            ["ping"] => Self::Ping,
            ["ping", "auth"] => Self::PingAuth,
            _ => return None,
        })
    }

    /// The methods served, as `Allow` lists them.
    const fn methods(self) -> &'static str {
        match self {
            Self::DnsProvider(_) => "DELETE",
            Self::DnsProviders => "GET, HEAD, POST",
            Self::Account(_) | Self::Accounts | Self::Ping | Self::PingAuth => "GET, HEAD",
        }
    }

    /// What a token must be good for; `None` where none is needed.
    fn access(self, _method: &Method) -> Option<Access> {
        match self {
            Self::Ping => None,
            Self::DnsProvider(_) | Self::DnsProviders => Some(Access::Admin),
            Self::Account(_) | Self::Accounts | Self::PingAuth => Some(Access::Anybody),
        }
    }

    async fn serve(self, call: Call<'_>) -> Result<Response, Fault> {
        match (self, call.method) {
            (Self::Ping | Self::PingAuth, _) => Ok(ping::pong()),
            (Self::Account(id), _) => accounts::show(call, id).await,
            (Self::Accounts, _) => accounts::list(call).await,
            (Self::DnsProvider(id), _) => dns_providers::delete(call, id).await,
            (Self::DnsProviders, &Method::POST) => dns_providers::create(call).await,
            (Self::DnsProviders, _) => dns_providers::list(call).await,
        }
    }
}
