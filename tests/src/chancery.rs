//! The built program, run as its users run it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::daemon::{follow, lock};
use crate::http::{self, Response};
use crate::process::{self, Output, Reaper};
use crate::{Workdir, eventually};

/// How long a start or an orderly end may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// How to start the program, beyond what every start has: a fresh data directory, and one plain
/// and one TLS listener for the API and for the edge each, on free ports of 127.0.0.1.
#[derive(Clone, Debug, Default)]
pub struct ChanceryOptions {
    args: Vec<String>,
    environment: Vec<(String, String)>,
    config: Option<String>,
    data: Option<PathBuf>,
    edge_ports: (u16, u16),
}

impl ChanceryOptions {
    /// Adds arguments after `serve`.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Sets an environment variable. No `CHANCERY_…` of the test's own environment is passed on.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts with a configuration file of this content (TOML).
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.to_owned());
        self
    }

    /// Uses this data directory, which the caller keeps and removes.
    #[must_use]
    pub fn data(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data = Some(directory.into());
        self
    }

    /// Has the edge at these ports, for plain HTTP and for TLS, also after a restart; 0 is any.
    #[must_use]
    pub fn edge_ports(mut self, http: u16, https: u16) -> Self {
        self.edge_ports = (http, https);
        self
    }

    /// Starts the program and waits until it is ready.
    ///
    /// # Panics
    ///
    /// Shows the log when it ends before it is ready, or is not ready within a minute.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Chancery {
        let workdir = Workdir::new();
        let running = Running::start(self.serve_command(&workdir));
        Chancery {
            options: self,
            workdir,
            running,
        }
    }

    /// Runs a start that is expected to fail, to its end.
    #[must_use]
    #[track_caller]
    pub fn run_to_end(self) -> Output {
        let workdir = Workdir::new();
        process::finish(self.serve_command(&workdir), b"")
    }

    fn serve_command(&self, workdir: &Workdir) -> Command {
        let mut command = self.command(workdir);
        command
            .arg("serve")
            .arg("--data")
            .arg(self.data_directory(workdir));
        command.args([
            "--listen",
            "http://127.0.0.1:0",
            "--listen",
            "https://127.0.0.1:0",
        ]);
        let (http, https) = self.edge_ports;
        command.args(["--edge-http", &format!("127.0.0.1:{http}")]);
        command.args(["--edge-https", &format!("127.0.0.1:{https}")]);
        if let Some(content) = &self.config {
            command
                .arg("--config")
                .arg(workdir.write("chancery.toml", content));
        }
        command.args(&self.args);
        command
    }

    /// The program with an environment and a current directory that hold no surprises.
    fn command(&self, workdir: &Workdir) -> Command {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHANCERY_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(workdir.root());
        command
    }

    fn data_directory(&self, workdir: &Workdir) -> PathBuf {
        self.data
            .clone()
            .unwrap_or_else(|| workdir.root().join("data"))
    }
}

/// A running `chancery serve`; killed when dropped.
pub struct Chancery {
    running: Running,
    options: ChanceryOptions,
    workdir: Workdir,
}

impl Chancery {
    /// Starts the program with nothing but the defaults of [`ChanceryOptions`].
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::options().start()
    }

    /// Says how to start the program before starting it.
    #[must_use]
    pub fn options() -> ChanceryOptions {
        ChanceryOptions::default()
    }

    /// The base URL of the plain listener, such as `http://127.0.0.1:41234`.
    #[must_use]
    #[track_caller]
    pub fn http(&self) -> String {
        self.url("http", "api_http")
    }

    /// The base URL of the TLS listener, such as `https://127.0.0.1:41235`.
    #[must_use]
    #[track_caller]
    pub fn https(&self) -> String {
        self.url("https", "api_https")
    }

    /// Whether this start or an earlier one on the same data directory made the account `admin`.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.data().join("admin.token").exists()
    }

    /// Where the edge takes plain HTTP.
    #[must_use]
    #[track_caller]
    pub fn edge_http(&self) -> SocketAddr {
        self.address("edge_http")
    }

    /// Where the edge takes TLS for port 443 of services.
    #[must_use]
    #[track_caller]
    pub fn edge_https(&self) -> SocketAddr {
        self.address("edge_https")
    }

    /// Where the edge takes TLS for another port of services, named by `--edge-listen`.
    #[must_use]
    #[track_caller]
    pub fn edge_port(&self, port: u16) -> SocketAddr {
        self.address(&format!("edge_{port}"))
    }

    /// A value of the ready line, such as that of `api_http`.
    #[must_use]
    pub fn endpoint(&self, key: &str) -> Option<&str> {
        let (_, value) = self
            .running
            .endpoints
            .iter()
            .find(|(name, _)| name == key)?;
        Some(value)
    }

    /// The token of the account `admin` that the first start made.
    #[must_use]
    #[track_caller]
    pub fn token(&self) -> String {
        let path = self.data().join("admin.token");
        let token = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        token.trim_end().to_owned()
    }

    /// The most memory that the program has had in use since its last start, bytes.
    ///
    /// # Panics
    ///
    /// When the program does not run any more.
    #[must_use]
    #[track_caller]
    pub fn peak_memory(&self) -> u64 {
        process::peak_memory(&self.running.child)
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.options.data_directory(&self.workdir)
    }

    /// The certificate of the built-in authority's root, which its TLS listener chains to.
    #[must_use]
    pub fn root_certificate(&self) -> PathBuf {
        self.data().join("root.pem")
    }

    /// All that the program wrote to its log since its last start.
    #[must_use]
    pub fn logs(&self) -> String {
        lock(&self.running.log).clone()
    }

    /// All that the program wrote to its standard output since its last start.
    #[must_use]
    pub fn stdout(&self) -> String {
        lock(&self.running.stdout).clone()
    }

    /// Runs the program as a client of this server, with the admin's token.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Output {
        let mut command = self.options.command(&self.workdir);
        command.env("CHANCERY_URL", self.https());
        // A node that joined others has no token of its own; its tests give one.
        if self.has_token() {
            command.env("CHANCERY_TOKEN", self.token());
        }
        command.env("CHANCERY_CA", self.root_certificate());
        command.args(args);
        process::finish(command, b"")
    }

    /// Sends a request to the server's own API; `null` is no body.
    #[track_caller]
    pub fn administer(&self, token: &str, method: &str, path: &str, body: &Value) -> Response {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        http::send(&self.http(), method, path, &headers, body.as_bytes())
    }

    /// The event log: of each event of a kind, the detail, oldest first.
    ///
    /// # Panics
    ///
    /// When the database is not the one in the data directory.
    #[must_use]
    #[track_caller]
    pub fn events(&self, kind: &str) -> Vec<String> {
        const READ: &str = "import json, sqlite3, sys\n\
            database = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True)\n\
            found = database.execute('SELECT detail FROM events WHERE kind = ? ORDER BY id', \
            [sys.argv[2]])\n\
            print(json.dumps([detail for detail, in found]))";
        let database = self.data().join("chancery.db").display().to_string();
        let output = process::run("python3", &["-c", READ, &database, kind], b"");
        serde_json::from_slice(&output.stdout).expect("Python writes JSON")
    }

    /// Runs a line of shell where [`Chancery::cli`] runs, however it ends.
    #[track_caller]
    pub fn shell(&self, line: &str) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.workdir.root());
        process::finish(command, b"")
    }

    /// Ends the program at once, as a crash would (SIGKILL).
    #[track_caller]
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Asks the program to end (SIGTERM) and returns how it did.
    ///
    /// # Panics
    ///
    /// When it has not ended within a minute.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        process::signal(&self.running.child, "TERM");
        process::wait(
            &mut self.running.child,
            DEADLINE,
            "chancery serve after SIGTERM",
        )
    }

    /// Starts the program again on the same data directory with the same options, after killing
    /// it if it still runs. Its ports are new ones.
    #[track_caller]
    pub fn restart(&mut self) {
        self.running.kill();
        self.running = Running::start(self.options.serve_command(&self.workdir));
    }

    #[track_caller]
    fn named(&self, key: &str) -> &str {
        self.endpoint(key)
            .unwrap_or_else(|| panic!("the ready line has no {key}: {:?}", self.running.endpoints))
    }

    #[track_caller]
    fn address(&self, key: &str) -> SocketAddr {
        let value = self.named(key);
        value
            .parse()
            .unwrap_or_else(|error| panic!("{key}={value} is no address: {error}"))
    }

    #[track_caller]
    fn url(&self, scheme: &str, key: &str) -> String {
        let value = self.named(key);
        if value.contains("://") {
            value.to_owned()
        } else {
            format!("{scheme}://{value}")
        }
    }
}

/// The program under test: `CHANCERY_BIN`, or what was built beside this test.
pub(crate) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CHANCERY_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a process knows its program");
    test.ancestors()
        .skip(1)
        .map(|directory| directory.join("chancery"))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!(
                "no `chancery` beside {}: run `cargo build -p chancery`",
                test.display()
            )
        })
}

struct Running {
    child: Child,
    endpoints: Vec<(String, String)>,
    stdout: Arc<Mutex<String>>,
    log: Arc<Mutex<String>>,
    _reaper: Reaper,
}

impl Running {
    #[track_caller]
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (sender, ready) = mpsc::channel();
        let (stdout, log) = (Arc::default(), Arc::default());
        follow(
            child.stdout.take().expect("the stream is piped"),
            &stdout,
            move |line| {
                if let Some(endpoints) = line.strip_prefix("chancery ready") {
                    // Nobody waits for a second ready line.
                    let _ = sender.send(read_pairs(endpoints));
                }
            },
        );
        let stderr = child.stderr.take().expect("the stream is piped");
        let following = follow(stderr, &log, |_| {});
        let mut running = Self {
            _reaper: Reaper::watch(&child),
            child,
            endpoints: Vec::new(),
            stdout,
            log,
        };
        // The sender goes away when the program closes its output: an early end is noticed at once.
        let answer = ready.recv_timeout(DEADLINE);
        running.endpoints = answer.unwrap_or_else(|error| {
            running.kill();
            // What the program wrote last may still be on its way.
            eventually(DEADLINE, "the end of the log", || {
                following.is_finished().then_some(())
            });
            panic!(
                "chancery serve is not ready ({error}); log:\n{}",
                lock(&running.log)
            );
        });
        running
    }

    fn kill(&mut self) {
        // Neither fails for a child that has ended already.
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- log of chancery serve\n{}", lock(&self.log));
        }
    }
}

fn read_pairs(line: &str) -> Vec<(String, String)> {
    line.split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell script in the program's place.
    fn stand_in(workdir: &Workdir, script: &str) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(workdir.root());
        Running::start(command)
    }

    #[test]
    fn the_ready_line_is_read_and_the_log_kept() {
        let workdir = Workdir::new();
        let running = stand_in(
            &workdir,
            "echo starting; echo a log line >&2
             echo chancery ready api_http=http://127.0.0.1:1 api_https=127.0.0.1:2 \
             edge_5432=127.0.0.1:3; exec sleep 600",
        );
        let chancery = Chancery {
            running,
            options: ChanceryOptions::default(),
            workdir,
        };
        assert_eq!(chancery.http(), "http://127.0.0.1:1");
        assert_eq!(chancery.https(), "https://127.0.0.1:2");
        assert_eq!(chancery.edge_port(5_432).port(), 3);
        // A program that has just been loaded has used next to nothing.
        eventually(DEADLINE, "memory in use", || {
            (chancery.peak_memory() > 10_000).then_some(())
        });
        assert!(chancery.stdout().starts_with("starting\n"));
        eventually(DEADLINE, "the log line", || {
            (chancery.logs() == "a log line\n").then_some(())
        });
    }

    #[test]
    fn termination_gives_the_exit_status() {
        let workdir = Workdir::new();
        let script = "trap 'exit 7' TERM; echo chancery ready; while :; do sleep 0.01; done";
        let running = stand_in(&workdir, script);
        let mut chancery = Chancery {
            running,
            options: ChanceryOptions::default(),
            workdir,
        };
        assert_eq!(chancery.terminate().code(), Some(7));
    }

    #[test]
    #[should_panic(expected = "the disk is full")]
    fn an_early_end_shows_the_log() {
        stand_in(&Workdir::new(), "echo the disk is full >&2; exit 1");
    }
}
