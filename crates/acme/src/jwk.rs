//! Public keys as JSON Web Keys (RFC 7517), and their thumbprints (RFC 7638).

use std::collections::BTreeMap;
use std::fmt;

use der::asn1::{AnyRef, BitStringRef, UintRef};
use der::{Decode, Sequence};
use pki::{KeyKind, PublicKey};
use serde::Serialize;

use crate::{base64url, sha256};

/// A public key as a JSON Web Key with its required members and no others.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Jwk {
    // Sorted by name, as RFC 7638 section 3.3 wants them for the thumbprint.
    members: BTreeMap<&'static str, String>,
}

impl Jwk {
    /// The members of a key: RFC 7518 section 6.2 (EC) and 6.3 (RSA), RFC 8037 section 2 (Ed25519).
    ///
    /// # Errors
    /// [`UnreadableKey`] if the key's DER is not that of its algorithm.
    pub fn from_public_key(key: &PublicKey) -> Result<Self, UnreadableKey> {
        let spki = SubjectPublicKeyInfo::from_der(key.spki_der()).map_err(|_| UnreadableKey)?;
        let bits = spki.subject_public_key.as_bytes().ok_or(UnreadableKey)?;
        let members = match key.algorithm() {
            KeyKind::Rsa { .. } => {
                let key = RsaPublicKey::from_der(bits).map_err(|_| UnreadableKey)?;
                BTreeMap::from([
                    ("kty", "RSA".to_owned()),
                    ("n", base64url(key.modulus.as_bytes())),
                    ("e", base64url(key.public_exponent.as_bytes())),
                ])
            }
            KeyKind::P256 => elliptic_curve("P-256", bits)?,
            KeyKind::P384 => elliptic_curve("P-384", bits)?,
            KeyKind::P521 => elliptic_curve("P-521", bits)?,
            KeyKind::Ed25519 => BTreeMap::from([
                ("kty", "OKP".to_owned()),
                ("crv", "Ed25519".to_owned()),
                ("x", base64url(bits)),
            ]),
        };
        Ok(Self { members })
    }

    /// The SHA-256 thumbprint (RFC 7638), which names an account key in ACME.
    pub fn thumbprint(&self) -> [u8; 32] {
        sha256(self.to_string().as_bytes())
    }
}

/// The canonical JSON of RFC 7638: sorted members, no blanks. No value needs escaping.
impl fmt::Display for Jwk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = '{';
        for (name, value) in &self.members {
            write!(formatter, "{separator}\"{name}\":\"{value}\"")?;
            separator = ',';
        }
        formatter.write_str("}")
    }
}

/// The DER of a public key is not that of its algorithm.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the public key cannot be written as a JSON Web Key")]
pub struct UnreadableKey;

/// The members for an uncompressed point (SEC 1 section 2.3.3): 4, then both coordinates in full
/// length, which is also how a JSON Web Key has them.
fn elliptic_curve(
    curve: &'static str,
    point: &[u8],
) -> Result<BTreeMap<&'static str, String>, UnreadableKey> {
    let [4, coordinates @ ..] = point else {
        return Err(UnreadableKey);
    };
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    Ok(BTreeMap::from([
        ("kty", "EC".to_owned()),
        ("crv", curve.to_owned()),
        ("x", base64url(x)),
        ("y", base64url(y)),
    ]))
}

/// RFC 5280 section 4.1.2.7.
#[derive(Sequence)]
struct SubjectPublicKeyInfo<'a> {
    // Read already: it is `PublicKey::algorithm`.
    _algorithm: AnyRef<'a>,
    subject_public_key: BitStringRef<'a>,
}

/// RFC 8017 appendix A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use der::Encode;
    use pki::{KeyAlgorithm, PrivateKey};

    use super::*;

    fn bytes(base64url: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(base64url).unwrap()
    }

    /// The JWK of an SPKI made of the DER of its AlgorithmIdentifier and its bits.
    fn jwk(algorithm: &str, bits: &[u8]) -> Jwk {
        let algorithm = bytes(algorithm);
        let spki = SubjectPublicKeyInfo {
            _algorithm: AnyRef::from_der(&algorithm).unwrap(),
            subject_public_key: BitStringRef::from_bytes(bits).unwrap(),
        };
        let key = PublicKey::from_spki_der(&spki.to_der().unwrap()).unwrap();
        Jwk::from_public_key(&key).unwrap()
    }

    const RSA: &str = "MA0GCSqGSIb3DQEBAQUA";
    const P256: &str = "MBMGByqGSM49AgEGCCqGSM49AwEH";
    const P521: &str = "MBAGByqGSM49AgEGBSuBBAAj";
    const ED25519: &str = "MAUGAytlcA";

    #[test]
    fn rfc7638_section_3_1_rsa() {
        let modulus = bytes(
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc\
             _BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR\
             0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTW\
             hAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        );
        let key = RsaPublicKey {
            modulus: UintRef::new(&modulus).unwrap(),
            public_exponent: UintRef::new(&[1, 0, 1]).unwrap(),
        };
        let jwk = jwk(RSA, &key.to_der().unwrap());
        assert_eq!(
            base64url(&jwk.thumbprint()),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn rfc8037_appendix_a_3_ed25519() {
        let jwk = jwk(
            ED25519,
            &bytes("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
        );
        assert_eq!(
            base64url(&jwk.thumbprint()),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn rfc9449_section_6_1_p256() {
        let mut point = vec![4];
        point.extend(bytes("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"));
        point.extend(bytes("9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"));
        assert_eq!(
            base64url(&jwk(P256, &point).thumbprint()),
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        );
    }

    #[test]
    fn rfc7520_section_3_1_p521_coordinates_keep_their_leading_zeros() {
        let x = "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5\
                 cj0Kt";
        let y = "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-H\
                 qHZR1";
        let mut point = vec![4];
        point.extend(bytes(x));
        point.extend(bytes(y));
        assert_eq!(
            serde_json::to_value(jwk(P521, &point)).unwrap(),
            serde_json::json!({ "kty": "EC", "crv": "P-521", "x": x, "y": y })
        );
    }

    #[test]
    fn every_kind_of_key_has_a_thumbprint_over_its_sorted_members() {
        for (algorithm, names) in [
            (KeyAlgorithm::Rsa2048, "e kty n"),
            (KeyAlgorithm::P256, "crv kty x y"),
            (KeyAlgorithm::P384, "crv kty x y"),
            (KeyAlgorithm::P521, "crv kty x y"),
            (KeyAlgorithm::Ed25519, "crv kty x"),
        ] {
            let key = PrivateKey::generate(algorithm).unwrap();
            let jwk = Jwk::from_public_key(key.public_key()).unwrap();
            assert_eq!(
                jwk.members.keys().copied().collect::<Vec<_>>().join(" "),
                names
            );
            assert_eq!(serde_json::to_string(&jwk).unwrap(), jwk.to_string());
        }
    }
}
