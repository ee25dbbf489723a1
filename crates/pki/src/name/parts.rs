//! Names whose parts stand in the order that their owner chose.

use super::{
    COMMON_NAME, COUNTRY, DistinguishedName, EMAIL_ADDRESS, Kind, LOCALITY, NameError,
    ORGANIZATION, ORGANIZATIONAL_UNIT, PROVINCE,
};
use crate::asn1::Writer;

/// How long an organization may be that its owner states of itself, in characters. X.520 has room for
/// 64; what is read has room for more, and real ones are longer.
pub(crate) const STATED_MAX: usize = 128;

/// A part of a subject.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SubjectPart {
    /// CN, at most 64 characters.
    CommonName,
    /// C, two letters; stored in upper case.
    Country,
    /// emailAddress, at most 128 characters of ASCII.
    Email,
    /// L, at most 128 characters.
    Locality,
    /// O, at most 128 characters.
    Organization,
    /// OU, at most 128 characters.
    OrganizationalUnit,
    /// ST, at most 128 characters.
    Province,
}

impl SubjectPart {
    fn kind(self) -> &'static Kind {
        match self {
            Self::CommonName => &COMMON_NAME,
            Self::Country => &COUNTRY,
            Self::Email => &EMAIL_ADDRESS,
            Self::Locality => &LOCALITY,
            Self::Organization => &ORGANIZATION,
            Self::OrganizationalUnit => &ORGANIZATIONAL_UNIT,
            Self::Province => &PROVINCE,
        }
    }

    fn max(self) -> usize {
        match self {
            Self::CommonName | Self::Country => self.kind().max,
            _ => STATED_MAX,
        }
    }
}

impl DistinguishedName {
    /// Builds a name from these parts, in this order. Blank ones are left out.
    ///
    /// # Errors
    /// [`NameError::TooLong`], [`NameError::Country`], [`NameError::ControlCharacter`] and
    /// [`NameError::NotAscii`].
    pub fn from_parts<'a>(
        parts: impl IntoIterator<Item = (SubjectPart, &'a str)>,
    ) -> Result<Self, NameError> {
        let mut writer = Writer::new();
        let mut result = Ok(());
        writer.sequence(|name| {
            for (part, value) in parts {
                let value = value.trim();
                if !value.is_empty() && result.is_ok() {
                    result = part.kind().write_within(name, value, part.max());
                }
            }
        });
        result.map(|()| Self(writer.finish().into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::asn1::tag;

    #[test]
    fn parts_stand_in_the_order_in_which_they_were_given() {
        let name = DistinguishedName::from_parts([
            (SubjectPart::Country, "de"),
            (SubjectPart::Locality, " "),
            (SubjectPart::Organization, "Ümlaut GmbH"),
            (SubjectPart::CommonName, "a.test"),
            (SubjectPart::Email, "a@b.test"),
        ]);
        let name = name.unwrap();
        let tags: Vec<u8> = name.attributes().map(|part| part.value.tag).collect();
        let utf8 = tag::UTF8_STRING;
        assert_eq!(tags, [tag::PRINTABLE_STRING, utf8, utf8, tag::IA5_STRING]);
        let shown = name.to_string();
        assert!(shown.ends_with("CN=a.test,O=Ümlaut GmbH,C=DE"), "{shown}");
    }

    #[test]
    fn parts_out_of_bounds_are_refused() {
        let refused = |part, value: &str| DistinguishedName::from_parts([(part, value)]).is_err();
        for (part, most) in [
            (SubjectPart::CommonName, 64),
            (SubjectPart::Organization, 128),
            (SubjectPart::Email, 128),
        ] {
            assert!(!refused(part, &"x".repeat(most)));
            assert!(refused(part, &"x".repeat(most + 1)));
            assert!(refused(part, "a\u{7}b"));
        }
        assert!(refused(SubjectPart::Country, "GER"));
        assert!(refused(SubjectPart::Email, "ü@b.test"));
    }
}
