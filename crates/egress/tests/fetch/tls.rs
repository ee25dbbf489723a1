//! Whom it believes to be who they say.

use std::sync::Arc;

use egress::{Fetch as _, FetchError, Fetcher, Request, Trust};
use testbed::Authority;

use crate::support::{Names, Reply, Server, get, ok, roots};

const NAME: &str = "a.example.com";

fn fetcher() -> Fetcher {
    Fetcher::new(Names::new(&[
        (NAME, &["127.0.0.1"]),
        ("b.example.com", &["127.0.0.1"]),
    ]))
}

fn request(server: &Server, host: &str, roots: Option<Arc<str>>) -> Request {
    let mut request = get(&server.named("https", host));
    request.trust = roots.into();
    request
}

fn reason(outcome: Result<egress::Response, FetchError>) -> String {
    match outcome {
        Err(FetchError::Tls { reason, .. }) => reason,
        other => panic!("not a failure of TLS: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_is_believed_by_the_anchors_of_the_request() {
    let authority = Authority::new();
    let pair = authority.issue(&[NAME, "127.0.0.1"], 30);
    let server = Server::tls(&pair, ok).await;
    let fetcher = fetcher();
    for host in [NAME, "127.0.0.1"] {
        for _ in 0..3 {
            let response = fetcher
                .fetch(request(&server, host, roots(&authority)))
                .await;
            assert_eq!(response.unwrap().status, 200);
        }
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_server_with_another_name_is_not_believed() {
    let authority = Authority::new();
    let server = Server::tls(&authority.issue(&[NAME], 30), ok).await;
    for host in ["b.example.com", "127.0.0.1"] {
        let refused = fetcher()
            .fetch(request(&server, host, roots(&authority)))
            .await;
        let reason = reason(refused);
        assert!(reason.contains("not valid for name"), "{reason}");
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_believed() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = Server::tls(&stranger.issue(&[NAME], 30), ok).await;
    let fetcher = fetcher();
    let trusted = fetcher
        .fetch(request(&server, NAME, roots(&stranger)))
        .await;
    assert!(trusted.is_ok());
    // The open connection is one of who trusts the stranger.
    let refused = fetcher
        .fetch(request(&server, NAME, roots(&authority)))
        .await;
    assert!(reason(refused).contains("of no authority that is trusted"));
}

#[tokio::test]
async fn anchors_that_are_none_are_refused() {
    let authority = Authority::new();
    let server = Server::tls(&authority.issue(&[NAME], 30), ok).await;
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (roots, why) in [
        ("", "no certificate among the trust anchors"),
        ("no PEM", "no certificate among the trust anchors"),
        (broken, "a trust anchor is no certificate"),
    ] {
        let refused = fetcher()
            .fetch(request(&server, NAME, Some(roots.into())))
            .await;
        let reason = reason(refused);
        assert!(reason.contains(why), "{reason}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_talked_to() {
    let server = Server::plain(|_| Reply::Close("HTTP/1.1 400 No\r\n\r\n".to_owned())).await;
    let authority = Authority::new();
    // It waits for the end of a head, which TLS has none of.
    let mut asked = request(&server, NAME, roots(&authority));
    asked.deadline = std::time::Duration::from_millis(300);
    let refused = fetcher().fetch(asked).await;
    assert!(
        matches!(
            refused,
            Err(FetchError::Tls { .. } | FetchError::TimedOut { .. })
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn who_trusts_anyone_asks_whoever_answers() {
    let authority = Authority::new();
    let server = Server::tls(&authority.issue(&["other.example.com"], 30), ok).await;
    let fetcher = fetcher();
    let mut asked = request(&server, NAME, None);
    asked.trust = Trust::Anyone;
    assert_eq!(fetcher.fetch(asked).await.unwrap().status, 200);
    // A connection to somebody who proved nothing is good for nobody who wants a proof.
    let careful = request(&server, NAME, roots(&authority));
    assert!(matches!(
        fetcher.fetch(careful).await,
        Err(FetchError::Tls { .. })
    ));
}
