//! The form that certificates, requests, CRLs and OCSP answers share: what is signed, the
//! signature's algorithm, the signature (the SIGNED macro of X.509).

use crate::asn1::{Element, Malformed, Reader, Writer, tag};
use crate::key::{KeyError, PublicKey, SignatureAlgorithm, SigningKey};

/// A signed structure taken apart.
pub(crate) struct Signed<'a> {
    /// The element that is signed.
    pub(crate) body: Element<'a>,
    /// The AlgorithmIdentifier.
    pub(crate) algorithm: &'a [u8],
    /// The signature's octets.
    pub(crate) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Reads the inside of the outer SEQUENCE.
    pub(crate) fn read(reader: &mut Reader<'a>, what: &'static str) -> Result<Self, Malformed> {
        Ok(Self {
            body: reader.expect(tag::SEQUENCE, what)?,
            algorithm: reader.expect(tag::SEQUENCE, what)?.encoded,
            signature: reader.expect(tag::BIT_STRING, what)?.bit_string(what)?,
        })
    }

    /// `None` if the algorithm is not supported, otherwise whether the signature is by `key`.
    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> Option<bool> {
        let algorithm = SignatureAlgorithm::from_der(self.algorithm)?;
        Some(key.verify(algorithm, self.body.encoded, self.signature))
    }
}

/// Signs `body` and returns the DER of the whole structure; `write_rest` appends what follows the
/// signature.
pub(crate) fn sign(
    key: &SigningKey,
    body: &[u8],
    write_rest: impl FnOnce(&mut Writer),
) -> Result<Vec<u8>, KeyError> {
    let signature = key.sign(body)?;
    let algorithm = key.algorithm().signature_algorithm();
    let mut writer = Writer::with_capacity(body.len() + signature.len() + 64);
    writer.sequence(|whole| {
        whole.raw(body);
        whole.raw(algorithm.to_der());
        whole.bit_string(&signature);
        write_rest(whole);
    });
    Ok(writer.finish())
}
