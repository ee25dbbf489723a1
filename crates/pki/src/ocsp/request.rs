//! OCSP requests (RFC 6960 4.1). They come from anybody: everything is bounded.

use super::{HashAlgorithm, IssuerHashes, MAX_CERT_IDS, MAX_NONCE, MAX_REQUEST};
use crate::asn1::{Element, Malformed, Reader, Writer, oid, single, tag};
use crate::extension;
use crate::key::read_algorithm;
use crate::serial::Serial;

/// A question about certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OcspRequest {
    /// The certificates, from 1 to [`MAX_CERT_IDS`].
    pub cert_ids: Vec<CertId>,
    /// What the answer must repeat, from 1 to [`MAX_NONCE`] octets.
    pub nonce: Option<Vec<u8>>,
}

impl OcspRequest {
    /// Reads a DER request. The requestor's name and signature are passed over.
    ///
    /// # Errors
    /// [`OcspRequestError`]; each is answered with `malformedRequest`.
    pub fn from_der(der: &[u8]) -> Result<Self, OcspRequestError> {
        const WHAT: &str = "the request";
        const LIST: &str = "the list of certificates";
        if der.len() > MAX_REQUEST {
            return Err(OcspRequestError::TooLong);
        }
        let mut outer = single(der, tag::SEQUENCE, WHAT)?.reader();
        let mut body = outer.sequence(WHAT)?;
        outer.optional(tag::context_constructed(0), "the signature")?;
        outer.finish(WHAT)?;

        if let Some(version) = body.optional(tag::context_constructed(0), "the version")? {
            let version = single(version.contents, tag::INTEGER, "the version")?;
            if version.small_integer("the version")? != 0 {
                return Err(OcspRequestError::Malformed("the version"));
            }
        }
        body.optional(tag::context_constructed(1), "the requestor's name")?;
        let mut list = body.sequence(LIST)?;
        let extensions = body.optional(tag::context_constructed(2), "the extensions")?;
        body.finish(WHAT)?;

        let mut cert_ids = Vec::with_capacity(1);
        while !list.is_empty() {
            if cert_ids.len() == MAX_CERT_IDS {
                return Err(OcspRequestError::TooManyCertificates);
            }
            let mut single_request = list.sequence(LIST)?;
            cert_ids.push(CertId::read(&single_request.element(LIST)?)?);
            if let Some(extensions) = single_request.optional(tag::context_constructed(0), LIST)? {
                let mut extensions = extensions.reader();
                refuse_critical(&extension::read_all(&mut extensions, LIST)?, &[])?;
                extensions.finish(LIST)?;
            }
            single_request.finish(LIST)?;
        }
        if cert_ids.is_empty() {
            return Err(OcspRequestError::Malformed(LIST));
        }
        let nonce = match extensions {
            Some(extensions) => read_nonce(&extensions)?,
            None => None,
        };
        Ok(Self { cert_ids, nonce })
    }

    /// The request as unsigned DER.
    pub fn to_der(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(256);
        writer.sequence(|outer| {
            outer.sequence(|body| {
                body.sequence(|list| {
                    for cert_id in &self.cert_ids {
                        list.sequence(|single_request| single_request.raw(cert_id.as_der()));
                    }
                });
                if let Some(nonce) = &self.nonce {
                    body.nested(tag::context_constructed(2), |explicit| {
                        explicit.sequence(|extensions| write_nonce(extensions, nonce));
                    });
                }
            });
        });
        writer.finish()
    }
}

/// What names one certificate: its issuer, by hashes, and its serial number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertId {
    der: Box<[u8]>,
    hash_algorithm: Option<HashAlgorithm>,
    issuer_name_hash: Box<[u8]>,
    issuer_key_hash: Box<[u8]>,
    serial: Option<Serial>,
}

impl CertId {
    /// Names the certificate with this serial number of this issuer.
    pub fn new(hash_algorithm: HashAlgorithm, issuer: &IssuerHashes, serial: &Serial) -> Self {
        let (name_hash, key_hash) = issuer.get(hash_algorithm);
        let mut writer = Writer::with_capacity(128);
        writer.sequence(|inner| {
            inner.sequence(|algorithm| {
                algorithm.oid(hash_algorithm.oid());
                algorithm.null();
            });
            inner.element(tag::OCTET_STRING, name_hash);
            inner.element(tag::OCTET_STRING, key_hash);
            serial.write(inner);
        });
        Self {
            der: writer.finish().into(),
            hash_algorithm: Some(hash_algorithm),
            issuer_name_hash: name_hash.into(),
            issuer_key_hash: key_hash.into(),
            serial: Some(serial.clone()).filter(Serial::is_conforming),
        }
    }

    /// The DER exactly as it was in the request, which is how the answer repeats it.
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The hash that names the issuer; `None` if it is not a supported one.
    pub fn hash_algorithm(&self) -> Option<HashAlgorithm> {
        self.hash_algorithm
    }

    /// The serial number. `None` if it is one that no certificate of ours can have (zero, negative,
    /// or too long): the status of such a certificate is unknown.
    pub fn serial(&self) -> Option<&Serial> {
        self.serial.as_ref()
    }

    /// Whether the certificate is one of this issuer.
    pub fn issued_by(&self, issuer: &IssuerHashes) -> bool {
        self.hash_algorithm.is_some_and(|algorithm| {
            issuer.get(algorithm) == (&*self.issuer_name_hash, &*self.issuer_key_hash)
        })
    }

    /// Whether both name the same certificate by the same hashes. The encoding may differ where a
    /// responder writes the parameters of the hash in its own way.
    pub(super) fn names_the_same(&self, other: &Self) -> bool {
        self.hash_algorithm.is_some()
            && self.hash_algorithm == other.hash_algorithm
            && self.issuer_name_hash == other.issuer_name_hash
            && self.issuer_key_hash == other.issuer_key_hash
            && self.serial.is_some()
            && self.serial == other.serial
    }

    pub(super) fn read(element: &Element<'_>) -> Result<Self, Malformed> {
        const WHAT: &str = "a certificate ID";
        if element.tag != tag::SEQUENCE {
            return Err(Malformed(WHAT));
        }
        let mut reader: Reader<'_> = element.reader();
        let (object, parameters) = read_algorithm(&reader.element(WHAT)?, WHAT)?;
        let issuer_name_hash = reader.expect(tag::OCTET_STRING, WHAT)?.contents;
        let issuer_key_hash = reader.expect(tag::OCTET_STRING, WHAT)?.contents;
        let serial = reader.expect(tag::INTEGER, WHAT)?;
        reader.finish(WHAT)?;
        // RFC 5754 section 2: parameters absent or NULL, both must be accepted.
        let has_plain_parameters =
            parameters.is_none_or(|parameters| parameters.encoded == [tag::NULL, 0]);
        serial.integer(WHAT)?;
        Ok(Self {
            der: element.encoded.into(),
            hash_algorithm: HashAlgorithm::from_oid(object).filter(|_| has_plain_parameters),
            issuer_name_hash: issuer_name_hash.into(),
            issuer_key_hash: issuer_key_hash.into(),
            serial: Serial::from_integer(&serial, WHAT)
                .ok()
                .filter(Serial::is_conforming),
        })
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OcspRequestError {
    /// It is not DER, or not a request; the text says which part.
    #[error("the OCSP request is malformed: {0}")]
    Malformed(&'static str),
    /// The nonce is empty or longer than [`MAX_NONCE`] octets (RFC 9654 2.1).
    #[error("the nonce must have 1 to {MAX_NONCE} octets")]
    Nonce,
    /// It is longer than [`MAX_REQUEST`] octets.
    #[error("the OCSP request is longer than {MAX_REQUEST} octets")]
    TooLong,
    /// It asks about more than [`MAX_CERT_IDS`] certificates.
    #[error("the OCSP request asks about more than {MAX_CERT_IDS} certificates")]
    TooManyCertificates,
}

impl From<Malformed> for OcspRequestError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

pub(super) fn write_nonce(extensions: &mut Writer, nonce: &[u8]) {
    extension::write(extensions, &oid::OCSP_NONCE, false, |value| {
        value.element(tag::OCTET_STRING, nonce);
    });
}

fn read_nonce(explicit: &Element<'_>) -> Result<Option<Vec<u8>>, OcspRequestError> {
    const WHAT: &str = "the extensions";
    let mut reader = explicit.reader();
    let extensions = extension::read_all(&mut reader, WHAT)?;
    reader.finish(WHAT)?;
    refuse_critical(&extensions, oid::OCSP_NONCE.as_bytes())?;
    let Some(extension) = extension::find(&extensions, &oid::OCSP_NONCE) else {
        return Ok(None);
    };
    let nonce = single(extension.value, tag::OCTET_STRING, "the nonce")?.contents;
    if (1..=MAX_NONCE).contains(&nonce.len()) {
        Ok(Some(nonce.to_vec()))
    } else {
        Err(OcspRequestError::Nonce)
    }
}

/// RFC 6960 4.4: extensions that are not understood may be ignored unless they are critical.
fn refuse_critical(
    extensions: &[extension::Extension<'_>],
    known: &[u8],
) -> Result<(), OcspRequestError> {
    if extensions
        .iter()
        .any(|extension| extension.critical && extension.object != known)
    {
        Err(OcspRequestError::Malformed(
            "a critical extension is not known",
        ))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn cert_id(algorithm: HashAlgorithm, serial: u128) -> CertId {
        let serial = Serial::from_be_bytes(&serial.to_be_bytes()).unwrap();
        CertId::new(algorithm, testing::signer().issuer_hashes(), &serial)
    }

    fn request_with(write_extensions: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.sequence(|outer| {
            outer.sequence(|body| {
                body.sequence(|list| {
                    list.sequence(|request| request.raw(cert_id(HashAlgorithm::Sha1, 5).as_der()));
                });
                body.nested(tag::context_constructed(2), |explicit| {
                    explicit.sequence(write_extensions);
                });
            });
        });
        writer.finish()
    }

    #[test]
    fn an_id_belongs_to_its_issuer_and_no_other() {
        let other = testing::authority(crate::KeyAlgorithm::P256);
        for algorithm in HashAlgorithm::ALL {
            let id = cert_id(algorithm, 7);
            assert!(id.issued_by(testing::signer().issuer_hashes()));
            assert!(!id.issued_by(other.issuer_hashes()));
            assert_eq!(id.serial().unwrap().low64(), 7);
        }
    }

    #[test]
    fn parameters_of_the_hash_may_be_absent_and_are_repeated_as_they_came() {
        let with_null = cert_id(HashAlgorithm::Sha256, 9);
        let (name_hash, key_hash) = testing::signer().issuer_hashes().get(HashAlgorithm::Sha256);
        let mut writer = Writer::new();
        writer.sequence(|inner| {
            inner.sequence(|algorithm| algorithm.oid(&oid::SHA256));
            inner.element(tag::OCTET_STRING, name_hash);
            inner.element(tag::OCTET_STRING, key_hash);
            inner.unsigned(&[9]);
        });
        let bytes = writer.finish();
        let without_null = CertId::read(&single(&bytes, tag::SEQUENCE, "id").unwrap()).unwrap();
        assert!(without_null.issued_by(testing::signer().issuer_hashes()));
        assert_eq!(without_null.as_der(), bytes);
        assert_ne!(without_null.as_der(), with_null.as_der());
    }

    #[test]
    fn serials_that_cannot_be_ours_are_none() {
        for contents in [&[0][..], &[0x80], &[0x7f; 21], &[0x7f; 100]] {
            let mut writer = Writer::new();
            writer.sequence(|inner| {
                inner.sequence(|algorithm| algorithm.oid(&oid::SHA1));
                inner.element(tag::OCTET_STRING, &[]);
                inner.element(tag::OCTET_STRING, &[]);
                inner.element(tag::INTEGER, contents);
            });
            let bytes = writer.finish();
            let id = CertId::read(&single(&bytes, tag::SEQUENCE, "id").unwrap()).unwrap();
            assert_eq!(id.serial(), None);
            assert!(!id.issued_by(testing::signer().issuer_hashes()));
        }
    }

    #[test]
    fn nonces_have_their_limits() {
        for (length, is_allowed) in [(0, false), (1, true), (128, true), (129, false)] {
            let der = request_with(|extensions| write_nonce(extensions, &vec![1; length]));
            let outcome = OcspRequest::from_der(&der);
            if is_allowed {
                assert_eq!(outcome.unwrap().nonce, Some(vec![1; length]));
            } else {
                assert_eq!(outcome, Err(OcspRequestError::Nonce));
            }
        }
    }

    #[test]
    fn unknown_extensions_are_ignored_unless_critical() {
        let with = |critical| {
            request_with(|extensions| {
                extension::write(extensions, &oid::CRL_NUMBER, critical, Writer::null);
            })
        };
        assert!(OcspRequest::from_der(&with(false)).is_ok());
        assert!(OcspRequest::from_der(&with(true)).is_err());
    }

    #[test]
    fn requests_have_limits() {
        let request = |count| OcspRequest {
            cert_ids: vec![cert_id(HashAlgorithm::Sha1, 3); count],
            nonce: None,
        };
        assert!(OcspRequest::from_der(&request(MAX_CERT_IDS).to_der()).is_ok());
        assert_eq!(
            OcspRequest::from_der(&request(MAX_CERT_IDS + 1).to_der()),
            Err(OcspRequestError::TooManyCertificates)
        );
        assert!(OcspRequest::from_der(&request(0).to_der()).is_err());
        assert_eq!(
            OcspRequest::from_der(&vec![0x30; MAX_REQUEST + 1]),
            Err(OcspRequestError::TooLong)
        );
    }

    proptest! {
        #[test]
        fn requests_read_back(
            serials in proptest::collection::vec((0_usize..4, 1_u128..u128::MAX), 1..8),
            nonce in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..=MAX_NONCE)),
        ) {
            let request = OcspRequest {
                cert_ids: serials
                    .into_iter()
                    .map(|(index, serial)| cert_id(HashAlgorithm::ALL[index], serial))
                    .collect(),
                nonce,
            };
            prop_assert_eq!(OcspRequest::from_der(&request.to_der()), Ok(request));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = OcspRequest::from_der(&bytes);
        }

        #[test]
        fn never_panics_on_damage(at: proptest::sample::Index, value: u8) {
            let mut der = request_with(|extensions| write_nonce(extensions, &[1; 16]));
            let at = at.index(der.len());
            der[at] = value;
            let _ = OcspRequest::from_der(&der);
        }
    }
}
