//! Bodies without end, and readers that do not read.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// More than sockets and the edge may hold for one body.
const PLENTY: u64 = 64 * 1024 * 1024;

/// Waits until a count stands still, while everybody else has turns.
async fn stands_still(count: &AtomicU64) -> u64 {
    let mut before = u64::MAX;
    loop {
        let now = count.load(Ordering::Relaxed);
        if now == before && now > 0 {
            return now;
        }
        before = now;
        for _ in 0..20_000 {
            tokio::task::yield_now().await;
        }
    }
}

async fn pour(stream: &mut TcpStream, mut left: u64, count: &AtomicU64) {
    let part = vec![b'x'; 64 * 1024];
    while left > 0 {
        let length = part.len().min(usize::try_from(left).unwrap());
        if stream.write_all(&part[..length]).await.is_err() {
            return;
        }
        left -= length as u64;
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
}

async fn drain(stream: &mut TcpStream, mut left: u64) {
    let mut part = vec![0; 64 * 1024];
    while left > 0 {
        let read = timeout(DEADLINE, stream.read(&mut part))
            .await
            .unwrap()
            .unwrap();
        assert!(read > 0, "{left} octets are missing");
        left = left
            .checked_sub(read as u64)
            .expect("more came than was sent");
    }
}

#[tokio::test]
async fn an_instance_is_held_back_by_a_client_that_does_not_read() {
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    let instance = Instance::acting(move |mut stream, _, _| {
        let count = count.clone();
        async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PLENTY}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            pour(&mut stream, PLENTY, &count).await;
        }
    })
    .await;
    let edge = Edge::plain(instance.house()).await;
    let mut client = edge.connect().await;
    client.send(GET).await;
    let held = stands_still(&sent).await;
    // What lies in the buffers of four sockets.
    assert!(held < PLENTY / 2, "{held} octets went out to nobody");
    read_head(&mut client.0).await;
    drain(&mut client.0, PLENTY).await;
    assert_eq!(sent.load(Ordering::Relaxed), PLENTY);
}

#[tokio::test]
async fn a_client_is_held_back_by_an_instance_that_does_not_read() {
    let (go, gone) = watch::channel(false);
    let instance = Instance::acting(move |mut stream, _, _| {
        let mut gone = gone.clone();
        async move {
            read_head(&mut stream).await;
            let _ = gone.wait_for(|gone| *gone).await;
            drain(&mut stream, PLENTY).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await
                .unwrap();
        }
    })
    .await;
    let mut house = instance.house();
    house.settings.answer = DEADLINE;
    let edge = Edge::plain(house).await;
    let mut client = edge.connect().await;
    let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {PLENTY}\r\n\r\n");
    client.send(&head).await;
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    let pouring = tokio::spawn(async move {
        pour(&mut client.0, PLENTY, &count).await;
        client
    });
    let held = stands_still(&sent).await;
    assert!(held < PLENTY / 2, "{held} octets were taken for nobody");
    go.send(true).unwrap();
    let mut client = pouring.await.unwrap();
    assert_eq!(status(&client.answer().await.0), 200);
}

#[tokio::test]
async fn an_answer_reaches_a_client_that_sends_all_of_its_body_first() {
    let edge = Edge::plain(House::new([], 80)).await;
    for (fields, expected) in [
        ("Host: a.test\r\n", 503),
        ("Host: b.test\r\n", 404),
        ("Host: a.test\r\nTransfer-Encoding: chunked\r\n", 400),
    ] {
        let mut client = edge.connect().await;
        let request = format!("POST / HTTP/1.1\r\n{fields}Content-Length: {PLENTY}\r\n\r\n");
        client.send(&request).await;
        let sent = AtomicU64::new(0);
        pour(&mut client.0, PLENTY, &sent).await;
        assert_eq!(sent.load(Ordering::Relaxed), PLENTY, "{fields:?}");
        assert_eq!(status(&client.rest().await), expected, "{fields:?}");
    }
}

#[tokio::test]
async fn bodies_go_both_ways_at_once() {
    let instance = Instance::acting(|mut stream, _, _| async move {
        read_head(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PLENTY}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.split();
        let mut reading = (&mut reading).take(PLENTY);
        tokio::io::copy(&mut reading, &mut writing).await.unwrap();
    })
    .await;
    let edge = Edge::plain(instance.house()).await;
    let mut client = edge.connect().await;
    let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {PLENTY}\r\n\r\n");
    client.send(&head).await;
    client.send("x").await;
    read_head(&mut client.0).await;
    let (mut reading, mut writing) = client.0.into_split();
    let writing = tokio::spawn(async move {
        let part = vec![b'x'; 64 * 1024];
        let mut left = usize::try_from(PLENTY).unwrap() - 1;
        while left > 0 {
            let length = part.len().min(left);
            writing.write_all(&part[..length]).await.unwrap();
            left -= length;
        }
        writing
    });
    let mut echoed = 0;
    let mut part = vec![0; 64 * 1024];
    while echoed < PLENTY {
        let read = timeout(DEADLINE, reading.read(&mut part))
            .await
            .unwrap()
            .unwrap();
        assert!(read > 0, "the answer broke off after {echoed} octets");
        echoed += read as u64;
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn each_part_of_an_answer_arrives_as_it_is_sent() {
    let (go, gone) = watch::channel(0);
    let instance = Instance::acting(move |mut stream, _, _| {
        let mut gone = gone.clone();
        async move {
            read_head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
                .await
                .unwrap();
            for count in 1..3 {
                let _ = gone.wait_for(|gone| *gone >= count).await;
                stream.write_all(b"x").await.unwrap();
            }
        }
    })
    .await;
    let edge = Edge::plain(instance.house()).await;
    let mut client = edge.connect().await;
    client.send(GET).await;
    read_head(&mut client.0).await;
    for count in 1..3 {
        go.send(count).unwrap();
        let byte = timeout(DEADLINE, client.0.read_u8()).await.unwrap();
        assert_eq!(byte.unwrap(), b'x');
    }
}

#[tokio::test]
async fn a_shutdown_lets_requests_finish_and_ends_connections_that_want_nothing() {
    let (go, gone) = watch::channel(false);
    let instance = Instance::acting(move |mut stream, _, log| {
        let mut gone = gone.clone();
        async move {
            log.add(read_head(&mut stream).await);
            let _ = gone.wait_for(|gone| *gone).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
                .await
                .unwrap();
        }
    })
    .await;
    let mut house = instance.house();
    house.settings.answer = DEADLINE;
    let edge = Edge::plain(house).await;
    let mut idle = edge.connect().await;
    let mut asking = edge.connect().await;
    asking.send(GET).await;
    until(|| instance.log().len() == 1).await;
    edge.shutdown.send(true).unwrap();
    assert_eq!(idle.rest().await, "");
    go.send(true).unwrap();
    assert!(asking.rest().await.ends_with("hello"));
    edge.drained().await;
}
