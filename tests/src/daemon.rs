//! Servers that run beside a test, with what they say kept.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::eventually;
use crate::process::{Reaper, kill_group};

/// How long a start may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running server; killed when dropped. Its log is shown when the test fails.
pub(crate) struct Daemon {
    name: &'static str,
    child: Child,
    is_over: bool,
    log: Arc<Mutex<String>>,
    _reaper: Reaper,
}

impl Daemon {
    /// Starts a server and waits until a line of its output, standard or error, has `ready` in it.
    /// A server that ends before is an error: all that it said.
    ///
    /// # Panics
    ///
    /// When the program is not there, or says neither within a minute.
    #[track_caller]
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        ready: &'static str,
    ) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What it starts ends with it: a server's workers outlive a master that is killed.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start {command:?}: {error} (`make setup` installs it)")
            });
        let reaper = Reaper::watch(&child);
        let log = Arc::default();
        let (sender, is_ready) = mpsc::channel();
        let watch = |sender: mpsc::Sender<()>| {
            move |line: &str| {
                if line.contains(ready) {
                    // Nobody waits for a second one.
                    let _ = sender.send(());
                }
            }
        };
        let stdout = child.stdout.take().expect("the stream is piped");
        let stderr = child.stderr.take().expect("the stream is piped");
        let followers = [
            follow(stdout, &log, watch(sender.clone())),
            follow(stderr, &log, watch(sender)),
        ];
        let daemon = Self {
            name,
            child,
            is_over: false,
            log,
            _reaper: reaper,
        };
        match is_ready.recv_timeout(DEADLINE) {
            Ok(()) => Ok(daemon),
            // Both outputs are closed.
            Err(RecvTimeoutError::Disconnected) => {
                eventually(DEADLINE, "the end of the log", || {
                    followers.iter().all(JoinHandle::is_finished).then_some(())
                });
                Err(daemon.log())
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!("{name} is not ready after {DEADLINE:?}")
            }
        }
    }

    /// All that it has said since its start.
    pub(crate) fn log(&self) -> String {
        lock(&self.log).clone()
    }

    /// Ends it at once, with all that it has started.
    pub(crate) fn kill(&mut self) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        // It may have ended, with nothing left of its group.
        let _ = kill_group(&self.child);
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- log of {}\n{}", self.name, lock(&self.log));
        }
    }
}

/// Adds all lines of a stream to `kept` as they come, until the returned thread finds its end.
pub(crate) fn follow(
    stream: impl Read + Send + 'static,
    kept: &Arc<Mutex<String>>,
    mut each: impl FnMut(&str) + Send + 'static,
) -> JoinHandle<()> {
    let kept = Arc::clone(kept);
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&line);
            lock(&kept).push_str(&text);
            each(text.trim_end());
            line.clear();
        }
    })
}

pub(crate) fn lock(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_server_is_there_once_it_says_so_on_either_output() {
        for redirection in ["", ">&2"] {
            let script = format!("echo first; echo now ready {redirection}; exec sleep 600");
            let server = Daemon::start("a server", shell(&script), "ready").unwrap();
            eventually(DEADLINE, "both lines", || {
                let log = server.log();
                (log.contains("first\n") && log.contains("now ready\n")).then_some(())
            });
        }
    }

    #[test]
    fn what_a_server_has_started_ends_with_it() {
        let script = "sleep 600 & echo $! is ready; wait";
        let mut server = Daemon::start("a server", shell(script), "ready").unwrap();
        let log = eventually(DEADLINE, "its line", || {
            Some(server.log()).filter(|log| log.ends_with('\n'))
        });
        let state = format!("/proc/{}/stat", log.split(' ').next().unwrap());
        assert!(std::fs::exists(&state).unwrap());
        server.kill();
        eventually(DEADLINE, "the end of the other", || {
            let stat = std::fs::read_to_string(&state);
            stat.map_or(true, |stat| stat.contains(") Z "))
                .then_some(())
        });
    }

    #[test]
    fn a_server_that_ends_at_once_says_why() {
        let command = shell("echo the port is taken >&2; exit 1");
        let log = Daemon::start("a server", command, "ready").err().unwrap();
        assert_eq!(log, "the port is taken\n");
    }
}
