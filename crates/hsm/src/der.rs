//! The DER that PKCS#11 leaves to its callers: keys as SubjectPublicKeyInfo (RFC 5280 4.1.2.7),
//! ECDSA signatures as X.509 has them (RFC 3279 2.2.3).

/// The DER object identifiers of curves (RFC 5480, RFC 8410), which PKCS#11 calls EC parameters.
pub(crate) const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(crate) const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
pub(crate) const P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];
pub(crate) const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const RSA_ENCRYPTION: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
];
const NULL: &[u8] = &[0x05, 0x00];
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The key on `curve` whose point PKCS#11 gives as `point`: in an OCTET STRING, as the standard has
/// it, or bare, as some modules do.
pub(crate) fn elliptic_key(curve: &[u8], point: &[u8]) -> Vec<u8> {
    let bare = octets(point).unwrap_or(point);
    let algorithm = if curve == ED25519 {
        element(SEQUENCE, curve)
    } else {
        element(SEQUENCE, &[EC_PUBLIC_KEY, curve].concat())
    };
    key_info(&algorithm, bare)
}

/// The RSA key with this modulus and exponent, big-endian.
pub(crate) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let algorithm = element(SEQUENCE, &[RSA_ENCRYPTION, NULL].concat());
    let key = element(SEQUENCE, &[integer(modulus), integer(exponent)].concat());
    key_info(&algorithm, &key)
}

/// An ECDSA signature out of the two numbers that PKCS#11 joins; `None` if they are not two of one
/// length.
pub(crate) fn ecdsa_signature(joined: &[u8]) -> Option<Vec<u8>> {
    if joined.is_empty() || !joined.len().is_multiple_of(2) {
        return None;
    }
    let (r, s) = joined.split_at(joined.len() / 2);
    Some(element(SEQUENCE, &[integer(r), integer(s)].concat()))
}

fn key_info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let key = element(BIT_STRING, &[&[0], key].concat());
    element(SEQUENCE, &[algorithm, &key].concat())
}

/// The contents of an OCTET STRING that is all there is.
fn octets(encoded: &[u8]) -> Option<&[u8]> {
    let (length, contents) = match encoded {
        [OCTET_STRING, length, contents @ ..] if *length < 0x80 => (usize::from(*length), contents),
        [OCTET_STRING, 0x81, length, contents @ ..] => (usize::from(*length), contents),
        _ => return None,
    };
    (contents.len() == length).then_some(contents)
}

fn integer(big_endian: &[u8]) -> Vec<u8> {
    let significant = big_endian.iter().position(|octet| *octet != 0);
    let digits = significant.and_then(|start| big_endian.get(start..));
    let digits = digits.unwrap_or(&[0]);
    if digits.first().is_some_and(|first| first & 0x80 != 0) {
        element(INTEGER, &[&[0], digits].concat())
    } else {
        element(INTEGER, digits)
    }
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let mut encoded = vec![tag];
    if length < 0x80 {
        encoded.extend(u8::try_from(length));
    } else {
        let octets = length.to_be_bytes();
        let significant = octets.iter().skip_while(|octet| **octet == 0);
        let significant: Vec<u8> = significant.copied().collect();
        encoded.extend(u8::try_from(significant.len()).map(|count| 0x80 | count));
        encoded.extend(significant);
    }
    encoded.extend_from_slice(contents);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positive_and_short() {
        let signature = ecdsa_signature(&[0, 0, 1, 0, 0x80, 0]);
        let expected = vec![0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 0];
        assert_eq!(signature, Some(expected));
        assert_eq!(ecdsa_signature(&[1]), None);
        assert_eq!(ecdsa_signature(&[]), None);
    }

    #[test]
    fn a_point_is_taken_bare_or_wrapped() {
        let point = [4; 65];
        let wrapped = element(OCTET_STRING, &point);
        assert_eq!(elliptic_key(P256, &point), elliptic_key(P256, &wrapped));
    }
}
