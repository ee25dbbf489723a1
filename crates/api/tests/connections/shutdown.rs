//! A shutdown waits for work, not for peers.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use crate::support::Server;
use crate::{LONG, ask, ask_without_reading, assert_closes, connect};

#[test]
fn connections_without_a_request_end_at_once() {
    let mut server = Server::with(|options| options.limits.listener.drain = 4 * LONG);
    let mut fresh = connect(&server);
    let mut idle = connect(&server);
    assert!(ask(&mut idle));
    server.ask_to_stop();
    assert_closes(&mut idle);
    assert_closes(&mut fresh);
    assert!(server.stops_within(LONG));
}

#[test]
fn peers_that_read_nothing_hold_a_shutdown_up_no_longer_than_it_may_take() {
    let mut server = Server::with(|options| {
        options.limits.listener.write = 10 * LONG;
        options.limits.listener.drain = Duration::from_millis(300);
    });
    let mut stream = connect(&server);
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let error = ask_without_reading(&mut stream);
    assert!(
        matches!(error, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
    server.ask_to_stop();
    assert!(server.stops_within(LONG));
}

#[test]
fn a_request_in_flight_is_answered() {
    let mut server = Server::start();
    let mut stream = connect(&server);
    let head = format!(
        "POST /chancery/v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        server.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 12];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100");
    server.ask_to_stop();
    stream.write_all(b"{}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
    assert!(server.stops_within(LONG));
}
