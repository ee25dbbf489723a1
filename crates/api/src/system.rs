//! What belongs to no dialect: health, metrics, challenges of ACME directories, and paths that nobody
//! serves.

use http::header::HOST;
use http::uri::Authority;
use http::{Method, StatusCode};

use crate::Context;
use crate::exchange::{Request, Response, answer, json, path, plain_error, segments, with_allow};

/// Answers outside of all prefixes.
pub(crate) async fn respond(context: &Context, request: &Request) -> Response {
    let Some(segments) = segments(path(request)) else {
        return plain_error(StatusCode::NOT_FOUND, "not found");
    };
    let known = matches!(
        segments.as_slice(),
        ["healthz" | "readyz" | "metrics" | "openapi.json"] | [".well-known", "acme-challenge", _]
    );
    if known && !matches!(*request.method(), Method::GET | Method::HEAD) {
        let refusal = plain_error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
        return with_allow(refusal, "GET, HEAD");
    }
    match segments.as_slice() {
        ["healthz"] => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
        ["readyz"] => ready(context).await,
        ["metrics"] => metrics(context).await,
        ["openapi.json"] => answer(
            StatusCode::OK,
            "application/json",
            include_str!("openapi.json"),
        ),
        [".well-known", "acme-challenge", token] => challenge(context, request, token).await,
        ["certificates" | "services" | "instances", ..] => plain_error(
            StatusCode::NOT_FOUND,
            "not found: the base URL of the KraftCloud API must end in /v1",
        ),
        ["certificate" | "root-certificate", ..] => plain_error(
            StatusCode::NOT_FOUND,
            "not found: the base URL of the CertMaker API ends before /api/v1",
        ),
        _ => plain_error(StatusCode::NOT_FOUND, "not found"),
    }
}

/// The answer to a directory that looks for a proof of control (RFC 8555 section 8.3), whatever the
/// host.
async fn challenge(context: &Context, request: &Request, token: &str) -> Response {
    match context.house.answers.http(host(request), token).await {
        Ok(Some(text)) => answer(StatusCode::OK, "application/octet-stream", text),
        Ok(None) => plain_error(StatusCode::NOT_FOUND, "there is no such challenge"),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a challenge was missed"
            );
            plain_error(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer")
        }
    }
}

/// The host that a request names, without port and brackets; empty when it names none.
fn host(request: &Request) -> &str {
    let field = || request.headers().get(HOST)?.to_str().ok();
    let authority = request.uri().authority().map(Authority::as_str);
    let text = authority.or_else(field).unwrap_or_default();
    match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => text.split(':').next().unwrap_or_default(),
    }
}

async fn ready(context: &Context) -> Response {
    match context.house.check().await {
        Ok(()) => json(StatusCode::OK, &serde_json::json!({ "status": "ready" })),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
            plain_error(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer")
        }
    }
}

async fn metrics(context: &Context) -> Response {
    context.metrics.count(&context.house.tally.counts());
    match context.house.standing().await {
        Ok(standing) => context.metrics.stand(&standing),
        // The counters are worth the more when the store is away.
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "how the house stands is not known"
        ),
    }
    match context.metrics.encode() {
        Ok(text) => answer(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            text,
        ),
        Err(error) => {
            tracing::error!(%error, "metrics could not be encoded");
            plain_error(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        }
    }
}
