//! What directories of ACME look for on the plain port.

use super::*;

const TOKEN: &str = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";
const ANSWER_TEXT: &str = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0.9jg46WB3";

async fn edge(host: &'static str) -> (Edge, Instance) {
    let instance = Instance::polite().await;
    let mut house = instance.house();
    house.challenge = [host, TOKEN, ANSWER_TEXT];
    (Edge::plain(house).await, instance)
}

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

fn challenge(token: &str) -> String {
    format!("/.well-known/acme-challenge/{token}")
}

#[tokio::test]
async fn a_challenge_is_answered_for_hosts_that_nobody_serves() {
    for (host, written) in [
        ("new.test", "new.test"),
        ("new.test", "new.test:80"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "[2001:db8::1]:80"),
    ] {
        let (edge, instance) = edge(host).await;
        let answer = edge.ask(&get(written, &challenge(TOKEN))).await;
        assert_eq!(status(&answer), 200, "{written}: {answer}");
        assert!(
            answer.ends_with(&format!("\r\n\r\n{ANSWER_TEXT}")),
            "{answer}"
        );
        assert!(answer.contains("content-type: application/octet-stream\r\n"));
        assert!(answer.contains("cache-control: no-store\r\n"));
        assert!(instance.log().is_empty());
    }
}

#[tokio::test]
async fn a_challenge_of_the_house_comes_before_the_service() {
    let (edge, instance) = edge("a.test").await;
    let answer = edge.ask(&get("a.test", &challenge(TOKEN))).await;
    assert!(answer.ends_with(ANSWER_TEXT), "{answer}");
    assert!(instance.log().is_empty());
    let head = get("a.test", &challenge(TOKEN)).replace("GET", "HEAD");
    let answer = edge.ask(&head).await;
    assert_eq!(status(&answer), 200);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_challenge_of_somebody_else_is_left_to_the_service() {
    let (edge, instance) = edge("a.test").await;
    for path in [
        challenge("unknown"),
        challenge(&format!("{TOKEN}/")),
        challenge(&format!("{TOKEN}.")),
        challenge(""),
        format!("/.well-known/acme-challenge{TOKEN}"),
        format!("/a/.well-known/acme-challenge/{TOKEN}"),
    ] {
        let answer = edge.ask(&get("a.test", &path)).await;
        assert!(answer.ends_with("hello"), "{path}: {answer}");
    }
    let post = get("a.test", &challenge(TOKEN)).replace("GET", "POST");
    assert!(edge.ask(&post).await.ends_with("hello"));
    assert_eq!(instance.log().len(), 7);
    let answer = edge.ask(&get("unknown.test", &challenge("unknown"))).await;
    assert_eq!(status(&answer), 404);
}

#[tokio::test]
async fn a_query_does_not_hide_a_challenge() {
    let (edge, _instance) = edge("a.test").await;
    let path = format!("{}?cache=no", challenge(TOKEN));
    assert!(edge.ask(&get("a.test", &path)).await.ends_with(ANSWER_TEXT));
}

#[tokio::test]
async fn a_directory_that_was_sent_to_tls_is_answered_there() {
    let instance = Instance::polite().await;
    let mut house = instance.house();
    house.challenge = ["a.test", TOKEN, ANSWER_TEXT];
    let edge = Edge::secured(house, false).await;
    let answer = edge.ask(&get("a.test", &challenge(TOKEN))).await;
    assert!(answer.ends_with(ANSWER_TEXT), "{answer}");
}
