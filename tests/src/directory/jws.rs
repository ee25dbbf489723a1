//! Signed requests, verified (RFC 8555 section 6.2).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::answer::{Answer, refuse};

/// A signed request, taken apart.
#[derive(Debug)]
pub(super) struct Jws {
    pub(super) header: Value,
    pub(super) payload: Vec<u8>,
    signed: String,
    signature: Vec<u8>,
}

/// A public key of an account: P-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    x: String,
    y: String,
}

impl Jws {
    pub(super) fn read(document: &Value) -> Result<Self, Answer> {
        let member = |name: &str| {
            let text = document[name].as_str();
            text.ok_or_else(|| malformed(&format!("the request has no {name}")))
        };
        let (protected, payload) = (member("protected")?, member("payload")?);
        let header: Value = serde_json::from_slice(&decode(protected)?)
            .map_err(|_| malformed("the header is no JSON"))?;
        if ["jwk", "kid"]
            .iter()
            .filter(|name| !header[name].is_null())
            .count()
            != 1
        {
            return Err(malformed("the header has not exactly one of jwk and kid"));
        }
        Ok(Self {
            header,
            payload: decode(payload)?,
            signed: format!("{protected}.{payload}"),
            signature: decode(member("signature")?)?,
        })
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.header[name].as_str()
    }

    /// Verifies the signature by an account's key.
    pub(super) fn verify(&self, key: &Key) -> Result<(), Answer> {
        if self.text("alg") != Some("ES256") {
            return Err(refuse(400, "badSignatureAlgorithm", "use ES256"));
        }
        let point = [vec![4], decode(&key.x)?, decode(&key.y)?].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(self.signed.as_bytes(), &self.signature)
            .map_err(|_| malformed("the signature is not by that key"))
    }

    /// Verifies the signature by a key shared with the account's holder (section 7.3.4).
    pub(super) fn verify_shared(&self, key: &[u8]) -> Result<(), Answer> {
        if self.text("alg") != Some("HS256") {
            return Err(refuse(400, "badSignatureAlgorithm", "use HS256"));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::verify(&key, self.signed.as_bytes(), &self.signature).map_err(|_| {
            refuse(
                403,
                "unauthorized",
                "the external account binding is not right",
            )
        })
    }

    /// The payload, which has to be JSON.
    pub(super) fn document(&self) -> Result<Value, Answer> {
        serde_json::from_slice(&self.payload).map_err(|_| malformed("the payload is no JSON"))
    }
}

impl Key {
    pub(super) fn read(jwk: &Value) -> Result<Self, Answer> {
        if jwk["kty"] != "EC" || jwk["crv"] != "P-256" {
            return Err(refuse(400, "badPublicKey", "use P-256"));
        }
        let coordinate = |name: &str| {
            let text = jwk[name].as_str().filter(|text| text.len() == 43);
            text.map(ToOwned::to_owned)
                .ok_or_else(|| malformed("the key is cut"))
        };
        Ok(Self {
            x: coordinate("x")?,
            y: coordinate("y")?,
        })
    }

    /// RFC 7638, base64url.
    pub(super) fn thumbprint(&self) -> String {
        let Self { x, y } = self;
        encode(sha256(format!(
            r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#
        )))
    }
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn decode(text: &str) -> Result<Vec<u8>, Answer> {
    let bytes = URL_SAFE_NO_PAD.decode(text);
    bytes.map_err(|_| malformed("something is not base64url"))
}

pub(super) fn sha256(text: impl AsRef<[u8]>) -> Vec<u8> {
    digest(&SHA256, text.as_ref()).as_ref().to_vec()
}

pub(super) fn malformed(detail: &str) -> Answer {
    refuse(400, "malformed", detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The key of RFC 9449 section 6.1.
    fn jwk() -> Value {
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"
        })
    }

    #[test]
    fn a_thumbprint_is_that_of_the_standard() {
        let thumbprint = Key::read(&jwk()).unwrap().thumbprint();
        assert_eq!(thumbprint, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }

    #[test]
    fn a_request_has_one_key_and_a_right_signature() {
        let request = |header: &Value| {
            let protected = encode(header.to_string());
            Jws::read(
                &json!({ "protected": protected, "payload": "", "signature": encode([7; 64]) }),
            )
        };
        assert!(request(&json!({ "alg": "ES256" })).is_err());
        assert!(request(&json!({ "alg": "ES256", "jwk": {}, "kid": "a" })).is_err());
        let key = Key::read(&jwk()).unwrap();
        let forged = request(&json!({ "alg": "ES256", "jwk": jwk() })).unwrap();
        assert!(forged.verify(&key).is_err());
        assert!(forged.verify_shared(b"key").is_err());
        let none = request(&json!({ "alg": "none", "kid": "a" })).unwrap();
        assert!(none.verify(&key).is_err());
    }
}
