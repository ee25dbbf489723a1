//! Installations: what comes and goes with them, and what stays when one is refused.

use crate::support::Fixture;
use crate::support::served::{Smith, is_served_with, revoke, serve};
use crate::support::services::fixture;
use lifecycle::{
    CertificateFilter, CertificateId, CertificateRef, Error, House, InstallationKind,
    InstallationRequest, InstallationStatus, InstallationView, ManagedRequest, Order, Page,
    PageStart, Principal, ServiceId,
};
use pki::{DnsName, Identifier};
use store::{Attachment, NewEvent, Scope};

/// A request for a certificate that is obtained for these names.
fn obtained(names: &str) -> InstallationRequest {
    InstallationRequest {
        kind: Some(InstallationKind::Issued),
        server_names: Some(names.to_owned()),
        ..InstallationRequest::default()
    }
}

/// A request for this pair.
fn brought((certificate, key): (String, String)) -> InstallationRequest {
    InstallationRequest {
        kind: Some(InstallationKind::Uploaded),
        certificate: Some(certificate.into()),
        key: Some(key.into()),
        ..InstallationRequest::default()
    }
}

/// A request for other names, which the certificate need not cover.
fn under(names: &str) -> InstallationRequest {
    InstallationRequest {
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

    async fn change(
        &self,
        id: CertificateId,
        request: InstallationRequest,
    ) -> Result<InstallationView, Error> {
        let installations = &self.house().installations;
        installations
            .change(self.owner(), self.service, id, request)
            .await
    }

    /// All there is, to be compared.
    async fn state(&self) -> String {
        let store = &self.fixture.nodes[0].store;
        let scope = Scope::Account(self.owner().account_id());
        let rows = store.installations(scope, self.service).await.unwrap();
        let domains = store.domains_of_services(&[self.service]).await.unwrap();
        let events = store.events_after(scope, None, 1_000).await.unwrap();
        let (inventory, views) = (self.inventory().await, self.list().await);
        format!("{rows:?} {domains:?} {inventory:?} {views:?} {events:?}")
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
async fn what_is_refused_changes_nothing() {
    let fixture = fixture().await;
    let stack = Stack::new(&fixture).await;
    let house = stack.house();
    let smith = Smith::new(&fixture).await;
    serve(house, stack.owner(), &["taken.test."]).await;
    house.obtain_due_now().await.unwrap();
    let pair = |names: &'static [&'static str]| smith.pair(house, names, 30);
    let made = stack
        .create(brought(pair(&["a.test"]).await))
        .await
        .unwrap();
    let id = made.id;
    stack
        .create(brought(pair(&["b.test"]).await))
        .await
        .unwrap();
    let taken = brought(pair(&["a.test", "taken.test"]).await);
    let before = stack.state().await;

    let renamed = InstallationRequest {
        server_names: Some(String::new()),
        ..taken.clone()
    };
    let refused = stack.change(id, renamed).await;
    assert!(
        matches!(refused, Err(Error::DomainTaken { .. })),
        "{refused:?}"
    );
    let refused = stack.change(id, under("a.test,b.test")).await;
    assert!(matches!(refused, Err(Error::Unfit { .. })), "{refused:?}");
    let refused = stack.change(id, obtained("a.test")).await;
    assert!(matches!(refused, Err(Error::Unfit { .. })), "{refused:?}");
    let refused = stack.create(taken).await;
    assert!(matches!(refused, Err(Error::Unfit { .. })), "{refused:?}");
    let refused = stack
        .create(brought(pair(&["c.test", "taken.test"]).await))
        .await;
    assert!(
        matches!(refused, Err(Error::DomainTaken { .. })),
        "{refused:?}"
    );
    for request in [obtained("taken.test"), obtained("c.test")] {
        assert!(stack.create(request).await.is_err());
    }
    assert_eq!(house.obtain_due_now().await.unwrap(), 0);
    assert_eq!(stack.state().await, before);
}

#[tokio::test]
async fn of_two_changes_at_a_time_that_exclude_each_other_one_is_made() {
    let fixture = fixture().await;
    let smith = &Smith::new(&fixture).await;
    for round in 0..5 {
        // In names.
        let stack = Stack::new(&fixture).await;
        let house = stack.house();
        let [a, b, c] = ["a", "b", "c"].map(|name| format!("{name}{round}.test"));
        let pair = |name: String| async move { brought(smith.pair(house, &[&name], 30).await) };
        let one = stack.create(pair(a.clone()).await).await.unwrap();
        let other = stack.create(pair(b.clone()).await).await.unwrap();
        let outcomes = tokio::join!(
            stack.change(one.id, under(&format!("{a},{c}"))),
            stack.change(other.id, under(&format!("{b},{c}"))),
        );
        match outcomes {
            (Ok(_), Err(Error::Unfit { .. })) | (Err(Error::Unfit { .. }), Ok(_)) => {}
            both => panic!("both or none: {both:?}"),
        }
        // In kind.
        stack.remove(other.id).await;
        let outcomes = tokio::join!(
            stack.change(one.id, obtained("")),
            stack.create(pair(b.clone()).await),
        );
        match outcomes {
            (Ok(_), Err(Error::Unfit { .. })) | (Err(Error::Unfit { .. }), Ok(_)) => {}
            both => panic!("both or none: {both:?}"),
        }
        let kinds: Vec<_> = stack.list().await.iter().map(|view| view.kind).collect();
        assert!(
            kinds.windows(2).all(|kinds| kinds[0] == kinds[1]),
            "{kinds:?}"
        );
    }
}

#[tokio::test]
async fn a_change_that_names_no_names_leaves_those_of_other_doors_alone() {
    let fixture = fixture().await;
    let house = fixture.house();
    let (owner, flag) = (
        &fixture.principal,
        InstallationRequest {
            ssl_termination: Some(false),
            ..InstallationRequest::default()
        },
    );
    let names = ["a.test", "*.b.test"].map(|name| Identifier::Dns(DnsName::parse(name).unwrap()));
    let request = ManagedRequest {
        name: None,
        names: names.to_vec(),
        issuer: None,
    };
    let managed = house
        .certificates
        .request_managed(owner, request)
        .await
        .unwrap();
    house.obtain_due_now().await.unwrap();
    // Whoever asked for this one has its key.
    let foreign = fixture.issue_for_request("c.test", 30).await.id;
    let service = serve(house, owner, &["a.test.", "c.test."]).await;
    let stack = Stack {
        fixture: &fixture,
        service,
    };
    let attachments = [("a.test", managed.id), ("c.test", foreign)];
    for (domain, id) in attachments {
        let from = fixture.served(domain).await[0];
        let attachment = Attachment {
            domain: domain.to_owned(),
            from,
            certificate_id: Some(id),
            alternate_id: None,
            is_explicit: true,
        };
        let switched = NewEvent {
            at: fixture.now(),
            account_id: None,
            actor: "test".to_owned(),
            kind: "domain.switched",
            object: None,
            detail: String::new(),
        };
        fixture.nodes[0]
            .store
            .attach(vec![attachment], switched)
            .await
            .unwrap();
    }
    let domains = stack.domains().await;
    let changed = stack.change(managed.id, flag.clone()).await.unwrap();
    assert_eq!(changed.server_names, ["a.test", "*.b.test"]);
    assert_eq!(changed.status, InstallationStatus::InProgress);
    let reference = CertificateRef::Id(managed.id);
    let after = house.certificates.find(owner, &reference).await.unwrap();
    assert_eq!(after.identifiers, managed.identifiers);
    let changed = stack.change(foreign, flag).await.unwrap();
    assert_eq!(
        (changed.ssl_termination, changed.status),
        (false, InstallationStatus::Done)
    );
    assert_eq!(stack.domains().await, domains);
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
