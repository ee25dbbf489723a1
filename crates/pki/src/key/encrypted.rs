//! Encryption with a passphrase: PBES2 of RFC 8018 with PBKDF2 and AES-CBC, as OpenSSL and Java
//! write it today. Older schemes (RC2, 3DES) are refused by name.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2::{
    self, PBKDF2_HMAC_SHA1, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA384, PBKDF2_HMAC_SHA512,
};
use zeroize::Zeroizing;

use super::{KeyError, PrivateKey};
use crate::asn1::{Element, Malformed, Reader, Writer, oid, single, tag};
use crate::pem;

/// Rounds of what is written here: some 0.2 s for each guess.
const ROUNDS: u32 = 600_000;
/// Most keys of one file.
const MOST_KEYS: usize = 16;
/// Most rounds of what is read: whoever sends a file decides how long it takes.
const MOST_ROUNDS: u32 = 10_000_000;
const LABEL: &str = "ENCRYPTED PRIVATE KEY";
const WHAT: &str = "not encrypted with a passphrase as RFC 8018 has it";

impl PrivateKey {
    /// The key as PEM PKCS#8, encrypted with AES-256 under a key from `passphrase`. Takes some 0.2 s
    /// of CPU.
    ///
    /// # Errors
    /// [`KeyError::Provider`] if the crypto library fails.
    pub fn to_encrypted_pem(&self, passphrase: &str) -> Result<Zeroizing<String>, KeyError> {
        const STEP: KeyError = KeyError::Provider("encrypt a key");
        let mut salt = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| STEP)?;
        let mut derived = Zeroizing::new([0; 32]);
        let rounds = NonZeroU32::new(ROUNDS).ok_or(STEP)?;
        let secret = passphrase.as_bytes();
        pbkdf2::derive(PBKDF2_HMAC_SHA256, rounds, &salt, secret, &mut *derived);
        let key = UnboundCipherKey::new(&AES_256, &*derived).map_err(|_| STEP)?;
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).map_err(|_| STEP)?;
        // Reserved up front: a reallocation would leave a copy of the key behind.
        let clear = self.to_pkcs8_der();
        let mut text = Zeroizing::new(Vec::with_capacity(clear.len() + 16));
        text.extend_from_slice(&clear);
        let context = key.encrypt(&mut *text).map_err(|_| STEP)?;
        let DecryptionContext::Iv128(start) = context else {
            return Err(STEP);
        };
        let mut writer = Writer::with_capacity(text.len() + 128);
        writer.sequence(|outer| {
            outer.sequence(|algorithm| {
                algorithm.oid(&oid::PBES2);
                algorithm.sequence(|parameters| {
                    parameters.sequence(|derivation| {
                        derivation.oid(&oid::PBKDF2);
                        derivation.sequence(|how| {
                            how.element(tag::OCTET_STRING, &salt);
                            how.unsigned(&ROUNDS.to_be_bytes());
                            how.sequence(|function| {
                                function.oid(&oid::HMAC_WITH_SHA256);
                                function.null();
                            });
                        });
                    });
                    parameters.sequence(|cipher| {
                        cipher.oid(&oid::AES256_CBC);
                        cipher.element(tag::OCTET_STRING, start.as_ref());
                    });
                });
            });
            outer.element(tag::OCTET_STRING, &text);
        });
        Ok(pem::encode(LABEL, &writer.finish()))
    }

    /// As [`Self::from_pem`], also for a key that is encrypted as RFC 5958 section 3 has it.
    ///
    /// # Errors
    /// [`KeyError`], each variant; [`KeyError::Passphrase`] if it does not open the key.
    pub fn from_pem_with_passphrase(text: &[u8], passphrase: &str) -> Result<Self, KeyError> {
        let mut encrypted = pem::blocks(text).filter(|block| block.label() == LABEL);
        let Some(block) = encrypted.next() else {
            return Self::from_pem(text);
        };
        if encrypted.next().is_some() {
            return Err(KeyError::SeveralKeys);
        }
        Self::from_block(&block, passphrase)
    }

    /// As [`Self::from_pem_with_passphrase`], for a text with several keys, all of them encrypted with
    /// the same passphrase.
    ///
    /// # Errors
    /// The same; [`KeyError::SeveralKeys`] for more than [`MOST_KEYS`].
    pub fn all_from_pem_with_passphrase(
        text: &[u8],
        passphrase: &str,
    ) -> Result<Vec<Self>, KeyError> {
        let encrypted = pem::blocks(text).filter(|block| block.label() == LABEL);
        let blocks: Vec<_> = encrypted.take(MOST_KEYS + 1).collect();
        if blocks.is_empty() {
            return Self::from_pem(text).map(|key| vec![key]);
        }
        if blocks.len() > MOST_KEYS {
            return Err(KeyError::SeveralKeys);
        }
        let mut keys = Vec::with_capacity(blocks.len());
        for block in blocks {
            keys.push(Self::from_block(&block, passphrase)?);
        }
        Ok(keys)
    }

    fn from_block(block: &pem::Block<'_>, passphrase: &str) -> Result<Self, KeyError> {
        let der = block
            .decode()
            .ok_or(KeyError::Malformed("the PEM block is not base64"))?;
        Self::from_encrypted_der(&der, passphrase)
    }

    /// Reads a DER `EncryptedPrivateKeyInfo`.
    pub(crate) fn from_encrypted_der(der: &[u8], passphrase: &str) -> Result<Self, KeyError> {
        let mut reader = single(der, tag::SEQUENCE, WHAT)?.reader();
        let algorithm = reader.expect(tag::SEQUENCE, WHAT)?;
        let text = reader.expect(tag::OCTET_STRING, WHAT)?;
        reader.finish(WHAT)?;
        let opened = decrypt(&algorithm, text.contents, passphrase)?;
        // A wrong passphrase goes unnoticed by the padding of one in 256 keys.
        Self::from_pkcs8_der(&opened).map_err(|error| match error {
            KeyError::Malformed(_) => KeyError::Passphrase,
            error => error,
        })
    }
}

/// Opens what was encrypted as `algorithm` says.
pub(crate) fn decrypt(
    algorithm: &Element<'_>,
    text: &[u8],
    passphrase: &str,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut reader = algorithm.reader();
    if reader.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents != oid::PBES2.as_bytes() {
        return Err(KeyError::Unsupported(
            "an old encryption with a passphrase (RC2 or 3DES); write the file anew with \
             AES: openssl pkcs8 -topk8 -v2 aes256, or openssl pkcs12 -export"
                .to_owned(),
        ));
    }
    let mut parameters = reader.sequence(WHAT)?;
    let derivation = parameters.expect(tag::SEQUENCE, WHAT)?;
    let mut cipher = parameters.sequence(WHAT)?;
    let object = cipher.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents;
    let (cipher_algorithm, length): (&'static Algorithm, usize) =
        if object == oid::AES256_CBC.as_bytes() {
            (&AES_256, 32)
        } else if object == oid::AES192_CBC.as_bytes() {
            (&AES_192, 24)
        } else if object == oid::AES128_CBC.as_bytes() {
            (&AES_128, 16)
        } else {
            return Err(KeyError::Unsupported(
                "an encryption other than AES-CBC".to_owned(),
            ));
        };
    let start = cipher.expect(tag::OCTET_STRING, WHAT)?.contents;
    let start: [u8; 16] = start.try_into().map_err(|_| Malformed(WHAT))?;
    let derived = derive(&derivation, passphrase.as_bytes(), length)?;
    let key = UnboundCipherKey::new(cipher_algorithm, &derived)
        .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
        .map_err(|_| KeyError::Provider("decrypt a key"))?;
    let mut opened = Zeroizing::new(text.to_vec());
    let context = DecryptionContext::Iv128(FixedLength::from(start));
    let length = key
        .decrypt(&mut opened, context)
        .map_err(|_| KeyError::Passphrase)?
        .len();
    opened.truncate(length);
    Ok(opened)
}

/// A key of `length` octets from a passphrase, as a `PBKDF2` algorithm identifier says.
pub(crate) fn derive(
    derivation: &Element<'_>,
    passphrase: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut reader = derivation.reader();
    if reader.expect(tag::OBJECT_IDENTIFIER, WHAT)?.contents != oid::PBKDF2.as_bytes() {
        return Err(KeyError::Unsupported(
            "a key derivation other than PBKDF2".to_owned(),
        ));
    }
    let mut how = reader.sequence(WHAT)?;
    let salt = how.expect(tag::OCTET_STRING, WHAT)?.contents;
    let rounds = read_rounds(&mut how)?;
    how.optional(tag::INTEGER, WHAT)?;
    let function = match how.optional(tag::SEQUENCE, WHAT)? {
        None => PBKDF2_HMAC_SHA1,
        Some(function) => {
            let object = function.reader().expect(tag::OBJECT_IDENTIFIER, WHAT)?;
            let known = [
                (&oid::HMAC_WITH_SHA1, PBKDF2_HMAC_SHA1),
                (&oid::HMAC_WITH_SHA256, PBKDF2_HMAC_SHA256),
                (&oid::HMAC_WITH_SHA384, PBKDF2_HMAC_SHA384),
                (&oid::HMAC_WITH_SHA512, PBKDF2_HMAC_SHA512),
            ];
            let found = known
                .into_iter()
                .find(|(known, _)| known.as_bytes() == object.contents);
            let unknown = || KeyError::Unsupported("a key derivation with an odd hash".to_owned());
            found.ok_or_else(unknown)?.1
        }
    };
    let mut derived = Zeroizing::new(vec![0; length]);
    pbkdf2::derive(function, rounds, salt, passphrase, &mut derived);
    Ok(derived)
}

/// A number of rounds, within the limit.
pub(crate) fn read_rounds(reader: &mut Reader<'_>) -> Result<NonZeroU32, KeyError> {
    let octets = reader.expect(tag::INTEGER, WHAT)?.integer(WHAT)?;
    let too_many = || KeyError::Unsupported(format!("more than {MOST_ROUNDS} rounds"));
    let significant = octets.iter().position(|octet| *octet != 0);
    let octets = octets.get(significant.unwrap_or(octets.len())..);
    let octets = octets.unwrap_or_default();
    if octets.len() > 4 {
        return Err(too_many());
    }
    let rounds = octets
        .iter()
        .fold(0, |rounds, octet| (rounds << 8) | u32::from(*octet));
    if rounds > MOST_ROUNDS {
        return Err(too_many());
    }
    NonZeroU32::new(rounds).ok_or(KeyError::Malformed(WHAT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::KeyAlgorithm;

    #[test]
    fn a_key_comes_back_with_its_passphrase_only() {
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let text = key.to_encrypted_pem("correct horse").unwrap();
        let read = |passphrase| PrivateKey::from_pem_with_passphrase(text.as_bytes(), passphrase);
        let again = read("correct horse").unwrap();
        assert_eq!(again.to_pkcs8_der(), key.to_pkcs8_der());
        assert_eq!(read("battery").unwrap_err(), KeyError::Passphrase);
        let refused = PrivateKey::from_pem(text.as_bytes()).unwrap_err();
        assert_eq!(refused, KeyError::Encrypted);
    }

    #[test]
    fn several_keys_come_back_from_one_file() {
        let keys = [KeyAlgorithm::P256, KeyAlgorithm::Ed25519]
            .map(|algorithm| PrivateKey::generate(algorithm).unwrap());
        let mut text = String::from("two keys\n");
        for key in &keys {
            text.push_str(&key.to_encrypted_pem("correct horse").unwrap());
        }
        let read = |text: &str, passphrase| {
            PrivateKey::all_from_pem_with_passphrase(text.as_bytes(), passphrase)
        };
        let again = read(&text, "correct horse").unwrap();
        let spki = |keys: &[PrivateKey]| -> Vec<_> {
            let keys = keys.iter();
            keys.map(|key| key.public_key().spki_der().to_vec())
                .collect()
        };
        assert_eq!(spki(&again), spki(&keys));
        assert_eq!(read(&text, "battery").unwrap_err(), KeyError::Passphrase);
        assert_eq!(read("", "battery").unwrap_err(), KeyError::NoKeyFound);
        let many = text.repeat(MOST_KEYS);
        assert_eq!(read(&many, "battery").unwrap_err(), KeyError::SeveralKeys);
        let plain = keys[0].to_pkcs8_pem();
        assert_eq!(spki(&read(&plain, "").unwrap()), spki(&keys[..1]));
    }

    #[test]
    fn a_file_does_not_decide_for_how_long_we_work() {
        for (octets, is_taken) in [
            (vec![2, 1, 1], true),
            (vec![2, 1, 0], false),
            (vec![2, 4, 0x7f, 0xff, 0xff, 0xff], false),
            (vec![2, 5, 1, 0, 0, 0, 0], false),
        ] {
            let read = read_rounds(&mut Reader::new(&octets));
            assert_eq!(read.is_ok(), is_taken, "{octets:?}");
        }
    }
}
