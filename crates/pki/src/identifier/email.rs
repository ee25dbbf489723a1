//! E-mail addresses (rfc822Name, RFC 5280 4.2.1.6: a Mailbox without the angle brackets).

use std::fmt;

use super::{DnsName, IdentifierError};

const MAX_ADDRESS: usize = 254;
const MAX_LOCAL_PART: usize = 64;

/// An e-mail address: an ASCII dot-atom, `@`, a DNS name in lower case.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Reads an address: trims blanks, lower-cases the domain, checks the syntax.
    ///
    /// # Errors
    /// [`IdentifierError`] with the reason. Quoted local parts are not supported.
    pub fn parse(text: &str) -> Result<Self, IdentifierError> {
        let text = text.trim();
        let refuse = |reason| Err(IdentifierError::new(text, reason));
        if !text.is_ascii() {
            return refuse("it is not ASCII");
        }
        if text.len() > MAX_ADDRESS {
            return refuse("it is longer than 254 characters");
        }
        let Some((local, domain)) = text.split_once('@') else {
            return refuse("an e-mail address has an @");
        };
        if domain.contains('@') {
            return refuse("an e-mail address has only one @");
        }
        if local.len() > MAX_LOCAL_PART {
            return refuse("the part before the @ is longer than 64 characters");
        }
        if !local.split('.').all(is_atom) {
            return refuse("the part before the @ is malformed");
        }
        match DnsName::parse(domain) {
            Ok(domain) if !domain.is_wildcard() => Ok(Self(format!("{local}@{domain}"))),
            _ => refuse("the part after the @ is no domain name"),
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An atom of RFC 5322 3.2.3.
fn is_atom(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_keep_their_local_part_and_lower_the_domain() {
        assert_eq!(
            EmailAddress::parse(" Ann.O'Hara+x@Example.COM ")
                .unwrap()
                .as_str(),
            "Ann.O'Hara+x@example.com"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "a",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a..b@c",
            ".a@c",
            "a.@c",
            "\"a\"@c",
            "a@*.c",
            "a@192.0.2.1",
            "ä@c",
            "a\0@c",
            "a@b\n.c",
        ] {
            assert!(EmailAddress::parse(text).is_err(), "{text:?}");
        }
        assert!(EmailAddress::parse(&format!("{}@c", "a".repeat(65))).is_err());
        assert!(EmailAddress::parse(&format!("a@{}c", "b.".repeat(130))).is_err());
    }

    proptest! {
        #[test]
        fn never_panics_and_a_parsed_address_is_a_fixed_point(text in "\\PC{0,20}(@\\PC{0,20})?") {
            if let Ok(parsed) = EmailAddress::parse(&text) {
                prop_assert_eq!(EmailAddress::parse(parsed.as_str()), Ok(parsed));
            }
        }
    }
}
