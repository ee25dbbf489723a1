//! What relying parties fetch: OCSP answers (RFC 6960, RFC 5019), revocation lists and CA
//! certificates (RFC 5280 section 4.2). No credentials, any client.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Method, StatusCode};
use lifecycle::OcspAnswer;
use percent_encoding::percent_decode_str;

use crate::Context;
use crate::bodies::BodyFault;
use crate::exchange::{Request, Response, answer, path, plain_error, segments, with_allow};

/// Longest OCSP request: 64 certificate ids fit well.
const REQUEST_LIMIT: usize = 16 * 1024;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Answers `/ocsp…` and `/ca/…`.
pub(crate) async fn respond(context: &Context, request: Request) -> Response {
    let raw = path(&request).to_owned();
    if let Some(rest) = raw.strip_prefix("/ocsp")
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return ocsp(context, request, rest).await;
    }
    match segments(&raw).as_deref() {
        Some(["ca", file]) => ca_file(context, &request, file).await,
        _ => plain_error(StatusCode::NOT_FOUND, "not found"),
    }
}

/// Answers an OCSP request in either form. `rest` is what follows the responder's path: empty or
/// `/` for POST, `/<base64>` for GET, raw, because base64 holds slashes.
pub(crate) async fn ocsp(context: &Context, request: Request, rest: &str) -> Response {
    let is_get = *request.method() == Method::GET;
    let asked = if is_get {
        requested_in_path(rest)
    } else if *request.method() == Method::POST {
        match context
            .bodies
            .read(request.into_body(), REQUEST_LIMIT)
            .await
        {
            Ok(body) => body.octets.to_vec(),
            Err(BodyFault::TooLarge) => Vec::new(),
            Err(BodyFault::NoRoom) => {
                return plain_error(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too much is being sent; try again",
                );
            }
            Err(BodyFault::Interrupted) => {
                return plain_error(StatusCode::BAD_REQUEST, "could not read request body");
            }
        }
    } else {
        let refusal = plain_error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
        return with_allow(refusal, "GET, POST");
    };
    // A question that cannot be read at all is answered as OCSP answers it: malformedRequest.
    let OcspAnswer { der, cacheable } = context.house.authorities.answer_ocsp(&asked).await;
    let mut response = answer(StatusCode::OK, "application/ocsp-response", der);
    let caching = if is_get && cacheable {
        HeaderValue::from_static("max-age=300, public")
    } else {
        HeaderValue::from_static("no-store")
    };
    response.headers_mut().insert(CACHE_CONTROL, caching);
    response
}

/// An answer with a revocation list.
pub(crate) fn revocation_list(der: &[u8]) -> Response {
    answer(StatusCode::OK, "application/pkix-crl", der.to_vec())
}

/// An answer with a CA certificate.
pub(crate) fn ca_certificate(der: &[u8]) -> Response {
    answer(StatusCode::OK, "application/pkix-cert", der.to_vec())
}

/// `<key identifier>.cer` or `<key identifier>.crl`.
async fn ca_file(context: &Context, request: &Request, file: &str) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let refusal = plain_error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
        return with_allow(refusal, "GET, HEAD");
    }
    let authorities = &context.house.authorities;
    let found = match file.rsplit_once('.') {
        Some((key_identifier, "cer")) => authorities
            .certificate_by_key_identifier(key_identifier)
            .await
            .map(|certificate| ca_certificate(certificate.der())),
        Some((key_identifier, "crl")) => authorities
            .revocation_list_by_key_identifier(key_identifier)
            .await
            .map(|list| revocation_list(&list)),
        _ => return plain_error(StatusCode::NOT_FOUND, "not found"),
    };
    match found {
        Ok(response) => response,
        Err(lifecycle::Error::NotFound { .. }) => plain_error(StatusCode::NOT_FOUND, "not found"),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "publication failed"
            );
            plain_error(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        }
    }
}

/// The request in a GET path. Clients write raw slashes, percent-encoded ones, the URL-safe
/// alphabet, or leave out the padding; an `ocsp/` of an old client's double base path is dropped.
fn requested_in_path(rest: &str) -> Vec<u8> {
    let encoded = rest.strip_prefix('/').unwrap_or(rest);
    let encoded = encoded.strip_prefix("ocsp/").unwrap_or(encoded);
    if encoded.len() > 2 * REQUEST_LIMIT {
        return Vec::new();
    }
    let standard: Vec<u8> = percent_decode_str(encoded)
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    LENIENT.decode(standard).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::requested_in_path;

    #[test]
    fn every_spelling_of_base64_in_a_path_is_read() {
        let bytes = [0xfb, 0xff, 0xbf, 0xff, 0xfe];
        for spelling in [
            "/+/+///4=",
            "/%2B/%2B%2F//4%3D",
            "/-_-___4=",
            "/+/+///4",
            "/ocsp/+/+///4=",
        ] {
            assert_eq!(requested_in_path(spelling), bytes, "{spelling}");
        }
        assert!(requested_in_path("/***").is_empty());
        assert!(requested_in_path("").is_empty());
    }
}
