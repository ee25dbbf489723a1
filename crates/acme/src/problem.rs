//! Problem documents (RFC 7807) as ACME uses them (RFC 8555 section 6.7).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Before the name of every error of ACME.
const URN: &str = "urn:ietf:params:acme:error:";

/// What went wrong. Members that are not there, or not known, are no error when reading.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// The kind of error.
    #[serde(rename = "type", default)]
    pub kind: ErrorKind,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The HTTP status it is answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// A page about this occurrence, such as terms to agree to (`userActionRequired`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Which identifier it is about (section 6.7.1); in subproblems only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Identifier>,
    /// The signature algorithms that would do; in `badSignatureAlgorithm` only (section 6.2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<String>,
    /// One for each of several identifiers (section 6.7.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subproblems: Vec<Problem>,
}

impl Problem {
    /// A problem with a sentence for people.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: Some(detail.into()),
            status: None,
            instance: None,
            identifier: None,
            algorithms: Vec::new(),
            subproblems: Vec::new(),
        }
    }
}

/// One line: the kind, the detail, and the same of each subproblem.
impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(identifier) = &self.identifier {
            write!(formatter, "{}: ", identifier.value)?;
        }
        let name = self.kind.as_uri();
        formatter.write_str(name.strip_prefix(URN).unwrap_or(&name))?;
        if let Some(detail) = &self.detail {
            write!(formatter, ": {detail}")?;
        }
        for subproblem in &self.subproblems {
            write!(formatter, "; {subproblem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// An identifier on the wire (RFC 8555 section 9.7.7), of any type.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Identifier {
    /// `dns`, `ip` (RFC 8738), `email` (RFC 8823), or another.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name itself.
    pub value: String,
}

impl From<&pki::Identifier> for Identifier {
    fn from(identifier: &pki::Identifier) -> Self {
        let kind = match identifier {
            pki::Identifier::Dns(_) => "dns",
            pki::Identifier::Ip(_) => "ip",
            pki::Identifier::Email(_) => "email",
        };
        Self {
            kind: kind.to_owned(),
            value: identifier.to_string(),
        }
    }
}

/// The kinds of errors and their names on the wire, after the common prefix.
macro_rules! error_kinds {
    ($($(#[$documentation:meta])+ $variant:ident = $name:literal,)+) => {
        /// The kind of a problem: the registry "ACME Error Types" (RFC 8555 section 9.7.4).
        #[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
        #[serde(from = "String", into = "String")]
        pub enum ErrorKind {
            $($(#[$documentation])+ $variant,)+
            /// A kind that is not in the list, by its whole URI.
            Other(String),
        }

        impl ErrorKind {
            /// The URI that stands in a problem document.
            pub fn as_uri(&self) -> String {
                match self {
                    $(Self::$variant => format!("{URN}{}", $name),)+
                    Self::Other(uri) => uri.clone(),
                }
            }

            /// The kind that a URI stands for.
            pub fn from_uri(uri: &str) -> Self {
                match uri.strip_prefix(URN) {
                    $(Some($name) => Self::$variant,)+
                    _ => Self::Other(uri.to_owned()),
                }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$variant,)+];
        }
    };
}

error_kinds! {
    /// The request names an account that does not exist.
    AccountDoesNotExist = "accountDoesNotExist",
    /// The certificate to be replaced has been replaced already (RFC 9773).
    AlreadyReplaced = "alreadyReplaced",
    /// The certificate to be revoked is revoked already.
    AlreadyRevoked = "alreadyRevoked",
    /// The certificate request is not acceptable, for example for a short key.
    BadCsr = "badCSR",
    /// The nonce was not acceptable: try again with the one that came along.
    BadNonce = "badNonce",
    /// The request was signed with a public key that is not supported.
    BadPublicKey = "badPublicKey",
    /// The revocation reason is not allowed.
    BadRevocationReason = "badRevocationReason",
    /// The request was signed with an algorithm that is not supported.
    BadSignatureAlgorithm = "badSignatureAlgorithm",
    /// CAA records forbid this authority to issue.
    Caa = "caa",
    /// The subproblems say what is wrong.
    Compound = "compound",
    /// The server could not connect to the place of validation.
    Connection = "connection",
    /// A DNS query failed during validation.
    Dns = "dns",
    /// The request lacks an external account binding.
    ExternalAccountRequired = "externalAccountRequired",
    /// The answer to a challenge was not the right one.
    IncorrectResponse = "incorrectResponse",
    /// A contact URL of the account is not valid.
    InvalidContact = "invalidContact",
    /// The profile asked for does not exist or is not open to the account.
    InvalidProfile = "invalidProfile",
    /// The request is malformed.
    Malformed = "malformed",
    /// The order cannot be finalized yet.
    OrderNotReady = "orderNotReady",
    /// A rate limit was passed.
    RateLimited = "rateLimited",
    /// The server will not issue for the identifier.
    RejectedIdentifier = "rejectedIdentifier",
    /// The server failed.
    ServerInternal = "serverInternal",
    /// TLS failed during validation.
    Tls = "tls",
    /// The client is not authorized to do that.
    Unauthorized = "unauthorized",
    /// A contact URL of the account has a scheme that is not supported.
    UnsupportedContact = "unsupportedContact",
    /// The identifier is of a type that is not supported.
    UnsupportedIdentifier = "unsupportedIdentifier",
    /// A person has to visit the page named in `instance`.
    UserActionRequired = "userActionRequired",
}

/// A problem without a type has none beyond its HTTP status (RFC 7807 section 4.2).
impl Default for ErrorKind {
    fn default() -> Self {
        Self::Other("about:blank".to_owned())
    }
}

impl From<String> for ErrorKind {
    fn from(uri: String) -> Self {
        Self::from_uri(&uri)
    }
}

impl From<ErrorKind> for String {
    fn from(kind: ErrorKind) -> Self {
        kind.as_uri()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::json;

    use super::*;

    #[test]
    fn rfc8555_section_6_7_1_reads_and_writes_the_same() {
        let document = json!({
            "type": "urn:ietf:params:acme:error:malformed",
            "detail": "Some of the identifiers requested were rejected",
            "subproblems": [
                {
                    "type": "urn:ietf:params:acme:error:malformed",
                    "detail": "Invalid underscore in DNS name \"_example.org\"",
                    "identifier": { "type": "dns", "value": "_example.org" }
                },
                {
                    "type": "urn:ietf:params:acme:error:rejectedIdentifier",
                    "detail": "This CA will not issue for \"example.net\"",
                    "identifier": { "type": "dns", "value": "example.net" }
                }
            ]
        });
        let problem: Problem = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(problem.subproblems[1].kind, ErrorKind::RejectedIdentifier);
        assert_eq!(serde_json::to_value(&problem).unwrap(), document);
        assert_eq!(
            problem.to_string(),
            "malformed: Some of the identifiers requested were rejected; \
             _example.org: malformed: Invalid underscore in DNS name \"_example.org\"; \
             example.net: rejectedIdentifier: This CA will not issue for \"example.net\""
        );
    }

    #[test]
    fn every_kind_reads_back() {
        for kind in ErrorKind::ALL {
            assert_eq!(&ErrorKind::from_uri(&kind.as_uri()), kind);
        }
    }

    #[test]
    fn foreign_kinds_are_kept_and_unknown_members_passed_over() {
        let document = json!({ "type": "https://example.org/out-of-credit", "balance": 30 });
        let problem: Problem = serde_json::from_value(document).unwrap();
        assert_eq!(problem.kind.as_uri(), "https://example.org/out-of-credit");
        let unknown = "urn:ietf:params:acme:error:somethingNew";
        assert_eq!(
            ErrorKind::from_uri(unknown),
            ErrorKind::Other(unknown.to_owned())
        );
        let bare: Problem = serde_json::from_value(json!({ "status": 503 })).unwrap();
        assert_eq!(
            (bare.kind.as_uri().as_str(), bare.status),
            ("about:blank", Some(503))
        );
    }

    #[test]
    fn identifiers_say_their_type() {
        for (identifier, kind, value) in [
            (
                pki::Identifier::Dns("*.example.org".parse().unwrap()),
                "dns",
                "*.example.org",
            ),
            (
                pki::Identifier::Ip("2001:db8::1".parse().unwrap()),
                "ip",
                "2001:db8::1",
            ),
        ] {
            assert_eq!(
                serde_json::to_value(Identifier::from(&identifier)).unwrap(),
                json!({ "type": kind, "value": value })
            );
        }
    }
}
