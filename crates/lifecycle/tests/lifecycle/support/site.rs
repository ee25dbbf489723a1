//! Two nodes with a directory in memory.

use lifecycle::{
    Certificate, CertificateId, CertificateRef, ExternalAccount, House, ManagedRequest, NewIssuer,
    Principal, Settings, State,
};
use pki::KeyAlgorithm;
use store::Scope;

use super::directory::{FakeDirectory, Manners};
use super::{Fixture, SECOND, TurnedClock, settings};

/// The directory that certificates name.
pub(crate) const MAIN: &str = "main";

/// Two nodes and a directory.
pub(crate) struct Site {
    pub(crate) fixture: Fixture,
    pub(crate) directory: FakeDirectory,
}

impl Site {
    pub(crate) async fn new(manners: Manners) -> Self {
        Self::with(settings(KeyAlgorithm::Ed25519), manners).await
    }

    pub(crate) async fn with(settings: Settings, manners: Manners) -> Self {
        let clock = TurnedClock::new();
        let directory = FakeDirectory::new(&clock, manners);
        let surroundings = directory.surroundings();
        let fixture = Fixture::among(settings, clock, surroundings).await;
        directory.look_at(fixture.house());
        fixture.house().obtain_due_now().await.unwrap();
        let site = Self { fixture, directory };
        site.add_issuer(MAIN, None).await;
        site
    }

    pub(crate) async fn add_issuer(&self, name: &str, limits: Option<&str>) {
        let issuer = NewIssuer {
            name: name.to_owned(),
            url: format!("https://{name}.test/directory"),
            agrees_to_terms: true,
            limits: limits.map(str::to_owned),
            // Taken no notice of where none is demanded.
            external_account: Some(ExternalAccount {
                key_id: "kid".to_owned(),
                hmac_key: vec![7; 32].into(),
            }),
            ..NewIssuer::default()
        };
        let issuers = &self.house().issuers;
        issuers.add(&self.fixture.principal, issuer).await.unwrap();
    }

    pub(crate) fn house(&self) -> &House {
        self.fixture.house()
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.fixture.principal
    }

    pub(crate) async fn request(&self, names: &[&str]) -> CertificateId {
        let request = ManagedRequest {
            name: None,
            names: lifecycle::parse_identifiers(names.iter().copied(), [], []).unwrap(),
            issuer: Some(MAIN.to_owned()),
        };
        let certificates = &self.house().certificates;
        let requested = certificates
            .request_managed(self.principal(), request)
            .await;
        requested.unwrap().id
    }

    pub(crate) async fn find(&self, id: CertificateId) -> Certificate {
        let certificates = &self.house().certificates;
        let reference = CertificateRef::Id(id);
        certificates
            .find(self.principal(), &reference)
            .await
            .unwrap()
    }
}

impl Site {
    /// Obtains what is due and lets time pass, until there is nothing pending, for at most that many
    /// seconds.
    pub(crate) async fn work(&self, house: &House, ids: &[CertificateId], seconds: i64) {
        let mut passed = 0;
        while passed < seconds {
            house.obtain_due_now().await.unwrap();
            let mut is_pending = false;
            for id in ids {
                is_pending |= matches!(self.find(*id).await.state, State::Pending { .. });
            }
            if !is_pending {
                return;
            }
            // What is waited for for long does not matter by the second.
            let step = (passed / 8).max(SECOND);
            self.fixture.turn(step);
            passed += step;
        }
    }

    pub(crate) async fn versions(&self, id: CertificateId) -> usize {
        let reference = CertificateRef::Id(id);
        let certificates = &self.house().certificates;
        let versions = certificates.versions(self.principal(), &reference).await;
        versions.unwrap().len()
    }

    pub(crate) async fn leaf(&self, id: CertificateId) -> pki::Certificate {
        let certificate = self.find(id).await;
        let chain = self.house().certificates.chain(&certificate).await.unwrap();
        chain.into_iter().next().unwrap()
    }

    /// The directory that issued the current version.
    pub(crate) async fn issuer_of(&self, id: CertificateId) -> String {
        let directory = self.find(id).await.current.unwrap().directory_id.unwrap();
        let store = &self.fixture.nodes[0].store;
        let found = store.directory(Scope::Everything, directory).await.unwrap();
        found.unwrap().name
    }
}

/// A request for one name.
pub(crate) fn named(name: &str) -> ManagedRequest {
    ManagedRequest {
        name: None,
        names: lifecycle::parse_identifiers([name], [], []).unwrap(),
        issuer: Some(MAIN.to_owned()),
    }
}
