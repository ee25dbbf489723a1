//! Counters for operators, in the OpenMetrics text format.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The metrics of one process.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<DoorLabels, Histogram, fn() -> Histogram>,
    connections: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    dialect: &'static str,
    method: &'static str,
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabels {
    dialect: &'static str,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that all stand at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// The same, and what `register` adds of other parts of the process.
    #[must_use]
    pub fn with(register: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix("chancery");
        let requests = Family::default();
        let durations: Family<DoorLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(new_histogram);
        let connections = Gauge::default();
        registry.register(
            "build",
            "Version of this process",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register(
            "http_request_seconds",
            "Time from reading a request's head to having its answer",
            durations.clone(),
        );
        registry.register(
            "http_connections",
            "Connections open on the API listeners",
            connections.clone(),
        );
        register(&mut registry);
        Self(Arc::new(Inner {
            registry,
            requests,
            durations,
            connections,
        }))
    }

    pub(crate) fn answered(
        &self,
        dialect: &'static str,
        method: &Method,
        status: StatusCode,
        taken: Duration,
    ) {
        let labels = RequestLabels {
            dialect,
            method: known_method(method),
            status: u32::from(status.as_u16()),
        };
        self.0.requests.get_or_create(&labels).inc();
        let labels = DoorLabels { dialect };
        self.0
            .durations
            .get_or_create(&labels)
            .observe(taken.as_secs_f64());
    }

    /// Counts a connection for as long as the returned guard lives.
    pub(crate) fn connection(&self) -> ConnectionGuard {
        self.0.connections.inc();
        ConnectionGuard(self.clone())
    }

    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

/// See [`Metrics::connection`].
pub(crate) struct ConnectionGuard(Metrics);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.0.connections.dec();
    }
}

fn new_histogram() -> Histogram {
    // 0.25 ms to 8 s in powers of two.
    Histogram::new((0..16).map(|power| 0.000_25 * f64::from(1 << power)))
}

/// Callers invent methods; labels must not grow with them.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "DELETE" => "DELETE",
        "GET" => "GET",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "POST" => "POST",
        "PUT" => "PUT",
        _ => "other",
    }
}
