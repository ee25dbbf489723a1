//! The edge's listeners: where they are bound, and what the edge is told of the configuration.

use std::net::SocketAddr;

use edge::{Edge, Entrance};
use listener::{Listener, ListenerError};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::configuration;

/// What https means to clients that name no port.
const HTTPS: u16 = 443;

/// Bound listeners, each with the published port that it stands for.
pub(crate) struct EdgeListeners(Vec<(Entrance, Listener)>);

impl EdgeListeners {
    /// Binds what the configuration names.
    pub(crate) async fn bind(configuration: &configuration::Edge) -> Result<Self, ListenerError> {
        let configuration::Edge {
            http, https, ports, ..
        } = configuration;
        let http = http.map(|address| (Entrance::Http, address));
        let https = https.map(|address| (Entrance::Https, address));
        let ports = ports.iter();
        let ports = ports.map(|(port, address)| (Entrance::Port(*port), *address));
        let mut bound = Vec::new();
        for (entrance, address) in http.into_iter().chain(https).chain(ports) {
            bound.push((entrance, Listener::bind(address).await?));
        }
        Ok(Self(bound))
    }

    /// The listeners as `key=value` pairs, each with a blank before it.
    pub(crate) fn summary(&self) -> String {
        let pairs = self.0.iter().map(|(entrance, listener)| {
            let key = match entrance {
                Entrance::Http => "edge_http".to_owned(),
                Entrance::Https => "edge_https".to_owned(),
                Entrance::Port(port) => format!("edge_{port}"),
            };
            format!(" {key}={}", listener.address())
        });
        pairs.collect()
    }

    /// Where https is served.
    pub(crate) fn https(&self) -> Option<SocketAddr> {
        let is_https = |(entrance, _): &&(Entrance, Listener)| *entrance == Entrance::Https;
        self.0
            .iter()
            .find(is_https)
            .map(|(_, listener)| listener.address())
    }

    /// The port of https as clients know it. In front of a listener that others can reach stands
    /// whatever gives it the usual port; one on loopback is reached by its own.
    fn public_https_port(&self, configured: Option<u16>) -> u16 {
        let own = self.https().filter(|address| address.ip().is_loopback());
        configured
            .or(own.map(|address| address.port()))
            .unwrap_or(HTTPS)
    }

    /// The edge's settings under this configuration.
    pub(crate) fn settings(&self, configuration: &configuration::Edge) -> edge::Settings {
        let defaults = edge::Settings::default();
        let mut limits = defaults.limits.clone();
        if let Some(connections) = configuration.connections {
            limits.connections = connections;
            limits.connections_per_loopback_peer = connections;
        }
        if let Some(connections) = configuration.connections_per_peer {
            limits.connections_per_peer = connections;
        }
        edge::Settings {
            default_domain: configuration
                .default_domain
                .as_ref()
                .map(ToString::to_string),
            https_port: self.public_https_port(configuration.public_https_port),
            limits,
            answer: configuration.answer_timeout.unwrap_or(defaults.answer),
            identities: configuration
                .cached_certificates
                .unwrap_or(defaults.identities),
            ..defaults
        }
    }

    /// Serves all of them, each in a task of its own, until `shutdown` turns true.
    pub(crate) fn serve(
        self,
        edge: &Edge,
        serving: &mut JoinSet<()>,
        shutdown: &watch::Receiver<bool>,
    ) {
        for (entrance, listener) in self.0 {
            serving.spawn(edge.clone().serve(listener, entrance, shutdown.clone()));
        }
    }
}
