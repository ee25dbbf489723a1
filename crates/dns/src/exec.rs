//! A program of the operator's own that changes the zone, called as lego's `exec` calls it.
//!
//! There is no shell in between. The program sees nothing of the house's environment but where
//! programs are and whose home it is, for there may be secrets in the rest.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use crate::change::Change;
use crate::presentable::presentable;
use crate::{Account, ProviderError, TextRecord};

/// Longest time that a program runs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long its output is read after it has ended; a child that it left behind may hold it open.
const GRACE: Duration = Duration::from_secs(1);
/// Octets of output that are kept.
const MOST_OUTPUT: u64 = 4096;
/// What of the environment is handed on.
const ENVIRONMENT: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TZ"];

pub(crate) async fn change(
    account: &Account,
    record: &TextRecord,
    change: Change,
) -> Result<(), ProviderError> {
    if !account.may_run_programs {
        return Err(ProviderError::Refused {
            reason: "only administrators may have programs run".to_owned(),
        });
    }
    let program = account.credentials.field("program").unwrap_or_default();
    let mode = account.credentials.field("mode").unwrap_or_default();
    let mut command = Command::new(program);
    command.args(arguments(record, change, mode)?);
    command.env_clear();
    for name in ENVIRONMENT {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let said = |text: &str| presentable(text, &account.kind, &account.credentials);
    match timeout(PATIENCE, run(command)).await {
        Ok(Ok((status, _))) if status.success() => Ok(()),
        Ok(Ok((status, output))) => Err(ProviderError::Refused {
            reason: said(&format!("{program} ended with {status}: {output}")),
        }),
        Ok(Err(error)) => Err(ProviderError::Unreachable {
            reason: said(&format!("{program} cannot be run: {error}")),
        }),
        Err(_) => Err(ProviderError::Unreachable {
            reason: format!("{program} takes too long"),
        }),
    }
}

fn arguments(
    record: &TextRecord,
    change: Change,
    mode: &str,
) -> Result<Vec<String>, ProviderError> {
    let verb = match change {
        Change::Publish => "present",
        Change::Withdraw => "cleanup",
    };
    let mut arguments = vec![verb.to_owned()];
    if mode.eq_ignore_ascii_case("raw") {
        let proof = record.raw_proof()?;
        arguments.push("--".to_owned());
        arguments.push(proof.domain.clone());
        arguments.push(proof.token().to_owned());
        arguments.push(proof.key_authorization.clone());
    } else {
        arguments.push(format!("{}.", record.name));
        arguments.push(record.value.clone());
    }
    Ok(arguments)
}

async fn run(mut command: Command) -> std::io::Result<(ExitStatus, String)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = async { tokio::join!(read(stdout), read(stderr)) };
    tokio::pin!(reading);
    let mut output = None;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            read = &mut reading, if output.is_none() => output = Some(read),
        }
    };
    let (stdout, stderr) = match output {
        Some(output) => output,
        None => timeout(GRACE, reading).await.unwrap_or_default(),
    };
    // Programs complain on one, and talk on the other.
    Ok((status, format!("{stderr} {stdout}")))
}

/// The beginning of what comes, all of which is taken: the program would wait otherwise.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else {
        return String::new();
    };
    let mut kept = Vec::new();
    let _ = (&mut pipe).take(MOST_OUTPUT).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).into_owned()
}
