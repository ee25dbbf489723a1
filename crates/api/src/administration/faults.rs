//! From the house's kinds of error to problem documents. The only place that decides statuses here.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use lifecycle::{AuthenticationError, Error, Unfinished};
use serde_json::json;

use crate::exchange::{Response, json as json_answer};
use crate::json::{Malformed, without_pem};

/// A refusal on its way to the wire.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    detail: String,
}

impl Fault {
    /// A refusal; what `detail` quotes may be anything but PEM.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: without_pem(detail.into()),
        }
    }

    pub(super) fn into_response(self) -> Response {
        problem(self.status, &self.detail)
    }

    /// A fault of the house, which is logged and not shown.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "an administration request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal error; the server's log says more",
        )
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Signing { .. } | Error::Store(_) => return Self::internal(&error),
            Error::BackendForbidden { .. } | Error::Forbidden { .. } | Error::Policy { .. } => {
                StatusCode::FORBIDDEN
            }
            Error::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Error::Directory { .. } => StatusCode::BAD_GATEWAY,
            Error::NotFound { .. } => StatusCode::NOT_FOUND,
            Error::AlreadyRevoked
            | Error::Attached { .. }
            | Error::DomainReserved { .. }
            | Error::DomainTaken { .. }
            | Error::HasInstances { .. }
            | Error::InUse { .. }
            | Error::KeyUnavailable { .. }
            | Error::Managed { .. }
            | Error::NameTaken { .. }
            | Error::NoCertificate { .. }
            | Error::NotIssuedHere { .. }
            | Error::NotManaged { .. }
            | Error::NotUsable { .. }
            | Error::Unfit { .. } => StatusCode::CONFLICT,
            Error::Unsupported { .. } => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::new(StatusCode::BAD_REQUEST, malformed.to_string())
    }
}

impl From<Unfinished> for Fault {
    fn from(error: Unfinished) -> Self {
        Self::internal(&error)
    }
}

impl From<AuthenticationError> for Fault {
    fn from(error: AuthenticationError) -> Self {
        match &error {
            AuthenticationError::Store(_) => Self::internal(&error),
            AuthenticationError::Disabled | AuthenticationError::DialectNotAllowed(_) => {
                Self::new(StatusCode::FORBIDDEN, error.to_string())
            }
            // Which of these it was would help nobody but a guesser.
            AuthenticationError::Malformed
            | AuthenticationError::UnknownAccount
            | AuthenticationError::WrongSecret => Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid token; send Authorization: Bearer <token>",
            ),
        }
    }
}

/// A problem document (RFC 9457).
pub(super) fn problem(status: StatusCode, detail: &str) -> Response {
    let document = json!({
        "status": status.as_u16(),
        "title": status.canonical_reason().unwrap_or("Error"),
        "detail": detail,
    });
    let mut response = json_answer(status, &document);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(
            http::header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer"),
        );
    }
    response
}
