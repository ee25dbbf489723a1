//! What there is in place of a device that holds keys of authorities, where none is configured.

use pki::{OutsideError, OutsideKey, PublicKey};

/// What to do when a key is in a device and none is configured.
pub(crate) const NO_DEVICE: &str = "no PKCS#11 module is configured on this node; set module and token under [pkcs11], and the PIN";

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
