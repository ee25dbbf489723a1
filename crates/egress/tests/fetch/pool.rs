//! Connections that are used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use egress::{EgressPolicy, Fetch as _, FetchError};
use http::Method;

use crate::support::{Reply, Server, fetcher, get, ok};

#[tokio::test]
async fn requests_after_one_another_share_a_connection() {
    let server = Server::plain(ok).await;
    let fetcher = fetcher();
    for _ in 0..10 {
        fetcher.fetch(get(&server.url("/"))).await.unwrap();
        let mut post = get(&server.url("/"));
        post.method = Method::POST;
        post.body = Bytes::from("text");
        fetcher.fetch(post).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_request_that_closes_its_connection_has_one_of_its_own() {
    let server = Server::plain(|_| ok("x")).await;
    let fetcher = fetcher();
    let mut alone = get(&server.url("/"));
    let close = http::HeaderValue::from_static("close");
    alone.headers.insert(http::header::CONNECTION, close);
    for request in [get(&server.url("/")), alone.clone(), alone] {
        fetcher.fetch(request).await.unwrap();
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn other_policies_have_other_connections() {
    let server = Server::plain(ok).await;
    let fetcher = fetcher();
    for policy in [crate::support::LOCAL, EgressPolicy::BACKENDS] {
        for _ in 0..3 {
            let mut request = get(&server.url("/"));
            request.policy = policy;
            fetcher.fetch(request).await.unwrap();
        }
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_not_in_the_way() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let server = Server::plain(move |_| Reply::Close(answer.to_owned())).await;
    let fetcher = fetcher();
    for number in 1..=5 {
        let mut request = get(&server.url("/"));
        request.method = if number % 2 == 0 {
            Method::POST
        } else {
            Method::GET
        };
        fetcher.fetch(request).await.unwrap();
        assert_eq!(server.connections(), number);
        // The end of the connection is heard of by its own task.
        tokio::task::yield_now().await;
    }
}

/// Answers the first request, and breaks off at each second one of a connection.
async fn fickle() -> (Server, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let server = Server::plain(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        1 => Reply::Close(String::new()),
        _ => ok("here"),
    })
    .await;
    (server, seen)
}

#[tokio::test]
async fn a_question_whose_connection_breaks_off_is_asked_once_more() {
    let (server, seen) = fickle().await;
    let fetcher = fetcher();
    for _ in 0..2 {
        let response = fetcher.fetch(get(&server.url("/"))).await.unwrap();
        assert_eq!(&response.body[..], b"here");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_not_sent_twice() {
    let (server, seen) = fickle().await;
    let fetcher = fetcher();
    fetcher.fetch(get(&server.url("/"))).await.unwrap();
    let mut post = get(&server.url("/"));
    post.method = Method::POST;
    let broken = fetcher.fetch(post).await;
    assert!(
        matches!(broken, Err(FetchError::Broken { .. })),
        "{broken:?}"
    );
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_with_an_answer_half_read_is_not_used_again() {
    let server = Server::plain(|request| {
        if request.starts_with("GET /large") {
            ok(&"x".repeat(4096))
        } else {
            ok("small")
        }
    })
    .await;
    let fetcher = fetcher();
    for _ in 0..3 {
        let large = fetcher.fetch(get(&server.url("/large"))).await;
        assert!(
            matches!(large, Err(FetchError::TooLarge { .. })),
            "{large:?}"
        );
        let small = fetcher.fetch(get(&server.url("/small"))).await.unwrap();
        assert_eq!(&small.body[..], b"small");
    }
}

#[tokio::test]
async fn octets_that_nobody_asked_for_are_no_answer_to_the_next_request() {
    let server = Server::plain(|request| {
        let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
        let Reply::Keep(answer) = ok("real") else {
            unreachable!()
        };
        let is_first = request.starts_with("GET /first");
        Reply::Keep(if is_first { answer + forged } else { answer })
    })
    .await;
    let fetcher = fetcher();
    for path in ["/first", "/second", "/first", "/second"] {
        let response = fetcher.fetch(get(&server.url(path))).await.unwrap();
        assert_eq!(&response.body[..], b"real", "{path}");
    }
}
