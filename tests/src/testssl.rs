//! testssl.sh, which looks at a TLS server from all sides.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::{Workdir, process};

/// How long it may take on a machine that does other things as well.
const DEADLINE: Duration = Duration::from_secs(400);

/// Everything that it judges. What is left out, lists of ciphers and of clients, only describes and
/// takes most of the time.
const EXAMINATIONS: [&str; 7] = [
    "--protocols",
    "--standard",
    "--pfs",
    "--server-preference",
    "--server-defaults",
    "--headers",
    "--vulnerable",
];

/// How bad a finding is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Broken.
    Critical,
    /// Bad.
    High,
    /// Not good.
    Medium,
    /// Could be better.
    Low,
    /// Something that testssl itself says to look at, such as a test that failed.
    Warning,
    /// A fact.
    Info,
    /// As it should be.
    Ok,
}

/// One remark about a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at, such as `TLS1_2`.
    pub id: String,
    /// What was seen.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            id,
            message,
        } = self;
        write!(formatter, "{severity:?} {id}: {message}")
    }
}

/// Looks at the server at `address`, asked for `name`, with the certificates of the PEM file
/// `root` trusted.
///
/// # Panics
///
/// Shows testssl's output when it does not come to an end.
#[must_use]
#[track_caller]
pub fn examine(address: SocketAddr, name: &str, root: &Path) -> Vec<Finding> {
    let workdir = Workdir::new();
    let json = workdir.path("findings.json");
    let mut command = Command::new("testssl");
    command
        .env("HOME", workdir.root())
        .current_dir(workdir.root())
        .args(["--warnings", "off", "--color", "0", "--quiet"])
        .args(["--nodns", "none", "--ip", &address.ip().to_string()])
        .arg("--add-ca")
        .arg(root)
        .args(["--jsonfile", &json])
        .args(EXAMINATIONS)
        .arg(format!("https://{name}:{}", address.port()));
    // It ends with the number of findings, so that its status says nothing.
    let output = process::finish_within(DEADLINE, command, b"");
    let written = std::fs::read(&json).unwrap_or_default();
    let findings: Value = serde_json::from_slice(&written)
        .unwrap_or_else(|error| panic!("testssl wrote no JSON ({error}): {output:?}"));
    let findings = findings.as_array().expect("findings are a list");
    findings.iter().map(read_finding).collect()
}

fn read_finding(finding: &Value) -> Finding {
    let text = |key: &str| finding[key].as_str().unwrap_or_default();
    let severity = match text("severity") {
        "FATAL" | "CRITICAL" => Severity::Critical,
        "HIGH" => Severity::High,
        "MEDIUM" => Severity::Medium,
        "LOW" => Severity::Low,
        "WARN" => Severity::Warning,
        "INFO" | "DEBUG" => Severity::Info,
        "OK" => Severity::Ok,
        other => panic!("testssl knows a severity that this does not: {other:?}"),
    };
    Finding {
        severity,
        id: text("id").to_owned(),
        message: text("finding").to_owned(),
    }
}
