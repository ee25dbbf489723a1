//! Why and when a certificate was revoked (RFC 5280 5.3.1).

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

/// A revocation that has happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Revocation {
    /// When it was revoked.
    pub at: OffsetDateTime,
    /// Why.
    pub reason: RevocationReason,
}

/// The reasons a certificate can be revoked for.
///
/// `removeFromCRL` is left out: it is a note in a delta CRL, not a reason to revoke.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum RevocationReason {
    /// No reason given.
    #[default]
    Unspecified,
    /// Somebody else may have the private key.
    KeyCompromise,
    /// Somebody else may have the authority's private key.
    CaCompromise,
    /// The subject's name or other facts changed.
    AffiliationChanged,
    /// There is a newer certificate.
    Superseded,
    /// The certificate is no longer needed.
    CessationOfOperation,
    /// On hold, not yet revoked for good.
    CertificateHold,
    /// A privilege in the certificate was taken away.
    PrivilegeWithdrawn,
    /// An attribute authority was compromised.
    AaCompromise,
}

impl RevocationReason {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// The number of the CRLReason.
    pub fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }

    /// The reason with this CRLReason number, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The reason's name: `unspecified`, `keyCompromise`, `CACompromise` and so on.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "CACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "AACompromise",
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A text that names no reason to revoke for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RevocationReasonError {
    /// `removeFromCRL`, which is known but revokes nothing.
    #[error("removeFromCRL is not a reason to revoke a certificate")]
    RemoveFromCrl,
    /// Any other text.
    #[error("unknown revocation reason")]
    Unknown,
}

/// Reads a reason's name in any case; empty text is [`RevocationReason::Unspecified`].
impl FromStr for RevocationReason {
    type Err = RevocationReasonError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::Unspecified);
        }
        if text.eq_ignore_ascii_case("removeFromCRL") {
            return Err(RevocationReasonError::RemoveFromCrl);
        }
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str().eq_ignore_ascii_case(text))
            .ok_or(RevocationReasonError::Unknown)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn names_and_codes_read_back() {
        for reason in RevocationReason::ALL {
            assert_eq!(RevocationReason::from_code(reason.code()), Some(reason));
            assert_eq!(reason.to_string().parse(), Ok(reason));
            assert_eq!(reason.to_string().to_lowercase().parse(), Ok(reason));
        }
        assert_eq!("cACompromise".parse(), Ok(RevocationReason::CaCompromise));
        assert_eq!("".parse(), Ok(RevocationReason::Unspecified));
    }

    #[test]
    fn remove_from_crl_is_told_from_nonsense() {
        let parse = |text: &str| text.parse::<RevocationReason>();
        assert_eq!(
            parse("removefromcrl"),
            Err(RevocationReasonError::RemoveFromCrl)
        );
        assert_eq!(parse("because"), Err(RevocationReasonError::Unknown));
        assert_eq!(RevocationReason::from_code(8), None);
        assert_eq!(RevocationReason::from_code(7), None);
    }
}
