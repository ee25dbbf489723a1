//! X.509 for the rest of the house: keys, names, certificate requests, certificates, chains, the
//! private authority's signing, CRLs and OCSP.
//!
//! Everything here is a pure function over bytes and types: no files, no network, no clock. The
//! only randomness is the crypto library's, for generating and encrypting keys and for signing; serial
//! numbers are made from random octets that the caller brings.
//!
//! Types of the ASN.1 and crypto libraries never appear in the interface.

mod asn1;
pub mod certificate;
pub mod chain;
pub mod crl;
mod extension;
pub mod identifier;
pub mod issuance;
pub mod key;
pub mod lint;
pub mod name;
mod name_constraints;
pub mod ocsp;
pub mod pem;
pub mod pkcs12;
pub mod profile;
pub mod request;
pub mod revocation;
pub mod serial;
mod signed;
pub mod signer;
mod subtree;
#[cfg(test)]
mod testing;
mod validation;

pub use certificate::{Certificate, CertificateError};
pub use chain::{Chain, ChainError, MAX_CHAIN, read_certificates, read_chain};
pub use crl::{CrlError, CrlScope, RevokedEntry};
pub use identifier::{DnsName, EmailAddress, Identifier, IdentifierError, MAX_IDENTIFIERS};
pub use issuance::{Linted, Prepared, ProfileError, prepare, prepare_self_signed};
pub use key::{
    KeyAlgorithm, KeyDevice, KeyError, KeyKind, OutsideError, OutsideKey, PrivateKey, PublicKey,
    SignatureAlgorithm, SigningKey,
};
pub use lint::LintError;
pub use name::{DistinguishedName, NameError, SubjectFields, SubjectPart};
pub use ocsp::{
    CertId, CertStatus, HashAlgorithm, IssuerHashes, OcspFailure, OcspRequest, OcspRequestError,
    Responder, ResponderError, VerifiedAnswer, VerifiedAnswerError,
};
pub use profile::{
    CaProfile, LeafProfile, NameConstraints, Profile, ResponderProfile, Subtree, Urls, Usages,
    Validity, ValidityError,
};
pub use request::{CertificateRequest, RequestError};
pub use revocation::{Revocation, RevocationReason, RevocationReasonError};
pub use serial::Serial;
pub use signer::{Signer, SignerError};
pub use subtree::SubtreeError;
pub use validation::validation_certificate;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cross_threads_and_are_cloned() {
        fn check<T: Clone + Send + Sync>() {}
        check::<PrivateKey>();
        check::<PublicKey>();
        check::<Certificate>();
        check::<CertificateRequest>();
        check::<Chain>();
        check::<DistinguishedName>();
        check::<Signer>();
        check::<Responder>();
    }
}
