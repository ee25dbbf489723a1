//! Name constraints on the wire, and whether a name lies within them (RFC 5280 4.2.1.10).

use std::net::IpAddr;

use crate::asn1::{Element, Malformed, Writer, oid, single, tag};
use crate::extension;
use crate::identifier::{DnsName, Identifier};
use crate::profile::{NameConstraints, Subtree};

const EMAIL: u8 = tag::context_primitive(1);
const DNS: u8 = tag::context_primitive(2);
const IP: u8 = tag::context_primitive(7);

impl NameConstraints {
    /// Whether a certificate below may have this name.
    pub fn allow(&self, identifier: &Identifier) -> bool {
        let of_its_kind = |subtree: &&Subtree| subtree.is_about(identifier);
        let mut permitted = self.permitted.iter().filter(of_its_kind).peekable();
        let is_permitted =
            permitted.peek().is_none() || permitted.any(|subtree| subtree.contains(identifier));
        is_permitted
            && !self
                .excluded
                .iter()
                .any(|subtree| subtree.intersects(identifier))
    }

    /// Reads the value of the extension. Subtrees of kinds that are not understood are left out.
    pub(crate) fn read(value: &[u8]) -> Result<Self, Malformed> {
        Self::read_all(value).map(|(constraints, _)| constraints)
    }

    /// Reads the value of the extension, and whether all subtrees are of kinds that are understood.
    pub(crate) fn read_all(value: &[u8]) -> Result<(Self, bool), Malformed> {
        const WHAT: &str = "the name constraints";
        let mut reader = single(value, tag::SEQUENCE, WHAT)?.reader();
        let mut is_complete = true;
        let mut read_subtrees = |number| -> Result<Vec<Subtree>, Malformed> {
            let mut subtrees = Vec::new();
            if let Some(list) = reader.optional(tag::context_constructed(number), WHAT)? {
                let mut list = list.reader();
                while !list.is_empty() {
                    let base = list.sequence(WHAT)?.element(WHAT)?;
                    let subtree = Subtree::read(&base);
                    is_complete &= subtree.is_some();
                    subtrees.extend(subtree);
                }
            }
            Ok(subtrees)
        };
        let constraints = Self {
            permitted: read_subtrees(0)?,
            excluded: read_subtrees(1)?,
        };
        reader.finish(WHAT)?;
        Ok((constraints, is_complete))
    }

    /// Writes the extension, which is always critical; nothing if there are no subtrees.
    pub(crate) fn write(&self, writer: &mut Writer) {
        let Self {
            permitted,
            excluded,
        } = self;
        if permitted.is_empty() && excluded.is_empty() {
            return;
        }
        extension::write(writer, &oid::NAME_CONSTRAINTS, true, |value| {
            value.sequence(|constraints| {
                for (number, subtrees) in [(0, permitted), (1, excluded)] {
                    if !subtrees.is_empty() {
                        constraints.nested(tag::context_constructed(number), |list| {
                            for subtree in subtrees {
                                list.sequence(|item| subtree.write(item));
                            }
                        });
                    }
                }
            });
        });
    }
}

impl Subtree {
    /// Whether the prefix of a network is not longer than its address.
    pub(crate) fn is_well_formed(&self) -> bool {
        match self {
            Self::Dns(name) | Self::EmailHost(name) => !name.is_wildcard(),
            Self::AnyDns => true,
            Self::Network { address, prefix } => *prefix <= address_bits(address),
        }
    }

    fn is_about(&self, identifier: &Identifier) -> bool {
        match (self, identifier) {
            (Self::Dns(_) | Self::AnyDns, Identifier::Dns(_))
            | (Self::EmailHost(_), Identifier::Email(_))
            // RFC 5280 knows addresses of either length as one kind of name: where only IPv4 is
            // permitted, no IPv6 address is.
            | (Self::Network { .. }, Identifier::Ip(_)) => true,
            _ => false,
        }
    }

    /// Whether all that `identifier` stands for lies within.
    pub fn contains(&self, identifier: &Identifier) -> bool {
        match (self, identifier) {
            (Self::AnyDns, Identifier::Dns(_)) => true,
            (Self::Dns(base), Identifier::Dns(name)) => {
                is_at_or_below(name.without_wildcard(), base.as_str())
            }
            (Self::EmailHost(host), Identifier::Email(address)) => address
                .as_str()
                .rsplit_once('@')
                .is_some_and(|(_, domain)| domain == host.as_str()),
            (Self::Network { address, prefix }, Identifier::Ip(other)) => {
                address.is_ipv4() == other.is_ipv4()
                    && masked(address, *prefix) == masked(other, *prefix)
            }
            _ => false,
        }
    }

    /// Whether something that `identifier` stands for lies within: `*.example.com` also stands for
    /// names at or below an excluded `a.example.com`.
    fn intersects(&self, identifier: &Identifier) -> bool {
        let by_wildcard = match (self, identifier) {
            (Self::Dns(base), Identifier::Dns(name)) if name.is_wildcard() => base
                .as_str()
                .split_once('.')
                .is_some_and(|(_, parent)| parent == name.without_wildcard()),
            _ => false,
        };
        by_wildcard || self.contains(identifier)
    }

    fn read(base: &Element<'_>) -> Option<Self> {
        let name = || DnsName::parse(std::str::from_utf8(base.contents).ok()?).ok();
        match base.tag {
            DNS if base.contents.is_empty() => Some(Self::AnyDns),
            DNS => name().map(Self::Dns),
            EMAIL => name().map(Self::EmailHost),
            IP => {
                let (address, mask) = base.contents.split_at_checked(base.contents.len() / 2)?;
                let prefix: u32 = mask.iter().map(|octet| octet.leading_ones()).sum();
                let address = match address.len() {
                    4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
                    16 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
                    _ => return None,
                };
                let prefix = u8::try_from(prefix).ok()?;
                // A mask with holes is no prefix; RFC 5280 takes CIDR masks only.
                (mask == mask_octets(&address, prefix)).then_some(Self::Network { address, prefix })
            }
            _ => None,
        }
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Dns(name) => writer.element(DNS, name.as_str().as_bytes()),
            Self::AnyDns => writer.element(DNS, &[]),
            Self::EmailHost(name) => writer.element(EMAIL, name.as_str().as_bytes()),
            Self::Network { address, prefix } => {
                let mut octets = masked(address, *prefix);
                octets.extend(mask_octets(address, *prefix));
                writer.element(IP, &octets);
            }
        }
    }
}

fn is_at_or_below(name: &str, base: &str) -> bool {
    name.strip_suffix(base)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn address_bits(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: &IpAddr, prefix: u8) -> Vec<u8> {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    octets
        .into_iter()
        .zip(mask_octets(address, prefix))
        .map(|(octet, mask)| octet & mask)
        .collect()
}

fn mask_octets(address: &IpAddr, prefix: u8) -> Vec<u8> {
    (0..address_bits(address) / 8)
        .map(|index| {
            let ones = prefix.saturating_sub(index * 8).min(8);
            u8::MAX.checked_shl(u32::from(8 - ones)).unwrap_or(0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;
    use crate::asn1::Reader;

    fn dns(text: &str) -> Subtree {
        Subtree::Dns(DnsName::parse(text).unwrap())
    }

    fn network(address: &str, prefix: u8) -> Subtree {
        Subtree::Network {
            address: address.parse().unwrap(),
            prefix,
        }
    }

    fn allows(constraints: &NameConstraints, host: &str) -> bool {
        constraints.allow(&Identifier::parse_host(host).unwrap())
    }

    #[test]
    fn permitted_names_are_at_or_below_the_base() {
        let constraints = NameConstraints {
            permitted: vec![dns("example.com"), network("10.0.0.0", 8)],
            excluded: vec![dns("secret.example.com")],
        };
        for host in [
            "example.com",
            "a.b.example.com",
            "*.b.example.com",
            "10.1.2.3",
        ] {
            assert!(allows(&constraints, host), "{host}");
        }
        for host in [
            "example.org",
            "badexample.com",
            "com",
            "11.1.2.3",
            "2001:db8::1",
            "x.secret.example.com",
            "*.example.com",
        ] {
            assert!(!allows(&constraints, host), "{host}");
        }
    }

    #[test]
    fn all_of_a_kind_can_be_excluded() {
        let constraints = NameConstraints {
            permitted: vec![],
            excluded: vec![Subtree::AnyDns, network("::", 0)],
        };
        assert!(!allows(&constraints, "example.com"));
        assert!(!allows(&constraints, "::1"));
        assert!(allows(&constraints, "192.0.2.1"));
    }

    #[test]
    fn masks_follow_the_prefix() {
        let address = "192.0.2.255".parse().unwrap();
        assert_eq!(mask_octets(&address, 0), [0, 0, 0, 0]);
        assert_eq!(mask_octets(&address, 20), [255, 255, 0xf0, 0]);
        assert_eq!(masked(&address, 32), [192, 0, 2, 255]);
        assert!(!network("192.0.2.0", 33).is_well_formed());
    }

    proptest! {
        #[test]
        fn constraints_read_back(prefix4 in 0_u8..=32, prefix6 in 0_u8..=128) {
            let constraints = NameConstraints {
                permitted: vec![dns("example.com"), network("0.0.0.0", prefix4), network("::", prefix6)],
                excluded: vec![Subtree::AnyDns, Subtree::EmailHost(DnsName::parse("example.com").unwrap())],
            };
            let mut writer = Writer::new();
            writer.sequence(|list| constraints.write(list));
            let bytes = writer.finish();
            let all = extension::read_all(&mut Reader::new(&bytes), "test").unwrap();
            let extension = all.first().unwrap();
            prop_assert!(extension.critical);
            prop_assert_eq!(NameConstraints::read(extension.value), Ok(constraints));
        }

        #[test]
        fn reading_never_panics(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = NameConstraints::read(&value);
        }
    }
}
