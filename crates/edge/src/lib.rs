//! The TLS edge: ends TLS for the domains of services, by SNI, and forwards to their instances.
//!
//! Everything on the way of a handshake is answered from memory; the store is asked only for what
//! exists and is not in memory. What changes in the house arrives as [`Change`]s.

mod facts;
mod http;
mod metrics;
mod routing;
mod settings;
mod shared;

use std::sync::Arc;

use tokio::sync::watch;

pub use facts::Entrance;
pub use metrics::Metrics;
pub use routing::{Change, Routing};
pub use settings::Settings;
use shared::Shared;

/// An edge: shared by all its listeners and connections.
#[derive(Debug, Clone)]
pub struct Edge(Arc<Shared>);

impl Edge {
    /// An edge over what the house routes.
    #[must_use]
    pub fn new(routing: Routing, settings: Settings, metrics: Metrics) -> Self {
        Self(Arc::new(Shared {
            routing,
            settings,
            metrics,
        }))
    }

    /// Serves the connections of a listener until `shutdown` turns true, and lets what is in flight
    /// then finish for as long as the settings say.
    pub async fn serve(
        self,
        listener: listener::Listener,
        entrance: Entrance,
        shutdown: watch::Receiver<bool>,
    ) {
        let limits = &self.0.settings.limits;
        listener::serve(listener, limits, shutdown, |accepted| {
            let shared = self.0.clone();
            async move {
                let _counted = shared.metrics.connection(false);
                let facts = facts::ConnectionFacts {
                    peer: accepted.peer,
                    entrance,
                    tls: None,
                    shutdown: accepted.shutdown,
                };
                http::serve(accepted.stream, facts, shared).await;
            }
        })
        .await;
    }
}
