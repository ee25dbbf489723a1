//! Whom it does not connect to.

use egress::{EgressPolicy, Fetch as _, FetchError, Fetcher};

use crate::support::{Names, Server, fetch, get, ok};

fn reason(outcome: Result<egress::Response, FetchError>) -> &'static str {
    match outcome {
        Err(FetchError::Forbidden { reason, .. }) => reason,
        other => panic!("not forbidden: {other:?}"),
    }
}

#[tokio::test]
async fn an_address_in_the_url_is_checked() {
    let server = Server::plain(ok).await;
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "127.0.0.2",
        "[::1]",
        "[::127.0.0.1]",
    ] {
        let mut request = get(&format!("http://{host}:{port}/"));
        request.policy = EgressPolicy::PUBLIC;
        assert_eq!(
            reason(fetch(request).await),
            "it is a loopback address",
            "{host}"
        );
    }
    for (host, why) in [
        ("169.254.169.254", "it is a link-local address"),
        ("0.0.0.0", "it is an unspecified address"),
        ("10.0.0.1", "it is a private address"),
    ] {
        let refused = fetch(get(&format!("http://{host}:{port}/"))).await;
        assert_eq!(reason(refused), why, "{host}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn an_address_that_a_name_leads_to_is_checked() {
    let server = Server::plain(ok).await;
    let names = Names::new(&[("inside.example", &["127.0.0.1"])]);
    let fetcher = Fetcher::new(names);
    let mut request = get(&server.named("http", "inside.example"));
    request.policy = EgressPolicy::PUBLIC;
    let refused = fetcher.fetch(request.clone()).await;
    assert_eq!(reason(refused), "it is a loopback address");
    assert_eq!(server.connections(), 0);
    request.policy = EgressPolicy::BACKENDS;
    assert!(fetcher.fetch(request).await.is_ok());
}

#[tokio::test]
async fn of_several_addresses_only_those_that_may_be_are_connected_to() {
    let server = Server::plain(ok).await;
    let mixed: &[&str] = &["10.255.255.1", "169.254.169.254", "127.0.0.1"];
    let names = Names::new(&[("mixed.example", mixed)]);
    let request = get(&server.named("http", "mixed.example"));
    assert!(Fetcher::new(names).fetch(request).await.is_ok());
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn where_one_address_takes_no_connection_the_next_one_is_tried() {
    let server = Server::plain(ok).await;
    let names = Names::new(&[("two.example", &["127.0.0.77", "127.0.0.1"])]);
    let request = get(&server.named("http", "two.example"));
    assert!(Fetcher::new(names).fetch(request).await.is_ok());
}

#[tokio::test]
async fn a_connection_under_a_wide_policy_is_not_used_under_a_narrow_one() {
    let server = Server::plain(ok).await;
    let names = Names::new(&[("inside.example", &["127.0.0.1"])]);
    let fetcher = Fetcher::new(names);
    let mut request = get(&server.named("http", "inside.example"));
    assert!(fetcher.fetch(request.clone()).await.is_ok());
    request.policy = EgressPolicy::PUBLIC;
    assert_eq!(
        reason(fetcher.fetch(request).await),
        "it is a loopback address"
    );
}
