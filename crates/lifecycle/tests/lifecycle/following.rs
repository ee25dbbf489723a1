//! What follows a change: the edge is told, domains are served with what is best now, and those
//! whose certificate has ended are healed.

use std::sync::Mutex;

use crate::support::services::{fixture, request};
use crate::support::{DAY, Fixture, MINUTE, eventually};
use lifecycle::{CertificateId, Change, Clock as _, StateKind};
use sqlx::{Connection as _, SqliteConnection};
use store::{Attachment, NewEvent};

impl Fixture {
    async fn covering(&self, name: &str, days: i64) -> CertificateId {
        self.issue(name, days).await.id
    }

    async fn first(&self, domain: &str) -> CertificateId {
        self.served(domain).await[0].unwrap()
    }

    async fn heal(&self, domain: &str) {
        self.house().routing.heal(domain).await.unwrap();
    }

    /// Follows the change feed until the domain is served with `certificate`.
    async fn follow_until(&self, domain: &str, certificate: CertificateId) {
        let switched = eventually("the domain is served with the certificate", || async {
            (self.first(domain).await == certificate).then_some(())
        });
        tokio::select! {
            () = self.house().follow_changes(|_| ()) => unreachable!(),
            () = switched => (),
        }
    }
}

#[tokio::test]
async fn the_edge_is_told_of_changes_while_domains_wait_to_be_selected_again() {
    let fixture = fixture().await;
    fixture.create_service(request(&["waits.test."])).await;
    fixture.covering("waits.test", 90).await;
    // More than a page of the feed lies between what cannot be done and what is to be told.
    fixture.covering("*.many.test", 90).await;
    let many: Vec<String> = (0..1_100).map(|n| format!("d{n}.many.test.")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    fixture.create_service(request(&many)).await;
    fixture.create_service(request(&["last.many.test."])).await;

    let url = format!("sqlite:{}", fixture.data.path().join("test.db").display());
    let mut writer = SqliteConnection::connect(&url).await.unwrap();
    let begin = sqlx::query("begin immediate").execute(&mut writer);
    begin.await.unwrap();
    let told = Mutex::new(Vec::new());
    let last = Change::DomainAdded("last.many.test".to_owned());
    let is_told = eventually("the edge is told", || async {
        told.lock().unwrap().contains(&last).then_some(())
    });
    tokio::select! {
        () = fixture.house().follow_changes(|change| told.lock().unwrap().push(change)) => {
            unreachable!()
        }
        () = is_told => (),
    }
}

#[tokio::test]
async fn a_choice_that_was_overtaken_by_a_better_certificate_is_made_again() {
    let fixture = fixture().await;
    let store = &fixture.nodes[0].store;
    let wildcard = fixture.covering("*.a.test", 90).await;
    fixture.create_service(request(&["x.a.test."])).await;
    let better = fixture.covering("x.a.test", 90).await;
    let place = store.last_event().await.unwrap();
    let followed = eventually("the better one was followed", || async {
        let followed = store.cursor("reconciler").await.unwrap();
        (followed >= place).then_some(())
    });
    tokio::select! {
        () = fixture.house().follow_changes(|_| ()) => unreachable!(),
        () = followed => (),
    }
    assert_eq!(fixture.first("x.a.test").await, better);
    // As if it had been chosen before the better one was there, and is written down only now.
    let overtaken = Attachment {
        domain: "x.a.test".to_owned(),
        from: Some(better),
        certificate_id: Some(wildcard),
        alternate_id: None,
        is_explicit: false,
    };
    let event = NewEvent {
        at: fixture.clock.now(),
        account_id: None,
        actor: "test".to_owned(),
        kind: "domain.switched",
        object: None,
        detail: String::new(),
    };
    assert_eq!(store.attach(vec![overtaken], event).await.unwrap(), 1);
    fixture.follow_until("x.a.test", better).await;
}

#[tokio::test]
async fn a_domain_whose_certificate_has_ended_takes_another_one() {
    let fixture = fixture().await;
    let exact = fixture.covering("x.a.test", 5).await;
    let wildcard = fixture.covering("*.a.test", 90).await;
    fixture.create_service(request(&["x.a.test."])).await;
    fixture.heal("x.a.test").await;
    assert_eq!(fixture.first("x.a.test").await, exact);
    fixture.turn(6 * DAY);
    fixture.heal("x.a.test").await;
    assert_eq!(fixture.first("x.a.test").await, wildcard);
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_served_until_the_requested_one_is_there() {
    let fixture = fixture().await;
    let ended = fixture.covering("a.test", 5).await;
    fixture.create_service(request(&["a.test."])).await;
    fixture.turn(6 * DAY);
    for _ in 0..3 {
        fixture.heal("a.test").await;
        assert_eq!(fixture.first("a.test").await, ended);
        fixture.turn(2 * MINUTE);
    }
    let pending = fixture.certificates_in(&fixture.principal, StateKind::Pending);
    assert_eq!(pending.await, 1, "requested once");
    // Neither does the feed put what is not there yet in its place.
    fixture.create_service(request(&["b.test."])).await;
    let other = fixture.covering("b.test", 90).await;
    fixture.follow_until("b.test", other).await;
    assert_eq!(fixture.first("a.test").await, ended);

    fixture.house().obtain_due_now().await.unwrap();
    let store = &fixture.nodes[0].store;
    let newer = eventually("there is another certificate", || async {
        let scope = store::Scope::Everything;
        let found = store.certificates_covering(scope, &["a.test"]).await;
        let found = found.unwrap().into_iter();
        found
            .max_by_key(|one| one.not_after)
            .map(|one| one.certificate_id)
    });
    fixture.follow_until("a.test", newer.await).await;
}

#[tokio::test]
async fn a_certificate_that_could_not_be_renewed_in_time_is_not_requested_anew() {
    let fixture = fixture().await;
    fixture.create_service(request(&["a.test."])).await;
    fixture.house().obtain_due_now().await.unwrap();
    let managed = fixture.first("a.test").await;
    fixture.turn(31 * DAY);
    fixture.heal("a.test").await;
    assert_eq!(fixture.first("a.test").await, managed);
    let pending = fixture.certificates_in(&fixture.principal, StateKind::Pending);
    assert_eq!(pending.await, 0);
}

#[tokio::test]
async fn a_domain_is_healed_at_most_once_a_minute() {
    let fixture = fixture().await;
    fixture.covering("x.a.test", 5).await;
    let wildcard = fixture.covering("*.a.test", 90).await;
    fixture.create_service(request(&["x.a.test."])).await;
    fixture.turn(6 * DAY);
    fixture.heal("x.a.test").await;
    assert_eq!(fixture.first("x.a.test").await, wildcard);
    let exact = fixture.covering("x.a.test", 90).await;
    fixture.heal("x.a.test").await;
    assert_eq!(fixture.first("x.a.test").await, wildcard);
    fixture.turn(MINUTE);
    fixture.heal("x.a.test").await;
    assert_eq!(fixture.first("x.a.test").await, exact);
}
