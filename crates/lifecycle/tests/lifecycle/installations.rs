//! Installations: what comes and goes with them, and what stays when one is refused.

use crate::support::Fixture;
use crate::support::served::{Smith, is_served_with, revoke, serve};
use crate::support::services::fixture;
use lifecycle::{
    CertificateFilter, CertificateId, Error, House, InstallationKind, InstallationRequest,
    InstallationView, Order, Page, PageStart, Principal, ServiceId,
};

/// A request for a certificate that is obtained for these names.
fn obtained(names: &str) -> InstallationRequest {
    InstallationRequest {
        kind: Some(InstallationKind::Issued),
        server_names: Some(names.to_owned()),
        ..InstallationRequest::default()
    }
}

/// A service of the fixture's first account.
struct Stack<'a> {
    fixture: &'a Fixture,
    service: ServiceId,
}

impl<'a> Stack<'a> {
    async fn new(fixture: &'a Fixture) -> Self {
        let service = serve(fixture.house(), &fixture.principal, &[]).await;
        Self { fixture, service }
    }

    fn house(&self) -> &House {
        self.fixture.house()
    }

    fn owner(&self) -> &Principal {
        &self.fixture.principal
    }

    async fn create(&self, request: InstallationRequest) -> Result<InstallationView, Error> {
        let installations = &self.house().installations;
        installations
            .create(self.owner(), self.service, request)
            .await
    }

    async fn remove(&self, id: CertificateId) {
        let installations = &self.house().installations;
        let removed = installations.remove(self.owner(), self.service, id);
        removed.await.unwrap();
    }

    async fn list(&self) -> Vec<InstallationView> {
        let installations = &self.house().installations;
        let listed = installations.list(self.owner(), self.service, 0, 100);
        listed.await.unwrap().0
    }

    /// The names of its domains, except the one that every service has.
    async fn domains(&self) -> Vec<String> {
        let store = &self.fixture.nodes[0].store;
        let domains = store.domains_of_services(&[self.service]).await.unwrap();
        let names = domains.into_iter().map(|domain| domain.name);
        names
            .filter(|name| !name.ends_with(".metro.internal"))
            .collect()
    }

    /// The names of all certificates of the account.
    async fn inventory(&self) -> Vec<String> {
        let page = Page {
            from: PageStart::Beginning,
            limit: 100,
            order: Order::Ascending,
        };
        let certificates = &self.house().certificates;
        let filter = CertificateFilter::default();
        let listed = certificates.list(self.owner(), &filter, &page).await;
        listed.unwrap().into_iter().map(|one| one.name).collect()
    }
}

#[tokio::test]
async fn a_stack_is_empty_after_a_certificate_goes_that_the_house_had_replaced() {
    let fixture = fixture().await;
    let stack = Stack::new(&fixture).await;
    let house = stack.house();
    let made = stack.create(obtained("a.test")).await.unwrap();
    house.obtain_due_now().await.unwrap();
    revoke(house, stack.owner(), made.id).await;
    house.routing.heal("a.test").await.unwrap();
    let [other] = &fixture.served("a.test").await[..1] else {
        panic!("it is served with nothing")
    };
    let other = other.unwrap();
    assert_ne!(other, made.id, "the house has requested another one");
    house.obtain_due_now().await.unwrap();
    is_served_with(house, "a.test", other).await;
    assert_eq!(stack.list().await.len(), 2);

    stack.remove(made.id).await;
    assert_eq!(stack.domains().await, [""; 0]);
    assert_eq!(stack.inventory().await, [""; 0]);
    assert!(stack.list().await.is_empty());
}

#[tokio::test]
async fn what_somebody_has_of_their_own_stays_when_a_name_goes_that_it_was_served_for() {
    let fixture = fixture().await;
    let stack = Stack::new(&fixture).await;
    let house = stack.house();
    let smith = Smith::new(&fixture).await;
    let made = stack.create(obtained("a.test")).await.unwrap();
    house.obtain_due_now().await.unwrap();
    let own = smith.upload(house, stack.owner(), &["a.test"], 30).await;
    revoke(house, stack.owner(), made.id).await;
    house.routing.heal("a.test").await.unwrap();
    is_served_with(house, "a.test", own.id).await;
    stack.remove(made.id).await;
    assert_eq!(stack.domains().await, [""; 0]);
    assert_eq!(stack.inventory().await, [own.name]);
}
