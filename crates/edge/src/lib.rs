//! The TLS edge: ends TLS for the domains of services, by SNI, and forwards to their instances.
//!
//! Everything on the way of a handshake is answered from memory; the store is asked only for what
//! exists and is not in memory. What changes in the house arrives as [`Change`]s.

mod facts;
mod handshake;
mod http;
mod identities;
mod index;
mod metrics;
mod responder;
mod services;
mod settings;
mod shared;
mod stapling;
mod tickets;
mod tunnel;
mod upkeep;

use std::convert::Infallible;
use std::sync::Arc;

use lifecycle::{Answers, Change, Error, Routing, Surroundings};
use listener::{Accepted, Listener, asked};
use tokio::sync::watch;
use tokio::time::timeout;

use facts::ConnectionFacts;
pub use facts::Entrance;
use metrics::Failure;
pub use metrics::Metrics;
pub use settings::Settings;
use shared::Shared;

/// An edge: shared by all its listeners and connections.
#[derive(Debug, Clone)]
pub struct Edge(Arc<Shared>);

impl Edge {
    /// An edge over what the house routes, and answers to ACME directories. It knows no domain yet and asks the store for each, until
    /// it is looked after.
    ///
    /// # Errors
    /// When the crypto library has no TLS to offer.
    pub fn new(
        (routing, answers): (Routing, Answers),
        surroundings: Surroundings,
        settings: Settings,
        metrics: Metrics,
    ) -> Result<Self, rustls::Error> {
        let shared = Shared::new((routing, answers), surroundings, settings, metrics)?;
        Ok(Self(Arc::new(shared)))
    }

    /// Fetches what the first connection needs: sessions of before a restart go on.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn prepare(&self) -> Result<(), Error> {
        upkeep::fetch_tickets(&self.0).await
    }

    /// Serves the connections of a listener until `shutdown` turns true, and lets what is in flight
    /// then finish for as long as the settings say.
    pub async fn serve(
        self,
        listener: Listener,
        entrance: Entrance,
        shutdown: watch::Receiver<bool>,
    ) {
        let limits = &self.0.settings.limits;
        listener::serve(listener, limits, shutdown, |accepted| {
            run(accepted, entrance, self.0.clone())
        })
        .await;
    }

    /// Takes note of a change in the house. All that happen after the process begins to serve must
    /// come here, each at least once.
    pub fn changed(&self, change: &Change) {
        self.0.changed(change);
    }

    /// Learns all domains, and looks after tickets and OCSP responses, for ever.
    pub async fn look_after(&self) -> Infallible {
        upkeep::look_after(&self.0).await
    }
}

async fn run(accepted: Accepted, entrance: Entrance, shared: Arc<Shared>) {
    let _counted = shared.metrics.connection(entrance != Entrance::Http);
    let mut facts = ConnectionFacts {
        peer: accepted.peer,
        entrance,
        tls: None,
        shutdown: accepted.shutdown,
    };
    if entrance == Entrance::Http {
        return http::serve(accepted.stream, facts, shared).await;
    }
    let shaking = handshake::shake(accepted.stream, entrance.port(), &shared);
    let shaken = tokio::select! {
        shaken = timeout(shared.settings.limits.handshake, shaking) => shaken,
        () = asked(&mut facts.shutdown) => return,
    };
    let shaken = match shaken.unwrap_or(Err(Failure::Timeout)) {
        Ok(Some(shaken)) => shaken,
        Ok(None) => return,
        Err(failure) => return shared.metrics.failed(failure),
    };
    if shaken.port.handlers.http {
        facts.tls = Some(shaken.facts);
        // The larger part of the memory of a connection, which those that fail never need.
        return Box::pin(http::serve(shaken.stream, facts, shared)).await;
    }
    let service = (&*shaken.service, shaken.port);
    tunnel::serve(shaken.stream, &facts, &shaken.facts, service, &shared).await;
}
