//! What cannot be undercut: loops that do nothing but the cryptography, on the same cores, without
//! HTTP and without a store.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use pki::{
    CertId, CertStatus, CertificateRequest, HashAlgorithm, KeyAlgorithm, LeafProfile, OcspRequest,
    PrivateKey, Responder, Serial, Signer, Urls, Usages,
};

use crate::material;
use crate::process::thread_cpu_time;

/// As many octets as the signed part of a small P-256 certificate has.
const LEAF: usize = 480;
/// As many octets as the signed part of a small P-256 certificate request has.
const REQUEST: usize = 200;
/// As many octets as the signed part of an OCSP answer about one certificate has.
const ANSWER: usize = 200;
/// Octets that one issuance adds to a log, roughly.
const RECORD: usize = 4_096;

/// How fast a loop went.
#[derive(Clone, Debug)]
pub(crate) struct Floor {
    pub(crate) name: String,
    /// Rounds per second of all cores together.
    pub(crate) rate: f64,
    /// CPU time of one round.
    pub(crate) cpu: Duration,
}

/// Runs loops on `cores` threads, each for a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bench {
    pub(crate) cores: usize,
    pub(crate) time: Duration,
}

impl Bench {
    /// ECDSA alone: verify one signature, make one.
    pub(crate) fn verify_and_sign(self) -> anyhow::Result<Floor> {
        let theirs = ecdsa_key()?;
        let ours = ecdsa_key()?;
        let random = SystemRandom::new();
        let (request, leaf) = (vec![1; REQUEST], vec![2; LEAF]);
        let signature = theirs.sign(&random, &request).ok().context("cannot sign")?;
        let public_key = theirs.public_key().as_ref();
        self.run("floor: P-256 verify + sign, nothing else", || {
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public_key);
            key.verify(&request, signature.as_ref())
                .ok()
                .context("cannot verify")?;
            ours.sign(&random, &leaf)
                .ok()
                .context("cannot sign")
                .map(drop)
        })
    }

    /// ECDSA alone: make a key, make one signature.
    pub(crate) fn generate_and_sign(self) -> anyhow::Result<Floor> {
        let ours = ecdsa_key()?;
        let random = SystemRandom::new();
        let leaf = vec![2; LEAF];
        self.run("floor: P-256 key generation + sign, nothing else", || {
            ecdsa_key()?;
            ours.sign(&random, &leaf)
                .ok()
                .context("cannot sign")
                .map(drop)
        })
    }

    /// ECDSA alone: one signature over as much as an OCSP answer has.
    pub(crate) fn sign_answer(self) -> anyhow::Result<Floor> {
        let ours = ecdsa_key()?;
        let random = SystemRandom::new();
        let answer = vec![3; ANSWER];
        self.run("floor: P-256 sign, nothing else", || {
            ours.sign(&random, &answer)
                .ok()
                .context("cannot sign")
                .map(drop)
        })
    }

    /// Read and verify a certificate request, sign as much as a leaf has.
    pub(crate) fn request_and_sign(self) -> anyhow::Result<Floor> {
        let request = material::request(0)?;
        let ours = PrivateKey::generate(KeyAlgorithm::P256)?;
        let leaf = vec![2; LEAF];
        self.run("floor: request read and verified + sign", || {
            CertificateRequest::from_pem_or_der(&request)?;
            Ok(ours.sign(&leaf).map(drop)?)
        })
    }

    /// All of an issuance but HTTP and store: read the request, prepare, lint and sign the leaf.
    pub(crate) fn issue(self) -> anyhow::Result<Floor> {
        let request = material::request(0)?;
        let signer = material::authority()?;
        self.run("floor: request to signed leaf, no HTTP, no store", || {
            let request = CertificateRequest::from_pem_or_der(&request)?;
            let profile = LeafProfile {
                subject: request.subject().clone(),
                identifiers: request.identifiers().to_vec(),
                public_key: request.public_key().clone(),
                validity: material::validity()?,
                usages: Usages::default(),
                urls: urls(),
            };
            sign(profile, &signer)
        })
    }

    /// All of an issuance with a new key but HTTP and store.
    pub(crate) fn issue_with_key(self) -> anyhow::Result<Floor> {
        let request = CertificateRequest::from_pem_or_der(&material::request(0)?)?;
        let signer = material::authority()?;
        self.run("floor: new key to signed leaf, no HTTP, no store", || {
            let key = PrivateKey::generate(KeyAlgorithm::P256)?;
            let profile = LeafProfile {
                subject: request.subject().clone(),
                identifiers: request.identifiers().to_vec(),
                public_key: key.public_key().clone(),
                validity: material::validity()?,
                usages: Usages::default(),
                urls: urls(),
            };
            sign(profile, &signer)
        })
    }

    /// All of an OCSP answer with a nonce but HTTP and store.
    pub(crate) fn answer(self) -> anyhow::Result<Floor> {
        let signer = material::authority()?;
        let responder = Responder::direct(&signer);
        let cert_id = CertId::new(HashAlgorithm::Sha1, signer.issuer_hashes(), &serial()?);
        let request = OcspRequest {
            cert_ids: vec![cert_id],
            nonce: Some(vec![4; 32]),
        }
        .to_der();
        let validity = material::validity()?;
        let (from, until) = (validity.not_before(), validity.not_after());
        self.run("floor: request to signed answer, no HTTP, no store", || {
            let request = OcspRequest::from_der(&request)?;
            let answers = request.cert_ids.iter().map(|id| (id, CertStatus::Good));
            let answers: Vec<_> = answers.collect();
            let nonce = request.nonce.as_deref();
            Ok(responder
                .respond(&answers, nonce, from, from, until)
                .map(drop)?)
        })
    }

    fn run(
        self,
        name: &str,
        round: impl Fn() -> anyhow::Result<()> + Sync,
    ) -> anyhow::Result<Floor> {
        let one = || -> anyhow::Result<(u64, Duration, Duration)> {
            let (before, started) = (thread_cpu_time()?, Instant::now());
            let mut rounds = 0;
            while started.elapsed() < self.time {
                round()?;
                rounds += 1;
            }
            let elapsed = started.elapsed();
            Ok((rounds, elapsed, thread_cpu_time()?.saturating_sub(before)))
        };
        let outcomes = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.cores.max(1)).map(|_| scope.spawn(one)).collect();
            let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            joined
                .map(|outcome| outcome.unwrap_or_else(|_| anyhow::bail!("a floor's loop failed")))
                .collect::<anyhow::Result<Vec<_>>>()
        })?;
        let rate =
            |(rounds, elapsed, _): &(u64, Duration, _)| *rounds as f64 / elapsed.as_secs_f64();
        let rounds: u64 = outcomes.iter().map(|(rounds, ..)| rounds).sum();
        let cpu: Duration = outcomes.iter().map(|(.., cpu)| *cpu).sum();
        Ok(Floor {
            name: name.to_owned(),
            rate: outcomes.iter().map(rate).sum(),
            cpu: cpu.div_f64(rounds.max(1) as f64),
        })
    }
}

/// How long the disk takes to make an appended page durable, on average.
pub(crate) fn sync_time(time: Duration) -> anyhow::Result<Duration> {
    let mut file = tempfile::tempfile()?;
    let page = [5; RECORD];
    let started = Instant::now();
    let mut rounds = 0_u32;
    while started.elapsed() < time {
        file.write_all(&page)?;
        file.sync_data()?;
        rounds += 1;
    }
    Ok(started.elapsed() / rounds.max(1))
}

fn ecdsa_key() -> anyhow::Result<EcdsaKeyPair> {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
        .ok()
        .context("cannot make a key")
}

fn sign(profile: LeafProfile, signer: &Signer) -> anyhow::Result<()> {
    let prepared = pki::prepare(profile, &serial()?, signer)?;
    Ok(prepared.lint()?.sign().map(drop)?)
}

fn serial() -> anyhow::Result<Serial> {
    Serial::from_random([6; 16]).context("no serial number")
}

fn urls() -> Urls {
    let url = |path: &str| Some(format!("http://127.0.0.1:8080/api/v1/{path}"));
    Urls {
        ocsp: url("ocsp"),
        ca_issuers: url("ca.cer"),
        crl: url("crl"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_floor_can_be_run() {
        let bench = Bench {
            cores: 1,
            time: Duration::from_millis(1),
        };
        let floors = [
            bench.verify_and_sign(),
            bench.generate_and_sign(),
            bench.sign_answer(),
            bench.request_and_sign(),
            bench.issue(),
            bench.issue_with_key(),
            bench.answer(),
        ];
        for floor in floors {
            let floor = floor.unwrap();
            assert!(floor.rate > 0.0, "{floor:?}");
        }
        assert!(sync_time(Duration::from_millis(1)).unwrap() > Duration::ZERO);
    }
}
