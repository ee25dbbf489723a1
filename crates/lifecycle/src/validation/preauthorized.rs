//! Names and addresses that an account need not prove control over, because an administrator
//! vouches for it. Clients that cannot meet challenges get certificates this way.

use std::fmt;
use std::net::IpAddr;

use pki::{DnsName, Identifier};
use store::{AccountId, PREAUTHORIZATIONS_LIMIT, Store};

use crate::accounts::Accounts;
use crate::{Error, Noun, Principal, Surroundings, events};

/// What an account is vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// This very name, or for `*.x` that wildcard and every name of one label more than `x`.
    Name(DnsName),
    /// The addresses that agree with this one in so many leading bits.
    Network(IpAddr, u8),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |reason: &str| {
            let shown: String = text.chars().take(80).collect();
            let shown = shown.escape_debug().to_string();
            Error::invalid("names", format!("'{shown}' {reason}"))
        };
        if let Some((address, prefix)) = text.split_once('/') {
            let address: Option<IpAddr> = address.parse().ok();
            let prefix = Some(prefix).filter(|prefix| !prefix.starts_with('+'));
            let prefix: Option<u8> = prefix.and_then(|prefix| prefix.parse().ok());
            let (Some(address), Some(prefix)) = (address, prefix) else {
                return Err(invalid("is not a range such as 10.0.0.0/8"));
            };
            if prefix > width(address) {
                return Err(invalid("has more bits than an address"));
            }
            // Perhaps it was meant to be another range.
            if leading(address, prefix) != bits(address) {
                return Err(invalid("has bits set beyond its prefix"));
            }
            return Ok(Self::Network(address, prefix));
        }
        match Identifier::parse_host(text) {
            Ok(Identifier::Ip(address)) => Ok(Self::Network(address, width(address))),
            Ok(Identifier::Dns(name)) => Ok(Self::Name(name)),
            _ => Err(invalid(
                "is neither a DNS name such as example.com or *.example.com nor an address or \
                 range such as 10.0.0.0/8",
            )),
        }
    }

    /// Whether an account that is vouched for with this may have a certificate for `identifier`.
    pub(super) fn covers(&self, identifier: &Identifier) -> bool {
        match (self, identifier) {
            (Self::Name(name), Identifier::Dns(other)) => name.covers(other),
            (Self::Network(network, prefix), Identifier::Ip(address)) => {
                network.is_ipv4() == address.is_ipv4()
                    && leading(*address, *prefix) == bits(*network)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(formatter),
            Self::Network(address, prefix) if *prefix == width(*address) => address.fmt(formatter),
            Self::Network(address, prefix) => write!(formatter, "{address}/{prefix}"),
        }
    }
}

/// Operations on what accounts are vouched for. Only administrators may.
#[derive(Debug, Clone)]
pub struct Preauthorizations {
    store: Store,
    surroundings: Surroundings,
    accounts: Accounts,
}

impl Preauthorizations {
    pub(crate) fn new(store: Store, surroundings: Surroundings, accounts: Accounts) -> Self {
        Self {
            store,
            surroundings,
            accounts,
        }
    }

    /// What the account `name` need not prove.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`].
    pub async fn list(&self, principal: &Principal, name: &str) -> Result<Vec<String>, Error> {
        principal.require_administrator()?;
        let account = self.accounts.named(name).await?;
        Ok(self.store.preauthorizations(account.id).await?)
    }

    /// Adds to what the account `name` need not prove, and takes from it. It holds for orders from
    /// then on, and for those that wait.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`]; [`Error::Invalid`] for what is no name and no
    /// range, and when there would be too many.
    pub async fn change(
        &self,
        principal: &Principal,
        name: &str,
        added: &[String],
        removed: &[String],
    ) -> Result<Vec<String>, Error> {
        principal.require_administrator()?;
        principal.require_write()?;
        let normal = |texts: &[String]| -> Result<Vec<String>, Error> {
            let patterns = texts.iter().map(|text| Pattern::parse(text));
            let mut texts: Vec<String> = patterns
                .map(|pattern| pattern.map(|pattern| pattern.to_string()))
                .collect::<Result<_, _>>()?;
            texts.sort_unstable();
            texts.dedup();
            Ok(texts)
        };
        let (added, removed) = (normal(added)?, normal(removed)?);
        let account = self.accounts.named(name).await?;
        let signed = |sign: char, texts: &[String]| {
            let signed = texts.iter().map(|text| format!("{sign}{text}"));
            signed.collect::<Vec<_>>()
        };
        let detail = [signed('+', &added), signed('-', &removed)].concat();
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(account.id),
            events::ACCOUNT_PREAUTHORIZED,
            Some(account.id.as_uuid()),
            &detail.join(" "),
        );
        let changed = self
            .store
            .change_preauthorizations(account.id, &added, &removed, event)
            .await;
        match changed {
            Err(store::Error::Full) => {
                return Err(Error::invalid(
                    "names",
                    format!("an account has at most {PREAUTHORIZATIONS_LIMIT} of them"),
                ));
            }
            Err(store::Error::UnknownAccount) => return Err(Error::not_found(Noun::Account, name)),
            changed => changed?,
        }
        Ok(self.store.preauthorizations(account.id).await?)
    }
}

/// What an account is vouched for. A text that this release cannot read vouches for nothing.
pub(super) async fn patterns(store: &Store, account: AccountId) -> Result<Vec<Pattern>, Error> {
    let texts = store.preauthorizations(account).await?;
    Ok(texts
        .iter()
        .filter_map(|text| Pattern::parse(text).ok())
        .collect())
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The bits of an address, those after the first `prefix` cleared.
fn leading(address: IpAddr, prefix: u8) -> u128 {
    let cleared = u32::from(width(address).saturating_sub(prefix));
    let kept = u128::MAX.checked_shl(cleared).unwrap_or(0);
    bits(address) & kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn covers(pattern: &str, identifier: &str) -> bool {
        let identifier = Identifier::parse_host(identifier).unwrap();
        Pattern::parse(pattern).unwrap().covers(&identifier)
    }

    #[test]
    fn a_pattern_covers_what_it_says_and_no_more() {
        for (pattern, covered) in [
            ("example.com", ["example.com", "EXAMPLE.com."].as_slice()),
            ("*.example.com", &["a.example.com", "*.example.com"]),
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255"]),
            ("10.0.0.5", &["10.0.0.5"]),
            ("0.0.0.0/0", &["192.0.2.1", "0.0.0.0"]),
            ("::/0", &["::", "2001:db8::1", "::ffff:10.0.0.1"]),
            ("fd00::/8", &["fd12::1", "FD00::"]),
            ("[fd00::1]", &["fd00:0::1"]),
        ] {
            for identifier in covered {
                assert!(covers(pattern, identifier), "{pattern}: {identifier}");
            }
        }
        for (pattern, others) in [
            (
                "example.com",
                ["a.example.com", "*.example.com", "xexample.com", "com"].as_slice(),
            ),
            (
                "*.example.com",
                &["example.com", "a.b.example.com", "*.a.example.com"],
            ),
            (
                "10.0.0.0/8",
                &["11.0.0.0", "9.255.255.255", "::ffff:10.0.0.1", "a.test"],
            ),
            ("0.0.0.0/0", &["::", "a.test"]),
            ("::/0", &["10.0.0.1"]),
            ("10.0.0.4/31", &["10.0.0.3", "10.0.0.6"]),
        ] {
            for identifier in others {
                assert!(!covers(pattern, identifier), "{pattern}: {identifier}");
            }
        }
    }

    #[test]
    fn what_is_no_name_and_no_range_is_refused() {
        for text in [
            "",
            " ",
            "*",
            "*.",
            "a..b",
            "a.*.test",
            "a/8",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.1/8",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/8/8",
            "a@b.test",
            "http://a.test",
            "a.test:80",
            "ä.test",
            "10.0.0.0 /8",
            "127.1",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_is_kept_in_one_spelling() {
        for (text, kept) in [
            (" Example.COM. ", "example.com"),
            ("10.0.0.5/32", "10.0.0.5"),
            ("0:0::/16", "::/16"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(Pattern::parse(text).unwrap().to_string(), kept);
        }
    }
}
