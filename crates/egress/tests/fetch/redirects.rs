//! Where answers lead.

use bytes::Bytes;
use egress::{EgressPolicy, Fetch as _, FetchError, Fetcher, Ports};
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Method};

use crate::support::{LOCAL, Names, Reply, Server, fetch, get, ok, to};

#[tokio::test]
async fn redirects_are_followed_as_far_as_they_may_be() {
    let server = Server::plain(|request| match request.split(' ').nth(1).unwrap() {
        "/a/1" => to("2?x=y"),
        "/a/2?x=y" => to("/b/3"),
        "/b/3" => to("?last"),
        "/b/3?last" => ok("here"),
        path => panic!("{path}"),
    })
    .await;
    let mut request = get(&server.url("/a/1"));
    request.redirects = 3;
    let response = fetch(request.clone()).await.unwrap();
    assert_eq!(&response.body[..], b"here");

    request.redirects = 2;
    let stopped = fetch(request.clone()).await;
    assert!(
        matches!(stopped, Err(FetchError::Broken { .. })),
        "{stopped:?}"
    );

    request.redirects = 0;
    let response = fetch(request).await.unwrap();
    assert_eq!(response.status, 302);
    assert_eq!(response.headers["location"], "2?x=y");
}

#[tokio::test]
async fn a_loop_of_redirects_ends() {
    let server = Server::plain(|_| to("/again")).await;
    let mut request = get(&server.url("/again"));
    request.redirects = 5;
    let stopped = fetch(request).await;
    assert!(
        matches!(&stopped, Err(FetchError::Broken { reason, .. }) if reason.contains("5 times")),
        "{stopped:?}"
    );
}

#[tokio::test]
async fn a_redirect_to_where_nobody_may_go_is_not_followed() {
    let inside = Server::plain(|_| ok("secret")).await;
    let port = inside.address.port();
    for (target, why) in [
        (
            "http://169.254.169.254/latest/meta-data/",
            "it is a link-local address",
        ),
        (
            &*format!("http://10.0.0.1:{port}/"),
            "it is a private address",
        ),
        (
            &*format!("//0.0.0.0:{port}/"),
            "it is an unspecified address",
        ),
        (
            &*inside.named("http", "rebound.example"),
            "it is a private address",
        ),
    ] {
        let location = target.to_owned();
        let server = Server::plain(move |_| to(&location)).await;
        let mut request = get(&server.url("/"));
        request.redirects = 5;
        let names = Names::new(&[("rebound.example", &["192.168.0.1"])]);
        match Fetcher::new(names).fetch(request).await {
            Err(FetchError::Forbidden { reason, .. }) => assert_eq!(reason, why, "{target}"),
            other => panic!("{target}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_public_request_is_not_led_to_this_machine() {
    let inside = Server::plain(|_| ok("secret")).await;
    let location = inside.url("/");
    let outside = Server::plain(move |_| to(&location)).await;
    // Stands in for a public server, which no test connects to.
    let mut request = get(&outside.url("/"));
    request.redirects = 5;
    request.policy = LOCAL;
    assert_eq!(&fetch(request.clone()).await.unwrap().body[..], b"secret");
    request.policy = EgressPolicy::PUBLIC;
    assert!(matches!(
        fetch(request).await,
        Err(FetchError::Forbidden { .. })
    ));
    assert_eq!((outside.connections(), inside.connections()), (1, 1));
}

#[tokio::test]
async fn a_redirect_to_what_is_no_url_of_the_web_is_not_followed() {
    for location in [
        "ftp://127.0.0.1/",
        "http://",
        "http://user:pw@127.0.0.1/",
        "gopher://a",
    ] {
        let server = Server::plain(move |_| to(location)).await;
        let mut request = get(&server.url("/"));
        request.redirects = 1;
        let refused = fetch(request).await;
        assert!(
            matches!(refused, Err(FetchError::Invalid { .. })),
            "{location}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn what_is_sent_in_a_body_is_not_sent_elsewhere() {
    let server = Server::plain(|_| {
        let answer = "HTTP/1.1 307 Moved\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n";
        Reply::Keep(answer.to_owned())
    })
    .await;
    let mut request = get(&server.url("/"));
    request.method = Method::POST;
    request.body = Bytes::from("text");
    request.redirects = 5;
    assert_eq!(fetch(request).await.unwrap().status, 307);
}

#[tokio::test]
async fn credentials_do_not_go_to_another_server() {
    let other = Server::plain(ok).await;
    let elsewhere = other.url("/");
    let server = Server::plain(move |request| match request.split(' ').nth(1).unwrap() {
        "/here" => to("/there"),
        "/there" if !request.contains("Secret") => Reply::Close("no credentials".to_owned()),
        "/there" => to(&elsewhere),
        path => panic!("{path}"),
    })
    .await;
    let mut request = get(&server.url("/here"));
    request.redirects = 5;
    let headers = &mut request.headers;
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic Secret"));
    headers.insert("x-api-key", HeaderValue::from_static("Secret"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/html"));
    // Fields arrive in lower case, their values as they are.
    let body = fetch(request).await.unwrap().body;
    let arrived = String::from_utf8_lossy(&body);
    assert!(!arrived.contains("Secret"), "{arrived}");
    assert!(arrived.contains("text/html"), "{arrived}");
}

#[tokio::test]
async fn a_port_that_may_not_be_connected_to_is_not_reached_by_a_redirect_either() {
    for port in [22, 25, 81, 1023] {
        let server = Server::plain(move |_| to(&format!("http://127.0.0.1:{port}/"))).await;
        let mut request = get(&server.url("/"));
        request.redirects = 5;
        request.ports = Ports::Web;
        let refused = fetch(request).await;
        assert!(
            matches!(&refused, Err(FetchError::Forbidden { reason, .. }) if reason.contains("port")),
            "{refused:?}"
        );
    }
    for port in [80, 443, 1024, 65535] {
        assert!(Ports::Web.contain(port), "{port}");
    }
}
