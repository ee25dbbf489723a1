//! `chancery deliver`: has the certificates of an account in a directory of this machine, for a TLS
//! server that reads them from there.
//!
//! It asks the server what is to be there and waits for changes, fetches what is missing, changes
//! the directory, runs the reload command, and says what came of it. The directory is all the memory
//! it has: killed at any moment, it goes on from there.

mod deliverer;
mod directory;
mod pass;
mod plan;
mod registration;
mod reload;
mod retries;
mod site;
#[cfg(test)]
mod tests;
mod wire;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::arguments::Deliver;
use crate::client::Client;
use deliverer::Deliverer;
use directory::{Directory, Form};
use reload::Reload;
use retries::Retries;
use site::Site;

/// Delivers until the process is told to end, or once.
pub(crate) async fn run(client: &Client, arguments: Deliver) -> anyhow::Result<()> {
    let form = if arguments.combined {
        Form::Combined
    } else {
        Form::Pair
    };
    let site = Site {
        directory: Directory::open(&arguments.directory, form)?,
        reload: arguments.reload.map(|command| Reload {
            command,
            patience: arguments.reload_timeout,
        }),
    };
    // Before the server hears of it: what it says of this directory holds for ever.
    let identity = site.directory.identity()?;
    let deliverer = Deliverer {
        client: &client.delivering_into(identity),
        path: format!("targets/{}", crate::commands::segment(&arguments.target)),
        wants: if arguments.services.is_empty() {
            json!({ "directory": identity.to_string() })
        } else {
            json!({ "directory": identity.to_string(), "services": arguments.services })
        },
        site,
        refused: Retries::default(),
        lookup: None,
        settled_at: Instant::now(),
        ending: ending()?,
    };
    deliverer.run(arguments.once).await
}

/// Says when the process is told to end.
fn ending() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, ending) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sender.send_replace(true);
        // Waiting ends with the sender.
        sender.closed().await;
    });
    Ok(ending)
}

fn count(number: usize) -> String {
    match number {
        1 => "1 certificate".to_owned(),
        number => format!("{number} certificates"),
    }
}

/// To people and logs; stdout is for nothing here.
fn say(text: &str) {
    eprintln!("deliver: {text}");
}
