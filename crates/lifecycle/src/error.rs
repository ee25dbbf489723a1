//! What can go wrong in the house, one kind for each thing a caller can do something about.
//! Dialects map these kinds to their wire codes, each in one table of its own.

use std::fmt;
use std::time::Duration;

/// The kinds of objects that a caller can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    /// A tenant.
    Account,
    /// A private certificate authority.
    Authority,
    /// A certificate of the inventory.
    Certificate,
    /// An order that waits for a proof, as its account knows it.
    Challenge,
    /// A program that asks people for grants.
    Client,
    /// A zone with the credentials to write its records.
    DnsProvider,
    /// A domain of a service.
    Domain,
    /// An address where a workload listens.
    Instance,
    /// A private authority or an ACME directory.
    Issuer,
    /// A published port of a service.
    Port,
    /// A stored private key.
    PrivateKey,
    /// A group of published ports and domains.
    Service,
    /// A machine's directory that certificates are delivered to.
    Target,
    /// A credential of an account.
    Token,
    /// Where an account wants to be told what happens.
    Webhook,
}

impl Noun {
    const fn article(self) -> &'static str {
        match self {
            Self::Account | Self::Authority | Self::Instance | Self::Issuer => "an",
            Self::Certificate
            | Self::Challenge
            | Self::Client
            | Self::DnsProvider
            | Self::Domain
            | Self::Port
            | Self::PrivateKey
            | Self::Service
            | Self::Target
            | Self::Token
            | Self::Webhook => "a",
        }
    }
}

impl fmt::Display for Noun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Account => "account",
            Self::Authority => "authority",
            Self::Certificate => "certificate",
            Self::Challenge => "challenge",
            Self::Client => "client",
            Self::DnsProvider => "DNS provider",
            Self::Domain => "domain",
            Self::Instance => "instance",
            Self::Issuer => "issuer",
            Self::Port => "port",
            Self::PrivateKey => "private key",
            Self::Service => "service",
            Self::Target => "target",
            Self::Token => "token",
            Self::Webhook => "webhook",
        })
    }
}

/// Why an operation of the house was not done. Nothing was changed unless the kind says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// As much of this is under way as there is room for.
    #[error("{reason}; try again in a minute")]
    Busy {
        /// What there is too much of.
        reason: &'static str,
    },
    /// The certificate serves a domain and cannot be deleted now.
    #[error("Certificate '{name}' is attached to a service group")]
    Attached {
        /// Name of the certificate.
        name: String,
    },
    /// The certificate was revoked before; revoking again changes nothing.
    #[error("the certificate is already revoked")]
    AlreadyRevoked,
    /// The house connects to no such address for this account.
    #[error("'{address}' cannot be a backend: {reason}")]
    BackendForbidden {
        /// The address, as the caller gave it.
        address: String,
        /// What kind of address it is.
        reason: &'static str,
    },
    /// A certificate was chosen for a subdomain of the metro domain, which has its own.
    #[error("'{name}' is served with the server's own certificate; leave the certificate out")]
    CertificateNotAllowed {
        /// The domain.
        name: String,
    },
    /// An order can be completed no more, or what came of it is given out no more.
    #[error("challenge expired")]
    ChallengeExpired,
    /// The leaf does not cover the common name that the caller gave or that is stored.
    #[error("the certificate does not cover '{common_name}'")]
    CommonNameMismatch {
        /// The name that is not covered.
        common_name: String,
    },
    /// An ACME directory cannot be reached, fails, or does not speak ACME.
    #[error("{reason}")]
    Directory {
        /// What went wrong.
        reason: String,
    },
    /// The house keeps this name for itself.
    #[error("domain '{name}' is reserved")]
    DomainReserved {
        /// The domain.
        name: String,
    },
    /// A service has this domain, perhaps one of another account.
    #[error("domain '{name}' is already in use")]
    DomainTaken {
        /// The domain.
        name: String,
    },
    /// The leaf's `notAfter` lies in the past.
    #[error("the certificate expired at {not_after}; upload one that is still valid")]
    Expired {
        /// The leaf's `notAfter`, RFC 3339.
        not_after: String,
    },
    /// The caller is known, but lacks the right.
    #[error("{reason}")]
    Forbidden {
        /// What right is missing.
        reason: &'static str,
    },
    /// The service has instances and cannot be deleted now.
    #[error("service '{name}' still has instances; delete those first")]
    HasInstances {
        /// Name of the service.
        name: String,
    },
    /// Something else needs it, so it cannot be removed now.
    #[error("{noun} '{name}' is in use")]
    InUse {
        /// What kind of object.
        noun: Noun,
        /// What it is called.
        name: String,
    },
    /// The request's form is wrong: it could never succeed.
    #[error("{reason}")]
    Invalid {
        /// The field at fault, in the house's words.
        field: &'static str,
        /// What is wrong with it and what to send instead.
        reason: String,
    },
    /// The key that something has to be signed with is not within reach now.
    #[error("{reason}")]
    KeyUnavailable {
        /// Which key it is, and how to bring it back.
        reason: String,
    },
    /// The certificate and the private key do not belong together.
    #[error("the private key does not belong to any certificate of the chain")]
    KeyMismatch,
    /// The certificate is renewed by the house; it cannot be replaced by hand.
    #[error("certificate '{name}' is managed by the server and cannot be replaced by an upload")]
    Managed {
        /// Name of the certificate.
        name: String,
    },
    /// Another object of the account has this name.
    #[error("{} {noun} named '{name}' already exists", noun.article())]
    NameTaken {
        /// What kind of object.
        noun: Noun,
        /// The name in use.
        name: String,
    },
    /// No certificate covers the domain, and no issuer of the house can obtain one.
    #[error("no certificate covers '{name}', and none can be obtained: {reason}; or upload one")]
    NoCertificate {
        /// The domain.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The common name is not a fully-qualified domain name.
    #[error("The certificate CN must be a fully-qualified domain name")]
    NotFullyQualified,
    /// No such object in the caller's reach.
    #[error("no {noun} '{reference}'")]
    NotFound {
        /// What kind of object.
        noun: Noun,
        /// How the caller named it.
        reference: String,
    },
    /// The certificate was not issued by an authority of this house, so it cannot be revoked here.
    #[error(
        "certificate '{name}' was not issued by an authority of this server; revoke it at its issuer"
    )]
    NotIssuedHere {
        /// Name of the certificate.
        name: String,
    },
    /// The certificate was uploaded or signs itself; the house does not obtain it.
    #[error(
        "certificate '{name}' is not obtained by the server; send chain and pkey to replace it"
    )]
    NotManaged {
        /// Name of the certificate.
        name: String,
    },
    /// The certificate cannot be served: it has ended, was revoked, was given up, or the house has
    /// no key of it.
    #[error("certificate '{name}' cannot be used now")]
    NotUsable {
        /// Name of the certificate.
        name: String,
    },
    /// The account's policy does not allow it.
    #[error("{reason}; the account's policy has the rule {rule}")]
    Policy {
        /// The rule's name.
        rule: &'static str,
        /// What breaks it.
        reason: String,
    },
    /// A certificate could not be built or signed.
    #[error("could not sign: {reason}")]
    Signing {
        /// The failed step.
        reason: String,
    },
    /// The store could not do its part; the operation may or may not be recorded.
    #[error("the store failed")]
    Store(#[source] store::Error),
    /// A text is longer than the house keeps.
    #[error("{field} is longer than {limit} characters")]
    TooLong {
        /// The field at fault.
        field: &'static str,
        /// The longest text accepted, in characters.
        limit: usize,
    },
    /// The account has asked too often, or has too much under way.
    #[error("too many {what}; try again in {} s", retry_after.as_secs().max(1))]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The change does not go with what is stored.
    #[error("{reason}")]
    Unfit {
        /// What would contradict what.
        reason: String,
    },
    /// Control over a name was not proven; it can be tried again. What went wrong is not said: it
    /// would tell about networks that the caller cannot see.
    #[error("failed {target}")]
    Unproven {
        /// How and of what, as in "HTTP-01 validation for domain a.test".
        target: String,
        /// Whether somebody answered, but not with the token.
        has_answer: bool,
    },
    /// The house cannot do this yet, or not for this object.
    #[error("{reason}")]
    Unsupported {
        /// What is not supported, and what to do instead.
        reason: String,
    },
}

impl Error {
    /// A fault of form in `field`.
    pub fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            reason: reason.into(),
        }
    }

    /// A missing object.
    pub fn not_found(noun: Noun, reference: impl fmt::Display) -> Self {
        Self::NotFound {
            noun,
            reference: reference.to_string(),
        }
    }

    pub(crate) fn signing(reason: impl fmt::Display) -> Self {
        Self::Signing {
            reason: reason.to_string(),
        }
    }

    /// Whether the fault lies in the request's form alone, so that no stored object matters to it.
    #[must_use]
    pub fn is_form_fault(&self) -> bool {
        matches!(
            self,
            Self::CertificateNotAllowed { .. }
                | Self::Invalid { .. }
                | Self::NotFullyQualified
                | Self::TooLong { .. }
        )
    }

    /// Whether the house is at fault and not the caller.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        matches!(
            self,
            Self::KeyUnavailable { .. } | Self::Signing { .. } | Self::Store(_)
        )
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::TooLong { what, limit } => Self::TooLong { field: what, limit },
            error => Self::Store(error),
        }
    }
}
