//! Connections that stay open between requests, for a while and up to a number.
//!
//! A connection is handed out again only for the same server under the same policy and the same
//! trust anchors as it was opened for.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use crate::{EgressPolicy, Trust};

/// Connections that wait for their next request.
const MOST_IDLE: usize = 64;
/// Those of one server.
const MOST_IDLE_OF_ONE: usize = 4;
/// How long they wait. Servers have little patience with silent connections, and names move.
const LONGEST_IDLE: Duration = Duration::from_secs(20);

/// What sends requests over a connection.
pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// What a connection is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) is_secure: bool,
    /// In lower case, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) policy: EgressPolicy,
    pub(crate) trust: Trust,
}

struct Idle {
    destination: Destination,
    sender: Sender,
    since: Instant,
}

/// The connections, the longest waiting first.
#[derive(Default)]
pub(crate) struct Pool(Mutex<VecDeque<Idle>>);

impl Pool {
    /// Takes the connection that was used last.
    pub(crate) fn take(&self, destination: &Destination) -> Option<Sender> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop_old(&mut idle);
        let last = idle
            .iter()
            .rposition(|idle| idle.destination == *destination)?;
        idle.remove(last).map(|idle| idle.sender)
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, destination: Destination, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop_old(&mut idle);
        let same = |idle: &Idle| idle.destination == destination;
        if idle.iter().filter(|idle| same(idle)).count() >= MOST_IDLE_OF_ONE {
            let first = idle.iter().position(same);
            first.map(|first| idle.remove(first));
        } else if idle.len() >= MOST_IDLE {
            idle.pop_front();
        }
        idle.push_back(Idle {
            destination,
            sender,
            since: Instant::now(),
        });
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pool").finish_non_exhaustive()
    }
}

fn drop_old(idle: &mut VecDeque<Idle>) {
    idle.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < LONGEST_IDLE);
}
