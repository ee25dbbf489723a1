//! Extensions (RFC 5280 4.2): reading the ones that decide something, writing the ones we issue.

use crate::asn1::{Malformed, ObjectIdentifier, Reader, Writer, oid, single, tag};
use crate::identifier::{Identifier, IdentifierError};

/// More extensions than this are not read; looking for duplicates would become slow.
const MAX_EXTENSIONS: usize = 64;

/// One extension as it stands in a certificate, request or OCSP message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension<'a> {
    pub(crate) object: &'a [u8],
    pub(crate) critical: bool,
    /// The content of the OCTET STRING.
    pub(crate) value: &'a [u8],
}

/// Bits of the key usage extension, numbered as in RFC 5280 4.2.1.3.
pub(crate) mod key_usage {
    pub(crate) const DIGITAL_SIGNATURE: u16 = 1 << 15;
    pub(crate) const KEY_ENCIPHERMENT: u16 = 1 << 13;
    pub(crate) const KEY_CERT_SIGN: u16 = 1 << 10;
    pub(crate) const CRL_SIGN: u16 = 1 << 9;
    /// What the keys of authorities are for.
    pub(crate) const OF_AUTHORITIES: u16 = DIGITAL_SIGNATURE | KEY_CERT_SIGN | CRL_SIGN;
}

/// The content of a basic constraints extension.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct BasicConstraints {
    pub(crate) is_ca: bool,
    pub(crate) path_length: Option<u8>,
}

/// Reads the DER of an Extensions sequence and refuses duplicates (RFC 5280 4.2).
pub(crate) fn read_all<'a>(
    extensions: &mut Reader<'a>,
    what: &'static str,
) -> Result<Vec<Extension<'a>>, Malformed> {
    let mut all: Vec<Extension<'a>> = Vec::with_capacity(10);
    let mut reader = extensions.sequence(what)?;
    while !reader.is_empty() {
        if all.len() == MAX_EXTENSIONS {
            return Err(Malformed("there are more than 64 extensions"));
        }
        let mut inner = reader.sequence(what)?;
        let object = inner.expect(tag::OBJECT_IDENTIFIER, what)?.contents;
        let critical = match inner.optional(tag::BOOLEAN, what)? {
            // FALSE is the default and must be absent in DER; real certificates have it anyway.
            Some(critical) => critical.boolean(what)?,
            None => false,
        };
        let value = inner.expect(tag::OCTET_STRING, what)?.contents;
        inner.finish(what)?;
        if all.iter().any(|other| other.object == object) {
            return Err(Malformed("an extension occurs twice"));
        }
        all.push(Extension {
            object,
            critical,
            value,
        });
    }
    Ok(all)
}

/// The extension with this object identifier.
pub(crate) fn find<'a, 'b>(
    extensions: &'b [Extension<'a>],
    object: &ObjectIdentifier,
) -> Option<&'b Extension<'a>> {
    extensions
        .iter()
        .find(|extension| extension.object == object.as_bytes())
}

pub(crate) fn read_basic_constraints(value: &[u8]) -> Result<BasicConstraints, Malformed> {
    const WHAT: &str = "the basic constraints";
    let mut reader = single(value, tag::SEQUENCE, WHAT)?.reader();
    let is_ca = match reader.optional(tag::BOOLEAN, WHAT)? {
        Some(is_ca) => is_ca.boolean(WHAT)?,
        None => false,
    };
    let path_length = reader
        .optional(tag::INTEGER, WHAT)?
        .map(|length| length.small_integer(WHAT))
        .transpose()?;
    reader.finish(WHAT)?;
    Ok(BasicConstraints { is_ca, path_length })
}

/// The key usage bits, the first bit of the BIT STRING being the highest of the number.
pub(crate) fn read_key_usage(value: &[u8]) -> Result<u16, Malformed> {
    const WHAT: &str = "the key usage";
    let (unused, bits) = match single(value, tag::BIT_STRING, WHAT)?.contents {
        [unused @ 0..=7, first] => (8 + u32::from(*unused), u16::from_be_bytes([*first, 0])),
        [unused @ 0..=7, first, second] => {
            (u32::from(*unused), u16::from_be_bytes([*first, *second]))
        }
        _ => return Err(Malformed(WHAT)),
    };
    // X.690 11.2.1: unused bits are zero.
    if bits.trailing_zeros() < unused {
        return Err(Malformed(WHAT));
    }
    Ok(bits)
}

/// The contents of the object identifiers of an extended key usage extension.
pub(crate) fn read_extended_key_usage(value: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    const WHAT: &str = "the extended key usage";
    let mut reader = single(value, tag::SEQUENCE, WHAT)?.reader();
    let mut purposes = Vec::new();
    while !reader.is_empty() {
        purposes.push(reader.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents);
    }
    Ok(purposes)
}

pub(crate) fn read_subject_key_identifier(value: &[u8]) -> Result<&[u8], Malformed> {
    const WHAT: &str = "the subject key identifier";
    Ok(single(value, tag::OCTET_STRING, WHAT)?.contents)
}

/// The key identifier inside an authority key identifier extension, if it has one.
pub(crate) fn read_authority_key_identifier(value: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    const WHAT: &str = "the authority key identifier";
    let mut reader = single(value, tag::SEQUENCE, WHAT)?.reader();
    let identifier = reader.optional(tag::context_primitive(0), WHAT)?;
    Ok(identifier.map(|identifier| identifier.contents))
}

/// The first URL of a responder inside an authority information access extension (RFC 5280 4.2.2.1).
pub(crate) fn read_ocsp_url(value: &[u8]) -> Result<Option<&str>, Malformed> {
    const WHAT: &str = "the authority information access";
    let mut reader = single(value, tag::SEQUENCE, WHAT)?.reader();
    while !reader.is_empty() {
        let mut description = reader.sequence(WHAT)?;
        let method = description.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents;
        let location = description.element(WHAT)?;
        description.finish(WHAT)?;
        if method == oid::ACCESS_OCSP.as_bytes() && location.tag == tag::context_primitive(6) {
            return std::str::from_utf8(location.contents)
                .map(Some)
                .map_err(|_| Malformed(WHAT));
        }
    }
    Ok(None)
}

/// The entries of a GeneralNames that are understood, each with its own outcome.
pub(crate) fn read_general_names(
    value: &[u8],
) -> Result<impl Iterator<Item = Result<Identifier, NamesError>> + '_, Malformed> {
    const WHAT: &str = "the subject alternative names";
    let mut reader = single(value, tag::SEQUENCE, WHAT)?.reader();
    Ok(std::iter::from_fn(move || {
        while !reader.is_empty() {
            let name = match reader.element(WHAT) {
                Ok(name) => name,
                Err(Malformed(what)) => {
                    reader = Reader::new(&[]);
                    return Some(Err(NamesError::Malformed(what)));
                }
            };
            match Identifier::from_general_name(&name) {
                Ok(Some(identifier)) => return Some(Ok(identifier)),
                Ok(None) => {}
                Err(error) => return Some(Err(NamesError::Invalid(error))),
            }
        }
        None
    }))
}

/// Why an entry of a GeneralNames could not be read.
pub(crate) enum NamesError {
    /// The rest of the list is not DER.
    Malformed(&'static str),
    /// This entry is not a name.
    Invalid(IdentifierError),
}

/// Writes one extension whose value `write` appends.
pub(crate) fn write(
    writer: &mut Writer,
    object: &ObjectIdentifier,
    critical: bool,
    write: impl FnOnce(&mut Writer),
) {
    writer.sequence(|extension| {
        extension.oid(object);
        if critical {
            extension.boolean(true);
        }
        extension.nested(tag::OCTET_STRING, write);
    });
}

/// Writes basic constraints, always critical: a client that does not understand them must not
/// accept the certificate.
pub(crate) fn write_basic_constraints(writer: &mut Writer, constraints: BasicConstraints) {
    write(writer, &oid::BASIC_CONSTRAINTS, true, |value| {
        value.sequence(|inner| {
            if constraints.is_ca {
                inner.boolean(true);
            }
            if let Some(length) = constraints.path_length {
                inner.unsigned(&[length]);
            }
        });
    });
}

pub(crate) fn write_key_usage(writer: &mut Writer, usage: u16) {
    write(writer, &oid::KEY_USAGE, true, |value| {
        // X.690 11.2.2: a named bit list ends with its last one bit.
        let [first, second] = usage.to_be_bytes();
        let unused = |octet: u8| u8::try_from(octet.trailing_zeros().min(7)).unwrap_or(0);
        if second == 0 {
            value.element(tag::BIT_STRING, &[unused(first), first]);
        } else {
            value.element(tag::BIT_STRING, &[unused(second), first, second]);
        }
    });
}

pub(crate) fn write_extended_key_usage(writer: &mut Writer, purposes: &[&ObjectIdentifier]) {
    write(writer, &oid::EXTENDED_KEY_USAGE, false, |value| {
        value.sequence(|list| {
            for purpose in purposes {
                list.oid(purpose);
            }
        });
    });
}

pub(crate) fn write_subject_key_identifier(writer: &mut Writer, identifier: &[u8]) {
    write(writer, &oid::SUBJECT_KEY_IDENTIFIER, false, |value| {
        value.element(tag::OCTET_STRING, identifier);
    });
}

pub(crate) fn write_authority_key_identifier(writer: &mut Writer, identifier: &[u8]) {
    write(writer, &oid::AUTHORITY_KEY_IDENTIFIER, false, |value| {
        value.sequence(|inner| inner.element(tag::context_primitive(0), identifier));
    });
}

/// Writes subject alternative names; nothing if there are none.
pub(crate) fn write_subject_alt_name(
    writer: &mut Writer,
    identifiers: &[Identifier],
    critical: bool,
) {
    if identifiers.is_empty() {
        return;
    }
    write(writer, &oid::SUBJECT_ALT_NAME, critical, |value| {
        value.sequence(|names| {
            for identifier in identifiers {
                identifier.write_general_name(names);
            }
        });
    });
}

/// Writes the URLs of the OCSP responder and of the issuer's certificate; nothing if both are
/// absent.
pub(crate) fn write_authority_info_access(
    writer: &mut Writer,
    ocsp: Option<&str>,
    ca_issuers: Option<&str>,
) {
    if ocsp.is_none() && ca_issuers.is_none() {
        return;
    }
    write(writer, &oid::AUTHORITY_INFO_ACCESS, false, |value| {
        value.sequence(|list| {
            for (method, url) in [
                (&oid::ACCESS_OCSP, ocsp),
                (&oid::ACCESS_CA_ISSUERS, ca_issuers),
            ] {
                if let Some(url) = url {
                    list.sequence(|description| {
                        description.oid(method);
                        description.element(tag::context_primitive(6), url.as_bytes());
                    });
                }
            }
        });
    });
}

pub(crate) fn write_crl_distribution_point(writer: &mut Writer, url: Option<&str>) {
    let Some(url) = url else { return };
    write(writer, &oid::CRL_DISTRIBUTION_POINTS, false, |value| {
        value.sequence(|points| points.sequence(|point| write_distribution_point_name(point, url)));
    });
}

/// A DistributionPointName `[0]` with one URL as its full name (RFC 5280 4.2.1.13).
pub(crate) fn write_distribution_point_name(writer: &mut Writer, url: &str) {
    writer.nested(tag::context_constructed(0), |name| {
        name.nested(tag::context_constructed(0), |full_name| {
            full_name.element(tag::context_primitive(6), url.as_bytes());
        });
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.sequence(write);
        writer.finish()
    }

    fn value_of(bytes: &[u8]) -> (bool, Vec<u8>) {
        let all = read_all(&mut Reader::new(bytes), "test").unwrap();
        let [extension] = all.as_slice() else {
            panic!("{all:?}")
        };
        (extension.critical, extension.value.to_vec())
    }

    #[test]
    fn key_usage_bits_read_back_and_are_minimal() {
        let usage = key_usage::DIGITAL_SIGNATURE | key_usage::KEY_ENCIPHERMENT;
        let (critical, value) = value_of(&written(|writer| write_key_usage(writer, usage)));
        assert!(critical);
        assert_eq!(value, [3, 2, 5, 0xa0]);
        assert_eq!(read_key_usage(&value), Ok(usage));
        let authority =
            key_usage::DIGITAL_SIGNATURE | key_usage::KEY_CERT_SIGN | key_usage::CRL_SIGN;
        let (_, value) = value_of(&written(|writer| write_key_usage(writer, authority)));
        assert_eq!(value, [3, 2, 1, 0x86]);
        assert_eq!(read_key_usage(&value), Ok(authority));
        assert!(read_key_usage(&[3, 1, 0]).is_err());
        assert!(read_key_usage(&[3, 2, 8, 0]).is_err());
    }

    #[test]
    fn basic_constraints_read_back() {
        for constraints in [
            BasicConstraints::default(),
            BasicConstraints {
                is_ca: true,
                path_length: None,
            },
            BasicConstraints {
                is_ca: true,
                path_length: Some(0),
            },
            BasicConstraints {
                is_ca: true,
                path_length: Some(255),
            },
        ] {
            let (critical, value) = value_of(&written(|writer| {
                write_basic_constraints(writer, constraints);
            }));
            assert!(critical);
            assert_eq!(read_basic_constraints(&value), Ok(constraints));
        }
    }

    #[test]
    fn the_responder_s_url_is_found_among_the_access_descriptions() {
        let at = |ocsp, ca_issuers| {
            let written = written(|writer| write_authority_info_access(writer, ocsp, ca_issuers));
            let (critical, value) = value_of(&written);
            assert!(!critical);
            read_ocsp_url(&value).map(|url| url.map(str::to_owned))
        };
        let url = "http://ocsp.example/a";
        assert_eq!(at(Some(url), Some("http://b")), Ok(Some(url.to_owned())));
        assert_eq!(at(None, Some("http://b")), Ok(None));
        assert!(read_ocsp_url(&[0x30, 2, 0x30, 0]).is_err());
    }

    #[test]
    fn an_extension_that_occurs_twice_is_refused() {
        let bytes = written(|writer| {
            write_subject_key_identifier(writer, &[1]);
            write_subject_key_identifier(writer, &[2]);
        });
        let error = read_all(&mut Reader::new(&bytes), "test").unwrap_err();
        assert_eq!(error, Malformed("an extension occurs twice"));
    }

    #[test]
    fn absent_urls_write_nothing() {
        let bytes = written(|writer| {
            write_authority_info_access(writer, None, None);
            write_crl_distribution_point(writer, None);
            write_subject_alt_name(writer, &[], true);
        });
        assert_eq!(bytes, [0x30, 0]);
    }

    proptest! {
        #[test]
        fn reading_values_never_panics(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = read_basic_constraints(&value);
            let _ = read_key_usage(&value);
            let _ = read_extended_key_usage(&value);
            let _ = read_subject_key_identifier(&value);
            let _ = read_authority_key_identifier(&value);
            if let Ok(names) = read_general_names(&value) {
                let _ = names.count();
            }
            let _ = read_all(&mut Reader::new(&value), "test");
        }
    }
}
