//! Key pairs: which kinds there are, what makes one acceptable, and what can go wrong.

mod encrypted;
mod private;
mod public;
mod signature;
mod signing;

use std::fmt;
use std::str::FromStr;

pub(crate) use encrypted::{decrypt, derive, read_rounds};
pub use private::PrivateKey;
pub use public::PublicKey;
pub(crate) use public::{is_rsa_key, public_key_bits, sha1, sha256};
pub use signature::SignatureAlgorithm;
pub(crate) use signature::read_algorithm;
pub use signing::{KeyDevice, OutsideError, OutsideKey, SigningKey};

use crate::asn1::Malformed;

/// The smallest RSA modulus that is accepted, in bits.
pub const MIN_RSA_BITS: u16 = 2048;
/// The largest RSA modulus that is accepted, in bits. Bigger ones cost too much to verify.
pub const MAX_RSA_BITS: u16 = 8192;

/// A kind of key that can be generated.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyAlgorithm {
    /// RSA with a modulus of 2048 bits. Generating one takes about 0.1 s of CPU.
    Rsa2048,
    /// RSA with a modulus of 3072 bits. Generating one takes about 0.7 s of CPU.
    Rsa3072,
    /// RSA with a modulus of 4096 bits. Generating one takes 1 s of CPU and more.
    Rsa4096,
    /// ECDSA on the curve P-256.
    P256,
    /// ECDSA on the curve P-384.
    P384,
    /// ECDSA on the curve P-521.
    P521,
    /// Ed25519.
    Ed25519,
}

impl KeyAlgorithm {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Ed25519,
    ];
}

/// `rsa2048`, `p256`, `ed25519` and so on; the same words are read back by `FromStr`.
impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        KeyKind::from(*self).fmt(formatter)
    }
}

/// The text names none of the [`KeyAlgorithm`]s.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown key algorithm; known are rsa2048, rsa3072, rsa4096, p256, p384, p521, ed25519")]
pub struct UnknownKeyAlgorithm;

/// Reads what `Display` writes, in any case.
impl FromStr for KeyAlgorithm {
    type Err = UnknownKeyAlgorithm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.to_string().eq_ignore_ascii_case(text))
            .ok_or(UnknownKeyAlgorithm)
    }
}

/// The kind of an existing key. Keys from outside may have RSA sizes that are never generated here.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyKind {
    /// RSA with a modulus of so many bits.
    Rsa {
        /// Size of the modulus, between [`MIN_RSA_BITS`] and [`MAX_RSA_BITS`].
        bits: u16,
    },
    /// ECDSA on the curve P-256.
    P256,
    /// ECDSA on the curve P-384.
    P384,
    /// ECDSA on the curve P-521.
    P521,
    /// Ed25519.
    Ed25519,
}

impl KeyKind {
    /// The algorithm that keys of this kind sign with here.
    pub fn signature_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::Rsa { .. } => SignatureAlgorithm::RsaPkcs1Sha256,
            Self::P256 => SignatureAlgorithm::EcdsaSha256,
            Self::P384 => SignatureAlgorithm::EcdsaSha384,
            Self::P521 => SignatureAlgorithm::EcdsaSha512,
            Self::Ed25519 => SignatureAlgorithm::Ed25519,
        }
    }

    /// Whether this is an RSA key, whose certificates also allow key encipherment.
    pub fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa { .. })
    }
}

impl From<KeyAlgorithm> for KeyKind {
    fn from(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::Rsa2048 => Self::Rsa { bits: 2048 },
            KeyAlgorithm::Rsa3072 => Self::Rsa { bits: 3072 },
            KeyAlgorithm::Rsa4096 => Self::Rsa { bits: 4096 },
            KeyAlgorithm::P256 => Self::P256,
            KeyAlgorithm::P384 => Self::P384,
            KeyAlgorithm::P521 => Self::P521,
            KeyAlgorithm::Ed25519 => Self::Ed25519,
        }
    }
}

/// `rsa` with the number of bits, `p256`, `p384`, `p521` or `ed25519`.
impl fmt::Display for KeyKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(formatter, "rsa{bits}"),
            Self::P256 => formatter.write_str("p256"),
            Self::P384 => formatter.write_str("p384"),
            Self::P521 => formatter.write_str("p521"),
            Self::Ed25519 => formatter.write_str("ed25519"),
        }
    }
}

/// Why a key is not accepted, or could not be made or used. Never contains key material.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// The key is protected with a passphrase.
    #[error("the private key is encrypted; decrypt it first (openssl pkey -in FILE -out FILE)")]
    Encrypted,
    /// The bytes are not a key of the kind they claim to be, or its parts do not fit together.
    #[error("the key is malformed: {0}")]
    Malformed(&'static str),
    /// The PEM text has no private key block.
    #[error("no private key found; expected a PEM block such as BEGIN PRIVATE KEY")]
    NoKeyFound,
    /// The device that has the key did not sign.
    #[error("the device that has the key did not sign: {0}")]
    Outside(String),
    /// The passphrase does not open the key.
    #[error("the passphrase is wrong, or the file is damaged")]
    Passphrase,
    /// The crypto library failed where it should not.
    #[error("the crypto library failed to {0}")]
    Provider(&'static str),
    /// The PEM text has more than one private key block.
    #[error("more than one private key found; give exactly one")]
    SeveralKeys,
    /// The key could be broken.
    #[error("the key is too weak: {0}")]
    TooWeak(String),
    /// The key is of a kind that is not supported.
    #[error("the key is not supported: {0}")]
    Unsupported(String),
}

impl From<Malformed> for KeyError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn names_of_algorithms_read_back() {
        for algorithm in KeyAlgorithm::ALL {
            let name = algorithm.to_string();
            assert_eq!(name.parse(), Ok(algorithm));
            assert_eq!(name.to_uppercase().parse(), Ok(algorithm));
        }
        assert_eq!("rsa1024".parse::<KeyAlgorithm>(), Err(UnknownKeyAlgorithm));
    }
}
