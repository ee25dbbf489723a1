//! Requests that are meant to be read in two ways, or to wear the edge out.

use super::*;

#[tokio::test]
async fn requests_that_can_be_read_in_two_ways_are_refused_and_end_the_connection() {
    let instance = Instance::polite().await;
    let edge = Edge::plain(instance.house()).await;
    let host = "Host: a.test\r\n";
    for (request, expected) in [
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            400,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
            ),
            400,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}transfer-encoding:chunked\r\ncontent-length:0\r\n\r\n0\r\n\r\n"
            ),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
            ),
            400,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host} Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            format!("POST / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 5, 6\r\n\r\nhello"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\nhello"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 0x5\r\n\r\nhello"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\nhello"),
            400,
        ),
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}Host: b.test\r\n\r\n"), 400),
        (format!("GET http://b.test/ HTTP/1.1\r\n{host}\r\n"), 400),
        ("GET / HTTP/1.1\r\nHost: user@a.test\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        (
            "GET a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n".into(),
            400,
        ),
        (
            "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n".into(),
            400,
        ),
        (format!("GET / HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}X: a\rb\r\n\r\n"), 400),
        (
            format!("GET / HTTP/1.1\r\n{host}X: a\r\n folded\r\n\r\n"),
            400,
        ),
        (format!("GET / HTTP/1.1\r\n{host}: a\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}X Y: a\r\n\r\n"), 400),
        (format!("GET  / HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET / HTTP/1.2\r\n{host}\r\n"), 400),
        (format!("GET / \r\n{host}\r\n"), 400),
        (format!("G\0T / HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /\x01 HTTP/1.1\r\n{host}\r\n"), 400),
        (
            format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: a\r\n".repeat(100)),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "a".repeat(70_000)),
            431,
        ),
    ] {
        // What was hidden must not come to anything either.
        let hidden = format!("{request}GET /hidden HTTP/1.1\r\n{host}\r\n");
        for request in [request, hidden] {
            let answer = edge.ask(&request).await;
            assert_eq!(status(&answer), expected, "{request:?}: {answer}");
            assert_eq!(
                answer.matches("HTTP/1.").count(),
                1,
                "{request:?}: {answer}"
            );
        }
    }
    assert_eq!(instance.log(), Vec::<String>::new());
}

#[tokio::test]
async fn a_bad_request_behind_a_good_one_is_refused_too() {
    let instance = Instance::polite().await;
    let edge = Edge::plain(instance.house()).await;
    let both = "POST /b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\
                Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = edge.ask(&format!("{GET}{both}{GET}")).await;
    let statuses: Vec<_> = answer
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| &answer[..3])
        .collect();
    assert_eq!(statuses, ["200", "400"], "{answer}");
    assert_eq!(instance.log().len(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_its_form_ends_the_request_and_the_connection() {
    for body in [
        "x\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "fffffffffffffffff\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
    ] {
        let instance = Instance::acting(|mut stream, _, _| async move {
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
        })
        .await;
        let edge = Edge::plain(instance.house()).await;
        let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = edge.ask(&format!("{head}{body}{GET}")).await;
        assert_eq!(status(&answer), 400, "{body:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_chunked_body_goes_on_as_one_that_ends_where_it_ends() {
    let instance = Instance::acting(|mut stream, _, log| async move {
        log.add(read_head(&mut stream).await);
        let mut body = Vec::new();
        while !body.ends_with(b"0\r\n\r\n") {
            body.push(stream.read_u8().await.unwrap());
        }
        log.add(String::from_utf8(body).unwrap());
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
    })
    .await;
    let edge = Edge::plain(instance.house()).await;
    // Also of a method that commonly has none.
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\
                   Connection: close\r\n\r\n5;ext=\"x\"\r\nhello\r\n0\r\nX-Trailer: Host\r\n\r\n";
    assert_eq!(status(&edge.ask(request).await), 200);
    let [head, body] = <[String; 2]>::try_from(instance.log()).unwrap();
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    assert!(!head.contains("content-length"), "{head}");
    assert_eq!(body, "5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test]
async fn trailers_cannot_say_what_only_the_edge_may_say() {
    let instance = Instance::acting(|mut stream, _, log| async move {
        read_head(&mut stream).await;
        let mut body = Vec::new();
        while !body.ends_with(b"\r\n\r\n") {
            body.push(stream.read_u8().await.unwrap());
        }
        log.add(String::from_utf8(body).unwrap());
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
    })
    .await;
    let edge = Edge::plain(instance.house()).await;
    let request = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\
                   TE: trailers\r\nTrailer: X-Sum, X-Forwarded-For, Content-Length\r\n\
                   Connection: close\r\n\r\n\
                   0\r\nX-Sum: 7\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(status(&edge.ask(request).await), 200);
    assert_eq!(instance.log(), ["0\r\nx-sum: 7\r\n\r\n"]);
}

#[tokio::test]
async fn a_head_that_never_ends_is_not_waited_for() {
    let instance = Instance::polite().await;
    let mut house = instance.house();
    house.settings.head = Duration::from_millis(200);
    let edge = Edge::plain(house).await;
    let mut client = edge.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for() {
    let instance = Instance::acting(|mut stream, _, _| async move {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
    })
    .await;
    let mut house = instance.house();
    house.settings.head = Duration::from_millis(200);
    house.settings.answer = DEADLINE;
    let edge = Edge::plain(house).await;
    let answer = edge
        .ask("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nhel")
        .await;
    assert_eq!(status(&answer), 408, "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let instance = Instance::acting(|mut stream, _, log| async move {
        read_head(&mut stream).await;
        log.add("asked");
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        log.add("left");
    })
    .await;
    let mut house = instance.house();
    house.settings.answer = DEADLINE;
    let edge = Edge::plain(house).await;
    let mut client = edge.connect().await;
    client.send(GET).await;
    until(|| instance.log().len() == 1).await;
    drop(client);
    until(|| instance.log().len() == 2).await;
}
