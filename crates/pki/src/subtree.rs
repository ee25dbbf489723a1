//! How people write sets of names: `example.com`, `10.0.0.0/8`, `@example.com`, `*`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::identifier::DnsName;
use crate::profile::Subtree;

/// The text names no set of names.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "'{}' is no set of names; write example.com (it and all below), *, 10.0.0.0/8, 2001:db8::/32, an \
     IP address, or @example.com (e-mail addresses there)",
    .text.escape_debug()
)]
pub struct SubtreeError {
    text: String,
}

/// Reads what `Display` writes; a single address stands for the network of it alone, and a dot before a
/// domain changes nothing.
impl FromStr for Subtree {
    type Err = SubtreeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        read(text).ok_or_else(|| SubtreeError {
            text: text.chars().take(100).collect(),
        })
    }
}

impl fmt::Display for Subtree {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => name.fmt(formatter),
            Self::AnyDns => formatter.write_str("*"),
            Self::EmailHost(host) => write!(formatter, "@{host}"),
            Self::Network { address, prefix } => write!(formatter, "{address}/{prefix}"),
        }
    }
}

fn read(text: &str) -> Option<Subtree> {
    if text == "*" {
        return Some(Subtree::AnyDns);
    }
    if let Some(host) = text.strip_prefix('@') {
        return domain(host).map(Subtree::EmailHost);
    }
    if let Some((address, prefix)) = text.split_once('/') {
        let (address, prefix) = (address.parse().ok()?, prefix.parse().ok()?);
        let network = Subtree::Network { address, prefix };
        return network.is_well_formed().then_some(network);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        return Some(Subtree::Network { address, prefix });
    }
    domain(text.strip_prefix('.').unwrap_or(text)).map(Subtree::Dns)
}

fn domain(text: &str) -> Option<DnsName> {
    let name = DnsName::parse(text).ok()?;
    (!name.is_wildcard()).then_some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::Identifier;

    #[test]
    fn each_kind_is_read_and_written_back() {
        for (text, written) in [
            ("example.com", "example.com"),
            (" .Example.com. ", "example.com"),
            ("localhost", "localhost"),
            ("*", "*"),
            ("@example.com", "@example.com"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("::1", "::1/128"),
        ] {
            let subtree: Subtree = text.parse().unwrap();
            assert_eq!(subtree.to_string(), written);
            assert_eq!(written.parse(), Ok(subtree));
        }
    }

    #[test]
    fn what_is_no_set_is_refused_with_what_would_be_one() {
        for text in [
            "",
            "@",
            "..",
            "*.example.com",
            "@*.example.com",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/-1",
            "/8",
            "a b",
            "a/8",
            "user@example.com",
        ] {
            let error = text.parse::<Subtree>().unwrap_err().to_string();
            assert!(error.contains("write example.com"), "{text}: {error}");
        }
    }

    #[test]
    fn a_set_contains_what_lies_in_it_and_nothing_of_another_kind() {
        let contains = |set: &str, host: &str| {
            let set: Subtree = set.parse().unwrap();
            set.contains(&Identifier::parse_host(host).unwrap())
        };
        assert!(contains("example.com", "example.com"));
        assert!(contains("example.com", "*.a.example.com"));
        assert!(!contains("example.com", "badexample.com"));
        assert!(contains("*", "anything.test"));
        assert!(!contains("*", "10.1.2.3"));
        assert!(contains("10.1.2.3/8", "10.200.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(!contains("0.0.0.0/0", "::1"));
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".{0,80}") {
            if let Ok(subtree) = text.parse::<Subtree>() {
                prop_assert_eq!(subtree.to_string().parse(), Ok(subtree));
            }
        }
    }
}
