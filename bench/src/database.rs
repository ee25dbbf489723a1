//! Where the measured server keeps its certificates. A PostgreSQL cluster that is started here syncs
//! to disk like one that matters: what is not durable must not be measured as if it were.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

use crate::process::Process;

/// Makes a cluster and runs its server until the standard input ends, then removes everything.
/// Writes the server's process id when it is ready.
const SERVE: &str = r#"
directory=$(mktemp -d "${TMPDIR:-/tmp}/chancery-bench-postgres-XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
fail() { cat "$directory/log" >&2; exit 1; }
"$1/initdb" -D "$directory/data" -U postgres -A trust -E UTF8 --locale=C \
    >"$directory/log" 2>&1 || fail
"$1/postgres" -D "$directory/data" -p "$2" -k "$directory" -h 127.0.0.1 \
    -c shared_buffers=256MB >"$directory/log" 2>&1 </dev/null &
server=$!
until grep -q '^ready' "$directory/data/postmaster.pid" 2>/dev/null; do
    kill -0 "$server" 2>/dev/null || fail
    sleep 0.02
done
echo "$server"
read -r line
kill -s INT "$server"
wait "$server"
"#;

/// The database of one measured server.
pub(crate) enum Database {
    /// SQLite in the server's data directory.
    Embedded,
    /// PostgreSQL that runs already.
    Elsewhere(String),
    /// A PostgreSQL cluster of our own.
    Cluster(Cluster),
}

/// A PostgreSQL server that stops when this is dropped, or when this process ends.
pub(crate) struct Cluster {
    shell: Child,
    process: Process,
    url: String,
}

impl Database {
    /// Reads `sqlite`, `postgres` or a URL, and starts what is needed.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start.
    pub(crate) fn start(choice: &str) -> anyhow::Result<Self> {
        match choice {
            "sqlite" => Ok(Self::Embedded),
            "postgres" => Cluster::start().map(Self::Cluster),
            url if url.contains(':') => Ok(Self::Elsewhere(url.to_owned())),
            other => anyhow::bail!("--database is sqlite, postgres or a URL, not '{other}'"),
        }
    }

    /// What to tell the server; nothing for its default.
    pub(crate) fn url(&self) -> Option<&str> {
        match self {
            Self::Embedded => None,
            Self::Elsewhere(url) | Self::Cluster(Cluster { url, .. }) => Some(url),
        }
    }

    /// The first process of the database server, if it was started here.
    pub(crate) fn process(&self) -> Option<Process> {
        match self {
            Self::Cluster(cluster) => Some(cluster.process),
            Self::Embedded | Self::Elsewhere(_) => None,
        }
    }
}

impl Cluster {
    fn start() -> anyhow::Result<Self> {
        // Another process may take the port before the server does; it then says so and ends.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut shell = unprivileged("sh")
            .args(["-c", SERVE, "postgres"])
            .arg(binaries()?)
            .arg(port.to_string())
            // Out of reach of the terminal's Ctrl-C, which would end it before it can clean up.
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start PostgreSQL")?;
        let mut line = String::new();
        let stdout = shell.stdout.take().context("its output is not piped")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let Ok(id) = line.trim().parse() else {
            let mut log = String::new();
            if let Some(mut stderr) = shell.stderr.take() {
                stderr.read_to_string(&mut log)?;
            }
            anyhow::bail!("PostgreSQL does not start:\n{log}");
        };
        Ok(Self {
            shell,
            process: Process::new(id),
            url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Nothing is left to be done about a shell that cannot be waited for.
        let _ = self.shell.wait();
    }
}

/// The newest installed server's programs, where Debian puts them.
fn binaries() -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .context("the PostgreSQL server is not installed: run `make setup`")
}

/// A command that does not run as root, which PostgreSQL refuses to do.
fn unprivileged(program: &str) -> Command {
    if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", program]);
        command
    } else {
        Command::new(program)
    }
}
