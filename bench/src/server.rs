//! The server that is measured: one that this program starts in a directory of its own and stops,
//! or one that runs already.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::arguments::Options;
use crate::database::Database;
use crate::load::Target;
use crate::process::Process;

/// How long a start or an orderly end may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// Arguments of a server without a TLS edge.
pub(crate) const WITHOUT_EDGE: [&str; 4] = ["--edge-http", "none", "--edge-https", "none"];
/// Configuration without limits on how often an account may ask.
const UNLIMITED: &str = "[certmaker]\norders_per_minute = 0\nsolves_per_minute = 0\n";
/// How much of the server's log is shown when it does not start.
const LOG_SHOWN: usize = 4_000;

/// A server and the way to it.
pub(crate) struct Server {
    pub(crate) target: Target,
    /// Where the TLS edge listens, if it was told to.
    pub(crate) edge: Option<SocketAddr>,
    /// Token of an account that may do everything asked of it here.
    pub(crate) token: String,
    started: Option<Started>,
}

/// What is taken down again, in this order.
struct Started {
    child: Child,
    _stdout: ChildStdout,
    _database: Database,
    _directory: TempDir,
}

impl Server {
    /// The server that `options` ask for.
    ///
    /// # Errors
    /// When it cannot be started or found; the end of its log is part of the error.
    pub(crate) async fn start(options: &Options) -> anyhow::Result<Self> {
        if let (Some(url), Some(token)) = (&options.url, &options.token) {
            return Self::running(url, token, options.pid.map(Process::new));
        }
        Self::start_on(None, options, &WITHOUT_EDGE).await
    }

    /// A server on a data directory, or on a new one, with arguments of its own.
    ///
    /// # Errors
    /// When it cannot be started; the end of its log is part of the error.
    pub(crate) async fn start_on(
        data: Option<&Path>,
        options: &Options,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("chancery-bench-")
            .tempdir()?;
        let database = Database::start(&options.database)?;
        let program = program(options)?;
        let log = directory.path().join("log");
        let data = data.map_or_else(|| directory.path().join("data"), Path::to_owned);
        // One account orders here as fast as it can.
        let configuration = directory.path().join("chancery.toml");
        std::fs::write(&configuration, UNLIMITED)?;
        let mut command = pinned_command(Side::Server, options, &program);
        command
            .args(["serve", "--listen", "http://127.0.0.1:0", "--data"])
            .arg(&data)
            .args(arguments)
            .current_dir(directory.path())
            .stderr(std::fs::File::create(&log)?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHANCERY_") {
                command.env_remove(name);
            }
        }
        if let Some(url) = database.url() {
            command.args(["--database", url]);
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().context("its output is not piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(pairs) = line.strip_prefix("chancery ready") {
                    return Ok((
                        address(pairs, "api_http")?,
                        address(pairs, "edge_https").ok(),
                    ));
                }
            }
            anyhow::bail!("it ended before it was ready")
        };
        let ready = tokio::time::timeout(DEADLINE, ready).await;
        let (address, edge) = ready
            .context("it was not ready in time")
            .and_then(|addresses| addresses)
            .with_context(|| format!("the server does not start; its log ends:\n{}", tail(&log)))?;
        let token = std::fs::read_to_string(data.join("admin.token"))?;
        Ok(Self {
            target: Target {
                address,
                process: Some(Process::new(child.id().context("the server has ended")?)),
                database: database.process(),
            },
            edge,
            token: token.trim().to_owned(),
            started: Some(Started {
                child,
                _stdout: lines.into_inner().into_inner(),
                _database: database,
                _directory: directory,
            }),
        })
    }

    fn running(url: &str, token: &str, process: Option<Process>) -> anyhow::Result<Self> {
        let host = url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'));
        let host = host.context("only http:// URLs can be measured")?;
        let mut addresses = host
            .to_socket_addrs()
            .with_context(|| format!("'{host}' is not HOST:PORT"))?;
        Ok(Self {
            target: Target {
                address: addresses.next().context("the host has no address")?,
                process,
                database: None,
            },
            edge: None,
            token: token.to_owned(),
            started: None,
        })
    }

    /// The most memory that the server held, in octets.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<Option<u64>> {
        self.target.process.map(Process::peak_memory).transpose()
    }

    /// Stops a server that was started here, and removes all it left.
    ///
    /// # Errors
    /// When it does not end as it should.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let (Some(mut started), Some(process)) = (self.started, self.target.process) else {
            return Ok(());
        };
        let id = process.id().to_string();
        let signalled = Command::new("kill")
            .args(["-s", "TERM", &id])
            .status()
            .await?;
        anyhow::ensure!(signalled.success(), "cannot end the server");
        let status = tokio::time::timeout(DEADLINE, started.child.wait()).await;
        let status = status.context("the server does not end")??;
        anyhow::ensure!(status.success(), "the server ended badly: {status}");
        Ok(())
    }
}

/// The two halves of the machine, when processes are pinned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// The cores of what is measured.
    Server,
    /// The cores of the load generator.
    Client,
}

/// A command whose input and output are piped, killed when dropped, on the cores of its side.
pub(crate) fn pinned_command(side: Side, options: &Options, program: &Path) -> Command {
    let mut command = Command::from(pinned(side, options, program));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A command on the cores of its side.
pub(crate) fn pinned(side: Side, options: &Options, program: &Path) -> std::process::Command {
    let cores = options.pinned().map(|(server, client)| match side {
        Side::Server => server,
        Side::Client => client,
    });
    match cores {
        Some(cores) => {
            let mut command = std::process::Command::new("taskset");
            command.args(["-c", &cores]).arg(program);
            command
        }
        None => std::process::Command::new(program),
    }
}

/// Moves this process, all its threads, to the load generator's cores.
pub(crate) async fn pin_load_generator(options: &Options) -> anyhow::Result<()> {
    let Some((_, cores)) = options.pinned() else {
        return Ok(());
    };
    let id = Process::own().id().to_string();
    let status = Command::new("taskset")
        .args(["-a", "-p", "-c", &cores, &id])
        .stdout(Stdio::null())
        .status()
        .await
        .context("cannot run taskset, which --pin needs")?;
    anyhow::ensure!(status.success(), "taskset cannot pin the load generator");
    Ok(())
}

fn program(options: &Options) -> anyhow::Result<PathBuf> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join("chancery"));
    let program = options
        .server
        .clone()
        .or_else(beside)
        .context("no program to start")?;
    anyhow::ensure!(
        program.is_file(),
        "no {}: run `cargo build --release --package chancery`, or name it with --server",
        program.display()
    );
    Ok(program.canonicalize()?)
}

/// The address of a listener in the ready line.
fn address(pairs: &str, listener: &str) -> anyhow::Result<SocketAddr> {
    let mut pairs = pairs
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(key, _)| *key == listener);
    let (_, address) = found.with_context(|| format!("the ready line has no {listener}"))?;
    address
        .parse()
        .with_context(|| format!("'{address}' is no address"))
}

pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let start = text.len().saturating_sub(LOG_SHOWN);
    String::from_utf8_lossy(text.get(start..).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_in_the_ready_line() {
        let line = " api_https=127.0.0.1:2 api_http=127.0.0.1:1";
        let found = address(line, "api_http").unwrap();
        assert_eq!(found, "127.0.0.1:1".parse().unwrap());
        assert!(address(line, "edge_https").is_err());
        assert!(address(" api_http=nowhere", "api_http").is_err());
    }
}
