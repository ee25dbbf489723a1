//! What clients may take of a listener.

use std::time::Duration;

/// How many connections there may be, and how long a slow peer is waited for. The defaults suit a
/// listener that is open to the world.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at a time on one listener; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Connections open at a time from one address, or from one network of 64 bits where addresses
    /// are IPv6: a host has as many of those addresses as it likes. Further ones are closed at once.
    pub connections_per_peer: usize,
    /// The same for a loopback address. Who connects from there is a proxy, which speaks for many
    /// clients, or a program of the operator.
    pub connections_per_loopback_peer: usize,
    /// Longest time for a TLS handshake.
    pub handshake: Duration,
    /// Longest time that a client may accept nothing of what is written to it.
    pub write: Duration,
    /// How long a connection is kept on which nothing goes on. HTTP/2 peers can be silent for good
    /// and answer every ping.
    pub idle: Duration,
    /// How long what is in flight may go on after a shutdown was asked for.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8_192,
            connections_per_peer: 1_024,
            connections_per_loopback_peer: 8_192,
            handshake: Duration::from_secs(10),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(5 * 60),
            drain: Duration::from_secs(30),
        }
    }
}
