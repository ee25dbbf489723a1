//! The edge, beside other servers: the same handshakes and requests for all of them, on the same
//! cores, one after the other in rounds, so that what disturbs the machine disturbs all alike.

mod field;
mod ground;
mod results;

use std::sync::Arc;

use anyhow::Context as _;
use http::{Method, StatusCode, header};
use rustls::pki_types::ServerName;

use crate::arguments::{Edge, Load, Options};
use crate::load::handshakes::{self, Expected, Handshakes};
use crate::load::http::{Prepared, Security, Traffic, drive_over};
use crate::load::{Limit, Measurement};
use crate::peers::{self, Peer};
use crate::report::Report;
use crate::server::pin_load_generator;
use crate::tls::{Groups, Offer, Version};
use field::{Contestant, Field};
use ground::Ground;
use results::{Footprint, Place, Results};

/// Names that most handshakes are for, of many.
const HOT: usize = 1_000;

/// Measures the edge.
///
/// # Errors
/// When a server cannot be started, or ends while it is measured.
pub(crate) async fn run(options: &Options, edge: &Edge) -> anyhow::Result<Vec<Report>> {
    anyhow::ensure!(
        options.url.is_none() && options.database == "sqlite",
        "the edge is measured on data directories that are filled here: no --url, no --database"
    );
    let (peers, mut notes) = peers::find(edge)?;
    let ground = Ground::prepare(edge)?;
    if !edge.without_chancery {
        for domains in edge.sizes() {
            ground.fill(options, domains).await?;
        }
    }
    pin_load_generator(options).await?;
    let backend = ground.start_backend(options, edge).await?;
    let field = Field::start(options, edge, &ground, &peers).await?;
    let mut results = Results::default();
    for round in 0..edge.rounds {
        turns(options, edge, &field, round, &mut results).await?;
    }
    let mut footprints = field.footprints()?;
    field.stop().await?;
    footprints.extend(crowded(options, edge, &ground, &peers, &mut notes).await?);
    drop(backend);
    Ok(results::reports(&results, &footprints, notes))
}

/// One round: every load, and with each every server.
async fn turns(
    options: &Options,
    edge: &Edge,
    field: &Field,
    round: usize,
    results: &mut Results,
) -> anyhow::Result<()> {
    let loads = edge.loads.iter().enumerate();
    for (at, load) in loads.filter(|(_, load)| **load != Load::Resumed || !edge.without_tickets) {
        let mut turns: Vec<_> = field.contestants.iter().enumerate().collect();
        // Nobody is always the one after the same.
        let first = round % turns.len().max(1);
        turns.rotate_left(first);
        for (place, contestant) in turns {
            for (variant, (label, names)) in contestant.variants(*load).into_iter().enumerate() {
                let turn = Turn {
                    load: *load,
                    round,
                    label: &label,
                    names,
                };
                let measured = turn.measure(options, edge, contestant).await;
                let measured = measured.with_context(|| label.clone())?;
                let place = Place {
                    load: at,
                    contestant: place,
                    variant,
                };
                results.add(place, *load, contestant.kind, measured);
            }
        }
    }
    Ok(())
}

/// What a server is to do when it has its turn.
struct Turn<'a> {
    load: Load,
    round: usize,
    label: &'a str,
    names: &'a Arc<[ServerName<'static>]>,
}

impl Turn<'_> {
    async fn measure(
        &self,
        options: &Options,
        edge: &Edge,
        contestant: &Contestant,
    ) -> anyhow::Result<Measurement> {
        let limit = Limit::Time(options.measured().div_f64(edge.rounds as f64));
        let (target, clients) = (contestant.target(), options.clients);
        let Some(expected) = self.expected() else {
            let name = self.names.first().context("no name to ask for")?;
            let security = Security {
                config: self.offer().config()?,
                server_name: name.clone(),
            };
            let traffic = self.requests(name)?;
            return drive_over(Some(security), target, clients, limit, traffic).await;
        };
        let handshakes = Handshakes {
            name: self.label.to_owned(),
            names: self.names.clone(),
            expected,
            offer: self.offer(),
            seed: edge.seed.wrapping_add(self.round as u64),
        };
        if self.round == 0 && expected == Expected::Full && self.names.len() <= HOT {
            // Names are asked for before, so that what is loaded on demand has been.
            let limit = Limit::Count {
                requests: 3 * self.names.len() as u64,
                keep: false,
            };
            handshakes::drive(target, clients, limit, &handshakes).await?;
        }
        handshakes::drive(target, clients, limit, &handshakes).await
    }

    fn offer(&self) -> Offer {
        Offer {
            groups: match self.load {
                Load::Classic => Groups::Classic,
                _ => Groups::Hybrid,
            },
            version: match self.load {
                Load::Tls12 => Version::Tls12,
                _ => Version::Tls13,
            },
            resumption: false,
            checks_name: true,
        }
    }

    /// What is to happen to handshakes, if they are what is measured.
    fn expected(&self) -> Option<Expected> {
        match self.load {
            Load::Hybrid | Load::Classic | Load::Tls12 => Some(Expected::Full),
            Load::Resumed => Some(Expected::Resumed),
            Load::Unknown => Some(Expected::Refused),
            Load::Requests => None,
        }
    }

    fn requests(&self, name: &ServerName<'static>) -> anyhow::Result<Traffic> {
        let host = name.to_str();
        let request = Prepared::new(Method::GET, "/", &[(header::HOST, &host)], "")?;
        Ok(Traffic {
            name: self.label.to_owned(),
            requests: vec![request],
            expected: StatusCode::OK,
            is_good: |body| !body.is_empty(),
        })
    }
}

/// Other servers with many certificates: how long they take to start, and what they hold.
async fn crowded(
    options: &Options,
    edge: &Edge,
    ground: &Ground,
    peers: &[Peer],
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<Footprint>> {
    let mut footprints = Vec::new();
    if edge.peer_domains == 0 || peers.is_empty() {
        return Ok(footprints);
    }
    let names = ground.crowd(edge.peer_domains)?;
    for peer in peers {
        let started = field::peer(options, edge, ground, peer, &names).await;
        let contestant = match started {
            Ok(contestant) => contestant,
            Err(error) => {
                let count = names.len();
                notes.push(format!("{} with {count} names: {error:#}", peer.label));
                continue;
            }
        };
        for (label, names) in contestant.variants(Load::Hybrid) {
            let turn = Turn {
                load: Load::Hybrid,
                round: 0,
                label: &label,
                names,
            };
            let measured = turn.measure(options, edge, &contestant).await?;
            notes.push(format!("{label}: {:.0} full handshakes/s", measured.rate()));
        }
        footprints.push(contestant.footprint()?);
    }
    Ok(footprints)
}
