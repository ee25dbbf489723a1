//! An authority that can sign: its certificate and its key, with all that is the same in every
//! certificate it issues worked out once.

use std::fmt;
use std::sync::Arc;

use crate::asn1::{Malformed, Writer};
use crate::certificate::Certificate;
use crate::extension;
use crate::key::SigningKey;
use crate::ocsp::IssuerHashes;
use crate::profile::{NameConstraints, Validity};

/// An authority's certificate and key. Clones share both.
#[derive(Clone)]
pub struct Signer(Arc<Inner>);

struct Inner {
    certificate: Certificate,
    key: SigningKey,
    validity: Validity,
    authority_key_identifier: Vec<u8>,
    name_constraints: Vec<NameConstraints>,
    issuer_hashes: IssuerHashes,
}

impl Signer {
    /// Puts an authority's certificate and key together.
    ///
    /// # Errors
    /// [`SignerError`], each variant.
    pub fn new(certificate: Certificate, key: impl Into<SigningKey>) -> Result<Self, SignerError> {
        Self::below(certificate, key, &[])
    }

    /// The same for an authority below others: what it signs lies within the validity and the name
    /// constraints of all of them. What `superiors` signed is not looked at.
    ///
    /// # Errors
    /// [`SignerError`], each variant.
    pub fn below(
        certificate: Certificate,
        key: impl Into<SigningKey>,
        superiors: &[Certificate],
    ) -> Result<Self, SignerError> {
        let key = key.into();
        if certificate.spki_der() != key.public_key().spki_der() {
            return Err(SignerError::KeyMismatch);
        }
        let may_sign = certificate.is_ca() && certificate.may_sign_certificates();
        if !may_sign || certificate.subject().is_empty() {
            return Err(SignerError::NotAnAuthority);
        }
        let mut validity = validity_of(&certificate)?;
        let mut name_constraints = Vec::new();
        for superior in std::iter::once(&certificate).chain(superiors) {
            validity = validity
                .within(&validity_of(superior)?)
                .ok_or(SignerError::Malformed("the validity"))?;
            if let Some(value) = superior.name_constraints() {
                let read = NameConstraints::read(value);
                name_constraints
                    .push(read.map_err(|Malformed(what)| SignerError::Malformed(what))?);
            }
        }
        let mut authority_key_identifier = Writer::new();
        // RFC 5280 4.2.1.1: it must be the identifier that the issuer's certificate states.
        match certificate.subject_key_identifier() {
            Some(stated) => {
                extension::write_authority_key_identifier(&mut authority_key_identifier, stated);
            }
            None => extension::write_authority_key_identifier(
                &mut authority_key_identifier,
                &key.public_key().key_identifier(),
            ),
        }
        Ok(Self(Arc::new(Inner {
            issuer_hashes: IssuerHashes::of(&certificate),
            certificate,
            key,
            validity,
            authority_key_identifier: authority_key_identifier.finish(),
            name_constraints,
        })))
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// What OCSP requests about this authority's certificates contain.
    pub fn issuer_hashes(&self) -> &IssuerHashes {
        &self.0.issuer_hashes
    }

    /// Whether signatures are made outside of this process.
    pub fn signs_outside(&self) -> bool {
        self.0.key.is_outside()
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.0.key
    }

    pub(crate) fn validity(&self) -> &Validity {
        &self.0.validity
    }

    /// The whole authority key identifier extension.
    pub(crate) fn authority_key_identifier(&self) -> &[u8] {
        &self.0.authority_key_identifier
    }

    pub(crate) fn name_constraints(&self) -> &[NameConstraints] {
        &self.0.name_constraints
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signer({})", self.0.certificate.subject())
    }
}

fn validity_of(certificate: &Certificate) -> Result<Validity, SignerError> {
    Validity::new(certificate.not_before(), certificate.not_after())
        .map_err(|_| SignerError::Malformed("the validity"))
}

/// Why a certificate and a key do not make an authority.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignerError {
    /// The certificate is for another key.
    #[error("the authority's certificate and key do not belong together")]
    KeyMismatch,
    /// A part of the certificate that signing depends on cannot be read.
    #[error("the authority's certificate is malformed: {0}")]
    Malformed(&'static str),
    /// The certificate does not allow signing certificates.
    #[error("the certificate is not one of an authority")]
    NotAnAuthority,
}
