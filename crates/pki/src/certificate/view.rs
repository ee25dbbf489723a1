//! A TBSCertificate (RFC 5280 4.1) taken apart without copying. Both the reader of certificates
//! and the lint of certificates about to be signed look at them through this.

use time::OffsetDateTime;

use crate::asn1::{Malformed, Reader, parse_time, single, tag};
use crate::extension::{self, Extension};
use crate::serial::Serial;

/// The fields of a TBSCertificate. Names and keys are whole DER elements.
#[derive(Debug)]
pub(crate) struct TbsView<'a> {
    /// The version as it is encoded: 0 for v1, 2 for v3.
    pub(crate) version: u8,
    pub(crate) serial: Serial,
    pub(crate) signature_algorithm: &'a [u8],
    pub(crate) issuer: &'a [u8],
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    pub(crate) subject: &'a [u8],
    pub(crate) spki: &'a [u8],
    pub(crate) extensions: Vec<Extension<'a>>,
}

impl<'a> TbsView<'a> {
    /// Reads the DER of a TBSCertificate.
    pub(crate) fn read(tbs: &'a [u8]) -> Result<Self, Malformed> {
        const WHAT: &str = "the signed part of the certificate";
        let mut reader = single(tbs, tag::SEQUENCE, WHAT)?.reader();
        let version = match reader.optional(tag::context_constructed(0), "the version")? {
            Some(version) => single(version.contents, tag::INTEGER, "the version")?
                .small_integer("the version")?,
            None => 0,
        };
        if version > 2 {
            return Err(Malformed("the version is unknown"));
        }
        let serial =
            Serial::from_integer(&reader.element("the serial number")?, "the serial number")?;
        let signature_algorithm = reader
            .expect(tag::SEQUENCE, "the signature algorithm")?
            .encoded;
        let issuer = reader.expect(tag::SEQUENCE, "the issuer")?.encoded;
        let (not_before, not_after) = validity(&mut reader)?;
        let subject = reader.expect(tag::SEQUENCE, "the subject")?.encoded;
        let spki = reader.expect(tag::SEQUENCE, "the public key")?.encoded;
        // issuerUniqueID and subjectUniqueID: allowed, and of no use.
        reader.optional(tag::context_primitive(1), WHAT)?;
        reader.optional(tag::context_primitive(2), WHAT)?;
        let extensions = match reader.optional(tag::context_constructed(3), "the extensions")? {
            Some(explicit) => {
                let mut inner = explicit.reader();
                let extensions = extension::read_all(&mut inner, "the extensions")?;
                inner.finish("the extensions")?;
                extensions
            }
            None => Vec::new(),
        };
        reader.finish(WHAT)?;
        Ok(Self {
            version,
            serial,
            signature_algorithm,
            issuer,
            not_before,
            not_after,
            subject,
            spki,
            extensions,
        })
    }
}

fn validity(reader: &mut Reader<'_>) -> Result<(OffsetDateTime, OffsetDateTime), Malformed> {
    const WHAT: &str = "the validity";
    let mut validity = reader.sequence(WHAT)?;
    let not_before = parse_time(&validity.element(WHAT)?, WHAT)?;
    let not_after = parse_time(&validity.element(WHAT)?, WHAT)?;
    validity.finish(WHAT)?;
    Ok((not_before, not_after))
}
