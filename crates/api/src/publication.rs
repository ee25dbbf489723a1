//! What relying parties fetch: OCSP answers (RFC 6960, RFC 5019), revocation lists and CA
//! certificates (RFC 5280 section 4.2). No credentials, any client.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, ETAG, EXPIRES, HeaderMap, HeaderValue, IF_NONE_MATCH, LAST_MODIFIED,
};
use http::{Method, StatusCode};
use lifecycle::{OcspAnswer, Repeatable};
use percent_encoding::percent_decode_str;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::Context;
use crate::bodies::BodyFault;
use crate::exchange::{Request, Response, answer, empty, path, plain_error, segments, with_allow};

/// Longest OCSP request: 64 certificate ids fit well.
const REQUEST_LIMIT: usize = 16 * 1024;

const OCSP_RESPONSE: &str = "application/ocsp-response";

/// For how long caches give an answer again. It ends well before the answer does.
const REPEATED: &str = "max-age=300, public";

/// `IMF-fixdate` (RFC 9110 section 5.6.7), of a time in UTC.
const HTTP_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

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
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    let authorities = &context.house.authorities;
    // A question that cannot be read at all is answered as OCSP answers it: malformedRequest.
    let answered = if is_get {
        authorities.answer_ocsp(&requested_in_path(rest)).await
    } else if *request.method() == Method::POST {
        match context
            .bodies
            .read(request.into_body(), REQUEST_LIMIT)
            .await
        {
            Ok(body) => authorities.answer_ocsp(&body.octets).await,
            Err(BodyFault::TooLarge) => authorities.answer_ocsp(&[]).await,
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
    let OcspAnswer { der, repeatable } = answered;
    // Nothing on the way keeps the answer to a POST.
    if let (true, Some(repeatable)) = (is_get, repeatable) {
        return cacheable(der, &repeatable, known.as_ref());
    }
    let mut response = answer(StatusCode::OK, OCSP_RESPONSE, der);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer that caches may keep (RFC 5019 section 6.2), or only the word that it is the one that
/// the client has.
fn cacheable(der: Bytes, repeatable: &Repeatable, known: Option<&HeaderValue>) -> Response {
    let Repeatable {
        this_update,
        next_update,
        tag,
    } = repeatable;
    let tag = format!("\"{tag:016x}\"");
    let mut response = if known.is_some_and(|known| names(known, &tag)) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        answer(StatusCode::OK, OCSP_RESPONSE, der)
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(REPEATED));
    insert(headers, ETAG, &tag);
    insert(headers, LAST_MODIFIED, &http_date(*this_update));
    insert(headers, EXPIRES, &http_date(*next_update));
    response
}

/// Whether `If-None-Match` names that entity tag.
fn names(known: &HeaderValue, tag: &str) -> bool {
    let Ok(known) = known.to_str() else {
        return false;
    };
    let mut known = known.split(',').map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    // Digits, letters and punctuation.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn http_date(moment: OffsetDateTime) -> String {
    let moment = moment.to_offset(time::UtcOffset::UTC);
    moment.format(HTTP_DATE).unwrap_or_default()
}

/// An answer with a revocation list.
pub(crate) fn revocation_list(der: Bytes) -> Response {
    answer(StatusCode::OK, "application/pkix-crl", der)
}

/// An answer with a CA certificate.
pub(crate) fn ca_certificate(der: &[u8]) -> Response {
    answer(StatusCode::OK, "application/pkix-cert", der.to_vec())
}

/// `<key identifier>.cer`, `<key identifier>.crl`, `<key identifier>-<shard>.crl`, or
/// `<key identifier>-ca.crl`.
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
        Some((list, "crl")) if let Some(key_identifier) = list.strip_suffix("-ca") => authorities
            .list_of_authorities_by_key_identifier(key_identifier)
            .await
            .map(revocation_list),
        Some((list, "crl")) => {
            let Some((key_identifier, shard)) = list_of(list) else {
                return plain_error(StatusCode::NOT_FOUND, "not found");
            };
            authorities
                .revocation_list_by_key_identifier(key_identifier, shard)
                .await
                .map(revocation_list)
        }
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

/// The key identifier and the shard in the name of a list.
fn list_of(name: &str) -> Option<(&str, u64)> {
    match name.split_once('-') {
        Some((key_identifier, shard)) => Some((key_identifier, shard_of(shard)?)),
        None => Some((name, 0)),
    }
}

/// The number of a shard with an address of its own. Each has one spelling.
pub(crate) fn shard_of(text: &str) -> Option<u64> {
    let shard: u64 = text.parse().ok()?;
    (shard > 0 && shard.to_string() == text && i64::try_from(shard).is_ok()).then_some(shard)
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
    use super::{requested_in_path, shard_of};

    #[test]
    fn a_shard_has_one_spelling() {
        assert_eq!(shard_of("12"), Some(12));
        for other in ["", "0", "+1", "01", "1 ", "-1", "x", "9223372036854775808"] {
            assert_eq!(shard_of(other), None, "{other}");
        }
    }

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
