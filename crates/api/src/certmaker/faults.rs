//! What goes wrong, in the dialect's words: one table of status codes, and the stricter one of the
//! revoke routes, where clients take every status but 400, 401, 403 and 410 for success.

use std::borrow::Cow;

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use lifecycle::{AuthenticationError, Error, Noun};
use pki::RequestError;

use crate::bodies::BodyFault;
use crate::exchange::{Response, plain_error};
use crate::json::without_pem;
use crate::settings::UnknownAccountStatus;

/// Why a request is not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The token makes no principal.
    Authentication(AuthenticationError),
    /// The body could not be read.
    Body(BodyFault),
    /// The house refused or failed.
    House(Error),
    /// The request's form is wrong; the text says how.
    Invalid(Cow<'static, str>),
    /// The operator has switched this way of ordering off; names it.
    ModeOff(&'static str),
    /// No token was sent.
    NoToken,
    /// Nothing is there.
    NotFound,
    /// The certificate request is refused.
    Request(RequestError),
    /// Control over a name was not proven, on the route of the first generation of clients.
    UnprovenLocated {
        /// What was not proven.
        text: String,
        /// Whether somebody answered, but not with the token.
        has_answer: bool,
    },
}

impl Fault {
    pub(super) fn invalid(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(text.into())
    }

    /// The answer on all routes but those that revoke.
    pub(super) fn respond(self, unknown_account: UnknownAccountStatus) -> Response {
        let status = self.status(unknown_account);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            self.log();
            return plain_error(status, "internal error");
        }
        let mut response = plain_error(status, &without_pem(self.text().into_owned()));
        if let Self::House(Error::TooMany { retry_after, .. }) = self {
            // Rounded up: who comes too early has to come again.
            let seconds = HeaderValue::from(retry_after.as_secs() + 1);
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        challenged(response)
    }

    /// The answer on the routes that revoke.
    pub(super) fn respond_to_revocation(self) -> Response {
        let status = self.status(UnknownAccountStatus::Unauthorized);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            self.log();
            let text = "internal error, certificate not revoked";
            return plain_error(StatusCode::BAD_REQUEST, text);
        }
        let status = match status {
            known @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::GONE) => known,
            _ => StatusCode::BAD_REQUEST,
        };
        challenged(plain_error(status, &without_pem(self.text().into_owned())))
    }

    fn status(&self, unknown_account: UnknownAccountStatus) -> StatusCode {
        match self {
            Self::Authentication(error) => match error {
                AuthenticationError::Disabled | AuthenticationError::DialectNotAllowed(_) => {
                    StatusCode::FORBIDDEN
                }
                AuthenticationError::Malformed | AuthenticationError::WrongSecret => {
                    StatusCode::UNAUTHORIZED
                }
                AuthenticationError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
                AuthenticationError::UnknownAccount => match unknown_account {
                    UnknownAccountStatus::NotFound => StatusCode::NOT_FOUND,
                    UnknownAccountStatus::Unauthorized => StatusCode::UNAUTHORIZED,
                },
            },
            Self::Body(BodyFault::NoRoom) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Body(BodyFault::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyFault::Interrupted) | Self::Invalid(_) | Self::Request(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::House(error) => status_of(error),
            Self::ModeOff(_) => StatusCode::NOT_IMPLEMENTED,
            Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::UnprovenLocated {
                has_answer: true, ..
            } => StatusCode::FORBIDDEN,
            Self::UnprovenLocated {
                has_answer: false, ..
            } => StatusCode::EXPECTATION_FAILED,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Authentication(error) => error.to_string().into(),
            Self::Body(BodyFault::TooLarge) => "the request body is larger than 64 KiB".into(),
            Self::Body(BodyFault::NoRoom) => "too much is being sent; try again".into(),
            Self::Body(BodyFault::Interrupted) => "could not read request body".into(),
            Self::House(error) => error.to_string().into(),
            Self::Invalid(text) => text.as_ref().into(),
            Self::ModeOff(mode) => format!("{mode} mode is not enabled on this instance").into(),
            Self::NoToken => "no token: send it in the header X-Auth-Token".into(),
            Self::NotFound => "not found".into(),
            Self::Request(RequestError::BadSignature) => "invalid CSR signature".into(),
            Self::Request(RequestError::Malformed(_)) => "could not parse request body".into(),
            Self::Request(error) => error.to_string().into(),
            Self::UnprovenLocated { text, .. } => text.into(),
        }
    }

    fn log(&self) {
        let error: Option<&dyn std::error::Error> = match self {
            Self::Authentication(error) => Some(error),
            Self::House(error) => Some(error),
            _ => None,
        };
        tracing::error!(error, "a CertMaker request failed");
    }
}

/// The house's kinds of errors on this wire.
fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::AlreadyRevoked | Error::ChallengeExpired => StatusCode::GONE,
        Error::Attached { .. } | Error::Managed { .. } | Error::NameTaken { .. } => {
            StatusCode::CONFLICT
        }
        Error::CommonNameMismatch { .. }
        | Error::Expired { .. }
        | Error::Invalid { .. }
        | Error::KeyMismatch
        | Error::NotFullyQualified
        | Error::NotIssuedHere { .. }
        | Error::TooLong { .. }
        | Error::Unproven { .. }
        // An authority is named by a header, not by the path.
        | Error::NotFound {
            noun: Noun::Authority,
            ..
        } => StatusCode::BAD_REQUEST,
        Error::Forbidden { .. } | Error::Policy { .. } => StatusCode::FORBIDDEN,
        Error::NotFound { .. } => StatusCode::NOT_FOUND,
        Error::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Unsupported { .. } => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// RFC 9110 section 15.5.2: a 401 says how to authenticate.
fn challenged(mut response: Response) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
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

impl From<RequestError> for Fault {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}
