//! Distinguished names (RFC 5280 4.1.2.4). Their DER is kept byte for byte, because an issuer name
//! must be repeated exactly as it stands in the issuer's certificate.

mod emails;
mod parts;
mod text;

use std::fmt;
use std::sync::Arc;

pub(crate) use parts::STATED_MAX;
pub use parts::SubjectPart;

use crate::asn1::{Element, Malformed, ObjectIdentifier, Reader, Writer, oid, single, tag};

/// Names longer than this are not read. Real ones have a few hundred octets.
const MAX_OCTETS: usize = 16 * 1024;

/// A distinguished name. `Display` is RFC 4514: `CN=R3,O=Let's Encrypt,C=US`.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct DistinguishedName(Arc<[u8]>);

impl DistinguishedName {
    /// The name without any part.
    pub fn empty() -> Self {
        Self([tag::SEQUENCE, 0].as_slice().into())
    }

    /// Reads a DER Name.
    ///
    /// # Errors
    /// [`NameError::Malformed`].
    pub fn from_der(der: &[u8]) -> Result<Self, NameError> {
        check(der).map_err(|Malformed(what)| NameError::Malformed(what))?;
        Ok(Self(der.into()))
    }

    /// Builds a name from its usual parts, in the order Go's `crypto/x509` uses (country first,
    /// common name last). Parts that are absent or blank are left out.
    ///
    /// # Errors
    /// [`NameError::TooLong`], [`NameError::Country`] and [`NameError::ControlCharacter`].
    pub fn from_fields(fields: &SubjectFields) -> Result<Self, NameError> {
        let SubjectFields {
            common_name,
            organization,
            organizational_unit,
            country,
            province,
            locality,
            street_address,
            postal_code,
        } = fields;
        let mut writer = Writer::new();
        let mut result = Ok(());
        writer.sequence(|name| {
            for (attribute, value) in [
                (&COUNTRY, country),
                (&ORGANIZATION, organization),
                (&ORGANIZATIONAL_UNIT, organizational_unit),
                (&LOCALITY, locality),
                (&PROVINCE, province),
                (&STREET_ADDRESS, street_address),
                (&POSTAL_CODE, postal_code),
                (&COMMON_NAME, common_name),
            ] {
                let value = value.as_deref().map(str::trim).unwrap_or_default();
                if !value.is_empty() && result.is_ok() {
                    result = attribute.write(name, value);
                }
            }
        });
        result.map(|()| Self(writer.finish().into()))
    }

    /// The same name with this common name as its last part, in place of those it had.
    ///
    /// # Errors
    /// [`NameError::TooLong`] and [`NameError::ControlCharacter`].
    pub fn with_common_name(&self, common_name: &str) -> Result<Self, NameError> {
        let mut writer = Writer::new();
        let mut result = Ok(());
        writer.sequence(|name| {
            for relative in self.relative_names() {
                let kept = relative
                    .iter()
                    .filter(|attribute| attribute.object != oid::COMMON_NAME.as_bytes());
                let kept: Vec<_> = kept.collect();
                if !kept.is_empty() {
                    name.nested(tag::SET, |set| {
                        for attribute in kept {
                            set.sequence(|inner| {
                                inner.element(tag::OBJECT_IDENTIFIER, attribute.object);
                                inner.raw(attribute.value.encoded);
                            });
                        }
                    });
                }
            }
            result = COMMON_NAME.write(name, common_name);
        });
        result.map(|()| Self(writer.finish().into()))
    }

    /// The DER Name.
    pub fn to_der(&self) -> &[u8] {
        &self.0
    }

    /// Whether the name has no part.
    pub fn is_empty(&self) -> bool {
        *self.0 == [tag::SEQUENCE, 0]
    }

    /// The most specific common name, that is the last in the encoding, if it is readable text.
    pub fn common_name(&self) -> Option<String> {
        self.attributes()
            .filter(|attribute| attribute.object == oid::COMMON_NAME.as_bytes())
            .last()
            .and_then(|attribute| decode_text(&attribute.value))
    }

    /// All common names that are readable text, in the order of the encoding. Requests from outside
    /// may have several.
    pub fn common_names(&self) -> Vec<String> {
        self.attributes()
            .filter(|attribute| attribute.object == oid::COMMON_NAME.as_bytes())
            .filter_map(|attribute| decode_text(&attribute.value))
            .collect()
    }

    /// The attributes in the order of the encoding.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        self.relative_names().flatten()
    }

    /// The relative names in the order of the encoding.
    fn relative_names(&self) -> impl DoubleEndedIterator<Item = Vec<Attribute<'_>>> {
        // The bytes were checked when the value was made.
        read(&self.0).unwrap_or_default().into_iter()
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, formatter)
    }
}

impl fmt::Debug for DistinguishedName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DistinguishedName({self})")
    }
}

/// The parts of a name that people fill in. `None` and blank text mean the same.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SubjectFields {
    /// CN, at most 64 characters.
    pub common_name: Option<String>,
    /// O, at most 64 characters.
    pub organization: Option<String>,
    /// OU, at most 64 characters.
    pub organizational_unit: Option<String>,
    /// C, two letters; stored in upper case.
    pub country: Option<String>,
    /// ST, at most 128 characters.
    pub province: Option<String>,
    /// L, at most 128 characters.
    pub locality: Option<String>,
    /// STREET, at most 128 characters.
    pub street_address: Option<String>,
    /// postalCode, at most 40 characters.
    pub postal_code: Option<String>,
}

/// Why a name cannot be read or built.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// A part has a control character in it.
    #[error("the {field} contains a control character")]
    ControlCharacter {
        /// Which part.
        field: &'static str,
    },
    /// The country is not a code of ISO 3166.
    #[error("the country must be a code of two letters")]
    Country,
    /// The bytes are no Name.
    #[error("the name is malformed: {0}")]
    Malformed(&'static str),
    /// A part that has to be ASCII is not.
    #[error("the {field} has to be ASCII")]
    NotAscii {
        /// Which part.
        field: &'static str,
    },
    /// A part is longer than X.520 allows.
    #[error("the {field} is longer than {max} characters")]
    TooLong {
        /// Which part.
        field: &'static str,
        /// The upper bound, in characters.
        max: usize,
    },
}

/// One AttributeTypeAndValue.
#[derive(Clone, Copy)]
pub(crate) struct Attribute<'a> {
    pub(crate) object: &'a [u8],
    pub(crate) value: Element<'a>,
}

/// The upper bound of an attribute's length in characters (RFC 5280 appendix A.1, X.520 annex C),
/// with a name for messages.
pub(crate) fn upper_bound(object: &[u8]) -> Option<(&'static str, usize)> {
    KINDS
        .iter()
        .find(|kind| kind.object.as_bytes() == object)
        .map(|kind| (kind.field, kind.max))
}

/// The text of a directory string; `None` if its octets are not text of the kind its tag says.
pub(crate) fn decode_text(value: &Element<'_>) -> Option<String> {
    let contents = value.contents;
    match value.tag {
        tag::UTF8_STRING => String::from_utf8(contents.to_vec()).ok(),
        tag::PRINTABLE_STRING | tag::IA5_STRING | tag::NUMERIC_STRING | tag::VISIBLE_STRING => {
            contents
                .is_ascii()
                .then(|| contents.iter().copied().map(char::from).collect())
        }
        // T.61 in the standard, Latin-1 in every certificate that uses it.
        tag::TELETEX_STRING => Some(contents.iter().copied().map(char::from).collect()),
        tag::BMP_STRING => {
            let (pairs, rest) = contents.as_chunks::<2>();
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            rest.is_empty()
                .then(|| char::decode_utf16(units).collect::<Result<_, _>>().ok())
                .flatten()
        }
        _ => None,
    }
}

struct Kind {
    object: ObjectIdentifier,
    field: &'static str,
    max: usize,
}

const COMMON_NAME: Kind = Kind {
    object: oid::COMMON_NAME,
    field: "common name",
    max: 64,
};
const ORGANIZATION: Kind = Kind {
    object: oid::ORGANIZATION,
    field: "organization",
    max: 64,
};
const ORGANIZATIONAL_UNIT: Kind = Kind {
    object: oid::ORGANIZATIONAL_UNIT,
    field: "organizational unit",
    max: 64,
};
const COUNTRY: Kind = Kind {
    object: oid::COUNTRY,
    field: "country",
    max: 2,
};
const PROVINCE: Kind = Kind {
    object: oid::STATE_OR_PROVINCE,
    field: "province",
    max: 128,
};
const LOCALITY: Kind = Kind {
    object: oid::LOCALITY,
    field: "locality",
    max: 128,
};
const STREET_ADDRESS: Kind = Kind {
    object: oid::STREET_ADDRESS,
    field: "street address",
    max: 128,
};
const POSTAL_CODE: Kind = Kind {
    object: oid::POSTAL_CODE,
    field: "postal code",
    max: 40,
};
const SERIAL_NUMBER: Kind = Kind {
    object: oid::SERIAL_NUMBER,
    field: "serial number",
    max: 64,
};
const TITLE: Kind = Kind {
    object: oid::TITLE,
    field: "title",
    max: 64,
};
const EMAIL_ADDRESS: Kind = Kind {
    object: oid::EMAIL_ADDRESS,
    field: "e-mail address",
    max: 255,
};
const KINDS: [&Kind; 11] = [
    &COMMON_NAME,
    &ORGANIZATION,
    &ORGANIZATIONAL_UNIT,
    &COUNTRY,
    &PROVINCE,
    &LOCALITY,
    &STREET_ADDRESS,
    &POSTAL_CODE,
    &SERIAL_NUMBER,
    &TITLE,
    &EMAIL_ADDRESS,
];

impl Kind {
    /// Writes a relative name of one attribute.
    fn write(&self, writer: &mut Writer, value: &str) -> Result<(), NameError> {
        self.write_within(writer, value, self.max)
    }

    /// The same with another upper bound, in characters.
    fn write_within(&self, writer: &mut Writer, value: &str, max: usize) -> Result<(), NameError> {
        let is_email = self.object == oid::EMAIL_ADDRESS;
        let is_country = self.object == oid::COUNTRY;
        if is_country && !(value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_alphabetic()))
        {
            return Err(NameError::Country);
        }
        if value.chars().count() > max {
            return Err(NameError::TooLong {
                field: self.field,
                max,
            });
        }
        if value.chars().any(char::is_control) {
            return Err(NameError::ControlCharacter { field: self.field });
        }
        if is_email && !value.is_ascii() {
            return Err(NameError::NotAscii { field: self.field });
        }
        writer.nested(tag::SET, |relative| {
            relative.sequence(|attribute| {
                attribute.oid(&self.object);
                if is_country {
                    let code = value.to_ascii_uppercase();
                    attribute.element(tag::PRINTABLE_STRING, code.as_bytes());
                } else if is_email {
                    // RFC 5280 4.1.2.6.
                    attribute.element(tag::IA5_STRING, value.as_bytes());
                } else {
                    attribute.element(tag::UTF8_STRING, value.as_bytes());
                }
            });
        });
        Ok(())
    }
}

const WHAT: &str = "not a distinguished name";

fn check(der: &[u8]) -> Result<(), Malformed> {
    if der.len() > MAX_OCTETS {
        return Err(Malformed("the distinguished name is too long"));
    }
    each_attribute(der, |_, _| {})
}

fn read(der: &[u8]) -> Result<Vec<Vec<Attribute<'_>>>, Malformed> {
    let mut names: Vec<Vec<Attribute<'_>>> = Vec::new();
    each_attribute(der, |is_new, attribute| match names.last_mut() {
        Some(last) if !is_new => last.push(attribute),
        _ => names.push(vec![attribute]),
    })?;
    Ok(names)
}

/// Calls `visit` with every attribute, saying whether it begins a relative name.
fn each_attribute<'a>(
    der: &'a [u8],
    mut visit: impl FnMut(bool, Attribute<'a>),
) -> Result<(), Malformed> {
    let mut names = single(der, tag::SEQUENCE, WHAT)?.reader();
    while !names.is_empty() {
        let mut relative: Reader<'a> = names.expect(tag::SET, WHAT)?.reader();
        let mut is_new = true;
        // SET SIZE (1..MAX)
        while is_new || !relative.is_empty() {
            let mut attribute = relative.sequence(WHAT)?;
            let object = attribute.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents;
            let value = attribute.element(WHAT)?;
            attribute.finish(WHAT)?;
            visit(is_new, Attribute { object, value });
            is_new = false;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn values(name: &DistinguishedName) -> Vec<String> {
        name.attributes()
            .map(|attribute| decode_text(&attribute.value).unwrap())
            .collect()
    }

    #[test]
    fn blank_parts_leave_no_trace() {
        let fields = SubjectFields {
            common_name: Some("  ".to_owned()),
            country: Some(String::new()),
            ..SubjectFields::default()
        };
        assert_eq!(
            DistinguishedName::from_fields(&fields),
            Ok(DistinguishedName::empty())
        );
        assert!(DistinguishedName::empty().is_empty());
        assert_eq!(DistinguishedName::empty().to_string(), "");
    }

    #[test]
    fn parts_out_of_bounds_are_refused() {
        let country = |code: &str| {
            DistinguishedName::from_fields(&SubjectFields {
                country: Some(code.to_owned()),
                ..SubjectFields::default()
            })
        };
        assert_eq!(country("de").unwrap().to_string(), "C=DE");
        for code in ["DEU", "D", "1A", "É1"] {
            assert_eq!(country(code), Err(NameError::Country), "{code}");
        }
        let common_name = |text: String| {
            DistinguishedName::from_fields(&SubjectFields {
                common_name: Some(text),
                ..SubjectFields::default()
            })
        };
        assert!(common_name("é".repeat(64)).is_ok());
        assert_eq!(
            common_name("a".repeat(65)),
            Err(NameError::TooLong {
                field: "common name",
                max: 64
            })
        );
        assert_eq!(
            common_name("a\0b".to_owned()),
            Err(NameError::ControlCharacter {
                field: "common name"
            })
        );
    }

    #[test]
    fn the_last_common_name_counts_in_every_string_type() {
        let encodings: [(u8, &[u8]); 4] = [
            (tag::UTF8_STRING, "é".as_bytes()),
            (tag::TELETEX_STRING, &[0xe9]),
            (tag::BMP_STRING, &[0, 0xe9]),
            (tag::PRINTABLE_STRING, b"e"),
        ];
        for (string_type, contents) in encodings {
            let mut writer = Writer::new();
            writer.sequence(|name| {
                for (kind, value) in [(tag::UTF8_STRING, &b"first"[..]), (string_type, contents)] {
                    name.nested(tag::SET, |relative| {
                        relative.sequence(|attribute| {
                            attribute.oid(&oid::COMMON_NAME);
                            attribute.element(kind, value);
                        });
                    });
                }
            });
            let name = DistinguishedName::from_der(&writer.finish()).unwrap();
            let expected = if string_type == tag::PRINTABLE_STRING {
                "e"
            } else {
                "é"
            };
            assert_eq!(
                name.common_name().as_deref(),
                Some(expected),
                "{string_type:#x}"
            );
        }
    }

    #[test]
    fn a_relative_name_has_at_least_one_attribute() {
        assert!(DistinguishedName::from_der(&[0x30, 2, 0x31, 0]).is_err());
        assert!(DistinguishedName::from_der(&[0x31, 0]).is_err());
        assert!(DistinguishedName::from_der(&[0x30, 0, 0]).is_err());
    }

    prop_compose! {
        fn any_fields()(
            texts in proptest::collection::vec(proptest::option::of("[^\\pC\\pZ]([^\\pC]{0,30}[^\\pC\\pZ])?"), 7),
            country in proptest::option::of("[A-Z]{2}"),
        ) -> SubjectFields {
            let mut texts = texts.into_iter();
            let mut next = || texts.next().flatten();
            SubjectFields {
                common_name: next(),
                organization: next(),
                organizational_unit: next(),
                country,
                province: next(),
                locality: next(),
                street_address: next(),
                postal_code: next(),
            }
        }
    }

    proptest! {
        #[test]
        fn fields_read_back(fields in any_fields()) {
            let name = DistinguishedName::from_fields(&fields).unwrap();
            prop_assert_eq!(DistinguishedName::from_der(name.to_der()), Ok(name.clone()));
            prop_assert_eq!(name.common_name(), fields.common_name.clone());
            let expected: Vec<String> = [
                fields.country, fields.organization, fields.organizational_unit, fields.locality,
                fields.province, fields.street_address, fields.postal_code, fields.common_name,
            ].into_iter().flatten().collect();
            prop_assert_eq!(values(&name), expected);
        }

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(name) = DistinguishedName::from_der(&bytes) {
                let _ = (name.to_string(), name.common_name());
            }
        }

        #[test]
        fn reading_never_panics_on_damage(fields in any_fields(), at: proptest::sample::Index, value: u8) {
            let mut der = DistinguishedName::from_fields(&fields).unwrap().to_der().to_vec();
            let at = at.index(der.len());
            der[at] = value;
            if let Ok(name) = DistinguishedName::from_der(&der) {
                let _ = (name.to_string(), name.common_name());
            }
        }
    }
}
