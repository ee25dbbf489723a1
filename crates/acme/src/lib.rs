//! ACME (RFC 8555) on the wire: the pieces that a client and a server have in common.
//!
//! Everything here is a pure function over text and types: no network, no clock, no randomness.

mod challenge;
pub mod client;
mod jwk;
mod jws;
mod problem;

pub use challenge::{KeyAuthorization, Token, TokenError};
pub use jwk::{Jwk, UnreadableKey};
pub use jws::{Jws, Signatory, UnusableKey};
pub use problem::{ErrorKind, Identifier, Problem};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The base64url of RFC 8555 section 6.1: without padding.
fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(digest(&SHA256, bytes).as_ref());
    octets
}
