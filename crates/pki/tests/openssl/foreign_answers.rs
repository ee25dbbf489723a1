//! Answers of `openssl ocsp` as somebody else's responder, believed or not.

use std::fs;

use pki::{
    CertId, HashAlgorithm, IssuerHashes, KeyAlgorithm, OcspRequest, PrivateKey, ResponderProfile,
    Signer, VerifiedAnswer, VerifiedAnswerError,
};
use testbed::{Workdir, openssl};
use time::Duration;

use crate::support::{authority_key, issue, now, root, serial, subject, validity, write};

struct Foreign {
    workdir: Workdir,
    issuer: Signer,
    question: CertId,
}

impl Foreign {
    /// An authority that has issued the certificate 2, and perhaps revoked it.
    fn new(algorithm: KeyAlgorithm, is_revoked: bool) -> Self {
        let workdir = Workdir::new();
        let key = authority_key(algorithm);
        let issuer = root(&key);
        write(&workdir, "root.pem", issuer.certificate());
        fs::write(workdir.path("root.key"), key.to_pkcs8_pem()).unwrap();
        let serial = serial(2);
        let (state, revoked_at) = if is_revoked {
            ("R", "250101000000Z,keyCompromise")
        } else {
            ("V", "")
        };
        let number = serial.to_hex();
        let line = format!("{state}\t491231235959Z\t{revoked_at}\t{number}\tunknown\t/CN=leaf\n");
        fs::write(workdir.path("index.txt"), line).unwrap();
        let question = CertId::new(
            HashAlgorithm::Sha1,
            &IssuerHashes::of(issuer.certificate()),
            &serial,
        );
        let request = OcspRequest {
            cert_ids: vec![question.clone()],
            nonce: None,
        };
        fs::write(workdir.path("request.der"), request.to_der()).unwrap();
        Self {
            workdir,
            issuer,
            question,
        }
    }

    /// What openssl answers in the name of the certificate and key in these files.
    fn answer(&self, responder: &str) -> Vec<u8> {
        let path = |name: &str| self.workdir.path(name);
        openssl(
            &[
                "ocsp",
                "-index",
                &path("index.txt"),
                "-CA",
                &path("root.pem"),
                "-rsigner",
                &path(&format!("{responder}.pem")),
                "-rkey",
                &path(&format!("{responder}.key")),
                "-reqin",
                &path("request.der"),
                "-respout",
                &path("answer.der"),
                "-ndays",
                "1",
            ],
            b"",
        );
        fs::read(path("answer.der")).unwrap()
    }

    fn read(&self, answer: &[u8]) -> Result<VerifiedAnswer, VerifiedAnswerError> {
        let now = now() + Duration::seconds(1);
        VerifiedAnswer::read(answer, &self.question, self.issuer.certificate(), now)
    }

    /// A responder's certificate, by this authority.
    fn certify(&self, name: &str, authority: &Signer) {
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let profile = ResponderProfile {
            subject: subject("Responder"),
            public_key: key.public_key().clone(),
            validity: validity(30),
        };
        let certificate = issue(profile, 3, authority);
        write(&self.workdir, &format!("{name}.pem"), &certificate);
        let path = self.workdir.path(&format!("{name}.key"));
        fs::write(path, key.to_pkcs8_pem()).unwrap();
    }
}

#[test]
fn answers_signed_by_the_issuer_are_believed() {
    for algorithm in [
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::P256,
        KeyAlgorithm::P384,
    ] {
        for is_revoked in [false, true] {
            let foreign = Foreign::new(algorithm, is_revoked);
            let answer = foreign.read(&foreign.answer("root")).unwrap();
            assert_eq!(answer.is_good, !is_revoked, "{algorithm}");
            let next_update = answer.next_update.unwrap();
            assert_eq!(next_update - answer.this_update, Duration::DAY);
        }
    }
}

#[test]
fn a_responder_is_believed_if_the_issuer_has_certified_it_and_not_otherwise() {
    let foreign = Foreign::new(KeyAlgorithm::P256, false);
    foreign.certify("certified", &foreign.issuer);
    let answer = foreign.read(&foreign.answer("certified")).unwrap();
    assert!(answer.is_good);

    // Of the same name, but with another key.
    let impostor = root(&authority_key(KeyAlgorithm::P384));
    assert_eq!(
        impostor.certificate().subject(),
        foreign.issuer.certificate().subject()
    );
    foreign.certify("impostor", &impostor);
    let refused = foreign.read(&foreign.answer("impostor"));
    assert_eq!(refused, Err(VerifiedAnswerError::NotBelievable));
}
