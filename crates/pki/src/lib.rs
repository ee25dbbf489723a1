//! X.509 for the rest of the house: keys, names, certificate requests, certificates, chains, the
//! private authority's signing, CRLs and OCSP.
//!
//! Everything here is a pure function over bytes and types: no files, no network, no clock. The
//! only randomness is the crypto library's, for generating keys and for signing; serial numbers
//! are made from random octets that the caller brings.
//!
//! Types of the ASN.1 and crypto libraries never appear in the interface.

mod asn1;
pub mod certificate;
mod extension;
pub mod identifier;
pub mod key;
pub mod name;
pub mod pem;
pub mod request;
pub mod revocation;
pub mod serial;
mod signed;

pub use certificate::{Certificate, CertificateError};
pub use identifier::{DnsName, EmailAddress, Identifier, IdentifierError, MAX_IDENTIFIERS};
pub use key::{KeyAlgorithm, KeyError, KeyKind, PrivateKey, PublicKey, SignatureAlgorithm};
pub use name::{DistinguishedName, NameError, SubjectFields};
pub use request::{CertificateRequest, RequestError};
pub use revocation::{Revocation, RevocationReason, RevocationReasonError};
pub use serial::Serial;
