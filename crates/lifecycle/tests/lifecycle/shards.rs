//! Lists in shards: several nodes on one embedded database, which issue into different shards.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::served::Following;
use crate::support::{DAY, Fixture, Node, eventually, settings};
use bytes::Bytes;
use lifecycle::{
    CertificateRef, DEFAULT_AUTHORITY, Error, House, IssueRequest, Issued, KeySource,
    RevocationTarget, parse_identifiers,
};
use pki::{
    CertId, Certificate, CertificateRequest, DistinguishedName, HashAlgorithm, IssuerHashes,
    KeyAlgorithm, OcspRequest, PrivateKey, RevocationReason, SubjectFields, VerifiedAnswer,
};
use tokio::task::JoinSet;

/// Places in a shard.
const SHARD: u64 = 20_000;
/// Places that a node takes at a time.
const TAKEN: u64 = 1_000;
/// Says how many certificates the test revokes that revokes many.
const MANY: &str = "CHANCERY_TEST_REVOCATIONS";
/// How many of them it revokes at a time.
const AT_A_TIME: usize = 16;

impl Fixture {
    /// Takes so many places, and returns their shard.
    async fn take(&self, places: u64) -> u64 {
        let named = self.house().authorities.named(DEFAULT_AUTHORITY).await;
        let store = &self.nodes[0].store;
        let taken = store.take_places(named.unwrap().id, places, SHARD).await;
        taken.unwrap()
    }

    /// Nodes that issue into a shard each, the first into shard 0.
    async fn nodes_in_shards(&self, count: u64) -> Vec<Node> {
        let mut nodes = Vec::new();
        for number in 0..count {
            let node = self.node(settings(KeyAlgorithm::P256)).await;
            assert_eq!(shard_of(&self.issue_on(&node.house).await), number);
            assert_eq!(self.take(SHARD - TAKEN).await, number);
            nodes.push(node);
        }
        nodes
    }

    async fn issue_on(&self, house: &House) -> Issued {
        issue(house, &self.principal).await
    }

    async fn revoke_on(&self, house: &House, issued: &Issued) {
        revoke(house, &self.principal, issued).await;
    }

    async fn list(&self, house: &House, shard: u64) -> Result<Bytes, Error> {
        let authority = house.authorities.named(DEFAULT_AUTHORITY).await.unwrap();
        house.authorities.revocation_list(&authority, shard).await
    }
}

async fn issue(house: &House, principal: &lifecycle::Principal) -> Issued {
    let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
    let subject = DistinguishedName::from_fields(&SubjectFields::default()).unwrap();
    let der = CertificateRequest::build(&key, &subject, &[]).unwrap();
    let request = CertificateRequest::from_pem_or_der(&der).unwrap();
    let request = IssueRequest {
        authority: DEFAULT_AUTHORITY.to_owned(),
        subject: SubjectFields::default(),
        identifiers: parse_identifiers(["a.test"], [], []).unwrap(),
        days: Some(30),
        key: KeySource::Request(Box::new(request)),
        name: None,
    };
    house.certificates.issue(principal, request).await.unwrap()
}

async fn revoke(house: &House, principal: &lifecycle::Principal, issued: &Issued) {
    let target = RevocationTarget::Certificate(CertificateRef::Id(issued.id));
    let certificates = &house.certificates;
    let revoked = certificates.revoke(principal, &target, RevocationReason::Superseded);
    revoked.await.unwrap();
}

fn holds(list: &[u8], issued: &Issued) -> bool {
    let serial = issued.leaf.serial();
    let serial = serial.as_be_bytes();
    list.windows(serial.len()).any(|found| found == serial)
}

/// The address of the list that a leaf names, or for which a list counts.
fn address_in(der: &[u8]) -> Option<String> {
    let mark = b"http://chancery.test/ca/";
    let texts = der.windows(mark.len()).enumerate();
    let mut starts = texts.filter(|(_, found)| found == mark);
    starts.find_map(|(start, _)| {
        let end = der[start..].windows(4).position(|found| found == b".crl")?;
        let text = std::str::from_utf8(&der[start..start + end + 4]).ok()?;
        (!text.contains(".cer")).then(|| text.to_owned())
    })
}

fn shard_of(issued: &Issued) -> u64 {
    let address = address_in(issued.leaf.der()).unwrap();
    let name = address.strip_suffix(".crl").unwrap();
    match name.rsplit_once('/').unwrap().1.split_once('-') {
        Some((_, shard)) => shard.parse().unwrap(),
        None => 0,
    }
}

/// What a node says of a certificate, with or without a nonce.
async fn is_good(house: &House, issuer: &Certificate, leaf: &Certificate, nonce: bool) -> bool {
    let hashes = IssuerHashes::of(issuer);
    let question = OcspRequest {
        cert_ids: vec![CertId::new(HashAlgorithm::Sha1, &hashes, leaf.serial())],
        nonce: nonce.then(|| vec![7; 32]),
    };
    let answer = house.authorities.answer_ocsp(&question.to_der()).await;
    let now = leaf.not_before() + time::Duration::hours(1);
    let read = VerifiedAnswer::read(&answer.der, &question.cert_ids[0], issuer, now);
    read.unwrap().is_good
}

#[tokio::test]
async fn a_list_is_complete_until_there_is_a_second_shard() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let first = fixture.nodes_in_shards(1).await.remove(0).house;
    let early = fixture.issue_on(&first).await;
    assert_eq!(shard_of(&early), 0);
    fixture.revoke_on(&first, &early).await;
    let whole = fixture.list(&first, 0).await.unwrap();
    assert!(holds(&whole, &early));
    assert_eq!(address_in(&whole), None);
    let none = fixture.list(&first, 1).await;
    assert!(matches!(none, Err(Error::NotFound { .. })), "{none:?}");

    assert_eq!(fixture.take(1).await, 1);
    let part = fixture.list(&first, 0).await.unwrap();
    assert!(holds(&part, &early));
    assert_eq!(address_in(&part), address_in(early.leaf.der()));
    let empty = fixture.list(&first, 1).await.unwrap();
    assert_eq!(
        address_in(&empty),
        address_in(early.leaf.der()).map(|address| address.replace(".crl", "-1.crl"))
    );
    let none = fixture.list(&first, 2).await;
    assert!(matches!(none, Err(Error::NotFound { .. })), "{none:?}");
}

#[tokio::test]
async fn a_revocation_is_on_the_list_that_its_leaf_names_and_changes_no_other() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let nodes = fixture.nodes_in_shards(3).await;
    let mut issued = Vec::new();
    for (shard, node) in nodes.iter().enumerate() {
        for _ in 0..3 {
            let one = fixture.issue_on(&node.house).await;
            assert_eq!(shard_of(&one), shard as u64);
            issued.push(one);
        }
    }
    let house = &nodes[0].house;
    let lists = async || {
        let mut lists = Vec::new();
        for shard in 0..3 {
            lists.push(fixture.list(house, shard).await.unwrap());
        }
        lists
    };
    for one in &issued {
        let before = lists().await;
        fixture.revoke_on(house, one).await;
        let after = lists().await;
        for shard in 0..3 {
            let is_its = shard == shard_of(one) as usize;
            assert_eq!(before[shard] != after[shard], is_its);
            assert_eq!(holds(&after[shard], one), is_its);
        }
    }
    let root = house.authorities.named(DEFAULT_AUTHORITY).await.unwrap();
    let root = root.root_certificate().subject_key_identifier().unwrap();
    let root: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
    let authorities = &house.authorities;
    let of_root = async |shard| {
        let list = authorities.revocation_list_by_key_identifier(&root, shard);
        list.await
    };
    assert_eq!(address_in(&of_root(0).await.unwrap()), None);
    assert!(matches!(of_root(1).await, Err(Error::NotFound { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_revocations_leave_every_answer_right_and_every_shard_whole() {
    let count = std::env::var(MANY).map_or(240, |count| count.parse().unwrap());
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let nodes = fixture.nodes_in_shards(3).await;
    let following: Vec<_> = nodes
        .iter()
        .map(|node| Following::start(&node.house))
        .collect();
    let issuer = nodes[0].house.authorities.named(DEFAULT_AUTHORITY).await;
    let issuer = issuer.unwrap().issuing_certificate().clone();

    let mut tasks = JoinSet::new();
    let issuing = AtomicUsize::new(0);
    let mut issued = Vec::new();
    while issued.len() < count + 30 {
        while tasks.len() < 64 && issuing.load(Ordering::SeqCst) < count + 30 {
            let number = issuing.fetch_add(1, Ordering::SeqCst);
            let house = nodes[number % nodes.len()].house.clone();
            let principal = fixture.principal.clone();
            tasks.spawn(async move { issue(&house, &principal).await });
        }
        issued.push(tasks.join_next().await.unwrap().unwrap());
    }
    let kept = issued.split_off(count);

    let mut revoking = JoinSet::new();
    let mut waiting = issued.iter();
    let mut revoked = 0;
    while revoked < count {
        while revoking.len() < AT_A_TIME
            && let Some(one) = waiting.next()
        {
            let house = nodes[revoked % nodes.len()].house.clone();
            let principal = fixture.principal.clone();
            let (id, leaf, issuer) = (one.id, one.leaf.clone(), issuer.clone());
            revoking.spawn(async move {
                // So that there is something to forget.
                assert!(is_good(&house, &issuer, &leaf, false).await);
                let target = RevocationTarget::Certificate(CertificateRef::Id(id));
                let certificates = &house.certificates;
                let reason = RevocationReason::Superseded;
                let revoked = certificates.revoke(&principal, &target, reason);
                revoked.await.unwrap();
                assert!(!is_good(&house, &issuer, &leaf, false).await);
                assert!(!is_good(&house, &issuer, &leaf, true).await);
            });
        }
        revoking.join_next().await.unwrap().unwrap();
        revoked += 1;
        let other = &kept[revoked % kept.len()];
        let house = &nodes[revoked % nodes.len()].house;
        assert!(is_good(house, &issuer, &other.leaf, revoked % 2 == 0).await);
    }
    for node in &nodes {
        for one in &issued {
            eventually("every node knows of all", || async {
                let is_good = is_good(&node.house, &issuer, &one.leaf, false).await;
                (!is_good).then_some(())
            })
            .await;
        }
        let mut lists = HashMap::new();
        for one in issued.iter().chain(&kept) {
            let shard = shard_of(one);
            if let std::collections::hash_map::Entry::Vacant(entry) = lists.entry(shard) {
                let list = fixture.list(&node.house, shard).await.unwrap();
                assert!(list.len() < 1024 * 1024, "{}", list.len());
                entry.insert(serials_in(&list));
            }
        }
        assert!(lists.len() >= 3);
        for (shard, serials) in &mut lists {
            serials.sort_unstable();
            let on_it = issued.iter().filter(|one| shard_of(one) == *shard);
            let mut expected: Vec<_> = on_it
                .map(|one| one.leaf.serial().as_be_bytes().to_vec())
                .collect();
            expected.sort_unstable();
            assert!(*serials == expected, "shard {shard}");
        }
    }
    drop(following);
}

/// The serial numbers on a list (RFC 5280 section 5.1), without leading zeros.
fn serials_in(list: &[u8]) -> Vec<Vec<u8>> {
    let (_, list, _) = element(list);
    let (_, mut body, _) = element(list);
    // Version, algorithm, issuer, and the moments of this update and the next.
    for _ in 0..5 {
        body = element(body).2;
    }
    let (0x30, mut entries, _) = element(body) else {
        return Vec::new();
    };
    let mut serials = Vec::new();
    while !entries.is_empty() {
        let (_, entry, rest) = element(entries);
        let (_, serial, _) = element(entry);
        let zeros = serial.iter().take_while(|octet| **octet == 0).count();
        serials.push(serial[zeros..].to_vec());
        entries = rest;
    }
    serials
}

/// The tag of the first DER element, its contents, and what follows it.
fn element(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (head, length) = match der[1] {
        short @ ..0x80 => (2, usize::from(short)),
        long => {
            let octets = usize::from(long & 0x7f);
            let digits = der[2..2 + octets].iter();
            let length = digits.fold(0, |length, digit| length << 8 | usize::from(*digit));
            (2 + octets, length)
        }
    };
    let (contents, rest) = der[head..].split_at(length);
    (der[0], contents, rest)
}

#[tokio::test]
async fn of_two_nodes_one_certifies_a_responder_and_ended_ones_are_forgotten() {
    let fixture = Fixture::new(KeyAlgorithm::Ed25519).await;
    let leaf = fixture.issue("a.test", 182).await.leaf;
    let [first, second] = &fixture.nodes;
    let authority = first.house.authorities.named(DEFAULT_AUTHORITY).await;
    let authority = authority.unwrap();
    let issuer = authority.issuing_certificate();
    let responders = async || {
        let stored = first.store.ca_certificates(authority.id).await.unwrap();
        let is_responder = |one: &&store::CaCertificate| one.role == store::CaRole::Responder;
        stored.iter().filter(is_responder).count()
    };
    let hashes = IssuerHashes::of(issuer);
    let question = OcspRequest {
        cert_ids: vec![CertId::new(HashAlgorithm::Sha1, &hashes, leaf.serial())],
        nonce: None,
    };
    let question = question.to_der();
    for month in 0..8 {
        tokio::join!(
            first.house.authorities.answer_ocsp(&question),
            second.house.authorities.answer_ocsp(&question),
        );
        // One that answers, and one that answered until now.
        assert_eq!(responders().await, if month == 0 { 1 } else { 2 });
        fixture.turn(21 * DAY);
    }
}
