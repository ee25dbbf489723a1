//! Instances: where they may be, what they belong to, and whether they run.

use std::collections::BTreeMap;

use crate::support::Fixture;
use lifecycle::{
    DomainRequest, Error, InstanceId, InstanceRef, InstanceView, NewInstanceRequest,
    NewServiceRequest, Noun, Order, Page, PageStart, PortRequest, Principal, Protocol,
    ServiceChoice, ServiceRef, TokenLimits,
};
use pki::KeyAlgorithm;
use store::Scope;
use tokio::net::TcpListener;

async fn fixture() -> Fixture {
    Fixture::new(KeyAlgorithm::P256).await
}

fn request() -> NewInstanceRequest {
    NewInstanceRequest {
        image: "registry.test/team/web:latest".to_owned(),
        ..NewInstanceRequest::default()
    }
}

fn of(service: ServiceChoice) -> NewInstanceRequest {
    NewInstanceRequest {
        service: Some(service),
        ..request()
    }
}

fn at(address: &str, port: u16) -> NewInstanceRequest {
    let port = PortRequest {
        port: 443,
        destination_port: Some(i64::from(port)),
        handlers: None,
        protocol: Protocol::Tcp,
    };
    let service = NewServiceRequest {
        ports: vec![port],
        ..NewServiceRequest::default()
    };
    NewInstanceRequest {
        address: Some(address.to_owned()),
        ..of(ServiceChoice::New(service))
    }
}

fn service(domains: &[&str]) -> NewServiceRequest {
    let domain = |name: &&str| DomainRequest {
        name: (*name).to_owned(),
        certificate: None,
    };
    NewServiceRequest {
        domains: domains.iter().map(domain).collect(),
        ..NewServiceRequest::default()
    }
}

fn by_id(view: &InstanceView) -> InstanceRef {
    InstanceRef::Id(view.instance.id)
}

fn page() -> Page<InstanceId> {
    Page {
        from: PageStart::Beginning,
        limit: 100,
        order: Order::Ascending,
    }
}

impl Fixture {
    async fn create_instance(&self, request: NewInstanceRequest) -> InstanceView {
        self.try_create_instance(&self.principal, request)
            .await
            .unwrap()
    }

    async fn try_create_instance(
        &self,
        principal: &Principal,
        request: NewInstanceRequest,
    ) -> Result<InstanceView, Error> {
        self.house().instances.create(principal, request).await
    }

    async fn delete(&self, view: &InstanceView) {
        let instances = &self.house().instances;
        let deleted = instances.delete(&self.principal, &by_id(view)).await;
        assert_eq!(deleted.unwrap(), view.instance);
    }

    async fn has_service(&self, view: &InstanceView) -> bool {
        let reference = ServiceRef::Id(view.instance.service_id.unwrap());
        let services = &self.house().services;
        let found = services.find_each(&self.principal, &[reference]).await;
        found.unwrap().pop().flatten().is_some()
    }
}

#[tokio::test]
async fn an_instance_has_all_that_was_asked_for() {
    let fixture = fixture().await;
    let asked = NewInstanceRequest {
        name: Some("web-1".to_owned()),
        memory_mb: Some(128),
        args: vec!["--port".to_owned(), "80\"".to_owned()],
        env: BTreeMap::from([("MODE".to_owned(), "ä".to_owned())]),
        address: Some("[FD00::1]".to_owned()),
        ..request()
    };
    let made = fixture.create_instance(asked).await;
    let instance = &made.instance;
    assert_eq!(instance.name, "web-1");
    assert_eq!(instance.image, "registry.test/team/web:latest");
    assert_eq!(instance.memory_mb, Some(128));
    assert_eq!(instance.args, r#"["--port","80\""]"#);
    assert_eq!(instance.env, r#"{"MODE":"ä"}"#);
    assert_eq!(instance.address.as_deref(), Some("fd00::1"));
    assert!(made.service.is_none());
    assert!(!made.is_running);
    let instances = &fixture.other_node().instances;
    let by_name = InstanceRef::Name("web-1".to_owned());
    let absent = InstanceRef::Name("web-2".to_owned());
    let references = [by_id(&made), absent, by_name];
    let found = instances.find_each(&fixture.principal, &references).await;
    let found = found.unwrap();
    assert_eq!(found[0].as_deref(), Some(&made));
    assert_eq!(found[1], None);
    assert_eq!(found[2], found[0]);
    let listed = instances.list(&fixture.principal, &page()).await;
    let filled = instances.fill(&fixture.principal, listed.unwrap()).await;
    assert_eq!(filled.unwrap(), (vec![made], None));
}

#[tokio::test]
async fn a_nameless_instance_is_named_after_its_image() {
    let fixture = fixture().await;
    let made = fixture.create_instance(request()).await;
    let suffix = made.instance.name.strip_prefix("web-").unwrap();
    assert_eq!(suffix.len(), 5);
}

#[tokio::test]
async fn an_instance_runs_while_it_accepts_connections() {
    let fixture = fixture().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = listener.local_addr().unwrap().port();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = gone.local_addr().unwrap().port();
    drop(gone);
    assert!(
        fixture
            .create_instance(at("127.0.0.1", open))
            .await
            .is_running
    );
    assert!(
        fixture
            .create_instance(at("localhost", open))
            .await
            .is_running
    );
    assert!(
        !fixture
            .create_instance(at("127.0.0.1", closed))
            .await
            .is_running
    );
    let without_address = NewInstanceRequest {
        address: None,
        ..at("127.0.0.1", open)
    };
    assert!(!fixture.create_instance(without_address).await.is_running);
    let without_port = NewInstanceRequest {
        service: Some(ServiceChoice::New(service(&[]))),
        ..at("127.0.0.1", open)
    };
    assert!(!fixture.create_instance(without_port).await.is_running);
    let instances = &fixture.house().instances;
    let listed = instances.list(&fixture.principal, &page()).await.unwrap();
    let (listed, _) = instances.fill(&fixture.principal, listed).await.unwrap();
    let running: Vec<bool> = listed.iter().map(|view| view.is_running).collect();
    assert_eq!(running.iter().filter(|running| **running).count(), 2);
}

#[tokio::test]
async fn only_administrators_have_instances_on_this_machine_and_nobody_at_the_metadata_service() {
    let fixture = fixture().await;
    let tenant = fixture.tenant("shop", TokenLimits::default()).await;
    let is_forbidden = async |principal: &Principal, address: &str| {
        let request = NewInstanceRequest {
            address: Some(address.to_owned()),
            ..request()
        };
        match fixture.try_create_instance(principal, request).await {
            Ok(_) => false,
            Err(Error::BackendForbidden { .. }) => true,
            Err(error) => panic!("{address}: {error}"),
        }
    };
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost"] {
        assert!(is_forbidden(&tenant, address).await, "{address}");
        assert!(
            !is_forbidden(&fixture.principal, address).await,
            "{address}"
        );
    }
    for address in [
        "169.254.169.254",
        "0.0.0.0",
        "fe80::1",
        "224.0.0.1",
        "::ffff:a9fe:a9fe",
    ] {
        assert!(is_forbidden(&tenant, address).await, "{address}");
        assert!(is_forbidden(&fixture.principal, address).await, "{address}");
    }
    assert!(!is_forbidden(&tenant, "10.0.0.1").await);
    assert!(!is_forbidden(&tenant, "backend.internal").await);
    // A service of an administrator does not lend its reach, for there is no way into it.
    let listed = fixture
        .house()
        .instances
        .list(&tenant, &page())
        .await
        .unwrap();
    assert_eq!(listed.len(), 2);
}

#[tokio::test]
async fn a_service_that_came_with_its_instances_goes_with_the_last_of_them() {
    let fixture = fixture().await;
    let first = fixture
        .create_instance(of(ServiceChoice::New(service(&["a.test."]))))
        .await;
    let view = first.service.as_ref().unwrap();
    assert!(!view.service.is_persistent);
    assert_eq!(view.domains[0].name, "a.test");
    let existing = ServiceChoice::Existing(ServiceRef::Name(view.service.name.clone()));
    let second = fixture.create_instance(of(existing)).await;
    assert_eq!(second.instance.service_id, first.instance.service_id);
    assert_eq!(second.service.as_ref().unwrap().instances.len(), 2);
    fixture.delete(&first).await;
    assert!(fixture.has_service(&second).await);
    fixture.delete(&second).await;
    assert!(!fixture.has_service(&second).await);
    // Its domain is free, and the feed says so.
    let store = &fixture.nodes[0].store;
    let events = store
        .events_after(Scope::Everything, None, 1_000)
        .await
        .unwrap();
    let last: Vec<&str> = events
        .iter()
        .rev()
        .take(3)
        .map(|event| event.kind.as_str())
        .collect();
    for kind in ["instance.deleted", "domain.removed", "service.deleted"] {
        assert!(last.contains(&kind), "{last:?}");
    }
    fixture
        .create_instance(of(ServiceChoice::New(service(&["a.test."]))))
        .await;
}

#[tokio::test]
async fn a_persistent_service_outlives_its_instances() {
    let fixture = fixture().await;
    let persistent = NewServiceRequest {
        is_persistent: true,
        ..service(&["a.test."])
    };
    let services = &fixture.house().services;
    let made = services
        .create(&fixture.principal, persistent)
        .await
        .unwrap();
    let existing = ServiceChoice::Existing(ServiceRef::Id(made.service.id));
    let instance = fixture.create_instance(of(existing)).await;
    fixture.delete(&instance).await;
    assert!(fixture.has_service(&instance).await);
}

#[tokio::test]
async fn of_a_refused_instance_nothing_is_left() {
    let fixture = fixture().await;
    let tenant = fixture.tenant("shop", TokenLimits::default()).await;
    let first = fixture
        .create_instance(of(ServiceChoice::New(service(&["a.test."]))))
        .await;
    let named = |service| NewInstanceRequest {
        name: Some(first.instance.name.clone()),
        ..of(service)
    };
    let new = || ServiceChoice::New(service(&["b.test."]));
    let refused = fixture
        .try_create_instance(&fixture.principal, named(new()))
        .await;
    let noun = Noun::Instance;
    assert!(matches!(refused, Err(Error::NameTaken { noun: found, .. }) if found == noun));
    let same = &first.service.as_ref().unwrap().service;
    let same_name = NewServiceRequest {
        name: Some(same.name.clone()),
        ..service(&["b.test."])
    };
    let refused =
        fixture.try_create_instance(&fixture.principal, of(ServiceChoice::New(same_name)));
    let noun = Noun::Service;
    assert!(matches!(refused.await, Err(Error::NameTaken { noun: found, .. }) if found == noun));
    let taken = ServiceChoice::New(service(&["b.test.", "a.test."]));
    let refused = fixture.try_create_instance(&tenant, of(taken)).await;
    assert!(matches!(refused, Err(Error::DomainTaken { .. })));
    for reference in [ServiceRef::Id(same.id), ServiceRef::Name(same.name.clone())] {
        let refused = fixture.try_create_instance(&tenant, of(ServiceChoice::Existing(reference)));
        let noun = Noun::Service;
        assert!(matches!(refused.await, Err(Error::NotFound { noun: found, .. }) if found == noun));
    }
    let wrong = ServiceChoice::New(service(&["b.test.", "c.d"]));
    let refused = fixture
        .try_create_instance(&fixture.principal, of(wrong))
        .await;
    assert!(refused.unwrap_err().is_form_fault());
    let instances = &fixture.house().instances;
    assert_eq!(
        instances
            .list(&fixture.principal, &page())
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(instances.list(&tenant, &page()).await.unwrap().len(), 0);
    let store = &fixture.nodes[0].store;
    let covering = store
        .certificates_covering(Scope::Everything, &["b.test"])
        .await;
    assert_eq!(covering.unwrap(), []);
    assert!(
        store
            .domains_named(Scope::Everything, &["b.test"])
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn the_last_two_instances_deleted_at_once_take_their_service_along() {
    let fixture = fixture().await;
    for _ in 0..4 {
        let first = fixture
            .create_instance(of(ServiceChoice::New(service(&["a.test."]))))
            .await;
        let reference = ServiceRef::Id(first.instance.service_id.unwrap());
        let second = fixture
            .create_instance(of(ServiceChoice::Existing(reference)))
            .await;
        let other_node = &fixture.other_node().instances;
        let second_reference = by_id(&second);
        let (_, deleted) = tokio::join!(
            fixture.delete(&first),
            other_node.delete(&fixture.principal, &second_reference)
        );
        deleted.unwrap();
        assert!(!fixture.has_service(&first).await);
    }
}

#[tokio::test]
async fn accounts_see_and_change_nothing_of_each_others_instances() {
    let fixture = fixture().await;
    let instances = &fixture.house().instances;
    let tenant = fixture.tenant("shop", TokenLimits::default()).await;
    let made = fixture.create_instance(request()).await;
    let by_name = InstanceRef::Name(made.instance.name.clone());
    for reference in [by_id(&made), by_name] {
        let references = std::slice::from_ref(&reference);
        assert_eq!(
            instances.find_each(&tenant, references).await.unwrap(),
            [None]
        );
        let refused = instances.delete(&tenant, &reference).await;
        assert!(matches!(
            refused,
            Err(Error::NotFound {
                noun: Noun::Instance,
                ..
            })
        ));
    }
    fixture.delete(&made).await;
    let again = instances.delete(&fixture.principal, &by_id(&made)).await;
    assert!(matches!(again, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_read_only_token_changes_no_instance() {
    let fixture = fixture().await;
    let limits = TokenLimits {
        read_only: true,
        ..TokenLimits::default()
    };
    let reader = fixture.tenant("shop", limits).await;
    let refused = fixture.try_create_instance(&reader, request()).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
    let instances = &fixture.house().instances;
    let reference = InstanceRef::Name("web".to_owned());
    let refused = instances.delete(&reader, &reference).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
}
