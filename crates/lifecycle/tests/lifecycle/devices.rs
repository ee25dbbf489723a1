//! Authorities whose keys are in a device that refuses, or does not answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::support::{DAY, DEADLINE, Fixture, MINUTE, TurnedClock, eventually, settings};
use bytes::Bytes;
use lifecycle::{
    Error, House, IssueRequest, Issued, KeySource, NewAuthorityRequest, Principal, Surroundings,
    SystemRandomness, Tiers, parse_identifiers,
};
use pki::{
    CertId, Certificate, HashAlgorithm, IssuerHashes, KeyAlgorithm, KeyDevice, OcspRequest,
    OutsideError, OutsideKey, PrivateKey, PublicKey, SubjectFields,
};

/// The name of the authority whose keys are in the device.
const PLANT: &str = "plant";
/// After so many days a responder should have been replaced, and after ten more it has ended.
const LATE: i64 = 21;

/// What a device does when it is to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Signs,
    Refuses,
    Hangs,
}

#[derive(Debug)]
struct State {
    keys: HashMap<[u8; 16], PrivateKey>,
    manner: Manner,
    /// How often it was to sign.
    asked: usize,
}

/// A device in this process.
#[derive(Debug, Clone)]
struct Device(Arc<(Mutex<State>, Condvar)>);

impl Device {
    fn new() -> Self {
        let state = State {
            keys: HashMap::new(),
            manner: Manner::Signs,
            asked: 0,
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    fn behave(&self, manner: Manner) {
        self.0.0.lock().unwrap().manner = manner;
        self.0.1.notify_all();
    }

    fn asked(&self) -> usize {
        self.0.0.lock().unwrap().asked
    }
}

/// Nobody is left waiting by a test that fails.
struct Released(Device);

impl Drop for Released {
    fn drop(&mut self) {
        self.0.behave(Manner::Refuses);
    }
}

impl KeyDevice for Device {
    fn generate(
        &self,
        id: [u8; 16],
        _: &str,
        algorithm: KeyAlgorithm,
    ) -> Result<PublicKey, OutsideError> {
        let key = PrivateKey::generate(algorithm).unwrap();
        let public = key.public_key().clone();
        self.0.0.lock().unwrap().keys.insert(id, key);
        Ok(public)
    }

    fn key(&self, id: [u8; 16], public: PublicKey) -> Arc<dyn OutsideKey> {
        let device = self.clone();
        Arc::new(Key { device, id, public })
    }
}

#[derive(Debug)]
struct Key {
    device: Device,
    id: [u8; 16],
    public: PublicKey,
}

impl OutsideKey for Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, OutsideError> {
        let (state, changed) = &*self.device.0;
        let mut state = state.lock().unwrap();
        state.asked += 1;
        let state = changed
            .wait_while(state, |state| state.manner == Manner::Hangs)
            .unwrap();
        match state.manner {
            Manner::Refuses => Err(OutsideError("the device is away".to_owned())),
            _ => Ok(state.keys[&self.id].sign(message).unwrap()),
        }
    }
}

/// A house with an authority in a device.
struct Site {
    fixture: Fixture,
    device: Device,
    _released: Released,
    /// Counts questions, so that no two are the same.
    questions: AtomicU64,
}

impl Site {
    async fn new() -> Self {
        let (clock, device) = (TurnedClock::new(), Device::new());
        let surroundings = Surroundings::new(clock.clone(), SystemRandomness);
        let surroundings = surroundings.with_device(Arc::new(device.clone()));
        let fixture = Fixture::among(settings(KeyAlgorithm::P256), clock, surroundings).await;
        let request = NewAuthorityRequest {
            name: PLANT.to_owned(),
            key_algorithm: KeyAlgorithm::P256,
            subject: SubjectFields {
                common_name: Some("Plant".to_owned()),
                ..SubjectFields::default()
            },
            tiers: Tiers::Two,
            days: None,
            root_days: None,
            permitted: Vec::new(),
            excluded: Vec::new(),
            in_device: true,
        };
        let authorities = &fixture.house().authorities;
        let made = authorities.create(&fixture.principal, request).await;
        made.unwrap();
        Self {
            fixture,
            _released: Released(device.clone()),
            device,
            questions: AtomicU64::new(0),
        }
    }

    /// An answer about the certificate. No answer is given twice.
    async fn answer(&self, leaf: &Certificate) -> Bytes {
        self.answer_of(self.fixture.house(), leaf).await
    }

    async fn answer_of(&self, house: &House, leaf: &Certificate) -> Bytes {
        let authority = house.authorities.named(PLANT).await.unwrap();
        let hashes = IssuerHashes::of(authority.issuing_certificate());
        let number = self.questions.fetch_add(1, Ordering::SeqCst);
        let request = OcspRequest {
            cert_ids: vec![CertId::new(HashAlgorithm::Sha1, &hashes, leaf.serial())],
            nonce: Some(number.to_be_bytes().to_vec()),
        }
        .to_der();
        let answering = house.authorities.answer_ocsp(&request);
        let answer = tokio::time::timeout(DEADLINE, answering).await;
        answer.expect("it waited for the device").der
    }

    /// The end of the responder's certificate, which is the end of an answer, too.
    async fn responder(&self, leaf: &Certificate) -> Vec<u8> {
        responder_in(&self.answer(leaf).await)
    }
}

fn responder_in(answer: &[u8]) -> Vec<u8> {
    let mark = b"plant OCSP responder";
    assert!(answer.windows(mark.len()).any(|window| window == mark));
    answer[answer.len() - 64..].to_vec()
}

async fn issue(
    house: &House,
    principal: &Principal,
    authority: &str,
    algorithm: KeyAlgorithm,
) -> Result<Issued, Error> {
    let request = IssueRequest {
        authority: authority.to_owned(),
        subject: SubjectFields::default(),
        identifiers: parse_identifiers(["a.test"], [], []).unwrap(),
        days: Some(182),
        key: KeySource::Generate(algorithm),
        name: None,
    };
    house.certificates.issue(principal, request).await
}

#[tokio::test]
async fn a_responder_answers_to_its_end_while_the_device_does_not_certify_another_one() {
    let site = Site::new().await;
    let (fixture, device) = (&site.fixture, &site.device);
    let issued = issue(
        fixture.house(),
        &fixture.principal,
        PLANT,
        KeyAlgorithm::P256,
    );
    let leaf = issued.await.unwrap().leaf;
    let first = site.responder(&leaf).await;

    device.behave(Manner::Refuses);
    fixture.turn(LATE * DAY);
    let asked = device.asked();
    for _ in 0..5 {
        assert_eq!(site.responder(&leaf).await, first);
    }
    // Once a minute, and aside.
    let minutes = AtomicUsize::new(1);
    eventually("the device is asked again", || async {
        fixture.turn(MINUTE + 1);
        for _ in 0..5 {
            assert_eq!(site.responder(&leaf).await, first);
        }
        minutes.fetch_add(1, Ordering::SeqCst);
        (device.asked() >= asked + 2).then_some(())
    })
    .await;
    assert!(device.asked() <= asked + minutes.load(Ordering::SeqCst));
    // A node that has none in memory, and no device.
    let restarted = fixture.node(settings(KeyAlgorithm::P256)).await;
    let answer = site.answer_of(&restarted.house, &leaf).await;
    assert_eq!(responder_in(&answer), first);

    device.behave(Manner::Signs);
    let second = eventually("another responder answers", || async {
        fixture.turn(MINUTE + 1);
        let now = site.responder(&leaf).await;
        (now != first).then_some(now)
    })
    .await;

    // Nobody waits for a device that hangs, neither while there is a responder nor behind others.
    device.behave(Manner::Hangs);
    fixture.turn(LATE * DAY);
    for _ in 0..5 {
        assert_eq!(site.responder(&leaf).await, second);
    }
    device.behave(Manner::Refuses);
    fixture.turn(10 * DAY);
    let try_later = [0x30, 3, 0x0a, 1, 3];
    let asked = device.asked();
    for _ in 0..5 {
        assert_eq!(site.answer(&leaf).await[..], try_later);
    }
    assert!(device.asked() <= asked + 1);
    device.behave(Manner::Signs);
    fixture.turn(MINUTE + 1);
    assert_ne!(site.responder(&leaf).await, second);
}

#[tokio::test]
async fn a_device_that_hangs_holds_up_only_what_it_is_to_sign() {
    let site = Site::new().await;
    let (fixture, device) = (&site.fixture, &site.device);
    device.behave(Manner::Hangs);
    let asked = device.asked();
    let mut waiting = Vec::new();
    for _ in 0..40 {
        let (house, principal) = (fixture.house().clone(), fixture.principal.clone());
        waiting.push(tokio::spawn(async move {
            issue(&house, &principal, PLANT, KeyAlgorithm::P256).await
        }));
    }
    eventually("the device is asked", || async {
        (device.asked() >= asked + 4).then_some(())
    })
    .await;
    // An RSA key is made where the processors are shared out.
    let others = issue(
        fixture.house(),
        &fixture.principal,
        lifecycle::DEFAULT_AUTHORITY,
        KeyAlgorithm::Rsa2048,
    );
    let other = tokio::time::timeout(DEADLINE, others).await;
    other.expect("it waited for the device").unwrap();
    device.behave(Manner::Signs);
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
}
