//! Connecting to instances: names are resolved, and the house's policy is asked about the very
//! address that the connection goes to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lifecycle::EgressPolicy;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::balancer::{Held, Instance, NoInstance, Service};
use crate::metrics::Metrics;

/// Names that are resolved at a time: each one occupies a thread.
const LOOKUPS: usize = 32;
/// How long the addresses of a name are used.
const RESOLVED: Duration = Duration::from_secs(5);
/// Connections to instances open at a time, those that wait for a request among them.
const CONNECTIONS: usize = 32_768;

/// Makes connections to instances; shared by all of an edge.
#[derive(Debug)]
pub(crate) struct Connector {
    lookups: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    patience: Duration,
    metrics: Metrics,
}

/// A connection to an instance, which it counts for while it lives.
#[derive(Debug)]
pub(crate) struct Connected {
    /// The connection.
    pub(crate) stream: TcpStream,
    /// The instance.
    pub(crate) held: Held,
    pub(super) slot: OwnedSemaphorePermit,
}

/// Why an instance could not be connected to.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("its address is not allowed: {0}")]
    Forbidden(&'static str),
    #[error("its name has no address: {0}")]
    Unresolved(io::Error),
    #[error("it did not accept the connection: {0}")]
    Refused(io::Error),
    #[error("it did not accept the connection in time")]
    TimedOut,
    #[error("the edge has too many connections to instances")]
    Exhausted,
}

impl ConnectError {
    /// How it is called in metrics.
    fn reason(&self) -> &'static str {
        match self {
            Self::Forbidden(_) => "forbidden",
            Self::Unresolved(_) => "unresolved",
            Self::Refused(_) => "refused",
            Self::TimedOut => "connect_timeout",
            Self::Exhausted => "exhausted",
        }
    }
}

impl Connector {
    /// A connector that waits so long for an instance to accept.
    pub(crate) fn new(patience: Duration, metrics: Metrics) -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            patience,
            metrics,
        }
    }

    /// Connects to an instance of `service` at its `port`: to the next one if one cannot be reached.
    ///
    /// # Errors
    /// [`NoInstance`] when none can be.
    pub(crate) async fn any(&self, service: &Service, port: u16) -> Result<Connected, NoInstance> {
        let mut candidates = service.candidates();
        loop {
            let held = candidates.next()?;
            if let Some((stream, slot)) = self.one(service, &held, port).await {
                return Ok(Connected { stream, held, slot });
            }
        }
    }

    /// Connects to this instance, or notes that it could not be reached.
    pub(super) async fn one(
        &self,
        service: &Service,
        held: &Held,
        port: u16,
    ) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let instance = held.instance();
        let policy = service.route.policy;
        match self.connect(instance, port, policy).await {
            Ok(connected) => {
                instance.wake();
                Some(connected)
            }
            Err(error) => {
                self.metrics.instance_failed(error.reason());
                if !matches!(error, ConnectError::Exhausted) {
                    instance.rest();
                }
                let service = service.route.service;
                let (instance, address) = (instance.id, &instance.address);
                tracing::warn!(%error, %service, %instance, %address, port, "an instance could not be reached");
                None
            }
        }
    }

    async fn connect(
        &self,
        instance: &Instance,
        port: u16,
        policy: EgressPolicy,
    ) -> Result<(TcpStream, OwnedSemaphorePermit), ConnectError> {
        let slot = self.connections.clone().try_acquire_owned();
        let slot = slot.map_err(|_| ConnectError::Exhausted)?;
        let connecting = timeout(self.patience, self.reach(instance, port, policy));
        let stream = connecting.await.map_err(|_| ConnectError::TimedOut)??;
        Ok((stream, slot))
    }

    async fn reach(
        &self,
        instance: &Instance,
        port: u16,
        policy: EgressPolicy,
    ) -> Result<TcpStream, ConnectError> {
        let address = &*instance.address;
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(address).parse::<IpAddr>() {
            return to(SocketAddr::new(ip, port), policy).await;
        }
        let mut failure = ConnectError::Unresolved(io::ErrorKind::NotFound.into());
        for ip in &*self.resolve(instance).await? {
            match to(SocketAddr::new(*ip, port), policy).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The addresses of an instance's name. Nobody else asks for them meanwhile.
    async fn resolve(&self, instance: &Instance) -> Result<Arc<[IpAddr]>, ConnectError> {
        let mut known = instance.addresses.0.lock().await;
        if let Some((addresses, since)) = &*known
            && since.elapsed() < RESOLVED
        {
            return Ok(addresses.clone());
        }
        let lookup = self.lookups.clone().acquire_owned().await;
        let lookup = lookup.map_err(|error| ConnectError::Unresolved(io::Error::other(error)))?;
        let name = instance.address.clone();
        // It goes on when nobody waits for it any more, and counts until it ends.
        let looking = tokio::spawn(async move {
            let found = lookup_host((&*name, 0)).await;
            drop(lookup);
            found.map(|found| found.map(|address| address.ip()).collect())
        });
        let found: io::Result<Arc<[IpAddr]>> =
            looking.await.unwrap_or_else(|error| Err(error.into()));
        let addresses = found.map_err(ConnectError::Unresolved)?;
        *known = Some((addresses.clone(), Instant::now()));
        Ok(addresses)
    }
}

/// The addresses that an instance's name had lately.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<Option<(Arc<[IpAddr]>, Instant)>>);

async fn to(address: SocketAddr, policy: EgressPolicy) -> Result<TcpStream, ConnectError> {
    policy
        .check(address.ip())
        .map_err(ConnectError::Forbidden)?;
    let stream = TcpStream::connect(address)
        .await
        .map_err(ConnectError::Refused)?;
    stream.set_nodelay(true).map_err(ConnectError::Refused)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::http::tests::{instance_id, route};
    use lifecycle::Route;

    const HOUSE: EgressPolicy = EgressPolicy::BACKENDS;
    const TENANT: EgressPolicy = EgressPolicy::BACKENDS.for_account(false);

    fn connector() -> Connector {
        // A resolver that loses a datagram asks again after 5 s.
        Connector::new(Duration::from_secs(60), Metrics::new())
    }

    #[tokio::test]
    async fn addresses_and_names_are_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for address in [
            "127.0.0.1",
            "localhost",
            "::ffff:127.0.0.1",
            "[::ffff:127.0.0.1]",
        ] {
            let (stream, _slot) = connector()
                .connect(&Instance::new(instance_id(0), address), port, HOUSE)
                .await
                .unwrap();
            assert_eq!(stream.peer_addr().unwrap().port(), port, "{address}");
        }
    }

    #[tokio::test]
    async fn the_policy_holds_for_what_a_name_resolves_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for address in ["127.0.0.1", "localhost", "::ffff:127.0.0.1"] {
            let error = connector()
                .connect(&Instance::new(instance_id(0), address), port, TENANT)
                .await
                .unwrap_err();
            assert!(
                matches!(error, ConnectError::Forbidden(_)),
                "{address}: {error}"
            );
        }
        let error = connector()
            .connect(&Instance::new(instance_id(0), "169.254.169.254"), 80, HOUSE)
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Forbidden(_)), "{error}");
    }

    #[tokio::test]
    async fn what_refuses_or_has_no_address_is_told_apart() {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let error = connector()
            .connect(&Instance::new(instance_id(0), "127.0.0.1"), port, HOUSE)
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Refused(_)), "{error}");
        let error = connector()
            .connect(
                &Instance::new(instance_id(0), "no-such-host.invalid"),
                80,
                HOUSE,
            )
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Unresolved(_)), "{error}");
    }

    #[tokio::test]
    async fn the_next_instance_is_asked_when_one_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Nothing listens on the second address of the loopback network.
        let route = Route {
            policy: HOUSE,
            ..route(["127.0.0.2", "127.0.0.1"])
        };
        let service = Service::new(route, None);
        let connector = connector();
        for _ in 0..3 {
            let connected = connector.any(&service, port).await.unwrap();
            assert_eq!(connected.held.instance().id, instance_id(1));
        }
        drop(listener);
        let error = connector.any(&service, port).await.unwrap_err();
        assert_eq!(error, NoInstance::Unreachable);
    }
}
