//! Reading PKCS #12 files (RFC 7292) as OpenSSL, Java and Windows write them today: DER, one
//! passphrase, AES under PBES2, a MAC with SHA-1 or SHA-2. Anything older is refused by name.

use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

use crate::asn1::{Element, ObjectIdentifier, Reader, oid, single, tag};
use crate::certificate::Certificate;
use crate::chain::MAX_CHAIN;
use crate::key::{KeyError, PrivateKey, decrypt, derive, read_rounds};

const WHAT: &str = "not a PKCS #12 file";

/// What a file holds.
#[derive(Debug)]
pub struct Bundle {
    /// The private key.
    pub key: PrivateKey,
    /// The certificates in their order, at most [`MAX_CHAIN`].
    pub certificates: Vec<Certificate>,
}

/// Reads a file that holds one private key. May take seconds of CPU: its writer decides how often
/// the passphrase is hashed, within a limit.
///
/// # Errors
/// [`KeyError`], each variant but `Encrypted` and `Outside`.
pub fn read(der: &[u8], passphrase: &str) -> Result<Bundle, KeyError> {
    let mut reader = single(der, tag::SEQUENCE, WHAT)?.reader();
    reader.expect(tag::INTEGER, WHAT)?;
    let safe = content(&mut reader.sequence(WHAT)?, &oid::DATA)?;
    let safe = single(safe, tag::OCTET_STRING, WHAT)?.contents;
    let mac = reader.optional(tag::SEQUENCE, WHAT)?;
    let mac = mac.ok_or_else(|| KeyError::Unsupported("a PKCS #12 file without MAC".to_owned()))?;
    check_mac(&mac, safe, passphrase)?;
    let mut found = Found::default();
    let mut contents = single(safe, tag::SEQUENCE, WHAT)?.reader();
    while !contents.is_empty() {
        let mut content_info = contents.sequence(WHAT)?;
        let object = content_info.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents;
        let inner = content_info
            .expect(tag::context_constructed(0), WHAT)?
            .contents;
        if object == oid::DATA.as_bytes() {
            let bags = single(inner, tag::OCTET_STRING, WHAT)?.contents;
            found.read_bags(bags, passphrase)?;
        } else if object == oid::ENCRYPTED_DATA.as_bytes() {
            let mut encrypted = single(inner, tag::SEQUENCE, WHAT)?.reader();
            encrypted.expect(tag::INTEGER, WHAT)?;
            let mut encrypted = encrypted.sequence(WHAT)?;
            encrypted.expect(tag::OBJECT_IDENTIFIER, WHAT)?;
            let algorithm = encrypted.expect(tag::SEQUENCE, WHAT)?;
            let text = encrypted.expect(tag::context_primitive(0), WHAT)?;
            let bags = decrypt(&algorithm, text.contents, passphrase)?;
            found.read_bags(&bags, passphrase)?;
        } else {
            let reason = "a PKCS #12 file that is encrypted for a certificate".to_owned();
            return Err(KeyError::Unsupported(reason));
        }
    }
    Ok(Bundle {
        key: found.key.ok_or(KeyError::NoKeyFound)?,
        certificates: found.certificates,
    })
}

#[derive(Default)]
struct Found {
    key: Option<PrivateKey>,
    certificates: Vec<Certificate>,
}

impl Found {
    /// Reads a SafeContents.
    fn read_bags(&mut self, bags: &[u8], passphrase: &str) -> Result<(), KeyError> {
        let mut bags = single(bags, tag::SEQUENCE, WHAT)?.reader();
        while !bags.is_empty() {
            let mut bag = bags.sequence(WHAT)?;
            let object = bag.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents;
            let value = bag.expect(tag::context_constructed(0), WHAT)?.contents;
            if object == oid::KEY_BAG.as_bytes() {
                self.take_key(PrivateKey::from_pkcs8_der(value)?)?;
            } else if object == oid::SHROUDED_KEY_BAG.as_bytes() {
                // Counted first: opening one takes long.
                if self.key.is_some() {
                    return Err(KeyError::SeveralKeys);
                }
                self.take_key(PrivateKey::from_encrypted_der(value, passphrase)?)?;
            } else if object == oid::CERTIFICATE_BAG.as_bytes() {
                let mut bag = single(value, tag::SEQUENCE, WHAT)?.reader();
                let der = content(&mut bag, &oid::X509_CERTIFICATE)?;
                let der = single(der, tag::OCTET_STRING, WHAT)?.contents;
                let unreadable = KeyError::Malformed("a certificate of the PKCS #12 file");
                let certificate = Certificate::from_der(der).map_err(|_| unreadable)?;
                if self.certificates.len() == MAX_CHAIN {
                    return Err(KeyError::Malformed("the PKCS #12 file has too many parts"));
                }
                self.certificates.push(certificate);
            }
        }
        Ok(())
    }

    fn take_key(&mut self, key: PrivateKey) -> Result<(), KeyError> {
        match self.key.replace(key) {
            None => Ok(()),
            Some(_) => Err(KeyError::SeveralKeys),
        }
    }
}

/// What is inside `[0]` after the object identifier `object`.
fn content<'a>(reader: &mut Reader<'a>, object: &ObjectIdentifier) -> Result<&'a [u8], KeyError> {
    if reader.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents != object.as_bytes() {
        return Err(KeyError::Unsupported(
            "a PKCS #12 file that is signed, or holds something else".to_owned(),
        ));
    }
    Ok(reader.expect(tag::context_constructed(0), WHAT)?.contents)
}

/// Checks a MacData (RFC 7292 section 4, RFC 9579).
fn check_mac(mac: &Element<'_>, safe: &[u8], passphrase: &str) -> Result<(), KeyError> {
    let mut reader = mac.reader();
    let mut info = reader.sequence(WHAT)?;
    let algorithm = info.expect(tag::SEQUENCE, WHAT)?;
    let stated = info.expect(tag::OCTET_STRING, WHAT)?.contents;
    let salt = reader.expect(tag::OCTET_STRING, WHAT)?.contents;
    let mut algorithm = algorithm.reader();
    let object = algorithm.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents;
    let key = if object == oid::PBMAC1.as_bytes() {
        let mut parameters = algorithm.sequence(WHAT)?;
        let derivation = parameters.expect(tag::SEQUENCE, WHAT)?;
        let function = pbmac1_function(&mut parameters.sequence(WHAT)?)?;
        let length = function.digest_algorithm().output_len;
        let derived = derive(&derivation, passphrase.as_bytes(), length)?;
        hmac::Key::new(function, &derived)
    } else {
        let hash = MAC_FUNCTIONS
            .iter()
            .find(|(known, ..)| known.as_bytes() == object);
        let unknown = || KeyError::Unsupported("a PKCS #12 MAC with an odd hash".to_owned());
        let (_, hash, block, function) = hash.ok_or_else(unknown)?;
        let rounds = if reader.is_empty() {
            1
        } else {
            read_rounds(&mut reader)?.get()
        };
        let derived = mac_key(hash, *block, passphrase, salt, rounds);
        hmac::Key::new(*function, &derived)
    };
    hmac::verify(&key, safe, stated).map_err(|_| KeyError::Passphrase)
}

type MacFunction = (
    ObjectIdentifier,
    &'static digest::Algorithm,
    usize,
    hmac::Algorithm,
);

/// The hashes of a MAC, with the octets of a block of theirs.
const MAC_FUNCTIONS: [MacFunction; 4] = [
    (
        oid::SHA1,
        &digest::SHA1_FOR_LEGACY_USE_ONLY,
        64,
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    ),
    (oid::SHA256, &digest::SHA256, 64, hmac::HMAC_SHA256),
    (oid::SHA384, &digest::SHA384, 128, hmac::HMAC_SHA384),
    (oid::SHA512, &digest::SHA512, 128, hmac::HMAC_SHA512),
];

const PBMAC1_FUNCTIONS: [(ObjectIdentifier, hmac::Algorithm); 3] = [
    (oid::HMAC_WITH_SHA256, hmac::HMAC_SHA256),
    (oid::HMAC_WITH_SHA384, hmac::HMAC_SHA384),
    (oid::HMAC_WITH_SHA512, hmac::HMAC_SHA512),
];

fn pbmac1_function(algorithm: &mut Reader<'_>) -> Result<hmac::Algorithm, KeyError> {
    let object = algorithm.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents;
    PBMAC1_FUNCTIONS
        .iter()
        .find(|(known, _)| known.as_bytes() == object)
        .map(|(_, function)| *function)
        .ok_or_else(|| KeyError::Unsupported("a PKCS #12 MAC with an odd hash".to_owned()))
}

/// The key of a MAC (RFC 7292 appendix B.2 with ID 3). One block of output is all it takes, so what
/// the appendix does for further ones is left out.
fn mac_key(
    hash: &'static digest::Algorithm,
    block: usize,
    passphrase: &str,
    salt: &[u8],
    rounds: u32,
) -> Zeroizing<Vec<u8>> {
    const PURPOSE: u8 = 3;
    // Big-endian UTF-16 with a final zero (RFC 7292 appendix B.1).
    let units = passphrase.encode_utf16().chain([0]);
    let secret: Zeroizing<Vec<u8>> = Zeroizing::new(units.flat_map(u16::to_be_bytes).collect());
    let filled = |text: &[u8]| text.len().div_ceil(block) * block;
    let capacity = block + filled(salt) + filled(&secret);
    let mut input = Zeroizing::new(Vec::with_capacity(capacity));
    input.resize(block, PURPOSE);
    input.extend(salt.iter().copied().cycle().take(filled(salt)));
    input.extend(secret.iter().copied().cycle().take(filled(&secret)));
    let mut key = Zeroizing::new(digest::digest(hash, &input).as_ref().to_vec());
    for _ in 1..rounds {
        let next = digest::digest(hash, &key);
        key.copy_from_slice(next.as_ref());
    }
    key
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            assert!(read(&bytes, "").is_err());
        }
    }
}
