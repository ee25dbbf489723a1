//! Counters of the edge for operators. No label grows with what clients send.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use rustls::{HandshakeKind, NamedGroup, ProtocolVersion, ServerConnection};

/// The edge's counters; clones are the same ones.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    connections: Family<EntranceLabels, Gauge>,
    handshakes: Family<HandshakeLabels, Counter>,
    lookups: Lookups,
    lookup_family: Family<LookupLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    upstream: Histogram,
    instance_failures: Family<ReasonLabels, Counter>,
    challenges: Family<ChallengeLabels, Counter>,
}

/// One counter for each cache and outcome, found once.
struct Lookups([[Counter; 2]; 3]);

/// What is looked up in memory before the store is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    Sites,
    Services,
    Identities,
}

/// How a handshake ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client named nothing that is served, or no name where one is needed.
    UnknownName,
    /// The site has no certificate that can be served.
    NoCertificate,
    /// The client and the edge agree on nothing, or one of them did not understand the other.
    Protocol,
    /// The client broke off, or never began.
    Disconnected,
    /// It took too long.
    Timeout,
    /// The store could not be asked.
    Internal,
}

/// What a look for a proof of control over a name came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Challenged {
    /// The proof was there.
    Answered,
    /// There is no such challenge of this house.
    Unknown,
    /// The store could not be asked, or the client broke off.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EntranceLabels {
    protocol: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    outcome: &'static str,
    version: &'static str,
    group: &'static str,
    resumed: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookupLabels {
    cache: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChallengeLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
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
    /// Counters that all stand at zero.
    #[must_use]
    pub fn new() -> Self {
        let lookup_family: Family<LookupLabels, Counter> = Family::default();
        let lookups = ["sites", "services", "identities"].map(|cache| {
            ["hit", "miss"].map(|outcome| {
                let labels = LookupLabels { cache, outcome };
                lookup_family.get_or_create(&labels).clone()
            })
        });
        Self(Arc::new(Inner {
            connections: Family::default(),
            handshakes: Family::default(),
            lookups: Lookups(lookups),
            lookup_family,
            requests: Family::default(),
            // 0.25 ms to 64 s in powers of two.
            upstream: Histogram::new((0..19).map(|power| 0.000_25 * f64::from(1 << power))),
            instance_failures: Family::default(),
            challenges: Family::default(),
        }))
    }

    /// Lets `registry` show these counters.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("edge");
        let inner = &self.0;
        registry.register(
            "connections",
            "Connections open at the edge",
            inner.connections.clone(),
        );
        registry.register(
            "handshakes",
            "TLS handshakes that ended",
            inner.handshakes.clone(),
        );
        registry.register(
            "lookups",
            "Look-ups in memory; a miss asks the store",
            inner.lookup_family.clone(),
        );
        registry.register(
            "requests",
            "HTTP requests answered by the edge",
            inner.requests.clone(),
        );
        registry.register(
            "upstream_seconds",
            "Time from sending a request to an instance to the head of its answer",
            inner.upstream.clone(),
        );
        registry.register(
            "instance_failures",
            "Connections and requests that failed at an instance",
            inner.instance_failures.clone(),
        );
        registry.register(
            "challenges",
            "Looks of ACME directories for a proof of control",
            inner.challenges.clone(),
        );
    }

    /// Counts a connection for as long as what is returned lives.
    pub(crate) fn connection(&self, is_tls: bool) -> ConnectionGuard {
        let protocol = if is_tls { "tls" } else { "http" };
        let labels = EntranceLabels { protocol };
        let gauge = self.0.connections.get_or_create(&labels).clone();
        gauge.inc();
        ConnectionGuard(gauge)
    }

    /// Counts a handshake that succeeded.
    pub(crate) fn shaken(&self, connection: &ServerConnection) {
        let group = connection.negotiated_key_exchange_group();
        let labels = HandshakeLabels {
            outcome: "ok",
            version: version_of(connection.protocol_version()),
            group: group.map_or("none", |group| name_of(group.name())),
            resumed: match connection.handshake_kind() {
                Some(HandshakeKind::Resumed) => "yes",
                _ => "no",
            },
        };
        self.0.handshakes.get_or_create(&labels).inc();
    }

    /// Counts a handshake that failed.
    pub(crate) fn failed(&self, failure: Failure) {
        let labels = HandshakeLabels {
            outcome: match failure {
                Failure::UnknownName => "unknown_name",
                Failure::NoCertificate => "no_certificate",
                Failure::Protocol => "protocol",
                Failure::Disconnected => "disconnected",
                Failure::Timeout => "timeout",
                Failure::Internal => "internal",
            },
            version: "none",
            group: "none",
            resumed: "no",
        };
        self.0.handshakes.get_or_create(&labels).inc();
    }

    /// Counts a look-up.
    pub(crate) fn looked_up(&self, cache: Cache, is_hit: bool) {
        let [sites, services, identities] = &self.0.lookups.0;
        let [hit, miss] = match cache {
            Cache::Sites => sites,
            Cache::Services => services,
            Cache::Identities => identities,
        };
        if is_hit {
            hit.inc()
        } else {
            miss.inc()
        };
    }

    /// Counts a request that was answered, by an instance or by the edge itself.
    pub(crate) fn answered(&self, status: StatusCode) {
        let status = match status.as_u16() {
            100..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        let labels = RequestLabels { status };
        self.0.requests.get_or_create(&labels).inc();
    }

    /// Notes how long an instance took to begin an answer.
    pub(crate) fn upstream(&self, taken: Duration) {
        self.0.upstream.observe(taken.as_secs_f64());
    }

    /// Counts a look for a proof of control over a name.
    pub(crate) fn challenged(&self, kind: &'static str, outcome: Challenged) {
        let outcome = match outcome {
            Challenged::Answered => "answered",
            Challenged::Unknown => "unknown",
            Challenged::Failed => "failed",
        };
        let labels = ChallengeLabels { kind, outcome };
        self.0.challenges.get_or_create(&labels).inc();
    }

    /// Counts a connection or request that failed at an instance.
    pub(crate) fn instance_failed(&self, reason: &'static str) {
        let labels = ReasonLabels { reason };
        self.0.instance_failures.get_or_create(&labels).inc();
    }
}

/// See [`Metrics::connection`].
pub(crate) struct ConnectionGuard(Gauge);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// How a protocol version is called in metrics and logs.
pub(crate) fn version_of(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        _ => "none",
    }
}

fn name_of(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::X25519 => "X25519",
        NamedGroup::secp256r1 => "secp256r1",
        NamedGroup::secp384r1 => "secp384r1",
        _ => "other",
    }
}
