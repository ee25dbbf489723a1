//! Which way to prove control over a name is gone, of those that the directory offers. Pure.

use acme::client::{Challenge, ChallengeKind};

/// What speaks for and against the kinds of challenges.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    /// The kinds that the operator lets be used, the most liked first.
    pub(crate) allowed: &'a [ChallengeKind],
    /// How often proving the names of this certificate has failed.
    pub(crate) failed: u8,
    /// Whether the name is a wildcard.
    pub(crate) is_wildcard: bool,
    /// Whether the name is an address.
    pub(crate) is_address: bool,
    /// Kinds of records that can be published for the name.
    pub(crate) publishable: &'a [ChallengeKind],
    /// Whether a record that stays is there.
    pub(crate) persists: bool,
}

impl Circumstances<'_> {
    /// The kinds that can be used, the best first: what needs nothing done, then what the operator
    /// likes.
    pub(crate) fn usable(&self) -> Vec<&ChallengeKind> {
        let kinds = self.allowed.iter();
        let mut usable: Vec<&ChallengeKind> = kinds.filter(|kind| self.is_usable(kind)).collect();
        if self.persists {
            usable.sort_by_key(|kind| **kind != ChallengeKind::DnsPersist01);
        }
        usable
    }

    fn is_usable(&self, kind: &ChallengeKind) -> bool {
        match kind {
            ChallengeKind::Dns01 | ChallengeKind::DnsAccount01 => {
                !self.is_address && self.publishable.contains(kind)
            }
            ChallengeKind::DnsPersist01 => {
                !self.is_address && (self.persists || self.publishable.contains(kind))
            }
            // RFC 8555 section 7.1.3 leaves wildcards to DNS.
            ChallengeKind::Http01 | ChallengeKind::TlsAlpn01 => !self.is_wildcard,
            ChallengeKind::Other(_) => false,
        }
    }
}

/// The challenge to be met, of those that are offered: the best, or, after a failure, the next one
/// in turn, since a way that is barred today is likely to be barred tomorrow.
pub(crate) fn choose<'a>(
    offered: &'a [Challenge],
    circumstances: &Circumstances<'_>,
) -> Option<&'a Challenge> {
    let usable = circumstances.usable();
    let usable = usable
        .into_iter()
        .filter_map(|kind| offered.iter().find(|challenge| challenge.kind == *kind));
    let usable: Vec<&Challenge> = usable.collect();
    let turn = usize::from(circumstances.failed).checked_rem(usable.len())?;
    usable.get(turn).copied()
}

#[cfg(test)]
mod tests {
    use acme::client::ChallengeStatus;

    use super::*;
    use crate::AcmeSettings;

    use ChallengeKind::{Dns01, DnsAccount01, DnsPersist01, Http01, Other, TlsAlpn01};

    fn offered(kinds: &[ChallengeKind]) -> Vec<Challenge> {
        let challenge = |kind: &ChallengeKind| Challenge {
            kind: kind.clone(),
            url: format!("https://ca.test/{}", kind.as_str()),
            status: ChallengeStatus::Pending,
            token: None,
            error: None,
            issuer_domain_names: Vec::new(),
        };
        kinds.iter().map(challenge).collect()
    }

    fn all() -> Vec<Challenge> {
        offered(&[
            TlsAlpn01,
            DnsPersist01,
            Http01,
            Other("onion-csr-01".to_owned()),
            DnsAccount01,
            Dns01,
        ])
    }

    struct Given {
        allowed: Vec<ChallengeKind>,
        publishable: Vec<ChallengeKind>,
        is_wildcard: bool,
        is_address: bool,
        persists: bool,
    }

    impl Default for Given {
        fn default() -> Self {
            Self {
                allowed: AcmeSettings::default().challenges,
                publishable: Vec::new(),
                is_wildcard: false,
                is_address: false,
                persists: false,
            }
        }
    }

    impl Given {
        fn chosen(&self, offered: &[Challenge], failed: u8) -> Option<ChallengeKind> {
            let circumstances = Circumstances {
                allowed: &self.allowed,
                failed,
                is_wildcard: self.is_wildcard,
                is_address: self.is_address,
                publishable: &self.publishable,
                persists: self.persists,
            };
            choose(offered, &circumstances).map(|challenge| challenge.kind.clone())
        }

        fn in_turn(&self) -> Vec<ChallengeKind> {
            let turns = (0..5).filter_map(|failed| self.chosen(&all(), failed));
            turns.collect()
        }
    }

    #[test]
    fn without_a_provider_the_ports_are_used_in_turn() {
        let turns = Given::default().in_turn();
        assert_eq!(turns, [Http01, TlsAlpn01, Http01, TlsAlpn01, Http01]);
    }

    #[test]
    fn where_a_provider_covers_the_zone_its_records_come_first() {
        let given = Given {
            publishable: vec![Dns01, DnsAccount01, DnsPersist01],
            ..Given::default()
        };
        assert_eq!(
            given.in_turn(),
            [Dns01, DnsAccount01, Http01, TlsAlpn01, DnsPersist01]
        );
    }

    #[test]
    fn a_wildcard_is_proven_by_records_or_not_at_all() {
        let wildcard = Given {
            is_wildcard: true,
            ..Given::default()
        };
        assert_eq!(wildcard.chosen(&all(), 0), None);
        let covered = Given {
            publishable: vec![Dns01],
            ..wildcard
        };
        assert_eq!(covered.in_turn(), vec![Dns01; 5]);
    }

    #[test]
    fn an_address_has_no_records() {
        let given = Given {
            is_address: true,
            publishable: vec![Dns01, DnsAccount01, DnsPersist01],
            persists: true,
            ..Given::default()
        };
        assert_eq!(given.chosen(&all(), 0), Some(Http01));
        assert_eq!(given.chosen(&all(), 1), Some(TlsAlpn01));
        assert_eq!(given.chosen(&offered(&[Dns01]), 0), None);
    }

    #[test]
    fn a_record_that_stays_comes_before_everything() {
        let given = Given {
            persists: true,
            is_wildcard: true,
            ..Given::default()
        };
        assert_eq!(given.chosen(&all(), 0), Some(DnsPersist01));
        let given = Given {
            allowed: vec![Http01],
            persists: true,
            ..Given::default()
        };
        assert_eq!(given.chosen(&all(), 0), Some(Http01));
    }

    #[test]
    fn only_what_the_operator_and_the_directory_both_have_is_chosen() {
        let given = Given {
            allowed: vec![TlsAlpn01, Http01],
            publishable: vec![Dns01],
            ..Given::default()
        };
        assert_eq!(given.chosen(&all(), 0), Some(TlsAlpn01));
        assert_eq!(given.chosen(&offered(&[Http01]), 0), Some(Http01));
        assert_eq!(given.chosen(&offered(&[Dns01]), 0), None);
        assert_eq!(given.chosen(&[], 0), None);
    }
}
