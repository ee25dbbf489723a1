//! Which names of an order need a proof of control over them, and by which challenges it can be
//! given.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use pki::Identifier;
use store::{AccountId, Store};

use super::preauthorized::patterns;
use super::switches::{SwitchValues, Switches};
use crate::Error;
use crate::settings::Settings;

/// Names that an error shows at most.
const MAX_LISTED: usize = 5;

/// The kinds of challenges that are offered to those who order here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofKind {
    /// A file on a web server of the name.
    Http01,
    /// A record in the zone of the name.
    Dns01,
}

impl ProofKind {
    /// Both, the usual one first.
    pub const ALL: [Self; 2] = [Self::Http01, Self::Dns01];

    /// `http-01` or `dns-01`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
        }
    }

    pub(super) fn of(text: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.as_str() == text)
    }

    pub(super) const fn is_enabled(self, switches: &SwitchValues) -> bool {
        match self {
            Self::Http01 => switches.http01,
            Self::Dns01 => switches.dns01,
        }
    }

    /// Whether control over `identifier` can be proven by such a challenge: a wildcard has no web
    /// server, and an address no zone.
    pub(super) fn fits(self, identifier: &Identifier) -> bool {
        match (self, identifier) {
            (Self::Http01, Identifier::Dns(name)) => !name.is_wildcard(),
            (Self::Http01, Identifier::Ip(_)) | (Self::Dns01, Identifier::Dns(_)) => true,
            (Self::Dns01, Identifier::Ip(_)) | (_, Identifier::Email(_)) => false,
        }
    }
}

impl fmt::Display for ProofKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What has to be proven here, by whom.
#[derive(Debug, Clone)]
pub(crate) struct Requirement {
    store: Store,
    switches: Switches,
    settings: Arc<Settings>,
}

impl Requirement {
    pub(crate) fn new(store: Store, switches: Switches, settings: Arc<Settings>) -> Self {
        Self {
            store,
            switches,
            settings,
        }
    }

    /// Those of `identifiers` over which `account` has to prove control, in their order.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn outstanding(
        &self,
        account: AccountId,
        identifiers: &[Identifier],
    ) -> Result<Vec<Identifier>, Error> {
        if !self.switches.current().await?.demand_proof() {
            return Ok(Vec::new());
        }
        let validate_ips = self.settings.validation.validate_ips;
        let mut outstanding: Vec<Identifier> = identifiers
            .iter()
            .filter(|identifier| !is_exempt(identifier, validate_ips))
            .cloned()
            .collect();
        if !outstanding.is_empty() {
            let patterns = patterns(&self.store, account).await?;
            let is_vouched_for =
                |identifier: &Identifier| patterns.iter().any(|pattern| pattern.covers(identifier));
            outstanding.retain(|identifier| !is_vouched_for(identifier));
        }
        Ok(outstanding)
    }

    /// Refuses what would have to be proven, for ways of ordering on which nothing can be.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::Store`].
    pub(crate) async fn require_none(
        &self,
        account: AccountId,
        identifiers: &[Identifier],
    ) -> Result<(), Error> {
        let outstanding = self.outstanding(account, identifiers).await?;
        if outstanding.is_empty() {
            return Ok(());
        }
        let names = listed(&outstanding);
        Err(Error::Unsupported {
            reason: format!(
                "this server demands proof of control over {names}; give it with an order through \
                 the CertMaker API, or have an administrator preauthorize the account (`chancery \
                 account preauthorize`)"
            ),
        })
    }
}

/// Names for people, the first of them if there are many.
fn listed(names: &[Identifier]) -> String {
    let quoted = names.iter().take(MAX_LISTED);
    let mut listed: Vec<String> = quoted.map(|name| format!("'{name}'")).collect();
    if let Some(more) = names.len().checked_sub(MAX_LISTED + 1) {
        listed.push(format!("{} more", more + 1));
    }
    listed.join(", ")
}

/// The kinds of challenges that can prove all of `outstanding`.
///
/// # Errors
/// The identifier that stands in the way, if there is no such kind.
pub(super) fn offers<'a>(
    outstanding: &'a [Identifier],
    switches: &SwitchValues,
) -> Result<Vec<ProofKind>, &'a Identifier> {
    let enabled = || {
        let all = ProofKind::ALL.into_iter();
        all.filter(|kind| kind.is_enabled(switches))
    };
    let fits_all = |kind: &ProofKind| outstanding.iter().all(|identifier| kind.fits(identifier));
    let offered: Vec<ProofKind> = enabled().filter(fits_all).collect();
    if !offered.is_empty() {
        return Ok(offered);
    }
    let fits_none = |identifier: &&Identifier| !enabled().any(|kind| kind.fits(identifier));
    let alone = outstanding.iter().find(fits_none);
    // Or each of them could be proven, but not all in one way.
    let misfit = |identifier: &&Identifier| !enabled().all(|kind| kind.fits(identifier));
    match alone.or_else(|| outstanding.iter().find(misfit)) {
        Some(identifier) => Err(identifier),
        None => Ok(offered),
    }
}

/// `localhost` and its addresses mean every machine to itself, so nobody can prove more. Other
/// loopback addresses are not exempt. There is no challenge for e-mail addresses; whether they are
/// allowed is a setting.
fn is_exempt(identifier: &Identifier, validate_ips: bool) -> bool {
    match identifier {
        Identifier::Dns(name) => name.as_str() == "localhost",
        Identifier::Ip(IpAddr::V4(address)) => !validate_ips || *address == Ipv4Addr::LOCALHOST,
        Identifier::Ip(IpAddr::V6(address)) => !validate_ips || *address == Ipv6Addr::LOCALHOST,
        Identifier::Email(_) => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn identifier(text: &str) -> Identifier {
        Identifier::parse_host(text).unwrap()
    }

    #[test]
    fn only_the_machine_itself_is_exempt_in_every_spelling() {
        for exempt in [
            "localhost",
            "LocalHost.",
            "127.0.0.1",
            "::1",
            "[::1]",
            "0:0::0:1",
        ] {
            assert!(is_exempt(&identifier(exempt), true), "{exempt}");
        }
        for other in [
            "a.test",
            "*.localhost",
            "a.localhost",
            "localhost.localdomain",
            "127.0.0.2",
            "10.0.0.5",
            "::",
            "::ffff:127.0.0.1",
        ] {
            assert!(!is_exempt(&identifier(other), true), "{other}");
        }
    }

    #[test]
    fn a_long_list_of_names_is_cut() {
        let names = |count: u8| -> Vec<Identifier> {
            (0..count)
                .map(|n| identifier(&format!("{n}.test")))
                .collect()
        };
        assert_eq!(listed(&names(2)), "'0.test', '1.test'");
        assert!(listed(&names(5)).ends_with(", '4.test'"));
        assert!(listed(&names(6)).ends_with(", '4.test', 1 more"));
        assert!(listed(&names(100)).ends_with(", '4.test', 95 more"));
    }

    #[test]
    fn addresses_are_exempt_where_the_operator_says_so() {
        assert!(is_exempt(&identifier("10.0.0.5"), false));
        assert!(is_exempt(&identifier("fd00::1"), false));
        assert!(!is_exempt(&identifier("a.test"), false));
    }

    fn offered(names: &[&str], http01: bool, dns01: bool) -> Result<Vec<&'static str>, String> {
        let outstanding: Vec<Identifier> = names.iter().map(|name| identifier(name)).collect();
        let switches = SwitchValues {
            http01,
            dns01,
            ..SwitchValues::default()
        };
        let offered = offers(&outstanding, &switches);
        offered
            .map(|kinds| kinds.into_iter().map(ProofKind::as_str).collect())
            .map_err(ToString::to_string)
    }

    #[test]
    fn what_is_offered_proves_all_names_at_once() {
        for (names, http01, dns01, kinds) in [
            (
                ["a.test"].as_slice(),
                true,
                true,
                ["http-01", "dns-01"].as_slice(),
            ),
            (&["a.test"], true, false, &["http-01"]),
            (&["a.test"], false, true, &["dns-01"]),
            (&["a.test", "10.0.0.5"], true, true, &["http-01"]),
            (&["10.0.0.5"], true, true, &["http-01"]),
            (&["*.a.test"], true, true, &["dns-01"]),
            (&["a.test", "*.a.test"], true, true, &["dns-01"]),
        ] {
            assert_eq!(offered(names, http01, dns01).unwrap(), kinds, "{names:?}");
        }
    }

    #[test]
    fn the_name_that_cannot_be_proven_is_named() {
        for (names, http01, dns01, misfit) in [
            (
                ["a.test", "*.a.test", "10.0.0.5"].as_slice(),
                true,
                true,
                "*.a.test",
            ),
            (&["10.0.0.5", "*.a.test"], true, true, "10.0.0.5"),
            (&["a.test", "*.a.test"], true, false, "*.a.test"),
            (&["a.test", "10.0.0.5"], false, true, "10.0.0.5"),
        ] {
            assert_eq!(offered(names, http01, dns01).unwrap_err(), misfit);
        }
    }
}
