//! Public keys: SubjectPublicKeyInfo (RFC 5280 4.1.2.7) read strictly and checked once.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ParsedPublicKey, UnparsedPublicKey};

use super::signature::read_algorithm;
use super::{KeyError, KeyKind, MAX_RSA_BITS, MIN_RSA_BITS, SignatureAlgorithm};
use crate::asn1::{Malformed, Reader, oid, single, tag};

/// A public key that is strong enough and of a supported kind. Equality is that of the DER.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    spki: Vec<u8>,
    bits: Vec<u8>,
    kind: KeyKind,
    parsed: ParsedPublicKey,
}

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`KeyError::TooWeak`] for RSA below 2048 bits or with an even or tiny exponent,
    /// [`KeyError::Unsupported`] for other kinds, curves and RSA above 8192 bits, and
    /// [`KeyError::Malformed`] for everything that is no key, such as a point off its curve.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, KeyError> {
        let (algorithm, parameters, bits) = parts(spki)?;
        let kind = if algorithm == oid::RSA_ENCRYPTION.as_bytes() {
            if parameters.is_none_or(|parameters| parameters.encoded != [tag::NULL, 0]) {
                return Err(KeyError::Malformed(
                    "the parameters of an RSA key must be NULL",
                ));
            }
            rsa_kind(bits)?
        } else if algorithm == oid::EC_PUBLIC_KEY.as_bytes() {
            let curve = parameters
                .filter(|parameters| parameters.tag == tag::OBJECT_IDENTIFIER)
                .ok_or_else(unnamed_curve)?;
            if bits.first().is_none_or(|form| *form != 4) {
                return Err(KeyError::Unsupported(
                    "the elliptic curve point is compressed; use the uncompressed form".into(),
                ));
            }
            curve_kind(curve.contents)?
        } else if algorithm == oid::ED25519.as_bytes() {
            if parameters.is_some() || bits.len() != 32 {
                return Err(KeyError::Malformed("not an Ed25519 public key"));
            }
            KeyKind::Ed25519
        } else {
            return Err(unsupported_algorithm(algorithm));
        };
        let verification = kind
            .signature_algorithm()
            .verification(kind)
            .ok_or(KeyError::Provider("choose a verification algorithm"))?;
        let parsed = ParsedPublicKey::new(verification, bits)
            .map_err(|_| KeyError::Malformed("the public key has invalid parts"))?;
        Ok(Self(Arc::new(Inner {
            spki: spki.to_vec(),
            bits: bits.to_vec(),
            kind,
            parsed,
        })))
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// What kind of key this is.
    pub fn algorithm(&self) -> KeyKind {
        self.0.kind
    }

    /// The key identifier by method 1 of RFC 5280 4.2.1.2: SHA-1 of the BIT STRING's octets.
    pub fn key_identifier(&self) -> [u8; 20] {
        sha1(&self.0.bits)
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.0.spki)
    }

    /// Whether `signature` over `message` was made by this key with exactly this algorithm.
    ///
    /// An algorithm of another family than the key's is a failed verification.
    pub fn verify(&self, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        let Some(verification) = algorithm.verification(self.0.kind) else {
            return false;
        };
        if algorithm == self.0.kind.signature_algorithm() {
            self.0.parsed.verify_sig(message, signature).is_ok()
        } else {
            UnparsedPublicKey::new(verification, &self.0.bits)
                .verify(message, signature)
                .is_ok()
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.spki == other.0.spki
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({}, ", self.0.kind)?;
        for octet in self.fingerprint() {
            write!(formatter, "{octet:02x}")?;
        }
        formatter.write_str(")")
    }
}

/// The octets of the key's BIT STRING, of any kind of key: what OCSP and key identifiers hash.
pub(crate) fn public_key_bits(spki: &[u8]) -> Result<&[u8], Malformed> {
    parts(spki).map(|(_, _, bits)| bits)
}

/// Whether a SubjectPublicKeyInfo says that its key is an RSA key.
pub(crate) fn is_rsa_key(spki: &[u8]) -> Result<bool, Malformed> {
    parts(spki).map(|(algorithm, _, _)| algorithm == oid::RSA_ENCRYPTION.as_bytes())
}

pub(super) fn curve_kind(object: &[u8]) -> Result<KeyKind, KeyError> {
    if object == oid::SECP256R1.as_bytes() {
        Ok(KeyKind::P256)
    } else if object == oid::SECP384R1.as_bytes() {
        Ok(KeyKind::P384)
    } else if object == oid::SECP521R1.as_bytes() {
        Ok(KeyKind::P521)
    } else {
        Err(KeyError::Unsupported(
            "an elliptic curve other than P-256, P-384 and P-521".into(),
        ))
    }
}

pub(super) fn unnamed_curve() -> KeyError {
    KeyError::Unsupported(
        "the elliptic curve is not given by name; use the named curve P-256, P-384 or P-521".into(),
    )
}

pub(super) fn unsupported_algorithm(object: &[u8]) -> KeyError {
    let name = if object == oid::RSASSA_PSS.as_bytes() {
        "a key restricted to RSASSA-PSS".to_owned()
    } else {
        der::oid::ObjectIdentifier::from_bytes(object).map_or_else(
            |_| "an unknown key algorithm".to_owned(),
            |oid| format!("key algorithm {oid}"),
        )
    };
    KeyError::Unsupported(format!(
        "{name}; use RSA (2048 bits or more), P-256, P-384, P-521 or Ed25519"
    ))
}

type Parts<'a> = (&'a [u8], Option<crate::asn1::Element<'a>>, &'a [u8]);

fn parts(spki: &[u8]) -> Result<Parts<'_>, Malformed> {
    const WHAT: &str = "not a SubjectPublicKeyInfo";
    let mut reader = single(spki, tag::SEQUENCE, WHAT)?.reader();
    let (algorithm, parameters) = read_algorithm(&reader.element(WHAT)?, WHAT)?;
    let bits = reader.expect(tag::BIT_STRING, WHAT)?.bit_string(WHAT)?;
    reader.finish(WHAT)?;
    Ok((algorithm, parameters, bits))
}

/// Checks an RSAPublicKey (RFC 8017 A.1.1).
fn rsa_kind(bits: &[u8]) -> Result<KeyKind, KeyError> {
    const WHAT: &str = "not an RSA public key";
    let mut reader: Reader<'_> = single(bits, tag::SEQUENCE, WHAT)?.reader();
    let modulus = reader.expect(tag::INTEGER, WHAT)?.integer(WHAT)?;
    let exponent = reader.expect(tag::INTEGER, WHAT)?.integer(WHAT)?;
    reader.finish(WHAT)?;

    let modulus_bits = positive_bits(modulus).ok_or(KeyError::Malformed(WHAT))?;
    let exponent_bits = positive_bits(exponent).ok_or(KeyError::Malformed(WHAT))?;
    let is_odd = |octets: &[u8]| octets.last().is_some_and(|last| last & 1 == 1);
    if modulus_bits < usize::from(MIN_RSA_BITS) {
        return Err(KeyError::TooWeak(format!(
            "RSA with {modulus_bits} bits; use at least {MIN_RSA_BITS}"
        )));
    }
    let bits = u16::try_from(modulus_bits)
        .ok()
        .filter(|bits| *bits <= MAX_RSA_BITS)
        .ok_or_else(|| {
            KeyError::Unsupported(format!(
                "RSA with {modulus_bits} bits; use at most {MAX_RSA_BITS}"
            ))
        })?;
    if !is_odd(modulus) || !is_odd(exponent) || exponent_bits < 2 {
        return Err(KeyError::TooWeak(
            "the RSA modulus and the public exponent must be odd, the exponent at least 3".into(),
        ));
    }
    // The crypto library refuses more; so do browsers. 65537 has 17 bits.
    if exponent_bits > 32 {
        return Err(KeyError::Unsupported(
            "the RSA public exponent is above 32 bits; use 65537".into(),
        ));
    }
    Ok(KeyKind::Rsa { bits })
}

/// The number of significant bits of a positive INTEGER; `None` if it is zero or negative.
fn positive_bits(contents: &[u8]) -> Option<usize> {
    let significant = match contents {
        [0, rest @ ..] => rest,
        [first, ..] if first & 0x80 != 0 => return None,
        all => all,
    };
    let first = significant.first()?;
    Some(significant.len() * 8 - usize::try_from(first.leading_zeros()).ok()?)
}

pub(crate) fn sha1(bytes: &[u8]) -> [u8; 20] {
    fixed(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    fixed(&digest::SHA256, bytes)
}

fn fixed<const N: usize>(algorithm: &'static digest::Algorithm, bytes: &[u8]) -> [u8; N] {
    let mut octets = [0; N];
    for (place, octet) in octets
        .iter_mut()
        .zip(digest::digest(algorithm, bytes).as_ref())
    {
        *place = *octet;
    }
    octets
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::super::{KeyAlgorithm, PrivateKey};
    use super::*;
    use crate::asn1::Writer;

    fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let mut key = Writer::new();
        key.sequence(|key| {
            key.unsigned(modulus);
            key.unsigned(exponent);
        });
        let mut spki = Writer::new();
        spki.sequence(|spki| {
            spki.sequence(|algorithm| {
                algorithm.oid(&oid::RSA_ENCRYPTION);
                algorithm.null();
            });
            spki.bit_string(&key.finish());
        });
        spki.finish()
    }

    #[test]
    fn weak_rsa_keys_are_refused_with_their_size() {
        let error = PublicKey::from_spki_der(&rsa_spki(&[0xff; 128], &[1, 0, 1])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the key is too weak: RSA with 1024 bits; use at least 2048"
        );
        for exponent in [&[0][..], &[1], &[2], &[1, 0, 0]] {
            assert!(PublicKey::from_spki_der(&rsa_spki(&[0xff; 256], exponent)).is_err());
        }
        assert!(matches!(
            PublicKey::from_spki_der(&rsa_spki(&[0xff; 1025], &[1, 0, 1])),
            Err(KeyError::Unsupported(_))
        ));
        assert!(matches!(
            PublicKey::from_spki_der(&rsa_spki(&[0xfe; 256], &[1, 0, 1])),
            Err(KeyError::TooWeak(_))
        ));
    }

    #[test]
    fn a_point_off_the_curve_is_refused() {
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let mut spki = key.public_key().spki_der().to_vec();
        *spki.last_mut().unwrap() ^= 1;
        assert!(matches!(
            PublicKey::from_spki_der(&spki),
            Err(KeyError::Malformed(_))
        ));
    }

    #[test]
    fn verifies_only_with_the_right_algorithm_message_and_key() {
        let key = PrivateKey::generate(KeyAlgorithm::P384).unwrap();
        let other = PrivateKey::generate(KeyAlgorithm::P384).unwrap();
        let signature = key.sign(b"message").unwrap();
        let public = key.public_key();
        assert!(public.verify(SignatureAlgorithm::EcdsaSha384, b"message", &signature));
        assert!(!public.verify(SignatureAlgorithm::EcdsaSha384, b"messagf", &signature));
        assert!(!public.verify(SignatureAlgorithm::EcdsaSha256, b"message", &signature));
        assert!(!public.verify(SignatureAlgorithm::Ed25519, b"message", &signature));
        assert!(!other.public_key().verify(
            SignatureAlgorithm::EcdsaSha384,
            b"message",
            &signature
        ));
    }

    #[test]
    fn equality_is_that_of_the_key() {
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
        let again = PublicKey::from_spki_der(key.public_key().spki_der()).unwrap();
        assert_eq!(&again, key.public_key());
        assert_ne!(
            &again,
            PrivateKey::generate(KeyAlgorithm::Ed25519)
                .unwrap()
                .public_key()
        );
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = PublicKey::from_spki_der(&bytes);
        }

        #[test]
        fn never_panics_on_a_damaged_key(at in 0_usize..91, value: u8) {
            let key = PrivateKey::from_pkcs8_der(&P256_KEY).unwrap();
            let mut spki = key.public_key().spki_der().to_vec();
            *spki.get_mut(at).unwrap() = value;
            let _ = PublicKey::from_spki_der(&spki);
        }
    }

    static P256_KEY: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        PrivateKey::generate(KeyAlgorithm::P256)
            .unwrap()
            .to_pkcs8_der()
            .to_vec()
    });
}
