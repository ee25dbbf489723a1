//! What is measured: one module for each command.

pub(crate) mod api;
pub(crate) mod edge;
pub(crate) mod handshake;
pub(crate) mod issue;
pub(crate) mod ocsp;

use http::header::{AUTHORIZATION, HeaderName};
use http::{Method, StatusCode};

use crate::arguments::Options;
use crate::floors::Bench;
use crate::load::http::{Prepared, Traffic, drive};
use crate::load::{Limit, Measurement};
use crate::material;
use crate::server::Server;

const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-auth-token");

/// The loops that a server is held against: on as many cores as it has.
fn bench(options: &Options) -> Bench {
    Bench {
        cores: options.server_cores(),
        time: options.floor(),
    }
}

/// A measured run.
async fn measure(
    options: &Options,
    server: &Server,
    traffic: Traffic,
) -> anyhow::Result<Measurement> {
    let limit = Limit::Time(options.measured());
    drive(server.target, options.clients, limit, traffic).await
}

/// Orders with certificate requests, each with a key of its own.
fn certificate_requests(server: &Server, count: usize) -> anyhow::Result<Traffic> {
    let order = |number| {
        Prepared::new(
            Method::POST,
            "/api/v1/certificate/request-with-csr",
            &[(TOKEN_HEADER, &server.token)],
            material::request(number)?,
        )
    };
    Ok(Traffic {
        name: "issue for a request (P-256)".to_owned(),
        requests: (0..count).map(order).collect::<anyhow::Result<_>>()?,
        expected: StatusCode::CREATED,
        is_good: |body| body.starts_with(br#"{"certificate_pem":"#),
    })
}

/// A request of the KraftCloud API.
fn kraftcloud(
    server: &Server,
    method: Method,
    target: &str,
    body: String,
) -> anyhow::Result<Prepared> {
    let token = format!("Bearer {}", server.token);
    let headers = [
        (AUTHORIZATION, token.as_str()),
        (http::header::CONTENT_TYPE, "application/json"),
    ];
    Prepared::new(method, target, &headers, body)
}
