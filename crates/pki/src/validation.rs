//! The certificate that proves control over a name to an ACME directory (`tls-alpn-01`, RFC 8737
//! section 3, for addresses RFC 8738 section 6).
//!
//! It is of use to nobody else: the critical extension makes all other clients refuse it. So it does
//! not go through the lint of certificates that others rely on.

use crate::asn1::{Writer, oid, tag};
use crate::certificate::Certificate;
use crate::extension::{self, BasicConstraints, key_usage};
use crate::identifier::Identifier;
use crate::key::{KeyError, PrivateKey};
use crate::name::{DistinguishedName, SubjectFields};
use crate::profile::Validity;
use crate::serial::Serial;
use crate::signed;

/// For people who come upon it.
const SUBJECT: &str = "ACME validation";

/// Makes the self-signed certificate that answers a challenge for `identifier`; `digest` is the
/// SHA-256 of its key authorization.
///
/// # Errors
/// [`KeyError::Provider`] if the crypto library fails.
pub fn validation_certificate(
    identifier: &Identifier,
    digest: &[u8; 32],
    serial: &Serial,
    validity: &Validity,
    key: &PrivateKey,
) -> Result<Certificate, KeyError> {
    const UNREADABLE: KeyError = KeyError::Provider("make a readable certificate");
    let subject = DistinguishedName::from_fields(&SubjectFields {
        common_name: Some(SUBJECT.to_owned()),
        ..SubjectFields::default()
    })
    .map_err(|_| UNREADABLE)?;
    let mut writer = Writer::with_capacity(512);
    writer.sequence(|body| {
        body.nested(tag::context_constructed(0), |version| {
            version.unsigned(&[2]);
        });
        serial.write(body);
        body.raw(key.algorithm().signature_algorithm().to_der());
        body.raw(subject.to_der());
        body.sequence(|period| {
            period.time(validity.not_before());
            period.time(validity.not_after());
        });
        body.raw(subject.to_der());
        body.raw(key.public_key().spki_der());
        body.nested(tag::context_constructed(3), |explicit| {
            explicit.sequence(|list| {
                extension::write_basic_constraints(list, BasicConstraints::default());
                extension::write_key_usage(list, key_usage::DIGITAL_SIGNATURE);
                extension::write_subject_alt_name(list, std::slice::from_ref(identifier), false);
                extension::write(list, &oid::ACME_IDENTIFIER, true, |value| {
                    value.element(tag::OCTET_STRING, digest);
                });
            });
        });
    });
    let der = signed::sign(&key.into(), &writer.finish(), |_| {})?;
    Certificate::from_der(&der).map_err(|_| UNREADABLE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use time::Duration;

    use super::*;
    use crate::testing::{self, NOW};

    #[test]
    fn it_names_one_identifier_and_carries_the_digest_in_a_critical_extension() {
        let key = testing::key();
        let validity = Validity::new(NOW, NOW + Duration::days(1)).unwrap();
        for name in ["example.com", "192.0.2.1", "2001:db8::1"] {
            let identifier = Identifier::parse_host(name).unwrap();
            let made =
                validation_certificate(&identifier, &[7; 32], &testing::serial(9), &validity, key);
            let certificate = made.unwrap();
            assert_eq!(certificate.identifiers(), [identifier]);
            assert!(certificate.verify_signature_by(key.public_key()));
            assert!(!certificate.is_ca());
            // 1.3.6.1.5.5.7.1.31, TRUE, and the digest in two octet strings (RFC 8737 section 3).
            let mut extension = vec![6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 31, 1, 1, 0xff, 4, 34, 4, 32];
            extension.extend([7; 32]);
            let der = certificate.der();
            let mut parts = der.windows(extension.len());
            assert!(parts.any(|part| part == extension), "{name}");
        }
    }
}
