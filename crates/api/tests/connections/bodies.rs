//! Long bodies share an amount of memory; short ones need none of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::Server;
use crate::{LONG, connect};

const LENGTH: usize = 900 * 1024;

/// A server with room for one body of this length.
fn server() -> Server {
    Server::with(|options| {
        options.limits.bodies = 1024 * 1024;
        options.limits.body_room = Duration::from_millis(200);
    })
}

/// Begins an upload.
fn begin(server: &Server, framing: &str) -> TcpStream {
    let mut stream = connect(server);
    let head = format!(
        "POST /chancery/v1/certificates/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         {framing}\r\nExpect: 100-continue\r\n\r\n",
        server.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// Sends a body of [`LENGTH`] that makes no sense. Its status, and what was wrong with it.
fn upload(server: &Server, path: &str) -> (u16, serde_json::Value) {
    let bearer = format!("Bearer {}", server.token);
    let body = vec![b' '; LENGTH];
    let answer = server.send("POST", path, &[("Authorization", &bearer)], body);
    (answer.status, answer.json())
}

#[test]
fn long_bodies_wait_for_room_and_are_refused_when_there_is_none_for_long() {
    let server = server();
    let held = begin(&server, &format!("Content-Length: {LENGTH}"));

    let (status, problem) = upload(&server, "/chancery/v1/certificates/upload");
    assert_eq!((status, &problem["status"]), (503, &503.into()));
    let (status, envelope) = upload(&server, "/v1/certificates");
    assert_eq!((status, &envelope["status"]), (503, &"error".into()));

    let bearer = format!("Bearer {}", server.token);
    let headers = [("Authorization", bearer.as_str())];
    let short = server.send("POST", "/chancery/v1/tokens", &headers, "{}");
    assert_eq!(short.status, 200, "{}", short.text());

    drop(held);
    let deadline = Instant::now() + LONG;
    while upload(&server, "/v1/certificates").0 == 503 {
        assert!(Instant::now() < deadline, "the room was not given back");
    }
}

#[test]
fn a_body_of_unknown_length_takes_room_once_it_is_long() {
    let server = server();
    let mut held = begin(&server, "Transfer-Encoding: chunked");
    let path = "/chancery/v1/certificates/upload";
    assert_eq!(upload(&server, path).0, 400);
    held.write_all(b"20000\r\n").unwrap();
    held.write_all(&[b' '; 0x20000]).unwrap();
    let deadline = Instant::now() + LONG;
    while upload(&server, path).0 != 503 {
        assert!(Instant::now() < deadline, "the body takes no room");
    }
}

#[test]
fn a_body_that_does_not_arrive_is_not_waited_for_for_long() {
    let server = Server::with(|options| options.limits.body = Duration::from_millis(200));
    let mut stream = begin(&server, "Content-Length: 2");
    stream.write_all(b"{").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}
