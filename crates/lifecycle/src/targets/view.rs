//! What people see of a target.

use std::collections::HashMap;

use store::{CertificateId, Deliverable, Placement, Target, VersionId};
use time::OffsetDateTime;

use super::Wanted;

/// A target with what it has and what it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetView {
    /// The target.
    pub target: Target,
    /// Its certificates, by name.
    pub certificates: Vec<TargetCertificate>,
    /// How many more it wants than it can have, counted up to 100,000.
    pub left_out: usize,
}

/// A certificate that is on a target, or is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetCertificate {
    /// The certificate, which may be gone.
    pub certificate: CertificateId,
    /// The name that its files have.
    pub name: String,
    /// The version that is there, as far as the target has said.
    pub version: Option<VersionId>,
    /// How far it has come.
    pub standing: PlacementStanding,
    /// Why the target did not do what it was to do last.
    pub reason: Option<String>,
    /// When the target last said something of it.
    pub updated_at: Option<OffsetDateTime>,
}

/// How far a certificate has come on one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacementStanding {
    /// The target has not said that it has the current version.
    Outstanding,
    /// The current version is there.
    Placed,
    /// The current version could not be put there.
    Refused,
    /// It is to be taken away.
    Removing,
}

impl PlacementStanding {
    /// `outstanding`, `placed`, `refused` or `removing`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outstanding => "outstanding",
            Self::Placed => "placed",
            Self::Refused => "refused",
            Self::Removing => "removing",
        }
    }
}

impl TargetView {
    pub(super) fn new(
        target: Target,
        Wanted {
            certificates: wanted,
            left_out,
        }: Wanted,
        placements: Vec<Placement>,
    ) -> Self {
        let mut placements: HashMap<CertificateId, Placement> = placements
            .into_iter()
            .map(|placement| (placement.certificate_id, placement))
            .collect();
        let mut certificates: Vec<TargetCertificate> = wanted
            .into_iter()
            .map(|wanted| {
                let placement = placements.remove(&wanted.certificate_id);
                seen(&wanted, placement)
            })
            .collect();
        certificates.extend(placements.into_values().map(|placement| TargetCertificate {
            certificate: placement.certificate_id,
            name: placement.name,
            version: placement.version_id,
            standing: PlacementStanding::Removing,
            reason: placement.refusal.map(|refusal| refusal.reason),
            updated_at: Some(placement.updated_at),
        }));
        certificates.sort_by(|one, other| {
            (&one.name, one.certificate).cmp(&(&other.name, other.certificate))
        });
        Self {
            target,
            certificates,
            left_out,
        }
    }
}

/// A certificate that is to be on a target, with what the target has said of it.
fn seen(wanted: &Deliverable, placement: Option<Placement>) -> TargetCertificate {
    let version = placement
        .as_ref()
        .and_then(|placement| placement.version_id);
    let updated_at = placement.as_ref().map(|placement| placement.updated_at);
    let refusal = placement
        .and_then(|placement| placement.refusal)
        .filter(|refusal| refusal.version_id == Some(wanted.version_id));
    let standing = if refusal.is_some() {
        PlacementStanding::Refused
    } else if version == Some(wanted.version_id) {
        PlacementStanding::Placed
    } else {
        PlacementStanding::Outstanding
    };
    TargetCertificate {
        certificate: wanted.certificate_id,
        name: wanted.name.clone(),
        version,
        standing,
        reason: refusal.map(|refusal| refusal.reason),
        updated_at,
    }
}
