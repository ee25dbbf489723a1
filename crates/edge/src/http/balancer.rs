//! Which instance of a service takes the next connection or request.
//!
//! Instances take turns. One that has as many connections as the service's soft limit is passed
//! over while another has fewer; one at the hard limit takes none. An instance that lately could
//! not be reached is asked last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use lifecycle::{InstanceId, Route};
use tokio::time::Instant;

use super::connect::Addresses;
use super::pool::IdleConnections;

/// How long an instance that could not be reached is asked last.
const REST: Duration = Duration::from_secs(10);
/// How long one after the other is asked.
const SEARCH: Duration = Duration::from_secs(30);

/// A service as the edge serves it.
#[derive(Debug)]
pub(crate) struct Service {
    /// As the house knows it.
    pub(crate) route: Route,
    instances: Vec<Arc<Instance>>,
    turn: AtomicUsize,
}

/// An instance of a service.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    /// An IP address or a host name, without a port.
    pub(crate) address: Box<str>,
    /// Connections and requests that it has now.
    in_flight: AtomicU32,
    began: Instant,
    /// Until when it is asked last, in milliseconds since the beginning.
    rests_until: AtomicU64,
    pub(super) addresses: Addresses,
    pub(super) idle: IdleConnections,
}

/// Why no instance takes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoInstance {
    /// The service has none.
    #[error("the service has no instance")]
    None,
    /// All have as many connections as they may.
    #[error("all instances are at their limit")]
    Busy,
    /// All were asked.
    #[error("no instance accepted the connection")]
    Unreachable,
}

impl Service {
    /// A service that continues the counts of `previous`, which it replaces.
    pub(crate) fn new(route: Route, previous: Option<&Self>) -> Self {
        // The connections that there are were allowed by the policy of then.
        let continued = previous.filter(|previous| previous.route.policy == route.policy);
        let known = |id, address: &str| {
            let instances = continued.map_or(&[][..], |previous| &previous.instances);
            let known = instances.iter().find(|known| known.id == id);
            known.filter(|known| &*known.address == address).cloned()
        };
        let instances = route
            .backends
            .iter()
            .map(|backend| {
                known(backend.instance, &backend.address)
                    .unwrap_or_else(|| Arc::new(Instance::new(backend.instance, &backend.address)))
            })
            .collect();
        let turn = previous.map_or(0, |previous| previous.turn.load(Ordering::Relaxed));
        Self {
            route,
            instances,
            turn: AtomicUsize::new(turn),
        }
    }

    /// Begins to look for an instance. Each one is asked once at most.
    pub(crate) fn candidates(&self) -> Candidates<'_> {
        Candidates {
            service: self,
            start: self.turn.fetch_add(1, Ordering::Relaxed),
            began: Instant::now(),
            last: None,
            asked: Vec::new(),
        }
    }
}

/// The instances of a service in the order in which they are asked.
#[derive(Debug)]
pub(crate) struct Candidates<'a> {
    service: &'a Service,
    start: usize,
    began: Instant,
    /// The one asked last, which is kept apart because commonly there is no other.
    last: Option<InstanceId>,
    asked: Vec<InstanceId>,
}

impl Candidates<'_> {
    /// The next instance.
    ///
    /// # Errors
    /// [`NoInstance`] when there is no other, or none that takes another connection.
    pub(crate) fn next(&mut self) -> Result<Held, NoInstance> {
        if let Some(last) = self.last.take() {
            self.asked.push(last);
            if self.began.elapsed() > SEARCH {
                return Err(NoInstance::Unreachable);
            }
        }
        let Route {
            soft_limit,
            hard_limit,
            ..
        } = self.service.route;
        let attempts = [(false, soft_limit), (false, hard_limit), (true, hard_limit)];
        for (is_resting, limit) in attempts {
            let limit = limit.min(hard_limit);
            let held = self
                .in_turn()
                .filter(|instance| is_resting || !instance.rests())
                .find_map(|instance| instance.hold(limit));
            if let Some(held) = held {
                self.last = Some(held.0.id);
                return Ok(held);
            }
        }
        Err(if self.service.instances.is_empty() {
            NoInstance::None
        } else if self.in_turn().next().is_some() {
            NoInstance::Busy
        } else {
            NoInstance::Unreachable
        })
    }

    fn in_turn(&self) -> impl Iterator<Item = &Arc<Instance>> {
        let instances = &self.service.instances;
        let start = self.start.checked_rem(instances.len()).unwrap_or_default();
        let (before, from) = instances.split_at(start.min(instances.len()));
        let in_turn = from.iter().chain(before);
        in_turn.filter(|instance| !self.asked.contains(&instance.id))
    }
}

impl Instance {
    pub(super) fn new(id: InstanceId, address: &str) -> Self {
        Self {
            id,
            address: address.into(),
            in_flight: AtomicU32::new(0),
            began: Instant::now(),
            rests_until: AtomicU64::new(0),
            addresses: Addresses::default(),
            idle: IdleConnections::default(),
        }
    }

    /// Notes that it could not be reached.
    pub(super) fn rest(&self) {
        let until = self.began.elapsed() + REST;
        self.rests_until
            .store(milliseconds(until), Ordering::Relaxed);
    }

    /// Notes that it could be reached.
    pub(super) fn wake(&self) {
        if self.rests_until.load(Ordering::Relaxed) > 0 {
            self.rests_until.store(0, Ordering::Relaxed);
        }
    }

    fn rests(&self) -> bool {
        let until = self.rests_until.load(Ordering::Relaxed);
        until > 0 && milliseconds(self.began.elapsed()) < until
    }

    fn hold(self: &Arc<Self>, limit: u32) -> Option<Held> {
        let counted = |count: u32| (count < limit).then_some(count + 1);
        self.in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted)
            .is_ok()
            .then(|| Held(self.clone()))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An instance that has one connection or request more while this lives.
#[derive(Debug)]
pub(crate) struct Held(Arc<Instance>);

impl Held {
    /// Which it is.
    pub(crate) fn instance(&self) -> &Arc<Instance> {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::http::tests::{instance_id, route};

    fn service(instances: u128, soft_limit: u32, hard_limit: u32) -> Service {
        let addresses = (0..instances).map(|_| "192.0.2.1");
        let route = Route {
            soft_limit,
            hard_limit,
            ..route(addresses)
        };
        Service::new(route, None)
    }

    fn next(service: &Service) -> Result<Held, NoInstance> {
        service.candidates().next()
    }

    fn id(held: &Held) -> InstanceId {
        held.instance().id
    }

    #[test]
    fn instances_take_turns() {
        let service = service(3, 10, 10);
        let ids: Vec<_> = (0..6).map(|_| id(&next(&service).unwrap())).collect();
        let expected = [0, 1, 2, 0, 1, 2].map(instance_id);
        assert_eq!(ids, expected);
    }

    #[test]
    fn an_instance_at_the_soft_limit_is_passed_over_while_another_is_below() {
        let service = service(2, 1, 3);
        let first = next(&service).unwrap();
        let second = next(&service).unwrap();
        assert_ne!(id(&first), id(&second));
        drop(second);
        for _ in 0..3 {
            assert_eq!(id(&next(&service).unwrap()), instance_id(1));
        }
    }

    #[test]
    fn no_instance_has_more_than_the_hard_limit() {
        let service = service(2, 1, 2);
        let held: Vec<_> = (0..4).map(|_| next(&service).unwrap()).collect();
        for instance in &service.instances {
            assert_eq!(instance.in_flight.load(Ordering::Relaxed), 2);
        }
        assert_eq!(next(&service).unwrap_err(), NoInstance::Busy);
        drop(held);
        assert!(next(&service).is_ok());
    }

    #[test]
    fn each_instance_is_asked_once() {
        let service = service(3, 1, 1);
        let mut candidates = service.candidates();
        let ids: Vec<_> = (0..3).map(|_| id(&candidates.next().unwrap())).collect();
        assert_eq!(ids, [0, 1, 2].map(instance_id));
        assert_eq!(candidates.next().unwrap_err(), NoInstance::Unreachable);
    }

    #[test]
    fn a_service_without_instances_says_so() {
        let service = service(0, 1, 1);
        assert_eq!(next(&service).unwrap_err(), NoInstance::None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_was_not_reached_is_asked_last_for_a_while() {
        let service = service(2, 10, 10);
        service.instances[0].rest();
        for _ in 0..3 {
            assert_eq!(id(&next(&service).unwrap()), instance_id(1));
        }
        let mut candidates = service.candidates();
        assert_eq!(id(&candidates.next().unwrap()), instance_id(1));
        assert_eq!(id(&candidates.next().unwrap()), instance_id(0));
        tokio::time::advance(REST).await;
        let ids = [next(&service).unwrap(), next(&service).unwrap()].map(|held| id(&held));
        assert!(ids.contains(&instance_id(0)));
    }

    #[test]
    fn an_instance_that_is_reached_again_takes_its_turns() {
        let service = service(2, 10, 10);
        service.instances[0].rest();
        service.instances[0].wake();
        let ids = [next(&service).unwrap(), next(&service).unwrap()].map(|held| id(&held));
        assert!(ids.contains(&instance_id(0)));
    }

    #[test]
    fn counts_go_on_when_the_instances_change() {
        let before = service(2, 1, 1);
        let held = [next(&before).unwrap(), next(&before).unwrap()];
        let mut route = before.route.clone();
        route.backends.remove(0);
        route.backends.extend(
            crate::http::tests::route(["", "", "192.0.2.3"])
                .backends
                .pop(),
        );
        let after = Service::new(route, Some(&before));
        let third = next(&after).unwrap();
        assert_eq!(id(&third), instance_id(2));
        assert_eq!(next(&after).unwrap_err(), NoInstance::Busy);
        drop(held);
        assert_eq!(id(&next(&after).unwrap()), instance_id(1));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_instances_are_asked_when_that_took_too_long() {
        let service = service(3, 1, 1);
        let mut candidates = service.candidates();
        candidates.next().unwrap();
        tokio::time::advance(SEARCH).await;
        candidates.next().unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(candidates.next().unwrap_err(), NoInstance::Unreachable);
    }

    #[test]
    fn under_another_policy_no_instance_goes_on() {
        let before = service(1, 1, 1);
        let mut route = before.route.clone();
        route.policy.private = !route.policy.private;
        let after = Service::new(route, Some(&before));
        assert!(!Arc::ptr_eq(&before.instances[0], &after.instances[0]));
    }

    #[test]
    fn an_instance_at_another_address_starts_anew() {
        let before = service(1, 1, 1);
        let _held = next(&before).unwrap();
        let mut route = before.route.clone();
        route.backends[0].address = "192.0.2.9".to_owned();
        let after = Service::new(route, Some(&before));
        assert_eq!(&*next(&after).unwrap().instance().address, "192.0.2.9");
    }
}
