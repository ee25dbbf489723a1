//! The command line of what measures TLS.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::at_least_one;
use crate::tls::{Groups, Version};

/// `bench handshake`
#[derive(Debug, Args)]
pub(crate) struct Handshake {
    /// Where the server listens, HOST:PORT
    pub(crate) address: String,
    /// Names to ask for: a file with one on each line, or a list with commas [default: HOST]
    #[arg(long, value_name = "FILE|NAME,...")]
    pub(crate) names: Option<String>,
    /// Resume sessions instead of doing full handshakes
    #[arg(long, conflicts_with = "unknown")]
    pub(crate) resumed: bool,
    /// Ask for random names, which the server must refuse
    #[arg(long, conflicts_with = "names")]
    pub(crate) unknown: bool,
    /// Version of TLS
    #[arg(long, value_enum, default_value_t)]
    pub(crate) tls: Version,
    /// Key exchanges to offer
    #[arg(long, value_enum, default_value_t)]
    pub(crate) groups: Groups,
    /// Of the order in which names are asked for
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// `bench edge`
#[derive(Debug, Args)]
pub(crate) struct Edge {
    /// Numbers of domains, each with a certificate of its own; a Chancery is started for each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10_000], value_parser = at_least_one)]
    pub(crate) domains: Vec<usize>,
    /// What is measured
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Load::ALL)]
    pub(crate) loads: Vec<Load>,
    /// Rounds in which the servers take turns; each gets its share of the time in every round
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    pub(crate) rounds: usize,
    /// Other servers to measure; "none" for none
    #[arg(long, value_delimiter = ',', default_values_t = ["nginx", "haproxy", "caddy", "traefik"].map(str::to_owned))]
    pub(crate) peers: Vec<String>,
    /// Where to look for other servers before the usual places [default: target/bench-peers/bin]
    #[arg(long, value_name = "DIR")]
    pub(crate) peers_directory: Option<PathBuf>,
    /// Certificates of other servers in a second run, for their start and memory; 0 for none
    #[arg(long, default_value_t = 10_000)]
    pub(crate) peer_domains: usize,
    /// Let no server but Chancery send session tickets, unless sessions are to be resumed
    #[arg(long)]
    pub(crate) without_tickets: bool,
    /// Leave Chancery out, to try everything else
    #[arg(long)]
    pub(crate) without_chancery: bool,
    /// Keep the filled data directories here and use those of an earlier run
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Octets of the body that the backend answers with
    #[arg(long, default_value_t = 1_024)]
    pub(crate) length: usize,
    /// Of the order in which names are asked for
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Edge {
    /// The numbers of domains, each once, small ones first.
    pub(crate) fn sizes(&self) -> BTreeSet<usize> {
        self.domains.iter().copied().collect()
    }
}

/// What servers are measured with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Load {
    /// Full handshakes with X25519MLKEM768 on offer
    Hybrid,
    /// Full handshakes with X25519
    Classic,
    /// Full handshakes of TLS 1.2
    Tls12,
    /// Resumed sessions
    Resumed,
    /// Names that must be refused
    Unknown,
    /// Requests on connections that are kept alive, answered by a backend
    Requests,
}

impl Load {
    pub(crate) const ALL: [Self; 6] = [
        Self::Hybrid,
        Self::Classic,
        Self::Tls12,
        Self::Resumed,
        Self::Unknown,
        Self::Requests,
    ];
}

/// `bench bare-tls`
#[derive(Debug, Args)]
pub(crate) struct BareTls {
    /// PEM file with the chain and the key
    #[arg(long)]
    pub(crate) certificate: PathBuf,
    /// The name it is for
    #[arg(long)]
    pub(crate) name: String,
    /// Where it listens, on 127.0.0.1
    #[arg(long)]
    pub(crate) port: u16,
    /// Where requests are passed on to
    #[arg(long)]
    pub(crate) upstream: SocketAddr,
    /// Send no session tickets
    #[arg(long)]
    pub(crate) without_tickets: bool,
}
