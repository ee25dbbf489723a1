//! Keys, requests and certificates to measure with, made on the spot.

use anyhow::Context as _;
use pki::{
    CaProfile, Certificate, CertificateRequest, DistinguishedName, Identifier, KeyAlgorithm,
    LeafProfile, PrivateKey, Serial, Signer, SubjectFields, Urls, Usages, Validity,
};
use time::macros::datetime;

/// The name that the certificate with this number is for.
pub(crate) fn host(number: usize) -> String {
    format!("host-{number}.bench.example")
}

/// A DER certificate request for [`host`] with a new P-256 key.
///
/// # Errors
/// When the crypto library fails.
pub(crate) fn request(number: usize) -> anyhow::Result<Vec<u8>> {
    let key = PrivateKey::generate(KeyAlgorithm::P256)?;
    let host = host(number);
    let identifier = Identifier::parse_host(&host)?;
    Ok(CertificateRequest::build(
        &key,
        &name(&host)?,
        &[identifier],
    )?)
}

/// A self-signed certificate for [`host`] and its key, both PEM.
///
/// # Errors
/// When the crypto library fails.
pub(crate) fn self_signed(number: usize) -> anyhow::Result<(String, String)> {
    let key = PrivateKey::generate(KeyAlgorithm::P256)?;
    let host = host(number);
    let profile = LeafProfile {
        subject: name(&host)?,
        identifiers: vec![Identifier::parse_host(&host)?],
        public_key: key.public_key().clone(),
        validity: validity()?,
        usages: Usages::default(),
        urls: Urls::default(),
    };
    let serial = Serial::from_be_bytes(&(number as u64 + 1).to_be_bytes());
    let serial = serial.context("no serial number")?;
    let prepared = pki::prepare_self_signed(profile, &serial, &key)?;
    let certificate = prepared.lint()?.sign()?;
    Ok((certificate.to_pem(), key.to_pkcs8_pem().to_string()))
}

/// A certificate of its own for a name, with its key.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) leaf: Certificate,
    pub(crate) issuer: Certificate,
    pub(crate) key: PrivateKey,
}

impl Identity {
    /// One for [`host`] with a new P-256 key, signed by `signer`.
    ///
    /// # Errors
    /// When the crypto library fails.
    pub(crate) fn issue(number: usize, signer: &Signer) -> anyhow::Result<Self> {
        let key = PrivateKey::generate(KeyAlgorithm::P256)?;
        let host = host(number);
        let profile = LeafProfile {
            subject: name(&host)?,
            identifiers: vec![Identifier::parse_host(&host)?],
            public_key: key.public_key().clone(),
            validity: validity()?,
            usages: Usages::default(),
            urls: Urls::default(),
        };
        let mut serial = [2; 16];
        let (_, low) = serial.split_at_mut(8);
        // The last 64 bits of a serial number are never all zero.
        low.copy_from_slice(&(number as u64 + 1).to_be_bytes());
        let serial = Serial::from_random(serial).context("no serial number")?;
        let prepared = pki::prepare(profile, &serial, signer)?;
        Ok(Self {
            name: host,
            leaf: prepared.lint()?.sign()?,
            issuer: signer.certificate().clone(),
            key,
        })
    }

    /// Chain and key, as servers read them from one file.
    pub(crate) fn to_pem(&self) -> String {
        let key = self.key.to_pkcs8_pem();
        self.leaf.to_pem() + &self.issuer.to_pem() + &key
    }

    /// Reads what [`Identity::to_pem`] wrote for the host with this number.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn from_pem(number: usize, pem: &[u8]) -> anyhow::Result<Self> {
        use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};
        let mut chain = CertificateDer::pem_slice_iter(pem);
        let mut next = || -> anyhow::Result<Certificate> {
            let der = chain.next().context("a certificate is missing")??;
            Ok(Certificate::from_der(&der)?)
        };
        let (leaf, issuer) = (next()?, next()?);
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).context("no private key")?;
        Ok(Self {
            name: host(number),
            leaf,
            issuer,
            key: PrivateKey::from_pkcs8_der(key.secret_pkcs8_der())?,
        })
    }
}

/// A P-256 authority.
///
/// # Errors
/// When the crypto library fails.
pub(crate) fn authority() -> anyhow::Result<Signer> {
    let key = PrivateKey::generate(KeyAlgorithm::P256)?;
    let profile = CaProfile {
        subject: name("Bench CA")?,
        public_key: key.public_key().clone(),
        validity: validity()?,
        path_length: None,
        name_constraints: None,
        urls: Urls::default(),
    };
    let serial = Serial::from_random([1; 16]).context("no serial number")?;
    let prepared = pki::prepare_self_signed(profile, &serial, &key)?;
    Ok(Signer::new(prepared.lint()?.sign()?, key)?)
}

/// Long enough to hold whenever this runs.
///
/// # Errors
/// Never: the dates are in order.
pub(crate) fn validity() -> anyhow::Result<Validity> {
    let (begin, end) = (
        datetime!(2025-01-01 0:00 UTC),
        datetime!(2049-01-01 0:00 UTC),
    );
    Ok(Validity::new(begin, end)?)
}

fn name(common_name: &str) -> anyhow::Result<DistinguishedName> {
    let fields = SubjectFields {
        common_name: Some(common_name.to_owned()),
        ..SubjectFields::default()
    };
    Ok(DistinguishedName::from_fields(&fields)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        let identity = Identity::issue(7, &authority().unwrap()).unwrap();
        let read = Identity::from_pem(7, identity.to_pem().as_bytes()).unwrap();
        assert_eq!(read.name, "host-7.bench.example");
        assert_eq!(read.to_pem(), identity.to_pem());
        assert!(Identity::from_pem(7, identity.leaf.to_pem().as_bytes()).is_err());
    }
}
