//! OAuth 2 as Cloud 66 has it, at the root of the host: the page where a person allows a program
//! something, the exchange of its code for a token, and what `cx` is told of this server.
//!
//! Nothing is answered at a redirect before it is known to be one of the client's; every fault until
//! then is a page of our own. Parameters that come twice are refused (RFC 6749 section 3.1).

mod consent;
mod page;
mod parameters;
mod redemption;

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Method, StatusCode};
use lifecycle::CX_CLIENT;
use serde_json::json;

use crate::Context;
use crate::exchange::{Request, Response, answer, json as json_answer, path, segments, with_allow};

/// Longest body of a form, in octets.
const BODY_LIMIT: usize = 64 * 1024;

/// Answers `/oauth…` and `/api/tooling…`.
pub(crate) async fn respond(context: &Context, request: Request) -> Response {
    let raw = path(&request).to_owned();
    let segments = segments(&raw).unwrap_or_default();
    let allowed = match segments.as_slice() {
        ["oauth", "authorize"] => "GET, POST",
        ["oauth", "style.css"] | ["api", "tooling", "cx", "config"] => "GET, HEAD",
        ["oauth", "token"] => "POST",
        _ => return refusal(StatusCode::NOT_FOUND, "not_found", "there is nothing here"),
    };
    let method = request.method().clone();
    if !allowed.split(", ").any(|known| known == method) {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let refusal = refusal(status, "method_not_allowed", "method not allowed");
        return with_allow(refusal, allowed);
    }
    match (method, segments.as_slice()) {
        (Method::POST, ["oauth", "authorize"]) => consent::decide(context, request).await,
        (_, ["oauth", "authorize"]) => consent::ask(context, &request).await,
        (_, ["oauth", "style.css"]) => answer(StatusCode::OK, "text/css", page::STYLE),
        (_, ["oauth", "token"]) => redemption::redeem(context, request).await,
        _ => tooling(context),
    }
}

/// What `cx config create --auto` asks for. Everybody may know it, so the secret is none.
fn tooling(context: &Context) -> Response {
    let host = &context.settings.public_url;
    json_answer(
        StatusCode::OK,
        &json!({
            "response": {
                "api_url": format!("{host}/api/3"),
                "base_url": host,
                "client_id": CX_CLIENT,
                "client_secret": CX_CLIENT,
                "faye_endpoint": "",
            }
        }),
    )
}

/// A refusal in the form of Cloud 66's errors, which holds that of RFC 6749 section 5.2.
fn refusal(status: StatusCode, code: &str, text: &str) -> Response {
    let body = json!({ "error": code, "error_description": text, "details": text });
    unkept(json_answer(status, &body))
}

/// The same answer, for nobody to keep (RFC 6749 section 5.1).
fn unkept(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
