//! Running other programs: to their end with a deadline, or for as long as the test process lives.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::eventually;

/// How long a program that should end by itself may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a program left behind.
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// All it wrote to its standard error output.
    pub stderr: String,
}

impl Output {
    /// The standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The exit code; `None` when a signal ended the program.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.status,
            self.text(),
            self.stderr
        )
    }
}

/// Runs `openssl` with `args` and `stdin`.
///
/// # Panics
///
/// Shows both outputs unless it exits with 0.
#[track_caller]
pub fn openssl(args: &[&str], stdin: &[u8]) -> Output {
    run("openssl", args, stdin)
}

/// Runs `openssl` with `args` and `stdin`, however it ends.
#[track_caller]
pub fn try_openssl(args: &[&str], stdin: &[u8]) -> Output {
    try_run("openssl", args, stdin)
}

/// Runs a program with `args` and `stdin`.
///
/// # Panics
///
/// Shows both outputs unless it exits with 0.
#[track_caller]
pub fn run(program: &str, args: &[&str], stdin: &[u8]) -> Output {
    let output = try_run(program, args, stdin);
    assert!(
        output.status.success(),
        "{program} {}: {output:?}",
        args.join(" ")
    );
    output
}

/// Runs a program with `args` and `stdin`, however it ends.
///
/// # Panics
///
/// When the program cannot be started or does not end within two minutes.
#[track_caller]
pub fn try_run(program: &str, args: &[&str], stdin: &[u8]) -> Output {
    let mut command = Command::new(program);
    command.args(args);
    finish(command, stdin)
}

/// Starts `command`, feeds it `stdin` and waits for its end.
#[track_caller]
pub(crate) fn finish(command: Command, stdin: &[u8]) -> Output {
    finish_within(DEADLINE, command, stdin)
}

/// [`finish`] for a program that may take its time.
#[track_caller]
pub(crate) fn finish_within(deadline: Duration, mut command: Command, stdin: &[u8]) -> Output {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {shown}: {error} (`make setup` installs it)"));
    let _reaper = Reaper::watch(&child);
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let input = child.stdin.take();
    let status = thread::scope(|scope| {
        // A program may end without having read all: that is its choice, and no error here.
        scope.spawn(move || input.map(|mut input| input.write_all(stdin)));
        wait(&mut child, deadline, &shown)
    });
    Output {
        status,
        stdout: stdout.join().expect("the reader does not panic"),
        stderr: String::from_utf8_lossy(&stderr.join().expect("the reader does not panic"))
            .into_owned(),
    }
}

/// Waits for a program's end, and kills it when it misses the deadline.
#[track_caller]
pub(crate) fn wait(child: &mut Child, deadline: Duration, what: &str) -> ExitStatus {
    let started = Instant::now();
    eventually(deadline * 2, what, || {
        let status = child.try_wait().expect("a child can be waited for");
        if status.is_none() && started.elapsed() > deadline {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
            panic!("{what} did not end within {deadline:?}");
        }
        status
    })
}

/// Sends a signal, such as `TERM`, to a child that has not been waited for.
#[track_caller]
pub(crate) fn signal(child: &Child, name: &str) {
    // The shell's own kill: signals from Rust need `unsafe` or one more dependency.
    let status = Command::new("sh")
        .args([
            "-c",
            "kill -s \"$1\" \"$2\"",
            "kill",
            name,
            &child.id().to_string(),
        ])
        .status()
        .expect("sh can be started");
    assert!(
        status.success(),
        "cannot send SIG{name} to process {}",
        child.id()
    );
}

/// Kills a child that leads a process group, and all others of the group.
pub(crate) fn kill_group(child: &Child) -> std::io::Result<ExitStatus> {
    Command::new("sh")
        .args(["-c", "kill -s KILL -- \"-$1\" 2>/dev/null", "kill"])
        .arg(child.id().to_string())
        .status()
}

/// The most memory that a child has had in use (resident) since it was started, bytes.
#[track_caller]
pub(crate) fn peak_memory(child: &Child) -> u64 {
    let path = format!("/proc/{}/status", child.id());
    let status = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.expect("a running process has used memory") * 1_024
}

/// Kills a child, with its group if it leads one, when this test process ends without having done so
/// itself: destructors do not run in a process that is killed, but its end of a pipe closes.
pub(crate) struct Reaper {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Reaper {
    pub(crate) fn watch(child: &Child) -> Self {
        let mut shell = Command::new("sh")
            .args([
                "-c",
                "read -r line || kill -s KILL -- \"-$1\" 2>/dev/null || kill -s KILL \"$1\" 2>/dev/null",
                "reaper",
            ])
            .arg(child.id().to_string())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh can be started");
        let pipe = shell.stdin.take();
        Self { shell, pipe }
    }
}

impl Drop for Reaper {
    /// Called once the child is gone: its process number may belong to another by now, so the
    /// shell is told to leave without killing.
    fn drop(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.shell.wait();
    }
}

fn collect(source: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    let mut source = source.expect("the stream is piped");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before a read error is still worth showing.
        let _ = source.read_to_end(&mut bytes);
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_answers() {
        let version = openssl(&["version"], b"").text();
        assert!(version.starts_with("OpenSSL "), "{version}");
    }

    #[test]
    fn openssl_reads_its_standard_input() {
        let digest = openssl(&["dgst", "-sha256", "-r"], b"abc").text();
        assert!(
            digest.starts_with("ba7816bf8f01cfea414140de5dae2223b00361a396177a9c"),
            "{digest}"
        );
    }

    #[test]
    fn a_large_input_and_output_do_not_block_each_other() {
        let input = vec![b'x'; 1 << 20];
        assert_eq!(run("cat", &[], &input).stdout, input);
    }

    #[test]
    #[should_panic(expected = "--- stderr")]
    fn a_failing_program_shows_its_outputs() {
        openssl(&["x509", "-in", "/nonexistent"], b"");
    }

    #[test]
    fn a_failing_program_can_be_looked_at() {
        let output = try_run("sh", &["-c", "echo out; echo err >&2; exit 3"], b"");
        assert_eq!((output.code(), output.text().as_str()), (Some(3), "out\n"));
        assert_eq!(output.stderr, "err\n");
    }

    #[test]
    fn a_child_dies_with_the_process_that_watched_it() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let mut reaper = Reaper::watch(&child);
        // What the end of this process would do: the pipe closes, and nothing was written to it.
        drop(reaper.pipe.take());
        assert!(!wait(&mut child, Duration::from_secs(30), "the killed child").success());
    }
}
