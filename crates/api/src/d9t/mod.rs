//! The D9T Ready dialect: private keys and the certificates under them, for clients that walk links.
//!
//! Who asks is settled before anything else: without good credentials every path below `/rest` is
//! closed. spec/d9t.md says which answers clients expect, and why.

mod body;
mod certificates;
mod credentials;
mod faults;
mod links;
mod lists;
mod private_keys;
mod requests;

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use hyper::body::Incoming;
use lifecycle::Principal;
use serde::Serialize;

use crate::Context;
use crate::bodies::Received;
use crate::exchange::{Request, Response, json, path, segments};
use faults::Fault;
use links::{Link, Links};

/// Where the dialect lives; links repeat it.
const PREFIX: &str = "/rest";

/// Longest body of a request, in octets.
const BODY_LIMIT: usize = 256 * 1024;

/// Answers `/rest…`.
pub(crate) async fn respond(context: &Context, request: Request) -> Response {
    let raw = path(&request).to_owned();
    let inner = raw.strip_prefix(PREFIX).unwrap_or(&raw);
    let route = segments(inner).and_then(|segments| Route::of(&segments));
    match serve(context, request, route).await {
        Ok(response) => response,
        Err(fault) => fault.respond(),
    }
}

async fn serve(
    context: &Context,
    request: Request,
    route: Option<Route>,
) -> Result<Response, Fault> {
    let principal = credentials::authenticate(context, &request).await?;
    let route = route.ok_or(Fault::NotFound)?;
    let allowed = route.methods();
    if !allowed.split(", ").any(|method| method == request.method()) {
        return Err(Fault::Method(allowed));
    }
    let links = Links::of(context, &request);
    let (head, body) = request.into_parts();
    let call = Call {
        context,
        principal: &principal,
        links: &links,
    };
    match (head.method.as_str(), route) {
        ("POST", Route::PrivateKeys) => private_keys::create(call, body).await,
        (_, Route::PrivateKeys) => lists::private_keys(call).await,
        ("DELETE", Route::PrivateKey(key)) => private_keys::delete(call, key).await,
        (method, Route::PrivateKey(key)) => private_keys::show(call, key, method != "HEAD").await,
        ("POST", Route::CertificatesUnder(key)) => certificates::add(call, key, body).await,
        (_, Route::CertificatesUnder(key)) => lists::certificates(call, Some(key)).await,
        ("PUT", Route::Certificate(key, number)) => {
            certificates::replace(call, key, number, body).await
        }
        ("DELETE", Route::Certificate(key, number)) => {
            certificates::delete(call, key, number).await
        }
        (_, Route::Certificate(key, number)) => certificates::show(call, key, number).await,
        (_, Route::Request(key, number)) => requests::show(call, key, number, &head.headers).await,
        (_, Route::Certificates) => lists::certificates(call, None).await,
        (_, Route::Root) => Ok(json(StatusCode::OK, &Root::of(&links))),
    }
}

/// What a handler needs of a request, whatever it is.
#[derive(Clone, Copy)]
struct Call<'a> {
    context: &'a Context,
    principal: &'a Principal,
    links: &'a Links,
}

impl Call<'_> {
    /// Reads a body within the dialect's limit.
    async fn body_of(&self, body: Incoming) -> Result<Received, Fault> {
        Ok(self.context.bodies.read(body, BODY_LIMIT).await?)
    }
}

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Certificate(u64, u64),
    Certificates,
    CertificatesUnder(u64),
    PrivateKey(u64),
    PrivateKeys,
    Request(u64, u64),
    Root,
}

impl Route {
    fn of(segments: &[&str]) -> Option<Self> {
        Some(match segments {
            [] => Self::Root,
            ["certificates"] => Self::Certificates,
            ["privatekeys"] => Self::PrivateKeys,
            ["privatekeys", key] => Self::PrivateKey(number(key)?),
            ["privatekeys", key, "certificates"] => Self::CertificatesUnder(number(key)?),
            ["privatekeys", key, "certificates", certificate] => {
                Self::Certificate(number(key)?, number(certificate)?)
            }
            ["privatekeys", key, "certificates", certificate, "csr"] => {
                Self::Request(number(key)?, number(certificate)?)
            }
            _ => return None,
        })
    }

    /// The methods served, as `Allow` lists them.
    fn methods(self) -> &'static str {
        match self {
            Self::Certificate(..) => "GET, HEAD, PUT, DELETE",
            Self::Certificates | Self::Request(..) | Self::Root => "GET, HEAD",
            Self::CertificatesUnder(_) | Self::PrivateKeys => "GET, HEAD, POST",
            Self::PrivateKey(_) => "GET, HEAD, DELETE",
        }
    }
}

/// A number as links write it: no sign, no zeros before it.
fn number(segment: &str) -> Option<u64> {
    let is_plain = segment.bytes().all(|byte| byte.is_ascii_digit()) && !segment.starts_with('0');
    let number = segment.parse().ok().filter(|_| is_plain)?;
    // No greater one is ever given.
    i64::try_from(number).is_ok().then_some(number)
}

#[derive(Serialize)]
struct Root {
    #[serde(rename = "_links")]
    links: [Link; 2],
}

impl Root {
    fn of(links: &Links) -> Self {
        Self {
            links: [links.private_keys(), links.certificates()],
        }
    }
}

/// 201 with the address of what was made.
fn created(address: &str, value: &impl Serialize) -> Response {
    let mut response = json(StatusCode::CREATED, value);
    if let Ok(address) = HeaderValue::from_str(address) {
        response.headers_mut().insert(LOCATION, address);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positive_integers_are_numbers() {
        assert_eq!(number("1"), Some(1));
        assert_eq!(number("9223372036854775807"), Some(i64::MAX.unsigned_abs()));
        for bad in ["", "0", "01", "-1", "+1", "1.0", "1e2", " 1", "٧", "abc"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
        assert_eq!(number("9223372036854775808"), None);
        assert_eq!(number(&"9".repeat(400)), None);
    }

    #[test]
    fn routes_are_whole_paths() {
        let of = |path: &str| segments(path).and_then(|segments| Route::of(&segments));
        assert_eq!(of(""), Some(Route::Root));
        assert_eq!(of("/"), Some(Route::Root));
        assert_eq!(of("/privatekeys/"), Some(Route::PrivateKeys));
        assert_eq!(
            of("/privatekeys/3/certificates/4/csr"),
            Some(Route::Request(3, 4))
        );
        for path in [
            "/balances",
            "//privatekeys",
            "/privatekeys/x",
            "/privatekeys/1/certificate",
            "/privatekeys/1/certificates/2/csr/3",
            "/certificates/1",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
