//! Signature algorithms: their identifiers in X.509, and which of them fits which key.

use std::sync::LazyLock;

use aws_lc_rs::signature as provider;
use aws_lc_rs::signature::VerificationAlgorithm;

use super::KeyKind;
use crate::asn1::{Element, Malformed, ObjectIdentifier, Writer, oid, tag};

/// A signature algorithm, as an AlgorithmIdentifier names it. SHA-1 is left out on purpose.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SignatureAlgorithm {
    /// ecdsa-with-SHA256 (RFC 5758).
    EcdsaSha256,
    /// ecdsa-with-SHA384 (RFC 5758).
    EcdsaSha384,
    /// ecdsa-with-SHA512 (RFC 5758).
    EcdsaSha512,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// sha256WithRSAEncryption (RFC 4055).
    RsaPkcs1Sha256,
    /// sha384WithRSAEncryption (RFC 4055).
    RsaPkcs1Sha384,
    /// sha512WithRSAEncryption (RFC 4055).
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256 and 32 octets of salt (RFC 4055).
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, MGF1 with SHA-384 and 48 octets of salt (RFC 4055).
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, MGF1 with SHA-512 and 64 octets of salt (RFC 4055).
    RsaPssSha512,
}

/// Every algorithm beside the DER of its AlgorithmIdentifier.
static IDENTIFIERS: LazyLock<Vec<(SignatureAlgorithm, Vec<u8>)>> = LazyLock::new(|| {
    SignatureAlgorithm::ALL
        .into_iter()
        .map(|algorithm| (algorithm, algorithm.encode()))
        .collect()
});

impl SignatureAlgorithm {
    const ALL: [Self; 10] = [
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
        Self::Ed25519,
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
    ];

    /// Reads an AlgorithmIdentifier; `None` for every algorithm that is not in the list, and for
    /// the right object identifier with other parameters than its standard prescribes.
    pub fn from_der(identifier: &[u8]) -> Option<Self> {
        IDENTIFIERS
            .iter()
            .find(|(_, known)| known == identifier)
            .map(|(algorithm, _)| *algorithm)
    }

    /// The DER of the AlgorithmIdentifier.
    pub fn to_der(self) -> &'static [u8] {
        IDENTIFIERS
            .iter()
            .find(|(algorithm, _)| *algorithm == self)
            .map_or(&[], |(_, identifier)| identifier)
    }

    /// How the provider verifies such a signature by such a key; `None` if they do not fit.
    pub(crate) fn verification(self, key: KeyKind) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match (key, self) {
            (KeyKind::Rsa { .. }, Self::RsaPkcs1Sha256) => &provider::RSA_PKCS1_2048_8192_SHA256,
            (KeyKind::Rsa { .. }, Self::RsaPkcs1Sha384) => &provider::RSA_PKCS1_2048_8192_SHA384,
            (KeyKind::Rsa { .. }, Self::RsaPkcs1Sha512) => &provider::RSA_PKCS1_2048_8192_SHA512,
            (KeyKind::Rsa { .. }, Self::RsaPssSha256) => &provider::RSA_PSS_2048_8192_SHA256,
            (KeyKind::Rsa { .. }, Self::RsaPssSha384) => &provider::RSA_PSS_2048_8192_SHA384,
            (KeyKind::Rsa { .. }, Self::RsaPssSha512) => &provider::RSA_PSS_2048_8192_SHA512,
            (KeyKind::P256, Self::EcdsaSha256) => &provider::ECDSA_P256_SHA256_ASN1,
            (KeyKind::P256, Self::EcdsaSha384) => &provider::ECDSA_P256_SHA384_ASN1,
            (KeyKind::P256, Self::EcdsaSha512) => &provider::ECDSA_P256_SHA512_ASN1,
            (KeyKind::P384, Self::EcdsaSha256) => &provider::ECDSA_P384_SHA256_ASN1,
            (KeyKind::P384, Self::EcdsaSha384) => &provider::ECDSA_P384_SHA384_ASN1,
            (KeyKind::P384, Self::EcdsaSha512) => &provider::ECDSA_P384_SHA512_ASN1,
            (KeyKind::P521, Self::EcdsaSha256) => &provider::ECDSA_P521_SHA256_ASN1,
            (KeyKind::P521, Self::EcdsaSha384) => &provider::ECDSA_P521_SHA384_ASN1,
            (KeyKind::P521, Self::EcdsaSha512) => &provider::ECDSA_P521_SHA512_ASN1,
            (KeyKind::Ed25519, Self::Ed25519) => &provider::ED25519,
            _ => return None,
        })
    }

    fn encode(self) -> Vec<u8> {
        let (object, pss_digest) = match self {
            Self::EcdsaSha256 => (oid::ECDSA_WITH_SHA256, None),
            Self::EcdsaSha384 => (oid::ECDSA_WITH_SHA384, None),
            Self::EcdsaSha512 => (oid::ECDSA_WITH_SHA512, None),
            Self::Ed25519 => (oid::ED25519, None),
            Self::RsaPkcs1Sha256 => (oid::SHA256_WITH_RSA, None),
            Self::RsaPkcs1Sha384 => (oid::SHA384_WITH_RSA, None),
            Self::RsaPkcs1Sha512 => (oid::SHA512_WITH_RSA, None),
            Self::RsaPssSha256 => (oid::RSASSA_PSS, Some((oid::SHA256, 32))),
            Self::RsaPssSha384 => (oid::RSASSA_PSS, Some((oid::SHA384, 48))),
            Self::RsaPssSha512 => (oid::RSASSA_PSS, Some((oid::SHA512, 64))),
        };
        let mut writer = Writer::new();
        writer.sequence(|identifier| {
            identifier.oid(&object);
            match (self, pss_digest) {
                (_, Some((digest, salt))) => pss_parameters(identifier, &digest, salt),
                // RFC 4055 section 5: the parameters of the PKCS #1 algorithms are NULL.
                (Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha384 | Self::RsaPkcs1Sha512, None) => {
                    identifier.null();
                }
                _ => {}
            }
        });
        writer.finish()
    }
}

/// RSASSA-PSS-params (RFC 4055 section 3.1).
fn pss_parameters(writer: &mut Writer, digest: &ObjectIdentifier, salt: u8) {
    let digest_identifier = |writer: &mut Writer| {
        writer.sequence(|identifier| {
            identifier.oid(digest);
            identifier.null();
        });
    };
    writer.sequence(|parameters| {
        parameters.nested(tag::context_constructed(0), digest_identifier);
        parameters.nested(tag::context_constructed(1), |mask| {
            mask.sequence(|identifier| {
                identifier.oid(&oid::MGF1);
                digest_identifier(identifier);
            });
        });
        parameters.nested(tag::context_constructed(2), |length| {
            length.unsigned(&[salt]);
        });
    });
}

/// An AlgorithmIdentifier taken apart: the contents of the object identifier, and the parameters.
pub(crate) fn read_algorithm<'a>(
    identifier: &Element<'a>,
    what: &'static str,
) -> Result<(&'a [u8], Option<Element<'a>>), Malformed> {
    if identifier.tag != tag::SEQUENCE {
        return Err(Malformed(what));
    }
    let mut reader = identifier.reader();
    let object = reader.expect(tag::OBJECT_IDENTIFIER, what)?.contents;
    let parameters = if reader.is_empty() {
        None
    } else {
        Some(reader.element(what)?)
    };
    reader.finish(what)?;
    Ok((object, parameters))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn identifiers_are_distinct_and_read_back() {
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(
                SignatureAlgorithm::from_der(algorithm.to_der()),
                Some(algorithm)
            );
        }
    }

    #[test]
    fn identifiers_have_the_bytes_of_the_standards() {
        assert_eq!(
            SignatureAlgorithm::EcdsaSha256.to_der(),
            [0x30, 0x0a, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]
        );
        assert_eq!(
            SignatureAlgorithm::Ed25519.to_der(),
            [0x30, 5, 6, 3, 0x2b, 0x65, 0x70]
        );
        assert_eq!(
            SignatureAlgorithm::RsaPkcs1Sha256.to_der(),
            [
                0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b, 5, 0
            ]
        );
    }

    #[test]
    fn an_algorithm_never_fits_a_key_of_another_family() {
        assert!(
            SignatureAlgorithm::RsaPkcs1Sha256
                .verification(KeyKind::P256)
                .is_none()
        );
        assert!(
            SignatureAlgorithm::EcdsaSha256
                .verification(KeyKind::Ed25519)
                .is_none()
        );
        assert!(
            SignatureAlgorithm::Ed25519
                .verification(KeyKind::Rsa { bits: 2048 })
                .is_none()
        );
    }
}
