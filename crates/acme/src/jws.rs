//! Signed requests: JSON Web Signatures (RFC 7515) in the one form that ACME allows (RFC 8555
//! section 6.2).

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::Serialize;

use crate::client::{AccountKey, ExternalAccount};
use crate::{Jwk, base64url};

/// A signed request in the flattened JSON serialization (RFC 7515 section 7.2.2).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Jws {
    /// The header, base64url.
    pub protected: String,
    /// What is signed, base64url; empty for a POST that only asks (RFC 8555 section 6.3).
    pub payload: String,
    /// The signature over both, base64url.
    pub signature: String,
}

/// By what the directory knows the key that signs (RFC 8555 section 6.2).
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Signatory<'a> {
    /// The key itself, for an account that is not known yet.
    #[serde(rename = "jwk")]
    Key(&'a Jwk),
    /// URL of the account.
    #[serde(rename = "kid")]
    Account(&'a str),
}

impl Jws {
    /// Signs `payload` with an account's key, for `url` alone. A signature inside another request has
    /// no nonce of its own (section 7.3.5).
    ///
    /// # Errors
    /// [`UnusableKey`].
    pub fn sign(
        key: &AccountKey,
        signatory: Signatory<'_>,
        nonce: Option<&str>,
        url: &str,
        payload: &[u8],
    ) -> Result<Self, UnusableKey> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_pkcs8())
            .map_err(|_| UnusableKey)?;
        let header = Header {
            algorithm: "ES256",
            signatory,
            nonce,
            url,
        };
        Self::join(&header, payload, |message| {
            let signature = key.sign(&SystemRandom::new(), message);
            signature.map(|octets| base64url(octets.as_ref())).ok()
        })
        .ok_or(UnusableKey)
    }

    /// Binds the key of a new account to an account elsewhere (section 7.3.4); `url` is where the
    /// account is opened.
    ///
    /// # Errors
    /// [`UnusableKey`], but never for a key that could be read.
    pub fn bind(account: &ExternalAccount, url: &str, key: &Jwk) -> Result<Self, UnusableKey> {
        let header = Header {
            algorithm: "HS256",
            signatory: Signatory::Account(&account.key_id),
            nonce: None,
            url,
        };
        let shared = hmac::Key::new(hmac::HMAC_SHA256, &account.hmac_key);
        Self::join(&header, key.to_string().as_bytes(), |message| {
            Some(base64url(hmac::sign(&shared, message).as_ref()))
        })
        .ok_or(UnusableKey)
    }

    fn join(
        header: &Header<'_>,
        payload: &[u8],
        sign: impl FnOnce(&[u8]) -> Option<String>,
    ) -> Option<Self> {
        let protected = base64url(&serde_json::to_vec(header).ok()?);
        let payload = base64url(payload);
        let signature = sign(format!("{protected}.{payload}").as_bytes())?;
        Some(Self {
            protected,
            payload,
            signature,
        })
    }
}

/// The key of an account is no P-256 key in PKCS#8.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the key of the account is not a P-256 key")]
pub struct UnusableKey;

#[derive(Serialize)]
struct Header<'a> {
    #[serde(rename = "alg")]
    algorithm: &'static str,
    #[serde(flatten)]
    signatory: Signatory<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    url: &'a str,
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use pki::{KeyAlgorithm, PrivateKey};
    use serde_json::{Value, json};
    use zeroize::Zeroizing;

    use super::*;

    const URL: &str = "https://ca.example/new-account";

    fn account_key(algorithm: KeyAlgorithm) -> AccountKey {
        AccountKey::from_pkcs8(PrivateKey::generate(algorithm).unwrap().to_pkcs8_der())
    }

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    fn header(jws: &Jws) -> Value {
        serde_json::from_slice(&bytes(&jws.protected)).unwrap()
    }

    #[test]
    fn rfc8555_section_6_2_the_header_has_either_key_or_account() {
        let key = account_key(KeyAlgorithm::P256);
        let jwk = key.jwk().unwrap();
        let first = Jws::sign(&key, Signatory::Key(&jwk), Some("n"), URL, b"{}").unwrap();
        assert_eq!(
            header(&first),
            json!({ "alg": "ES256", "jwk": jwk, "nonce": "n", "url": URL })
        );
        assert_eq!(bytes(&first.payload), b"{}");
        let account = Signatory::Account("https://ca.example/account/1");
        let second = Jws::sign(&key, account, None, URL, b"").unwrap();
        assert_eq!(
            header(&second),
            json!({ "alg": "ES256", "kid": "https://ca.example/account/1", "url": URL })
        );
        assert_eq!(second.payload, "");
    }

    #[test]
    fn openssl_verifies_what_is_signed() {
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let account_key = AccountKey::from_pkcs8(key.to_pkcs8_der());
        let account = Signatory::Account("https://ca.example/account/1");
        let jws = Jws::sign(&account_key, account, Some("n"), URL, b"payload").unwrap();
        // r and s, each 32 octets (RFC 7518 section 3.4), as openssl's ASN.1 has them.
        let fixed = bytes(&jws.signature);
        assert_eq!(fixed.len(), 64);
        let hexadecimal = |octets: &[u8]| -> String {
            octets.iter().map(|octet| format!("{octet:02x}")).collect()
        };
        let workdir = testbed::Workdir::new();
        let template = format!(
            "asn1=SEQUENCE:signature\n[signature]\nr=INTEGER:0x{}\ns=INTEGER:0x{}\n",
            hexadecimal(&fixed[..32]),
            hexadecimal(&fixed[32..])
        );
        let (template, signature) = (
            workdir.write("template", template),
            workdir.path("signature"),
        );
        let arguments = [
            "asn1parse",
            "-genconf",
            &template,
            "-noout",
            "-out",
            &signature,
        ];
        testbed::openssl(&arguments, b"");
        let public = workdir.path("public.pem");
        let arguments = ["pkey", "-pubout", "-out", &public];
        testbed::openssl(&arguments, key.to_pkcs8_pem().as_bytes());
        let message = format!("{}.{}", jws.protected, jws.payload);
        let arguments = [
            "dgst",
            "-sha256",
            "-verify",
            &public,
            "-signature",
            &signature,
        ];
        testbed::openssl(&arguments, message.as_bytes());
    }

    #[test]
    fn rfc8555_section_7_3_4_a_binding_is_made_with_the_shared_key_over_the_new_one() {
        let jwk = account_key(KeyAlgorithm::P256).jwk().unwrap();
        let account = ExternalAccount {
            key_id: "kid-1".to_owned(),
            hmac_key: Zeroizing::new(b"shared".to_vec()),
        };
        let jws = Jws::bind(&account, URL, &jwk).unwrap();
        assert_eq!(
            header(&jws),
            json!({ "alg": "HS256", "kid": "kid-1", "url": URL })
        );
        assert_eq!(bytes(&jws.payload), jwk.to_string().as_bytes());
        let message = format!("{}.{}", jws.protected, jws.payload);
        let arguments = ["dgst", "-sha256", "-hmac", "shared", "-binary"];
        let expected = testbed::openssl(&arguments, message.as_bytes()).stdout;
        assert_eq!(bytes(&jws.signature), expected);
    }

    #[test]
    fn a_key_of_another_kind_signs_nothing() {
        let other = account_key(KeyAlgorithm::P384);
        let account = Signatory::Account("https://ca.example/account/1");
        assert_eq!(Jws::sign(&other, account, None, URL, b""), Err(UnusableKey));
        assert_eq!(other.jwk(), Err(UnusableKey));
        let garbage = AccountKey::from_pkcs8(Zeroizing::new(b"garbage".to_vec()));
        assert_eq!(garbage.jwk(), Err(UnusableKey));
    }
}
