//! Which names of an order need a proof of control over them. Nothing can be proven yet, so while
//! the operator demands proof, whatever needs one is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pki::Identifier;

use crate::Error;

/// Refuses an order that would have to prove something.
pub(super) fn require_exempt(identifiers: &[Identifier]) -> Result<(), Error> {
    match identifiers.iter().find(|identifier| !is_exempt(identifier)) {
        None => Ok(()),
        Some(identifier) => Err(Error::Unsupported {
            reason: format!(
                "this server demands proof of control over '{identifier}', and challenges are not \
                 available in this version"
            ),
        }),
    }
}

/// These names mean every machine to itself, so nobody can prove more. Other loopback addresses are
/// not exempt. There is no challenge for e-mail addresses; whether they are allowed is a setting.
fn is_exempt(identifier: &Identifier) -> bool {
    match identifier {
        Identifier::Dns(name) => name.as_str() == "localhost",
        Identifier::Ip(IpAddr::V4(address)) => *address == Ipv4Addr::LOCALHOST,
        Identifier::Ip(IpAddr::V6(address)) => *address == Ipv6Addr::LOCALHOST,
        Identifier::Email(_) => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::parse_identifiers;

    fn refused(domains: &[&str]) -> bool {
        let identifiers = parse_identifiers(domains.iter().copied(), [], []).unwrap();
        require_exempt(&identifiers).is_err()
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
            assert!(!refused(&[exempt]), "{exempt}");
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
            assert!(refused(&[other]), "{other}");
            assert!(refused(&["localhost", other]), "{other}");
        }
    }
}
