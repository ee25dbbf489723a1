//! What a directory is to have, what has to change for that, and what the server is told then.

use std::collections::{BTreeMap, HashSet};

use lifecycle::{CertificateId, VersionId};

use super::directory::{Found, Held};

/// What a target is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) tag: String,
    pub(super) place: Vec<Wanted>,
    /// What may be there and is to go.
    pub(super) remove: Vec<CertificateId>,
}

/// A version that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) held: Held,
    pub(super) is_acknowledged: bool,
}

/// One step between what is there and what is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) name: String,
    /// What its paths are to lead to; `None` for nothing.
    pub(super) to: Option<Held>,
}
/// What the server is told of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Saying {
    Placed(VersionId),
    Refused(Option<VersionId>, String),
    Removed,
}

/// What is there, by name.
pub(super) type There = BTreeMap<String, Found>;

/// All that has to change. Names that no files can have are for others to refuse.
pub(super) fn changes(plan: &Plan, there: &There) -> Vec<Change> {
    let mut names = HashSet::new();
    let mut changes = Vec::new();
    for wanted in &plan.place {
        // Two of one name would take turns for ever.
        let is_first = names.insert(wanted.name.as_str());
        if is_first && whole(there, &wanted.name) != Some(wanted.held) {
            changes.push(Change {
                name: wanted.name.clone(),
                to: Some(wanted.held),
            });
        }
    }
    let unwanted = there.keys().filter(|name| !names.contains(name.as_str()));
    changes.extend(unwanted.map(|name| Change {
        name: name.clone(),
        to: None,
    }));
    changes
}

/// What the server does not know yet. `before` is what was there before the changes and `there` what
/// is there now; `failed` are the changes that did not succeed, with their reasons.
pub(super) fn sayings(
    plan: &Plan,
    before: &There,
    there: &There,
    failed: &[(Change, String)],
) -> Vec<(CertificateId, Saying)> {
    let mut sayings = Vec::new();
    let refused: HashSet<&str> = failed
        .iter()
        .map(|(change, _)| change.name.as_str())
        .collect();
    for wanted in &plan.place {
        let Held { certificate, .. } = wanted.held;
        let is_there = whole(there, &wanted.name) == Some(wanted.held);
        // What is there in spite of a failure is not known to be good.
        if is_there && !wanted.is_acknowledged && !refused.contains(wanted.name.as_str()) {
            sayings.push((certificate, Saying::Placed(wanted.held.version)));
        }
    }
    for (change, reason) in failed {
        let refused = match change.to {
            Some(to) => Some((to.certificate, Some(to.version))),
            None => {
                let held = before.get(&change.name).and_then(|found| found.held);
                held.map(|held| (held.certificate, None))
            }
        };
        let saying =
            |(certificate, version)| (certificate, Saying::Refused(version, reason.clone()));
        sayings.extend(refused.map(saying));
    }
    // Parts of it are there as well.
    let held: HashSet<CertificateId> = there
        .values()
        .filter_map(|found| found.held)
        .map(|held| held.certificate)
        .collect();
    let gone = plan.remove.iter().filter(|id| !held.contains(id));
    sayings.extend(gone.map(|id| (*id, Saying::Removed)));
    sayings
}

fn whole(there: &There, name: &str) -> Option<Held> {
    there.get(name).and_then(|found| found.whole())
}
