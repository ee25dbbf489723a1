//! The online certificate status protocol (RFC 6960, RFC 9654): reading requests and signing answers
//! for our own authorities, asking and believing the responders of others.
//!
//! What a certificate's status is, and whether a request is about an issuer of ours, is decided
//! elsewhere; this module only knows the messages.

mod hashes;
mod request;
mod response;
mod verified;

pub use hashes::{HashAlgorithm, IssuerHashes};
pub use request::{CertId, OcspRequest, OcspRequestError};
pub use response::{CertStatus, OcspFailure, Responder, ResponderError};
pub use verified::{MAX_ANSWER, VerifiedAnswer, VerifiedAnswerError};

/// The most certificates one request may ask about.
pub const MAX_CERT_IDS: usize = 64;
/// The longest nonce, in octets (RFC 9654 2.1).
pub const MAX_NONCE: usize = 128;
/// The longest request, in octets.
pub const MAX_REQUEST: usize = 16 * 1024;
