//! What clients see when no instance answered them: which kind of thing went wrong, and a name to
//! look the request up by. Nothing of the inside.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::access::RequestId;
use super::authority::Malformed;
use super::balancer::NoInstance;

/// Why no instance answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request is not understood in one way.
    Malformed(Malformed),
    /// The host is nobody's domain.
    UnknownHost,
    /// The host is not served on this connection.
    Misdirected,
    /// The host's service does not publish this port.
    NotPublished,
    /// No instance took the request.
    NoInstance(NoInstance),
    /// The instance broke off, or what it sent was no answer.
    Broken,
    /// The instance did not answer in time.
    TimedOut,
    /// The client sent nothing more of the body.
    Stalled,
    /// The house could not be asked whose domain it is.
    Unavailable,
}

impl Fault {
    /// The status that says so (RFC 9110 section 15).
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Malformed(Malformed::TooManyFields) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::Malformed(Malformed::Loop) => StatusCode::LOOP_DETECTED,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::UnknownHost | Self::NotPublished => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::NoInstance(NoInstance::Unreachable) | Self::Broken => StatusCode::BAD_GATEWAY,
            Self::NoInstance(NoInstance::None | NoInstance::Busy) | Self::Unavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// What the client is told.
    fn explanation(self) -> String {
        let text = match self {
            Self::Malformed(malformed) => return format!("{malformed}."),
            Self::NoInstance(reason) => return format!("{reason}."),
            Self::UnknownHost => "nothing is served under this name.",
            Self::Misdirected => "this name is not served on this connection.",
            Self::NotPublished => "nothing is served under this name on this port.",
            Self::Broken => "the instance broke off.",
            Self::TimedOut => "the instance did not answer in time.",
            Self::Stalled => "nothing more of the request came.",
            Self::Unavailable => "it is not known at present what is served under this name.",
        };
        text.to_owned()
    }

    /// Whether what follows on an HTTP/1.1 connection cannot be trusted.
    pub(super) fn ends_connection(self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Stalled)
    }

    /// The page of this fault: HTML for who asks for that, else text.
    pub(super) fn page(self, wants_html: bool, id: RequestId) -> Response<Bytes> {
        let status = self.status();
        let reason = status.canonical_reason().unwrap_or("Error");
        let code = status.as_u16();
        let explanation = capitalised(&self.explanation());
        let (kind, text) = if wants_html {
            let page = format!(
                "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
                 <title>{code} {reason}</title>\n<h1>{code} {reason}</h1>\n\
                 <p>{explanation}</p>\n<p>Request {id}</p>\n</html>\n"
            );
            ("text/html; charset=utf-8", page)
        } else {
            let page = format!("{code} {reason}\n{explanation}\nRequest {id}\n");
            ("text/plain; charset=utf-8", page)
        };
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<NoInstance> for Fault {
    fn from(reason: NoInstance) -> Self {
        Self::NoInstance(reason)
    }
}

/// Whether a client would rather see HTML: it names it, as browsers do.
pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .any(|value| value.as_bytes().windows(9).any(|text| text == b"text/html"))
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::access::RequestIds;

    #[test]
    fn every_fault_has_its_status_and_says_what_it_is() {
        for (fault, status, text) in [
            (Fault::Malformed(Malformed::Length), 400, "length"),
            (Fault::Malformed(Malformed::TooManyFields), 431, "too many"),
            (
                Fault::UnknownHost,
                404,
                "nothing is served under this name.",
            ),
            (Fault::NotPublished, 404, "port"),
            (Fault::Misdirected, 421, "connection"),
            (
                Fault::NoInstance(NoInstance::Unreachable),
                502,
                "no instance accepted",
            ),
            (Fault::Broken, 502, "broke off"),
            (Fault::NoInstance(NoInstance::Busy), 503, "at their limit"),
            (Fault::NoInstance(NoInstance::None), 503, "has no instance"),
            (Fault::Unavailable, 503, "at present"),
            (Fault::TimedOut, 504, "in time"),
            (Fault::Stalled, 408, "nothing more"),
        ] {
            let id = RequestIds::default().next();
            for wants_html in [true, false] {
                let page = fault.page(wants_html, id);
                assert_eq!(page.status().as_u16(), status, "{fault:?}");
                let body = String::from_utf8(page.body().to_vec())
                    .unwrap()
                    .to_lowercase();
                assert!(body.contains(text), "{body}");
                assert!(body.contains(&id.to_string()), "{body}");
                assert_eq!(body.contains("<html"), wants_html);
            }
        }
    }

    #[test]
    fn browsers_get_html_and_others_text() {
        let asks = |value: &'static str| {
            let headers = [(ACCEPT, HeaderValue::from_static(value))];
            wants_html(&headers.into_iter().collect())
        };
        assert!(asks("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(!asks("*/*"));
        assert!(!asks("application/json"));
        assert!(!wants_html(&HeaderMap::new()));
    }

    #[test]
    fn two_requests_have_different_names() {
        let ids = RequestIds::default();
        assert_ne!(ids.next(), ids.next());
    }
}
