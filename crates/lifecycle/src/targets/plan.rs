//! What a target is to have, and what it says of it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use store::{
    Acknowledgement, CertificateId, Deliverable, NewEvent, Placement, Refusal, Target, VersionId,
};
use tokio::time::Instant;

use super::news::Ending;
use super::{SEEN, TargetAt, Targets, Wanted};
use crate::{Error, Principal, events};

/// Longest time that somebody waits for a plan.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Most certificates that one call speaks of.
const MOST_ACKNOWLEDGED: usize = 1_000;

/// What a target is to have, and to have no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Stands for all that the plan asks for: two plans with the same tag ask for the same.
    pub tag: String,
    /// What is to be there, in no order that matters.
    pub place: Vec<PlannedPlacement>,
    /// What may be there and is to be taken away.
    pub remove: Vec<PlannedRemoval>,
    /// How many certificates are not among them because a target can have no more, counted up to
    /// 100,000.
    pub left_out: usize,
}

/// A version that is to be on a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPlacement {
    /// The certificate.
    pub certificate: CertificateId,
    /// Its current version.
    pub version: VersionId,
    /// The name that its files have.
    pub name: String,
    /// Whether the target has said that it has it.
    pub is_acknowledged: bool,
}

/// A certificate whose files are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRemoval {
    /// The certificate, which may be gone.
    pub certificate: CertificateId,
    /// The name that its files have, or had.
    pub name: String,
}

impl Targets {
    /// What a target of the caller is to have: at once if that is anything but what the tag `seen`
    /// stands for, otherwise as soon as it changes, and after `patience` (at most 30 seconds) in any
    /// case. Needs the delivery right.
    ///
    /// # Errors
    /// [`Error::Forbidden`]; [`Error::NotFound`]; [`Error::Unfit`] when the target is that of another
    /// directory, or when somebody else has begun to wait for it.
    pub async fn plan(
        &self,
        principal: &Principal,
        at: TargetAt<'_>,
        seen: Option<&str>,
        patience: Duration,
    ) -> Result<Plan, Error> {
        principal.require_delivery()?;
        let deadline = Instant::now() + patience.min(LONGEST_WAIT);
        let target = self.own(principal, at).await?;
        let now = self.surroundings.now();
        if target.seen_at.is_none_or(|seen| seen + SEEN <= now) {
            self.store.see_target(target.id, now).await?;
        }
        // Before the store is asked, so that nothing can happen in between.
        let mut waiting = self.news.wait_for(target.account_id, target.id);
        loop {
            let plan = self.plan_of(principal, at).await?;
            if seen != Some(plan.tag.as_str()) {
                return Ok(plan);
            }
            match waiting.until(deadline).await {
                Ending::Changed => {}
                // Whoever told of changes may be behind; what is answered is not.
                Ending::Over => return self.plan_of(principal, at).await,
                Ending::Superseded => {
                    return Err(Error::Unfit {
                        reason: format!(
                            "somebody else delivers to target '{}' at the same time; each \
                             directory needs a name of its own",
                            at.name
                        ),
                    });
                }
            }
        }
    }

    /// Writes down what a target of the caller says: what is in place, was refused and why, or is
    /// gone. Needs the delivery right.
    ///
    /// # Errors
    /// [`Error::Forbidden`]; [`Error::NotFound`]; [`Error::Invalid`] for more than 1,000 at a time;
    /// [`Error::Unfit`] when the target is that of another directory.
    pub async fn acknowledge(
        &self,
        principal: &Principal,
        at: TargetAt<'_>,
        said: Vec<(CertificateId, Acknowledgement)>,
    ) -> Result<(), Error> {
        principal.require_delivery()?;
        if said.len() > MOST_ACKNOWLEDGED {
            return Err(Error::invalid(
                "placements",
                format!("at most {MOST_ACKNOWLEDGED} certificates can be spoken of at a time"),
            ));
        }
        let target = self.own(principal, at).await?;
        let said = said.into_iter().map(|(certificate, said)| {
            let event = self.news_of(principal, &target, certificate, &said);
            (certificate, said, event)
        });
        self.store
            .acknowledge_placements(target.id, said.collect())
            .await?;
        Ok(())
    }

    /// Read anew each time: the target may want other things by now, or be gone.
    async fn plan_of(&self, principal: &Principal, at: TargetAt<'_>) -> Result<Plan, Error> {
        let target = self.own(principal, at).await?;
        let Wanted {
            certificates,
            left_out,
        } = self.wanted(&target).await?;
        if target.is_overfull != (left_out > 0) {
            self.note_overfull(principal, &target, left_out).await?;
        }
        let placements = self.store.placements_of_target(target.id).await?;
        Ok(Plan {
            left_out,
            ..plan(certificates, placements)
        })
    }

    async fn note_overfull(
        &self,
        principal: &Principal,
        target: &Target,
        left_out: usize,
    ) -> Result<(), Error> {
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(target.account_id),
            events::TARGET_OVERFULL,
            Some(target.id.as_uuid()),
            &format!(
                "{}: {left_out} certificates are left out; name the services whose it wants",
                target.name
            ),
        );
        let is_overfull = left_out > 0;
        Ok(self
            .store
            .note_overfull(target.id, is_overfull, event)
            .await?)
    }

    fn news_of(
        &self,
        principal: &Principal,
        target: &Target,
        certificate: CertificateId,
        said: &Acknowledgement,
    ) -> NewEvent {
        let (kind, detail) = match said {
            Acknowledgement::Placed(_) => (events::PLACEMENT_MADE, target.name.clone()),
            Acknowledgement::Refused(Refusal { reason, .. }) => (
                events::PLACEMENT_REFUSED,
                format!("{}: {reason}", target.name),
            ),
            Acknowledgement::Removed => (events::PLACEMENT_REMOVED, target.name.clone()),
        };
        events::of(
            &self.surroundings,
            principal.account_name(),
            Some(target.account_id),
            kind,
            Some(certificate.as_uuid()),
            &detail,
        )
    }
}

/// What follows from what a target is to have and what it has said. `wanted` is in the order of the
/// certificates, as the placements are.
fn plan(wanted: Vec<Deliverable>, placements: Vec<Placement>) -> Plan {
    let mut context = Context::new(&SHA256);
    let certificates: HashSet<CertificateId> =
        wanted.iter().map(|one| one.certificate_id).collect();
    let versions: HashMap<CertificateId, Option<VersionId>> = placements
        .iter()
        .filter(|placement| placement.refusal.is_none())
        .map(|placement| (placement.certificate_id, placement.version_id))
        .collect();
    let place = wanted.into_iter().map(|one| {
        context.update(one.certificate_id.as_uuid().as_bytes());
        context.update(one.version_id.as_uuid().as_bytes());
        let placed = versions.get(&one.certificate_id).copied().flatten();
        PlannedPlacement {
            certificate: one.certificate_id,
            version: one.version_id,
            name: one.name,
            is_acknowledged: placed == Some(one.version_id),
        }
    });
    let place: Vec<PlannedPlacement> = place.collect();
    // What comes before and after must not be exchangeable.
    context.update(&place.len().to_be_bytes());
    let unwanted = placements
        .into_iter()
        .filter(|placement| !certificates.contains(&placement.certificate_id));
    let remove = unwanted.map(|placement| {
        context.update(placement.certificate_id.as_uuid().as_bytes());
        PlannedRemoval {
            certificate: placement.certificate_id,
            name: placement.name,
        }
    });
    let remove = remove.collect();
    let tag = context.finish();
    let tag = tag.as_ref().iter().take(16);
    Plan {
        tag: tag.map(|byte| format!("{byte:02x}")).collect(),
        place,
        remove,
        left_out: 0,
    }
}

#[cfg(test)]
mod tests {
    use store::TargetId;
    use time::OffsetDateTime;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn certificate(number: u8) -> CertificateId {
        CertificateId::from_random([number; 16])
    }

    fn version(number: u8) -> VersionId {
        VersionId::from_time_and_random(NOW, [number; 10])
    }

    fn wanted(number: u8, current: u8) -> Deliverable {
        Deliverable {
            certificate_id: certificate(number),
            name: format!("name-{number}"),
            version_id: version(current),
        }
    }

    fn placed(number: u8, placed: Option<u8>) -> Placement {
        Placement {
            target_id: TargetId::from_random([1; 16]),
            certificate_id: certificate(number),
            name: format!("name-{number}"),
            version_id: placed.map(version),
            refusal: None,
            updated_at: NOW,
        }
    }

    #[test]
    fn what_is_wanted_is_placed_and_what_is_not_is_removed() {
        let mut refused = placed(4, Some(1));
        refused.refusal = Some(Refusal {
            version_id: Some(version(1)),
            reason: String::new(),
        });
        let made = plan(
            vec![wanted(1, 1), wanted(2, 2), wanted(3, 1), wanted(4, 1)],
            vec![
                placed(1, Some(1)),
                placed(2, Some(1)),
                refused,
                placed(5, None),
            ],
        );
        let acknowledged: Vec<bool> = made.place.iter().map(|one| one.is_acknowledged).collect();
        assert_eq!(acknowledged, [true, false, false, false]);
        let removed: Vec<CertificateId> = made.remove.iter().map(|one| one.certificate).collect();
        assert_eq!(removed, [certificate(5)]);
    }

    #[test]
    fn a_tag_stands_for_what_is_asked_and_not_for_what_was_said() {
        let one = plan(vec![wanted(1, 1)], vec![]).tag;
        assert_eq!(one, plan(vec![wanted(1, 1)], vec![placed(1, Some(1))]).tag);
        for other in [
            plan(vec![], vec![]),
            plan(vec![wanted(1, 2)], vec![]),
            plan(vec![wanted(2, 1)], vec![]),
            plan(vec![wanted(1, 1)], vec![placed(2, None)]),
            plan(vec![], vec![placed(1, Some(1))]),
        ] {
            assert_ne!(one, other.tag);
        }
    }
}
