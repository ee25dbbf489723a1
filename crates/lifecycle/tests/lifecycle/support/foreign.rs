//! CAs that are not ours.

use pki::{
    CaProfile, Certificate, CertificateRequest, DistinguishedName, KeyAlgorithm, NameConstraints,
    PrivateKey, Profile, Serial, Signer, SubjectFields, Urls, Validity,
};
use time::OffsetDateTime;

/// A CA that is not ours.
pub(crate) struct Foreign {
    pub(crate) signer: Signer,
    pub(crate) key: PrivateKey,
}

impl Foreign {
    pub(crate) fn root(now: OffsetDateTime) -> Self {
        Self::root_for(now, None)
    }

    /// One that may certify these names only.
    pub(crate) fn root_for(now: OffsetDateTime, name_constraints: Option<NameConstraints>) -> Self {
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let profile = CaProfile {
            name_constraints,
            ..ca_profile("Elsewhere", &key, None, now)
        };
        let prepared = pki::prepare_self_signed(profile, &serial(1), &key).unwrap();
        let certificate = prepared.lint().unwrap().sign().unwrap();
        let signer = Signer::new(certificate, &key).unwrap();
        Self { signer, key }
    }

    pub(crate) fn below(&self, name: &str, path_length: Option<u8>, now: OffsetDateTime) -> Self {
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let profile = ca_profile(name, &key, path_length, now);
        let certificate = self.sign(profile);
        let signer = Signer::new(certificate, &key).unwrap();
        Self { signer, key }
    }

    fn sign(&self, profile: CaProfile) -> Certificate {
        let profile = Profile::Authority(profile);
        let prepared = pki::prepare(profile, &serial(2), &self.signer).unwrap();
        prepared.lint().unwrap().sign().unwrap()
    }

    pub(crate) fn certify(&self, request: &CertificateRequest, now: OffsetDateTime) -> Certificate {
        self.sign(CaProfile {
            subject: request.subject().clone(),
            public_key: request.public_key().clone(),
            ..ca_profile("", &self.key, Some(0), now)
        })
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        self.signer.certificate()
    }
}

fn serial(number: u8) -> Serial {
    Serial::from_random([number; 16]).unwrap()
}

fn ca_profile(
    name: &str,
    key: &PrivateKey,
    path_length: Option<u8>,
    now: OffsetDateTime,
) -> CaProfile {
    let fields = SubjectFields {
        common_name: Some(name.to_owned()),
        ..SubjectFields::default()
    };
    let later = now + time::Duration::days(3650);
    CaProfile {
        subject: DistinguishedName::from_fields(&fields).unwrap(),
        public_key: key.public_key().clone(),
        validity: Validity::new(now - time::Duration::days(1), later).unwrap(),
        path_length,
        name_constraints: None,
        urls: Urls::default(),
    }
}

/// The key usage of our CA certificates, and the same without one bit.
const ALL_USAGES: [u8; 4] = [0x03, 0x02, 0x01, 0x86];
pub(crate) const NO_CERTIFICATES: [u8; 4] = [0x03, 0x02, 0x01, 0x82];
pub(crate) const NO_LISTS: [u8; 4] = [0x03, 0x02, 0x02, 0x84];

/// The certificate with another key usage, signed anew.
pub(crate) fn with_usage(
    certificate: &Certificate,
    usage: [u8; 4],
    issuer: &PrivateKey,
) -> Certificate {
    let head = |tag: u8, length: usize| {
        let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
        vec![tag, 0x82, high, low]
    };
    // Outer and inner sequence have lengths of two octets.
    let der = certificate.der();
    let length = usize::from(u16::from_be_bytes([der[6], der[7]]));
    let mut signed = der[4..8 + length].to_vec();
    let rest = &der[8 + length..];
    let algorithm = &rest[..2 + usize::from(rest[1])];
    let place = signed.windows(4).position(|part| part == ALL_USAGES);
    let place = place.unwrap();
    signed[place..place + 4].copy_from_slice(&usage);
    let signature = issuer.sign(&signed).unwrap();
    let mut body = signed;
    body.extend(algorithm);
    body.extend([0x03, u8::try_from(signature.len() + 1).unwrap(), 0]);
    body.extend(signature);
    let mut whole = head(0x30, body.len());
    whole.extend(body);
    Certificate::from_der(&whole).unwrap()
}
