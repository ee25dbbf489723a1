//! Proof Key for Code Exchange (RFC 7636): whoever redeems a code shows that it is who asked for it.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Error;

/// What the verifier is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Its SHA-256, base64url.
    S256(String),
    /// It itself.
    Plain(String),
}

impl Challenge {
    /// The challenge of a request, if it has one.
    pub(super) fn of(text: Option<&str>, method: Option<&str>) -> Result<Option<Self>, Error> {
        let Some(text) = text else {
            return match method {
                None => Ok(None),
                Some(_) => Err(Error::invalid(
                    "code_challenge_method",
                    "there is a code_challenge_method, but no code_challenge",
                )),
            };
        };
        if !is_verifier(text) {
            return Err(Error::invalid(
                "code_challenge",
                "code_challenge must be 43 to 128 characters of A-Z a-z 0-9 - . _ ~",
            ));
        }
        match method.unwrap_or("plain") {
            "S256" => Ok(Some(Self::S256(text.to_owned()))),
            "plain" => Ok(Some(Self::Plain(text.to_owned()))),
            _ => Err(Error::invalid(
                "code_challenge_method",
                "code_challenge_method must be S256 or plain",
            )),
        }
    }

    fn parse(kept: &str) -> Option<Self> {
        match kept.split_once(' ')? {
            ("S256", text) => Some(Self::S256(text.to_owned())),
            ("plain", text) => Some(Self::Plain(text.to_owned())),
            _ => None,
        }
    }

    fn is_met_by(&self, verifier: &str) -> bool {
        let (wanted, shown) = match self {
            Self::S256(wanted) => {
                let hash = digest(&SHA256, verifier.as_bytes());
                (wanted, URL_SAFE_NO_PAD.encode(hash))
            }
            Self::Plain(wanted) => (wanted, verifier.to_owned()),
        };
        verify_slices_are_equal(wanted.as_bytes(), shown.as_bytes()).is_ok()
    }
}

/// As it is kept.
impl fmt::Display for Challenge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S256(text) => write!(formatter, "S256 {text}"),
            Self::Plain(text) => write!(formatter, "plain {text}"),
        }
    }
}

/// Whether a kept challenge, if there is one, is met. A verifier without a challenge is refused: who
/// sends one believes to be protected by it (RFC 9700 section 4.8.2).
pub(super) fn is_met(kept: Option<&str>, verifier: Option<&str>) -> bool {
    match (kept, verifier) {
        (None, None) => true,
        (Some(kept), Some(verifier)) if is_verifier(verifier) => {
            Challenge::parse(kept).is_some_and(|challenge| challenge.is_met_by(verifier))
        }
        _ => false,
    }
}

/// RFC 7636 section 4.1.
fn is_verifier(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_rfc_7636_is_met_by_its_verifier_alone() {
        let kept = Challenge::of(Some(CHALLENGE), Some("S256")).unwrap();
        let kept = kept.map(|challenge| challenge.to_string());
        assert!(is_met(kept.as_deref(), Some(VERIFIER)));
        for wrong in [None, Some(CHALLENGE), Some("x"), Some("")] {
            assert!(!is_met(kept.as_deref(), wrong), "{wrong:?}");
        }
    }

    #[test]
    fn without_a_method_the_challenge_is_the_verifier() {
        for method in [None, Some("plain")] {
            let kept = Challenge::of(Some(VERIFIER), method).unwrap();
            let kept = kept.map(|challenge| challenge.to_string());
            assert!(is_met(kept.as_deref(), Some(VERIFIER)));
            assert!(!is_met(kept.as_deref(), Some(CHALLENGE)));
        }
    }

    #[test]
    fn what_is_no_challenge_is_refused() {
        let long = "x".repeat(129);
        for (challenge, method) in [
            (Some("short"), Some("S256")),
            (Some(""), None),
            (Some(long.as_str()), Some("plain")),
            (Some("dBjftJeZ4CVP mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), None),
            (Some(CHALLENGE), Some("s256")),
            (Some(CHALLENGE), Some("")),
            (None, Some("S256")),
        ] {
            let refused = Challenge::of(challenge, method);
            assert!(refused.is_err(), "{challenge:?} {method:?}");
        }
    }

    #[test]
    fn a_verifier_nobody_asked_for_is_refused() {
        assert!(is_met(None, None));
        assert!(!is_met(None, Some(VERIFIER)));
    }
}
