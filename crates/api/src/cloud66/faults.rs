//! What goes wrong, in the dialect's words: the one table of codes and statuses. Clients print
//! `details`, which names the field at fault.

use std::borrow::Cow;

use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use lifecycle::{AuthenticationError, Error, Noun, Unfinished};
use serde::Serialize;
use tokio::task::JoinError;

use crate::bodies::BodyFault;
use crate::exchange::{Response, json, with_allow};
use crate::json::without_pem;

/// Why a request is not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The token makes no principal.
    Authentication(AuthenticationError),
    /// The body could not be read.
    Body(BodyFault),
    /// The request is meant for an account that is not the caller's.
    ForeignAccount,
    /// The house refused or failed.
    House(Error),
    /// The request's form is wrong.
    Invalid {
        /// The field at fault, as clients call it.
        field: &'static str,
        /// What is wrong with it; repeats no value.
        reason: Cow<'static, str>,
    },
    /// Nothing is served at this path.
    NoSuchPath,
    /// The token lacks this scope.
    NoScope(&'static str),
    /// No token was sent.
    NoToken,
    /// No such object in the caller's reach; says which.
    NotFound(String),
    /// What was to be carried out to its end was not.
    BrokenOff(JoinError),
    /// The account has asked too often.
    Throttled,
    /// A piece of work came to no end.
    Unfinished(Unfinished),
    /// The path does not have this method, but these.
    WrongMethod(&'static str),
}

#[derive(Serialize)]
struct Document<'a> {
    error: &'static str,
    error_description: &'static str,
    details: &'a str,
}

impl Fault {
    pub(super) fn invalid(field: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid {
            field,
            reason: reason.into(),
        }
    }

    pub(super) fn respond(self) -> Response {
        let (status, error, error_description) = self.kind();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            self.log();
        }
        let details = without_pem(self.details().into_owned());
        let document = Document {
            error,
            error_description,
            details: &details,
        };
        let mut response = json(status, &document);
        match self {
            Self::WrongMethod(allowed) => with_allow(response, allowed),
            _ => {
                // RFC 9110 section 15.5.2: a 401 says how to authenticate.
                if status == StatusCode::UNAUTHORIZED {
                    let headers = response.headers_mut();
                    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                }
                response
            }
        }
    }

    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        let status = match self {
            Self::Authentication(error) => match error {
                AuthenticationError::Disabled | AuthenticationError::DialectNotAllowed(_) => {
                    StatusCode::FORBIDDEN
                }
                AuthenticationError::Malformed
                | AuthenticationError::UnknownAccount
                | AuthenticationError::WrongSecret => StatusCode::UNAUTHORIZED,
                AuthenticationError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Self::Body(BodyFault::Interrupted) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyFault::NoRoom) | Self::Throttled => StatusCode::SERVICE_UNAVAILABLE,
            Self::Body(BodyFault::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ForeignAccount | Self::NoScope(_) => StatusCode::FORBIDDEN,
            Self::House(error) => status_of(error),
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
            Self::NoSuchPath | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::BrokenOff(_) | Self::Unfinished(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
        };
        let (code, description) = match status {
            StatusCode::UNAUTHORIZED => ("unauthenticated", "Authentication failed"),
            StatusCode::FORBIDDEN => ("forbidden", "You are not allowed to do this"),
            StatusCode::NOT_FOUND => ("not_found", "The object does not exist"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method_not_allowed", "This path does not have this method")
            }
            StatusCode::REQUEST_TIMEOUT => ("time_out", "The request took too long"),
            StatusCode::CONFLICT => ("conflict", "The request contradicts what is there"),
            StatusCode::INTERNAL_SERVER_ERROR => ("internal_error", "The server failed"),
            StatusCode::SERVICE_UNAVAILABLE => ("throttled", "Too many requests"),
            _ => ("bad_request", "The request cannot be understood or done"),
        };
        (status, code, description)
    }

    fn details(&self) -> Cow<'_, str> {
        match self {
            // Which of these it was would help nobody but a guesser.
            Self::Authentication(
                AuthenticationError::Malformed
                | AuthenticationError::UnknownAccount
                | AuthenticationError::WrongSecret,
            ) => "the token is not known".into(),
            Self::Authentication(AuthenticationError::Store(_))
            | Self::BrokenOff(_)
            | Self::Unfinished(_) => "internal error".into(),
            Self::Authentication(error) => error.to_string().into(),
            Self::Body(BodyFault::Interrupted) => "the request's body did not arrive".into(),
            Self::Body(BodyFault::NoRoom) => "too much is being sent; try again".into(),
            Self::Body(BodyFault::TooLarge) => "the request's body is larger than 1 MiB".into(),
            Self::ForeignAccount => "X-Account: this is not an account of yours".into(),
            Self::House(error) if status_of(error) == StatusCode::INTERNAL_SERVER_ERROR => {
                "internal error".into()
            }
            Self::House(Error::Invalid { field, reason }) => format!("{field}: {reason}").into(),
            Self::House(error @ Error::KeyMismatch) => format!("key: {error}").into(),
            Self::House(error @ Error::Expired { .. }) => format!("certificate: {error}").into(),
            Self::House(error) => error.to_string().into(),
            Self::Invalid { field, reason } => format!("{field}: {reason}").into(),
            Self::NoSuchPath => "there is nothing at this path".into(),
            Self::NoScope(scope) => format!("the token lacks the scope {scope}").into(),
            Self::NoToken => "no token: send Authorization: Bearer <token>".into(),
            Self::NotFound(what) => what.into(),
            Self::Throttled => "too many requests in an hour; try again in a minute".into(),
            Self::WrongMethod(allowed) => format!("this path has the methods {allowed}").into(),
        }
    }

    fn log(&self) {
        let error: Option<&dyn std::error::Error> = match self {
            Self::Authentication(error) => Some(error),
            Self::BrokenOff(error) => Some(error),
            Self::House(error) => Some(error),
            Self::Unfinished(error) => Some(error),
            _ => None,
        };
        tracing::error!(error, "a request of the Cloud 66 API failed");
    }
}

/// The house's kinds of errors on this wire.
fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::KeyUnavailable { .. } | Error::Signing { .. } | Error::Store(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        Error::Busy { .. } | Error::TooMany { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Error::BackendForbidden { .. } | Error::Forbidden { .. } | Error::Policy { .. } => {
            StatusCode::FORBIDDEN
        }
        // Nothing else is named by paths; what a body names, and is not there, is a fault of the body.
        Error::NotFound {
            noun: Noun::Account | Noun::Certificate | Noun::DnsProvider | Noun::Service,
            ..
        } => StatusCode::NOT_FOUND,
        Error::AlreadyRevoked
        | Error::Attached { .. }
        | Error::DomainReserved { .. }
        | Error::DomainTaken { .. }
        | Error::HasInstances { .. }
        | Error::InUse { .. }
        | Error::Managed { .. }
        | Error::NameTaken { .. }
        | Error::NotIssuedHere { .. }
        | Error::NotManaged { .. }
        | Error::Unfit { .. } => StatusCode::CONFLICT,
        _ => StatusCode::BAD_REQUEST,
    }
}

impl From<AuthenticationError> for Fault {
    fn from(error: AuthenticationError) -> Self {
        Self::Authentication(error)
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

impl From<Unfinished> for Fault {
    fn from(error: Unfinished) -> Self {
        Self::Unfinished(error)
    }
}
