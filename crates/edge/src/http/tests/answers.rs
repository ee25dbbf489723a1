//! What clients get of answers.

use super::*;

async fn answered(request: &str, answer: &str) -> String {
    let instance = Instance::answering(answer).await;
    let edge = Edge::plain(instance.house()).await;
    edge.ask(request).await
}

#[tokio::test]
async fn fields_of_the_instances_connection_do_not_reach_the_client() {
    let answer = "HTTP/1.1 203 Fine\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\n\
                  Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-Kept: 2\r\n\
                  Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n";
    let answer = answered(GET_AND_CLOSE, answer).await;
    assert_eq!(status(&answer), 203);
    for field in ["x-hop", "keep-alive", "proxy-authenticate"] {
        assert!(!answer.contains(field), "{answer}");
    }
    for field in [
        "x-kept: 2\r\n",
        "set-cookie: a=1\r\n",
        "set-cookie: b=2\r\n",
    ] {
        assert!(answer.contains(field), "{answer}");
    }
}

#[tokio::test]
async fn an_answer_to_head_keeps_its_length_and_has_no_body() {
    let head = "HEAD / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let answer = answered(head, "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n").await;
    assert!(answer.contains("content-length: 1234\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_usable() {
    for answer in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let instance = Instance::answering(answer).await;
        let edge = Edge::plain(instance.house()).await;
        let mut client = edge.connect().await;
        for _ in 0..2 {
            client.send(GET).await;
            assert_eq!(status(&client.answer().await.0), status(answer));
        }
        assert_eq!(instance.log().len(), 2);
    }
}

#[tokio::test]
async fn chunks_and_their_trailers_pass() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                  5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n";
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: close, te\r\n\r\n";
    let answer = answered(request, answer).await;
    let expected = "\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n";
    assert!(answer.ends_with(expected), "{answer}");
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_passed_in_chunks() {
    let instance = Instance::acting(|mut stream, _, _| async move {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.0 200 OK\r\n\r\nhello")
            .await
            .unwrap();
    })
    .await;
    let edge = Edge::plain(instance.house()).await;
    let mut client = edge.connect().await;
    for _ in 0..2 {
        client.send(GET).await;
        let head = read_head(&mut client.0).await;
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        let mut body = [0; 15];
        client.0.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"5\r\nhello\r\n0\r\n\r\n");
    }
}

#[tokio::test]
async fn informational_answers_before_the_answer_are_not_taken_for_it() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                  HTTP/1.1 102 Processing\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let answer = answered(GET_AND_CLOSE, answer).await;
    assert_eq!(status(&answer), 200);
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}

#[tokio::test]
async fn an_answer_never_has_two_lengths() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
                  5\r\nhello\r\n0\r\n\r\n";
    let answer = answered(GET_AND_CLOSE, answer).await;
    assert!(answer.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{answer}");
    assert!(!answer.contains("content-length"), "{answer}");
}
