//! The last year of an issuing CA, day by day, on two nodes, with the change to the next one: whatever
//! somebody relies on is valid whenever they look, and nothing outlives what it stands on.

use std::collections::HashMap;

use crate::support::published::{self, number_of, question};
use crate::support::served::Following;
use crate::support::{DAY, Fixture, HOUR, MINUTE, eventually};
use lifecycle::{
    CertificateRef, DEFAULT_AUTHORITY, House, IssueRequest, Issued, KeySource, RevocationTarget,
    parse_identifiers,
};
use pki::{Certificate, KeyAlgorithm, RevocationReason, SubjectFields};
use time::{Date, Month, OffsetDateTime, Time};

/// Days that an issuing CA lives, and how many of them are looked at.
const LIFE: i64 = 10 * 365;
const YEAR: i64 = 365;

/// What the world has of the authority.
struct World<'a> {
    fixture: &'a Fixture,
    /// The issuing CAs, the present one last.
    issuers: Vec<Certificate>,
    root: Certificate,
    /// Leaves that have not ended, with the place of their issuer, and whether they were revoked.
    leaves: Vec<(Issued, usize, bool)>,
    /// The last number of the list of each issuing CA, and of that of the root.
    numbers: HashMap<String, u64>,
}

impl World<'_> {
    async fn issue(&mut self, day: i64) {
        let request = IssueRequest {
            authority: DEFAULT_AUTHORITY.to_owned(),
            subject: SubjectFields::default(),
            identifiers: parse_identifiers(["a.test"], [], []).unwrap(),
            days: Some(if day % 2 == 0 { 7 } else { 182 }),
            key: KeySource::Generate(KeyAlgorithm::P256),
            name: None,
        };
        let certificates = &self.fixture.house().certificates;
        let issued = certificates.issue(&self.fixture.principal, request).await;
        let issued = issued.unwrap();
        let now = self.fixture.now();
        assert!(issued.leaf.not_before() <= now && now < issued.leaf.not_after());
        let issuer = self.issuers.last().unwrap();
        assert_eq!(issued.leaf.issuer(), issuer.subject());
        assert!(issued.leaf.not_after() <= issuer.not_after());
        self.leaves.push((issued, self.issuers.len() - 1, false));
    }

    /// Has done what is due for authorities, on both nodes at once.
    async fn renew(&mut self) {
        let nodes = [self.fixture.house(), self.fixture.other_node()];
        let [one, other] = nodes.map(|house| house.authorities.renew_due());
        let (one, other) = tokio::join!(one, other);
        assert!(one.unwrap() + other.unwrap() <= 1);
        let authority = nodes[0].authorities.named(DEFAULT_AUTHORITY).await.unwrap();
        let issuer = authority.issuing_certificate();
        if self.issuers.last() != Some(issuer) {
            self.issuers.push(issuer.clone());
        }
    }

    async fn revoke(&mut self, index: usize) {
        let (issued, issuer, is_revoked) = &mut self.leaves[index];
        let issuer = self.issuers[*issuer].clone();
        if std::mem::replace(is_revoked, true) {
            return;
        }
        let target = RevocationTarget::Certificate(CertificateRef::Id(issued.id));
        let certificates = &self.fixture.house().certificates;
        let reason = RevocationReason::KeyCompromise;
        let revoked = certificates.revoke(&self.fixture.principal, &target, reason);
        revoked.await.unwrap();
        let leaf = issued.leaf.clone();
        eventually("the other node says so, too", || async {
            let good = self.is_good(self.fixture.other_node(), &issuer, &leaf, false);
            (!good.await).then_some(())
        })
        .await;
    }

    async fn is_good(
        &self,
        house: &House,
        issuer: &Certificate,
        subject: &Certificate,
        with_nonce: bool,
    ) -> bool {
        let request = question(issuer, subject, with_nonce.then(|| vec![1; 32]));
        published::is_good(house, self.fixture.now(), issuer, &request).await
    }

    /// Checks the lists of all tiers that have not ended, as a node publishes them now.
    async fn check_lists(&mut self, house: &House) {
        let now = self.fixture.now();
        let tiers = self.issuers.iter().chain([&self.root]).enumerate();
        for (tier, certificate) in tiers.filter(|(_, tier)| now < tier.not_after()) {
            let key = certificate.subject_key_identifier().unwrap();
            let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            let list = house.authorities.revocation_list_by_key_identifier(&key, 0);
            let list = list.await.unwrap();
            let [this_update, next_update] = updates(&list);
            assert!(this_update <= now && now < next_update);
            let number = number_of(&list);
            let before = self.numbers.insert(key, number);
            assert!(before.is_none_or(|before| before <= number));
            for (issued, issuer, is_revoked) in &self.leaves {
                let serial = issued.leaf.serial().as_be_bytes();
                let is_listed = list.windows(serial.len()).any(|found| found == serial);
                // Each list holds what its own tier has signed, and nothing else.
                assert_eq!(is_listed, *is_revoked && tier == *issuer);
            }
        }
    }

    async fn look_around(&mut self, day: i64) {
        let now = self.fixture.now();
        self.leaves
            .retain(|(issued, _, _)| now < issued.leaf.not_after());
        let nodes = [self.fixture.house(), self.fixture.other_node()];
        let mut house = nodes[(day % 2) as usize].clone();
        // Some of them each day, all of them in time.
        for (index, (issued, issuer, is_revoked)) in self.leaves.iter().enumerate() {
            let turn = index as i64 + day;
            if turn % 4 != 0 {
                continue;
            }
            let issuer = &self.issuers[*issuer];
            let is_good = self.is_good(&house, issuer, &issued.leaf, turn % 3 == 0);
            assert_eq!(is_good.await, !is_revoked);
            house = nodes[(turn / 4 % 2) as usize].clone();
        }
        for issuer in self.issuers.iter().filter(|ca| now < ca.not_after()) {
            assert!(self.is_good(&house, &self.root, issuer, false).await);
        }
        self.check_lists(&house).await;
    }
}

/// `thisUpdate` and `nextUpdate`, the first two moments of a list.
fn updates(list: &[u8]) -> [OffsetDateTime; 2] {
    let heads = list.windows(2).enumerate();
    let mut moments = heads.filter(|(_, head)| *head == [0x17, 13]);
    [(); 2].map(|()| {
        let (place, _) = moments.next().unwrap();
        let text = std::str::from_utf8(&list[place + 2..place + 14]).unwrap();
        let [year, month, day, hour, minute, second] =
            [0, 2, 4, 6, 8, 10].map(|at| text[at..at + 2].parse::<u8>().unwrap());
        let month = Month::try_from(month).unwrap();
        let date = Date::from_calendar_date(2000 + i32::from(year), month, day).unwrap();
        let time = Time::from_hms(hour, minute, second).unwrap();
        date.with_time(time).assume_utc()
    })
}

#[tokio::test]
async fn for_a_year_everything_is_valid_and_nothing_outlives_its_issuer() {
    // Its answers are signed by responders with certificates of their own.
    let fixture = Fixture::new(KeyAlgorithm::Ed25519).await;
    let following = fixture
        .nodes
        .each_ref()
        .map(|node| Following::start(&node.house));
    let authority = fixture.house().authorities.named(DEFAULT_AUTHORITY).await;
    let authority = authority.unwrap();
    let mut world = World {
        fixture: &fixture,
        issuers: vec![authority.issuing_certificate().clone()],
        root: authority.root_certificate().clone(),
        leaves: Vec::new(),
        numbers: HashMap::new(),
    };
    fixture.turn((LIFE - YEAR) * DAY);
    for day in 0..YEAR - 1 {
        world.renew().await;
        if day % 5 == 0 {
            world.issue(day).await;
        }
        if day % 30 == 7 {
            let one = world.leaves.len() / 2;
            world.revoke(one).await;
        }
        world.look_around(day).await;
        // What is kept is about to be signed anew.
        fixture.turn(17 * HOUR + 59 * MINUTE);
        if day % 5 == 0 {
            world.look_around(day).await;
        }
        fixture.turn(6 * HOUR + MINUTE);
    }
    let stored = fixture.nodes[0].store.ca_certificates(authority.id).await;
    assert_eq!(world.issuers.len(), 2);
    // Three tiers, and a few responders: in the last days of a CA they live shorter and shorter.
    assert!(stored.unwrap().len() <= 14);
    drop(following);
}
