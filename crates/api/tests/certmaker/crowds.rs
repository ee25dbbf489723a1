//! Many at once: for one order, for many, on several nodes, and beside others who need no proof.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use lifecycle::{CertificateFilter, Order, PAGE_LIMIT, Page, PageStart};
use serde_json::json;

use crate::challenges::{Waiting, server};
use crate::support::Server;
use crate::support::responder::{Reply, Responder, ok};
use crate::{LOCATED, SIMPLE, send};

/// How many certificates there are.
pub(crate) fn count(server: &Server) -> usize {
    let administrator = server.administrator();
    let mut page = Page {
        from: PageStart::Beginning,
        limit: PAGE_LIMIT,
        order: Order::Ascending,
    };
    let mut seen = BTreeSet::new();
    loop {
        let filter = CertificateFilter::default();
        let certificates = server
            .house
            .certificates
            .list(&administrator, &filter, &page);
        let certificates = server.run(certificates).unwrap();
        seen.extend(certificates.iter().map(|certificate| certificate.id));
        match certificates.last() {
            // A page begins with the last one of the page before.
            Some(last) if certificates.len() == PAGE_LIMIT => {
                let (created_at, id) = (last.created_at, last.id);
                page.from = PageStart::At { created_at, id };
            }
            _ => return seen.len(),
        }
    }
}

#[test]
fn an_order_that_many_solve_on_two_nodes_brings_one_certificate() {
    let server = server(|_| {});
    let (elsewhere, _house) = server.another_node();
    let responder = Responder::start();
    for round in 1..=3 {
        let waiting = Waiting::order(&server, &json!({"domains": ["a.test"]}));
        responder.has(&waiting.token);
        let body = json!({"challenge_port": responder.port()}).to_string();
        let together = Barrier::new(8);
        let answers: Vec<_> = thread::scope(|scope| {
            let solvers = (0..8).map(|number| {
                let url = [&server.url, &elsewhere][number % 2];
                let (token, path) = (server.token.as_str(), waiting.path("http-01"));
                let (body, together) = (body.as_bytes(), &together);
                scope.spawn(move || {
                    together.wait();
                    let headers = [("X-Auth-Token", token)];
                    testbed::http::send(url, "POST", &path, &headers, body)
                })
            });
            let solvers: Vec<_> = solvers.collect();
            solvers
                .into_iter()
                .map(|solver| solver.join().unwrap())
                .collect()
        });
        for answer in &answers {
            assert_eq!(answer.status, 201, "{}", answer.text());
            assert_eq!(answer.body, answers[0].body);
        }
        assert_eq!(count(&server), round);
    }
}

#[test]
fn many_orders_are_validated_while_many_others_are_issued() {
    const WAITING: usize = 200;
    const CLIENTS: usize = 1_000;
    const EACH: usize = 2;
    let server = server(|_| {});
    let responder = Responder::start();
    let waiting: Vec<Waiting> = (0..WAITING)
        .map(|number| {
            let domains = [format!("{number}.a.test"), format!("{number}.b.test")];
            Waiting::order(&server, &json!({"domains": domains}))
        })
        .collect();
    // All tokens are in one place; which one is asked for tells the name alone, so each order looks
    // at a server of its own.
    let responders: Vec<Responder> = waiting
        .iter()
        .map(|order| {
            let responder = Responder::start();
            let answer = ok(&order.token);
            responder.answer(move |_| Reply::Raw(answer.clone()));
            responder
        })
        .collect();
    let together = Barrier::new(WAITING + CLIENTS);
    thread::scope(|scope| {
        for (order, responder) in waiting.iter().zip(&responders) {
            let (server, together) = (&server, &together);
            scope.spawn(move || {
                together.wait();
                let solved = order.solve_at(server, responder.port());
                assert_eq!(solved.status, 201, "{}", solved.text());
            });
        }
        for _ in 0..CLIENTS {
            let (server, together) = (&server, &together);
            scope.spawn(move || {
                together.wait();
                for path in [SIMPLE, LOCATED].into_iter().cycle().take(EACH) {
                    let issued = send(server, "POST", path, r#"{"domains":["localhost"]}"#);
                    assert_eq!(issued.status, 201, "{}", issued.text());
                }
            });
        }
    });
    assert_eq!(count(&server), WAITING + CLIENTS * EACH);
    assert!(responder.asked().is_empty());
    let ports: BTreeSet<u16> = responders.iter().map(Responder::port).collect();
    assert_eq!(ports.len(), WAITING);
}

#[test]
fn an_order_that_hangs_holds_up_nobody() {
    let server = server(|options| {
        let patience = &mut options.house.validation.patience;
        (patience.attempts, patience.attempt) = (1, std::time::Duration::from_secs(5));
    });
    let hanging = Responder::start();
    hanging.answer(|_| Reply::Silence);
    let stuck = Waiting::order(&server, &json!({"domains": ["a.test"]}));
    let body = json!({"challenge_port": hanging.port()}).to_string();
    thread::scope(|scope| {
        for _ in 0..4 {
            let (token, path) = (server.token.as_str(), stuck.path("http-01"));
            let (url, body) = (server.url.as_str(), body.as_bytes());
            scope.spawn(move || {
                let headers = [("X-Auth-Token", token)];
                let _ = testbed::http::try_send(url, "POST", &path, &headers, body);
            });
        }
        testbed::eventually(std::time::Duration::from_secs(30), "all hang", || {
            (hanging.asked().len() >= 4).then_some(())
        });
        let responder = Responder::start();
        let waiting = Waiting::order(&server, &json!({"domains": ["b.test"]}));
        responder.has(&waiting.token);
        let solved = waiting.solve_at(&server, responder.port());
        assert_eq!(solved.status, 201, "{}", solved.text());
        // The order that hangs is not lost by it.
        responder.has(&stuck.token);
        let solved = stuck.solve_at(&server, responder.port());
        assert_eq!(solved.status, 201, "{}", solved.text());
        assert_eq!(count(&server), 2);
    });
}
