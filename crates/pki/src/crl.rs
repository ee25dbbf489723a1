//! Certificate revocation lists (RFC 5280 section 5), version 2, complete.

use time::OffsetDateTime;

use crate::asn1::{Writer, oid, tag};
use crate::extension::{self, key_usage};
use crate::key::KeyError;
use crate::pem;
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
}

/// Builds and signs a list, as DER.
///
/// `number` must grow from list to list. With `issuing_distribution_point`, the URL of one shard,
/// the list counts only for certificates that name the same URL (RFC 5280 5.2.5).
///
/// # Errors
/// [`CrlError`], each variant.
pub fn build(
    issuer: &Signer,
    number: u64,
    this_update: OffsetDateTime,
    next_update: OffsetDateTime,
    entries: impl IntoIterator<Item = RevokedEntry>,
    issuing_distribution_point: Option<&str>,
) -> Result<Vec<u8>, CrlError> {
    if next_update.unix_timestamp() <= this_update.unix_timestamp() {
        return Err(CrlError::Updates);
    }
    let certificate = issuer.certificate();
    if certificate
        .key_usage()
        .is_some_and(|usage| usage & key_usage::CRL_SIGN == 0)
    {
        return Err(CrlError::NotAllowed);
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
                if let Some(url) = issuing_distribution_point {
                    extension::write(
                        extensions,
                        &oid::ISSUING_DISTRIBUTION_POINT,
                        true,
                        |value| {
                            value.sequence(|point| {
                                extension::write_distribution_point_name(point, url);
                            });
                        },
                    );
                }
            });
        });
    });
    Ok(signed::sign(issuer.key(), &writer.finish(), |_| {})?)
}

/// A PEM block of type `X509 CRL` around a list's DER.
pub fn to_pem(der: &[u8]) -> String {
    std::mem::take(&mut *pem::encode("X509 CRL", der))
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
