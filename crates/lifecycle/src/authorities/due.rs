//! What is due for an authority: pure decisions about moments.
//!
//! A CA certificate has to be replaced while it still outlives every leaf that it may sign. For an
//! issuing CA that is a matter of the house alone, and done in time. A root is what people have
//! installed: a successor is made long before, certified by the present root, and shown; when it
//! takes over is for people to say.

use std::time::Duration;

use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long before its end an issuing CA is replaced: the longest life of a leaf, and a month.
const BEFORE_END: Duration = Duration::from_secs((182 + 30) * 24 * 60 * 60);
/// How long before it is to be done people are told what only they can do.
const NOTICE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// How long before its end a root has a successor, at the most.
const SUCCESSION: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);
/// How long before its end a list that was signed in advance has to be signed anew.
const LIST_NOTICE: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// What has to be known of an authority.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// The validity of the certificate that signs leaves.
    pub(super) issuing: (OffsetDateTime, OffsetDateTime),
    /// That of the root.
    pub(super) root: (OffsetDateTime, OffsetDateTime),
    pub(super) has_two_tiers: bool,
    /// Whether the issuing CA is below the root, and not certified by somebody else.
    pub(super) is_rooted_here: bool,
    /// Whether the key of the root is within reach.
    pub(super) root_signs: bool,
    pub(super) has_successor: bool,
    /// When the root's revocation list ends that was signed in advance.
    pub(super) list_ends: Option<OffsetDateTime>,
}

/// Something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) kind: DueKind,
    /// By when it has to be done.
    pub(super) by: OffsetDateTime,
    /// From when on people are told.
    pub(super) from: OffsetDateTime,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueKind {
    /// A new issuing CA. The house makes it.
    Issuing,
    /// A new issuing CA, for which the key of the root is missing.
    IssuingWithoutRootKey,
    /// A new certificate of the issuing CA by the CA that signed the present one.
    Recertification,
    /// A successor of the root. The house makes it.
    Successor,
    /// A successor of the root, for which the key of the root is missing.
    SuccessorWithoutRootKey,
    /// To have the successor of the root installed by those who rely on it, and to switch to it.
    Switch,
    /// A new revocation list of the root, for which its key is missing.
    RootList,
}

/// All that will be due, the most urgent first.
pub(super) fn due(circumstances: &Circumstances) -> Vec<Due> {
    let issuing_by = replace_at(circumstances.issuing, BEFORE_END);
    let (_, issuing_ends) = circumstances.issuing;
    let (_, root_ends) = circumstances.root;
    let root_by = replace_at(circumstances.root, BEFORE_END);
    let mut all = Vec::new();
    let mut add = |kind, by: OffsetDateTime, notice| {
        let from = by - notice;
        all.push(Due { kind, by, from });
    };
    if circumstances.has_two_tiers {
        if !circumstances.is_rooted_here {
            add(DueKind::Recertification, issuing_by, NOTICE);
        } else if root_ends > issuing_ends + DAY {
            // Below a root that ends with it, a new issuing CA would be no younger.
            if circumstances.root_signs {
                add(DueKind::Issuing, issuing_by, Duration::ZERO);
            } else {
                add(DueKind::IssuingWithoutRootKey, issuing_by, NOTICE);
            }
        }
    }
    let succession = replace_at(circumstances.root, SUCCESSION);
    if circumstances.has_successor {
        add(DueKind::Switch, root_by, SUCCESSION);
    } else if circumstances.root_signs {
        add(DueKind::Successor, succession, Duration::ZERO);
    } else {
        add(DueKind::SuccessorWithoutRootKey, succession, NOTICE);
    }
    if let Some(ends) = circumstances.list_ends {
        add(DueKind::RootList, ends, LIST_NOTICE);
    }
    all.sort_by_key(|due| due.by);
    all
}

/// When something with this validity is replaced: so long before its end, but never in the first
/// half of its life.
fn replace_at(
    (not_before, not_after): (OffsetDateTime, OffsetDateTime),
    before_end: Duration,
) -> OffsetDateTime {
    let half = (not_after - not_before) / 2;
    (not_after - before_end).max(not_after - half)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn days(number: u32) -> OffsetDateTime {
        START + DAY * number
    }

    fn ordinary() -> Circumstances {
        Circumstances {
            issuing: (START, days(3650)),
            root: (START, days(5475)),
            has_two_tiers: true,
            is_rooted_here: true,
            root_signs: true,
            has_successor: false,
            list_ends: None,
        }
    }

    fn kinds(circumstances: &Circumstances) -> Vec<(DueKind, OffsetDateTime)> {
        let all = due(circumstances);
        all.into_iter().map(|due| (due.kind, due.by)).collect()
    }

    #[test]
    fn an_issuing_ca_is_replaced_before_it_limits_leaves() {
        assert_eq!(
            kinds(&ordinary()),
            [
                (DueKind::Issuing, days(3650 - 212)),
                (DueKind::Successor, days(5475 - 730)),
            ]
        );
        // One that lives shorter than that is replaced in the middle of its life.
        let short = Circumstances {
            issuing: (START, days(90)),
            ..ordinary()
        };
        assert_eq!(kinds(&short).first(), Some(&(DueKind::Issuing, days(45))));
    }

    #[test]
    fn what_needs_a_key_that_is_away_is_told_long_before() {
        let away = Circumstances {
            root_signs: false,
            list_ends: Some(days(365)),
            ..ordinary()
        };
        let all = due(&away);
        let first = all.first().copied();
        let list = Due {
            kind: DueKind::RootList,
            by: days(365),
            from: days(305),
        };
        assert_eq!(first, Some(list));
        let issuing = all
            .iter()
            .find(|due| due.kind == DueKind::IssuingWithoutRootKey);
        assert_eq!(issuing.map(|due| due.from), Some(days(3650 - 212 - 90)));
    }

    #[test]
    fn nothing_is_made_below_a_root_that_ends_as_soon() {
        let old = Circumstances {
            root: (START, days(3650)),
            ..ordinary()
        };
        assert_eq!(kinds(&old), [(DueKind::Successor, days(3650 - 730))]);
        let with_successor = Circumstances {
            has_successor: true,
            ..old
        };
        assert_eq!(
            kinds(&with_successor),
            [(DueKind::Switch, days(3650 - 212))]
        );
    }

    #[test]
    fn what_others_have_certified_they_have_to_certify_again() {
        let elsewhere = Circumstances {
            is_rooted_here: false,
            ..ordinary()
        };
        assert_eq!(
            kinds(&elsewhere).first(),
            Some(&(DueKind::Recertification, days(3650 - 212)))
        );
    }
}
