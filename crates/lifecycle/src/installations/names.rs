//! Server names: what people write of the names that a certificate on a service is for.
//!
//! Their spelling and order are kept, because clients compare what they sent with what comes back.

use std::collections::HashSet;

use pki::{Certificate, DnsName, Identifier};

use crate::Error;

/// Most names of a certificate that is obtained; directories take no more.
const MAX_OBTAINED: usize = 100;
/// Most names of a certificate that was brought along.
const MAX_UPLOADED: usize = 1_000;

/// A name, as it was written and as it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerName {
    pub(super) written: String,
    pub(super) name: DnsName,
}

/// Reads names that are separated by commas; repeated ones are dropped.
///
/// # Errors
/// [`Error::Invalid`] for what is no DNS name, or for too many.
pub(super) fn read(text: &str) -> Result<Vec<ServerName>, Error> {
    let parts = text.split(',').map(str::trim);
    of_parts(parts.filter(|part| !part.is_empty()))
}

/// The names of a list, see [`read`].
pub(super) fn of_parts<'a>(parts: impl Iterator<Item = &'a str>) -> Result<Vec<ServerName>, Error> {
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for part in parts {
        let name = DnsName::parse(part).map_err(|error| invalid(error.to_string()))?;
        if !seen.insert(name.clone()) {
            continue;
        }
        if names.len() == MAX_UPLOADED {
            return Err(invalid(format!(
                "at most {MAX_UPLOADED} names can be given"
            )));
        }
        names.push(ServerName {
            written: part.to_owned(),
            name,
        });
    }
    Ok(names)
}

/// The names of a list that was accepted before, as far as they are DNS names.
pub(super) fn known(parts: &[String]) -> Vec<ServerName> {
    let names = parts.iter().filter_map(|written| {
        let name = DnsName::parse(written).ok()?;
        let written = written.clone();
        Some(ServerName { written, name })
    });
    names.collect()
}

/// The DNS names of a certificate.
///
/// # Errors
/// [`Error::Invalid`] for too many.
pub(super) fn of_leaf(leaf: &Certificate) -> Result<Vec<ServerName>, Error> {
    let names = leaf.identifiers().into_iter();
    let names: Vec<String> = names
        .filter_map(|name| match name {
            Identifier::Dns(name) => Some(name.to_string()),
            _ => None,
        })
        .collect();
    of_parts(names.iter().map(String::as_str))
}

/// What has to be obtained for these names: themselves, and with `wildcard` also what is directly
/// below each.
///
/// # Errors
/// [`Error::Invalid`] for a wildcard that was not asked for, a name that nobody issues for, or too
/// many of them.
pub(super) fn obtained(names: &[ServerName], wildcard: bool) -> Result<Vec<DnsName>, Error> {
    if names.is_empty() {
        return Err(invalid("name at least one domain"));
    }
    let mut seen = HashSet::new();
    let mut obtained = Vec::new();
    for ServerName { written, name } in names {
        if !name.is_fully_qualified() {
            let reason = format!(
                "'{}' is no domain name of the public DNS",
                written.escape_debug()
            );
            return Err(invalid(reason));
        }
        if name.is_wildcard() && !wildcard {
            let reason = format!("'{name}' is a wildcard; set wildcard to true");
            return Err(invalid(reason));
        }
        let below = (wildcard && !name.is_wildcard()).then(|| DnsName::parse(&format!("*.{name}")));
        let below = below.transpose();
        let below = below.map_err(|error| invalid(error.to_string()))?;
        for name in std::iter::once(name.clone()).chain(below) {
            if seen.insert(name.clone()) {
                obtained.push(name);
            }
        }
    }
    if obtained.len() > MAX_OBTAINED {
        let reason = format!("a certificate covers at most {MAX_OBTAINED} names; make several");
        return Err(invalid(reason));
    }
    Ok(obtained)
}

/// Those of the names that a certificate covers and that a service can have, and those that it
/// cannot.
pub(super) fn split(names: &[ServerName], leaf: &Certificate) -> (Vec<DnsName>, Vec<String>) {
    let (mut covered, mut others) = (Vec::new(), Vec::new());
    for ServerName { written, name } in names {
        if leaf.covers(name) && name.is_fully_qualified() {
            covered.push(name.clone());
        } else {
            others.push(written.clone());
        }
    }
    (covered, others)
}

/// Those of the names that were not there `before`.
pub(super) fn added<'a>(before: &[String], names: &'a [ServerName]) -> Vec<&'a ServerName> {
    let before = before.iter().filter_map(|name| DnsName::parse(name).ok());
    let before: HashSet<DnsName> = before.collect();
    let added = names.iter().filter(|name| !before.contains(&name.name));
    added.collect()
}

/// As they were written.
pub(super) fn written(names: &[ServerName]) -> Vec<String> {
    names.iter().map(|name| name.written.clone()).collect()
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::invalid("server_names", reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spelling_and_order_are_kept_blanks_and_repetitions_are_not() {
        let names = read(" b.Example , a.example,B.EXAMPLE.,,\ta.example").unwrap();
        assert_eq!(written(&names), ["b.Example", "a.example"]);
        assert_eq!(names[0].name.as_str(), "b.example");
        assert!(read("").unwrap().is_empty());
        assert!(read(" , ").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "a b.example",
            "10.0.0.1",
            "exämple.com",
            "a..b",
            "<b>",
            "a.example;b.example",
        ] {
            let refused = read(bad);
            let is_named = matches!(
                refused,
                Err(Error::Invalid {
                    field: "server_names",
                    ..
                })
            );
            assert!(is_named, "{bad}");
        }
        let many: String = (0..=MAX_UPLOADED)
            .map(|number| format!("n{number}.example,"))
            .collect();
        assert!(read(&many).is_err());
    }

    #[test]
    fn a_wildcard_is_obtained_beside_each_plain_name_and_as_it_was_written() {
        let names = read("a.example,*.b.example,*.a.example").unwrap();
        let obtained = |wildcard| obtained(&names, wildcard);
        let texts: Vec<String> = obtained(true)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(texts, ["a.example", "*.a.example", "*.b.example"]);
        assert!(obtained(false).is_err());
    }

    #[test]
    fn nobody_obtains_too_many_names_or_such_as_have_no_domain() {
        let names = |count: usize| {
            let list: String = (0..count)
                .map(|number| format!("n{number}.example,"))
                .collect();
            read(&list).unwrap()
        };
        assert!(obtained(&names(100), false).is_ok());
        assert!(obtained(&names(101), false).is_err());
        assert!(obtained(&names(50), true).is_ok());
        assert!(obtained(&names(51), true).is_err());
        for bad in ["localhost", "a_b.example", "_x.example"] {
            assert!(obtained(&read(bad).unwrap(), false).is_err(), "{bad}");
        }
        assert!(obtained(&[], false).is_err());
    }

    proptest! {
        #[test]
        fn what_was_read_reads_the_same_again(text in ".{0,80}") {
            if let Ok(names) = read(&text) {
                let again = read(&written(&names).join(",")).unwrap();
                prop_assert_eq!(again, names);
            }
        }
    }
}
