//! Which certificate a domain is served with. Pure: the candidates come from the store, the choice
//! from here, and the same candidates always give the same choice.

use std::cmp::Reverse;

use pki::DnsName;
use store::{CertificateId, Covering, StateKind};
use time::OffsetDateTime;

/// What a domain is served with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The certificate.
    pub(crate) certificate_id: CertificateId,
    /// One of the other kind of key, for clients that cannot use the first.
    pub(crate) alternate_id: Option<CertificateId>,
}

/// How a certificate covers a name; the earlier, the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    CommonName,
    AlternativeName,
    Wildcard,
}

/// The names under which certificates for `name` are looked up: itself, and the wildcard that covers
/// it.
pub(crate) fn keys(name: &DnsName) -> impl Iterator<Item = String> {
    std::iter::once(name.to_string()).chain(wildcard_over(name))
}

/// `*.<parent>`, for a name that is no wildcard itself.
pub(crate) fn wildcard_over(name: &DnsName) -> Option<String> {
    if name.is_wildcard() {
        return None;
    }
    let (_, parent) = name.as_str().split_once('.')?;
    Some(format!("*.{parent}"))
}

/// Whether a candidate may be chosen: it has a version that has not ended, or is waiting for its
/// first.
pub(crate) fn is_usable(candidate: &Covering, now: OffsetDateTime) -> bool {
    match candidate.state {
        StateKind::Valid => candidate.not_after.is_some_and(|end| now < end),
        StateKind::Pending => true,
        StateKind::Error | StateKind::Revoked => false,
    }
}

/// The best of those candidates that cover `name`: valid before pending, exact common name before
/// alternative name before wildcard, then the one that ends last. The alternate is valid, as near to
/// the name as the first, and has the other kind of key.
pub(crate) fn choose<'a>(
    name: &DnsName,
    candidates: impl IntoIterator<Item = &'a Covering>,
    now: OffsetDateTime,
) -> Option<Choice> {
    let wildcard = wildcard_over(name);
    let mut ranked: Vec<(Rank, &Covering)> = candidates
        .into_iter()
        .filter(|candidate| is_usable(candidate, now))
        .filter_map(|candidate| Some((rank(name, wildcard.as_deref(), candidate)?, candidate)))
        .collect();
    // The identifier only makes the order complete.
    ranked.sort_by_key(|(rank, candidate)| {
        let is_pending = candidate.state == StateKind::Pending;
        let end = Reverse(candidate.not_after);
        (is_pending, *rank, end, candidate.certificate_id)
    });
    let (best_rank, best) = *ranked.first()?;
    let alternate = ranked.iter().find(|(rank, candidate)| {
        *rank == best_rank
            && candidate.state == StateKind::Valid
            && best.state == StateKind::Valid
            && is_rsa(candidate).is_some_and(|kind| is_rsa(best) == Some(!kind))
    });
    Some(Choice {
        certificate_id: best.certificate_id,
        alternate_id: alternate.map(|(_, candidate)| candidate.certificate_id),
    })
}

fn rank(name: &DnsName, wildcard: Option<&str>, candidate: &Covering) -> Option<Rank> {
    if candidate.name == name.as_str() {
        return Some(if candidate.common_name == candidate.name {
            Rank::CommonName
        } else {
            Rank::AlternativeName
        });
    }
    (wildcard == Some(candidate.name.as_str())).then_some(Rank::Wildcard)
}

/// Whether the key is an RSA key, where that is known.
fn is_rsa(candidate: &Covering) -> Option<bool> {
    let algorithm = candidate.key_algorithm.as_deref()?;
    Some(algorithm.starts_with("rsa"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn name(text: &str) -> DnsName {
        DnsName::parse(text).unwrap()
    }

    fn id(number: u8) -> CertificateId {
        CertificateId::from_uuid(uuid::Uuid::from_bytes([number; 16]))
    }

    fn covering(number: u8, matched: &str, common_name: &str) -> Covering {
        Covering {
            name: matched.to_owned(),
            certificate_id: id(number),
            common_name: common_name.to_owned(),
            state: StateKind::Valid,
            not_after: Some(NOW + Duration::from_secs(100)),
            key_algorithm: Some("p256".to_owned()),
        }
    }

    fn chosen(candidates: &[Covering]) -> Option<(CertificateId, Option<CertificateId>)> {
        let choice = choose(&name("a.example.com"), candidates, NOW)?;
        Some((choice.certificate_id, choice.alternate_id))
    }

    #[test]
    fn a_nearer_name_wins_and_then_the_later_end() {
        let exact = covering(1, "a.example.com", "a.example.com");
        let listed = covering(2, "a.example.com", "example.com");
        let wildcard = covering(3, "*.example.com", "*.example.com");
        let late = |mut candidate: Covering| {
            candidate.not_after = Some(NOW + Duration::from_secs(1_000));
            candidate
        };
        let all = [late(wildcard.clone()), late(listed.clone()), exact.clone()];
        assert_eq!(chosen(&all), Some((id(1), None)));
        assert_eq!(
            chosen(&[late(wildcard.clone()), listed]),
            Some((id(2), None))
        );
        assert_eq!(chosen(&[wildcard]), Some((id(3), None)));
        let later = late(covering(9, "a.example.com", "a.example.com"));
        assert_eq!(chosen(&[exact, later]), Some((id(9), None)));
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn a_valid_wildcard_wins_over_a_pending_exact_name() {
        let mut pending = covering(1, "a.example.com", "a.example.com");
        pending.state = StateKind::Pending;
        pending.not_after = None;
        pending.key_algorithm = None;
        let wildcard = covering(2, "*.example.com", "*.example.com");
        assert_eq!(chosen(&[pending.clone(), wildcard]), Some((id(2), None)));
        assert_eq!(chosen(&[pending]), Some((id(1), None)));
    }

    #[test]
    fn what_has_ended_or_failed_or_was_revoked_is_never_chosen() {
        let mut ended = covering(1, "a.example.com", "a.example.com");
        ended.not_after = Some(NOW);
        let mut endless = covering(2, "a.example.com", "a.example.com");
        endless.not_after = None;
        let mut failed = covering(3, "a.example.com", "a.example.com");
        failed.state = StateKind::Error;
        let mut revoked = covering(4, "a.example.com", "a.example.com");
        revoked.state = StateKind::Revoked;
        assert_eq!(chosen(&[ended, endless, failed, revoked]), None);
    }

    #[test]
    fn the_alternate_has_the_other_kind_of_key_and_is_as_near() {
        let rsa = |mut candidate: Covering| {
            candidate.key_algorithm = Some("rsa2048".to_owned());
            candidate
        };
        let exact = covering(1, "a.example.com", "a.example.com");
        let same_kind = covering(2, "a.example.com", "a.example.com");
        let other_kind = rsa(covering(3, "a.example.com", "a.example.com"));
        let farther = rsa(covering(4, "*.example.com", "*.example.com"));
        let mut unknown = covering(5, "a.example.com", "a.example.com");
        unknown.key_algorithm = None;
        let all = [
            exact.clone(),
            same_kind.clone(),
            other_kind,
            farther.clone(),
        ];
        assert_eq!(chosen(&all), Some((id(1), Some(id(3)))));
        let without = [exact, same_kind, farther, unknown];
        assert_eq!(chosen(&without), Some((id(1), None)));
    }

    #[test]
    fn a_wildcard_covers_one_label_and_a_wildcard_domain_only_itself() {
        assert_eq!(wildcard_over(&name("a.b.test")).unwrap(), "*.b.test");
        assert_eq!(wildcard_over(&name("*.b.test")), None);
        assert_eq!(wildcard_over(&name("localhost")), None);
        let over = covering(1, "*.example.com", "*.example.com");
        assert!(choose(&name("*.example.com"), [&over], NOW).is_some());
        assert!(choose(&name("a.b.example.com"), [&over], NOW).is_none());
        assert!(choose(&name("example.com"), [&over], NOW).is_none());
    }

    fn any_covering() -> impl Strategy<Value = Covering> {
        let names = prop::sample::select(vec!["a.example.com", "*.example.com", "other.test"]);
        let states = prop::sample::select(vec![
            StateKind::Valid,
            StateKind::Pending,
            StateKind::Error,
            StateKind::Revoked,
        ]);
        let keys = prop::sample::select(vec![None, Some("p256"), Some("rsa2048")]);
        let end = prop::option::of(-3_i64..3);
        (any::<u8>(), names.clone(), names, states, end, keys).prop_map(
            |(number, matched, common_name, state, end, key)| Covering {
                state,
                not_after: end.map(|end| NOW + time::Duration::seconds(end)),
                key_algorithm: key.map(str::to_owned),
                ..covering(number, matched, common_name)
            },
        )
    }

    proptest! {
        #[test]
        fn the_choice_does_not_depend_on_the_order_of_candidates(
            candidates in prop::collection::vec(any_covering(), 0..12),
            turn in 0_usize..12,
        ) {
            // One certificate has one state: duplicates by identifier would contradict each other.
            let mut seen = std::collections::HashSet::new();
            let mut candidates = candidates;
            candidates.retain(|candidate| seen.insert(candidate.certificate_id));
            let mut turned = candidates.clone();
            if !turned.is_empty() {
                let middle = turn % turned.len();
                turned.rotate_left(middle);
            }
            prop_assert_eq!(chosen(&candidates), chosen(&turned));
        }

        #[test]
        fn only_usable_candidates_that_cover_the_name_are_chosen(
            candidates in prop::collection::vec(any_covering(), 0..12),
        ) {
            let fits = |candidate: &Covering| {
                is_usable(candidate, NOW) && candidate.name != "other.test"
            };
            match chosen(&candidates) {
                None => prop_assert!(!candidates.iter().any(fits)),
                Some((first, alternate)) => {
                    let is_of = |id| move |candidate: &&Covering| candidate.certificate_id == id;
                    prop_assert!(candidates.iter().filter(is_of(first)).any(fits));
                    if let Some(alternate) = alternate {
                        prop_assert!(candidates.iter().filter(is_of(alternate)).any(fits));
                    }
                }
            }
        }
    }
}
