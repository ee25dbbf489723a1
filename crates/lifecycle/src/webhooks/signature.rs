//! Signatures of deliveries: HMAC-SHA256 (RFC 2104) over the very octets of the body, so that a
//! receiver knows who sent them.

use aws_lc_rs::hmac;

/// The name of the header that has the signature, in lower-case hexadecimal.
pub(super) const HEADER: &str = "x-signature";

/// The signature of a body.
pub(super) fn of(secret: &[u8], body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, body);
    let octets = tag.as_ref().iter();
    octets.map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_rfc_4231_section_4_3() {
        assert_eq!(
            of(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
