//! Keys that sign for authorities: in this process, or in a device that gives signatures away and
//! never the key.

use std::fmt;
use std::sync::Arc;

use super::{KeyAlgorithm, KeyError, KeyKind, PrivateKey, PublicKey};

/// A key outside of this process. Signing may take as long as the device does, and blocks the
/// thread meanwhile.
pub trait OutsideKey: fmt::Debug + Send + Sync {
    /// The other half of the pair.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message` as [`PrivateKey::sign`] does.
    ///
    /// # Errors
    /// [`OutsideError`].
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, OutsideError>;
}

/// A device that makes keys and signs with them, and never gives them away. Calls may take as long
/// as the device does, and block the thread meanwhile.
pub trait KeyDevice: fmt::Debug + Send + Sync {
    /// Makes a key pair that is found under `id` from then on; `label` is for people. The answer is
    /// its public half.
    ///
    /// # Errors
    /// [`OutsideError`] when the device is not there, refuses, or knows no such algorithm.
    fn generate(
        &self,
        id: [u8; 16],
        label: &str,
        algorithm: KeyAlgorithm,
    ) -> Result<PublicKey, OutsideError>;

    /// The key under `id`, whose public half is `public`. The device is not asked for it before it
    /// is to sign.
    fn key(&self, id: [u8; 16], public: PublicKey) -> Arc<dyn OutsideKey>;
}

/// Why a key outside of this process did not sign. Never contains key material or a PIN.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct OutsideError(pub String);

/// A key that signs for an authority. Clones share it; `Debug` shows the kind only.
#[derive(Clone)]
pub enum SigningKey {
    /// In this process.
    Here(PrivateKey),
    /// In a device.
    Outside(Arc<dyn OutsideKey>),
}

impl SigningKey {
    /// The other half of the pair.
    pub fn public_key(&self) -> &PublicKey {
        match self {
            Self::Here(key) => key.public_key(),
            Self::Outside(key) => key.public_key(),
        }
    }

    /// What kind of key this is.
    pub fn algorithm(&self) -> KeyKind {
        self.public_key().algorithm()
    }

    /// Whether signing leaves this process, and takes as long as somebody else does.
    pub fn is_outside(&self) -> bool {
        matches!(self, Self::Outside(_))
    }

    /// Signs `message`. What a device returns is verified: nothing that it has signed wrongly, or
    /// with another key, gets any further.
    ///
    /// # Errors
    /// [`KeyError::Provider`] if the crypto library fails, [`KeyError::Outside`] if the device does.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let key = match self {
            Self::Here(key) => return key.sign(message),
            Self::Outside(key) => key,
        };
        let signature = key
            .sign(message)
            .map_err(|OutsideError(reason)| KeyError::Outside(reason))?;
        let algorithm = self.algorithm().signature_algorithm();
        if key.public_key().verify(algorithm, message, &signature) {
            Ok(signature)
        } else {
            let reason = "it returned a signature that does not verify".to_owned();
            Err(KeyError::Outside(reason))
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.algorithm())
    }
}

impl From<PrivateKey> for SigningKey {
    fn from(key: PrivateKey) -> Self {
        Self::Here(key)
    }
}

impl From<&PrivateKey> for SigningKey {
    fn from(key: &PrivateKey) -> Self {
        Self::Here(key.clone())
    }
}

impl From<&Self> for SigningKey {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// A device that has `key` and says that it has `shown`.
    #[derive(Debug)]
    struct Device {
        key: PrivateKey,
        shown: PublicKey,
    }

    impl OutsideKey for Device {
        fn public_key(&self) -> &PublicKey {
            &self.shown
        }

        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, OutsideError> {
            if message.is_empty() {
                return Err(OutsideError("it is unplugged".to_owned()));
            }
            let failed = |error: KeyError| OutsideError(error.to_string());
            self.key.sign(message).map_err(failed)
        }
    }

    #[test]
    fn what_a_device_signs_with_another_key_goes_no_further() {
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let other = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let device = |shown: &PrivateKey| {
            SigningKey::Outside(Arc::new(Device {
                key: key.clone(),
                shown: shown.public_key().clone(),
            }))
        };
        assert!(device(&key).sign(b"message").is_ok());
        let refused = device(&other).sign(b"message").unwrap_err();
        assert!(refused.to_string().contains("does not verify"), "{refused}");
        let failed = device(&key).sign(b"").unwrap_err();
        assert!(failed.to_string().contains("unplugged"), "{failed}");
    }
}
