//! DNS names as they stand in certificates.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{IdentifierError, punycode};

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A DNS name: lower-case, without final dot, perhaps beginning with `*.`.
///
/// Labels have letters, digits, hyphens and underscores (a private network may use those), 1 to 63
/// of them, with no hyphen at an end. A single label such as `localhost` is a name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DnsName(String);

impl DnsName {
    /// Reads a name: trims blanks, lower-cases, cuts one final dot, checks.
    ///
    /// # Errors
    /// [`IdentifierError`] with the reason, for everything that is no DNS name; also for IP
    /// addresses and for names whose last label makes resolvers take them for one.
    pub fn parse(text: &str) -> Result<Self, IdentifierError> {
        let trimmed = text.trim();
        let bare = trimmed.strip_suffix('.').unwrap_or(trimmed);
        check(bare).map_err(|reason| IdentifierError::new(trimmed, reason))?;
        Ok(Self(bare.to_ascii_lowercase()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it begins with `*.`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The name without a leading `*.`.
    pub fn without_wildcard(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// Whether it has at least two labels, of which a leading `*` is one, and no underscore.
    pub fn is_fully_qualified(&self) -> bool {
        self.0.contains('.') && !self.0.contains('_')
    }

    /// Whether a certificate with this name is one for `other` (RFC 9525 6.3): they are equal, or
    /// this is `*.x` and `other` is `x` with exactly one label before it. A wildcard `other` must
    /// appear literally.
    pub fn covers(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        !other.is_wildcard()
            && self.0.strip_prefix("*.").is_some_and(|parent| {
                other
                    .0
                    .split_once('.')
                    .is_some_and(|(_, rest)| rest == parent)
            })
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl AsRef<str> for DnsName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsName {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if !name.is_ascii() {
        return Err("it is not ASCII; use the A-label form xn--…");
    }
    if name.parse::<IpAddr>().is_ok() {
        return Err("it is an IP address, not a DNS name");
    }
    if name.len() > MAX_NAME {
        return Err("it is longer than 253 characters");
    }
    let labels = name.strip_prefix("*.").unwrap_or(name);
    let mut last = "";
    for label in labels.split('.') {
        check_label(label)?;
        last = label;
    }
    // Resolvers and browsers read `127.1` and `0x7f.0x1` as IPv4 addresses.
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_hexadecimal = last
        .strip_prefix("0x")
        .or_else(|| last.strip_prefix("0X"))
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_number(last) || is_hexadecimal {
        return Err("its last label is a number, as in an IP address");
    }
    Ok(())
}

fn check_label(label: &str) -> Result<(), &'static str> {
    if label.is_empty() {
        return Err("a label is empty");
    }
    if label.len() > MAX_LABEL {
        return Err("a label is longer than 63 characters");
    }
    if label.contains('*') {
        return Err("a wildcard must be the whole first label and stand before another label");
    }
    if !label
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    {
        return Err("only letters, digits, hyphens and underscores are allowed");
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err("a label begins or ends with a hyphen");
    }
    let (prefix, encoded) = label.split_at_checked(4).unwrap_or((label, ""));
    if prefix.eq_ignore_ascii_case("xn--") && !punycode::is_plausible(encoded) {
        return Err("a label beginning with xn-- is not valid Punycode");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> DnsName {
        DnsName::parse(text).unwrap()
    }

    #[test]
    fn names_are_brought_to_their_normal_form() {
        assert_eq!(name(" Example.COM. ").as_str(), "example.com");
        assert_eq!(name("*.Example.com").as_str(), "*.example.com");
        assert_eq!(name("localhost").as_str(), "localhost");
        assert_eq!(
            name("_acme-challenge.a_b.example").as_str(),
            "_acme-challenge.a_b.example"
        );
        assert_eq!(
            name("XN--BCHER-KVA.example").as_str(),
            "xn--bcher-kva.example"
        );
        assert_eq!(name("r3---sn-abc.example").as_str(), "r3---sn-abc.example");
        assert_eq!(name("1.example").as_str(), "1.example");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = vec!["a".repeat(49); 6].join(".");
        for text in [
            "",
            " ",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "*",
            "*.",
            "*.*.a",
            "a.*.b",
            "a*.b",
            "*a.b",
            "-a.b",
            "a-.b",
            "a b.c",
            "a\0.b",
            "a\n.b",
            "bücher.example",
            "a/b",
            "a:b",
            "a@b",
            "192.0.2.1",
            "192.0.2.1.",
            "::1",
            "127.1",
            "1",
            "10.0x1",
            "0x7f000001",
            "0x",
            "xn--.example",
            "xn--\u{fc}",
            "xn--999999999.example",
            "xn--abc-.example",
            &long_label,
            &long_name,
        ] {
            assert!(DnsName::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_longest_name_has_253_characters() {
        let longest = format!("{}.{}", vec!["a".repeat(49); 5].join("."), "abc");
        assert_eq!(longest.len(), 253);
        assert!(DnsName::parse(&longest).is_ok());
        assert!(DnsName::parse(&format!("{longest}.")).is_ok());
        assert!(DnsName::parse(&format!("{longest}a")).is_err());
    }

    #[test]
    fn fully_qualified_means_two_labels_without_underscore() {
        assert!(name("a.example").is_fully_qualified());
        assert!(name("*.com").is_fully_qualified());
        assert!(!name("localhost").is_fully_qualified());
        assert!(!name("_dmarc.example").is_fully_qualified());
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let wildcard = name("*.example.com");
        assert!(wildcard.covers(&name("a.example.com")));
        assert!(wildcard.covers(&name("*.example.com")));
        assert!(!wildcard.covers(&name("a.b.example.com")));
        assert!(!wildcard.covers(&name("example.com")));
        assert!(!wildcard.covers(&name("aexample.com")));
        assert!(!name("*.com").covers(&name("*.example.com")));
        assert!(!name("a.example.com").covers(&wildcard));
        assert!(name("a.example.com").covers(&name("A.example.com.")));
    }

    proptest! {
        #[test]
        fn never_panics_and_a_parsed_name_is_a_fixed_point(text in "\\PC{0,80}|[-*a-zA-Z0-9_.x]{0,80}") {
            if let Ok(parsed) = DnsName::parse(&text) {
                prop_assert_eq!(DnsName::parse(parsed.as_str()), Ok(parsed));
            }
        }
    }
}
