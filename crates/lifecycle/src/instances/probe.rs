//! Whether a workload accepts connections: a bounded number of short looks, remembered for a moment
//! so that lists cost nothing when they are asked for again and again.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::EgressPolicy;

/// How long one look takes at most.
const LOOK: Duration = Duration::from_secs(1);
/// How long all looks for one answer take at most; what was not looked at by then counts as not
/// running.
const ALL_LOOKS: Duration = Duration::from_secs(3);
/// How long an answer is remembered.
const MEMORY: Duration = Duration::from_secs(2);
/// Most looks at a time, over all answers.
const CONCURRENT: usize = 64;
/// Most host names that are being resolved at a time. The system cannot be stopped from resolving a
/// name, and takes a thread for each.
const RESOLVING: usize = 16;
/// Most answers that are remembered.
const REMEMBERED: usize = 4_096;

/// Where a workload should be listening.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Target {
    /// An IP address or a host name.
    pub(super) address: String,
    /// The port.
    pub(super) port: u16,
    /// Which addresses may be connected to.
    pub(super) policy: EgressPolicy,
}

/// What was seen of a target.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    is_running: bool,
}

/// Looks at targets. Clones share what they have seen.
#[derive(Debug, Clone)]
pub(super) struct Prober {
    permits: Arc<Semaphore>,
    resolvers: Arc<Semaphore>,
    seen: Arc<Mutex<HashMap<Target, Seen>>>,
}

impl Default for Prober {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(CONCURRENT)),
            resolvers: Arc::new(Semaphore::new(RESOLVING)),
            seen: Arc::default(),
        }
    }
}

impl Prober {
    /// Those of the targets that accept connections.
    pub(super) async fn running(&self, targets: HashSet<Target>) -> HashSet<Target> {
        let mut running = HashSet::new();
        let mut looks = JoinSet::new();
        for target in targets {
            match self.remembered(&target) {
                Some(true) => {
                    running.insert(target);
                }
                Some(false) => {}
                None => {
                    let prober = self.clone();
                    looks.spawn(async move { prober.look(target).await });
                }
            }
        }
        let deadline = Instant::now() + ALL_LOOKS;
        // What is still under way at the deadline is given up when the set is dropped.
        while let Ok(Some(look)) = timeout_at(deadline, looks.join_next()).await {
            if let Ok(Some(target)) = look {
                running.insert(target);
            }
        }
        running
    }

    /// The target, if it accepts connections.
    async fn look(&self, target: Target) -> Option<Target> {
        let _permit = self.permits.acquire().await.ok()?;
        let is_running = timeout(LOOK, self.accepts(&target)).await.unwrap_or(false);
        self.remember(target.clone(), is_running);
        is_running.then_some(target)
    }

    /// Whether any of the addresses that the target stands for, and that may be connected to,
    /// accepts.
    async fn accepts(&self, target: &Target) -> bool {
        let addresses = match target.address.parse() {
            Ok(address) => vec![address],
            Err(_) => self.resolve(target.address.clone()).await,
        };
        for address in addresses {
            let is_allowed = target.policy.check(address).is_ok();
            if is_allowed && TcpStream::connect((address, target.port)).await.is_ok() {
                return true;
            }
        }
        false
    }

    /// The addresses of a host name. Whoever asked may go; the name keeps its place until the system
    /// has answered.
    async fn resolve(&self, name: String) -> Vec<IpAddr> {
        let Ok(permit) = self.resolvers.clone().acquire_owned().await else {
            return Vec::new();
        };
        let resolution = tokio::spawn(async move {
            let found = lookup_host((name, 0)).await;
            drop(permit);
            Some(found.ok()?.map(|address| address.ip()).collect())
        });
        resolution.await.ok().flatten().unwrap_or_default()
    }

    fn remembered(&self, target: &Target) -> Option<bool> {
        let seen = self.seen().get(target).copied()?;
        (seen.at.elapsed() < MEMORY).then_some(seen.is_running)
    }

    fn remember(&self, target: Target, is_running: bool) {
        let at = Instant::now();
        let mut seen = self.seen();
        if seen.len() >= REMEMBERED {
            seen.retain(|_, seen| seen.at.elapsed() < MEMORY);
        }
        if seen.len() < REMEMBERED {
            seen.insert(target, Seen { at, is_running });
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Target, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn target(address: &str, port: u16, policy: EgressPolicy) -> Target {
        Target {
            address: address.to_owned(),
            port,
            policy,
        }
    }

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn what_listens_runs_and_what_does_not_is_stopped() {
        let (_listener, open) = listener().await;
        let (gone, closed) = listener().await;
        drop(gone);
        let policy = EgressPolicy::BACKENDS;
        let running = target("127.0.0.1", open, policy);
        let by_name = target("localhost", open, policy);
        let stopped = target("127.0.0.1", closed, policy);
        let unknown = target("no-such-host.invalid", open, policy);
        let all = [&running, &by_name, &stopped, &unknown].map(Clone::clone);
        let seen = Prober::default().running(HashSet::from(all)).await;
        assert_eq!(seen, HashSet::from([running, by_name]));
    }

    #[tokio::test]
    async fn nothing_is_connected_to_that_the_policy_forbids() {
        let (listener, port) = listener().await;
        let policy = EgressPolicy::BACKENDS.for_account(false);
        let targets = ["127.0.0.1", "localhost"].map(|address| target(address, port, policy));
        let seen = Prober::default().running(HashSet::from(targets)).await;
        assert!(seen.is_empty());
        let waiting = timeout(Duration::ZERO, listener.accept()).await;
        assert!(waiting.is_err(), "somebody connected");
    }

    #[tokio::test]
    async fn an_answer_is_remembered_for_a_moment() {
        let (listener, port) = listener().await;
        let prober = Prober::default();
        let running = target("127.0.0.1", port, EgressPolicy::BACKENDS);
        let all = HashSet::from([running]);
        assert_eq!(prober.running(all.clone()).await, all);
        drop(listener);
        assert_eq!(prober.running(all.clone()).await, all);
        for seen in prober.seen().values_mut() {
            seen.at -= MEMORY;
        }
        assert!(prober.running(all).await.is_empty());
    }

    #[tokio::test]
    async fn no_more_is_remembered_than_there_is_room_for() {
        let prober = Prober::default();
        for port in 1..=u16::try_from(REMEMBERED).unwrap() + 10 {
            prober.remember(target("10.0.0.1", port, EgressPolicy::BACKENDS), false);
        }
        assert_eq!(prober.seen().len(), REMEMBERED);
    }
}
