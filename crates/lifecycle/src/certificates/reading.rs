//! The names of an order as people write them, and those that its subject has.

use pki::{DnsName, EmailAddress, Identifier};

use crate::Error;

/// Reads the names of an order as people write them, and no more of them than a certificate has.
///
/// # Errors
/// [`Error::Invalid`] quoting the first entry that is not what its list holds, or for more than
/// [`pki::MAX_IDENTIFIERS`] entries.
pub fn parse_identifiers<'a>(
    domains: impl IntoIterator<Item = &'a str>,
    addresses: impl IntoIterator<Item = &'a str>,
    emails: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Identifier>, Error> {
    let mut identifiers = Vec::new();
    let mut add = |identifier| {
        if identifiers.len() == pki::MAX_IDENTIFIERS {
            return Err(too_many_identifiers());
        }
        identifiers.push(identifier);
        Ok(())
    };
    for domain in domains {
        let identifier = match identifier_of_host(domain) {
            Some(identifier) => identifier,
            None => DnsName::parse(domain)
                .map(Identifier::Dns)
                .map_err(|error| Error::invalid("domains", error.to_string()))?,
        };
        add(identifier)?;
    }
    for address in addresses {
        match identifier_of_host(address) {
            Some(identifier @ Identifier::Ip(_)) => add(identifier)?,
            _ => {
                let shown: String = address.chars().take(80).collect();
                return Err(Error::invalid(
                    "ips",
                    format!("'{}' is not an IP address", shown.escape_debug()),
                ));
            }
        }
    }
    for email in emails {
        let email = EmailAddress::parse(email)
            .map_err(|error| Error::invalid("email_addresses", error.to_string()))?;
        add(Identifier::Email(email))?;
    }
    Ok(identifiers)
}

/// What the common names of a subject stand for: relying parties that find no other name go by them. One
/// that is neither a DNS name nor an address is free text.
///
/// # Errors
/// [`Error::Invalid`] for what is no name to us, and one to somebody who is less strict.
pub(super) fn identifiers_of(common_names: &[String]) -> Result<Vec<Identifier>, Error> {
    let mut identifiers = Vec::new();
    for common_name in common_names {
        match identifier_of_host(common_name) {
            Some(identifier) => identifiers.push(identifier),
            None if may_pass_for_host(common_name) => {
                return Err(Error::invalid(
                    "subject",
                    format!(
                        "the common name '{common_name}' is no DNS name, but some would take it for \
                         one; a wildcard is the whole first label, and labels neither begin nor end \
                         with a hyphen"
                    ),
                ));
            }
            None => {}
        }
    }
    Ok(identifiers)
}

/// Whether somebody might take what is no DNS name for one: OpenSSL compares a common name with the
/// host as it stands, and expands `w*.example.com`. What has an empty label, or a number for its last
/// one, is the name of no host.
fn may_pass_for_host(text: &str) -> bool {
    let text = text.trim();
    let is_of_hosts = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    if !text.bytes().all(is_of_hosts) {
        return false;
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    let Some((_, last)) = bare.rsplit_once('.') else {
        return text.contains('*');
    };
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    text.contains('*') || !(is_number || bare.split('.').any(str::is_empty))
}

pub(super) fn too_many_identifiers() -> Error {
    let limit = pki::MAX_IDENTIFIERS;
    Error::invalid(
        "domains",
        format!("a certificate names at most {limit} identifiers; order several"),
    )
}

/// A host as people write it: an IP address, with or without brackets, or a DNS name.
fn identifier_of_host(host: &str) -> Option<Identifier> {
    let bare = host.trim();
    let unbracketed = bare
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(bare);
    if let Ok(address) = unbracketed.parse() {
        return Some(Identifier::Ip(address));
    }
    DnsName::parse(bare).ok().map(Identifier::Dns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_names_are_read_than_a_certificate_has() {
        let mut read = 0;
        let domains = std::iter::repeat_n("a.test", 1_000_001).inspect(|_| read += 1);
        let refused = parse_identifiers(domains, ["127.0.0.1"], ["a@b.test"]).unwrap_err();
        assert!(refused.to_string().contains("at most 1000"), "{refused}");
        assert_eq!(read, pki::MAX_IDENTIFIERS + 1);

        let most = || std::iter::repeat_n("a.test", pki::MAX_IDENTIFIERS);
        assert!(parse_identifiers(most(), [], []).is_ok());
        assert!(parse_identifiers(most(), ["::1"], []).is_err());
        assert!(parse_identifiers(most(), [], ["a@b.test"]).is_err());
    }

    #[test]
    fn hosts_are_addresses_before_they_are_names() {
        let of = |host: &str| identifier_of_host(host).map(|identifier| identifier.to_string());
        assert_eq!(of("Example.COM.").as_deref(), Some("example.com"));
        assert_eq!(of("[::1]").as_deref(), Some("::1"));
        assert_eq!(of("127.0.0.1").as_deref(), Some("127.0.0.1"));
        assert_eq!(of("Jane Doe"), None);
    }

    #[test]
    fn a_common_name_is_a_name_or_text_and_nothing_between() {
        let of = |name: &str| identifiers_of(&["Jane Doe".to_owned(), name.to_owned()]);
        for (name, identifier) in [("*.A.test", "*.a.test"), ("[::1]", "::1"), ("a_b.", "a_b")] {
            let identifiers = of(name).unwrap();
            assert_eq!(identifiers.len(), 1, "{name}");
            assert_eq!(identifiers[0].to_string(), identifier);
        }
        for text in [
            "",
            "robot-",
            "robot 7",
            "a.test:22",
            "a.test/x",
            "[a.test]",
            "ä.test",
            "127.1",
            "0x7f.1",
            "2130706433",
            "a..test",
            ".test",
            "*) a note",
            "5 * 5",
        ] {
            assert_eq!(of(text).unwrap(), [], "{text}");
        }
        for pretender in [
            "w*.bank.test",
            "*w.bank.test",
            " W*.bank.test. ",
            "*.*.bank.test",
            "www.*.test",
            "*.127.1",
            "*",
            "my-.bank.test",
            "-my.bank.test",
            "www.bank-.test.",
            "xn--999999999.bank.test",
            "xn--.test",
            "10.0x1",
        ] {
            let refused = of(pretender).unwrap_err().to_string();
            assert!(refused.contains(pretender), "{refused}");
        }
    }
}
