//! What certificates under a private key are about: which texts are taken, and what comes of them in
//! a certificate or a request that is made here.

use std::net::IpAddr;

use pki::{DistinguishedName, DnsName, Identifier, SubjectPart};
use store::{Certificate, CertificateLabel, LabelledCertificate};

use super::{MAX_NAME, check_optional_text, check_text};
use crate::Error;

/// Longest common name, in characters (X.520).
const MAX_COMMON_NAME: usize = 64;
/// Longest of the other parts, in characters.
const MAX_PART: usize = 128;

/// The same label in the form that is kept.
///
/// # Errors
/// [`Error::Invalid`], [`Error::TooLong`].
pub(super) fn checked(label: CertificateLabel) -> Result<CertificateLabel, Error> {
    check_text("name", &label.name, MAX_NAME)?;
    check_text("common_name", &label.common_name, MAX_COMMON_NAME)?;
    for (field, text) in [
        ("organization_name", &label.organization_name),
        ("organization_unit", &label.organization_unit),
        ("locality", &label.locality),
        ("state_province", &label.state_province),
        ("email", &label.email),
    ] {
        check_optional_text(field, text, MAX_PART)?;
    }
    let country = &label.country_code;
    let is_code = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !country.is_empty() && !is_code {
        let reason = "country_code must be a code of two letters";
        return Err(Error::invalid("country_code", reason));
    }
    if !label.email.is_empty() && !is_address(&label.email) {
        let reason = "email must be an address in ASCII, with one @";
        return Err(Error::invalid("email", reason));
    }
    Ok(CertificateLabel {
        country_code: country.to_ascii_uppercase(),
        ..label
    })
}

/// The subject of what is made here for a certificate.
///
/// # Errors
/// [`Error::Invalid`] for a text that no subject can hold.
pub(super) fn subject_of(known: &LabelledCertificate) -> Result<DistinguishedName, Error> {
    match &known.label {
        Some(label) => subject_of_label(label),
        None => {
            let common_name = common_name_of(&known.certificate);
            named([(SubjectPart::CommonName, common_name.as_str())])
        }
    }
}

/// The subject of a certificate that is added with this label.
///
/// # Errors
/// [`Error::Invalid`] for a text that no subject can hold.
pub(super) fn subject_of_label(label: &CertificateLabel) -> Result<DistinguishedName, Error> {
    named([
        (SubjectPart::Country, label.country_code.as_str()),
        (SubjectPart::Province, &label.state_province),
        (SubjectPart::Locality, &label.locality),
        (SubjectPart::Organization, &label.organization_name),
        (SubjectPart::OrganizationalUnit, &label.organization_unit),
        (SubjectPart::CommonName, &label.common_name),
        (SubjectPart::Email, &label.email),
    ])
}

/// The names of what is made here for a certificate: that of its label, or all that it covers.
pub(super) fn identifiers_of(known: &LabelledCertificate) -> Vec<Identifier> {
    if let Some(label) = &known.label {
        return identifier_of(&label.common_name).into_iter().collect();
    }
    let names = known.certificate.identifiers.iter();
    let mut identifiers: Vec<Identifier> = names.filter_map(|name| identifier_of(name)).collect();
    if identifiers.is_empty() {
        identifiers.extend(identifier_of(&known.certificate.common_name));
    }
    identifiers
}

/// A host's name or address; nothing for any other text.
pub(super) fn identifier_of(text: &str) -> Option<Identifier> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Identifier::Ip(address));
    }
    DnsName::parse(text).ok().map(Identifier::Dns)
}

/// The common name to list a certificate under that was to have the name `wanted`. One that could be
/// a domain's is kept only if the leaf covers it: domains find their certificates by it.
pub(super) fn listed_as(leaf: &pki::Certificate, wanted: &str) -> String {
    let Ok(name) = DnsName::parse(wanted) else {
        return wanted.to_owned();
    };
    if leaf.covers(&name) {
        return name.to_string();
    }
    let covered = leaf.identifiers().into_iter().find_map(|name| match name {
        Identifier::Dns(name) => Some(name.to_string()),
        _ => None,
    });
    let stated = || {
        let stated = leaf.common_name()?;
        check_text("common_name", &stated, MAX_NAME).ok()?;
        Some(stated)
    };
    covered
        .or_else(stated)
        .unwrap_or_else(|| leaf.serial().to_hex())
}

fn named<const N: usize>(parts: [(SubjectPart, &str); N]) -> Result<DistinguishedName, Error> {
    DistinguishedName::from_parts(parts)
        .map_err(|error| Error::invalid("subject", error.to_string()))
}

/// The common name of a certificate, or else its identifier: a subject has room for both.
fn common_name_of(certificate: &Certificate) -> String {
    let common_name = &certificate.common_name;
    match check_text("common_name", common_name, MAX_COMMON_NAME) {
        Ok(()) => common_name.clone(),
        Err(_) => certificate.id.to_string(),
    }
}

fn is_address(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'@')
    };
    text.split_once('@')
        .is_some_and(|(local, host)| is_part(local) && is_part(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> CertificateLabel {
        CertificateLabel {
            name: "c".to_owned(),
            common_name: "a.test".to_owned(),
            ..CertificateLabel::default()
        }
    }

    #[test]
    fn texts_out_of_bounds_are_refused() {
        let with = |change: fn(&mut CertificateLabel, String), text: &str| {
            let mut label = label();
            change(&mut label, text.to_owned());
            checked(label)
        };
        let name: fn(&mut CertificateLabel, String) = |label, text| label.name = text;
        let common_name: fn(&mut CertificateLabel, String) = |label, text| label.common_name = text;
        let town: fn(&mut CertificateLabel, String) = |label, text| label.locality = text;
        let email: fn(&mut CertificateLabel, String) = |label, text| label.email = text;
        let country: fn(&mut CertificateLabel, String) = |label, text| label.country_code = text;
        for (change, good, bad) in [
            (name, "ü".repeat(255), "ü".repeat(256)),
            (name, "a/b".to_owned(), String::new()),
            (common_name, "x".repeat(64), "x".repeat(65)),
            (common_name, "Jane Doe".to_owned(), String::new()),
            (town, "x".repeat(128), "x".repeat(129)),
            (town, String::new(), "a\nb".to_owned()),
            (email, "a@b".to_owned(), "a".to_owned()),
            (email, String::new(), "a@b@c".to_owned()),
            (email, "ab@c.d".to_owned(), "ü@b".to_owned()),
            (email, "ab@c.d".to_owned(), "a b@c".to_owned()),
            (email, "ab@c.d".to_owned(), "@".to_owned()),
            (country, "de".to_owned(), "GER".to_owned()),
            (country, String::new(), "D1".to_owned()),
            (country, "DE".to_owned(), "ü".to_owned()),
        ] {
            assert!(with(change, &good).is_ok(), "{good}");
            assert!(with(change, &bad).is_err(), "{bad}");
        }
        assert_eq!(with(country, "de").unwrap().country_code, "DE");
    }

    #[test]
    fn hosts_and_addresses_become_names_and_other_texts_do_not() {
        let shown = |text: &str| identifier_of(text).map(|name| name.to_string());
        assert_eq!(shown("A.test").as_deref(), Some("a.test"));
        assert_eq!(shown("*.a.test").as_deref(), Some("*.a.test"));
        assert_eq!(shown("::1").as_deref(), Some("::1"));
        assert_eq!(shown("Jane Doe"), None);
        assert_eq!(shown("a@b.test"), None);
    }

    #[test]
    fn the_parts_of_a_subject_stand_from_country_to_address() {
        let label = CertificateLabel {
            organization_name: "O".to_owned(),
            organization_unit: "OU".to_owned(),
            locality: "L".to_owned(),
            state_province: "ST".to_owned(),
            country_code: "DE".to_owned(),
            email: "a@b".to_owned(),
            ..label()
        };
        let subject = subject_of_label(&label).unwrap().to_string();
        // RFC 4514 turns the order around.
        assert!(
            subject.ends_with("CN=a.test,OU=OU,O=O,L=L,ST=ST,C=DE"),
            "{subject}"
        );
        let places: Vec<_> = ["CN=", "OU=", "O=O", "L=L", "ST=", "C=DE"]
            .map(|part| subject.find(part).unwrap())
            .into();
        assert!(places.is_sorted(), "{subject}");
    }
}
