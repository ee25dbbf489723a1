//! Clients that are Python packages, unmodified, driven by the scripts in `clients`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process;

/// Runs `clients/NAME.py` with arguments and environment, and returns the JSON that it prints.
///
/// # Panics
///
/// Shows the script's outputs unless it exits with 0; says how to install the packages when they
/// are missing.
#[must_use]
#[track_caller]
pub fn python_client(name: &str, args: &[&str], environment: &[(&str, &str)]) -> Value {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = tests.join("../target/venv/bin/python");
    assert!(
        python.exists(),
        "the Python clients are not installed: run `make test` (or `make test-tools`)"
    );
    let mut command = Command::new(python);
    command
        .arg(tests.join(format!("clients/{name}.py")))
        .args(args)
        .envs(environment.iter().copied());
    let output = process::finish(command, b"");
    assert!(
        output.status.success(),
        "{name}.py: {output:?}\n(`make test-tools` installs its packages)"
    );
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{name}.py prints no JSON ({error}): {output:?}"))
}
