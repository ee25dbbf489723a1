//! What all dialects need of HTTP: raw paths, credentials, and answers.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use zeroize::Zeroizing;

/// A request as it came from the wire.
pub type Request = http::Request<Incoming>;

/// Who sent a request, and how; the server puts it among the extensions of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    /// Where the connection comes from.
    pub(crate) address: IpAddr,
    /// Whether it is TLS.
    pub(crate) is_secure: bool,
}

/// An answer. Bodies are whole, or streamed where a list may be long.
pub type Response = http::Response<Body>;

/// A body of an answer. An error in it ends the connection, so that nobody takes a part for the
/// whole.
pub(crate) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Longest body that brings certificates: a chain and a key of the greatest length.
pub(crate) const UPLOAD_LIMIT: usize = 20 * 1024 * 1024;

/// Longest body that is decoded where it was read: more takes a processor for so long that others
/// would wait.
pub(crate) const DECODED_AT_ONCE: usize = 64 * 1024;

/// The raw path; glued base URLs may begin it with `//`, which counts as `/`.
pub(crate) fn path(request: &Request) -> &str {
    let path = request.uri().path();
    match path.strip_prefix("//") {
        Some(_) => path.get(1..).unwrap_or(path),
        None => path,
    }
}

/// The non-empty segments of a path without a trailing slash, or `None` if a segment within it is
/// empty: `//` is not merged.
pub(crate) fn segments(path: &str) -> Option<Vec<&str>> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let segments: Vec<&str> = inner.split('/').collect();
    (!segments.contains(&"")).then_some(segments)
}

/// The token of an `Authorization: Bearer` header; the scheme's case does not matter.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    authorization(headers, "bearer")
}

/// The password of an `Authorization: Basic` header.
pub(crate) fn basic_password(headers: &HeaderMap) -> Option<String> {
    let (_, password) = basic_credentials(headers)?;
    Some(password.as_str().to_owned())
}

/// User and password of an `Authorization: Basic` header.
pub(crate) fn basic_credentials(headers: &HeaderMap) -> Option<(String, Zeroizing<String>)> {
    let encoded = authorization(headers, "basic")?;
    let decoded = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((user.to_owned(), Zeroizing::new(password.to_owned())))
}

fn authorization<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case(wanted)
        .then_some(credentials.trim())
}

/// An answer with a whole body.
pub(crate) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response {
    let body = Full::new(body.into()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let body = Full::new(Bytes::new()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => answer(status, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be encoded");
            answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                "application/json",
                r#"{"error":"internal error"}"#,
            )
        }
    }
}

/// `{"error": text}`, the form of errors outside of the dialects that have another.
pub(crate) fn plain_error(status: StatusCode, text: &str) -> Response {
    json(status, &serde_json::json!({ "error": text }))
}

/// The same answer with `Allow`, as 405 demands.
pub(crate) fn with_allow(mut response: Response, methods: &'static str) -> Response {
    response
        .headers_mut()
        .insert(http::header::ALLOW, HeaderValue::from_static(methods));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_forgive_a_trailing_slash_and_nothing_else() {
        assert_eq!(segments("/"), Some(vec![]));
        assert_eq!(
            segments("/v1/certificates/"),
            Some(vec!["v1", "certificates"])
        );
        assert_eq!(segments("/v1//certificates"), None);
        assert_eq!(segments("/v1/a%2Fb"), Some(vec!["v1", "a%2Fb"]));
    }

    #[test]
    fn credentials_are_read_whatever_the_case_of_the_scheme() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))])
        };
        assert_eq!(bearer_token(&headers("bEARER  abc ")), Some("abc"));
        assert_eq!(bearer_token(&headers("Basic abc")), None);
        assert_eq!(
            basic_password(&headers("Basic eDp0b2s6ZW4=")).as_deref(),
            Some("tok:en")
        );
        assert_eq!(basic_password(&headers("Basic %%%")), None);
    }
}
