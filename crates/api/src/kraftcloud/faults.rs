//! What is refused, and how this dialect says so: the one table from the house's errors to item
//! codes and HTTP statuses.
//!
//! A request is refused as a whole when its form is wrong, and nothing is changed then. What
//! depends on stored objects fails item by item.

use http::StatusCode;
use lifecycle::{AuthenticationError, Error, Noun, Unfinished};
use serde::{Serialize, Serializer};

use super::references::parse_uuid;
use crate::bodies::BodyFault;
use crate::json::{Malformed, without_pem};

/// The item codes in use; clients compare the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Unknown = 0,
    NotSupported = 1,
    WrongMethod = 2,
    NoSuchEndpoint = 3,
    TooMany = 5,
    Invalid = 7,
    NotFound = 8,
    OperationFailed = 10,
    MissingId = 13,
    NotAllowed = 14,
    Attached = 15,
    Malformed = 16,
    NotBoth = 17,
    TooLong = 22,
    AlreadyExists = 23,
    NotUsable = 24,
    CommonNameMismatch = 30,
}

impl Code {
    /// The HTTP status that stands for this code in `errors` when every item failed.
    pub(super) const fn mapped_status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Attached | Self::AlreadyExists => StatusCode::CONFLICT,
            Self::NotAllowed | Self::NotUsable => StatusCode::FORBIDDEN,
            Self::Invalid | Self::CommonNameMismatch => StatusCode::BAD_REQUEST,
            Self::NotSupported => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

/// A request that is refused as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: Option<Code>,
    pub(super) message: String,
    /// For 405: the methods that would do.
    pub(super) allow: Option<&'static str>,
}

impl Refusal {
    /// Wrong form: 400.
    pub(super) fn form(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some(code), message)
    }

    pub(super) fn invalid_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, None, "invalid token")
    }

    pub(super) fn no_such_endpoint() -> Self {
        let message = "no such endpoint";
        Self::new(StatusCode::NOT_FOUND, Some(Code::NoSuchEndpoint), message)
    }

    pub(super) fn wrong_method(allow: &'static str) -> Self {
        let message = "this endpoint does not have this method";
        Self {
            allow: Some(allow),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                Some(Code::WrongMethod),
                message,
            )
        }
    }

    pub(super) fn internal() -> Self {
        let message = "internal error";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Some(Code::Unknown),
            message,
        )
    }

    fn new(status: StatusCode, code: Option<Code>, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: without_pem(message.into()),
            allow: None,
        }
    }
}

/// One item that could not be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ItemFault {
    pub(super) code: Code,
    pub(super) message: String,
}

/// What a fault of the house means here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Item(ItemFault),
    Request(Refusal),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Attached { .. } | Error::HasInstances { .. } => Code::Attached,
            Error::AlreadyRevoked | Error::NotIssuedHere { .. } => Code::OperationFailed,
            Error::BackendForbidden { .. }
            | Error::Managed { .. }
            | Error::NotManaged { .. }
            | Error::Policy { .. } => Code::NotAllowed,
            Error::CertificateNotAllowed { .. } => {
                return Self::Request(Refusal::form(Code::NotAllowed, error.to_string()));
            }
            Error::CommonNameMismatch { .. } => Code::CommonNameMismatch,
            Error::DomainReserved { .. } | Error::NotUsable { .. } => Code::NotUsable,
            Error::DomainTaken { .. } | Error::NameTaken { .. } => Code::AlreadyExists,
            Error::Expired { .. } | Error::KeyMismatch | Error::Unfit { .. } => Code::Invalid,
            Error::Forbidden { .. } => {
                let (status, code) = (StatusCode::FORBIDDEN, Some(Code::NotAllowed));
                return Self::Request(Refusal::new(status, code, error.to_string()));
            }
            Error::Invalid { field, reason } => {
                return Self::Request(Refusal::form(Code::Invalid, format!("{field}: {reason}")));
            }
            Error::NotFullyQualified => {
                return Self::Request(Refusal::form(Code::Invalid, error.to_string()));
            }
            Error::NoCertificate { .. } => Code::NotFound,
            Error::NotFound { noun, reference } => return Self::Item(missing(*noun, reference)),
            Error::TooLong { .. } => {
                return Self::Request(Refusal::form(Code::TooLong, error.to_string()));
            }
            Error::Unsupported { .. } => Code::NotSupported,
            _ => {
                log(&error);
                Code::Unknown
            }
        };
        let message = match code {
            Code::Unknown => "internal error".to_owned(),
            _ => without_pem(error.to_string()),
        };
        Self::Item(ItemFault { code, message })
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match Fault::from(error) {
            Fault::Request(refusal) => refusal,
            Fault::Item(ItemFault { code, message }) => {
                Self::new(code.mapped_status(), Some(code), message)
            }
        }
    }
}

impl From<AuthenticationError> for Refusal {
    fn from(error: AuthenticationError) -> Self {
        match &error {
            AuthenticationError::DialectNotAllowed(_) | AuthenticationError::Disabled => Self::new(
                StatusCode::FORBIDDEN,
                Some(Code::NotAllowed),
                error.to_string(),
            ),
            AuthenticationError::Malformed
            | AuthenticationError::UnknownAccount
            | AuthenticationError::WrongSecret => Self::invalid_token(),
            AuthenticationError::Store(_) => {
                log(&error);
                Self::internal()
            }
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::form(Code::Malformed, malformed.to_string())
    }
}

impl From<Unfinished> for Refusal {
    fn from(error: Unfinished) -> Self {
        log(&error);
        Self::internal()
    }
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Interrupted => {
                Self::form(Code::Malformed, "the request's body did not arrive")
            }
            BodyFault::NoRoom => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Some(Code::Unknown),
                "too much is being uploaded; try again",
            ),
            BodyFault::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                Some(Code::TooLong),
                "the request's body is too large",
            ),
        }
    }
}

/// Whether `error` says that an object of this kind does not exist.
pub(super) fn is_missing(noun: Noun, error: &Error) -> bool {
    matches!(error, Error::NotFound { noun: missing, .. } if *missing == noun)
}

/// That no object of this kind is called so.
pub(super) fn missing(noun: Noun, reference: &str) -> ItemFault {
    let way = match parse_uuid(reference) {
        Some(_) => "uuid",
        None => "name",
    };
    ItemFault {
        code: Code::NotFound,
        message: without_pem(format!("No {} with {way} '{reference}'", word(noun))),
    }
}

/// What clients call a kind of object.
pub(super) fn word(noun: Noun) -> String {
    match noun {
        Noun::Service => "service group".to_owned(),
        noun => noun.to_string(),
    }
}

fn log(error: &(dyn std::error::Error + 'static)) {
    tracing::error!(error, "a request of the KraftCloud API failed");
}
