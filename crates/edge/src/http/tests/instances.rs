//! Instances that fail, each in its own way.

use super::*;

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn an_instance_that_fails_is_answered_for() {
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(100_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: a\r\n".repeat(101));
    for (answer, expected) in [
        ("", 502),
        ("garbage\r\n\r\n", 502),
        ("HTTP/1.1 200", 502),
        ("HTTP/3.0 200 OK\r\n\r\n", 502),
        ("SSH-2.0-OpenSSH_9.2\r\n", 502),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            502,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello", 502),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            502,
        ),
        ("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", 502),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            502,
        ),
        (&endless, 502),
        (&many, 502),
    ] {
        let bytes = answer.to_owned();
        let instance = Instance::acting(move |mut stream, _, _| {
            let bytes = bytes.clone();
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(bytes.as_bytes()).await;
            }
        })
        .await;
        let edge = Edge::plain(instance.house()).await;
        let page = edge.ask(GET_AND_CLOSE).await;
        let start = answer.get(..60).unwrap_or(answer);
        assert_eq!(status(&page), expected, "{start:?}: {page}");
        assert!(page.contains("The instance broke off."), "{page}");
        assert!(!page.contains("127.0.0.1"), "{page}");
    }
}

#[tokio::test]
async fn an_instance_that_says_nothing_is_given_up() {
    let instance = Instance::acting(|stream, _, _| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let mut house = instance.house();
    house.settings.answer = ANSWER;
    let edge = Edge::plain(house).await;
    let answer = edge.ask(GET_AND_CLOSE).await;
    assert_eq!(status(&answer), 504, "{answer}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_made_to_look_whole() {
    for head in [
        "Content-Length: 10\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let instance = Instance::acting(move |mut stream, _, _| async move {
            read_head(&mut stream).await;
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes())
                .await
                .unwrap();
        })
        .await;
        let edge = Edge::plain(instance.house()).await;
        let answer = edge.ask(GET).await;
        assert_eq!(status(&answer), 200);
        assert!(answer.contains("hello"), "{answer}");
        assert!(!answer.contains("0\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_service_without_an_instance_or_with_none_that_is_there_says_which() {
    let none = Edge::plain(House::new([], 80)).await;
    let answer = none.ask(GET_AND_CLOSE).await;
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("The service has no instance."), "{answer}");
    let port = Instance::polite().await.port;
    let refusing = Edge::plain(House::new(["127.0.0.3", "127.0.0.2"], port)).await;
    let request =
        "GET / HTTP/1.1\r\nHost: a.test\r\nAccept: text/html\r\nConnection: close\r\n\r\n";
    let answer = refusing.ask(request).await;
    assert_eq!(status(&answer), 502);
    assert!(
        answer.contains("<p>No instance accepted the connection.</p>"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_request_goes_to_the_next_instance_when_one_refuses() {
    let instance = Instance::polite().await;
    let edge = Edge::plain(House::new(["127.0.0.2", "127.0.0.1"], instance.port)).await;
    for method in ["GET", "POST", "DELETE"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(status(&edge.ask(&request).await), 200, "{method}");
    }
}

#[tokio::test]
async fn instances_take_turns_with_requests() {
    let first = Instance::polite().await;
    let second = Instance::at(
        &format!("127.0.0.2:{}", first.port),
        |mut stream, _, log| async move {
            while !read_head(&mut stream).await.is_empty() {
                log.add("asked");
                stream.write_all(HELLO).await.unwrap();
            }
        },
    )
    .await;
    let edge = Edge::plain(House::new(["127.0.0.1", "127.0.0.2"], first.port)).await;
    let mut client = edge.connect().await;
    for _ in 0..6 {
        client.send(GET).await;
        client.answer().await;
    }
    assert_eq!((first.log().len(), second.log().len()), (3, 3));
}

#[tokio::test]
async fn no_more_requests_than_the_limit_reach_an_instance_at_a_time() {
    let instance = Instance::acting(|mut stream, _, log| async move {
        log.add(read_head(&mut stream).await);
        if log.0.lock().unwrap().len() == 1 {
            until(|| log.0.lock().unwrap().iter().any(|entry| entry == "go on")).await;
        }
        let _ = stream.write_all(HELLO).await;
    })
    .await;
    let mut house = instance.house();
    house.settings.answer = DEADLINE;
    house.change(|route| route.hard_limit = 1);
    let edge = Edge::plain(house).await;
    let mut first = edge.connect().await;
    first.send(GET).await;
    until(|| instance.log().len() == 1).await;
    let answer = edge.ask(GET_AND_CLOSE).await;
    assert_eq!(status(&answer), 503);
    assert!(
        answer.contains("All instances are at their limit."),
        "{answer}"
    );
    Log(instance.log.clone()).add("go on");
    assert_eq!(first.answer().await.1, "hello");
    assert_eq!(status(&edge.ask(GET_AND_CLOSE).await), 200);
}

/// An instance that answers one request on each connection and then, when the next request is
/// there, closes it without a word.
async fn forgetful() -> Instance {
    Instance::acting(|mut stream, _, log| async move {
        log.add(read_head(&mut stream).await);
        stream.write_all(HELLO).await.unwrap();
        log.add(format!("again {}", read_head(&mut stream).await));
    })
    .await
}

#[tokio::test]
async fn a_request_that_may_be_repeated_is_when_a_kept_connection_ends() {
    let instance = forgetful().await;
    let edge = Edge::plain(instance.house()).await;
    let mut client = edge.connect().await;
    for _ in 0..2 {
        client.send(GET).await;
        assert_eq!(client.answer().await.1, "hello");
    }
    let log = instance.log();
    assert_eq!(log.len(), 3, "{log:?}");
    assert!(log[1].starts_with("again GET"), "{log:?}");
}

#[tokio::test]
async fn a_request_that_may_not_be_repeated_is_not() {
    let instance = forgetful().await;
    let edge = Edge::plain(instance.house()).await;
    let mut client = edge.connect().await;
    client.send(GET).await;
    client.answer().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(status(&client.answer().await.0), 502);
    assert_eq!(
        instance
            .log()
            .iter()
            .filter(|entry| entry.contains("POST"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_connection_that_the_instance_closed_is_not_used_again() {
    let instance = Instance::acting(|mut stream, _, log| async move {
        read_head(&mut stream).await;
        stream.write_all(HELLO).await.unwrap();
        drop(stream);
        log.add("closed");
    })
    .await;
    let edge = Edge::plain(instance.house()).await;
    let mut client = edge.connect().await;
    for count in 1..4 {
        client
            .send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(client.answer().await.1, "hello");
        until(|| instance.log().len() == count).await;
    }
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_are_never_taken_for_an_answer() {
    let instance = Instance::acting(|mut stream, number, log| async move {
        read_head(&mut stream).await;
        stream.write_all(HELLO).await.unwrap();
        if number == 0 {
            let forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
            stream.write_all(forged).await.unwrap();
            log.add("forged");
        }
        read_head(&mut stream).await;
    })
    .await;
    let edge = Edge::plain(instance.house()).await;
    let mut client = edge.connect().await;
    client.send(GET).await;
    client.answer().await;
    until(|| instance.log().len() == 1).await;
    client.send(GET).await;
    assert_eq!(client.answer().await.1, "hello");
}

#[tokio::test]
async fn a_failing_service_does_not_touch_another() {
    let hanging = Instance::acting(|stream, _, _| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let polite = Instance::polite().await;
    let mut house = hanging.house();
    house.settings.answer = DEADLINE;
    let mut route = route(["127.0.0.1"]);
    route.service = service_id(2);
    route.ports = vec![published(80, polite.port, false)];
    house.add("b.test", route, None);
    let edge = Edge::plain(house).await;
    let mut stuck = Vec::new();
    for _ in 0..50 {
        let mut client = edge.connect().await;
        client.send(GET).await;
        stuck.push(client);
    }
    let request = "GET / HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&edge.ask(request).await), 200);
}

#[tokio::test]
async fn a_service_whose_instance_is_the_edge_goes_round_a_few_times_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut house = House::new(["127.0.0.1"], port);
    house.settings.answer = DEADLINE;
    let edge = Edge::start_on(listener, house, Entrance::Http, None);
    let answer = edge.ask(GET_AND_CLOSE).await;
    assert_eq!(status(&answer), 508, "{answer}");
    assert_eq!(edge.tasks.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn connections_are_kept_only_while_the_instance_is_in_the_service() {
    let instance = Instance::acting(|mut stream, _, log| async move {
        while !read_head(&mut stream).await.is_empty() {
            stream.write_all(HELLO).await.unwrap();
        }
        log.add("closed");
    })
    .await;
    let edge = Edge::plain(instance.house()).await;
    assert_eq!(status(&edge.ask(GET_AND_CLOSE).await), 200);
    let service = edge.house.services[&service_id(1)].clone();
    let kept = service.candidates().next().unwrap().instance().clone();
    assert_eq!(kept.idle.count(), 1);
    assert_eq!(instance.log().len(), 0);
    // As when the house takes the instance out: nothing else refers to it then.
    let Ok(idle) = kept.idle.take(instance.port).ok_or("none") else {
        panic!("no connection was kept");
    };
    drop(idle);
    until(|| instance.log().len() == 1).await;
}
