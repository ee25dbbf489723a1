//! Real peers for tests: PostgreSQL, openssl, curl, Chromium, Python clients, pkilint, testssl,
//! Pebble, Knot DNS, a directory with every fault, web servers to put behind the edge, and the built
//! `chancery` binary itself.
//!
//! Everything here blocks, and everything here panics with the whole story (command, output, log)
//! when a peer does not do what the test needs: a test has nothing better to do with such an
//! error. What it starts stops with the test process, also when that process is killed. Of
//! this workspace's crates it knows `pki` alone, so that any of them can use it in its tests.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test support: a panic is how a test fails"
)]

mod acme_site;
mod authority;
mod backend;
mod browser;
mod chancery;
mod cluster;
mod curl;
mod daemon;
mod deliverer;
pub mod directory;
mod edge;
pub mod http;
mod knot;
mod kraftcloud;
mod pebble;
pub mod pkilint;
mod ports;
mod postgres;
mod process;
mod python;
mod receiver;
mod terminator;
pub mod testssl;
mod tls;
mod watch;
mod workdir;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use acme_site::{AcmeSite, AcmeSiteOptions, acme_node, add_issuer};
pub use authority::{Authority, Pair, serial};
pub use backend::{Backend, Fault, Pattern, Tally};
pub use browser::{Browser, Visit};
pub use chancery::{Chancery, ChanceryOptions};
pub use cluster::Cluster;
pub use curl::{Curl, CurlAnswer};
pub use deliverer::{Deliverer, Delivery};
pub use directory::Directory;
pub use edge::served_serial;
pub use knot::{Knot, Zone};
pub use kraftcloud::KraftCloud;
pub use pebble::{Pebble, PebbleOptions};
pub use ports::free_port;
pub use postgres::Postgres;
pub use process::{Output, openssl, run, try_openssl, try_run};
pub use python::python_client;
pub use receiver::{Posted, Receiver};
pub use terminator::Terminator;
pub use tls::{TlsClient, TlsStream};
pub use watch::Watch;
pub use workdir::Workdir;

/// Calls `attempt` until it gives a value, and returns that value.
///
/// # Panics
///
/// Names `what` when `deadline` has passed without a value.
#[track_caller]
pub fn eventually<T>(deadline: Duration, what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    within(deadline, attempt).unwrap_or_else(|| panic!("after {deadline:?} still not: {what}"))
}

/// Calls `attempt` until it gives a value, or nothing more when `deadline` has passed.
pub fn within<T>(deadline: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        let value = attempt();
        if value.is_some() || started.elapsed() >= deadline {
            return value;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Sets a flag when it is dropped, so that threads which look at the flag also end when an assertion
/// fails.
pub struct OnDrop<'a>(pub &'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eventually_returns_the_first_value() {
        let mut attempts = 0;
        let value = eventually(Duration::from_secs(10), "the third attempt", || {
            attempts += 1;
            (attempts == 3).then_some(attempts)
        });
        assert_eq!(value, 3);
    }

    #[test]
    #[should_panic(expected = "still not: a thing that never comes")]
    fn eventually_gives_up_at_its_deadline() {
        eventually(Duration::ZERO, "a thing that never comes", || None::<()>);
    }
}
