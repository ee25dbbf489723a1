//! Domains that are served, and what they are served with.

use std::sync::{Arc, Mutex};

use lifecycle::{
    Certificate, CertificateId, CertificateRef, Change, Credentials, DEFAULT_AUTHORITY,
    DomainRequest, House, IssueRequest, KeySource, NewServiceRequest, Principal, RevocationTarget,
    ServiceId, Site, TokenLimits, Upload, parse_identifiers,
};
use pki::{DnsName, KeyAlgorithm, RevocationReason, SubjectFields};
use tokio::task::JoinHandle;

use super::{Fixture, eventually};

/// A node that follows the feed, with what it tells its edge.
pub(crate) struct Following {
    pub(crate) told: Arc<Mutex<Vec<Change>>>,
    task: JoinHandle<()>,
}

impl Following {
    pub(crate) fn start(house: &House) -> Self {
        let told: Arc<Mutex<Vec<Change>>> = Arc::default();
        let task = tokio::spawn({
            let (house, told) = (house.clone(), told.clone());
            async move {
                let notify = |change| told.lock().unwrap().push(change);
                house.follow_changes(notify).await;
            }
        });
        Self { told, task }
    }

    /// Waits until the edge was told of `change`.
    pub(crate) async fn tells(&self, change: Change) {
        let what = format!("{change:?}");
        eventually(&what, || async {
            self.told.lock().unwrap().contains(&change).then_some(())
        })
        .await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A pair for these names, made by an account of its own so that it is nobody else's certificate.
pub(crate) struct Smith(Principal);

impl Smith {
    pub(crate) async fn new(fixture: &Fixture) -> Self {
        Self(fixture.tenant("smith", TokenLimits::default()).await)
    }

    pub(crate) async fn pair(&self, house: &House, names: &[&str], days: i64) -> (String, String) {
        self.pair_of(house, names, days, KeyAlgorithm::P256).await
    }

    pub(crate) async fn pair_of(
        &self,
        house: &House,
        names: &[&str],
        days: i64,
        algorithm: KeyAlgorithm,
    ) -> (String, String) {
        let request = IssueRequest {
            authority: DEFAULT_AUTHORITY.to_owned(),
            subject: SubjectFields::default(),
            identifiers: parse_identifiers(names.iter().copied(), [], []).unwrap(),
            days: Some(days),
            key: KeySource::Generate(algorithm),
            name: None,
        };
        let issued = house.certificates.issue(&self.0, request).await.unwrap();
        let key = issued.key.unwrap().to_pkcs8_pem().to_string();
        (issued.leaf.to_pem(), key)
    }

    pub(crate) async fn upload(
        &self,
        house: &House,
        owner: &Principal,
        names: &[&str],
        days: i64,
    ) -> Certificate {
        let (chain, key) = self.pair(house, names, days).await;
        let upload = Upload::parse(None, Some(names[0]), &chain, &key).unwrap();
        house.certificates.upload(owner, upload).await.unwrap()
    }
}

pub(crate) async fn serve(house: &House, owner: &Principal, names: &[&str]) -> ServiceId {
    let domains = names.iter().map(|name| DomainRequest {
        name: (*name).to_owned(),
        certificate: None,
    });
    let request = NewServiceRequest {
        domains: domains.collect(),
        is_persistent: true,
        ..NewServiceRequest::default()
    };
    let made = house.services.create(owner, request).await.unwrap();
    made.service.id
}

pub(crate) async fn site(house: &House, name: &str) -> Option<Site> {
    let name = DnsName::parse(name).unwrap();
    house.routing.site(&name).await.unwrap()
}

pub(crate) async fn certificate_of(house: &House, name: &str) -> CertificateId {
    site(house, name).await.unwrap().certificate.unwrap()
}

pub(crate) async fn credentials(house: &House, id: CertificateId) -> Option<Credentials> {
    house.routing.credentials(id).await.unwrap()
}

pub(crate) async fn revoke(house: &House, owner: &Principal, id: CertificateId) {
    let target = RevocationTarget::Certificate(CertificateRef::Id(id));
    let reason = RevocationReason::Superseded;
    house
        .certificates
        .revoke(owner, &target, reason)
        .await
        .unwrap();
}

pub(crate) async fn is_served_with(house: &House, name: &str, id: CertificateId) {
    eventually("the domain follows", || async {
        (certificate_of(house, name).await == id).then_some(())
    })
    .await;
}
