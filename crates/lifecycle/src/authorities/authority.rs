//! An authority whose keys are open: its tiers, and which of them answers for what.

use std::sync::Arc;

use pki::{Certificate, Serial, Urls};
use store::AuthorityId;

use super::tier::Tier;
use crate::publication::Places;

/// An authority whose keys are open.
pub struct Authority {
    /// Its id in the store.
    pub id: AuthorityId,
    /// Its name, unique on the server.
    pub name: String,
    /// The trust anchor; the issuing tier itself when there is only one.
    pub(crate) root: Arc<Tier>,
    /// What signs leaves.
    pub(crate) issuing: Arc<Tier>,
    /// Tiers that were in use before, or will be, the newest first. They answer for what they
    /// have signed.
    pub(super) others: Vec<Arc<Tier>>,
    /// The row that this was opened from.
    pub(super) row: store::Authority,
    /// What leaves of the first shard say about where to ask.
    pub(crate) leaf_urls: Urls,
    /// Places for leaves on revocation lists.
    pub(crate) places: Arc<Places>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// The trust anchor that relying parties install.
    #[must_use]
    pub fn root_certificate(&self) -> &Certificate {
        self.root.certificate()
    }

    /// The direct issuer of all leaves that are made now.
    #[must_use]
    pub fn issuing_certificate(&self) -> &Certificate {
        self.issuing.certificate()
    }

    /// The certificate of the tier that answers at the addresses which a dialect promises: of those
    /// that sign leaves, the first.
    #[must_use]
    pub fn addressed_certificate(&self) -> &Certificate {
        self.addressed().certificate()
    }

    /// What a server sends after a leaf that is made now: every CA certificate but the root.
    #[must_use]
    pub fn intermediates(&self) -> Vec<Certificate> {
        self.above(&self.issuing)
    }

    /// What a server sends after `leaf`, which this authority has signed at some time.
    #[must_use]
    pub fn intermediates_of(&self, leaf: &Certificate) -> Vec<Certificate> {
        self.above(self.issuer_of(leaf))
    }

    /// The tier that signed `leaf`, or the newest of those with the same key.
    pub(crate) fn issuer_of(&self, leaf: &Certificate) -> &Arc<Tier> {
        let Some(issuer) = leaf.authority_key_identifier() else {
            return &self.issuing;
        };
        let has_signed = |tier: &&Arc<Tier>| {
            tier.signs_leaves && tier.certificate().subject_key_identifier() == Some(issuer)
        };
        self.tiers().find(has_signed).unwrap_or(&self.issuing)
    }

    /// Whether this is the authority of `row`, as it is there or as it was changed since.
    pub(super) fn is_at_least(&self, row: &store::Authority) -> bool {
        self.id == row.id && self.row.changes >= row.changes
    }

    /// Whether one of the CA certificates has this serial number.
    pub(crate) fn has_ca_certificate(&self, serial: &Serial) -> bool {
        self.tiers()
            .any(|tier| tier.certificate().serial() == serial)
    }

    /// The root that is to take over from the present one, if there is one already.
    pub(super) fn successor(&self) -> Option<&Arc<Tier>> {
        let ends = self.root.certificate().not_after();
        self.others.iter().find(|tier| {
            let certificate = tier.certificate();
            certificate.is_self_issued() && tier.id > self.root.id && certificate.not_after() > ends
        })
    }

    /// Whether the issuing tier is certified by the root of this authority, or is that root.
    pub(super) fn is_rooted_here(&self) -> bool {
        !self.has_two_tiers() || self.root.has_issued(self.issuing.certificate())
    }

    pub(crate) fn has_two_tiers(&self) -> bool {
        !self.root.has_key_of(&self.issuing)
    }

    /// The tier that answers at the addresses which a dialect promises: the first one. What later
    /// ones have signed says where to ask by the identifier of their key.
    pub(crate) fn addressed(&self) -> &Arc<Tier> {
        let signing = self.tiers().filter(|tier| tier.signs_leaves);
        let Some(first) = signing.min_by_key(|tier| tier.id) else {
            return &self.issuing;
        };
        let mut tiers = self.tiers();
        tiers.find(|tier| tier.has_key_of(first)).unwrap_or(first)
    }

    /// All tiers, the issuing one first.
    pub(crate) fn tiers(&self) -> impl Iterator<Item = &Arc<Tier>> {
        let root = self.has_two_tiers().then_some(&self.root);
        std::iter::once(&self.issuing)
            .chain(root)
            .chain(&self.others)
    }

    /// The CA certificates that lead from `tier` to trust anchors, without those. Of several
    /// certificates for one key the newest comes first, with what is above it: where another CA has
    /// certified a tier of ours, its chain is followed by what leads to our own root, for those who
    /// trust only that.
    fn above(&self, tier: &Arc<Tier>) -> Vec<Certificate> {
        let mut chain: Vec<Certificate> = Vec::new();
        let mut climbed: Vec<&Arc<Tier>> = vec![tier];
        let mut next = 0;
        while let Some(key) = climbed.get(next).copied() {
            next += 1;
            for candidate in self.tiers().filter(|other| other.has_key_of(key)) {
                let certificate = candidate.certificate();
                if certificate.is_self_issued() {
                    continue;
                }
                chain.push(certificate.clone());
                chain.extend(candidate.superiors().iter().cloned());
                let issuer = self.tiers().find(|other| other.has_issued(certificate));
                climbed.extend(
                    issuer.filter(|issuer| climbed.iter().all(|one| !one.has_key_of(issuer))),
                );
            }
        }
        chain
    }
}
