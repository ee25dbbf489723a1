//! Services: what they publish, which domains they get, and what becomes of wrong requests.

use std::time::Duration;

use crate::support::services::{HTTPS, by_id, domain, fixture, named, names, page, request};
use lifecycle::{
    CertificateRef, DomainRequest, Edit, Error, Handlers, NewInstanceRequest, NewServiceRequest,
    Noun, PortRequest, Protocol, PublishedPort, ServiceChange, ServiceChoice, ServiceRef,
    ServiceView, StateKind, TokenLimits,
};
use store::Scope;

#[tokio::test]
async fn a_service_has_all_that_was_asked_for() {
    let fixture = fixture().await;
    let redirect = PortRequest {
        port: 80,
        handlers: Some(Handlers {
            http: true,
            redirect: true,
            ..Handlers::default()
        }),
        destination_port: None,
        protocol: Protocol::Tcp,
    };
    let asked = NewServiceRequest {
        name: Some("shop".to_owned()),
        ports: vec![HTTPS, redirect],
        domains: vec![domain("Example.com."), domain("shop")],
        soft_limit: Some(3),
        hard_limit: Some(9),
        autokill: Some(Duration::from_millis(1_500)),
        is_persistent: true,
        environment: Some("staging".to_owned()),
    };
    let made = fixture.create_service(asked).await;
    assert_eq!(made.service.name, "shop");
    assert_eq!(made.service.environment, "staging");
    let expected = [
        PublishedPort {
            port: 443,
            destination_port: 8080,
            handlers: Handlers {
                tls: true,
                http: true,
                redirect: false,
            },
            protocol: Protocol::Tcp,
        },
        PublishedPort {
            port: 80,
            destination_port: 443,
            handlers: Handlers {
                tls: false,
                http: true,
                redirect: true,
            },
            protocol: Protocol::Tcp,
        },
    ];
    assert_eq!(made.service.ports, expected);
    assert_eq!((made.service.soft_limit, made.service.hard_limit), (3, 9));
    assert_eq!(made.service.autokill, Some(Duration::from_millis(1_500)));
    assert!(made.service.is_persistent);
    assert_eq!(names(&made), ["example.com", "shop.metro.internal"]);
    assert!(made.instances.is_empty());

    let by_name = ServiceRef::Name("shop".to_owned());
    assert_eq!(fixture.show(&by_name).await.as_ref(), Some(&made));
    assert_eq!(fixture.show(&by_id(&made)).await.as_ref(), Some(&made));
    let services = &fixture.other_node().services;
    let listed = services.list(&fixture.principal, &page()).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&made.service));
    let filled = services.fill(&fixture.principal, listed).await.unwrap();
    assert_eq!(filled, (vec![made], None));
}

#[tokio::test]
async fn who_names_nothing_gets_a_name_and_a_subdomain_of_the_metro_domain() {
    let fixture = fixture().await;
    let is_suffix = |text: &str| {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        text.len() == 8 && text.bytes().all(fits)
    };
    let nameless = fixture.create_service(request(&[])).await;
    let drawn = [
        nameless.service.name.as_str(),
        nameless.domains[0]
            .name
            .strip_suffix(".metro.internal")
            .unwrap(),
    ];
    for drawn in drawn {
        let parts: Vec<&str> = drawn.split('-').collect();
        assert_eq!(parts.len(), 3, "{drawn}");
        assert!(is_suffix(parts[2]), "{drawn}");
    }
    let shop = fixture.create_service(named("My Shop", &[])).await;
    let label = shop.domains[0].name.strip_suffix(".metro.internal");
    let suffix = label.unwrap().strip_prefix("my-shop-").unwrap();
    assert!(is_suffix(suffix), "{suffix}");
}

#[tokio::test]
async fn subdomains_of_the_metro_domain_are_served_with_a_certificate_that_nobody_sees() {
    let fixture = fixture().await;
    let made = fixture.create_service(request(&["shop", "other."])).await;
    assert!(
        made.domains
            .iter()
            .all(|domain| domain.certificate.is_none())
    );
    let served: Vec<_> = fixture.served("shop.metro.internal").await.into();
    let metro = served[0].unwrap();
    assert_eq!(fixture.served("other.metro.internal").await[0], Some(metro));
    let certificates = &fixture.house().certificates;
    let hidden = certificates
        .find(&fixture.principal, &CertificateRef::Id(metro))
        .await;
    assert!(matches!(hidden, Err(Error::NotFound { .. })));
    let store = &fixture.nodes[0].store;
    let reference = CertificateRef::Id(metro);
    let metro = store.certificate(Scope::Everything, &reference).await;
    assert_eq!(metro.unwrap().unwrap().common_name, "*.metro.internal");
}

#[tokio::test]
async fn what_nothing_covers_is_requested_and_obtained_wildcards_too() {
    let fixture = fixture().await;
    let made = fixture
        .create_service(request(&[
            "new.example.org.",
            "*.example.net.",
            "a.example.net.",
        ]))
        .await;
    let state = |view: &ServiceView, place: usize| {
        let certificate = view.domains[place].certificate.as_ref().unwrap();
        (certificate.common_name.clone(), certificate.state.kind())
    };
    let pending = StateKind::Pending;
    assert_eq!(state(&made, 0), ("new.example.org".to_owned(), pending));
    assert_eq!(state(&made, 1), ("*.example.net".to_owned(), pending));
    assert_eq!(state(&made, 2), ("a.example.net".to_owned(), pending));
    let name = &made.domains[0].certificate.as_ref().unwrap().name;
    let suffix = name.strip_prefix("new.example.org-").unwrap();
    assert_eq!(suffix.len(), 5, "{name}");
    fixture.house().obtain_due_now().await.unwrap();
    let obtained = fixture.show(&by_id(&made)).await.unwrap();
    for place in 0..3 {
        assert_eq!(state(&obtained, place).1, StateKind::Valid);
    }
    // What covers a name now, even if it is only on its way, is not requested again.
    let again = fixture.create_service(request(&["b.example.net."])).await;
    assert_eq!(
        state(&again, 0),
        ("*.example.net".to_owned(), StateKind::Valid)
    );
}

#[tokio::test]
async fn a_name_or_domain_in_use_is_refused_and_free_again_after_deletion() {
    let fixture = fixture().await;
    let services = &fixture.house().services;
    let tenant = fixture.tenant("shop", TokenLimits::default()).await;
    let made = fixture
        .create_service(named("web", &["example.com.", "web"]))
        .await;
    let refused = fixture
        .refused(&fixture.principal, named("web", &["other.com."]))
        .await;
    let noun = Noun::Service;
    assert!(matches!(refused, Error::NameTaken { noun: found, .. } if found == noun));
    for principal in [&fixture.principal, &tenant] {
        for taken in ["EXAMPLE.com.", "web.metro.internal."] {
            let refused = fixture
                .refused(principal, request(&["free.com.", taken]))
                .await;
            assert!(matches!(refused, Error::DomainTaken { .. }), "{refused}");
        }
    }
    // Nothing of the refused requests is left.
    assert_eq!(services.list(&tenant, &page()).await.unwrap(), []);
    assert_eq!(
        fixture.certificates_in(&tenant, StateKind::Pending).await,
        0
    );
    // Another account may use the name of the service.
    let theirs = services.create(&tenant, named("web", &["free.com."])).await;
    assert_eq!(names(&theirs.unwrap()), ["free.com"]);

    let deleted = services.delete(&fixture.principal, &by_id(&made)).await;
    assert_eq!(deleted.unwrap(), made.service);
    assert_eq!(fixture.show(&by_id(&made)).await, None);
    let again = services
        .create(&tenant, request(&["example.com.", "web"]))
        .await;
    assert_eq!(again.unwrap().domains.len(), 2);
}

#[tokio::test]
async fn of_two_who_want_a_domain_at_once_exactly_one_gets_it() {
    let fixture = fixture().await;
    let tenant = fixture.tenant("shop", TokenLimits::default()).await;
    for round in 0..8 {
        let wanted = format!("d{round}.test.");
        let wanted = [wanted.as_str()];
        let one = fixture
            .house()
            .services
            .create(&fixture.principal, request(&wanted));
        let other = fixture
            .other_node()
            .services
            .create(&tenant, request(&wanted));
        let (one, other) = tokio::join!(one, other);
        let (won, lost) = match (one, other) {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
            both => panic!("{both:?}"),
        };
        assert!(matches!(lost, Error::DomainTaken { .. }), "{lost}");
        assert_eq!(names(&won), [wanted[0].trim_end_matches('.')]);
    }
    // The loser keeps no request for a certificate.
    let mut requested = 0;
    for principal in [&fixture.principal, &tenant] {
        requested += fixture.certificates_in(principal, StateKind::Pending).await;
    }
    assert_eq!(requested, 8);
}

#[tokio::test]
async fn two_services_of_one_account_made_at_once_share_no_domain_and_no_name() {
    let fixture = fixture().await;
    let make = |request| fixture.house().services.create(&fixture.principal, request);
    let (one, other) = tokio::join!(
        make(named("a", &["same.test."])),
        make(named("b", &["same.test."]))
    );
    assert!(one.is_ok() != other.is_ok());
    let (one, other) = tokio::join!(
        make(named("c", &["one.test."])),
        make(named("c", &["two.test."]))
    );
    assert!(one.is_ok() != other.is_ok());
    let lost = one.err().or(other.err()).unwrap();
    assert!(matches!(lost, Error::NameTaken { .. }), "{lost}");
}

#[tokio::test]
async fn a_request_of_the_wrong_form_changes_nothing() {
    let fixture = fixture().await;
    let services = &fixture.house().services;
    let port = |port| PortRequest { port, ..HTTPS };
    let certificate = CertificateRef::Name("any".to_owned());
    let with_certificate = DomainRequest {
        name: "shop".to_owned(),
        certificate: Some(certificate),
    };
    let good = || named("good", &["good.test."]);
    for (what, bad) in [
        ("name", named("list", &["good.test."])),
        ("no dot", request(&["good.test.", "example.com"])),
        ("twice", request(&["good.test.", "good.test."])),
        ("no name", request(&["good.test.", ""])),
        (
            "port",
            NewServiceRequest {
                ports: vec![port(0)],
                ..good()
            },
        ),
        (
            "two ports",
            NewServiceRequest {
                ports: vec![HTTPS, HTTPS],
                ..good()
            },
        ),
        (
            "limits",
            NewServiceRequest {
                soft_limit: Some(2),
                hard_limit: Some(1),
                ..good()
            },
        ),
        (
            "no limit",
            NewServiceRequest {
                soft_limit: Some(0),
                ..good()
            },
        ),
        (
            "certificate",
            NewServiceRequest {
                domains: vec![with_certificate],
                ..good()
            },
        ),
    ] {
        assert!(services.check_request(&bad).is_err(), "{what}");
        let refused = fixture.refused(&fixture.principal, bad).await;
        assert!(refused.is_form_fault(), "{what}: {refused}");
    }
    for reserved in ["www", "api.", "metro.internal.", "www.metro.internal."] {
        let refused = fixture
            .refused(&fixture.principal, request(&["good.test.", reserved]))
            .await;
        assert!(matches!(refused, Error::DomainReserved { .. }), "{refused}");
    }
    let listed = services.list(&fixture.principal, &page()).await.unwrap();
    assert_eq!(listed, []);
    assert!(services.check_request(&good()).is_ok());
    assert_eq!(fixture.create_service(good()).await.service.name, "good");
}

#[tokio::test]
async fn a_service_with_instances_stays() {
    let fixture = fixture().await;
    let house = fixture.house();
    let made = fixture.create_service(request(&["a.test."])).await;
    let instance = NewInstanceRequest {
        image: "web".to_owned(),
        service: Some(ServiceChoice::Existing(by_id(&made))),
        ..NewInstanceRequest::default()
    };
    let instance = house.instances.create(&fixture.principal, instance).await;
    let instance = instance.unwrap().instance;
    let shown = fixture.show(&by_id(&made)).await.unwrap();
    assert_eq!(shown.instances, [(instance.id, instance.name.clone())]);
    let refused = house
        .services
        .delete(&fixture.principal, &by_id(&made))
        .await;
    assert!(matches!(refused, Err(Error::HasInstances { .. })));
    let reference = lifecycle::InstanceRef::Id(instance.id);
    house
        .instances
        .delete(&fixture.principal, &reference)
        .await
        .unwrap();
    house
        .services
        .delete(&fixture.principal, &by_id(&made))
        .await
        .unwrap();
    let again = house
        .services
        .delete(&fixture.principal, &by_id(&made))
        .await;
    assert!(matches!(again, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn accounts_see_and_change_nothing_of_each_others_services() {
    let fixture = fixture().await;
    let services = &fixture.house().services;
    let tenant = fixture.tenant("shop", TokenLimits::default()).await;
    let made = fixture.create_service(named("web", &["a.test."])).await;
    for reference in [by_id(&made), ServiceRef::Name("web".to_owned())] {
        let references = std::slice::from_ref(&reference);
        assert_eq!(
            services.find_each(&tenant, references).await.unwrap(),
            [None]
        );
        let change = ServiceChange::Domains(Edit::Set(Vec::new()));
        assert!(services.change(&tenant, &reference, change).await.is_err());
        assert!(services.delete(&tenant, &reference).await.is_err());
    }
    assert_eq!(services.list(&tenant, &page()).await.unwrap(), []);
    assert_eq!(fixture.show(&by_id(&made)).await, Some(made));
}

#[tokio::test]
async fn a_read_only_token_changes_no_service() {
    let fixture = fixture().await;
    let services = &fixture.house().services;
    let limits = TokenLimits {
        read_only: true,
        ..TokenLimits::default()
    };
    let reader = fixture.tenant("shop", limits).await;
    let reference = ServiceRef::Name("web".to_owned());
    let refused = [
        services.create(&reader, request(&[])).await.err(),
        services
            .change(&reader, &reference, ServiceChange::SoftLimit(None))
            .await
            .err(),
        services.delete(&reader, &reference).await.err(),
    ];
    for refused in refused {
        assert!(
            matches!(refused, Some(Error::Forbidden { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(services.list(&reader, &page()).await.unwrap(), []);
}

#[tokio::test]
async fn ten_thousand_domains_come_in_one_request() {
    let fixture = fixture().await;
    fixture.issue("*.customers.test", 30).await;
    let all: Vec<String> = (0..10_000)
        .map(|number| format!("c{number}.customers.test."))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let made = fixture.create_service(request(&all)).await;
    assert_eq!(made.domains.len(), 10_000);
    let is_covered = |domain: &lifecycle::DomainView| {
        let certificate = domain.certificate.as_ref().unwrap();
        certificate.common_name == "*.customers.test"
    };
    assert!(made.domains.iter().all(is_covered));
    let last = made.domains.last().unwrap();
    assert_eq!(last.name, "c9999.customers.test");
    let more = [all, vec!["one-more.customers.test."]].concat();
    assert!(
        fixture
            .refused(&fixture.principal, request(&more))
            .await
            .is_form_fault()
    );
}

#[tokio::test]
async fn a_certificate_of_many_services_is_shown_only_so_often_at_once() {
    let fixture = fixture().await;
    let wildcard = fixture.issue("*.a.test", 30).await.id;
    for number in 0..11 {
        let name = format!("s{number}.a.test.");
        fixture.create_service(request(&[&name])).await;
    }
    let services = &fixture.house().services;
    let found = services.of_certificates(&vec![wildcard; 9_000]).await;
    assert_eq!(found.unwrap()[&wildcard].len(), 11);
    let refused = services.of_certificates(&vec![wildcard; 10_000]).await;
    assert!(refused.unwrap_err().is_form_fault());
    let shown = services.fitting_certificates(&vec![wildcard; 9_000]).await;
    assert_eq!(shown.unwrap(), 20_000 / 11);
}
