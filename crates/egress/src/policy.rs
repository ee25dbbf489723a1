//! Which addresses the house connects to on behalf of others.
//!
//! An address given by a tenant can point at what only this machine or its network may reach: the
//! house's own database, the cloud's metadata service. The policy is pure; whoever connects asks it
//! about the very address that the connection goes to, after names were resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata and control services of clouds that are outside of the link-local ranges: Alibaba,
/// Azure, Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// The same of Amazon and Google.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// What may be connected to. Whatever the policy, unspecified, multicast, broadcast, reserved and
/// link-local addresses and the metadata services of clouds never may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EgressPolicy {
    /// Whether private networks may be reached (RFC 1918, RFC 4193, RFC 6598).
    pub private: bool,
    /// Whether this machine itself may be reached.
    pub loopback: bool,
}

impl EgressPolicy {
    /// Public addresses only: for what foreign parties name, such as an issuer's OCSP responder.
    pub const PUBLIC: Self = Self {
        private: false,
        loopback: false,
    };

    /// Public and private addresses, and this machine for administrators: for backends.
    pub const BACKENDS: Self = Self {
        private: true,
        loopback: true,
    };

    /// This policy for what an account named: only administrators reach this machine itself.
    #[must_use]
    pub const fn for_account(self, is_administrator: bool) -> Self {
        Self {
            loopback: self.loopback && is_administrator,
            ..self
        }
    }

    /// Whether a connection to `address` is allowed.
    ///
    /// # Errors
    /// What kind of address it is that may not be connected to.
    pub fn check(self, address: IpAddr) -> Result<(), &'static str> {
        match address {
            IpAddr::V4(address) => self.check_v4(address),
            IpAddr::V6(address) if is_translated_locally(address) => self.check_translated(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(embedded) => self.check_v4(embedded),
                None => self.check_v6(address),
            },
        }
    }

    /// Which part of an address the translator of a network reads is its operator's choice: none of
    /// them may lead where no connection may. At the end it is nearly always. Elsewhere, bits that
    /// are nobody's address are taken for part of the operator's prefix.
    fn check_translated(self, address: Ipv6Addr) -> Result<(), &'static str> {
        let [_, _, _, _, _, _, a, b, _, d, e, f, g, h, i, j] = address.octets();
        self.check_v4(Ipv4Addr::new(g, h, i, j))?;
        // Prefixes of 48, 56 and 64 bits; the octet at bit 64 is left out.
        for [first, second, third, fourth] in [[a, b, d, e], [b, d, e, f], [d, e, f, g]] {
            if (1..240).contains(&first) {
                self.check_v4(Ipv4Addr::new(first, second, third, fourth))?;
            }
        }
        Ok(())
    }

    fn check_v4(self, address: Ipv4Addr) -> Result<(), &'static str> {
        let [first, second, ..] = address.octets();
        if METADATA_V4.contains(&address) {
            Err("it is the metadata service of a cloud")
        } else if first == 0 {
            Err("it is an unspecified address")
        } else if address.is_link_local() {
            Err("it is a link-local address")
        } else if address.is_multicast() {
            Err("it is a multicast address")
        } else if first >= 240 {
            Err("it is a broadcast or reserved address")
        } else if address.is_loopback() {
            self.check_loopback()
        } else if address.is_private() || (first == 100 && second & 0xc0 == 64) {
            self.check_private()
        } else {
            Ok(())
        }
    }

    fn check_v6(self, address: Ipv6Addr) -> Result<(), &'static str> {
        let [first, second, ..] = address.segments();
        if METADATA_V6.contains(&address) {
            Err("it is the metadata service of a cloud")
        } else if address.is_unspecified() {
            Err("it is an unspecified address")
        } else if address.is_multicast() {
            Err("it is a multicast address")
        } else if first & 0xffc0 == 0xfe80 {
            Err("it is a link-local address")
        } else if address.is_loopback() {
            self.check_loopback()
        } else if first == 0x2001 && second == 0 {
            // Where a Teredo address leads is hidden in it (RFC 4380 section 4).
            Err("it is a Teredo address")
        } else if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 {
            self.check_private()
        } else {
            Ok(())
        }
    }

    fn check_loopback(self) -> Result<(), &'static str> {
        if self.loopback {
            Ok(())
        } else {
            Err("it is a loopback address")
        }
    }

    fn check_private(self) -> Result<(), &'static str> {
        if self.private {
            Ok(())
        } else {
            Err("it is a private address")
        }
    }
}

/// Whether an address is in the block that networks use for translation of their own
/// (`64:ff9b:1::/48`, RFC 8215).
fn is_translated_locally(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x64, 0xff9b, 1, ..])
}

/// The IPv4 address that an IPv6 address stands for: mapped or compatible (RFC 4291 section 2.5.5),
/// NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| {
        let [first, second] = high.to_be_bytes();
        let [third, fourth] = low.to_be_bytes();
        Ipv4Addr::new(first, second, third, fourth)
    };
    match address.segments() {
        // `::` and `::1` are what they say.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(policy: EgressPolicy, address: &str) -> bool {
        policy.check(address.parse().unwrap()).is_ok()
    }

    const TENANT: EgressPolicy = EgressPolicy::BACKENDS.for_account(false);

    #[test]
    fn nobody_reaches_addresses_that_are_no_backends() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:0.0.0.0",
            "::ffff:169.254.169.254",
            "::ffff:224.0.0.1",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2001:0:1234::1",
            // Metadata services where a translator may look: at the end, and behind each prefix.
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:fffe::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00:808:808",
            "64:ff9b:1:a9:fe:a9fe:808:808",
            "64:ff9b:1::a9:fea9:fe08:808",
        ] {
            assert!(!allowed(EgressPolicy::BACKENDS, address), "{address}");
        }
    }

    #[test]
    fn only_administrators_reach_this_machine() {
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::",
            "64:ff9b:1::127.0.0.1",
            "64:ff9b:1:fffe::127.0.0.1",
        ] {
            assert!(!allowed(TENANT, address), "{address}");
            let administrator = EgressPolicy::BACKENDS.for_account(true);
            assert!(allowed(administrator, address), "{address}");
        }
        let never = EgressPolicy::PUBLIC.for_account(true);
        assert!(!allowed(never, "127.0.0.1"));
    }

    #[test]
    fn private_networks_are_for_backends_and_public_ones_for_all() {
        for address in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.254",
            "192.168.1.1",
            "100.64.0.1",
            "fd12:3456::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "2002:a00:1::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
        ] {
            assert!(allowed(TENANT, address), "{address}");
            assert!(!allowed(EgressPolicy::PUBLIC, address), "{address}");
        }
        for address in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.169.0.1",
            "2606:4700::1",
            "2001:4860::8888",
            "::ffff:8.8.8.8",
            "2002:808:808::1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::8.8.8.8",
            "64:ff9b:1:fffe::8.8.8.8",
        ] {
            assert!(allowed(TENANT, address), "{address}");
            assert!(allowed(EgressPolicy::PUBLIC, address), "{address}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_ipv4_address_is_judged_alike_in_its_ipv6_forms(bits: u32, private: bool, loopback: bool) {
            let policy = EgressPolicy { private, loopback };
            let address = Ipv4Addr::from(bits);
            let verdict = policy.check(IpAddr::V4(address));
            let mapped = policy.check(IpAddr::V6(address.to_ipv6_mapped()));
            proptest::prop_assert_eq!(verdict, mapped);
        }

        #[test]
        fn a_wider_policy_never_refuses_more(bits: u128, private: bool) {
            let address = IpAddr::V6(Ipv6Addr::from(bits));
            let narrow = EgressPolicy { private, loopback: false }.check(address);
            let wide = EgressPolicy { private: true, loopback: true }.check(address);
            proptest::prop_assert!(narrow.is_err() || wide.is_ok());
        }
    }
}
