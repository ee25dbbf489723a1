//! Certificate revocation lists (RFC 5280 section 5), version 2, complete.

use time::OffsetDateTime;

use crate::asn1::{Writer, oid, parse_time, single, tag};
use crate::extension;
use crate::key::KeyError;
use crate::pem;
use crate::profile::Urls;
use crate::revocation::RevocationReason;
use crate::serial::Serial;
use crate::signed;
use crate::signer::Signer;

/// One revoked certificate of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RevokedEntry {
    /// Its serial number.
    pub serial: Serial,
    /// When it was revoked.
    pub at: OffsetDateTime,
    /// Why; [`RevocationReason::Unspecified`] is not written, as RFC 5280 5.3.1 advises.
    pub reason: RevocationReason,
}

/// For which certificates of its issuer a list counts. Where that is not for all, the list says so
/// in a critical issuing distribution point (RFC 5280 5.2.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CrlScope<'a> {
    /// For all.
    All,
    /// For those of CAs, wherever they say that their list is.
    Authorities,
    /// For those that name this URL.
    Point(&'a str),
}

/// Why a list cannot be built.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CrlError {
    /// The list could not be signed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The issuer's key usage does not allow signing CRLs.
    #[error("the issuer's certificate does not allow signing CRLs")]
    NotAllowed,
    /// The next update is not later than this one.
    #[error("the next update of a CRL must be later than this update")]
    Updates,
    /// The issuing distribution point is not plain ASCII with a scheme.
    #[error("the distribution point of a CRL is not a valid URL")]
    Url,
}

/// Builds and signs a list, as DER.
///
/// `number` must grow from list to list of the same scope.
///
/// # Errors
/// [`CrlError`], each variant.
pub fn build(
    issuer: &Signer,
    number: u64,
    this_update: OffsetDateTime,
    next_update: OffsetDateTime,
    entries: impl IntoIterator<Item = RevokedEntry>,
    scope: CrlScope<'_>,
) -> Result<Vec<u8>, CrlError> {
    if next_update.unix_timestamp() <= this_update.unix_timestamp() {
        return Err(CrlError::Updates);
    }
    let certificate = issuer.certificate();
    if !certificate.may_sign_lists() {
        return Err(CrlError::NotAllowed);
    }
    if matches!(scope, CrlScope::Point(url) if !Urls::is_url(url)) {
        return Err(CrlError::Url);
    }
    let mut writer = Writer::with_capacity(1024);
    writer.sequence(|list| {
        list.unsigned(&[1]);
        list.raw(issuer.key().algorithm().signature_algorithm().to_der());
        list.raw(certificate.subject().to_der());
        list.time(this_update);
        list.time(next_update);
        let mut entries = entries.into_iter().peekable();
        // RFC 5280 5.1.2.6: the list of entries is absent when there is none.
        if entries.peek().is_some() {
            list.sequence(|list| {
                for entry in entries {
                    write_entry(list, &entry);
                }
            });
        }
        list.nested(tag::context_constructed(0), |explicit| {
            explicit.sequence(|extensions| {
                extensions.raw(issuer.authority_key_identifier());
                extension::write(extensions, &oid::CRL_NUMBER, false, |value| {
                    value.unsigned(&number.to_be_bytes());
                });
                if scope != CrlScope::All {
                    extension::write(
                        extensions,
                        &oid::ISSUING_DISTRIBUTION_POINT,
                        true,
                        |value| value.sequence(|point| scope.write(point)),
                    );
                }
            });
        });
    });
    Ok(signed::sign(issuer.key(), &writer.finish(), |_| {})?)
}

/// When the next list follows after this one, DER; `None` if that cannot be read.
pub fn next_update(der: &[u8]) -> Option<OffsetDateTime> {
    const WHAT: &str = "a CRL";
    let mut outer = single(der, tag::SEQUENCE, WHAT).ok()?.reader();
    let mut list = outer.sequence(WHAT).ok()?;
    list.optional(tag::INTEGER, WHAT).ok()?;
    list.expect(tag::SEQUENCE, WHAT).ok()?;
    list.expect(tag::SEQUENCE, WHAT).ok()?;
    parse_time(&list.element(WHAT).ok()?, WHAT).ok()?;
    parse_time(&list.element(WHAT).ok()?, WHAT).ok()
}

/// A PEM block of type `X509 CRL` around a list's DER.
pub fn to_pem(der: &[u8]) -> String {
    std::mem::take(&mut *pem::encode("X509 CRL", der))
}

impl CrlScope<'_> {
    fn write(self, point: &mut Writer) {
        match self {
            Self::All => {}
            // onlyContainsCACerts
            Self::Authorities => point.element(tag::context_primitive(2), &[0xff]),
            Self::Point(url) => extension::write_distribution_point_name(point, url),
        }
    }
}

fn write_entry(list: &mut Writer, entry: &RevokedEntry) {
    let RevokedEntry { serial, at, reason } = entry;
    list.sequence(|inner| {
        serial.write(inner);
        inner.time(*at);
        if *reason != RevocationReason::Unspecified {
            inner.sequence(|extensions| {
                extension::write(extensions, &oid::REASON_CODE, false, |value| {
                    value.element(tag::ENUMERATED, &[reason.code()]);
                });
            });
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use time::Duration;

    use super::*;
    use crate::asn1::{Reader, single};
    use crate::signed::Signed;
    use crate::testing::{NOW, serial, signer};

    /// Calls `check` with the elements of the signed part, having verified the signature.
    fn elements(der: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut reader = single(der, tag::SEQUENCE, "CRL").unwrap().reader();
        let signed = Signed::read(&mut reader, "CRL").unwrap();
        assert_eq!(signed.is_signed_by(signer().key().public_key()), Some(true));
        let mut body = signed.body.reader();
        let mut elements = Vec::new();
        while !body.is_empty() {
            let element = body.element("CRL").unwrap();
            elements.push((element.tag, element.contents.to_vec()));
        }
        elements
    }

    fn entry(number: u8, reason: RevocationReason) -> RevokedEntry {
        RevokedEntry {
            serial: serial(number),
            at: NOW,
            reason,
        }
    }

    #[test]
    fn an_empty_list_has_no_list_of_entries() {
        let der = build(signer(), 1, NOW, NOW + Duration::days(7), [], CrlScope::All).unwrap();
        let tags: Vec<u8> = elements(&der).into_iter().map(|(tag, _)| tag).collect();
        assert_eq!(tags, [0x02, 0x30, 0x30, 0x17, 0x17, 0xa0]);
    }

    #[test]
    fn reasons_are_written_unless_unspecified() {
        let entries = [
            entry(1, RevocationReason::Unspecified),
            entry(2, RevocationReason::KeyCompromise),
        ];
        let der = build(
            signer(),
            1,
            NOW,
            NOW + Duration::days(7),
            entries,
            CrlScope::All,
        )
        .unwrap();
        let (_, list) = elements(&der).into_iter().nth(5).unwrap();
        let mut list = Reader::new(&list);
        let first = list.expect(tag::SEQUENCE, "entry").unwrap();
        let second = list.expect(tag::SEQUENCE, "entry").unwrap();
        list.finish("entries").unwrap();
        assert!(!first.contents.ends_with(&[0x0a, 1, 0]));
        assert!(second.contents.ends_with(&[0x0a, 1, 1]));
    }

    #[test]
    fn faulty_lists_are_refused() {
        let week = NOW + Duration::days(7);
        assert_eq!(
            build(signer(), 1, NOW, week, [], CrlScope::Point("here")),
            Err(CrlError::Url)
        );
        assert_eq!(
            build(signer(), 1, NOW, NOW, [], CrlScope::All),
            Err(CrlError::Updates)
        );
    }
}
