//! A PostgreSQL cluster for one test process.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::free_port;
use crate::process::{self, Output};

/// How long the making and starting of a cluster may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// How often another port is tried when somebody else was quicker to take the free one.
const ATTEMPTS: u32 = 5;

/// Makes the cluster, runs the server until its standard input ends, then stops the server and
/// removes everything. Losing a test's data is the point: nothing is synced to disk.
const SERVE: &str = r#"
directory=$(mktemp -d /tmp/chancery-postgres-XXXXXX) || exit 1
trap 'rm -rf "$directory"' EXIT
fail() { cat "$directory/log" >&2; exit 1; }
"$1/initdb" -D "$directory/data" -U postgres -A trust -E UTF8 --locale=C --no-sync \
    >"$directory/log" 2>&1 || fail
"$1/postgres" -D "$directory/data" -p "$2" -k "$directory" -h 127.0.0.1 \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
    -c max_connections=200 -c shared_buffers=64MB >"$directory/log" 2>&1 </dev/null &
server=$!
until grep -q '^ready' "$directory/data/postmaster.pid" 2>/dev/null; do
    kill -0 "$server" 2>/dev/null || fail
    sleep 0.02
done
echo ready
read -r line
kill -s QUIT "$server"
wait "$server"
"#;

/// A running PostgreSQL server with a fresh cluster, on a free port of 127.0.0.1.
pub struct Postgres {
    binaries: PathBuf,
    port: u16,
    databases: AtomicU32,
    /// Its standard input is never written to: the server stops and its files go when that closes,
    /// which the operating system does however this process ends.
    shell: Child,
}

impl Postgres {
    /// The server of this test process, started by the first call.
    ///
    /// # Panics
    ///
    /// Shows the server's log when it does not start, and says what to install when it is missing.
    #[track_caller]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Makes an empty database and returns its URL, `postgres://postgres@127.0.0.1:PORT/NAME`.
    #[track_caller]
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql(&self.url("postgres"), &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Runs SQL in the database at `url` through psql and returns the rows, fields parted by `|`.
    ///
    /// # Panics
    ///
    /// Shows psql's words when a statement fails.
    #[track_caller]
    pub fn psql(&self, url: &str, sql: &str) -> String {
        let mut command = Command::new(self.binaries.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]);
        let output = process::finish(command, sql.as_bytes());
        assert!(output.status.success(), "{sql}: {output:?}");
        output.text()
    }

    fn start() -> Self {
        let binaries = binaries();
        for _ in 0..ATTEMPTS {
            match Self::try_start(binaries.clone()) {
                Ok(server) => return server,
                Err(output) if output.stderr.contains("Address already in use") => {}
                Err(output) => panic!("PostgreSQL does not start: {output:?}"),
            }
        }
        panic!("found no free port for PostgreSQL in {ATTEMPTS} attempts");
    }

    fn try_start(binaries: PathBuf) -> Result<Self, Output> {
        let port = free_port();
        let mut child = unprivileged("sh")
            .args(["-c", SERVE, "postgres"])
            .arg(&binaries)
            .arg(port.to_string())
            // Out of reach of the terminal's Ctrl-C, which would end it before it can clean up.
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh can be started");
        let stdout = child.stdout.take().expect("the stream is piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = sender.send(line);
        });
        let line = receiver
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|_| panic!("PostgreSQL is not ready after {DEADLINE:?}"));
        if line == "ready\n" {
            return Ok(Self {
                binaries,
                port,
                databases: AtomicU32::new(1),
                shell: child,
            });
        }
        let mut stderr = Vec::new();
        let _ = child
            .stderr
            .take()
            .expect("the stream is piped")
            .read_to_end(&mut stderr);
        Err(Output {
            status: process::wait(&mut child, DEADLINE, "PostgreSQL's failing start"),
            stdout: line.into_bytes(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// The newest installed server's programs, where Debian puts them.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .filter(|directory| directory.join("postgres").is_file())
        .expect("the PostgreSQL server is not installed: run `make setup`")
}

/// A command that does not run as root, which PostgreSQL refuses to do.
fn unprivileged(program: &str) -> Command {
    let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", program]);
        command
    } else {
        Command::new(program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_answers_through_psql() {
        let server = Postgres::shared();
        let url = server.create_database();
        server.psql(
            &url,
            "CREATE TABLE t (n bigint); INSERT INTO t VALUES (41), (42);",
        );
        assert_eq!(
            server.psql(&url, "SELECT max(n), count(*) FROM t"),
            "42|2\n"
        );
    }

    #[test]
    fn databases_are_apart() {
        let server = Postgres::shared();
        let (one, other) = (server.create_database(), server.create_database());
        assert_ne!(one, other);
        server.psql(&one, "CREATE TABLE only_here (n int)");
        assert_eq!(server.psql(&other, "SELECT to_regclass('only_here')"), "\n");
    }

    #[test]
    fn the_server_stops_and_leaves_nothing_when_its_standard_input_closes() {
        let mut server = Postgres::start();
        let directory = server.psql(&server.url("postgres"), "SHOW unix_socket_directories");
        let directory = PathBuf::from(directory.trim());
        assert!(directory.exists());
        // What the end of this process would do.
        drop(server.shell.stdin.take());
        crate::eventually(
            Duration::from_secs(60),
            "the removal of the cluster",
            || (!directory.exists()).then_some(()),
        );
    }
}
