//! Name constraints as operators write them: `example.com`, `10.0.0.0/8`, `@example.com`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pki::{NameConstraints, Subtree};

use crate::Error;

/// Most subtrees of an authority.
const MOST: usize = 100;

/// Reads the names that an authority may certify, and those that it must not. Where something is
/// permitted, DNS names and addresses are refused that nothing was said of: RFC 5280 would leave
/// all names of a kind free of which none is permitted.
///
/// # Errors
/// [`Error::Invalid`] naming the entry.
pub(super) fn read(
    permitted: &[String],
    excluded: &[String],
) -> Result<Option<NameConstraints>, Error> {
    if permitted.is_empty() && excluded.is_empty() {
        return Ok(None);
    }
    if permitted.len() + excluded.len() > MOST {
        let reason = format!("an authority has at most {MOST} name constraints");
        return Err(Error::invalid("permit", reason));
    }
    let read_all = |entries: &[String], field| {
        let entries = entries.iter().map(|entry| entry.parse::<Subtree>());
        let entries = entries.collect::<Result<Vec<_>, _>>();
        entries.map_err(|error| Error::invalid(field, error.to_string()))
    };
    let permitted = read_all(permitted, "permit")?;
    let mut excluded = read_all(excluded, "exclude")?;
    if !permitted.is_empty() {
        let is_named = |is_one: fn(&Subtree) -> bool| permitted.iter().any(is_one);
        if !is_named(|one| matches!(one, Subtree::Dns(_) | Subtree::AnyDns)) {
            excluded.push(Subtree::AnyDns);
        }
        if !is_named(|one| matches!(one, Subtree::Network { address, .. } if address.is_ipv4())) {
            excluded.push(all(Ipv4Addr::UNSPECIFIED.into()));
        }
        if !is_named(|one| matches!(one, Subtree::Network { address, .. } if address.is_ipv6())) {
            excluded.push(all(Ipv6Addr::UNSPECIFIED.into()));
        }
    }
    Ok(Some(NameConstraints {
        permitted,
        excluded,
    }))
}

fn all(address: IpAddr) -> Subtree {
    Subtree::Network { address, prefix: 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use pki::Identifier;

    use super::*;

    fn constraints(permitted: &[&str], excluded: &[&str]) -> NameConstraints {
        let owned = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
        let (permitted, excluded): (Vec<_>, Vec<_>) = (owned(permitted), owned(excluded));
        read(&permitted, &excluded).unwrap().unwrap()
    }

    fn allows(constraints: &NameConstraints, host: &str) -> bool {
        constraints.allow(&Identifier::parse_host(host).unwrap())
    }

    #[test]
    fn a_kind_of_which_nothing_is_permitted_is_refused() {
        let domains = constraints(&["example.com"], &["secret.example.com"]);
        assert!(allows(&domains, "a.example.com"));
        for host in ["example.org", "10.0.0.1", "::1", "x.secret.example.com"] {
            assert!(!allows(&domains, host), "{host}");
        }
        let networks = constraints(&["10.0.0.0/8", "::1"], &[]);
        assert!(allows(&networks, "10.1.2.3") && allows(&networks, "::1"));
        for host in ["example.com", "11.0.0.1", "::2"] {
            assert!(!allows(&networks, host), "{host}");
        }
        let excluded = constraints(&[], &["*"]);
        assert!(!allows(&excluded, "example.com") && allows(&excluded, "192.0.2.1"));
    }

    #[test]
    fn what_is_no_constraint_is_quoted() {
        for wrong in [
            "*.example.com",
            "10.0.0.0/33",
            "10.0.0.0/x",
            "",
            "a b",
            "@",
            "::/129",
        ] {
            let refused = read(&[wrong.to_owned()], &[]).unwrap_err();
            assert!(refused.to_string().contains(wrong), "{refused}");
        }
        assert_eq!(read(&[], &[]).unwrap(), None);
    }
}
