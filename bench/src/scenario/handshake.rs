//! TLS handshakes with a server that runs already, whatever it is.

use std::net::ToSocketAddrs as _;

use anyhow::Context as _;

use crate::arguments::{Handshake, Options};
use crate::load::handshakes::{self, Expected, Handshakes};
use crate::load::{Limit, Target};
use crate::names;
use crate::process::Process;
use crate::report::{Line, Report};
use crate::server::pin_load_generator;
use crate::tls::{Groups, Offer, Version};

/// Measures handshakes.
///
/// # Errors
/// When the address or a name cannot be read, or the process of the server ends.
pub(crate) async fn run(options: &Options, arguments: &Handshake) -> anyhow::Result<Report> {
    let Handshake {
        address,
        names,
        resumed,
        unknown,
        tls,
        groups,
        seed,
    } = arguments;
    let (host, _) = address
        .rsplit_once(':')
        .context("the address is not HOST:PORT")?;
    let names = match names {
        Some(given) => names::read(given)?,
        None => vec![names::parse(host.trim_matches(['[', ']']))?],
    };
    let target = Target {
        address: address
            .to_socket_addrs()
            .with_context(|| format!("cannot find {address}"))?
            .next()
            .context("the host has no address")?,
        process: options.pid.map(Process::new),
        database: None,
    };
    let expected = match (resumed, unknown) {
        (true, _) => Expected::Resumed,
        (_, true) => Expected::Refused,
        _ => Expected::Full,
    };
    pin_load_generator(options).await?;
    let handshakes = Handshakes {
        name: described(expected, *tls, *groups),
        names: names.into(),
        expected,
        offer: Offer {
            groups: *groups,
            version: *tls,
            ..Offer::default()
        },
        seed: *seed,
    };
    let limit = Limit::Time(options.measured());
    let measurement = handshakes::drive(target, options.clients, limit, &handshakes).await?;
    let mut report = Report::new("handshake");
    report.lines.push(Line::of(&measurement));
    report.peak_memory = target.process.map(Process::peak_memory).transpose()?;
    Ok(report)
}

fn described(expected: Expected, version: Version, groups: Groups) -> String {
    let what = match expected {
        Expected::Full => "full handshakes",
        Expected::Resumed => "resumed handshakes",
        Expected::Refused => "unknown names refused",
    };
    let offered = match (version, groups) {
        (Version::Tls12, _) => "TLS 1.2, X25519",
        (Version::Tls13, Groups::Hybrid) => "TLS 1.3, X25519MLKEM768",
        (Version::Tls13, Groups::Classic) => "TLS 1.3, X25519",
    };
    format!("{what}, {offered}")
}
