//! How many connections each peer has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Limits;

/// The peers of one listener.
#[derive(Clone)]
pub(super) struct Peers(Arc<Inner>);

struct Inner {
    open: Mutex<HashMap<IpAddr, usize>>,
    most: usize,
    most_from_loopback: usize,
}

impl Peers {
    pub(super) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Inner {
            open: Mutex::default(),
            most: limits.connections_per_peer,
            most_from_loopback: limits.connections_per_loopback_peer,
        }))
    }

    /// Counts a connection of this peer for as long as what is returned lives; `None` if it has
    /// enough of them.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Admission> {
        let address = address.to_canonical();
        let most = if address.is_loopback() {
            self.0.most_from_loopback
        } else {
            self.0.most
        };
        let peer = peer_of(address);
        let mut open = self.0.open();
        let count = open.entry(peer).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Admission {
            peers: self.clone(),
            peer,
        })
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // No code that can panic runs while the lock is held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Peers::admit`].
pub(super) struct Admission {
    peers: Peers,
    peer: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.peers.0.open();
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

/// The address that stands for all of a peer's.
fn peer_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) if !address.is_loopback() => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> Peers {
        Peers::new(&Limits {
            connections_per_peer: 2,
            connections_per_loopback_peer: 3,
            ..Limits::default()
        })
    }

    fn admit(peers: &Peers, address: &str) -> Option<Admission> {
        peers.admit(address.parse().unwrap())
    }

    #[test]
    fn a_peer_has_so_many_connections_and_gets_another_when_one_ends() {
        let peers = peers();
        let first = admit(&peers, "192.0.2.1");
        let second = admit(&peers, "::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(admit(&peers, "192.0.2.1").is_none());
        assert!(admit(&peers, "192.0.2.2").is_some());
        drop(first);
        assert!(admit(&peers, "192.0.2.1").is_some());
        drop(second);
        assert!(peers.0.open().is_empty());
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_peer() {
        let peers = peers();
        let _open = [
            admit(&peers, "2001:db8:0:1::1").unwrap(),
            admit(&peers, "2001:db8:0:1:ffff:ffff:ffff:ffff").unwrap(),
        ];
        assert!(admit(&peers, "2001:db8:0:1:8000::").is_none());
        assert!(admit(&peers, "2001:db8:0:2::1").is_some());
    }

    #[test]
    fn loopback_has_a_limit_of_its_own() {
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let peers = peers();
            let open: Vec<_> = (0..4).filter_map(|_| admit(&peers, address)).collect();
            assert_eq!(open.len(), 3, "{address}");
        }
    }
}
