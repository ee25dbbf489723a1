//! What clients may take of a process.

use std::time::Duration;

/// How many clients are served, and how long a slow one is waited for. The defaults suit a server
/// that is open to the world.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of one listener.
    pub listener: listener::Limits,
    /// Longest time for the head of a request; also how long an idle HTTP/1.1 connection is kept.
    pub head: Duration,
    /// Longest time that a client may take to send a body.
    pub body: Duration,
    /// Memory for the longer bodies of all requests together, in octets.
    pub bodies: usize,
    /// How long a request with a longer body waits for a share of that memory.
    pub body_room: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            listener: listener::Limits::default(),
            head: Duration::from_secs(30),
            body: Duration::from_secs(60),
            bodies: 256 * 1024 * 1024,
            body_room: Duration::from_secs(10),
        }
    }
}
