//! What would never end, or be too much.

use std::time::Duration;

use egress::{Fetch as _, FetchError};

use crate::support::{Names, Reply, Server, fetch, get, ok, silent};

/// Short enough for a test to wait for.
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_body_of_the_longest_length_is_read_and_a_longer_one_is_not() {
    let server = Server::plain(|_| ok(&"x".repeat(1024))).await;
    let mut request = get(&server.url("/"));
    assert_eq!(fetch(request.clone()).await.unwrap().body.len(), 1024);
    request.body_limit = 1023;
    let limit = 1023;
    let host = "127.0.0.1".to_owned();
    let expected = FetchError::TooLarge { host, limit };
    assert_eq!(fetch(request).await.unwrap_err(), expected);
}

#[tokio::test]
async fn an_endless_body_is_not_read_to_its_end() {
    for (head, again) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "endless"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "4\r\nabcd\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9000000000000\r\n\r\n",
            "endless",
        ),
    ] {
        let server = Server::plain(move |_| Reply::Endless(head.to_owned(), again)).await;
        let stopped = fetch(get(&server.url("/"))).await;
        assert!(
            matches!(stopped, Err(FetchError::TooLarge { .. })),
            "{stopped:?}"
        );
    }
}

#[tokio::test]
async fn an_endless_head_is_not_read_to_its_end() {
    for again in ["X-A: b\r\n", "x"] {
        let head = "HTTP/1.1 200 OK\r\n".to_owned();
        let server = Server::plain(move |_| Reply::Endless(head.clone(), again)).await;
        let stopped = fetch(get(&server.url("/"))).await;
        assert!(
            matches!(stopped, Err(FetchError::Broken { .. })),
            "{stopped:?}"
        );
    }
}

#[tokio::test]
async fn whoever_keeps_silent_is_left_at_the_deadline() {
    for answer in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    ] {
        let server = Server::plain(move |_| Reply::Silence(answer.to_owned())).await;
        let mut request = get(&server.url("/"));
        request.deadline = SHORT;
        let host = "127.0.0.1".to_owned();
        assert_eq!(
            fetch(request).await.unwrap_err(),
            FetchError::TimedOut { host }
        );
    }
}

#[tokio::test]
async fn a_tls_handshake_that_does_not_come_is_left_at_the_deadline() {
    let (address, _taken) = silent().await;
    let mut request = get(&format!("https://localhost.example:{}/", address.port()));
    request.deadline = SHORT;
    let names = Names::new(&[("localhost.example", &["127.0.0.1"])]);
    let authority = testbed::Authority::new();
    request.trust = crate::support::roots(&authority).into();
    let late = egress::Fetcher::new(names).fetch(request).await;
    let host = "localhost.example".to_owned();
    assert_eq!(late.unwrap_err(), FetchError::TimedOut { host });
}

#[tokio::test]
async fn redirects_do_not_stretch_the_deadline() {
    let server = Server::plain(|request| {
        if request.starts_with("GET /slow") {
            Reply::Silence(String::new())
        } else {
            crate::support::to("/slow")
        }
    })
    .await;
    let mut request = get(&server.url("/"));
    request.redirects = 5;
    request.deadline = SHORT;
    let late = fetch(request).await;
    assert!(matches!(late, Err(FetchError::TimedOut { .. })), "{late:?}");
}

#[tokio::test]
async fn a_deadline_beyond_measure_is_none_to_fall_over() {
    let server = Server::plain(ok).await;
    let mut request = get(&server.url("/"));
    request.deadline = Duration::MAX;
    assert!(fetch(request).await.is_ok());
}
