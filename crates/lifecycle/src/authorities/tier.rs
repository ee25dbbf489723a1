//! One CA certificate of an authority, and whether something can be signed with its key.

use std::sync::Arc;

use pki::{Certificate, IssuerHashes, KeyKind, Signer};
use store::{CaCertificateId, KeyPlace, PrivateKeyId};

use crate::Error;
use crate::ceremony::hex_key_identifier;
use crate::publication::{ListSlot, ResponderSlot};

/// One CA certificate of an authority: something that answers and publishes, and signs while its
/// key is within reach.
pub(crate) struct Tier {
    pub(crate) id: CaCertificateId,
    /// The identifier of its key, in the store or in a device.
    pub(super) key_id: PrivateKeyId,
    /// Whether it signs leaves, or did. The root of two tiers signs issuing CAs only.
    pub(crate) signs_leaves: bool,
    pub(crate) key: TierKey,
    pub(crate) key_kind: KeyKind,
    pub(crate) responder: ResponderSlot,
    pub(crate) list: ListSlot,
    certificate: Certificate,
    issuer_hashes: IssuerHashes,
    /// The certificates of others between this one and their root, its issuer first.
    superiors: Vec<Certificate>,
}

/// The key of a tier.
pub(crate) enum TierKey {
    /// Nowhere within reach: it was taken out of the house, or never was in it. For the time
    /// without it, there may be a revocation list that was signed before.
    Absent {
        /// That list, DER.
        last_list: Option<Arc<[u8]>>,
    },
    /// In a device that signs with it.
    InDevice(Signer),
    /// In the store, and open.
    Present(Signer),
    /// Where the store says, but of no use: with the certificate it makes no CA, or it is missing.
    Unfit(KeyPlace, String),
}

impl Tier {
    pub(super) fn new(
        stored: &store::CaCertificate,
        signs_leaves: bool,
        certificate: Certificate,
        mut superiors: Vec<Certificate>,
        key: TierKey,
    ) -> Result<Self, Error> {
        superiors.retain(|one| !one.is_self_issued());
        let key_kind = certificate
            .public_key()
            .map_err(Error::signing)?
            .algorithm();
        Ok(Self {
            id: stored.id,
            key_id: stored.private_key_id,
            signs_leaves,
            key,
            key_kind,
            responder: ResponderSlot::default(),
            list: ListSlot::default(),
            issuer_hashes: IssuerHashes::of(&certificate),
            certificate,
            superiors,
        })
    }

    /// The CA certificate.
    #[must_use]
    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// What OCSP requests about certificates of this tier contain.
    #[must_use]
    pub(crate) fn issuer_hashes(&self) -> &IssuerHashes {
        &self.issuer_hashes
    }

    /// The certificates of others between this one and their root, its issuer first.
    #[must_use]
    pub(crate) fn superiors(&self) -> &[Certificate] {
        &self.superiors
    }

    /// What signs.
    ///
    /// # Errors
    /// [`Error::KeyUnavailable`] while the key is not here.
    pub(crate) fn signer(&self) -> Result<&Signer, Error> {
        match &self.key {
            TierKey::InDevice(signer) | TierKey::Present(signer) => Ok(signer),
            TierKey::Absent { .. } => Err(Error::KeyUnavailable {
                reason: format!(
                    "the key of '{}' is not on this server; bring it back with \
                     `chancery authority import-root`",
                    self.certificate.subject()
                ),
            }),
            TierKey::Unfit(_, reason) => Err(Error::KeyUnavailable {
                reason: format!("'{}' cannot sign: {reason}", self.certificate.subject()),
            }),
        }
    }

    /// Where its key is.
    #[must_use]
    pub(super) fn key_place(&self) -> KeyPlace {
        match &self.key {
            TierKey::Absent { .. } => KeyPlace::Elsewhere,
            TierKey::InDevice(_) => KeyPlace::Device,
            TierKey::Present(_) => KeyPlace::Store,
            TierKey::Unfit(place, _) => *place,
        }
    }

    /// Whether there is a key to sign with.
    #[must_use]
    pub(crate) fn can_sign(&self) -> bool {
        matches!(self.key, TierKey::InDevice(_) | TierKey::Present(_))
    }

    /// Whether the key is in this process.
    #[must_use]
    pub(crate) fn has_key(&self) -> bool {
        matches!(self.key, TierKey::Present(_))
    }

    /// Whether a device signs, which takes as long as it likes.
    #[must_use]
    pub(crate) fn is_outside(&self) -> bool {
        matches!(self.key, TierKey::InDevice(_))
    }

    /// Whether a signature takes so long that it must not be made on the reactor: RSA takes from
    /// half a millisecond to many, a device as long as it likes, and the others some 0.03 to 0.3.
    #[must_use]
    pub(crate) fn is_slow(&self) -> bool {
        self.key_kind.is_rsa() || self.is_outside()
    }

    /// Whether this is the tier of `stored`, with its key where that says.
    #[must_use]
    pub(super) fn is_of(&self, stored: &store::CaCertificate) -> bool {
        let has_list = match &self.key {
            TierKey::Absent { last_list } => stored.last_list.as_deref() == last_list.as_deref(),
            TierKey::InDevice(_) | TierKey::Present(_) => true,
            // The key may be there now.
            TierKey::Unfit(..) => false,
        };
        self.id == stored.id && self.key_place() == stored.key_place && has_list
    }

    /// Whether this is the certificate of the same authority's same key as `other`: then both have
    /// signed whatever one has, and answer for it with the same signatures.
    #[must_use]
    pub(super) fn has_key_of(&self, other: &Self) -> bool {
        self.is_ca_of(&other.certificate)
    }

    /// Whether `certificate` is one of the same CA: for its key, in its name.
    #[must_use]
    pub(super) fn is_ca_of(&self, certificate: &Certificate) -> bool {
        self.certificate.spki_der() == certificate.spki_der()
            && self.certificate.subject() == certificate.subject()
    }

    /// Whether `certificate` says that this tier has signed it.
    #[must_use]
    pub(super) fn has_issued(&self, certificate: &Certificate) -> bool {
        certificate.issuer() == self.certificate.subject()
            && certificate
                .authority_key_identifier()
                .is_none_or(|issuer| self.certificate.subject_key_identifier() == Some(issuer))
    }

    /// Whether `key_identifier` (hex, any case) is that of its key.
    #[must_use]
    pub(super) fn is_named(&self, key_identifier: &str) -> bool {
        hex_key_identifier(&self.certificate).eq_ignore_ascii_case(key_identifier)
    }
}
