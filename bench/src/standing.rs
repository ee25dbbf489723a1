//! A server that stands beside others to be measured: started in a directory of its own, on the
//! cores of servers, and ended when it is dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::arguments::Options;
use crate::load::{Target, handshakes};
use crate::names;
use crate::process::Process;
use crate::server::{Side, pinned, tail};
use crate::tls::Offer;

/// How long a start may take: some read all their certificates first.
const DEADLINE: Duration = Duration::from_secs(600);
/// Pause between two attempts to reach a server that starts.
const PAUSE: Duration = Duration::from_millis(2);
/// How long an orderly end may take before it is a forced one.
const PATIENCE: Duration = Duration::from_secs(10);

/// A program to be started.
pub(crate) struct Start<'a> {
    pub(crate) label: &'a str,
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [String],
    /// Where it is going to listen, on 127.0.0.1.
    pub(crate) port: u16,
    /// A name that it serves.
    pub(crate) name: &'a str,
}

/// A running server. What it started itself, it ends itself.
pub(crate) struct Standing {
    pub(crate) target: Target,
    /// From its start to the end of the first handshake.
    pub(crate) ready_after: Duration,
    child: Child,
    _directory: TempDir,
}

impl Start<'_> {
    /// Starts it with `directory` as its home, and waits for the first handshake.
    ///
    /// # Errors
    /// When it ends, or does not serve in time; the end of its log is part of the error.
    pub(crate) async fn run(
        self,
        options: &Options,
        directory: TempDir,
    ) -> anyhow::Result<Standing> {
        let Self {
            label,
            program,
            arguments,
            port,
            name,
        } = self;
        let log = directory.path().join("log");
        let output = std::fs::File::create(&log)?;
        let started = Instant::now();
        let child = pinned(Side::Server, options, program)
            .args(arguments)
            .current_dir(directory.path())
            .env("HOME", directory.path())
            .env("XDG_DATA_HOME", directory.path())
            .env("XDG_CONFIG_HOME", directory.path())
            // Kept open: the bare servers end when it is closed.
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let target = Target {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            process: Some(Process::new(child.id())),
            database: None,
        };
        let mut standing = Standing {
            target,
            ready_after: Duration::ZERO,
            child,
            _directory: directory,
        };
        let served = wait(target.address, name, started, || {
            Ok(standing.child.try_wait()?.is_none())
        });
        standing.ready_after = served
            .await
            .with_context(|| format!("{label} does not start; its log ends:\n{}", tail(&log)))?;
        Ok(standing)
    }
}

/// Tries handshakes until one is done; the answer is how long after `started` that was.
///
/// # Errors
/// When there is none in time, or the server is not running any more.
pub(crate) async fn wait(
    address: SocketAddr,
    name: &str,
    started: Instant,
    mut is_running: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    let config = Offer::default().config()?;
    let name = names::parse(name)?;
    loop {
        let attempt = handshakes::attempt(address, config.clone(), name.clone()).await;
        let Err(error) = attempt else {
            return Ok(started.elapsed());
        };
        anyhow::ensure!(is_running()?, "it has ended");
        anyhow::ensure!(
            started.elapsed() < DEADLINE,
            "it does not serve in time: {error}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// A port that nobody listens at. Another process may take it before it is used.
///
/// # Errors
/// When there is none.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

impl Drop for Standing {
    fn drop(&mut self) {
        // Asked to end, nginx ends its workers; killed, it would leave them behind. Nothing is
        // left to be done when any of this fails.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &id]).status();
        let begun = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            if begun.elapsed() > PATIENCE {
                let _ = self.child.kill();
            }
            std::thread::sleep(PAUSE);
        }
    }
}
