//! Certificates, ours and other people's (RFC 5280). Strict about DER, lenient about content: a
//! certificate that is in use somewhere can be read and shown.

mod view;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use time::OffsetDateTime;
pub(crate) use view::TbsView;

use crate::asn1::{Malformed, oid, single, tag};
use crate::extension::{self, BasicConstraints, key_usage};
use crate::identifier::{DnsName, Identifier};
use crate::key::{KeyError, PublicKey, public_key_bits, sha256};
use crate::name::{DistinguishedName, NameError};
use crate::pem;
use crate::profile::NameConstraints;
use crate::serial::Serial;
use crate::signed::Signed;

/// A certificate: its DER and what can be read from it. Clones share both.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    der: Box<[u8]>,
    body: Range<usize>,
    algorithm: Box<[u8]>,
    signature: Box<[u8]>,
    serial: Serial,
    issuer: DistinguishedName,
    subject: DistinguishedName,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    spki: Box<[u8]>,
    basic_constraints: BasicConstraints,
    key_usage: Option<u16>,
    is_ocsp_signer: bool,
    subject_key_identifier: Option<Box<[u8]>>,
    authority_key_identifier: Option<Box<[u8]>>,
    subject_alt_name: Option<Box<[u8]>>,
    name_constraints: Option<Box<[u8]>>,
    ocsp_url: Option<Box<str>>,
}

impl Certificate {
    /// Reads a DER certificate.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        const WHAT: &str = "the outer structure";
        let outer = single(der, tag::SEQUENCE, WHAT)?;
        let mut reader = outer.reader();
        let signed = Signed::read(&mut reader, WHAT)?;
        reader.finish(WHAT)?;
        let view = TbsView::read(signed.body.encoded)?;
        if view.signature_algorithm != signed.algorithm {
            // RFC 5280 4.1.1.2 demands it; a difference is an attack or a broken encoder.
            return Err(CertificateError::Malformed(
                "the two signature algorithms differ",
            ));
        }
        public_key_bits(view.spki)?;
        let start = der.len() - outer.contents.len();
        let find = |object| extension::find(&view.extensions, object).map(|found| found.value);
        let basic_constraints = find(&oid::BASIC_CONSTRAINTS)
            .map(extension::read_basic_constraints)
            .transpose()?
            .unwrap_or_default();
        let key_usage = find(&oid::KEY_USAGE)
            .map(extension::read_key_usage)
            .transpose()?;
        let is_ocsp_signer = find(&oid::EXTENDED_KEY_USAGE)
            .map(extension::read_extended_key_usage)
            .transpose()?
            .is_some_and(|purposes| purposes.contains(&oid::PURPOSE_OCSP_SIGNING.as_bytes()));
        Ok(Self(Arc::new(Inner {
            body: start..start + signed.body.encoded.len(),
            algorithm: signed.algorithm.into(),
            signature: signed.signature.into(),
            issuer: DistinguishedName::from_der(view.issuer)?,
            subject: DistinguishedName::from_der(view.subject)?,
            not_before: view.not_before,
            not_after: view.not_after,
            spki: view.spki.into(),
            basic_constraints,
            key_usage,
            is_ocsp_signer,
            // A key identifier is a hint: one that cannot be read is as good as none.
            subject_key_identifier: find(&oid::SUBJECT_KEY_IDENTIFIER)
                .and_then(|value| extension::read_subject_key_identifier(value).ok())
                .map(Into::into),
            authority_key_identifier: find(&oid::AUTHORITY_KEY_IDENTIFIER)
                .and_then(|value| {
                    extension::read_authority_key_identifier(value)
                        .ok()
                        .flatten()
                })
                .map(Into::into),
            subject_alt_name: find(&oid::SUBJECT_ALT_NAME).map(Into::into),
            name_constraints: find(&oid::NAME_CONSTRAINTS).map(Into::into),
            // Whom to ask is a hint, too.
            ocsp_url: find(&oid::AUTHORITY_INFO_ACCESS)
                .and_then(|value| extension::read_ocsp_url(value).ok().flatten())
                .map(Into::into),
            serial: view.serial,
            der: der.into(),
        })))
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`CertificateError::NoCertificate`] and [`CertificateError::Malformed`].
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let block = pem::blocks(text)
            .find(|block| is_certificate_label(block.label()))
            .ok_or(CertificateError::NoCertificate)?;
        let der = block
            .decode()
            .ok_or(CertificateError::Malformed("the PEM block is not base64"))?;
        Self::from_der(&der)
    }

    /// The DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// A PEM block of type `CERTIFICATE`.
    pub fn to_pem(&self) -> String {
        std::mem::take(&mut *pem::encode("CERTIFICATE", &self.0.der))
    }

    /// Whom the certificate is for.
    pub fn subject(&self) -> &DistinguishedName {
        &self.0.subject
    }

    /// Who signed it.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.0.issuer
    }

    /// The serial number; certificates from outside may have an odd one.
    pub fn serial(&self) -> &Serial {
        &self.0.serial
    }

    /// The first moment of its validity.
    pub fn not_before(&self) -> OffsetDateTime {
        self.0.not_before
    }

    /// The last second of its validity.
    pub fn not_after(&self) -> OffsetDateTime {
        self.0.not_after
    }

    /// The public key.
    ///
    /// # Errors
    /// [`KeyError`] if the key is of a kind that is not supported, or weak.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        PublicKey::from_spki_der(&self.0.spki)
    }

    /// The DER SubjectPublicKeyInfo, whatever kind of key it is.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// The subject alternative names that are DNS names, IP or e-mail addresses. Other kinds and
    /// entries that cannot be read are passed over.
    pub fn identifiers(&self) -> Vec<Identifier> {
        let value = self.0.subject_alt_name.as_deref();
        value
            .and_then(|value| extension::read_general_names(value).ok())
            .map(|names| names.filter_map(Result::ok).collect())
            .unwrap_or_default()
    }

    /// The subject's most specific common name.
    pub fn common_name(&self) -> Option<String> {
        self.0.subject.common_name()
    }

    /// Whether its basic constraints make it an authority's.
    pub fn is_ca(&self) -> bool {
        self.0.basic_constraints.is_ca
    }

    /// How many authorities may stand between this one and a leaf, if that is limited.
    pub fn path_length(&self) -> Option<u8> {
        self.0.basic_constraints.path_length
    }

    /// Whether its key usage, if it states one, lets its key sign certificates.
    pub fn may_sign_certificates(&self) -> bool {
        self.may(key_usage::KEY_CERT_SIGN)
    }

    /// Whether its key usage, if it states one, lets its key sign revocation lists.
    pub fn may_sign_lists(&self) -> bool {
        self.may(key_usage::CRL_SIGN)
    }

    /// Whether its extended key usage includes signing OCSP answers for its issuer.
    pub fn is_ocsp_signer(&self) -> bool {
        self.0.is_ocsp_signer
    }

    /// The identifier of its own key.
    pub fn subject_key_identifier(&self) -> Option<&[u8]> {
        self.0.subject_key_identifier.as_deref()
    }

    /// The identifier of its issuer's key.
    pub fn authority_key_identifier(&self) -> Option<&[u8]> {
        self.0.authority_key_identifier.as_deref()
    }

    /// Where its issuer answers OCSP questions about it (RFC 5280 4.2.2.1).
    pub fn ocsp_url(&self) -> Option<&str> {
        self.0.ocsp_url.as_deref()
    }

    /// Whether subject and issuer are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.0.subject == self.0.issuer
    }

    /// Whether the certificate is for `name`: a subject alternative name covers it, or the subject's
    /// common name equals it. A wildcard `name` must appear literally.
    pub fn covers(&self, name: &DnsName) -> bool {
        let by_alternative_name = self
            .identifiers()
            .iter()
            .any(|identifier| matches!(identifier, Identifier::Dns(own) if own.covers(name)));
        by_alternative_name
            || self
                .common_name()
                .and_then(|common_name| DnsName::parse(&common_name).ok())
                .is_some_and(|common_name| common_name == *name)
    }

    /// Whether `key` made the signature. False for signature algorithms that are not supported.
    pub fn verify_signature_by(&self, key: &PublicKey) -> bool {
        self.check_signature(key) == Some(true)
    }

    /// SHA-256 of the DER.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.0.der)
    }

    /// The name constraints of an authority; `None` if there are some that are not understood or
    /// cannot be read, so that nobody can tell which names they allow.
    pub fn understood_name_constraints(&self) -> Option<NameConstraints> {
        let Some(value) = self.name_constraints() else {
            return Some(NameConstraints::default());
        };
        match NameConstraints::read_all(value) {
            Ok((constraints, true)) => Some(constraints),
            _ => None,
        }
    }

    /// `None` if the signature algorithm is not supported.
    pub(crate) fn check_signature(&self, key: &PublicKey) -> Option<bool> {
        let body = self.0.der.get(self.0.body.clone()).unwrap_or_default();
        let algorithm = crate::key::SignatureAlgorithm::from_der(&self.0.algorithm)?;
        Some(key.verify(algorithm, body, &self.0.signature))
    }

    fn may(&self, usage: u16) -> bool {
        self.key_usage().is_none_or(|usages| usages & usage != 0)
    }

    /// The key usage bits, if the extension is there.
    pub(crate) fn key_usage(&self) -> Option<u16> {
        self.0.key_usage
    }

    /// The value of the name constraints extension, if it is there.
    pub(crate) fn name_constraints(&self) -> Option<&[u8]> {
        self.0.name_constraints.as_deref()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Certificate")
            .field("subject", &self.0.subject)
            .field("issuer", &self.0.issuer)
            .field("serial", &self.0.serial)
            .finish_non_exhaustive()
    }
}

/// Why a certificate cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CertificateError {
    /// It is not DER, or not a certificate; the text says which part.
    #[error("the certificate is malformed: {0}")]
    Malformed(&'static str),
    /// The PEM text has no certificate block.
    #[error("no certificate found; expected a PEM block BEGIN CERTIFICATE")]
    NoCertificate,
}

impl From<Malformed> for CertificateError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

impl From<NameError> for CertificateError {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Malformed(what) => Self::Malformed(what),
            _ => Self::Malformed("a distinguished name"),
        }
    }
}

/// The labels of RFC 7468 section 5 and of old OpenSSL versions.
pub(crate) fn is_certificate_label(label: &str) -> bool {
    matches!(label, "CERTIFICATE" | "X509 CERTIFICATE")
}
