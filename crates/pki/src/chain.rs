//! Certificate chains as people upload them: in any order, with extras, and with a root on top.

use std::fmt;

use crate::certificate::{Certificate, CertificateError, is_certificate_label};
use crate::key::PublicKey;
use crate::pem;

/// The most certificates one chain may have.
pub const MAX_CHAIN: usize = 32;

/// How many signatures are verified to order one chain. A real chain needs two or three; without a
/// limit, certificates with equal names and keys of P-521 would cost half a second.
const MAX_SIGNATURE_CHECKS: usize = 64;

/// A leaf and the authorities above it, without the root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chain {
    /// The certificate of the given key.
    pub leaf: Certificate,
    /// The authorities from the leaf's issuer upwards.
    pub intermediates: Vec<Certificate>,
    /// What was left out, for people to read.
    pub notices: Vec<String>,
}

impl Chain {
    /// The leaf and the intermediates as consecutive PEM blocks.
    pub fn to_pem(&self) -> String {
        std::iter::once(&self.leaf)
            .chain(&self.intermediates)
            .map(Certificate::to_pem)
            .collect()
    }
}

/// Why a chain is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChainError {
    /// None of the certificates has the given key.
    #[error("no certificate of the chain belongs to the private key")]
    KeyMismatch,
    /// A certificate cannot be read.
    #[error("certificate {} of the chain: {source}", index + 1)]
    Malformed {
        /// Its place among the certificates, from 0.
        index: usize,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// There is no certificate in the text.
    #[error("the chain has no certificate; expected PEM blocks BEGIN CERTIFICATE")]
    NoCertificate,
    /// There are more than [`MAX_CHAIN`] certificates.
    #[error("the chain has more than {MAX_CHAIN} certificates")]
    TooMany,
}

/// Reads a PEM text with the certificate of `key` and the authorities above it.
///
/// The leaf is the first certificate that has this key; the others are ordered by issuer. Repeated
/// and unrelated certificates, other kinds of blocks and the self-signed root are left out with a
/// notice; a self-signed leaf stays.
///
/// # Errors
/// [`ChainError`], each variant.
pub fn read_chain(pem: &[u8], key: &PublicKey) -> Result<Chain, ChainError> {
    let mut notices = Vec::new();
    let mut rest = read_blocks(pem, &mut notices)?;
    let leaf = rest
        .iter()
        .position(|certificate| certificate.spki_der() == key.spki_der())
        .map(|at| rest.remove(at))
        .ok_or(ChainError::KeyMismatch)?;

    let mut checks = MAX_SIGNATURE_CHECKS;
    let mut intermediates: Vec<Certificate> = Vec::new();
    loop {
        let last = intermediates.last().unwrap_or(&leaf);
        if is_self_signed(last, &mut checks) {
            break;
        }
        let issuer = rest
            .iter()
            .position(|candidate| is_issued_by(last, candidate, &mut checks));
        let Some(issuer) = issuer.map(|at| rest.remove(at)) else {
            break;
        };
        if is_self_signed(&issuer, &mut checks) {
            notices.push(notice("left out the root certificate", &issuer));
            break;
        }
        intermediates.push(issuer);
    }
    for stray in &rest {
        notices.push(notice(
            "left out a certificate that is no part of the chain",
            stray,
        ));
    }
    Ok(Chain {
        leaf,
        intermediates,
        notices,
    })
}

/// The certificates of a PEM text in their order, each once; other kinds of blocks are passed over.
///
/// # Errors
/// [`ChainError`], except [`ChainError::KeyMismatch`].
pub fn read_certificates(pem: &[u8]) -> Result<Vec<Certificate>, ChainError> {
    read_blocks(pem, &mut Vec::new())
}

fn read_blocks(pem: &[u8], notices: &mut Vec<String>) -> Result<Vec<Certificate>, ChainError> {
    let mut certificates: Vec<Certificate> = Vec::new();
    let mut index = 0;
    for block in pem::blocks(pem) {
        if !is_certificate_label(block.label()) {
            let text = format!("ignored a block of type {}", block.label());
            if !notices.contains(&text) && notices.len() < MAX_CHAIN {
                notices.push(text);
            }
            continue;
        }
        if index == MAX_CHAIN {
            return Err(ChainError::TooMany);
        }
        let certificate = block
            .decode()
            .ok_or(CertificateError::Malformed("the PEM block is not base64"))
            .and_then(|der| Certificate::from_der(&der))
            .map_err(|source| ChainError::Malformed { index, source })?;
        if certificates.contains(&certificate) {
            notices.push(notice("left out a repeated certificate", &certificate));
        } else {
            certificates.push(certificate);
        }
        index += 1;
    }
    if certificates.is_empty() {
        return Err(ChainError::NoCertificate);
    }
    Ok(certificates)
}

/// Whether `issuer` signed `certificate`. A signature of a kind that is not supported is taken on
/// trust when names and key identifiers fit: here the chain is only ordered, not validated.
fn is_issued_by(certificate: &Certificate, issuer: &Certificate, checks: &mut usize) -> bool {
    if certificate.issuer() != issuer.subject() {
        return false;
    }
    if let (Some(wanted), Some(found)) = (
        certificate.authority_key_identifier(),
        issuer.subject_key_identifier(),
    ) && wanted != found
    {
        return false;
    }
    let Some(left) = checks.checked_sub(1) else {
        return false;
    };
    *checks = left;
    match issuer.public_key() {
        Ok(key) => certificate.check_signature(&key).unwrap_or(true),
        Err(_) => true,
    }
}

fn is_self_signed(certificate: &Certificate, checks: &mut usize) -> bool {
    certificate.is_self_issued() && is_issued_by(certificate, certificate, checks)
}

fn notice(text: &str, certificate: &Certificate) -> String {
    struct Subject<'a>(&'a Certificate);
    impl fmt::Display for Subject<'_> {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            let subject = self.0.subject();
            if subject.is_empty() {
                write!(formatter, "serial number {}", self.0.serial().to_hex())
            } else {
                // A hostile subject may be long; a notice need not be.
                formatter.write_str(&subject.to_string().chars().take(200).collect::<String>())
            }
        }
    }
    format!("{text}: {}", Subject(certificate))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::issuance::prepare_self_signed;
    use crate::testing::{self, ca_profile, issue, leaf_profile};
    use crate::{KeyAlgorithm, PrivateKey, Signer};

    struct Family {
        root: Signer,
        upper: Signer,
        lower: Signer,
        leaf: Certificate,
        key: PrivateKey,
    }

    static FAMILY: LazyLock<Family> = LazyLock::new(|| {
        let below = |issuer: &Signer, name: &str| {
            let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
            Signer::new(issue(ca_profile(name, key.public_key()), issuer), key).unwrap()
        };
        let root = testing::authority(KeyAlgorithm::P384);
        let upper = below(&root, "Upper");
        let lower = below(&upper, "Lower");
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let leaf = issue(leaf_profile(&["example.com"], key.public_key()), &lower);
        Family {
            root,
            upper,
            lower,
            leaf,
            key,
        }
    });

    fn pem(certificates: &[&Certificate]) -> String {
        certificates
            .iter()
            .map(|certificate| certificate.to_pem())
            .collect()
    }

    fn read(text: &str) -> Result<Chain, ChainError> {
        read_chain(text.as_bytes(), FAMILY.key.public_key())
    }

    #[test]
    fn a_chain_in_any_order_is_sorted_and_loses_its_root() {
        let Family {
            root,
            upper,
            lower,
            leaf,
            ..
        } = &*FAMILY;
        let (root, upper, lower) = (root.certificate(), upper.certificate(), lower.certificate());
        for order in [
            [leaf, lower, upper, root],
            [root, upper, lower, leaf],
            [upper, leaf, root, lower],
        ] {
            let chain = read(&pem(&order)).unwrap();
            assert_eq!(&chain.leaf, leaf);
            assert_eq!(chain.intermediates, [lower.clone(), upper.clone()]);
            assert_eq!(
                chain.notices,
                ["left out the root certificate: CN=Test Root"]
            );
            assert_eq!(chain.to_pem(), pem(&[leaf, lower, upper]));
        }
    }

    #[test]
    fn a_gap_ends_the_chain_and_strays_are_left_out() {
        let Family { upper, leaf, .. } = &*FAMILY;
        let chain = read(&pem(&[leaf, upper.certificate()])).unwrap();
        assert_eq!(chain.intermediates, []);
        assert_eq!(
            chain.notices,
            ["left out a certificate that is no part of the chain: CN=Upper"]
        );
    }

    #[test]
    fn an_authority_of_the_same_name_with_another_key_is_no_issuer() {
        let Family {
            upper, lower, leaf, ..
        } = &*FAMILY;
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let impostor = issue(ca_profile("Lower", key.public_key()), upper);
        let chain = read(&pem(&[&impostor, leaf, lower.certificate()])).unwrap();
        assert_eq!(chain.intermediates, [lower.certificate().clone()]);
        assert_eq!(chain.notices.len(), 1);
    }

    #[test]
    fn a_self_signed_leaf_stays() {
        let key = &FAMILY.key;
        let leaf = prepare_self_signed(
            leaf_profile(&["example.com"], key.public_key()),
            &testing::serial(9),
            key,
        )
        .unwrap()
        .lint()
        .unwrap()
        .sign()
        .unwrap();
        let chain = read(&pem(&[&leaf, FAMILY.root.certificate()])).unwrap();
        assert_eq!(chain.leaf, leaf);
        assert_eq!(chain.intermediates, []);
        assert_eq!(chain.notices.len(), 1);
    }

    #[test]
    fn repeated_certificates_and_other_blocks_are_noticed() {
        let Family { leaf, key, .. } = &*FAMILY;
        let text = [
            pem(&[leaf, leaf]),
            key.to_pkcs8_pem().to_string(),
            key.to_pkcs8_pem().to_string(),
        ]
        .concat();
        let chain = read(&text).unwrap();
        assert_eq!(
            chain.notices,
            [
                "left out a repeated certificate: CN=leaf",
                "ignored a block of type PRIVATE KEY"
            ]
        );
    }

    #[test]
    fn faults_are_told_apart() {
        let Family { root, leaf, .. } = &*FAMILY;
        assert_eq!(read(""), Err(ChainError::NoCertificate));
        assert_eq!(
            read(&FAMILY.key.to_pkcs8_pem()),
            Err(ChainError::NoCertificate)
        );
        assert_eq!(
            read(&pem(&[root.certificate()])),
            Err(ChainError::KeyMismatch)
        );
        let broken = format!(
            "{}{}",
            leaf.to_pem(),
            &*pem::encode("CERTIFICATE", &[0x30, 0])
        );
        let error = read(&broken).unwrap_err();
        assert!(matches!(error, ChainError::Malformed { index: 1, .. }));
        assert!(
            error
                .to_string()
                .starts_with("certificate 2 of the chain: "),
            "{error}"
        );
        assert!(read(&pem(&[leaf; MAX_CHAIN])).is_ok());
        assert_eq!(read(&pem(&[leaf; MAX_CHAIN + 1])), Err(ChainError::TooMany));
    }

    proptest! {
        #[test]
        fn never_panics_on_damage(at: proptest::sample::Index, value: u8) {
            let Family { lower, leaf, .. } = &*FAMILY;
            let mut der = lower.certificate().der().to_vec();
            let at = at.index(der.len());
            der[at] = value;
            let text = format!("{}{}", leaf.to_pem(), &*pem::encode("CERTIFICATE", &der));
            let _ = read(&text);
        }

        #[test]
        fn certificates_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Certificate::from_der(&bytes);
        }
    }
}
