//! What a certificate can be for: DNS names, IP addresses, e-mail addresses.
//!
//! Parse, don't validate: a value of these types has been checked and is in its normal form.

mod dns;
mod email;
mod punycode;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use dns::DnsName;
pub use email::EmailAddress;

use crate::asn1::{Element, Writer, tag};

/// The most identifiers one request or certificate may have.
pub const MAX_IDENTIFIERS: usize = 1000;

/// One entry of a subjectAltName that this program understands.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Identifier {
    /// A host name or a wildcard.
    Dns(DnsName),
    /// An e-mail address.
    Email(EmailAddress),
    /// An IP address; an IPv4-mapped IPv6 address stays IPv6.
    Ip(IpAddr),
}

impl Identifier {
    /// Reads what a person or a certificate calls a name: an IP address, with or without brackets,
    /// or else a DNS name.
    ///
    /// # Errors
    /// [`IdentifierError`] if it is neither.
    pub fn parse_host(text: &str) -> Result<Self, IdentifierError> {
        let text = text.trim();
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        match bare.parse() {
            Ok(address) => Ok(Self::Ip(address)),
            Err(_) => DnsName::parse(text).map(Self::Dns),
        }
    }

    /// Reads a GeneralName (RFC 5280 4.2.1.6); `Ok(None)` for kinds that are not understood.
    pub(crate) fn from_general_name(name: &Element<'_>) -> Result<Option<Self>, IdentifierError> {
        const EMAIL: u8 = tag::context_primitive(1);
        const DNS: u8 = tag::context_primitive(2);
        const IP: u8 = tag::context_primitive(7);
        let text = || {
            std::str::from_utf8(name.contents).map_err(|_| {
                IdentifierError::new(&String::from_utf8_lossy(name.contents), "it is not ASCII")
            })
        };
        match name.tag {
            DNS => DnsName::parse(text()?).map(|name| Some(Self::Dns(name))),
            EMAIL => EmailAddress::parse(text()?).map(|address| Some(Self::Email(address))),
            IP => ip_address(name.contents)
                .map(|address| Some(Self::Ip(address)))
                .ok_or_else(|| {
                    let octets: Vec<String> = name
                        .contents
                        .iter()
                        .take(20)
                        .map(|octet| format!("{octet:02x}"))
                        .collect();
                    IdentifierError::new(&octets.concat(), "an IP address has 4 or 16 octets")
                }),
            _ => Ok(None),
        }
    }

    /// Writes a GeneralName.
    pub(crate) fn write_general_name(&self, writer: &mut Writer) {
        match self {
            Self::Email(address) => {
                writer.element(tag::context_primitive(1), address.as_str().as_bytes());
            }
            Self::Dns(name) => writer.element(tag::context_primitive(2), name.as_str().as_bytes()),
            Self::Ip(IpAddr::V4(address)) => {
                writer.element(tag::context_primitive(7), &address.octets());
            }
            Self::Ip(IpAddr::V6(address)) => {
                writer.element(tag::context_primitive(7), &address.octets());
            }
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => name.fmt(formatter),
            Self::Email(address) => address.fmt(formatter),
            Self::Ip(address) => address.fmt(formatter),
        }
    }
}

/// A name that cannot be in a certificate, and why.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid name {entry:?}: {reason}")]
pub struct IdentifierError {
    /// The entry as given, shortened if it is long.
    pub entry: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl IdentifierError {
    pub(crate) fn new(entry: &str, reason: &'static str) -> Self {
        // Long enough for every valid name, so that only nonsense is cut.
        Self {
            entry: entry.chars().take(260).collect(),
            reason,
        }
    }
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(octets)
        .ok()
        .map(|octets| Ipv6Addr::from(octets).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;
    use crate::asn1::Reader;

    fn any_identifier() -> impl Strategy<Value = Identifier> {
        prop_oneof![
            "(\\*\\.)?([a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9_])?\\.){0,3}[a-z]{1,8}"
                .prop_filter_map("a valid name", |text| DnsName::parse(&text).ok())
                .prop_map(Identifier::Dns),
            "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8})?@[a-z]{1,8}\\.[a-z]{2,4}"
                .prop_map(|text| Identifier::Email(EmailAddress::parse(&text).unwrap())),
            any::<[u8; 4]>().prop_map(|octets| Identifier::Ip(octets.into())),
            any::<[u8; 16]>().prop_map(|octets| Identifier::Ip(octets.into())),
        ]
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        let parse = |text| Identifier::parse_host(text).map(|identifier| identifier.to_string());
        assert_eq!(parse(" [2001:DB8::1] "), Ok("2001:db8::1".to_owned()));
        assert_eq!(parse("192.0.2.1"), Ok("192.0.2.1".to_owned()));
        assert_eq!(parse("Example.COM."), Ok("example.com".to_owned()));
        assert!(parse("[example.com]").is_err());
    }

    #[test]
    fn a_mapped_address_stays_what_it_is() {
        let mapped = Identifier::parse_host("::ffff:192.0.2.1").unwrap();
        let mut writer = Writer::new();
        mapped.write_general_name(&mut writer);
        assert_eq!(writer.finish().len(), 18);
    }

    #[test]
    fn errors_name_the_entry() {
        let error = Identifier::parse_host("exa mple.com").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("invalid name \"exa mple.com\": "),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn general_names_read_back(identifier in any_identifier()) {
            let mut writer = Writer::new();
            identifier.write_general_name(&mut writer);
            let bytes = writer.finish();
            let element = Reader::new(&bytes).element("name").unwrap();
            prop_assert_eq!(Identifier::from_general_name(&element), Ok(Some(identifier)));
        }

        #[test]
        fn texts_read_back(identifier in any_identifier()) {
            if !matches!(identifier, Identifier::Email(_)) {
                prop_assert_eq!(Identifier::parse_host(&identifier.to_string()), Ok(identifier));
            }
        }

        #[test]
        fn reading_never_panics(tag in 0x80_u8..0x89, contents in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut writer = Writer::new();
            writer.element(tag, &contents);
            let bytes = writer.finish();
            let element = Reader::new(&bytes).element("name").unwrap();
            let _ = Identifier::from_general_name(&element);
        }
    }
}
