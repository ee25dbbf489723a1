//! What instances get of requests, and which requests go where.

use super::*;

/// The one request that an instance got, in lines.
async fn forwarded(request: &str, is_secured: bool) -> Vec<String> {
    let instance = Instance::polite().await;
    let house = instance.house();
    let edge = if is_secured {
        Edge::secured(house, false).await
    } else {
        Edge::plain(house).await
    };
    let answer = edge.ask(request).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let log = instance.log();
    assert_eq!(log.len(), 1, "{log:?}");
    let mut lines: Vec<_> = log[0].trim_end().lines().map(str::to_owned).collect();
    lines[1..].sort();
    lines
}

#[tokio::test]
async fn an_instance_learns_who_asks_for_what() {
    let request = "GET /a%20b?c=d HTTP/1.1\r\nHost: A.Test:8444\r\nConnection: close, x-hop\r\n\
                   X-Hop: 1\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n\
                   X-Real-IP: 192.0.2.1\r\nAccept: */*\r\n\r\n";
    let lines = forwarded(request, true).await;
    assert_eq!(
        lines,
        [
            "GET /a%20b?c=d HTTP/1.1",
            "accept: */*",
            "cdn-loop: chancery",
            "forwarded: for=127.0.0.1;host=\"A.Test:8444\";proto=https",
            "host: A.Test:8444",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: A.Test:8444",
            "x-forwarded-proto: https",
        ]
    );
}

#[tokio::test]
async fn a_target_in_absolute_form_becomes_a_path() {
    let request = "GET http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let lines = forwarded(request, false).await;
    assert_eq!(lines[0], "GET /x?y HTTP/1.1");
    assert!(lines.contains(&"x-forwarded-proto: http".to_owned()));
}

#[tokio::test]
async fn a_client_of_the_old_version_is_answered_in_it() {
    let instance = Instance::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    let edge = Edge::plain(instance.house()).await;
    let answer = edge.ask("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(instance.log()[0].starts_with("GET / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn names_that_are_not_served_have_their_answers() {
    let instance = Instance::polite().await;
    let plain = Edge::plain(instance.house()).await;
    let secured = Edge::secured(instance.house(), false).await;
    for (edge, host, expected) in [
        (&plain, "b.test", 404),
        (&plain, "127.0.0.1", 404),
        (&plain, "[::1]:80", 404),
        (&plain, "a.test.", 200),
        (&plain, "A.TEST:99", 200),
        (&secured, "b.test", 421),
        (&secured, "127.0.0.1", 421),
        (&secured, "A.test.:443", 200),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = edge.ask(&request).await;
        assert_eq!(status(&answer), expected, "{host}: {answer}");
    }
}

#[tokio::test]
async fn another_domain_is_served_on_a_connection_only_with_the_same_certificate() {
    let certificate = |number: u128| format!("{number:032x}").parse().ok();
    let instance = Instance::polite().await;
    let mut house = instance.house();
    let ports = vec![published(443, instance.port, false)];
    for (domain, number) in [("a.test", 1), ("b.test", 1), ("c.test", 2)] {
        let mut route = route(["127.0.0.1"]);
        route.ports.clone_from(&ports);
        house.add(domain, route, certificate(number));
    }
    let edge = Edge::secured(house, false).await;
    for (host, expected) in [("a.test", 200), ("b.test", 200), ("c.test", 421)] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&edge.ask(&request).await), expected, "{host}");
    }
}

#[tokio::test]
async fn a_domain_that_its_service_lost_is_no_longer_served_on_connections_of_before() {
    let instance = Instance::polite().await;
    let edge = Edge::secured(instance.house(), false).await;
    let mut client = edge.connect().await;
    client.send(GET).await;
    assert_eq!(status(&client.answer().await.0), 200);
    edge.house.remove("a.test");
    client.send(GET).await;
    assert_eq!(status(&client.answer().await.0), 421);
}

#[tokio::test]
async fn a_port_that_the_service_does_not_publish_is_not_served() {
    let instance = Instance::polite().await;
    let mut house = instance.house();
    house.change(|route| route.ports.retain(|port| port.port == 443));
    let edge = Edge::plain(house).await;
    assert_eq!(status(&edge.ask(GET_AND_CLOSE).await), 404);
}

#[tokio::test]
async fn the_plain_port_redirects_except_for_validations() {
    let instance = Instance::polite().await;
    let mut house = instance.house();
    house.settings.https_port = 8444;
    house.change(|route| {
        route.ports = vec![published(80, 9, true), published(443, instance.port, false)];
    });
    let edge = Edge::plain(house).await;
    let mut client = edge.connect().await;
    client
        .send("POST /x?y=z HTTP/1.1\r\nHost: A.test:8081\r\nContent-Length: 0\r\n\r\n")
        .await;
    let (head, body) = client.answer().await;
    assert_eq!((status(&head), body.as_str()), (308, ""));
    assert!(
        head.contains("\r\nlocation: https://A.test:8444/x?y=z\r\n"),
        "{head}"
    );
    let path = "/.well-known/acme-challenge/token";
    client
        .send(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
        .await;
    let (head, body) = client.answer().await;
    assert_eq!((status(&head), body.as_str()), (200, "hello"));
    assert!(instance.log()[0].starts_with(&format!("GET {path} ")));
}

#[tokio::test]
async fn a_client_is_told_to_send_its_body_once_the_instance_wants_it() {
    let instance = Instance::acting(|mut stream, _, log| async move {
        log.add(read_head(&mut stream).await);
        stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .unwrap();
        let mut body = [0; 5];
        stream.read_exact(&mut body).await.unwrap();
        log.add(String::from_utf8_lossy(&body));
        stream
            .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
    })
    .await;
    let edge = Edge::plain(instance.house()).await;
    let mut client = edge.connect().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n")
        .await;
    assert_eq!(status(&read_head(&mut client.0).await), 100);
    client.send("hello").await;
    assert_eq!(status(&client.answer().await.0), 201);
    assert_eq!(instance.log()[1], "hello");
    assert!(instance.log()[0].contains("expect: 100-continue\r\n"));
}

#[tokio::test]
async fn a_client_whose_body_is_not_wanted_need_not_send_it() {
    let instance =
        Instance::answering("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await;
    let edge = Edge::plain(instance.house()).await;
    let request =
        "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n";
    let answer = edge.ask(request).await;
    assert_eq!(status(&answer), 413, "{answer}");
}

#[tokio::test]
async fn requests_of_one_connection_share_one_to_the_instance() {
    let connections = Arc::new(Mutex::new(0));
    let counted = connections.clone();
    let instance = Instance::acting(move |mut stream, number, _| {
        *counted.lock().unwrap() = number + 1;
        async move {
            while !read_head(&mut stream).await.is_empty() {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    let edge = Edge::plain(instance.house()).await;
    let mut client = edge.connect().await;
    for _ in 0..3 {
        client.send(GET).await;
        assert_eq!(client.answer().await.1, "hello");
    }
    // Also when they come at once.
    client.send(&format!("{GET}{GET}")).await;
    client.answer().await;
    client.answer().await;
    assert_eq!(status(&edge.ask(GET_AND_CLOSE).await), 200);
    assert_eq!(*connections.lock().unwrap(), 1);
}
