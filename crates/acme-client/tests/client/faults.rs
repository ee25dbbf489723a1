//! Directories that mean well and do badly.

use std::sync::Arc;
use std::time::Duration;

use acme::ErrorKind;
use acme::client::{ChallengeKind, Client, Failure, OrderStatus};
use testbed::Directory;
use testbed::directory::{Options, Resource, Trouble};

use crate::support::{client, endpoint, house, login, names, obtain, prove, refusal, request};

#[tokio::test]
async fn nine_in_ten_nonces_refused_cost_requests_and_nothing_else() {
    let (directory, client, login) = house(Options::default()).await;
    directory.faults(|faults| faults.bad_nonces = 90);
    for name in ["a.test", "b.test", "c.test"] {
        obtain(&client, &login, &names(&[name])).await.unwrap();
    }
    assert_eq!(directory.orders().len(), 3);
    assert!(directory.requests(Resource::NewOrder) > 3);
}

#[tokio::test]
async fn many_orders_at_a_time_share_nonces_without_harm() {
    let (directory, client, login) = house(Options::default()).await;
    directory.faults(|faults| faults.bad_nonces = 50);
    let (client, login) = (Arc::new(client), Arc::new(login));
    let orders = (0..50).map(|number| {
        let (client, login) = (Arc::clone(&client), Arc::clone(&login));
        tokio::spawn(async move {
            let name = format!("n{number}.test");
            obtain(&client, &login, &names(&[&name])).await
        })
    });
    for order in orders.collect::<Vec<_>>() {
        order.await.unwrap().unwrap();
    }
    assert_eq!(directory.certificates().len(), 50);
    assert_eq!(directory.orders().len(), 50);
}

#[tokio::test]
async fn a_directory_that_refuses_every_nonce_is_left_alone_after_a_while() {
    let (directory, client, login) = house(Options::default()).await;
    let order = client.new_order(&login, &names(&["a.test"])).await.unwrap();
    directory.faults(|faults| faults.bad_nonces = 100);
    let outcome = client.new_order(&login, &names(&["a.test"])).await;
    assert_eq!(refusal(outcome), "badNonce");
    let url = order.authorizations.first().unwrap();
    let outcome = client.authorization(&login, url).await;
    assert_eq!(refusal(outcome), "badNonce");
    for resource in [Resource::NewOrder, Resource::Authorization] {
        let count = directory.requests(resource);
        assert!((50..100).contains(&count), "{resource:?}: {count}");
    }
}

#[tokio::test]
async fn where_answers_bring_no_nonces_they_are_asked_for() {
    let (directory, client, login) = house(Options::default()).await;
    directory.faults(|faults| faults.withholds_nonces = true);
    obtain(&client, &login, &names(&["a.test"])).await.unwrap();
    assert!(directory.requests(Resource::NewNonce) > 4);
    directory.faults(|faults| {
        faults.at(Resource::NewNonce, 100, Trouble::Body(String::new()));
    });
    let outcome = client.new_order(&login, &names(&["a.test"])).await;
    assert!(
        matches!(outcome, Err(Failure::Garbled { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_limit_says_when_to_come_back_in_seconds_by_date_or_not_at_all() {
    let (directory, client, login) = house(Options::default()).await;
    let day = Duration::from_secs(24 * 60 * 60);
    for (retry_after, expected) in [
        (Some("120"), Some(Duration::from_secs(120))),
        (Some("Fri, 31 Dec 9999 23:59:59 GMT"), Some(366 * day)),
        (Some("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO)),
        (Some("soon"), None),
        (None, None),
    ] {
        directory.faults(|faults| {
            faults.clear();
            let trouble = Trouble::RateLimited(retry_after.map(ToOwned::to_owned));
            faults.at(Resource::NewOrder, 100, trouble);
        });
        let outcome = client.new_order(&login, &names(&["a.test"])).await;
        let Err(Failure::Refused {
            problem,
            status,
            retry_after,
        }) = outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!((status, retry_after), (429, expected));
        assert_eq!(problem.kind, ErrorKind::RateLimited);
    }
}

#[tokio::test]
async fn an_error_without_a_problem_is_told_by_its_status() {
    let (directory, client, login) = house(Options::default()).await;
    let order = client.new_order(&login, &names(&["a.test"])).await.unwrap();
    prove(&client, &login, &order, &ChallengeKind::Http01).await;
    for (status, kind) in [
        (500, ErrorKind::ServerInternal),
        (503, ErrorKind::ServerInternal),
        (429, ErrorKind::RateLimited),
        (403, ErrorKind::default()),
    ] {
        directory.faults(|faults| {
            faults.clear();
            faults.at(Resource::Finalize, 100, Trouble::Status(status));
        });
        let outcome = client
            .finalize(&login, &order.url, &request(&["a.test"]))
            .await;
        let Err(Failure::Refused {
            problem,
            status: told,
            ..
        }) = outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!((told, problem.kind), (status, kind));
    }
    // The order is as good as before.
    directory.faults(testbed::directory::Faults::clear);
    let order = client
        .finalize(&login, &order.url, &request(&["a.test"]))
        .await;
    assert_eq!(order.unwrap().status, OrderStatus::Valid);
}

#[tokio::test]
async fn an_order_that_is_stuck_stays_processing() {
    let (directory, client, login) = house(Options::default()).await;
    directory.faults(|faults| faults.is_stuck = true);
    let order = client.new_order(&login, &names(&["a.test"])).await.unwrap();
    prove(&client, &login, &order, &ChallengeKind::Http01).await;
    let order = client
        .finalize(&login, &order.url, &request(&["a.test"]))
        .await;
    let order = order.unwrap();
    for _ in 0..3 {
        let order = client.order(&login, &order.url).await.unwrap();
        assert_eq!(order.status, OrderStatus::Processing);
    }
    let outcome = client.certificate(&login, &order.url).await;
    assert_eq!(refusal(outcome), "orderNotReady");
}

#[tokio::test]
async fn a_directory_that_is_down_cannot_be_reached_and_is_found_again() {
    let (directory, client, login) = house(Options::default()).await;
    directory.down();
    let outcome = client.new_order(&login, &names(&["a.test"])).await;
    assert!(
        matches!(outcome, Err(Failure::Unreachable { .. })),
        "{outcome:?}"
    );
    directory.up();
    client.new_order(&login, &names(&["a.test"])).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_a_failure_though_the_order_is_placed() {
    let (directory, client, login) = house(Options::default()).await;
    directory.faults(|faults| faults.at(Resource::NewOrder, 100, Trouble::Lost));
    let outcome = client.new_order(&login, &names(&["a.test"])).await;
    assert!(
        matches!(outcome, Err(Failure::Unreachable { .. })),
        "{outcome:?}"
    );
    // It was sent once: a second try is the caller's decision.
    assert_eq!(directory.orders_of("a.test"), 1);
}

#[tokio::test]
async fn a_directory_that_never_answers_is_given_up() {
    let (directory, client, login) = house(Options::default()).await;
    directory.faults(|faults| faults.at(Resource::NewOrder, 100, Trouble::Silence));
    let call = tokio::spawn(async move { client.new_order(&login, &names(&["a.test"])).await });
    while directory.requests(Resource::NewOrder) == 0 {
        tokio::task::yield_now().await;
    }
    // From here on time passes as fast as everybody waits.
    tokio::time::pause();
    let outcome = call.await.unwrap();
    assert!(
        matches!(outcome, Err(Failure::Unreachable { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_slow_directory_is_waited_for() {
    let (directory, client, login) = house(Options::default()).await;
    let slow = Trouble::Slow(Duration::from_millis(20));
    directory.faults(|faults| faults.at(Resource::NewOrder, 100, slow));
    obtain(&client, &login, &names(&["a.test"])).await.unwrap();
}

#[tokio::test]
async fn the_directory_object_is_asked_for_again_after_an_hour() {
    let (directory, client, login) = house(Options::default()).await;
    client.directory(&login.endpoint).await.unwrap();
    assert_eq!(directory.requests(Resource::Directory), 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60 * 60)).await;
    tokio::time::resume();
    client.directory(&login.endpoint).await.unwrap();
    assert_eq!(directory.requests(Resource::Directory), 2);
}

#[tokio::test]
async fn the_directory_object_is_asked_for_again_when_something_is_not_where_it_said() {
    let (directory, client, login) = house(Options::default()).await;
    directory.faults(|faults| faults.at(Resource::NewOrder, 100, Trouble::Status(404)));
    for _ in 0..3 {
        let outcome = client.new_order(&login, &names(&["a.test"])).await;
        assert!(matches!(outcome, Err(Failure::Refused { status: 404, .. })));
    }
    // Not at once: then everything that is really gone would be asked for twice.
    assert_eq!(directory.requests(Resource::Directory), 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    for _ in 0..2 {
        let outcome = client.new_order(&login, &names(&["a.test"])).await;
        assert!(matches!(outcome, Err(Failure::Refused { status: 404, .. })));
    }
    assert_eq!(directory.requests(Resource::Directory), 2);
}

#[tokio::test]
async fn those_who_wait_for_the_same_directory_object_ask_once_and_fail_together() {
    let directory = Directory::start(Options::default());
    let (client, endpoint) = (Arc::new(client()), endpoint(&directory));
    let slow = Trouble::Slow(Duration::from_millis(300));
    directory.faults(|faults| faults.at(Resource::Directory, 100, slow));
    let ask = || {
        let (client, endpoint) = (Arc::clone(&client), endpoint.clone());
        tokio::spawn(async move { client.directory(&endpoint).await })
    };
    let calls: Vec<_> = (0..20).map(|_| ask()).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(directory.requests(Resource::Directory), 1);
}

#[tokio::test]
async fn other_chains_that_cannot_be_had_cost_no_certificate() {
    let (directory, client, login) = house(Options::default()).await;
    directory.faults(|faults| faults.at(Resource::Alternate, 100, Trouble::Status(500)));
    let chains = obtain(&client, &login, &names(&["a.test"])).await.unwrap();
    assert_eq!(chains.len(), 1);
}

#[tokio::test]
async fn tls_is_verified_by_the_roots_given() {
    let options = || Options {
        tls: true,
        ..Options::default()
    };
    let (directory, other) = (Directory::start(options()), Directory::start(options()));
    let client = client();
    let login = login(&client, endpoint(&directory)).await;
    obtain(&client, &login, &names(&["a.test"])).await.unwrap();
    let mut stranger = endpoint(&other);
    stranger.roots = Some(directory.root_pem().into());
    let outcome = client.directory(&stranger).await;
    assert!(
        matches!(outcome, Err(Failure::Insecure { .. })),
        "{outcome:?}"
    );
    assert_eq!(other.requests(Resource::Directory), 0);
}
