//! What proves control over a name: tokens and key authorizations (RFC 8555 section 8).

use std::fmt;
use std::str::FromStr;

use crate::{Jwk, base64url, sha256};

/// The token of a challenge: characters of the base64url alphabet only, so that it can stand in a
/// path and a file name as it is. That matters where it comes from an authority that lies.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Token(String);

impl Token {
    /// The longest token accepted, in characters. RFC 8555 sets no limit; authorities use 43.
    pub const MAX_LENGTH: usize = 256;

    /// A new token from 256 random bits; RFC 8555 section 8 asks for at least 128.
    pub fn from_random(octets: [u8; 32]) -> Self {
        Self(base64url(&octets))
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks the syntax (RFC 8555 section 8.3): base64url characters without padding, at least one.
impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(TokenError::TooLong);
        }
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TokenError::ForbiddenCharacter)
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// It has no characters.
    #[error("the challenge's token is empty")]
    Empty,
    /// It has a character outside the base64url alphabet, such as `/`, `.` or `=`.
    #[error("the challenge's token has a character outside the base64url alphabet")]
    ForbiddenCharacter,
    /// It has more than [`Token::MAX_LENGTH`] characters.
    #[error(
        "the challenge's token is longer than {} characters",
        Token::MAX_LENGTH
    )]
    TooLong,
}

/// A token bound to an account key (RFC 8555 section 8.1): `token.thumbprint`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyAuthorization(String);

impl KeyAuthorization {
    /// Binds `token` to `account_key`.
    pub fn new(token: &Token, account_key: &Jwk) -> Self {
        Self(format!("{token}.{}", base64url(&account_key.thumbprint())))
    }

    /// The text itself: what http-01 serves (RFC 8555 section 8.3).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of the TXT record for dns-01 (RFC 8555 section 8.4): base64url of the SHA-256.
    pub fn dns_01_value(&self) -> String {
        base64url(&sha256(self.0.as_bytes()))
    }

    /// The SHA-256 that stands in the `acmeIdentifier` extension for tls-alpn-01 (RFC 8737
    /// section 3).
    pub fn tls_alpn_01_digest(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use pki::{KeyAlgorithm, PrivateKey};
    use proptest::prelude::*;

    use super::*;

    /// The token of the examples in RFC 8555 sections 8.3 and 8.4.
    const TOKEN: &str = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";

    #[test]
    fn tokens_hold_nothing_that_means_something_in_a_path() {
        assert_eq!(TOKEN.parse::<Token>().unwrap().as_str(), TOKEN);
        assert_eq!("".parse::<Token>(), Err(TokenError::Empty));
        for text in [
            "../../etc/passwd",
            "a/b",
            "a.b",
            "YQ==",
            "a b",
            "a\0",
            "ä",
            "a+b",
        ] {
            assert_eq!(
                text.parse::<Token>(),
                Err(TokenError::ForbiddenCharacter),
                "{text}"
            );
        }
        assert!("a".repeat(256).parse::<Token>().is_ok());
        assert_eq!("a".repeat(257).parse::<Token>(), Err(TokenError::TooLong));
    }

    #[test]
    fn a_key_authorization_joins_token_and_thumbprint() {
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let jwk = Jwk::from_public_key(key.public_key()).unwrap();
        let authorization = KeyAuthorization::new(&TOKEN.parse().unwrap(), &jwk);
        let (token, thumbprint) = authorization.as_str().split_once('.').unwrap();
        assert_eq!((token, thumbprint.len()), (TOKEN, 43));
        assert_eq!(thumbprint, base64url(&jwk.thumbprint()));
    }

    #[test]
    fn both_digests_are_what_openssl_makes_of_the_key_authorization() {
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
        let jwk = Jwk::from_public_key(key.public_key()).unwrap();
        let authorization = KeyAuthorization::new(&TOKEN.parse().unwrap(), &jwk);
        let input = authorization.as_str().as_bytes();
        let digest = testbed::openssl(&["dgst", "-sha256", "-binary"], input).stdout;
        assert_eq!(authorization.tls_alpn_01_digest().as_slice(), digest);
        let base64 = testbed::openssl(&["base64", "-A"], &digest).text();
        let base64url = base64.replace('+', "-").replace('/', "_").replace('=', "");
        assert_eq!(authorization.dns_01_value(), base64url);
    }

    proptest! {
        #[test]
        fn new_tokens_are_tokens(octets: [u8; 32]) {
            let token = Token::from_random(octets);
            prop_assert_eq!(token.as_str().len(), 43);
            prop_assert_eq!(token.as_str().parse::<Token>(), Ok(token.clone()));
        }
    }
}
