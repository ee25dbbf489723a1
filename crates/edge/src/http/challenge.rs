//! Challenges of ACME directories (RFC 8555 section 8.3): answered for whatever host, before a
//! service is looked for. What the house knows nothing of is left to the service, which may be
//! proving something itself. Directories begin in clear text, but follow a proxy in between that sends
//! them to TLS.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response};

use super::Directory;
use super::authority::{Host, Target};
use crate::metrics::Challenged;

/// Where directories look.
const PLACE: &str = "/.well-known/acme-challenge/";
/// How the kind is called in metrics.
const KIND: &str = "http-01";

/// The answer to a request, if it is one for a challenge of the house.
pub(super) async fn answer<D: Directory>(
    method: &Method,
    target: &Target,
    directory: &D,
) -> Option<Response<Bytes>> {
    let token = target.path.path().strip_prefix(PLACE)?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let found = match target.name().ok()? {
        Host::Name(name) => directory.challenge(name, token).await,
        Host::Address(address) => directory.challenge(&address.to_string(), token).await,
    };
    let (outcome, text) = match found {
        Ok(Some(text)) => (Challenged::Answered, Some(text)),
        Ok(None) => (Challenged::Unknown, None),
        Err(error) => {
            tracing::error!(%error, "the house could not be asked about a challenge");
            (Challenged::Failed, None)
        }
    };
    directory.metrics().challenged(KIND, outcome);
    let mut response = Response::new(Bytes::from(text?));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}
