//! `chancery deliver`, run as its users run it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::chancery::{Chancery, binary};
use crate::daemon::{follow, lock};
use crate::process::{self, Output, Reaper};

/// How long an orderly end may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// How to deliver into a directory.
#[derive(Clone, Debug)]
pub struct Delivery {
    url: String,
    token: String,
    ca: PathBuf,
    target: String,
    directory: PathBuf,
    args: Vec<String>,
}

/// A running `chancery deliver`; killed when dropped.
pub struct Deliverer {
    delivery: Delivery,
    child: Child,
    log: Arc<Mutex<String>>,
    _reaper: Reaper,
}

impl Chancery {
    /// Says how to deliver to `directory` from this server, with a token of the account `admin` made
    /// for it.
    ///
    /// # Panics
    ///
    /// When no token can be made.
    #[must_use]
    #[track_caller]
    pub fn delivery(&self, target: &str, directory: &Path) -> Delivery {
        let made = self.cli(&["token", "create", "--deliver", "--name", target]);
        assert_eq!(made.code(), Some(0), "{made:?}");
        Delivery {
            url: self.http(),
            token: made.text().trim().to_owned(),
            ca: self.root_certificate(),
            target: target.to_owned(),
            directory: directory.to_owned(),
            args: Vec::new(),
        }
    }
}

impl Delivery {
    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Speaks to the server at this URL.
    #[must_use]
    pub fn url(mut self, url: &str) -> Self {
        url.clone_into(&mut self.url);
        self
    }

    /// Comes with this token.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }

    /// Starts to deliver.
    ///
    /// # Panics
    ///
    /// When the program cannot be started.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Deliverer {
        let log = Arc::default();
        let (child, reaper) = self.spawn(&log);
        Deliverer {
            delivery: self,
            child,
            log,
            _reaper: reaper,
        }
    }

    /// Delivers once, however it ends. `prefix` is shell that comes before, such as limits.
    #[must_use]
    #[track_caller]
    pub fn once(&self, prefix: &str) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{prefix}\nexec \"$0\" \"$@\"")]);
        command.arg(binary());
        self.complete(&mut command);
        command.arg("--once");
        process::finish(command, b"")
    }

    fn spawn(&self, log: &Arc<Mutex<String>>) -> (Child, Reaper) {
        let mut command = Command::new(binary());
        self.complete(&mut command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let reaper = Reaper::watch(&child);
        let stderr = child.stderr.take().expect("the stream is piped");
        follow(stderr, log, |_| ());
        (child, reaper)
    }

    fn complete(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHANCERY_") {
                command.env_remove(name);
            }
        }
        command
            .env("CHANCERY_URL", &self.url)
            .env("CHANCERY_TOKEN", &self.token)
            .env("CHANCERY_CA", &self.ca)
            .args(["deliver", "--target", &self.target, "--directory"])
            .arg(&self.directory)
            .args(&self.args);
    }
}

impl Deliverer {
    /// All that it has said, also before it was killed.
    #[must_use]
    pub fn log(&self) -> String {
        lock(&self.log).clone()
    }

    /// Kills it at once (SIGKILL) and starts it again.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
        let (child, reaper) = self.delivery.spawn(&self.log);
        self.child = child;
        self._reaper = reaper;
    }

    /// Asks it to end (SIGTERM) and returns how it did.
    ///
    /// # Panics
    ///
    /// When it has not ended within a minute.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        process::signal(&self.child, "TERM");
        process::wait(&mut self.child, DEADLINE, "chancery deliver after SIGTERM")
    }
}

impl Drop for Deliverer {
    fn drop(&mut self) {
        // Neither fails for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!(
                "--- log of chancery deliver --target {}\n{}",
                self.delivery.target,
                self.log()
            );
        }
    }
}
