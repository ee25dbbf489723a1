//! HTTP/2.

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

type Body = Full<Bytes>;

async fn connected(edge: &Edge) -> SendRequest<Body> {
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(sender: &mut SendRequest<Body>, request: Request<Body>) -> Response<Incoming> {
    let answer = timeout(DEADLINE, sender.send_request(request))
        .await
        .unwrap();
    answer.unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn get(uri: &str) -> http::request::Builder {
    Request::get(uri).version(Version::HTTP_2)
}

#[tokio::test]
async fn a_request_becomes_one_of_the_first_version_and_its_answer_comes_back() {
    let instance = Instance::answering(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
    )
    .await;
    let edge = Edge::secured(instance.house(), true).await;
    let mut sender = connected(&edge).await;
    for _ in 0..2 {
        let request = get("https://a.test/x?y")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("x-forwarded-for", "192.0.2.1");
        let answer = ask(&mut sender, request.body(Body::default()).unwrap()).await;
        assert_eq!(
            (answer.status().as_u16(), answer.version()),
            (200, Version::HTTP_2)
        );
        assert!(!answer.headers().contains_key("connection"));
        assert_eq!(text(answer).await, "hello");
    }
    let mut lines: Vec<_> = instance.log()[1]
        .trim_end()
        .lines()
        .map(str::to_owned)
        .collect();
    lines[1..].sort();
    assert_eq!(
        lines,
        [
            "GET /x?y HTTP/1.1",
            "cdn-loop: chancery",
            "cookie: a=1; b=2",
            "forwarded: for=127.0.0.1;host=a.test;proto=https",
            "host: a.test",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: a.test",
            "x-forwarded-proto: https",
        ]
    );
}

#[tokio::test]
async fn a_body_reaches_the_instance_with_its_length() {
    let instance = Instance::acting(|mut stream, _, log| async move {
        log.add(read_head(&mut stream).await);
        let mut body = [0; 5];
        stream.read_exact(&mut body).await.unwrap();
        log.add(String::from_utf8_lossy(&body));
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
    })
    .await;
    let edge = Edge::secured(instance.house(), true).await;
    let mut sender = connected(&edge).await;
    let request = Request::post("https://a.test/")
        .body(Body::from("hello"))
        .unwrap();
    assert_eq!(ask(&mut sender, request).await.status().as_u16(), 204);
    let log = instance.log();
    assert!(log[0].contains("content-length: 5\r\n"), "{log:?}");
    assert_eq!(log[1], "hello");
}

#[tokio::test]
async fn hosts_that_do_not_agree_or_are_not_served_here_are_refused() {
    let instance = Instance::polite().await;
    let edge = Edge::secured(instance.house(), true).await;
    let mut sender = connected(&edge).await;
    for (uri, host, expected) in [
        ("https://b.test/", None, 421),
        ("https://a.test/", Some("b.test"), 400),
        ("https://a.test:8444/", Some("A.test:8444"), 200),
    ] {
        let mut request = get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let answer = ask(&mut sender, request.body(Body::default()).unwrap()).await;
        assert_eq!(answer.status().as_u16(), expected, "{uri} {host:?}");
    }
    let mut request = get("https://a.test/");
    for _ in 0..101 {
        request = request.header("x", "a");
    }
    let answer = ask(&mut sender, request.body(Body::default()).unwrap()).await;
    assert_eq!(answer.status().as_u16(), 431);
}

#[tokio::test]
async fn many_requests_at_once_are_answered_each_with_its_own_answer() {
    let instance = Instance::acting(|mut stream, _, _| async move {
        loop {
            let head = read_head(&mut stream).await;
            let Some(path) = head.split(' ').nth(1) else {
                return;
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
                path.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let mut house = instance.house();
    house.settings.answer = DEADLINE;
    let edge = Edge::secured(house, true).await;
    let sender = connected(&edge).await;
    let asking: Vec<_> = (0..300)
        .map(|number| {
            let mut sender = sender.clone();
            tokio::spawn(async move {
                let request = get(&format!("https://a.test/{number}"));
                let answer = ask(&mut sender, request.body(Body::default()).unwrap()).await;
                assert_eq!(text(answer).await, format!("/{number}"));
            })
        })
        .collect();
    for asked in asking {
        asked.await.unwrap();
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET https://a.test/` in HPACK (RFC 7541).
const BLOCK: &[u8] = b"\x82\x87\x84\x01\x06a.test";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The reason with which the edge ends the connection, after these bytes were sent over and over.
async fn reason(edge: &Edge, first: &[u8], mut more: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let mut beginning = PREFACE.to_vec();
    beginning.extend(frame(4, 0, 0, &[]));
    beginning.extend(first);
    writing.write_all(&beginning).await.unwrap();
    let sending = tokio::spawn({
        let frames: Vec<_> = (0..20_000).map(|number| more(2 * number + 1)).collect();
        async move {
            for frame in frames {
                if writing.write_all(&frame).await.is_err() {
                    break;
                }
            }
            // Kept open: the edge is the one to end it.
            std::future::pending::<()>().await;
            drop(writing);
        }
    });
    let reason = timeout(DEADLINE, async {
        loop {
            let mut head = [0; 9];
            reading.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            reading.read_exact(&mut payload).await.unwrap();
            if head[3] == 7 {
                return u32::from_be_bytes(payload[4..8].try_into().unwrap());
            }
        }
    })
    .await
    .expect("the connection goes on");
    sending.abort();
    reason
}

const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test]
async fn a_client_that_resets_all_its_requests_is_sent_away() {
    let instance = Instance::polite().await;
    let edge = Edge::secured(instance.house(), true).await;
    let reason = reason(&edge, &[], |stream| {
        let mut frames = frame(1, 5, stream, BLOCK);
        frames.extend(frame(3, 0, stream, &8u32.to_be_bytes()));
        frames
    })
    .await;
    assert_eq!(reason, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn a_head_that_goes_on_for_ever_is_not_gathered() {
    let instance = Instance::polite().await;
    let edge = Edge::secured(instance.house(), true).await;
    let first = frame(1, 1, 1, BLOCK);
    let reason = reason(&edge, &first, |_| frame(9, 0, 1, b"\x00\x01x\x01y")).await;
    assert_eq!(reason, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn a_client_that_asks_for_nothing_is_not_waited_for() {
    let instance = Instance::polite().await;
    let mut house = instance.house();
    house.settings.head = Duration::from_millis(200);
    let edge = Edge::secured(house, true).await;
    let mut client = edge.connect().await;
    client.0.write_all(PREFACE).await.unwrap();
    let mut bytes = Vec::new();
    let read = timeout(DEADLINE, client.0.read_to_end(&mut bytes)).await;
    assert!(read.is_ok(), "the connection stays open");
}
