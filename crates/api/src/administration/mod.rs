//! Chancery's own API, `/chancery/v1/…`: what the command line speaks. Described by
//! `/openapi.json`. Errors are problem documents (RFC 9457).

mod accounts;
mod audit;
mod authorities;
mod certificates;
mod certmaker;
mod checks;
mod clients;
mod dns;
mod faults;
mod issuers;
mod paging;
mod policies;
mod services;
mod targets;
mod tokens;
mod webhooks;

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;

use http::{Method, StatusCode};
use lifecycle::{Dialect, Principal, Reference, off_the_reactor};
use percent_encoding::percent_decode_str;

use crate::Context;
use crate::bodies::{BodyFault, Received, Room};
use crate::exchange::{
    DECODED_AT_ONCE, Request, Response, basic_password, bearer_token, path, segments, with_allow,
};
use crate::json::{Malformed, Object};
use faults::{Fault, problem};

/// Answers `/chancery/…`.
pub(crate) async fn respond(context: &Context, request: Request) -> Response {
    match dispatch(context, request).await {
        Ok(response) => response,
        Err(fault) => fault.into_response(),
    }
}

async fn dispatch(context: &Context, request: Request) -> Result<Response, Fault> {
    let path = path(&request).to_owned();
    let segments = segments(&path).unwrap_or_default();
    let Some((["chancery", "v1"], route)) = segments.split_first_chunk::<2>() else {
        return Err(Fault::new(StatusCode::NOT_FOUND, "no such route"));
    };
    let allowed = match route {
        [
            "accounts" | "authorities" | "certificates" | "certmaker" | "clients" | "dns"
            | "issuers" | "services" | "tokens" | "webhooks",
        ]
        | ["accounts", _, "preauthorized"] => "GET, POST",
        ["authorities", "import"]
        | [
            "authorities",
            _,
            "certificate" | "request" | "successor" | "switch",
        ]
        | ["authorities", _, "root", "export" | "remove" | "return"]
        | ["certificates", "upload"]
        | ["certificates", _, "renew" | "revoke"]
        | ["issuers", _, "default" | "rank" | "key"]
        | ["dns" | "webhooks", _, "test"]
        | ["targets", _, "placements"]
        | [
            "accounts",
            _,
            "allow-login" | "disable" | "enable" | "forbid-login" | "lock" | "unlock",
        ] => "POST",
        ["accounts", _, "policy"] | ["targets", _] => "GET, PUT, DELETE",
        ["dns", "kinds"]
        | ["authorities" | "check", _]
        | ["audit", "events" | "verify"]
        | ["handshake" | "targets"]
        | ["targets", _, "plan"]
        | ["targets", _, "certificates", _] => "GET",
        ["certificates" | "services" | "issuers", _] => "GET, DELETE",
        ["tokens" | "accounts" | "clients" | "dns" | "webhooks", _] => "DELETE",
        _ => return Err(Fault::new(StatusCode::NOT_FOUND, "no such route")),
    };
    let principal = authenticate(context, &request, route).await?;
    let mut call = Call {
        context,
        principal,
        request,
    };
    let method = call.request.method().clone();
    // What is added names its account in its body.
    let is_addition = method == Method::POST && route.len() == 1;
    if let ["issuers" | "dns", ..] = route
        && !is_addition
        && let Some(account) = call.parameter("account")?
    {
        let accounts = &context.house.accounts;
        call.principal = accounts.stand_in(&call.principal, &account).await?;
    }
    // Each in memory of its own: together they would take more of the stack than there is.
    let answer: Pin<Box<dyn Future<Output = Result<Response, Fault>> + Send + '_>> = match route {
        [
            "accounts" | "audit" | "certmaker" | "clients" | "tokens",
            ..,
        ] => Box::pin(to_accounts(call, method, route)),
        ["authorities", ..] => Box::pin(to_authorities(call, method, route)),
        ["certificates" | "check", ..] => Box::pin(to_certificates(call, method, route)),
        ["dns" | "issuers", ..] => Box::pin(to_issuers(call, method, route)),
        ["handshake" | "targets", ..] => Box::pin(to_targets(call, method, route)),
        _ => Box::pin(to_services(call, method, route)),
    };
    let response = answer.await?;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        return Ok(with_allow(response, allowed));
    }
    Ok(response)
}

/// `/accounts…`, `/tokens…`, `/clients…`, `/audit…` and `/certmaker`
async fn to_accounts(call: Call<'_>, method: Method, route: &[&str]) -> Result<Response, Fault> {
    match (method, route) {
        (Method::GET, ["audit", "events"]) => audit::events(call).await,
        (Method::GET, ["audit", "verify"]) => audit::verify(call).await,
        (Method::GET, ["tokens"]) => tokens::list(call).await,
        (Method::POST, ["tokens"]) => tokens::create(call).await,
        (Method::DELETE, ["tokens", id]) => tokens::delete(call, &decoded(id)?).await,
        (Method::GET, ["clients"]) => clients::list(call).await,
        (Method::POST, ["clients"]) => clients::register(call).await,
        (Method::DELETE, ["clients", name]) => clients::remove(call, &decoded(name)?).await,
        (Method::GET, ["accounts"]) => accounts::list(call).await,
        (Method::POST, ["accounts"]) => accounts::create(call).await,
        (Method::DELETE, ["accounts", name]) => accounts::delete(call, &decoded(name)?).await,
        (Method::GET, ["accounts", name, "policy"]) => policies::show(call, &decoded(name)?).await,
        (Method::PUT, ["accounts", name, "policy"]) => policies::set(call, &decoded(name)?).await,
        (Method::DELETE, ["accounts", name, "policy"]) => {
            policies::remove(call, &decoded(name)?).await
        }
        (Method::GET, ["accounts", name, "preauthorized"]) => {
            accounts::preauthorized(call, &decoded(name)?).await
        }
        (Method::POST, ["accounts", name, "preauthorized"]) => {
            accounts::preauthorize(call, &decoded(name)?).await
        }
        (Method::GET, ["certmaker"]) => certmaker::show(call).await,
        (Method::POST, ["certmaker"]) => certmaker::set(call).await,
        (Method::POST, ["accounts", name, change]) => {
            accounts::change(call, &decoded(name)?, change).await
        }
        _ => Ok(not_allowed()),
    }
}

/// `/authorities…`
async fn to_authorities(call: Call<'_>, method: Method, route: &[&str]) -> Result<Response, Fault> {
    match (method, route) {
        (Method::GET, ["authorities"]) => authorities::list(call).await,
        (Method::POST, ["authorities"]) => authorities::create(call).await,
        (Method::POST, ["authorities", "import"]) => authorities::import(call).await,
        (Method::POST, ["authorities", name, rest @ ..]) => {
            change_authority(call, &decoded(name)?, rest).await
        }
        (Method::GET, ["authorities", name]) => authorities::show(call, &decoded(name)?).await,
        _ => Ok(not_allowed()),
    }
}

/// `/certificates…` and `/check/…`
async fn to_certificates(
    call: Call<'_>,
    method: Method,
    route: &[&str],
) -> Result<Response, Fault> {
    match (method, route) {
        (Method::GET, ["certificates"]) => certificates::list(call).await,
        (Method::POST, ["certificates"]) => certificates::issue(call).await,
        (Method::POST, ["certificates", "upload"]) => certificates::upload(call).await,
        (Method::POST, ["certificates", name, "renew"]) => {
            certificates::renew(call, &reference(name)?).await
        }
        (Method::POST, ["certificates", name, "revoke"]) => {
            certificates::revoke(call, &reference(name)?).await
        }
        (Method::GET, ["certificates", name]) => certificates::show(call, &reference(name)?).await,
        (Method::DELETE, ["certificates", name]) => {
            certificates::delete(call, &reference(name)?).await
        }
        (Method::GET, ["check", name]) => checks::check(call, &decoded(name)?).await,
        _ => Ok(not_allowed()),
    }
}

/// `/issuers…` and `/dns…`
async fn to_issuers(call: Call<'_>, method: Method, route: &[&str]) -> Result<Response, Fault> {
    match (method, route) {
        (Method::GET, ["issuers"]) => issuers::list(call).await,
        (Method::POST, ["issuers"]) => issuers::add(call).await,
        (Method::GET, ["issuers", name]) => issuers::show(call, &decoded(name)?).await,
        (Method::DELETE, ["issuers", name]) => issuers::remove(call, &decoded(name)?).await,
        (Method::POST, ["issuers", name, "default"]) => {
            issuers::make_default(call, &decoded(name)?).await
        }
        (Method::POST, ["issuers", name, "rank"]) => issuers::rank_at(call, &decoded(name)?).await,
        (Method::POST, ["issuers", name, "key"]) => {
            issuers::change_key(call, &decoded(name)?).await
        }
        (Method::GET, ["dns"]) => dns::list(call).await,
        (Method::POST, ["dns"]) => dns::add(call).await,
        (Method::GET, ["dns", "kinds"]) => Ok(dns::kinds()),
        (Method::DELETE, ["dns", zone]) => dns::remove(call, &decoded(zone)?).await,
        (Method::POST, ["dns", zone, "test"]) => dns::test(call, &decoded(zone)?).await,
        _ => Ok(not_allowed()),
    }
}

/// `/services…` and `/webhooks…`
async fn to_services(call: Call<'_>, method: Method, route: &[&str]) -> Result<Response, Fault> {
    match (method, route) {
        (Method::GET, ["services"]) => services::list(call).await,
        (Method::POST, ["services"]) => services::create(call).await,
        (Method::GET, ["services", name]) => services::show(call, &reference(name)?).await,
        (Method::DELETE, ["services", name]) => services::delete(call, &reference(name)?).await,
        (Method::GET, ["webhooks"]) => webhooks::list(call).await,
        (Method::POST, ["webhooks"]) => webhooks::add(call).await,
        (Method::DELETE, ["webhooks", id]) => webhooks::remove(call, &decoded(id)?).await,
        (Method::POST, ["webhooks", id, "test"]) => webhooks::test(call, &decoded(id)?).await,
        _ => Ok(not_allowed()),
    }
}

/// `/targets…` and `/handshake`
async fn to_targets(call: Call<'_>, method: Method, route: &[&str]) -> Result<Response, Fault> {
    match (method, route) {
        (Method::GET, ["targets"]) => targets::list(call).await,
        (Method::GET, ["targets", name]) => targets::show(call, &decoded(name)?).await,
        (Method::PUT, ["targets", name]) => targets::register(call, &decoded(name)?).await,
        (Method::DELETE, ["targets", name]) => targets::remove(call, &decoded(name)?).await,
        (Method::GET, ["targets", name, "plan"]) => targets::plan(call, &decoded(name)?).await,
        (Method::GET, ["targets", name, "certificates", id]) => {
            targets::material(call, &decoded(name)?, &decoded(id)?).await
        }
        (Method::POST, ["targets", name, "placements"]) => {
            targets::acknowledge(call, &decoded(name)?).await
        }
        (Method::GET, ["handshake"]) => targets::handshake(call).await,
        _ => Ok(not_allowed()),
    }
}

/// The dialect that a request is of: what those who deliver do is one of its own, so that their
/// tokens are good for nothing else here, and all others are not good for that.
fn dialect(method: &Method, route: &[&str]) -> Dialect {
    match route {
        ["handshake"] | ["targets", _, _, ..] => Dialect::Delivery,
        ["targets", _] if *method == Method::PUT => Dialect::Delivery,
        _ => Dialect::Chancery,
    }
}

fn not_allowed() -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
}

/// `POST /chancery/v1/authorities/NAME/…`
async fn change_authority(call: Call<'_>, name: &str, change: &[&str]) -> Result<Response, Fault> {
    match change {
        ["certificate"] => authorities::install_certificate(call, name).await,
        ["request"] => authorities::request_certificate(call, name).await,
        ["root", "export"] => authorities::export_root_key(call, name).await,
        ["root", "remove"] => authorities::remove_root_key(call, name).await,
        ["root", "return"] => authorities::return_root_key(call, name).await,
        ["successor"] => authorities::make_successor(call, name).await,
        ["switch"] => authorities::switch_root(call, name).await,
        _ => Ok(not_allowed()),
    }
}

/// What a route reads.
trait Body: Send + Sized + 'static {
    /// Its greatest length, in octets.
    const LIMIT: usize = 64 * 1024;

    /// The members that it may have.
    const MEMBERS: &'static [&'static str];

    /// Decodes the members.
    fn read(object: Object<'_>) -> Result<Self, Malformed>;
}

/// A request whose sender is known.
struct Call<'a> {
    context: &'a Context,
    principal: Principal,
    request: Request,
}

impl Call<'_> {
    /// The JSON body, with the room that it takes; an empty one counts as `{}`.
    async fn body<T: Body>(self) -> Result<(Principal, T, Room), Fault> {
        let bodies = &self.context.bodies;
        let received = bodies.read(self.request.into_body(), T::LIMIT).await;
        let Received { octets, room } = received.map_err(|fault| match fault {
            BodyFault::NoRoom => Fault::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too much is being uploaded; try again",
            ),
            BodyFault::TooLarge => Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "body too large"),
            BodyFault::Interrupted => Fault::new(StatusCode::BAD_REQUEST, "body incomplete"),
        })?;
        let length = octets.len();
        let decode = move || {
            let text: &[u8] = if octets.is_empty() { b"{}" } else { &octets };
            T::read(Object::read(text, T::MEMBERS)?)
        };
        let body = if length > DECODED_AT_ONCE {
            off_the_reactor(decode).await?
        } else {
            decode()
        };
        Ok((self.principal, body?, room))
    }

    /// The decoded value of a query parameter, the first if it is repeated.
    fn parameter(&self, name: &str) -> Result<Option<String>, Fault> {
        let query = self.request.uri().query().unwrap_or_default();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if key == name && !value.is_empty() {
                return decoded(value).map(Some);
            }
        }
        Ok(None)
    }
}

async fn authenticate(
    context: &Context,
    request: &Request,
    route: &[&str],
) -> Result<Principal, Fault> {
    let headers = request.headers();
    let dialect = dialect(request.method(), route);
    let mut token = bearer_token(headers).unwrap_or_default().to_owned();
    if let ["handshake"] = route
        && let Some(password) = basic_password(headers)
    {
        // Caddy takes credentials as part of the URL and nowhere else.
        token = password;
    }
    let tokens = &context.house.tokens;
    Ok(tokens.authenticate(&token, dialect).await?)
}

/// An object named by uuid or name in a path.
fn reference<Id: FromStr>(segment: &str) -> Result<Reference<Id>, Fault> {
    decoded(segment).map(named)
}

/// An object named by uuid or name.
fn named<Id: FromStr>(text: String) -> Reference<Id> {
    match text.parse() {
        Ok(id) => Reference::Id(id),
        Err(_) => Reference::Name(text),
    }
}

fn decoded(text: &str) -> Result<String, Fault> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| Fault::new(StatusCode::BAD_REQUEST, "not UTF-8"))?;
    Ok(decoded.into_owned())
}
