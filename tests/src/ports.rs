//! Ports for servers that have to be told theirs, because others must know them before they start
//! or find them again after.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand;

/// Below the ports that systems take for outgoing connections: those of a busy test would be in
/// the way of a server that starts again.
const RANGE: Range<u16> = 10_000..32_000;

/// How many ports are tried.
const ATTEMPTS: u32 = 1_000;

/// A port of 127.0.0.1 that nobody listens at, for TCP or UDP. It is not given to anybody else in
/// this process.
///
/// # Panics
///
/// When none is found.
#[must_use]
#[track_caller]
pub fn free_port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    for _ in 0..ATTEMPTS {
        let port = draw();
        if is_free(port) && given.insert(port) {
            return port;
        }
    }
    panic!("found no free port in {ATTEMPTS} attempts");
}

fn draw() -> u16 {
    let mut bytes = [0; 4];
    rand::fill(&mut bytes).expect("the system has randomness");
    let among = u32::from(RANGE.end - RANGE.start);
    let place = u32::from_le_bytes(bytes) % among;
    RANGE.start + u16::try_from(place).expect("the remainder fits")
}

fn is_free(port: u16) -> bool {
    let place = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(place).is_ok() && UdpSocket::bind(place).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once_and_can_be_listened_at() {
        let (one, other) = (free_port(), free_port());
        assert_ne!(one, other);
        assert!(RANGE.contains(&one));
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, one)).unwrap();
        assert!(!is_free(one));
        assert!(is_free(other));
    }
}
