//! The command line.

mod edge;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

pub(crate) use edge::{BareTls, Edge, Handshake, Load};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures Chancery against the floors it stands on. Without a command, everything is measured
/// that needs no other programs.
#[derive(Debug, Parser)]
#[command(name = "bench", version, max_term_width = 100)]
#[command(after_help = "A quick look: bench --seconds 1 --clients 4")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What all measurements have in common.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long each line is measured, after a tenth of it to warm up
    #[arg(long, global = true, default_value_t = 10.0, value_name = "SECONDS", value_parser = seconds)]
    seconds: f64,
    /// Connections, each with one request in flight
    #[arg(long, global = true, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) clients: u16,
    /// Where the server keeps its certificates: sqlite, postgres (a fresh cluster) or a postgres:// URL
    #[arg(long, global = true, default_value = "sqlite")]
    pub(crate) database: String,
    /// The program to start [default: chancery beside this program]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) server: Option<PathBuf>,
    /// Measure a running server, http://HOST:PORT, instead of starting one
    #[arg(long, global = true, requires = "token", conflicts_with_all = ["server", "pin"])]
    pub(crate) url: Option<String>,
    /// Token of an account of the running server
    #[arg(long, global = true, env = "CHANCERY_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Process id of the server that runs already, to measure its CPU time and memory
    #[arg(long, global = true)]
    pub(crate) pid: Option<u32>,
    /// Give the server the first half of the cores and the load generator the rest (with taskset)
    #[arg(long, global = true)]
    pub(crate) pin: bool,
    /// Whether the server runs already
    #[arg(skip)]
    pub(crate) is_elsewhere: bool,
    /// Print JSON
    #[arg(long, global = true, conflicts_with = "markdown")]
    json: bool,
    /// Print Markdown tables
    #[arg(long, global = true)]
    markdown: bool,
}

/// How the results are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    Json,
    Markdown,
    Table,
}

impl Options {
    pub(crate) fn form(&self) -> Form {
        match (self.json, self.markdown) {
            (true, _) => Form::Json,
            (_, true) => Form::Markdown,
            _ => Form::Table,
        }
    }

    /// How long a line is measured.
    pub(crate) fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// How long a floor is measured: it has no queue to fill and no cache to warm.
    pub(crate) fn floor(&self) -> Duration {
        self.measured().min(Duration::from_secs(3))
    }

    /// Cores that the server may use, and floors with it.
    pub(crate) fn server_cores(&self) -> usize {
        let all = cores();
        if self.pin { (all / 2).max(1) } else { all }
    }

    /// The core numbers, as taskset writes them, of the server and of the load generator.
    pub(crate) fn pinned(&self) -> Option<(String, String)> {
        let all = cores();
        (self.pin && all >= 2).then(|| {
            let half = all / 2;
            (format!("0-{}", half - 1), format!("{half}-{}", all - 1))
        })
    }

    /// The kind of database, without what a URL may hold besides.
    pub(crate) fn database_shown(&self) -> String {
        let kind = self.database.split(':').next().unwrap_or_default();
        if self.is_elsewhere {
            "that of the server".to_owned()
        } else {
            kind.to_owned()
        }
    }

    /// Threads of the load generator.
    pub(crate) fn client_threads(&self) -> usize {
        (cores() - cores() / 2).max(1)
    }
}

/// The cores that this process had when it was started: it may give some of them away later.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Durable issuance through HTTP, against the cost of its cryptography alone
    Issue(Issue),
    /// OCSP answers, against a bare hyper server and against signing alone
    Ocsp(Ocsp),
    /// Lists, lookups and uploads of the KraftCloud API
    Api(Api),
    /// TLS handshakes with any server that runs already
    Handshake(Handshake),
    /// TLS handshakes and requests at the edge, against other servers and a bare one
    Edge(Edge),
    /// The bare HTTP server that OCSP is held against
    #[command(hide = true)]
    Hello {
        /// Octets of the body it answers with
        #[arg(long)]
        length: usize,
        /// Where it listens; 0 for any free port
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// The bare TLS server that the edge is held against
    #[command(hide = true)]
    BareTls(BareTls),
}

impl Command {
    /// Every measurement that needs nothing but Chancery, with its defaults.
    pub(crate) fn all() -> Vec<Self> {
        vec![
            Self::Issue(Issue {
                mode: Mode::Csr,
                pool: POOL,
            }),
            Self::Ocsp(Ocsp {
                certificates: OCSP_CERTIFICATES,
                revocations: OCSP_REVOCATIONS,
            }),
            Self::Api(Api { prefill: PREFILL }),
        ]
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Issue(_) => "issue",
            Self::Ocsp(_) => "ocsp",
            Self::Api(_) => "api",
            Self::Handshake(_) => "handshake",
            Self::Edge(_) => "edge",
            Self::Hello { .. } => "hello",
            Self::BareTls(_) => "bare-tls",
        }
    }
}

const POOL: usize = 4_096;
const OCSP_CERTIFICATES: usize = 1_000;
const OCSP_REVOCATIONS: usize = 5_000;
const PREFILL: u64 = 1_000;

/// `bench issue`
#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// Who has the key
    #[arg(long, value_enum, default_value_t = Mode::Csr)]
    pub(crate) mode: Mode,
    /// Different requests, made before the measurement and used in turn
    #[arg(long, default_value_t = POOL, value_parser = at_least_one)]
    pub(crate) pool: usize,
}

/// The two ways to order a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Mode {
    /// The client sends a certificate request with a P-256 key
    Csr,
    /// The server makes a P-256 key and sends it along
    SimpleRequest,
}

/// `bench ocsp`
#[derive(Debug, Args)]
pub(crate) struct Ocsp {
    /// Certificates that are issued first and then asked about in turn
    #[arg(long, default_value_t = OCSP_CERTIFICATES, value_parser = at_least_one)]
    pub(crate) certificates: usize,
    /// Other certificates that are revoked while those are asked about
    #[arg(long, default_value_t = OCSP_REVOCATIONS, value_parser = at_least_one)]
    pub(crate) revocations: usize,
}

/// `bench api`
#[derive(Debug, Args)]
pub(crate) struct Api {
    /// Certificates that are issued before, to see what a full inventory costs
    #[arg(long, default_value_t = PREFILL, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) prefill: u64,
}

fn seconds(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=3600.0).contains(&number) {
        Ok(number)
    } else {
        Err("must be between 0.1 and 3600".to_owned())
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn spans_of_time_have_bounds() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for bad in ["", "0", "-1", "NaN", "inf", "3601", "1s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
