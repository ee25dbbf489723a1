//! The Cloud 66 API, version 3: stacks and their SSL certificates. A stack is a service.
//!
//! Clients put `.json` behind every path or behind none, send forms or JSON whatever they declare,
//! and crash on what is null where they expect a text. spec/cloud66.md says which, and why. A route
//! is picked by the raw path, then the method is checked, then the token with its scopes, then the
//! body is read.

mod accounts;
mod allowance;
mod body;
mod call;
mod credentials;
mod dns_providers;
mod envelope;
mod faults;
mod notifications;
mod paging;
mod ping;
mod ssl_certificates;
mod stacks;

use http::Method;
use http::header::{HeaderName, HeaderValue};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::Context;
use crate::exchange::{Request, Response, path, segments};

use allowance::Standing;
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

/// How often the caller may ask, and still may.
const RATE_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const RATE_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

pub(crate) use allowance::Allowance;

/// Answers `/api/3…`.
pub(crate) async fn respond(context: &Context, request: Request) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let id = id.filter(|id| id.len() <= REQUEST_ID_SHOWN);
    let span = tracing::info_span!("cloud66", request_id = id.as_ref().and_then(shown));
    let mut standing = context.allowance.whole();
    let answering = async {
        let dispatched = dispatch(context, request, &mut standing).await;
        dispatched.unwrap_or_else(Fault::respond)
    };
    let mut response = answering.instrument(span).await;
    let headers = response.headers_mut();
    if let Some(id) = id {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(Standing { limit, remaining }) = standing {
        headers.insert(RATE_LIMIT, HeaderValue::from(limit));
        headers.insert(RATE_REMAINING, HeaderValue::from(remaining));
    }
    response
}

/// A header as text, if it is one.
fn shown(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

async fn dispatch(
    context: &Context,
    request: Request,
    standing: &mut Option<Standing>,
) -> Result<Response, Fault> {
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
    let (is_granted, left) = context
        .allowance
        .take(principal.account_id(), Instant::now());
    *standing = left;
    if !is_granted {
        return Err(Fault::Throttled);
    }
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
    Action,
    DnsProvider(&'a str),
    DnsProviders,
    /// What stacks do not have here.
    Nothing(&'a str),
    Notifications(&'a str),
    Ping,
    PingAuth,
    SslCertificate(&'a str, &'a str),
    SslCertificates(&'a str),
    Stack(&'a str),
    Stacks,
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
            ["stacks"] => Self::Stacks,
            ["stacks", stack] => Self::Stack(stack),
            ["stacks", _, "actions", _] => Self::Action,
            ["stacks", stack, "actions" | "server_groups" | "servers"] => Self::Nothing(stack),
            ["stacks", stack, "notifications"] => Self::Notifications(stack),
            ["stacks", stack, "ssl_certificates"] => Self::SslCertificates(stack),
            ["stacks", stack, "ssl_certificates", id] => Self::SslCertificate(stack, id),
            _ => return None,
        })
    }

    /// The methods served, as `Allow` lists them.
    const fn methods(self) -> &'static str {
        match self {
            Self::DnsProvider(_) => "DELETE",
            Self::DnsProviders | Self::SslCertificates(_) | Self::Stacks => "GET, HEAD, POST",
            Self::Account(_)
            | Self::Accounts
            | Self::Action
            | Self::Nothing(_)
            | Self::Notifications(_)
            | Self::Ping
            | Self::PingAuth => "GET, HEAD",
            Self::SslCertificate(..) => "GET, HEAD, PUT, PATCH, DELETE",
            Self::Stack(_) => "GET, HEAD, DELETE",
        }
    }

    /// What a token must be good for; `None` where none is needed.
    fn access(self, method: &Method) -> Option<Access> {
        let is_reading = matches!(*method, Method::GET | Method::HEAD);
        match self {
            Self::Ping => None,
            Self::DnsProvider(_)
            | Self::DnsProviders
            | Self::SslCertificate(..)
            | Self::SslCertificates(_) => Some(Access::Admin),
            Self::Stack(_) | Self::Stacks if !is_reading => Some(Access::Admin),
            Self::Account(_)
            | Self::Accounts
            | Self::Action
            | Self::Nothing(_)
            | Self::Notifications(_)
            | Self::PingAuth
            | Self::Stack(_)
            | Self::Stacks => Some(Access::Anybody),
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
            (Self::Action, _) => Err(Fault::NotFound("there is no such action".to_owned())),
            (Self::Nothing(stack), _) => stacks::nothing(call, stack).await,
            (Self::Notifications(stack), _) => notifications::list(call, stack).await,
            (Self::Stacks, &Method::POST) => stacks::create(call).await,
            (Self::Stacks, _) => stacks::list(call).await,
            (Self::Stack(stack), &Method::DELETE) => stacks::delete(call, stack).await,
            (Self::Stack(stack), _) => stacks::show(call, stack).await,
            (Self::SslCertificates(stack), &Method::POST) => {
                ssl_certificates::create(call, stack).await
            }
            (Self::SslCertificates(stack), _) => ssl_certificates::list(call, stack).await,
            (Self::SslCertificate(stack, id), &Method::PUT | &Method::PATCH) => {
                ssl_certificates::change(call, stack, id).await
            }
            (Self::SslCertificate(stack, id), &Method::DELETE) => {
                ssl_certificates::delete(call, stack, id).await
            }
            (Self::SslCertificate(stack, id), _) => ssl_certificates::show(call, stack, id).await,
        }
    }
}
