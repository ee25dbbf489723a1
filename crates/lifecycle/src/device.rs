//! A device that holds keys of authorities: it makes them, signs with them, and never gives them
//! away. Which one there is, the binary says.

use std::fmt;
use std::sync::Arc;

use pki::{KeyAlgorithm, OutsideError, OutsideKey, PublicKey};
use uuid::Uuid;

/// A device that holds keys. Calls may take as long as the device does, and block the thread
/// meanwhile.
pub trait KeyDevice: fmt::Debug + Send + Sync {
    /// Makes a key pair that is found under `id` from then on; `label` is for people. The answer is
    /// its public half.
    ///
    /// # Errors
    /// [`OutsideError`] when the device is not there, refuses, or knows no such algorithm.
    fn generate(
        &self,
        id: Uuid,
        label: &str,
        algorithm: KeyAlgorithm,
    ) -> Result<PublicKey, OutsideError>;

    /// The key under `id`, whose public half is `public`. The device is not asked for it before it
    /// is to sign.
    fn key(&self, id: Uuid, public: PublicKey) -> Arc<dyn OutsideKey>;
}

/// The key of a device where there is none.
#[derive(Debug)]
pub(crate) struct NoDevice(pub(crate) PublicKey);

impl OutsideKey for NoDevice {
    fn public_key(&self) -> &PublicKey {
        &self.0
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, OutsideError> {
        Err(OutsideError(NO_DEVICE.to_owned()))
    }
}

/// What to do when a key is in a device and none is configured.
pub(crate) const NO_DEVICE: &str =
    "no PKCS#11 module is configured on this node; set [pkcs11] module, token and the PIN";
