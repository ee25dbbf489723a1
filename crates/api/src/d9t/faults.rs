//! What goes wrong, in the dialect's words: one table of status codes.

use std::borrow::Cow;

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use lifecycle::{AuthenticationError, Error, LoginError};
use serde_json::json;

use crate::bodies::BodyFault;
use crate::exchange::{self, Response, with_allow};
use crate::json::{Malformed, without_pem};

/// Seconds after which there may be room for a body again.
const ROOM: HeaderValue = HeaderValue::from_static("10");

const REALM: HeaderValue = HeaderValue::from_static(r#"Basic realm="D9T""#);

/// Why a request is not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The body could not be read.
    Body(BodyFault),
    /// The house refused or failed.
    House(Error),
    /// The credentials make no principal.
    Login(LoginError),
    /// The body's form is wrong.
    Malformed(Malformed),
    /// The path is served, but only with these methods.
    Method(&'static str),
    /// No credentials were sent, and the operator wants clients to be asked for some.
    NoCredentials,
    /// Nothing is there.
    NotFound,
    /// No credentials were sent.
    WrongCredentials,
}

impl Fault {
    /// The answer.
    pub(super) fn respond(self) -> Response {
        let status = self.status();
        let code = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::INTERNAL_SERVER_ERROR => "internal",
            _ => "bad_request",
        };
        self.log();
        let message = without_pem(self.text().into_owned());
        let body = json!({ "error": code, "message": message });
        let mut response = exchange::json(status, &body);
        match self {
            Self::Method(allowed) => return with_allow(response, allowed),
            Self::Login(_) | Self::NoCredentials | Self::WrongCredentials
                if !status.is_server_error() =>
            {
                response.headers_mut().insert(WWW_AUTHENTICATE, REALM);
            }
            Self::Body(BodyFault::NoRoom) => {
                response.headers_mut().insert(RETRY_AFTER, ROOM);
            }
            _ => {}
        }
        response
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Body(BodyFault::Interrupted) | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            // The dialect has no word for an overload; when to come back is said beside it.
            Self::Body(BodyFault::NoRoom) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Body(BodyFault::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::House(error) => status_of(error),
            Self::Login(LoginError::Refused(AuthenticationError::Store(_))) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Login(_) | Self::WrongCredentials => StatusCode::FORBIDDEN,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoCredentials => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Body(BodyFault::Interrupted) => "the body could not be read".into(),
            Self::Body(BodyFault::NoRoom) => "too much is being sent; try again".into(),
            Self::Body(BodyFault::TooLarge) => "the body is larger than 256 KiB".into(),
            Self::House(Error::Attached { name }) => {
                format!("certificate '{name}' is in use; detach it first").into()
            }
            Self::House(Error::KeyMismatch) => {
                "the first certificate does not belong to the private key".into()
            }
            Self::House(error) if self.status() == StatusCode::INTERNAL_SERVER_ERROR => {
                tracing::debug!(%error, "told as an internal error");
                "internal error".into()
            }
            Self::House(error) => error.to_string().into(),
            Self::Login(LoginError::Refused(AuthenticationError::Store(_))) => {
                "internal error".into()
            }
            // All alike: which part was wrong, or that there were too many, is nobody's business.
            Self::Login(_) | Self::NoCredentials | Self::WrongCredentials => {
                "send the name of an account, and one of its tokens as the password".into()
            }
            Self::Malformed(malformed) => malformed.to_string().into(),
            Self::Method(_) => "method not allowed".into(),
            Self::NotFound => "not found".into(),
        }
    }

    /// Tells the operator of what is the house's own fault.
    fn log(&self) {
        let error: &dyn std::error::Error = match self {
            Self::House(error) if self.status().is_server_error() => error,
            Self::Login(error) if self.status().is_server_error() => error,
            _ => return,
        };
        tracing::error!(error, "a D9T request failed");
    }
}

/// The house's kinds of errors on this wire.
fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::Attached { .. }
        | Error::CommonNameMismatch { .. }
        | Error::Expired { .. }
        | Error::Invalid { .. }
        | Error::KeyMismatch
        | Error::Managed { .. }
        | Error::NameTaken { .. }
        | Error::NotFullyQualified
        | Error::TooLong { .. }
        | Error::Unfit { .. }
        | Error::Unsupported { .. } => StatusCode::BAD_REQUEST,
        Error::Forbidden { .. } | Error::Policy { .. } => StatusCode::FORBIDDEN,
        Error::NotFound { .. } => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<BodyFault> for Fault {
    fn from(fault: BodyFault) -> Self {
        Self::Body(fault)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::House(error)
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn an_overload_is_told_with_a_status_that_clients_know() {
        let response = Fault::from(BodyFault::NoRoom).respond();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers().get(RETRY_AFTER), Some(&ROOM));
    }
}
