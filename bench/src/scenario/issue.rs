//! Issuance: HTTP, policy, signature and a durable record, against the signature alone.

use http::{Method, StatusCode};

use super::{TOKEN_HEADER, bench, certificate_requests, measure};
use crate::arguments::{Issue, Mode, Options};
use crate::floors::{Floor, sync_time};
use crate::load::http::{Prepared, Traffic};
use crate::material;
use crate::report::{Budget, Line, Ratio, Report};
use crate::server::{Server, pin_load_generator};

/// How much dearer than its cryptography an issuance may be.
const BUDGET: Budget = Budget::AtMost(2.0);

/// What issuance is held against.
struct Floors {
    primitives: Floor,
    /// The one that the budget is about, if it is not the primitives themselves.
    cryptography: Option<Floor>,
    without_server: Floor,
}

/// Measures issuance.
///
/// # Errors
/// When the server cannot be started, or ends while it is measured.
pub(crate) async fn run(options: &Options, issue: &Issue) -> anyhow::Result<Report> {
    let floors = tokio::task::block_in_place(|| floors(options, issue.mode))?;
    let sync = tokio::task::block_in_place(|| sync_time(options.floor() / 3))?;
    let server = Server::start(options).await?;
    pin_load_generator(options).await?;
    let traffic = match issue.mode {
        Mode::Csr => certificate_requests(&server, issue.pool)?,
        Mode::SimpleRequest => simple_requests(&server, issue.pool)?,
    };
    let measurement = measure(options, &server, traffic).await?;
    let mut report = Report::new("issue");
    report.peak_memory = server.peak_memory()?;
    server.stop().await?;

    let line = Line::of(&measurement);
    let cryptography = floors.cryptography.as_ref().unwrap_or(&floors.primitives);
    report.ratios.push(Ratio::new(
        "rate of the cryptography on all cores / rate of issuance beside its load generator",
        cryptography.rate,
        line.rate,
        None,
    ));
    report.ratios.extend(Ratio::of_cpu(
        "CPU time of the server for an issuance / that of its cryptography",
        line.server_cpu,
        Some(cryptography.cpu),
        Some(BUDGET),
    ));
    report.ratios.extend(Ratio::of_cpu(
        "CPU time of the server for an issuance / that of request to leaf without HTTP and store",
        line.server_cpu,
        Some(floors.without_server.cpu),
        None,
    ));
    report.lines.push(line);
    report.lines.push(Line::from(&floors.without_server));
    report
        .lines
        .extend(floors.cryptography.as_ref().map(Line::from));
    report.lines.push(Line::from(&floors.primitives));
    let sync = sync.as_secs_f64() * 1e3;
    report
        .notes
        .push(format!("one write of 4 KiB is on disk after {sync:.2} ms"));
    Ok(report)
}

fn floors(options: &Options, mode: Mode) -> anyhow::Result<Floors> {
    let bench = bench(options);
    Ok(match mode {
        Mode::Csr => Floors {
            primitives: bench.verify_and_sign()?,
            cryptography: Some(bench.request_and_sign()?),
            without_server: bench.issue()?,
        },
        Mode::SimpleRequest => Floors {
            primitives: bench.generate_and_sign()?,
            cryptography: None,
            without_server: bench.issue_with_key()?,
        },
    })
}

fn simple_requests(server: &Server, count: usize) -> anyhow::Result<Traffic> {
    let order = |number| {
        let host = material::host(number);
        Prepared::new(
            Method::POST,
            "/api/v1/certificate/request-with-simplerequest",
            &[(TOKEN_HEADER, &server.token)],
            format!(r#"{{"domains":["{host}"],"subject":{{"common_name":"{host}"}}}}"#),
        )
    };
    Ok(Traffic {
        name: "issue with a new key (P-256)".to_owned(),
        requests: (0..count).map(order).collect::<anyhow::Result<_>>()?,
        expected: StatusCode::CREATED,
        is_good: |body| body.starts_with(br#"{"certificate_pem":"#),
    })
}
