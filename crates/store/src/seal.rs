//! Sealing of secrets at rest: AES-256-GCM under the master key.
//!
//! A sealed secret is bound to its purpose and to its row, so that a ciphertext moved to another
//! row or to another use does not open. It also names the master key it was sealed under, so that
//! a wrong key is told apart from damage and keys can be rotated.
//!
//! Layout: version (1 byte, now 1), identifier of the master key (8), nonce (12), ciphertext, tag (16).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hkdf, hmac};
use uuid::Uuid;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const KEY_ID_LENGTH: usize = 8;
const HEADER_LENGTH: usize = 1 + KEY_ID_LENGTH + NONCE_LEN;

/// Why a secret could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The sealed bytes were damaged, or belong to another row or purpose.
    #[error("a sealed secret is damaged or belongs to another row")]
    Corrupt,

    /// The cryptographic library refused to seal.
    #[error("sealing failed")]
    Failed,

    /// A master key is 32 bytes, written as 64 hexadecimal digits.
    #[error("a master key is 32 bytes, written as 64 hexadecimal digits")]
    MalformedMasterKey,

    /// The secret was sealed under another master key. Start with that one.
    #[error("the secret was sealed under master key {sealed_under}, the one at hand is {have}")]
    WrongMasterKey {
        /// The master key that is needed.
        sealed_under: MasterKeyId,
        /// The master key that was given.
        have: MasterKeyId,
    },
}

/// The key under which all secrets of one installation are sealed.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Takes the 32 bytes of a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return Err(SealError::MalformedMasterKey);
        }
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    /// Reads 64 hexadecimal digits; blanks and line ends around them are ignored.
    pub fn from_hex(text: &str) -> Result<Self, SealError> {
        let digits = text.trim().as_bytes();
        let mut key = Zeroizing::new([0; 32]);
        if digits.len() != 2 * key.len() {
            return Err(SealError::MalformedMasterKey);
        }
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let value = char::from(*digit)
                    .to_digit(16)
                    .and_then(|value| u8::try_from(value).ok())
                    .ok_or(SealError::MalformedMasterKey)?;
                *byte = (*byte << 4) | value;
            }
        }
        Ok(Self(key))
    }

    /// A name for the key that reveals nothing of it: the first 8 bytes of its SHA-256.
    pub fn id(&self) -> MasterKeyId {
        let hash = digest::digest(&digest::SHA256, self.0.as_ref());
        let mut id = [0; KEY_ID_LENGTH];
        for (byte, from) in id.iter_mut().zip(hash.as_ref()) {
            *byte = *from;
        }
        MasterKeyId(id)
    }

    /// The key for authenticating what `purpose` says (HKDF, RFC 5869). It reveals nothing of the
    /// master key nor of keys for other purposes.
    pub(crate) fn authenticator(&self, purpose: &[u8]) -> Result<hmac::Key, SealError> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(self.0.as_ref());
        let purpose = [purpose];
        let derived = extracted.expand(&purpose, hmac::HMAC_SHA256);
        Ok(derived.map_err(|_| SealError::Failed)?.into())
    }
}

/// Prints the name of the key only.
impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MasterKey({})", self.id())
    }
}

/// Names a master key without revealing it; 16 hexadecimal digits as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MasterKeyId([u8; KEY_ID_LENGTH]);

impl MasterKeyId {
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// What a secret is for; part of what binds it to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// The key of an account at an ACME directory; the row is the one of the directory.
    AccountKey,
    /// The credentials of a DNS provider; the row is the one of the provider.
    DnsCredentials,
    /// The key of an external account (RFC 8555 §7.3.4); the row is the one of the directory.
    ExternalAccountKey,
    /// The key that an order is for; the row is the one of the certificate.
    OrderKey,
    /// The PKCS#8 form of a private key; the row is the one of the key.
    PrivateKey,
    /// The secret of session tickets; the row is the number of its generation.
    TicketKey,
    /// The secret that a webhook's deliveries are signed with; the row is the one of the webhook.
    WebhookSecret,
}

impl Purpose {
    fn text(self) -> &'static [u8] {
        match self {
            Self::AccountKey => b"chancery account key",
            Self::DnsCredentials => b"chancery dns credentials",
            Self::ExternalAccountKey => b"chancery external account key",
            Self::OrderKey => b"chancery order key",
            Self::PrivateKey => b"chancery private key",
            Self::TicketKey => b"chancery ticket key",
            Self::WebhookSecret => b"chancery webhook secret",
        }
    }
}

/// Seals and opens secrets under one master key. Cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    key: Arc<RandomizedNonceKey>,
    id: MasterKeyId,
}

impl Sealer {
    /// Makes a sealer for a master key.
    pub fn new(master_key: &MasterKey) -> Result<Self, SealError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, master_key.0.as_ref())
            .map_err(|_| SealError::Failed)?;
        Ok(Self {
            key: Arc::new(key),
            id: master_key.id(),
        })
    }

    /// Seals `secret` for the row `row`.
    pub fn seal(&self, purpose: Purpose, row: Uuid, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut ciphertext = Zeroizing::new(Vec::with_capacity(secret.len() + 16));
        ciphertext.extend_from_slice(secret);
        let nonce = self
            .key
            .seal_in_place_append_tag(binding(purpose, row), &mut *ciphertext)
            .map_err(|_| SealError::Failed)?;

        let mut sealed = Vec::with_capacity(HEADER_LENGTH + ciphertext.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.id.0);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    /// Opens what [`Sealer::seal`] made for the same purpose and row.
    pub fn open(
        &self,
        purpose: Purpose,
        row: Uuid,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (header, ciphertext) = sealed
            .split_at_checked(HEADER_LENGTH)
            .ok_or(SealError::Corrupt)?;
        let [VERSION, rest @ ..] = header else {
            return Err(SealError::Corrupt);
        };
        let (sealed_under, nonce) = rest
            .split_first_chunk::<KEY_ID_LENGTH>()
            .ok_or(SealError::Corrupt)?;
        if *sealed_under != self.id.0 {
            return Err(SealError::WrongMasterKey {
                sealed_under: MasterKeyId(*sealed_under),
                have: self.id,
            });
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Corrupt)?;
        let mut secret = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .key
            .open_in_place(nonce, binding(purpose, row), &mut secret)
            .map_err(|_| SealError::Corrupt)?
            .len();
        secret.truncate(length);
        Ok(secret)
    }
}

/// Prints the name of the master key only.
impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sealer({})", self.id)
    }
}

fn binding(purpose: Purpose, row: Uuid) -> Aad<Vec<u8>> {
    Aad::from([purpose.text(), row.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&MasterKey::from_bytes(&[byte; 32]).unwrap()).unwrap()
    }

    #[test]
    fn a_secret_does_not_open_in_another_row() {
        let sealed = sealer(1)
            .seal(Purpose::PrivateKey, Uuid::from_u128(1), b"secret")
            .unwrap();
        let elsewhere = sealer(1).open(Purpose::PrivateKey, Uuid::from_u128(2), &sealed);
        assert_eq!(elsewhere.unwrap_err(), SealError::Corrupt);
    }

    #[test]
    fn a_wrong_master_key_is_named() {
        let sealed = sealer(1)
            .seal(Purpose::PrivateKey, Uuid::from_u128(1), b"secret")
            .unwrap();
        let error = sealer(2)
            .open(Purpose::PrivateKey, Uuid::from_u128(1), &sealed)
            .unwrap_err();
        assert_eq!(
            error,
            SealError::WrongMasterKey {
                sealed_under: sealer(1).id,
                have: sealer(2).id
            }
        );
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let sealed = sealer(1)
            .seal(Purpose::PrivateKey, Uuid::from_u128(1), b"secret")
            .unwrap();
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            assert!(
                sealer(1)
                    .open(Purpose::PrivateKey, Uuid::from_u128(1), &damaged)
                    .is_err()
            );
        }
    }

    #[test]
    fn equal_secrets_do_not_look_equal() {
        let once = sealer(1)
            .seal(Purpose::PrivateKey, Uuid::from_u128(1), b"secret")
            .unwrap();
        let again = sealer(1)
            .seal(Purpose::PrivateKey, Uuid::from_u128(1), b"secret")
            .unwrap();
        assert_ne!(once, again);
    }

    #[test]
    fn a_master_key_is_read_from_hexadecimal_and_not_shown() {
        let text = format!(" {}\n", "aB".repeat(32));
        let key = MasterKey::from_hex(&text).unwrap();
        assert_eq!(key.id(), MasterKey::from_bytes(&[0xab; 32]).unwrap().id());
        assert!(!format!("{key:?}").to_lowercase().contains("abab"));
        assert!(MasterKey::from_hex(&"a".repeat(63)).is_err());
        assert!(MasterKey::from_hex(&"g".repeat(64)).is_err());
        assert!(MasterKey::from_hex(&"é".repeat(32)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(secret: Vec<u8>, row: u128) {
            let row = Uuid::from_u128(row);
            let sealed = sealer(1).seal(Purpose::PrivateKey, row, &secret).unwrap();
            let opened = sealer(1).open(Purpose::PrivateKey, row, &sealed).unwrap();
            prop_assert_eq!(&*opened, &secret);
        }

        #[test]
        fn any_bytes_can_be_offered(sealed: Vec<u8>) {
            prop_assert!(sealer(1).open(Purpose::PrivateKey, Uuid::from_u128(1), &sealed).is_err());
        }
    }
}
