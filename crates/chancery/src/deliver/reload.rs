//! The command that has a server take up changed files.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

/// Octets of the end of its output that are kept.
const MOST_OUTPUT: usize = 1024;
/// How long its output is read after it has ended; a child that it left behind may hold it open.
const GRACE: Duration = Duration::from_secs(1);
/// What of our environment is a secret of ours.
const SECRETS: [&str; 1] = ["CHANCERY_TOKEN"];

/// A shell command with the time that it may take.
#[derive(Debug, Clone)]
pub(crate) struct Reload {
    pub(crate) command: String,
    pub(crate) patience: Duration,
}

impl Reload {
    /// Runs it to its end. What fails is told with the end of what it has said.
    pub(crate) async fn run(&self) -> Result<(), String> {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(&self.command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // So that all it starts can be ended together.
            .process_group(0)
            .kill_on_drop(true);
        for secret in SECRETS {
            command.env_remove(secret);
        }
        let spawned = command.spawn();
        let mut child = spawned.map_err(|error| format!("/bin/sh cannot be run: {error}"))?;
        let group = child.id();
        let (mut said, mut complained) = (Vec::new(), Vec::new());
        let status = {
            let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
            let reading =
                async { tokio::join!(tail(stdout, &mut said), tail(stderr, &mut complained)) };
            tokio::pin!(reading);
            let mut is_read = false;
            let waiting = async {
                loop {
                    tokio::select! {
                        status = child.wait() => break status,
                        _ = &mut reading, if !is_read => is_read = true,
                    }
                }
            };
            let status = timeout(self.patience, waiting).await;
            if status.is_ok() && !is_read {
                // What it has left running is no longer a matter of its patience.
                let _ = timeout(GRACE, reading).await;
            }
            status
        };
        let status = match status {
            Ok(status) => status,
            Err(_) => match child.try_wait() {
                Ok(None) => {
                    end(group).await;
                    let seconds = self.patience.as_secs_f64();
                    return Err(format!(
                        "the reload command took more than {seconds} s and was ended"
                    ));
                }
                Ok(Some(status)) => Ok(status),
                Err(error) => Err(error),
            },
        };
        let status =
            status.map_err(|error| format!("the reload command cannot be run: {error}"))?;
        if status.success() {
            return Ok(());
        }
        // Programs complain on one; what they say on the other is better than nothing.
        let heard = [complained, said].map(|heard| String::from_utf8_lossy(&heard).into_owned());
        let heard = heard.iter().find(|heard| !heard.trim().is_empty());
        Err(told(
            &format!("the reload command ended with {status}"),
            heard.map_or("", String::as_str),
        ))
    }
}

fn told(what: &str, said: &str) -> String {
    match said.trim() {
        "" => what.to_owned(),
        said => format!("{what}: {said}"),
    }
}

/// Ends a process group.
async fn end(group: Option<u32>) {
    let Some(group) = group else {
        return;
    };
    let mut kill = Command::new("/bin/sh");
    kill.arg("-c").arg(format!("kill -s KILL -- -{group}"));
    kill.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // What has ended by itself meanwhile need not be ended.
    let _ = kill.status().await;
}

/// Keeps the end of what comes, all of which is taken: the program would wait otherwise.
async fn tail(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else {
        return;
    };
    let mut read = [0; 4096];
    while let Ok(length) = pipe.read(&mut read).await {
        if length == 0 {
            break;
        }
        kept.extend(read.iter().take(length));
        let surplus = kept.len().saturating_sub(MOST_OUTPUT);
        kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn reload(command: &str) -> Reload {
        Reload {
            command: command.to_owned(),
            patience: Duration::from_secs(20),
        }
    }

    #[tokio::test]
    async fn what_fails_is_told_with_the_end_of_its_complaint() {
        reload("exit 0").run().await.unwrap();
        let failed = reload("echo fine; echo line 7 is wrong >&2; exit 3")
            .run()
            .await;
        let failed = failed.unwrap_err();
        assert!(failed.contains("exit status: 3"), "{failed}");
        assert!(failed.ends_with(": line 7 is wrong"), "{failed}");
        let long = reload("yes | head -c 1000000 >&2; echo the end >&2; exit 1")
            .run()
            .await;
        let long = long.unwrap_err();
        assert!(long.len() < 1_200 && long.ends_with("the end"), "{long}");
        let silent = reload("echo only on stdout; false")
            .run()
            .await
            .unwrap_err();
        assert!(silent.ends_with("only on stdout"), "{silent}");
        let unknown = reload("no-such-program-at-all").run().await.unwrap_err();
        assert!(unknown.contains("no-such-program-at-all"), "{unknown}");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_ended_with_all_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let slow = Reload {
            command: format!("sleep 1000 & echo $! > {}; wait", pid.display()),
            patience: Duration::from_millis(500),
        };
        let ended = slow.run().await.unwrap_err();
        assert!(ended.contains("0.5 s"), "{ended}");
        let pid = std::fs::read_to_string(pid).unwrap();
        let state = format!("/proc/{}/stat", pid.trim());
        let is_over = || {
            let stat = std::fs::read_to_string(&state);
            stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
        };
        let waiting = async {
            while !is_over() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), waiting).await.unwrap();
    }

    #[tokio::test]
    async fn what_it_leaves_running_does_not_hold_us_up() {
        let left = reload("sleep 5 & echo started");
        timeout(Duration::from_secs(4), left.run())
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn a_daemon_that_holds_the_output_does_not_count_against_the_patience() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let started = Reload {
            command: format!("sleep 1000 & echo $! > {}", pid.display()),
            patience: GRACE / 2,
        };
        started.run().await.unwrap();
        let pid = std::fs::read_to_string(pid).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap();
        assert!(!stat.contains(") Z "), "{stat}");
        let ended = Command::new("kill").arg(pid.trim()).status().await;
        assert!(ended.unwrap().success());
        let failed = reload("sleep 5 & echo no such file >&2; exit 1")
            .run()
            .await;
        assert!(failed.unwrap_err().ends_with("no such file"));
    }
}
