//! Connections that change to another protocol.

use super::*;

const SOCKET: &str = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                      Sec-WebSocket-Version: 13\r\n\r\n";

/// An instance that changes to the protocol and sends back what it gets.
async fn echoing() -> Instance {
    Instance::acting(|mut stream, _, log| async move {
        log.add(read_head(&mut stream).await);
        // The first bytes of the other protocol come with the answer.
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                       Upgrade: WebSocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello";
        stream.write_all(answer).await.unwrap();
        let (mut reading, mut writing) = stream.split();
        let _ = tokio::io::copy(&mut reading, &mut writing).await;
        log.add("ended");
    })
    .await
}

async fn opened(edge: &Edge) -> Client {
    let mut client = edge.connect().await;
    client.send(SOCKET).await;
    let (head, _) = client.answer().await;
    assert_eq!(status(&head), 101, "{head}");
    assert!(head.contains("upgrade: WebSocket\r\n"), "{head}");
    assert!(head.contains("connection: upgrade\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept: x\r\n"), "{head}");
    let mut hello = [0; 5];
    client.0.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");
    client
}

#[tokio::test]
async fn what_either_side_says_after_the_change_reaches_the_other() {
    let instance = echoing().await;
    let edge = Edge::plain(instance.house()).await;
    let mut client = opened(&edge).await;
    let log = instance.log();
    assert!(log[0].contains("upgrade: websocket\r\n"), "{log:?}");
    assert!(log[0].contains("connection: upgrade\r\n"), "{log:?}");
    assert!(log[0].contains("sec-websocket-key: "), "{log:?}");
    for length in [1, 1000, 200_000] {
        // Also what looks like a request that would be refused.
        let text = "Content-Length: 5\nTransfer-Encoding: chunked\n\n".repeat(length / 40 + 1);
        let (mut reading, mut writing) = client.0.split();
        let mut echo = vec![0; text.len()];
        let (written, read) = timeout(DEADLINE, async {
            tokio::join!(
                writing.write_all(text.as_bytes()),
                reading.read_exact(&mut echo)
            )
        })
        .await
        .unwrap();
        written.unwrap();
        read.unwrap();
        assert_eq!(String::from_utf8(echo).unwrap(), text);
    }
    drop(client);
    until(|| instance.log().contains(&"ended".to_owned())).await;
    edge.drained().await;
}

#[tokio::test]
async fn an_instance_may_answer_without_a_change_and_then_the_connection_ends() {
    let instance = Instance::polite().await;
    let edge = Edge::plain(instance.house()).await;
    let mut client = edge.connect().await;
    client.send(&format!("{SOCKET}{GET}")).await;
    let answer = client.rest().await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(instance.log().len(), 1);
}

#[tokio::test]
async fn nobody_gets_to_speak_http2_in_clear_text_through_the_edge() {
    let instance = Instance::answering(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    )
    .await;
    let edge = Edge::plain(instance.house()).await;
    for upgrade in ["h2c", "websocket, h2c"] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        );
        let answer = edge.ask(&request).await;
        assert_eq!(status(&answer), 502, "{answer}");
    }
    for head in instance.log() {
        assert!(
            !head.contains("upgrade") && !head.contains("http2-settings"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn an_instance_cannot_choose_a_protocol_that_was_not_asked_for() {
    let instance = Instance::answering(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
    )
    .await;
    let edge = Edge::plain(instance.house()).await;
    let answer = edge.ask(SOCKET).await;
    assert_eq!(status(&answer), 502, "{answer}");
}

#[tokio::test]
async fn an_instance_that_does_not_answer_is_given_up() {
    let instance = Instance::acting(|stream, _, _| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let mut house = instance.house();
    house.settings.answer = ANSWER;
    let edge = Edge::plain(house).await;
    assert_eq!(status(&edge.ask(SOCKET).await), 504);
    let refusing = Edge::plain(House::new(["127.0.0.2"], instance.port)).await;
    assert_eq!(status(&refusing.ask(SOCKET).await), 502);
}

#[tokio::test]
async fn a_changed_connection_counts_for_its_instance_and_ends_with_the_edge() {
    let instance = echoing().await;
    let mut house = instance.house();
    house.change(|route| route.hard_limit = 1);
    let edge = Edge::plain(house).await;
    let mut client = opened(&edge).await;
    assert_eq!(status(&edge.ask(GET_AND_CLOSE).await), 503);
    edge.shutdown.send(true).unwrap();
    assert_eq!(client.rest().await, "");
    edge.drained().await;
}

#[tokio::test]
async fn a_changed_connection_on_which_nothing_goes_on_ends() {
    let instance = echoing().await;
    let mut house = instance.house();
    house.settings.limits.idle = Duration::from_secs(2);
    let edge = Edge::plain(house).await;
    let mut client = opened(&edge).await;
    assert_eq!(client.rest().await, "");
}
