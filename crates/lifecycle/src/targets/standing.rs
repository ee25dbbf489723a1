//! Whether certificates have arrived where they should be: what dialects say of installations.

use std::collections::HashMap;

use store::{CertificateId, Deliverable, PAGE_LIMIT, Placement, ServiceId, Target, TargetId};

use super::Targets;
use crate::{Error, Principal};

/// How far a certificate of a service has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnTargets {
    /// All targets of the service that were ever heard of have its current version, or the service
    /// has none.
    Everywhere,
    /// A target has not said yet that it has.
    Outstanding,
    /// A target could not take it.
    Refused {
        /// The target's name; the first of several.
        target: String,
        /// Why, in the target's words.
        reason: String,
    },
}

impl Targets {
    /// For each of these certificates of a service of the caller, how far its current version has
    /// come on the targets of the service. What cannot be delivered, for want of a version or of its
    /// key, is waited for nowhere.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn placements(
        &self,
        principal: &Principal,
        service: ServiceId,
        certificates: &[CertificateId],
    ) -> Result<HashMap<CertificateId, OnTargets>, Error> {
        let targets = self
            .store
            .targets(principal.account_id(), None, PAGE_LIMIT)
            .await?;
        let targets: Vec<Target> = targets
            .into_iter()
            // What has never asked for a plan has nothing, and may never come.
            .filter(|target| target.seen_at.is_some())
            .filter(|target| {
                let services = target.services.as_ref();
                services.is_none_or(|services| services.contains(&service))
            })
            .collect();
        let mut standing: HashMap<CertificateId, OnTargets> = certificates
            .iter()
            .map(|id| (*id, OnTargets::Everywhere))
            .collect();
        if targets.is_empty() || certificates.is_empty() {
            return Ok(standing);
        }
        let scope = principal.scope();
        let deliverable = self.store.deliverable(scope, certificates).await?;
        let placements = self.store.placements_of_certificates(certificates).await?;
        let placements: HashMap<(CertificateId, TargetId), Placement> = placements
            .into_iter()
            .map(|placement| ((placement.certificate_id, placement.target_id), placement))
            .collect();
        for wanted in deliverable {
            let on_targets = targets.iter().map(|target| {
                let placement = placements.get(&(wanted.certificate_id, target.id));
                (target.name.as_str(), placement)
            });
            standing.insert(wanted.certificate_id, on_targets_of(&wanted, on_targets));
        }
        Ok(standing)
    }

    /// Whether files of a certificate may still be on some target, be it one that has not answered
    /// for long. Removing that target ends it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn holds(&self, certificate: CertificateId) -> Result<bool, Error> {
        let placements = self.store.placements_of_certificates(&[certificate]).await;
        Ok(!placements?.is_empty())
    }
}

/// A refusal outweighs what is outstanding, because somebody has to act.
fn on_targets_of<'a>(
    wanted: &Deliverable,
    targets: impl Iterator<Item = (&'a str, Option<&'a Placement>)>,
) -> OnTargets {
    let mut standing = OnTargets::Everywhere;
    for (target, placement) in targets {
        let refusal = placement.and_then(|placement| placement.refusal.as_ref());
        let refusal = refusal.filter(|refusal| refusal.version_id == Some(wanted.version_id));
        if let Some(refusal) = refusal {
            return OnTargets::Refused {
                target: target.to_owned(),
                reason: refusal.reason.clone(),
            };
        }
        let has_it = placement.is_some_and(|placement| {
            // A removal that did not succeed says nothing of what is there.
            placement.version_id == Some(wanted.version_id)
        });
        if !has_it {
            standing = OnTargets::Outstanding;
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    use store::{Refusal, VersionId};
    use time::OffsetDateTime;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn version(number: u8) -> VersionId {
        VersionId::from_time_and_random(NOW, [number; 10])
    }

    fn placement(placed: Option<u8>, refused: Option<Option<u8>>) -> Placement {
        Placement {
            target_id: TargetId::from_random([1; 16]),
            certificate_id: CertificateId::from_random([2; 16]),
            name: "a".to_owned(),
            version_id: placed.map(version),
            refusal: refused.map(|refused| Refusal {
                version_id: refused.map(version),
                reason: "disk full".to_owned(),
            }),
            updated_at: NOW,
        }
    }

    fn standing(placements: &[Option<Placement>]) -> OnTargets {
        let wanted = Deliverable {
            certificate_id: CertificateId::from_random([2; 16]),
            name: "a".to_owned(),
            version_id: version(2),
        };
        let targets = placements
            .iter()
            .map(|placement| ("web", placement.as_ref()));
        on_targets_of(&wanted, targets)
    }

    #[test]
    fn a_certificate_has_arrived_when_every_target_has_its_current_version() {
        let refused = OnTargets::Refused {
            target: "web".to_owned(),
            reason: "disk full".to_owned(),
        };
        let (old, new) = (placement(Some(1), None), placement(Some(2), None));
        let offered = placement(None, None);
        for (placements, expected) in [
            (vec![], OnTargets::Everywhere),
            (vec![Some(new.clone())], OnTargets::Everywhere),
            (vec![None], OnTargets::Outstanding),
            (vec![Some(offered)], OnTargets::Outstanding),
            (vec![Some(old.clone())], OnTargets::Outstanding),
            (vec![Some(new.clone()), None], OnTargets::Outstanding),
            (
                vec![None, Some(placement(Some(1), Some(Some(2))))],
                refused.clone(),
            ),
            // What was refused has been replaced meanwhile.
            (
                vec![Some(placement(None, Some(Some(1))))],
                OnTargets::Outstanding,
            ),
            // It could not be taken away, and is wanted again.
            (
                vec![Some(placement(Some(2), Some(None)))],
                OnTargets::Everywhere,
            ),
            (vec![Some(old), Some(new)], OnTargets::Outstanding),
        ] {
            assert_eq!(standing(&placements), expected, "{placements:?}");
        }
    }
}
