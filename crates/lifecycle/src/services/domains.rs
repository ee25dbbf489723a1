//! Domains as callers name them, and what they mean here.
//!
//! A name with a final dot is absolute; any other is a subdomain of the metro domain. A single label
//! is such a subdomain with or without the dot, and so is a label with the metro domain after it.

use std::collections::HashSet;

use pki::DnsName;
use store::CertificateRef;

use crate::Error;

/// Most domains of a service, and that one request may name.
pub const MAX_DOMAINS: usize = store::DOMAINS_LIMIT;

/// Labels under the metro domain that the house keeps for itself.
const RESERVED: [&str; 2] = ["www", "api"];

/// A domain to serve, as the caller gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRequest {
    /// Its name: `example.com.` in full, or the label of a subdomain of the metro domain.
    pub name: String,
    /// The certificate to serve it with; the best of the account's if `None`.
    pub certificate: Option<CertificateRef>,
}

/// A domain whose name is well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its full name.
    pub(super) name: DnsName,
    /// Whether it is a subdomain of the metro domain.
    pub(super) is_metro: bool,
    /// The certificate that the caller chose.
    pub(super) certificate: Option<CertificateRef>,
}

/// Reads the domains of one request.
///
/// # Errors
/// As [`read_name`]; [`Error::CertificateNotAllowed`] for a subdomain of the metro domain with a
/// certificate; [`Error::Invalid`] for one that stands there twice, or for too many.
pub(super) fn read(requests: &[DomainRequest], metro: &DnsName) -> Result<Vec<Wanted>, Error> {
    if requests.len() > MAX_DOMAINS {
        return Err(too_many());
    }
    let mut seen = HashSet::with_capacity(requests.len());
    let mut domains = Vec::with_capacity(requests.len());
    for request in requests {
        let (name, is_metro) = read_name(&request.name, metro)?;
        if is_metro && request.certificate.is_some() {
            return Err(Error::CertificateNotAllowed {
                name: name.to_string(),
            });
        }
        if !seen.insert(name.clone()) {
            return Err(Error::invalid(
                "domains",
                format!("domain '{name}' is named twice"),
            ));
        }
        domains.push(Wanted {
            name,
            is_metro,
            certificate: request.certificate.clone(),
        });
    }
    Ok(domains)
}

/// Reads one name: what it is in full, and whether it is a subdomain of the metro domain.
///
/// # Errors
/// [`Error::Invalid`] for what is no name, and for one that is more than one label below the metro
/// domain; [`Error::DomainReserved`].
pub(super) fn read_name(text: &str, metro: &DnsName) -> Result<(DnsName, bool), Error> {
    let bare = text.trim_end_matches('.');
    let lower = bare.to_ascii_lowercase();
    let is_absolute = text.ends_with('.');
    if lower == metro.as_str() {
        return Err(Error::DomainReserved { name: lower });
    }
    let label = if lower.contains('.') {
        lower
            .strip_suffix(metro.as_str())
            .and_then(|rest| rest.strip_suffix('.'))
    } else {
        Some(lower.as_str())
    };
    match label {
        Some(label) if !label.contains('.') => {
            let name = parse(text, &format!("{label}.{metro}"))?;
            if RESERVED.contains(&label) || name.is_wildcard() {
                return Err(Error::DomainReserved {
                    name: name.to_string(),
                });
            }
            Ok((name, true))
        }
        Some(_) => Err(Error::invalid(
            "domains",
            format!("{}: only one label can stand before '{metro}'", shown(text)),
        )),
        None if !is_absolute => Err(Error::invalid(
            "domains",
            format!(
                "{}: without a final dot this is a subdomain of '{metro}', which has only one \
                 label; a name of your own ends in a dot",
                shown(text)
            ),
        )),
        None => Ok((parse(text, &lower)?, false)),
    }
}

/// The full names of domains that are there already. Here the final dot may be missing from an
/// absolute name: what has several labels cannot be a label.
///
/// # Errors
/// [`Error::Invalid`] for too many.
pub(super) fn stored_names(names: &[String], metro: &DnsName) -> Result<Vec<String>, Error> {
    if names.len() > MAX_DOMAINS {
        return Err(too_many());
    }
    let full = |name: &String| {
        let bare = name.trim_end_matches('.').to_ascii_lowercase();
        if bare.contains('.') {
            bare
        } else {
            format!("{bare}.{metro}")
        }
    };
    Ok(names.iter().map(full).collect())
}

/// Whether a stored domain is a subdomain of the metro domain.
pub(super) fn is_metro(name: &str, metro: &DnsName) -> bool {
    name.strip_suffix(metro.as_str())
        .and_then(|rest| rest.strip_suffix('.'))
        .is_some_and(|label| !label.contains('.'))
}

fn too_many() -> Error {
    Error::invalid(
        "domains",
        format!("at most {MAX_DOMAINS} domains can be named in one request"),
    )
}

fn parse(text: &str, name: &str) -> Result<DnsName, Error> {
    let fault = |reason: &str| Error::invalid("domains", format!("{}: {reason}", shown(text)));
    let parsed = DnsName::parse(name).map_err(|error| fault(&error.to_string()))?;
    // Parsing forgives blanks around a name and underscores in it.
    if parsed.as_str() != name || !parsed.is_fully_qualified() {
        return Err(fault("it is not a fully-qualified domain name"));
    }
    Ok(parsed)
}

fn shown(text: &str) -> String {
    let shown: String = text.chars().take(80).collect();
    format!("'{}'", shown.escape_debug())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use store::CertificateId;

    use super::*;

    fn metro() -> DnsName {
        DnsName::parse("metro.internal").unwrap()
    }

    fn request(name: &str) -> DomainRequest {
        DomainRequest {
            name: name.to_owned(),
            certificate: None,
        }
    }

    #[test]
    fn a_final_dot_makes_a_name_absolute() {
        for (given, full) in [
            ("example.com.", "example.com"),
            ("Example.COM..", "example.com"),
            ("*.example.com.", "*.example.com"),
            ("xn--bcher-kva.example.", "xn--bcher-kva.example"),
            ("notmetro.internal.", "notmetro.internal"),
            ("a.notmetro.internal.", "a.notmetro.internal"),
            ("internal.test.", "internal.test"),
        ] {
            let (name, is_metro) = read_name(given, &metro()).unwrap();
            assert_eq!((name.as_str(), is_metro), (full, false), "{given}");
        }
    }

    #[test]
    fn a_single_label_is_a_subdomain_of_the_metro_domain() {
        for given in [
            "my-project",
            "my-project.",
            "My-Project..",
            "my-project.metro.internal",
            "my-project.metro.internal.",
            "my-project.METRO.internal",
        ] {
            let (name, is_metro) = read_name(given, &metro()).unwrap();
            let expected = ("my-project.metro.internal", true);
            assert_eq!((name.as_str(), is_metro), expected, "{given}");
            assert!(super::is_metro(name.as_str(), &metro()));
        }
        assert!(!is_metro("a.b.metro.internal", &metro()));
        assert!(!is_metro("metro.internal", &metro()));
        assert!(!is_metro("example.com", &metro()));
    }

    #[test]
    fn the_house_keeps_some_names_for_itself() {
        for reserved in [
            "www",
            "api.",
            "WWW.metro.internal.",
            "metro.internal",
            "metro.internal.",
        ] {
            let refused = read_name(reserved, &metro());
            assert!(
                matches!(refused, Err(Error::DomainReserved { .. })),
                "{reserved}"
            );
        }
    }

    #[test]
    fn names_that_are_no_domains_are_refused_as_a_fault_of_form() {
        let long = format!("{}.com.", "a".repeat(64));
        for bad in [
            "",
            ".",
            "..",
            "example.com",
            "a.b",
            "a.b.metro.internal.",
            "a.b.metro.internal",
            ".metro.internal.",
            "a..b.",
            "-a.b.",
            "a-.b.",
            "a_b.c.",
            "a_b",
            "a b",
            " a.b.",
            "a.b .",
            "a.*.b.",
            "a*.b.",
            "*.",
            "*",
            "10.0.0.1.",
            "127.1.",
            "exämple.com.",
            "a.b\0.",
            "a/b",
            &long,
        ] {
            let refused = read_name(bad, &metro());
            assert!(refused.is_err(), "{bad:?}");
            let error = refused.unwrap_err();
            let is_form_fault = error.is_form_fault() || bad.starts_with('*');
            assert!(is_form_fault, "{bad:?}: {error}");
        }
    }

    #[test]
    fn a_domain_stands_in_a_request_once_in_whatever_spelling() {
        let twice = [request("example.com."), request("EXAMPLE.com..")];
        assert!(matches!(read(&twice, &metro()), Err(Error::Invalid { .. })));
        let metro_twice = [request("a"), request("a.metro.internal.")];
        assert!(read(&metro_twice, &metro()).is_err());
        let both = [request("example.com."), request("*.example.com.")];
        assert_eq!(read(&both, &metro()).unwrap().len(), 2);
    }

    #[test]
    fn a_stored_name_is_found_in_every_spelling() {
        let given = [
            "Example.com",
            "example.com..",
            "a",
            "a.",
            "a.metro.internal",
        ];
        let full = stored_names(&given.map(str::to_owned), &metro()).unwrap();
        let (own, subdomain) = ("example.com", "a.metro.internal");
        assert_eq!(full, [own, own, subdomain, subdomain, subdomain]);
    }

    #[test]
    fn a_subdomain_of_the_metro_domain_takes_no_certificate() {
        let id = CertificateId::from_uuid(uuid::Uuid::from_bytes([1; 16]));
        let chosen = |name| DomainRequest {
            certificate: Some(CertificateRef::Id(id)),
            ..request(name)
        };
        let refused = read(&[chosen("my-project")], &metro());
        assert!(matches!(refused, Err(Error::CertificateNotAllowed { .. })));
        assert!(read(&[chosen("example.com.")], &metro()).is_ok());
    }

    #[test]
    fn a_request_names_ten_thousand_domains_at_most() {
        let many = |count: usize| {
            let name = |number| request(&format!("d{number}.test."));
            (0..count).map(name).collect::<Vec<_>>()
        };
        assert!(read(&many(MAX_DOMAINS), &metro()).is_ok());
        assert!(read(&many(MAX_DOMAINS + 1), &metro()).is_err());
    }

    proptest! {
        #[test]
        fn reading_never_fails_in_another_way_and_what_was_read_reads_the_same(text in ".{0,40}") {
            if let Ok((name, is_metro)) = read_name(&text, &metro()) {
                let again = read_name(&format!("{name}."), &metro());
                prop_assert_eq!(again.unwrap(), (name, is_metro));
            }
        }

        #[test]
        fn names_made_of_labels_are_read(labels in prop::collection::vec("[a-z][a-z0-9]{0,9}", 2..5)) {
            let text = labels.join(".") + ".";
            let (name, is_metro) = read_name(&text, &metro()).unwrap();
            prop_assert_eq!(format!("{name}."), text);
            prop_assert!(!is_metro);
        }
    }
}
