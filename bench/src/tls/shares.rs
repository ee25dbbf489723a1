//! Key exchanges with keys that are made once. A client that makes new ones for every handshake is
//! about as dear as the server, and would be what is measured; to servers it is all the same.

use std::sync::LazyLock;

use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::kem::{AlgorithmId, DecapsulationKey, ML_KEM_768};
use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};

/// X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem section 4).
pub(super) static HYBRID: Kept = Kept { is_hybrid: true };
/// X25519 (RFC 8446 section 4.2.8.2).
pub(super) static CLASSIC: Kept = Kept { is_hybrid: false };

/// Octets of an X25519 public key, which is the last part of a hybrid one.
const X25519_LENGTH: usize = 32;

static KEYS: LazyLock<Result<Keys, Unspecified>> = LazyLock::new(Keys::generate);

/// A key exchange whose private keys stay the same.
#[derive(Debug)]
pub(super) struct Kept {
    is_hybrid: bool,
}

struct Keys {
    x25519: agreement::PrivateKey,
    mlkem: DecapsulationKey<AlgorithmId>,
    /// The public key of ML-KEM, then that of X25519.
    public: Vec<u8>,
}

impl Keys {
    fn generate() -> Result<Self, Unspecified> {
        let x25519 = agreement::PrivateKey::generate(&X25519)?;
        let mlkem = DecapsulationKey::generate(&ML_KEM_768)?;
        let mut public = mlkem.encapsulation_key()?.key_bytes()?.as_ref().to_vec();
        public.extend_from_slice(x25519.compute_public_key()?.as_ref());
        Ok(Self {
            x25519,
            mlkem,
            public,
        })
    }

    fn agree(&self, theirs: &[u8]) -> Result<Vec<u8>, Error> {
        let theirs = UnparsedPublicKey::new(&X25519, theirs);
        agreement::agree(
            &self.x25519,
            theirs,
            BAD_SHARE,
            |secret| Ok(secret.to_vec()),
        )
    }

    fn decapsulate(&self, theirs: &[u8]) -> Result<Vec<u8>, Error> {
        let secret = self.mlkem.decapsulate(theirs.into());
        secret
            .map(|secret| secret.as_ref().to_vec())
            .map_err(|_| BAD_SHARE)
    }

    fn classic_part(&self) -> &[u8] {
        last(&self.public).1
    }
}

const BAD_SHARE: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

/// Splits the X25519 part off.
fn last(share: &[u8]) -> (&[u8], &[u8]) {
    share.split_at(share.len().saturating_sub(X25519_LENGTH))
}

impl SupportedKxGroup for Kept {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        match &*KEYS {
            Ok(keys) => Ok(Box::new(Started {
                keys,
                is_hybrid: self.is_hybrid,
            })),
            Err(Unspecified) => Err(Error::General("cannot make a key".to_owned())),
        }
    }

    fn name(&self) -> NamedGroup {
        if self.is_hybrid {
            NamedGroup::X25519MLKEM768
        } else {
            NamedGroup::X25519
        }
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        !self.is_hybrid || version == ProtocolVersion::TLSv1_3
    }
}

struct Started {
    keys: &'static Keys,
    is_hybrid: bool,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, theirs: &[u8]) -> Result<SharedSecret, Error> {
        if !self.is_hybrid {
            return self.keys.agree(theirs).map(SharedSecret::from);
        }
        let (ciphertext, x25519) = last(theirs);
        let mut secret = self.keys.decapsulate(ciphertext)?;
        secret.extend(self.keys.agree(x25519)?);
        Ok(SharedSecret::from(secret))
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        let component = (NamedGroup::X25519, self.keys.classic_part());
        self.is_hybrid.then_some(component)
    }

    fn complete_hybrid_component(self: Box<Self>, theirs: &[u8]) -> Result<SharedSecret, Error> {
        self.keys.agree(theirs).map(SharedSecret::from)
    }

    fn pub_key(&self) -> &[u8] {
        if self.is_hybrid {
            &self.keys.public
        } else {
            self.keys.classic_part()
        }
    }

    fn group(&self) -> NamedGroup {
        let group = if self.is_hybrid { &HYBRID } else { &CLASSIC };
        group.name()
    }
}
