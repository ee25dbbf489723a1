//! Changes of services: ports, limits and domains, one by one and at once.

use std::time::Duration;

use crate::support::Fixture;
use crate::support::services::{HTTPS, by_id, domain, fixture, names, request};
use lifecycle::{
    Edit, Error, Noun, PortRequest, ServiceChange, ServiceRef, ServiceView, StateKind,
};
use store::{EventId, Scope};

impl Fixture {
    async fn change(
        &self,
        view: &ServiceView,
        change: ServiceChange,
    ) -> Result<ServiceView, Error> {
        let services = &self.house().services;
        let reference = by_id(view);
        services.change(&self.principal, &reference, change).await?;
        Ok(self.show(&reference).await.unwrap())
    }

    /// What happened since the last call, as kind and detail.
    async fn events(&self, after: &mut Option<EventId>) -> Vec<(String, String)> {
        let store = &self.nodes[0].store;
        let events = store.events_after(Scope::Everything, *after, 1_000).await;
        let events = events.unwrap();
        *after = events.last().map(|event| event.id).or(*after);
        events
            .into_iter()
            .map(|event| (event.kind, event.detail))
            .collect()
    }
}

#[tokio::test]
async fn ports_and_limits_are_changed_one_by_one() {
    let fixture = fixture().await;
    let made = fixture.create_service(request(&["a.test."])).await;
    let port = |port| PortRequest {
        port,
        destination_port: None,
        ..HTTPS
    };
    let numbers = |view: &ServiceView| -> Vec<u16> {
        view.service.ports.iter().map(|port| port.port).collect()
    };
    let ports = ServiceChange::Ports;
    for (edit, expected) in [
        (Edit::Add(vec![port(80), port(8080)]), vec![443, 80, 8080]),
        (Edit::Delete(vec![80]), vec![443, 8080]),
        (Edit::Set(vec![port(8080), port(443)]), vec![8080, 443]),
        (Edit::Set(Vec::new()), vec![]),
        (Edit::Add(vec![port(443)]), vec![443]),
    ] {
        let changed = fixture.change(&made, ports(edit)).await.unwrap();
        assert_eq!(numbers(&changed), expected);
    }
    let refused = fixture
        .change(&made, ports(Edit::Add(vec![port(443)])))
        .await;
    assert!(matches!(
        refused,
        Err(Error::NameTaken {
            noun: Noun::Port,
            ..
        })
    ));
    let refused = fixture
        .change(&made, ports(Edit::Delete(vec![443, 80])))
        .await;
    assert!(matches!(
        refused,
        Err(Error::NotFound {
            noun: Noun::Port,
            ..
        })
    ));
    let many = (1_000..1_100).map(port).collect();
    let refused = fixture.change(&made, ports(Edit::Add(many))).await;
    assert!(matches!(refused, Err(Error::Unfit { .. })));

    let limits = |view: &ServiceView| (view.service.soft_limit, view.service.hard_limit);
    for (change, expected) in [
        (ServiceChange::HardLimit(Some(10)), (1, 10)),
        (ServiceChange::SoftLimit(Some(10)), (10, 10)),
        (ServiceChange::HardLimit(None), (10, 65_535)),
        (ServiceChange::SoftLimit(None), (1, 65_535)),
        (ServiceChange::SoftLimit(Some(7)), (7, 65_535)),
    ] {
        let changed = fixture.change(&made, change).await.unwrap();
        assert_eq!(limits(&changed), expected);
    }
    let refused = fixture
        .change(&made, ServiceChange::HardLimit(Some(6)))
        .await;
    assert!(matches!(refused, Err(Error::Unfit { .. })));
    let time = Some(Duration::from_secs(60));
    for time in [time, None] {
        let changed = fixture.change(&made, ServiceChange::Autokill(time)).await;
        assert_eq!(changed.unwrap().service.autokill, time);
    }
}

#[tokio::test]
async fn no_port_is_lost_when_several_are_added_at_once() {
    let fixture = fixture().await;
    let made = fixture.create_service(request(&["a.test."])).await;
    let add = |port| {
        let port = PortRequest { port, ..HTTPS };
        let change = ServiceChange::Ports(Edit::Add(vec![port]));
        fixture.change(&made, change)
    };
    let (one, two, three) = tokio::join!(add(1_001), add(1_002), add(1_003));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    let changed = fixture.show(&by_id(&made)).await.unwrap();
    assert_eq!(changed.service.ports.len(), 4);
}

#[tokio::test]
async fn domains_are_added_taken_away_and_replaced_and_the_feed_tells() {
    let fixture = fixture().await;
    let made = fixture
        .create_service(request(&["a.test.", "b.test."]))
        .await;
    let mut place = None;
    fixture.events(&mut place).await;
    let add = |names: &[&str]| Edit::Add(names.iter().copied().map(domain).collect());
    let set = |names: &[&str]| Edit::Set(names.iter().copied().map(domain).collect());
    let delete = |names: &[&str]| Edit::Delete(names.iter().map(ToString::to_string).collect());
    let service = made.service.name.as_str();
    for (edit, expected, told) in [
        (
            add(&["c.test.", "sub"]),
            vec!["a.test", "b.test", "c.test", "sub.metro.internal"],
            vec![
                ("domain.added", "c.test"),
                ("domain.added", "sub.metro.internal"),
            ],
        ),
        (
            // A final dot may be missing here.
            delete(&["B.test", "sub"]),
            vec!["a.test", "c.test"],
            vec![
                ("domain.removed", "b.test"),
                ("domain.removed", "sub.metro.internal"),
            ],
        ),
        (
            set(&["c.test.", "d.test.", "a.test."]),
            vec!["c.test", "d.test", "a.test"],
            vec![("domain.added", "d.test"), ("service.changed", service)],
        ),
        (
            set(&["c.test."]),
            vec!["c.test"],
            vec![
                ("domain.removed", "a.test"),
                ("domain.removed", "d.test"),
                ("service.changed", service),
            ],
        ),
        (
            set(&[]),
            vec![],
            vec![("domain.removed", "c.test"), ("service.changed", service)],
        ),
    ] {
        let changed = fixture.change(&made, ServiceChange::Domains(edit)).await;
        assert_eq!(names(&changed.unwrap()), expected);
        let mut events = fixture.events(&mut place).await;
        events.retain(|(kind, _)| !kind.starts_with("certificate."));
        events.sort();
        let told = told
            .iter()
            .map(|(kind, name)| (kind.to_string(), name.to_string()));
        assert_eq!(events, told.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_change_of_domains_that_cannot_be_made_changes_nothing() {
    let fixture = fixture().await;
    let made = fixture.create_service(request(&["a.test."])).await;
    fixture.create_service(request(&["b.test."])).await;
    let add = |name: &str| Edit::Add(vec![domain("new.test."), domain(name)]);
    let change = |edit| fixture.change(&made, ServiceChange::Domains(edit));
    for taken in ["a.test.", "b.test."] {
        let refused = change(add(taken)).await;
        assert!(matches!(refused, Err(Error::DomainTaken { .. })));
    }
    let set = Edit::Set(vec![domain("new.test."), domain("b.test.")]);
    let refused = change(set).await;
    assert!(matches!(refused, Err(Error::DomainTaken { .. })));
    for absent in ["b.test", "never.test", "a", ""] {
        let delete = Edit::Delete(vec!["a.test".to_owned(), absent.to_owned()]);
        let refused = change(delete).await;
        let noun = Noun::Domain;
        assert!(matches!(refused, Err(Error::NotFound { noun: found, .. }) if found == noun));
    }
    let refused = change(add("www")).await;
    assert!(matches!(refused, Err(Error::DomainReserved { .. })));
    assert!(change(add("x.y")).await.unwrap_err().is_form_fault());
    let unchanged = fixture.show(&by_id(&made)).await.unwrap();
    assert_eq!(names(&unchanged), ["a.test"]);
    let requested = fixture.certificates_in(&fixture.principal, StateKind::Pending);
    assert_eq!(requested.await, 2);
    let absent = ServiceRef::Name("absent".to_owned());
    let services = &fixture.house().services;
    let change = ServiceChange::SoftLimit(None);
    let refused = services.change(&fixture.principal, &absent, change).await;
    assert!(matches!(
        refused,
        Err(Error::NotFound {
            noun: Noun::Service,
            ..
        })
    ));
}
