//! The CertMaker dialect: a small private CA for clients of every generation of that API.
//!
//! A route is picked by the raw path, then the method is checked, then the token, then the body is
//! read. Clients judge by exact status codes and headers; spec/certmaker.md says which, and why.

mod challenges;
mod credentials;
mod faults;
mod members;
mod obtain;
mod orders;
mod revocation;
mod simple_request;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Incoming;
use lifecycle::Authority;
use zeroize::Zeroizing;

use crate::Context;
use crate::exchange::{Request, Response, path, plain_error, segments, with_allow};
use crate::publication;
use faults::Fault;

/// Where the dialect lives; location headers repeat it.
const PREFIX: &str = "/api/v1";

/// Longest body of a request, in octets. Orders with hundreds of names stay well below.
const BODY_LIMIT: usize = 64 * 1024;

/// Answers `/api/v1…`.
pub(crate) async fn respond(context: &Context, request: Request) -> Response {
    let raw = path(&request).to_owned();
    let inner = raw.strip_prefix(PREFIX).unwrap_or(&raw);
    // The base64 of an OCSP request holds slashes: it is no sequence of segments.
    if let Some(rest) = inner.strip_prefix("/ocsp")
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return publication::ocsp(context, request, rest).await;
    }
    let segments = segments(inner);
    let Some(route) = segments.as_deref().and_then(Route::of) else {
        return plain_error(StatusCode::NOT_FOUND, "not found");
    };
    let allowed = route.methods(context);
    if !allowed.split(", ").any(|method| method == request.method()) {
        let refusal = plain_error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
        return with_allow(refusal, allowed);
    }
    match route.serve(context, request).await {
        Ok(response) => response,
        Err(fault) if route.revokes() => fault.respond_to_revocation(),
        Err(fault) => fault.respond(context.settings.certmaker.unknown_account_status),
    }
}

/// What is served under the prefix, OCSP aside.
#[derive(Debug, Clone, Copy)]
enum Route<'a> {
    CaCertificate,
    Certificate(&'a str),
    Dns01(&'a str),
    Http01(&'a str),
    LocatedChallenge(&'a str),
    OrderByLocation,
    OrderByRequest,
    OrderBySimpleRequest,
    PrivateKey(&'a str),
    RevocationList,
    RevocationListOfAuthorities,
    RevocationListPem,
    RevocationListShard(&'a str),
    Revoke,
    RevokeSerial(&'a str),
    RootCertificate,
}

impl<'a> Route<'a> {
    fn of(segments: &[&'a str]) -> Option<Self> {
        Some(match segments {
            ["ca.cer"] => Self::CaCertificate,
            ["certificate", "request"] => Self::OrderByLocation,
            ["certificate", "request-with-csr"] => Self::OrderByRequest,
            ["certificate", "request-with-simplerequest"] => Self::OrderBySimpleRequest,
            ["certificate", "revoke"] => Self::Revoke,
            ["certificate", serial, "obtain"] => Self::Certificate(serial),
            ["certificate", serial, "revoke"] => Self::RevokeSerial(serial),
            ["challenge", id, "solve"] => Self::LocatedChallenge(id),
            ["crl"] => Self::RevocationList,
            ["crl", "ca"] => Self::RevocationListOfAuthorities,
            ["crl", shard] => Self::RevocationListShard(shard),
            ["crl.pem"] => Self::RevocationListPem,
            ["dns-01", id, "solve"] => Self::Dns01(id),
            ["http-01", id, "solve"] => Self::Http01(id),
            ["privatekey", serial, "obtain"] => Self::PrivateKey(serial),
            ["root-certificate", "obtain"] => Self::RootCertificate,
            _ => return None,
        })
    }

    /// The methods served, as `Allow` lists them.
    fn methods(self, context: &Context) -> &'static str {
        match self {
            Self::CaCertificate
            | Self::Certificate(_)
            | Self::PrivateKey(_)
            | Self::RevocationList
            | Self::RevocationListOfAuthorities
            | Self::RevocationListPem
            | Self::RevocationListShard(_)
            | Self::RootCertificate => "GET, HEAD",
            Self::Dns01(_) | Self::Http01(_) => "GET, POST",
            Self::LocatedChallenge(_) => "GET",
            Self::RevokeSerial(_) if context.settings.certmaker.allow_get_revoke => "GET, POST",
            Self::OrderByLocation
            | Self::OrderByRequest
            | Self::OrderBySimpleRequest
            | Self::Revoke
            | Self::RevokeSerial(_) => "POST",
        }
    }

    /// Whether the stricter table of status codes holds: clients take whatever they do not know
    /// for success.
    fn revokes(self) -> bool {
        matches!(self, Self::Revoke | Self::RevokeSerial(_))
    }

    async fn serve(self, context: &Context, request: Request) -> Result<Response, Fault> {
        let (head, body) = request.into_parts();
        // Asked for by every arm but those of what relying parties fetch.
        let caller = credentials::authenticate(context, &head.headers);
        match self {
            Self::CaCertificate => obtain::ca_certificate(context, &head).await,
            Self::Certificate(serial) => obtain::certificate(context, &caller.await?, serial).await,
            Self::Dns01(id) => challenges::solve_dns(context, &caller.await?, id).await,
            Self::Http01(id) => {
                challenges::solve_http(context, &caller.await?, id, &head, body).await
            }
            Self::LocatedChallenge(id) => {
                challenges::solve_located(context, &caller.await?, id, &head).await
            }
            Self::OrderByLocation => {
                orders::by_location(context, &caller.await?, &head, body).await
            }
            Self::OrderByRequest => orders::by_request(context, &caller.await?, &head, body).await,
            Self::OrderBySimpleRequest => {
                orders::by_simple_request(context, &caller.await?, &head, body).await
            }
            Self::PrivateKey(serial) => obtain::private_key(context, &caller.await?, serial).await,
            Self::RevocationList => obtain::revocation_list(context, &head, 0).await,
            Self::RevocationListOfAuthorities => {
                obtain::revocation_list_of_authorities(context, &head).await
            }
            Self::RevocationListPem => obtain::revocation_list_pem(context, &head).await,
            Self::RevocationListShard(shard) => {
                let shard = publication::shard_of(shard).ok_or(Fault::NotFound)?;
                obtain::revocation_list(context, &head, shard).await
            }
            Self::Revoke => revocation::named_in_body(context, &caller.await?, body).await,
            Self::RevokeSerial(serial) => {
                revocation::named_in_path(context, &caller.await?, serial, body).await
            }
            Self::RootCertificate => obtain::root_certificate(context, &caller.await?, &head).await,
        }
    }
}

/// Reads a body within the dialect's limit.
async fn body_of(context: &Context, body: Incoming) -> Result<Zeroizing<Vec<u8>>, Fault> {
    // So short a body takes no room that would have to be kept.
    Ok(context.bodies.read(body, BODY_LIMIT).await?.octets)
}

/// The authority that the request is about: the one named in `X-Issuer-Context`, else the one
/// behind this dialect.
async fn authority_of(context: &Context, headers: &HeaderMap) -> Result<Arc<Authority>, Fault> {
    let named = headers.get("x-issuer-context");
    let name = match named.map(HeaderValue::to_str) {
        None => context.settings.certmaker.authority.as_str(),
        Some(Ok(name)) => name,
        Some(Err(_)) => return Err(Fault::invalid("X-Issuer-Context names no issuer")),
    };
    Ok(context.house.authorities.named(name).await?)
}
