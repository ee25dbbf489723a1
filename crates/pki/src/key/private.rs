//! Private keys: generating, reading every common encoding, signing.
//!
//! The key is parsed and checked by the crypto library once and kept parsed. Its PKCS#8 form is
//! kept beside it in memory that is wiped when the last clone goes.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use zeroize::Zeroizing;

use super::public::{curve_kind, unnamed_curve, unsupported_algorithm};
use super::signature::read_algorithm;
use super::{KeyAlgorithm, KeyError, KeyKind, MAX_RSA_BITS, MIN_RSA_BITS, PublicKey};
use crate::asn1::{Element, Reader, oid, single, tag};
use crate::pem;

/// A private key. Clones share the parsed key; `Debug` shows the kind only.
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

struct Inner {
    pkcs8: Zeroizing<Vec<u8>>,
    public: PublicKey,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl PrivateKey {
    /// Generates a key with the operating system's randomness. RSA takes long: do not call it on a
    /// thread that serves requests.
    ///
    /// # Errors
    /// [`KeyError::Provider`] if the crypto library fails.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Provider("generate a key");
        let pair = match algorithm {
            KeyAlgorithm::Rsa2048 => {
                Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?)
            }
            KeyAlgorithm::Rsa3072 => {
                Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa3072).map_err(failed)?)
            }
            KeyAlgorithm::Rsa4096 => {
                Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa4096).map_err(failed)?)
            }
            KeyAlgorithm::P256 => Pair::Ecdsa(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?,
            ),
            KeyAlgorithm::P384 => Pair::Ecdsa(
                EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).map_err(failed)?,
            ),
            KeyAlgorithm::P521 => Pair::Ecdsa(
                EcdsaKeyPair::generate(&ECDSA_P521_SHA512_ASN1_SIGNING).map_err(failed)?,
            ),
            KeyAlgorithm::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
        };
        Self::from_pair(pair)
    }

    /// Reads the private key of a PEM text: PKCS#8 (`PRIVATE KEY`), PKCS#1 (`RSA PRIVATE KEY`) or
    /// SEC 1 (`EC PRIVATE KEY`, with or without an `EC PARAMETERS` block). Blocks of other kinds,
    /// such as certificates, are passed over.
    ///
    /// # Errors
    /// [`KeyError`], each variant.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let is_key = |label: &str| label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY");
        let mut keys = pem::blocks(text).filter(|block| is_key(block.label()));
        let key = keys.next().ok_or(KeyError::NoKeyFound)?;
        if keys.next().is_some() {
            return Err(KeyError::SeveralKeys);
        }
        if key.label() == "ENCRYPTED PRIVATE KEY" || key.is_encrypted() {
            return Err(KeyError::Encrypted);
        }
        let der = key
            .decode()
            .ok_or(KeyError::Malformed("the PEM block is not base64"))?;
        match key.label() {
            "PRIVATE KEY" => Self::from_pkcs8_der(&der),
            "RSA PRIVATE KEY" => from_pkcs1(&der),
            "EC PRIVATE KEY" => {
                let parameters = pem::blocks(text)
                    .find(|block| block.label() == "EC PARAMETERS")
                    .and_then(|block| block.decode());
                from_sec1(&der, parameters.as_deref().map(Vec::as_slice))
            }
            other => Err(KeyError::Unsupported(format!(
                "a PEM block of type {other}; convert it to PKCS#8 (PRIVATE KEY)"
            ))),
        }
    }

    /// Reads an unencrypted DER PKCS#8 key (RFC 5208, RFC 5958).
    ///
    /// # Errors
    /// [`KeyError::Malformed`], [`KeyError::TooWeak`] or [`KeyError::Unsupported`].
    pub fn from_pkcs8_der(pkcs8: &[u8]) -> Result<Self, KeyError> {
        const WHAT: &str = "not a PKCS#8 private key";
        let mut reader = single(pkcs8, tag::SEQUENCE, WHAT)?.reader();
        reader.expect(tag::INTEGER, WHAT)?;
        let (algorithm, parameters) = read_algorithm(&reader.element(WHAT)?, WHAT)?;
        let inner = reader.expect(tag::OCTET_STRING, WHAT)?.contents;
        if algorithm == oid::RSA_ENCRYPTION.as_bytes() {
            check_rsa_size(inner)?;
            let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| INVALID)?;
            Self::from_pair(Pair::Rsa(pair))
        } else if algorithm == oid::EC_PUBLIC_KEY.as_bytes() {
            let signing = ecdsa_algorithm(named_curve(parameters)?)?;
            let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8).map_err(|_| INVALID)?;
            Self::from_pair(Pair::Ecdsa(pair))
        } else if algorithm == oid::ED25519.as_bytes() {
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| INVALID)?;
            Self::from_pair(Pair::Ed25519(pair))
        } else {
            Err(unsupported_algorithm(algorithm))
        }
    }

    /// The key as unencrypted DER PKCS#8. The copy is wiped when dropped.
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        self.0.pkcs8.clone()
    }

    /// The key as unencrypted PEM PKCS#8. The text is wiped when dropped.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        pem::encode("PRIVATE KEY", &self.0.pkcs8)
    }

    /// What kind of key this is.
    pub fn algorithm(&self) -> KeyKind {
        self.0.public.algorithm()
    }

    /// The other half of the pair.
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public
    }

    /// Signs `message` with the algorithm of
    /// [`KeyKind::signature_algorithm`](super::KeyKind::signature_algorithm). ECDSA signatures are
    /// in their DER form, as X.509 wants them.
    ///
    /// # Errors
    /// [`KeyError::Provider`] if the crypto library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::Provider("sign");
        match &self.0.pair {
            Pair::Ecdsa(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(failed),
            Pair::Ed25519(pair) => pair
                .try_sign(message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(failed),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .map_err(failed)?;
                Ok(signature)
            }
        }
    }

    fn from_pair(pair: Pair) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Provider("export a key");
        let spki: PublicKeyX509Der<'_> = match &pair {
            Pair::Ecdsa(pair) => pair.public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
            Pair::Rsa(pair) => pair.public_key().as_der(),
        }
        .map_err(failed)?;
        let public = PublicKey::from_spki_der(spki.as_ref())?;
        let pkcs8 = match &pair {
            Pair::Ecdsa(pair) => {
                Zeroizing::new(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => {
                Zeroizing::new(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
            }
            Pair::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                Zeroizing::new(der.as_ref().to_vec())
            }
        };
        Ok(Self(Arc::new(Inner {
            pkcs8,
            public,
            pair,
        })))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PrivateKey({})", self.algorithm())
    }
}

const INVALID: KeyError = KeyError::Malformed("the private key has invalid parts");

fn from_pkcs1(der: &[u8]) -> Result<PrivateKey, KeyError> {
    check_rsa_size(der)?;
    let pair = RsaKeyPair::from_der(der).map_err(|_| INVALID)?;
    PrivateKey::from_pair(Pair::Rsa(pair))
}

/// Reads an ECPrivateKey (RFC 5915). The curve is named inside or, failing that, by the contents
/// of an `EC PARAMETERS` block; if both name one, they must agree.
fn from_sec1(der: &[u8], parameters: Option<&[u8]>) -> Result<PrivateKey, KeyError> {
    const WHAT: &str = "not a SEC 1 private key";
    let mut reader = single(der, tag::SEQUENCE, WHAT)?.reader();
    reader.expect(tag::INTEGER, WHAT)?;
    reader.expect(tag::OCTET_STRING, WHAT)?;
    let inside = reader
        .optional(tag::context_constructed(0), WHAT)?
        .map(|parameters| parameters.reader().element(WHAT))
        .transpose()?;
    let outside = parameters
        .map(|parameters| Reader::new(parameters).element(WHAT))
        .transpose()?;
    let kind = named_curve(inside.or(outside))?;
    if inside.is_some() && outside.is_some() && named_curve(outside)? != kind {
        return Err(KeyError::Malformed(
            "the EC PARAMETERS block names another curve than the key",
        ));
    }
    let pair =
        EcdsaKeyPair::from_private_key_der(ecdsa_algorithm(kind)?, der).map_err(|_| INVALID)?;
    PrivateKey::from_pair(Pair::Ecdsa(pair))
}

fn named_curve(parameters: Option<Element<'_>>) -> Result<KeyKind, KeyError> {
    let parameters = parameters
        .filter(|parameters| parameters.tag == tag::OBJECT_IDENTIFIER)
        .ok_or_else(unnamed_curve)?;
    curve_kind(parameters.contents)
}

fn ecdsa_algorithm(kind: KeyKind) -> Result<&'static EcdsaSigningAlgorithm, KeyError> {
    match kind {
        KeyKind::P256 => Ok(&ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyKind::P384 => Ok(&ECDSA_P384_SHA384_ASN1_SIGNING),
        KeyKind::P521 => Ok(&ECDSA_P521_SHA512_ASN1_SIGNING),
        KeyKind::Rsa { .. } | KeyKind::Ed25519 => Err(INVALID),
    }
}

/// Looks at the modulus of an RSAPrivateKey (RFC 8017 A.1.2) before the crypto library does, which
/// would say nothing but "invalid" and would spend long on a huge one.
fn check_rsa_size(der: &[u8]) -> Result<(), KeyError> {
    const WHAT: &str = "not an RSA private key";
    let mut reader = single(der, tag::SEQUENCE, WHAT)?.reader();
    reader.expect(tag::INTEGER, WHAT)?;
    let modulus = reader.expect(tag::INTEGER, WHAT)?.integer(WHAT)?;
    let octets = modulus.iter().skip_while(|octet| **octet == 0).count();
    if octets < usize::from(MIN_RSA_BITS) / 8 {
        return Err(KeyError::TooWeak(format!(
            "RSA with {} bits; use at least {MIN_RSA_BITS}",
            octets * 8
        )));
    }
    if octets > usize::from(MAX_RSA_BITS) / 8 {
        return Err(KeyError::Unsupported(format!(
            "RSA with {} bits; use at most {}",
            octets * 8,
            MAX_RSA_BITS
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_quick_kind_reads_its_own_output_and_signs() {
        for algorithm in [
            KeyAlgorithm::P256,
            KeyAlgorithm::P384,
            KeyAlgorithm::P521,
            KeyAlgorithm::Ed25519,
        ] {
            let key = PrivateKey::generate(algorithm).unwrap();
            assert_eq!(key.algorithm(), KeyKind::from(algorithm));
            let again = PrivateKey::from_pem(key.to_pkcs8_pem().as_bytes()).unwrap();
            assert_eq!(again.public_key(), key.public_key());
            assert_eq!(again.to_pkcs8_der(), key.to_pkcs8_der());
            let signature = again.sign(b"message").unwrap();
            let scheme = key.algorithm().signature_algorithm();
            assert!(key.public_key().verify(scheme, b"message", &signature));
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(ed25519)");
    }

    #[test]
    fn the_number_of_keys_must_be_one() {
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519)
            .unwrap()
            .to_pkcs8_pem();
        assert_eq!(PrivateKey::from_pem(b"").unwrap_err(), KeyError::NoKeyFound);
        let twice = format!("{}{}", *key, *key);
        assert_eq!(
            PrivateKey::from_pem(twice.as_bytes()).unwrap_err(),
            KeyError::SeveralKeys
        );
    }

    #[test]
    fn encrypted_and_foreign_blocks_are_named() {
        let pkcs8 =
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAQID\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(
            PrivateKey::from_pem(pkcs8).unwrap_err(),
            KeyError::Encrypted
        );
        let legacy = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES,00\n\nAQID\n-----END RSA PRIVATE KEY-----\n";
        assert_eq!(
            PrivateKey::from_pem(legacy).unwrap_err(),
            KeyError::Encrypted
        );
        let openssh =
            b"-----BEGIN OPENSSH PRIVATE KEY-----\nAQID\n-----END OPENSSH PRIVATE KEY-----\n";
        assert!(
            matches!(PrivateKey::from_pem(openssh), Err(KeyError::Unsupported(text)) if text.contains("OPENSSH"))
        );
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..150)) {
            let _ = PrivateKey::from_pkcs8_der(&bytes);
            let _ = from_pkcs1(&bytes);
            let _ = from_sec1(&bytes, Some(&bytes));
            let _ = PrivateKey::from_pem(&bytes);
        }
    }
}
