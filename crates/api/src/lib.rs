//! The APIs that programs speak to Chancery with. A dialect decodes a request, authenticates it,
//! calls one operation of the house, and encodes the answer; it holds no rule of its own.
//!
//! The path prefix alone picks the dialect, and with it the form of errors. Paths are matched raw:
//! never redirected, never cleaned up beyond a leading `//` and a trailing `/`, never decoded before
//! they are matched.

mod administration;
mod bodies;
mod certmaker;
mod cloud66;
mod d9t;
mod exchange;
mod json;
mod kraftcloud;
mod limits;
mod metrics;
mod notation;
mod oauth;
mod pages;
mod publication;
mod server;
mod settings;
mod system;

use std::sync::Arc;
use std::time::Instant;

use bodies::Bodies;
use lifecycle::House;

pub use exchange::{Request, Response};
pub use limits::Limits;
pub use listener::{Listener, ListenerError};
pub use metrics::Metrics;
pub use server::{Security, serve};
pub use settings::{
    CertMakerSettings, Cloud66Settings, D9tSettings, G1SuccessStatus, Settings,
    UnknownAccountStatus,
};

/// Everything that answers requests: shared by all listeners and connections.
#[derive(Debug, Clone)]
pub struct Api(Arc<Context>);

/// What a dialect can reach.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) house: House,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    pub(crate) bodies: Bodies,
    pub(crate) allowance: cloud66::Allowance,
}

impl Api {
    /// An API over `house`.
    #[must_use]
    pub fn new(house: House, settings: Settings, metrics: Metrics) -> Self {
        Self::with_limits(house, settings, metrics, Limits::default())
    }

    /// An API over `house` whose clients may take so much.
    #[must_use]
    pub fn with_limits(house: House, settings: Settings, metrics: Metrics, limits: Limits) -> Self {
        Self(Arc::new(Context {
            house,
            allowance: cloud66::Allowance::new(settings.cloud66.requests_per_hour),
            settings,
            metrics,
            bodies: Bodies::new(&limits),
            limits,
        }))
    }

    /// Answers one request. Never fails: faults are answers in the form of the dialect.
    pub async fn respond(&self, request: Request) -> Response {
        let started = Instant::now();
        let method = request.method().clone();
        let door = Door::of(exchange::path(&request));
        let context = &self.0;
        // In memory of their own: what a dialect has under way is too much to be carried on the stack
        // through all that stands above it.
        let response = match door {
            Door::Administration => Box::pin(administration::respond(context, request)).await,
            Door::CertMaker => Box::pin(certmaker::respond(context, request)).await,
            Door::Cloud66 => Box::pin(cloud66::respond(context, request)).await,
            Door::D9t => Box::pin(d9t::respond(context, request)).await,
            Door::KraftCloud => Box::pin(kraftcloud::respond(context, request, started)).await,
            Door::OAuth => Box::pin(oauth::respond(context, request)).await,
            Door::Publication => publication::respond(context, request).await,
            Door::System => system::respond(context, &request).await,
        };
        let taken = started.elapsed();
        self.0
            .metrics
            .answered(door.as_str(), &method, response.status(), taken);
        response
    }
}

/// The parts of the path space, each with its own form of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Administration,
    CertMaker,
    Cloud66,
    D9t,
    KraftCloud,
    OAuth,
    Publication,
    System,
}

impl Door {
    fn of(path: &str) -> Self {
        let mut segments = path.split('/').skip(1);
        match (segments.next(), segments.next()) {
            (None | Some(""), None) | (Some("v1"), _) => Self::KraftCloud,
            (Some("api"), Some("v1")) => Self::CertMaker,
            (Some("api"), Some("3")) => Self::Cloud66,
            (Some("oauth"), _) | (Some("api"), Some("tooling")) => Self::OAuth,
            (Some("chancery"), _) => Self::Administration,
            (Some("rest"), _) => Self::D9t,
            (Some("ca" | "ocsp"), _) => Self::Publication,
            _ => Self::System,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Administration => "chancery",
            Self::CertMaker => "certmaker",
            Self::Cloud66 => "cloud66",
            Self::D9t => "d9t",
            Self::KraftCloud => "kraftcloud",
            Self::OAuth => "oauth",
            Self::Publication => "publication",
            Self::System => "system",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Door;

    #[test]
    fn the_path_prefix_alone_picks_the_dialect() {
        for (path, door) in [
            ("/", Door::KraftCloud),
            ("/v1", Door::KraftCloud),
            ("/v1/", Door::KraftCloud),
            ("/v1/certificates", Door::KraftCloud),
            ("/v10/certificates", Door::System),
            ("/api/v1/ocsp/", Door::CertMaker),
            ("/api/v1", Door::CertMaker),
            ("/api", Door::System),
            ("/api/3/ping.json", Door::Cloud66),
            ("/api/3", Door::Cloud66),
            ("/api/30", Door::System),
            ("/oauth/authorize", Door::OAuth),
            ("/api/tooling/cx/config", Door::OAuth),
            ("/ocsp/abc//def", Door::Publication),
            ("/ca/00.crl", Door::Publication),
            ("/chancery/v1/accounts", Door::Administration),
            ("/rest", Door::D9t),
            ("/rest/", Door::D9t),
            ("/rest/privatekeys/1", Door::D9t),
            ("/restful", Door::System),
            ("/certificates", Door::System),
        ] {
            assert_eq!(Door::of(path), door, "{path}");
        }
    }
}
