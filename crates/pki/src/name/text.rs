//! Distinguished names as text (RFC 4514), for people to read and for exact comparison.

use std::fmt;

use super::{Attribute, DistinguishedName, decode_text};
use crate::asn1::{ObjectIdentifier, oid};

/// Short names of attribute types: those of RFC 4514 section 3 and RFC 4519, and the few others
/// that certificates carry.
const SHORT_NAMES: [(ObjectIdentifier, &str); 22] = [
    (oid::COMMON_NAME, "CN"),
    (oid::ORGANIZATION, "O"),
    (oid::ORGANIZATIONAL_UNIT, "OU"),
    (oid::COUNTRY, "C"),
    (oid::STATE_OR_PROVINCE, "ST"),
    (oid::LOCALITY, "L"),
    (oid::STREET_ADDRESS, "STREET"),
    (oid::DOMAIN_COMPONENT, "DC"),
    (oid::USER_ID, "UID"),
    (oid::SERIAL_NUMBER, "serialNumber"),
    (oid::POSTAL_CODE, "postalCode"),
    (oid::EMAIL_ADDRESS, "emailAddress"),
    (oid::SURNAME, "SN"),
    (oid::GIVEN_NAME, "GN"),
    (oid::TITLE, "title"),
    (oid::NAME, "name"),
    (oid::INITIALS, "initials"),
    (oid::GENERATION_QUALIFIER, "generationQualifier"),
    (oid::DN_QUALIFIER, "dnQualifier"),
    (oid::PSEUDONYM, "pseudonym"),
    (oid::BUSINESS_CATEGORY, "businessCategory"),
    (oid::ORGANIZATION_IDENTIFIER, "organizationIdentifier"),
];

/// Writes the relative names in the reverse of their encoding, separated by commas without blanks.
pub(super) fn write(name: &DistinguishedName, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, relative) in name.relative_names().rev().enumerate() {
        if index > 0 {
            formatter.write_str(",")?;
        }
        for (index, attribute) in relative.iter().enumerate() {
            if index > 0 {
                formatter.write_str("+")?;
            }
            write_attribute(attribute, formatter)?;
        }
    }
    Ok(())
}

fn write_attribute(attribute: &Attribute<'_>, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let short_name = SHORT_NAMES
        .iter()
        .find(|(object, _)| object.as_bytes() == attribute.object)
        .map(|(_, name)| *name);
    let text = short_name.and_then(|_| decode_text(&attribute.value));
    match short_name {
        Some(name) => formatter.write_str(name)?,
        None => write_dotted(attribute.object, formatter)?,
    }
    formatter.write_str("=")?;
    if let Some(text) = text {
        return write_escaped(&text, formatter);
    }
    // RFC 4514 2.4: a value without a string form is a number sign and the hexadecimal BER.
    formatter.write_str("#")?;
    for octet in attribute.value.encoded {
        write!(formatter, "{octet:02x}")?;
    }
    Ok(())
}

/// Object identifiers in dots. One with an arc beyond 32 bits is shown as `oid.` and hexadecimal.
fn write_dotted(object: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Ok(oid) = ObjectIdentifier::from_bytes(object) {
        return write!(formatter, "{oid}");
    }
    formatter.write_str("oid.")?;
    for octet in object {
        write!(formatter, "{octet:02x}")?;
    }
    Ok(())
}

/// RFC 4514 2.4. Control characters are escaped too, so that a name cannot disturb a log.
fn write_escaped(text: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let last = text.chars().count().saturating_sub(1);
    for (index, character) in text.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(formatter, "\\{character}")?,
            '#' if index == 0 => formatter.write_str("\\#")?,
            ' ' if index == 0 || index == last => formatter.write_str("\\ ")?,
            control if control.is_control() => {
                let mut octets = [0; 4];
                for octet in control.encode_utf8(&mut octets).bytes() {
                    write!(formatter, "\\{octet:02X}")?;
                }
            }
            plain => write!(formatter, "{plain}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::SubjectFields;
    use super::*;
    use crate::asn1::{Writer, tag};

    fn name(relative_names: &[&[(ObjectIdentifier, u8, &[u8])]]) -> String {
        let mut writer = Writer::new();
        writer.sequence(|name| {
            for attributes in relative_names {
                name.nested(tag::SET, |relative| {
                    for (object, string_type, value) in *attributes {
                        relative.sequence(|attribute| {
                            attribute.oid(object);
                            attribute.element(*string_type, value);
                        });
                    }
                });
            }
        });
        DistinguishedName::from_der(&writer.finish())
            .unwrap()
            .to_string()
    }

    #[test]
    fn the_text_is_the_reverse_of_the_encoding() {
        let fields = SubjectFields {
            common_name: Some("R3".to_owned()),
            organization: Some("Let's Encrypt".to_owned()),
            country: Some("US".to_owned()),
            ..SubjectFields::default()
        };
        let name = DistinguishedName::from_fields(&fields).unwrap();
        assert_eq!(name.to_string(), "CN=R3,O=Let's Encrypt,C=US");
    }

    #[test]
    fn special_characters_are_escaped() {
        let escaped = |value: &[u8]| name(&[&[(oid::COMMON_NAME, tag::UTF8_STRING, value)]]);
        assert_eq!(
            escaped(b"a,b+c\"d;e<f>g\\h"),
            r#"CN=a\,b\+c\"d\;e\<f\>g\\h"#
        );
        assert_eq!(escaped(b" # "), "CN=\\ #\\ ");
        assert_eq!(escaped(b" "), "CN=\\ ");
        assert_eq!(escaped(b"#1"), "CN=\\#1");
        assert_eq!(escaped(b"a\0\n\x7f"), "CN=a\\00\\0A\\7F");
        assert_eq!(escaped("é=ü".as_bytes()), "CN=é=ü");
    }

    #[test]
    fn values_of_one_relative_name_are_joined_with_a_plus() {
        assert_eq!(
            name(&[
                &[(oid::DOMAIN_COMPONENT, tag::IA5_STRING, b"org")],
                &[
                    (oid::COMMON_NAME, tag::PRINTABLE_STRING, b"a"),
                    (oid::USER_ID, tag::UTF8_STRING, b"b")
                ],
            ]),
            "CN=a+UID=b,DC=org"
        );
    }

    #[test]
    fn unknown_types_and_values_are_shown_in_hexadecimal() {
        let unknown = ObjectIdentifier::new_unwrap("1.2.3.4");
        assert_eq!(
            name(&[&[(unknown, tag::UTF8_STRING, b"ab")]]),
            "1.2.3.4=#0c026162"
        );
        assert_eq!(
            name(&[&[(oid::COMMON_NAME, tag::UTF8_STRING, &[0xff])]]),
            "CN=#0c01ff"
        );
        assert_eq!(
            name(&[&[(oid::COMMON_NAME, tag::INTEGER, &[1])]]),
            "CN=#020101"
        );
    }
}
