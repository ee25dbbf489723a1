//! Authorities as administrators handle them, and what they publish.

use lifecycle::{
    AuthorityView, DEFAULT_AUTHORITY, Error, House, IssueRequest, Issued, KeySource,
    NewAuthorityRequest, Tiers, parse_identifiers,
};
use pki::{
    CertId, Certificate, HashAlgorithm, IssuerHashes, KeyAlgorithm, OcspRequest, SubjectFields,
};
use zeroize::Zeroizing;

use super::Fixture;

pub(crate) const PASSPHRASE: &str = "correct horse battery";

pub(crate) fn passphrase() -> Zeroizing<String> {
    Zeroizing::new(PASSPHRASE.to_owned())
}

pub(crate) fn new_authority(name: &str, tiers: Tiers) -> NewAuthorityRequest {
    NewAuthorityRequest {
        name: name.to_owned(),
        key_algorithm: KeyAlgorithm::P256,
        subject: SubjectFields {
            common_name: Some("Plant".to_owned()),
            ..SubjectFields::default()
        },
        tiers,
        days: None,
        root_days: None,
        permitted: Vec::new(),
        excluded: Vec::new(),
        in_device: false,
    }
}

impl Fixture {
    pub(crate) async fn sign(
        &self,
        house: &House,
        authority: &str,
        names: &[&str],
    ) -> Result<Issued, Error> {
        let request = IssueRequest {
            authority: authority.to_owned(),
            subject: SubjectFields::default(),
            identifiers: parse_identifiers(names.iter().copied(), [], []).unwrap(),
            days: Some(182),
            key: KeySource::Generate(KeyAlgorithm::P256),
            name: None,
        };
        house.certificates.issue(&self.principal, request).await
    }

    pub(crate) async fn shown(&self, name: &str) -> AuthorityView {
        let authorities = &self.house().authorities;
        authorities.show(&self.principal, name).await.unwrap()
    }

    pub(crate) async fn exported(&self, name: &str) -> Zeroizing<String> {
        let authorities = &self.house().authorities;
        let exported = authorities.export_root_key(&self.principal, name, passphrase());
        exported.await.unwrap()
    }

    pub(crate) async fn return_root_key(&self, key: &str) -> Result<AuthorityView, Error> {
        let authorities = &self.house().authorities;
        let (name, key) = (DEFAULT_AUTHORITY, key.as_bytes());
        authorities
            .return_root_key(&self.principal, name, key, passphrase())
            .await
    }

    pub(crate) async fn install(&self, chain: &str) -> Result<AuthorityView, Error> {
        let authorities = &self.house().authorities;
        authorities
            .install_certificate(&self.principal, DEFAULT_AUTHORITY, chain)
            .await
    }

    /// Whether the house publishes a revocation list of this CA.
    pub(crate) async fn is_listed(&self, house: &House, ca: &Certificate) -> bool {
        let name = key_identifier(ca);
        let list = house
            .authorities
            .revocation_list_by_key_identifier(&name, 0);
        list.await
            .is_ok_and(|list| pki::crl::next_update(&list).unwrap() > self.now())
    }

    pub(crate) async fn remove_root_key(
        &self,
        name: &str,
        copy: &str,
    ) -> Result<AuthorityView, Error> {
        let authorities = &self.house().authorities;
        let copy = copy.as_bytes();
        authorities
            .remove_root_key(&self.principal, name, copy, passphrase(), None)
            .await
    }
}

pub(crate) fn tier<'a>(view: &'a AuthorityView, role: &str) -> &'a lifecycle::TierView {
    let found = view.tiers.iter().find(|tier| tier.role == role);
    found.unwrap_or_else(|| panic!("no {role} in {view:?}"))
}

pub(crate) fn key_identifier(certificate: &Certificate) -> String {
    let identifier = certificate.subject_key_identifier().unwrap();
    identifier
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(crate) fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    certificate.issuer() == issuer.subject()
        && certificate.verify_signature_by(&issuer.public_key().unwrap())
}

/// Whether each certificate is signed by the next one, and the last one by `anchor`.
pub(crate) fn leads_to(leaf: &Certificate, chain: &[Certificate], anchor: &Certificate) -> bool {
    let mut last = leaf;
    for issuer in chain {
        if is_signed_by(last, anchor) {
            return true;
        }
        if is_signed_by(last, issuer) {
            last = issuer;
        }
    }
    is_signed_by(last, anchor)
}

/// Whether the house answers that the certificate is good.
pub(crate) async fn is_good(house: &House, issuer: &Certificate, subject: &Certificate) -> bool {
    let hashes = IssuerHashes::of(issuer);
    let request = OcspRequest {
        cert_ids: vec![CertId::new(HashAlgorithm::Sha1, &hashes, subject.serial())],
        nonce: None,
    };
    let answer = house.authorities.answer_ocsp(&request.to_der()).await;
    // The tag of `good` stands after the certID, which holds the serial.
    let serial = subject.serial().as_be_bytes();
    let place = answer
        .der
        .windows(serial.len())
        .position(|part| part == serial);
    place.is_some_and(|place| answer.der[place + serial.len()] == 0x80)
}
