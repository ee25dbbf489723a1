//! The authority behind the directory: two roots, one issuing authority under both.

use std::time::Duration;

use aws_lc_rs::rand;
use pki::{
    CaProfile, Certificate, CertificateRequest, DistinguishedName, Identifier, KeyAlgorithm,
    LeafProfile, PrivateKey, Profile, PublicKey, Serial, Signer, SubjectFields, Urls, Usages,
    Validity,
};
use time::OffsetDateTime;
use time::macros::datetime;

use super::jws::encode;

/// How far before the moment of issuing a validity begins.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// The authority's keys and certificates, made for one test.
pub(super) struct Authority {
    root: Signer,
    issuer: Signer,
    /// The issuer's certificate from the second root.
    crossed: Certificate,
    /// The issuer's certificate from the first root, as it was long ago.
    expired: Certificate,
}

/// A certificate that was issued.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) der: Vec<u8>,
    pub(super) pem: String,
    pub(super) serial: String,
    /// RFC 9773 section 4.1.
    pub(super) identifier: String,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
}

impl Authority {
    pub(super) fn new() -> Self {
        let long = validity(
            datetime!(2020-01-01 0:00 UTC),
            datetime!(2120-01-01 0:00 UTC),
        );
        let past = validity(
            datetime!(2020-01-01 0:00 UTC),
            datetime!(2021-01-01 0:00 UTC),
        );
        let (root, second) = (
            root("First Test Root", long),
            root("Second Test Root", long),
        );
        let key = PrivateKey::generate(KeyAlgorithm::P256).expect("a key can be made");
        let certify = |by: &Signer, validity| {
            let profile = authority("Test Issuer", key.public_key(), validity);
            sign(profile, by)
        };
        let certificate = certify(&root, long);
        Self {
            crossed: certify(&second, long),
            expired: certify(&root, past),
            issuer: Signer::new(certificate, key.clone()).expect("the issuer has its key"),
            root,
        }
    }

    /// The first root, PEM.
    pub(super) fn root_pem(&self) -> String {
        self.root.certificate().to_pem()
    }

    /// The issuing authority's certificate of the first root.
    pub(super) fn issuer_pem(&self) -> String {
        self.issuer.certificate().to_pem()
    }

    /// The same of the second root.
    pub(super) fn crossed_pem(&self) -> String {
        self.crossed.to_pem()
    }

    /// The same of the first root, expired.
    pub(super) fn expired_pem(&self) -> String {
        self.expired.to_pem()
    }

    /// Certifies a key for these names.
    pub(super) fn issue(
        &self,
        key: &PublicKey,
        names: Vec<Identifier>,
        now: OffsetDateTime,
        lifetime: Duration,
    ) -> Leaf {
        let from = now - BACKDATED;
        let certificate = sign(
            LeafProfile {
                subject: DistinguishedName::from_fields(&SubjectFields::default())
                    .expect("a subject can be empty"),
                identifiers: names,
                public_key: key.clone(),
                validity: validity(from, from + lifetime),
                usages: Usages::default(),
                urls: Urls::default(),
            },
            &self.issuer,
        );
        let authority = certificate.authority_key_identifier();
        let authority = encode(authority.expect("a leaf names its issuer's key"));
        Leaf {
            der: certificate.der().to_vec(),
            pem: certificate.to_pem(),
            serial: certificate.serial().to_hex(),
            identifier: format!("{authority}.{}", encode(contents(certificate.serial()))),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
        }
    }

    /// A certificate for the directory's own TLS, as chain in DER, and its key in PKCS#8.
    pub(super) fn own(&self) -> (Vec<Vec<u8>>, Vec<u8>) {
        let key = PrivateKey::generate(KeyAlgorithm::P256).expect("a key can be made");
        let names = ["localhost", "127.0.0.1"].map(|name| Identifier::parse_host(name).unwrap());
        let long = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        let start = datetime!(2020-01-02 0:00 UTC);
        let leaf = self.issue(key.public_key(), names.to_vec(), start, long);
        let issuer = self.issuer.certificate().der().to_vec();
        (vec![leaf.der, issuer], key.to_pkcs8_der().to_vec())
    }
}

/// The key and names of a request, DER.
pub(super) fn read_request(der: &[u8]) -> Result<(PublicKey, Vec<Identifier>), String> {
    let request = CertificateRequest::from_pem_or_der(der).map_err(|error| error.to_string())?;
    Ok((request.public_key().clone(), request.identifiers().to_vec()))
}

fn root(name: &str, validity: Validity) -> Signer {
    let key = PrivateKey::generate(KeyAlgorithm::P256).expect("a key can be made");
    let profile = authority(name, key.public_key(), validity);
    let certificate = pki::prepare_self_signed(profile, &serial(), &key)
        .expect("a root can be prepared")
        .lint()
        .expect("a root follows the rules")
        .sign()
        .expect("a root can be signed");
    Signer::new(certificate, key).expect("a root has its key")
}

fn authority(name: &str, key: &PublicKey, validity: Validity) -> CaProfile {
    let subject = SubjectFields {
        common_name: Some(name.to_owned()),
        ..SubjectFields::default()
    };
    CaProfile {
        subject: DistinguishedName::from_fields(&subject).expect("the name is one"),
        public_key: key.clone(),
        validity,
        path_length: None,
        name_constraints: None,
        urls: Urls::default(),
    }
}

fn sign(profile: impl Into<Profile>, by: &Signer) -> Certificate {
    pki::prepare(profile, &serial(), by)
        .expect("a certificate can be prepared")
        .lint()
        .expect("a certificate follows the rules")
        .sign()
        .expect("a certificate can be signed")
}

fn validity(from: OffsetDateTime, to: OffsetDateTime) -> Validity {
    Validity::new(from, to).expect("the end is after the beginning")
}

/// The contents of an INTEGER in DER.
fn contents(serial: &Serial) -> Vec<u8> {
    let mut octets = serial.as_be_bytes().to_vec();
    if octets.first().is_some_and(|first| *first >= 0x80) {
        // It would be a negative one.
        octets.insert(0, 0);
    }
    octets
}

fn serial() -> Serial {
    let mut octets = [0; 16];
    loop {
        rand::fill(&mut octets).expect("the system has randomness");
        if let Some(serial) = Serial::from_random(octets) {
            return serial;
        }
    }
}
