//! The registered domain of a name: what authorities count certificates by.

use std::net::IpAddr;

/// The name or address under which an authority counts a certificate for `identifier`: the label
/// before the public suffix and all that follows; a public suffix itself; an IPv4 address; the /64
/// network of an IPv6 address. A wildcard counts as the name that it is under. Where no list knows
/// the suffix, the last label is one.
#[must_use]
pub fn registered_domain(identifier: &str) -> String {
    match identifier.parse() {
        Ok(IpAddr::V4(address)) => return address.to_string(),
        Ok(IpAddr::V6(address)) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            return format!("{}/64", std::net::Ipv6Addr::from_bits(network));
        }
        Err(_) => {}
    }
    let name = plain(identifier);
    let name = name.strip_prefix("*.").unwrap_or(&name);
    psl::domain_str(name).unwrap_or(name).to_owned()
}

/// The name in the one form in which it is compared: lower case, without the final dot.
pub(super) fn plain(identifier: &str) -> String {
    let name = identifier.strip_suffix('.').unwrap_or(identifier);
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_under_the_label_before_the_public_suffix() {
        for (identifier, domain) in [
            ("example.com", "example.com"),
            ("www.Example.COM.", "example.com"),
            ("*.example.com", "example.com"),
            ("a.b.example.co.uk", "example.co.uk"),
            ("*.co.uk", "co.uk"),
            ("co.uk", "co.uk"),
            // A suffix of the private section: each of its customers counts for itself.
            ("one.github.io", "one.github.io"),
            ("deep.one.github.io", "one.github.io"),
            // The exception of a rule for a wildcard.
            ("www.city.kawasaki.jp", "city.kawasaki.jp"),
            ("a.b.c.kawasaki.jp", "b.c.kawasaki.jp"),
            // As labels are written on the wire.
            ("www.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn"),
            // Nobody's suffix.
            ("db.corp.internal", "corp.internal"),
            ("localhost", "localhost"),
            ("", ""),
        ] {
            assert_eq!(registered_domain(identifier), domain, "{identifier}");
        }
    }

    #[test]
    fn addresses_count_for_themselves_and_those_of_one_ipv6_network_together() {
        for (identifier, domain) in [
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:DB8:1:2::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ] {
            assert_eq!(registered_domain(identifier), domain, "{identifier}");
        }
    }
}
