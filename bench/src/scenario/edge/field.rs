//! The servers that are measured, all running, each idle until it has its turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustls::pki_types::ServerName;

use super::HOT;
use super::ground::Ground;
use super::results::{Footprint, Kind};
use crate::arguments::{Edge, Load, Options};
use crate::load::Target;
use crate::peers::{Orders, Peer};
use crate::process::{Memory, Process};
use crate::server::Server;
use crate::standing::{Standing, Start, free_port, wait};
use crate::{material, names};

/// How the line of a server ends that is asked for all its names.
pub(super) const ALL: &str = ", all asked for";
/// How long a server must have done nothing to count as settled.
const CALM: Duration = Duration::from_millis(500);
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// CPU time in [`CALM`] that is nothing: housekeeping.
const NOTHING: Duration = Duration::from_millis(20);

/// All servers.
pub(super) struct Field {
    pub(super) contestants: Vec<Contestant>,
}

/// A server with its names.
pub(super) struct Contestant {
    pub(super) kind: Kind,
    pub(super) label: String,
    /// How many names it serves.
    domains: usize,
    hot: Arc<[ServerName<'static>]>,
    /// All names, if they are more than the hot ones.
    all: Option<Arc<[ServerName<'static>]>>,
    /// From its start to the end of the first handshake.
    ready_after: Duration,
    /// What it held when it had done what a start makes it do.
    settled: Memory,
    running: Running,
}

enum Running {
    Chancery(Box<Server>, Target),
    Other(Standing),
}

impl Field {
    /// Starts the bare server, Chancery with each number of domains, and the peers.
    ///
    /// # Errors
    /// When one does not start.
    pub(super) async fn start(
        options: &Options,
        edge: &Edge,
        ground: &Ground,
        peers: &[Peer],
    ) -> anyhow::Result<Self> {
        let mut contestants = vec![bare(options, edge, ground).await?];
        if !edge.without_chancery {
            for domains in edge.sizes() {
                contestants.push(chancery(options, ground, domains).await?);
            }
        }
        let names = [ground.shared.name.clone()];
        for peer in peers {
            contestants.push(self::peer(options, edge, ground, peer, &names).await?);
        }
        Ok(Self { contestants })
    }

    /// What the servers hold now.
    ///
    /// # Errors
    /// When one has ended.
    pub(super) fn footprints(&self) -> anyhow::Result<Vec<Footprint>> {
        self.contestants.iter().map(Contestant::footprint).collect()
    }

    /// Ends all servers.
    ///
    /// # Errors
    /// When a Chancery does not end in order.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        for contestant in self.contestants {
            if let Running::Chancery(server, _) = contestant.running {
                server.stop().await?;
            }
        }
        Ok(())
    }
}

impl Contestant {
    async fn new(
        kind: Kind,
        label: String,
        names: Vec<String>,
        ready_after: Duration,
        running: Running,
    ) -> anyhow::Result<Self> {
        let domains = names.len();
        let parse = |name: &String| names::parse(name);
        let step = domains.div_ceil(HOT);
        let hot = names.iter().step_by(step).map(parse);
        let hot = hot.collect::<anyhow::Result<_>>()?;
        let all = (domains > HOT).then(|| names.iter().map(parse).collect());
        let mut contestant = Self {
            kind,
            label,
            domains,
            hot,
            all: all.transpose()?,
            ready_after,
            settled: Memory::default(),
            running,
        };
        contestant.settled = settle(contestant.process()?).await?;
        Ok(contestant)
    }

    pub(super) fn target(&self) -> Target {
        match &self.running {
            Running::Chancery(_, target) => *target,
            Running::Other(standing) => standing.target,
        }
    }

    fn process(&self) -> anyhow::Result<Process> {
        self.target().process.context("a server without a process")
    }

    /// The names to ask for, and what the line with them is called.
    pub(super) fn variants(&self, load: Load) -> Vec<(String, &Arc<[ServerName<'static>]>)> {
        let label = &self.label;
        match &self.all {
            Some(all) if load == Load::Hybrid => vec![
                (format!("{label}, {HOT} of them asked for"), &self.hot),
                (format!("{label}{ALL}"), all),
            ],
            _ => vec![(label.clone(), &self.hot)],
        }
    }

    /// What it took to start, and what it holds now.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn footprint(&self) -> anyhow::Result<Footprint> {
        let process = self.process()?;
        Ok(Footprint {
            kind: self.kind,
            label: self.label.clone(),
            domains: self.domains,
            ready_after: self.ready_after,
            settled: self.settled,
            loaded: process.family_memory()?,
        })
    }
}

async fn bare(options: &Options, edge: &Edge, ground: &Ground) -> anyhow::Result<Contestant> {
    let directory = tempfile::tempdir()?;
    let port = free_port()?;
    let name = &ground.shared.name;
    let mut arguments = vec![
        "bare-tls".to_owned(),
        format!("--certificate={}", ground.shared_bundle().display()),
        format!("--name={name}"),
        format!("--port={port}"),
        format!("--upstream={}", ground.backend),
    ];
    if edge.without_tickets {
        arguments.push("--without-tickets".to_owned());
    }
    let program = std::env::current_exe()?;
    let label = "bare rustls";
    let start = Start {
        label,
        program: &program,
        arguments: &arguments,
        port,
        name,
    };
    let standing = start.run(options, directory).await?;
    let ready_after = standing.ready_after;
    let running = Running::Other(standing);
    let names = vec![name.clone()];
    Contestant::new(Kind::Bare, label.to_owned(), names, ready_after, running).await
}

/// Starts a peer with these names.
///
/// # Errors
/// When it does not start.
pub(super) async fn peer(
    options: &Options,
    edge: &Edge,
    ground: &Ground,
    peer: &Peer,
    names: &[String],
) -> anyhow::Result<Contestant> {
    let orders = Orders {
        names,
        certificates: &ground.certificates(),
        backend: ground.backend,
        tickets: !edge.without_tickets,
        cores: options.server_cores(),
    };
    let standing = peer.start(options, &orders).await?;
    let kind = if peer.is_nginx() {
        Kind::Nginx
    } else {
        Kind::Other
    };
    let label = match names.len() {
        1 => peer.label.clone(),
        count => format!("{}, {count} names", peer.label),
    };
    let ready_after = standing.ready_after;
    let running = Running::Other(standing);
    Contestant::new(kind, label, names.to_vec(), ready_after, running).await
}

async fn chancery(
    options: &Options,
    ground: &Ground,
    domains: usize,
) -> anyhow::Result<Contestant> {
    let data = ground.data(domains);
    let names: Vec<String> = (0..domains).map(material::host).collect();
    let arguments = [
        "--edge-https",
        "127.0.0.1:0",
        "--edge-http",
        "127.0.0.1:0",
        "--log",
        "warn",
    ];
    let started = Instant::now();
    let server = Server::start_on(Some(&data), options, &arguments).await?;
    let address = server.edge.context("the ready line has no edge_https")?;
    let name = names.first().context("no name to serve")?;
    let ready_after = wait(address, name, started, || Ok(true)).await?;
    let target = Target {
        address,
        ..server.target
    };
    let label = match domains {
        1 => "Chancery, 1 name".to_owned(),
        count => format!("Chancery, {count} names"),
    };
    let running = Running::Chancery(Box::new(server), target);
    Contestant::new(Kind::Chancery, label, names, ready_after, running).await
}

/// Waits until a server has done what its start makes it do, and tells what it holds then.
async fn settle(process: Process) -> anyhow::Result<Memory> {
    let begun = Instant::now();
    let mut before = process.family_cpu_time()?;
    loop {
        tokio::time::sleep(CALM).await;
        let now = process.family_cpu_time()?;
        if now.saturating_sub(before) <= NOTHING || begun.elapsed() > PATIENCE {
            return process.family_memory();
        }
        before = now;
    }
}
