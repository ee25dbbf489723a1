//! How OCSP names an issuer: by hashes of its name and key, with the client's choice of hash.

use aws_lc_rs::digest;

use crate::asn1::{ObjectIdentifier, oid};
use crate::certificate::Certificate;
use crate::key::public_key_bits;

/// A hash that a certificate ID may use.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HashAlgorithm {
    /// SHA-1: the default of nearly every client, harmless in this place.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    pub(super) fn oid(self) -> &'static ObjectIdentifier {
        match self {
            Self::Sha1 => &oid::SHA1,
            Self::Sha256 => &oid::SHA256,
            Self::Sha384 => &oid::SHA384,
            Self::Sha512 => &oid::SHA512,
        }
    }

    pub(super) fn from_oid(object: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.oid().as_bytes() == object)
    }

    fn hash(self, bytes: &[u8]) -> Box<[u8]> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes).as_ref().into()
    }
}

/// The hashes of an issuer's name and key under every [`HashAlgorithm`], worked out once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuerHashes {
    hashes: [Hashes; 4],
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Hashes {
    algorithm: HashAlgorithm,
    name: Box<[u8]>,
    key: Box<[u8]>,
}

impl IssuerHashes {
    /// The hashes for questions about certificates that `issuer` has signed.
    pub fn of(issuer: &Certificate) -> Self {
        let name = issuer.subject().to_der();
        // A certificate is only made when its key can be taken apart.
        let key = public_key_bits(issuer.spki_der()).unwrap_or_default();
        Self {
            hashes: HashAlgorithm::ALL.map(|algorithm| Hashes {
                algorithm,
                name: algorithm.hash(name),
                key: algorithm.hash(key),
            }),
        }
    }

    /// The hash of the issuer's name and the hash of its key.
    pub(super) fn get(&self, algorithm: HashAlgorithm) -> (&[u8], &[u8]) {
        self.hashes
            .iter()
            .find(|hashes| hashes.algorithm == algorithm)
            .map_or((&[], &[]), |hashes| (&hashes.name, &hashes.key))
    }
}
