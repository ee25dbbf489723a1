//! Counters for operators, in the OpenMetrics text format.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use lifecycle::{Counts, Standing};
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
    orders: Family<OrderLabels, Counter>,
    denials: Family<DenialLabels, Counter>,
    limits: Family<LimitLabels, Gauge>,
    limits_left: Family<LimitLabels, Gauge>,
    deliveries: Family<DeliveryLabels, Counter>,
    /// Without a value while nothing can end.
    earliest_expiry: Family<Vec<(String, String)>, Gauge>,
    lag: Gauge<f64, AtomicU64>,
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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OrderLabels {
    directory: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DenialLabels {
    directory: String,
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    directory: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    outcome: &'static str,
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
        let (orders, deliveries) = (Family::default(), Family::default());
        let (earliest_expiry, lag) = (Family::default(), Gauge::default());
        registry.register(
            "orders",
            "Attempts at orders with ACME directories, by outcome",
            orders.clone(),
        );
        let (denials, limits, limits_left) =
            (Family::default(), Family::default(), Family::default());
        registry.register(
            "orders_put_off",
            "Orders that a limit of an ACME directory put off, by limit",
            denials.clone(),
        );
        registry.register(
            "order_limit",
            "Orders that an ACME directory takes when none was placed for a while",
            limits.clone(),
        );
        registry.register(
            "order_limit_left",
            "Orders that an ACME directory takes now",
            limits_left.clone(),
        );
        registry.register(
            "webhook_deliveries",
            "Attempts at deliveries to webhooks, by outcome",
            deliveries.clone(),
        );
        registry.register(
            "earliest_expiry_timestamp_seconds",
            "When the first of all valid certificates ends",
            earliest_expiry.clone(),
        );
        registry.register(
            "scheduler_lag_seconds",
            "How long the certificate that is due longest has been due",
            lag.clone(),
        );
        register(&mut registry);
        Self(Arc::new(Inner {
            registry,
            requests,
            durations,
            connections,
            orders,
            denials,
            limits,
            limits_left,
            deliveries,
            earliest_expiry,
            lag,
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

    /// Takes over what the house has counted.
    pub(crate) fn count(&self, counts: &Counts) {
        for ((directory, outcome), count) in &counts.orders {
            let labels = OrderLabels {
                directory: directory.clone(),
                outcome: outcome.as_str(),
            };
            let counter = self.0.orders.get_or_create(&labels);
            counter.inner().store(*count, Ordering::Relaxed);
        }
        for ((directory, limit), count) in &counts.denials {
            let labels = DenialLabels {
                directory: directory.clone(),
                limit: limit.as_str(),
            };
            let counter = self.0.denials.get_or_create(&labels);
            counter.inner().store(*count, Ordering::Relaxed);
        }
        for (outcome, count) in &counts.deliveries {
            let labels = DeliveryLabels {
                outcome: outcome.as_str(),
            };
            let counter = self.0.deliveries.get_or_create(&labels);
            counter.inner().store(*count, Ordering::Relaxed);
        }
    }

    /// Takes over how the house stands.
    pub(crate) fn stand(&self, standing: &Standing) {
        self.0.lag.set(standing.lag.as_secs_f64());
        // Directories are given up, too.
        self.0.limits.clear();
        self.0.limits_left.clear();
        for budget in &standing.budgets {
            let labels = LimitLabels {
                directory: budget.directory.clone(),
            };
            let (limit, left) = (i64::from(budget.burst), i64::from(budget.left));
            self.0.limits.get_or_create(&labels).set(limit);
            self.0.limits_left.get_or_create(&labels).set(left);
        }
        match standing.earliest_expiry {
            Some(moment) => {
                let gauge = self.0.earliest_expiry.get_or_create(&Vec::new());
                gauge.set(moment.unix_timestamp());
            }
            None => self.0.earliest_expiry.clear(),
        }
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

#[cfg(test)]
mod tests {
    use lifecycle::schedule::Reason;
    use lifecycle::{DeliveryOutcome, DirectoryBudget, OrderOutcome};

    use super::*;

    #[test]
    fn what_the_house_counts_is_told_by_outcome() {
        let metrics = Metrics::new();
        let counts = Counts {
            orders: [(("le".to_owned(), OrderOutcome::Valid), 3)].into(),
            denials: [(("le".to_owned(), Reason::Domain), 4)].into(),
            deliveries: [(DeliveryOutcome::Failed, 2)].into(),
        };
        metrics.count(&counts);
        metrics.count(&counts);
        metrics.stand(&Standing {
            earliest_expiry: None,
            lag: Duration::from_millis(1500),
            budgets: vec![DirectoryBudget {
                directory: "le".to_owned(),
                left: 297,
                burst: 300,
            }],
        });
        let text = metrics.encode().unwrap();
        for line in [
            "chancery_orders_total{directory=\"le\",outcome=\"valid\"} 3\n",
            "chancery_orders_put_off_total{directory=\"le\",limit=\"domain\"} 4\n",
            "chancery_order_limit{directory=\"le\"} 300\n",
            "chancery_order_limit_left{directory=\"le\"} 297\n",
            "chancery_webhook_deliveries_total{outcome=\"failed\"} 2\n",
            "chancery_scheduler_lag_seconds 1.5\n",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        assert!(
            !text.contains("earliest_expiry_timestamp_seconds "),
            "{text}"
        );
    }
}
