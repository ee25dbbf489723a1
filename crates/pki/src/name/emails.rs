//! E-mail addresses that stand in names.

use super::{DistinguishedName, decode_text};
use crate::asn1::oid;
use crate::identifier::{EmailAddress, IdentifierError};

impl DistinguishedName {
    /// All e-mail addresses, in the order of the encoding: relying parties hold them to name
    /// constraints (RFC 5280 4.2.1.10). What is there and no address of the kind that an
    /// alternative name has is an error.
    pub fn email_addresses(&self) -> Vec<Result<EmailAddress, IdentifierError>> {
        self.attributes()
            .filter(|attribute| attribute.object == oid::EMAIL_ADDRESS.as_bytes())
            .map(|attribute| {
                let text = decode_text(&attribute.value);
                let text = text.ok_or_else(|| IdentifierError::new("", "it is not text"))?;
                EmailAddress::parse(&text)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::SubjectPart;
    use crate::asn1::{Writer, tag};

    #[test]
    fn addresses_are_found_wherever_they_stand() {
        let name = DistinguishedName::from_parts([
            (SubjectPart::Email, "A@B.test"),
            (SubjectPart::CommonName, "c@d.test"),
            (SubjectPart::Email, "nobody"),
        ]);
        let emails = name.unwrap().email_addresses();
        let [Ok(email), Err(_)] = emails.as_slice() else {
            panic!("{emails:?}");
        };
        assert_eq!(email.as_str(), "A@b.test");
        assert_eq!(DistinguishedName::empty().email_addresses(), []);
    }

    #[test]
    fn the_type_of_the_string_hides_no_address() {
        for (kind, contents, is_readable) in [
            (tag::UTF8_STRING, &b"a@b.test"[..], true),
            (tag::PRINTABLE_STRING, b"a@b.test", true),
            (tag::BMP_STRING, b"\0a\0@\0b", true),
            (tag::IA5_STRING, b"a@\xffb", false),
            (tag::OCTET_STRING, b"a@b.test", false),
        ] {
            let mut writer = Writer::new();
            writer.sequence(|name| {
                name.nested(tag::SET, |relative| {
                    relative.sequence(|attribute| {
                        attribute.oid(&oid::EMAIL_ADDRESS);
                        attribute.element(kind, contents);
                    });
                });
            });
            let name = DistinguishedName::from_der(&writer.finish()).unwrap();
            let emails = name.email_addresses();
            assert_eq!(emails.len(), 1, "{kind:#x}");
            assert_eq!(emails[0].is_ok(), is_readable, "{kind:#x}");
        }
    }
}
