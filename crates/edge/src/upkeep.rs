//! What is done beside the connections: filling the index, and fetching the secrets of tickets.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::Error;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::shared::Shared;
use crate::stapling;

/// Domains that are read at a time.
const PAGE: usize = 10_000;
/// Pause before the store is asked again that could not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How often secrets are fetched.
const ROUND: Duration = Duration::from_secs(60);

/// Does all of it, for ever.
pub(crate) async fn look_after(shared: &Arc<Shared>) -> Infallible {
    let stapling = stapling::look_after(shared);
    let (never, ..) = tokio::join!(fetch_for_ever(shared), stapling, fill_index(shared));
    never
}

/// Fetches the secrets of tickets.
///
/// # Errors
/// When the store cannot be asked.
pub(crate) async fn fetch_tickets(shared: &Shared) -> Result<(), Error> {
    let secrets = shared.routing.ticket_keys().await?;
    shared.tickets.replace(&secrets, shared.surroundings.now());
    Ok(())
}

async fn fill_index(shared: &Shared) {
    let mut last: Option<String> = None;
    loop {
        let mut names = match shared.routing.names(last.as_deref(), PAGE).await {
            Ok(names) => names,
            Err(error) => {
                report(&error, "could not read the names of domains");
                sleep(PAUSE).await;
                continue;
            }
        };
        for name in &names {
            shared.index.insert(name);
        }
        match names.pop() {
            Some(name) => last = Some(name),
            None => break,
        }
    }
    shared.index.complete();
    tracing::info!(names = shared.index.count(), "all domains are known");
}

async fn fetch_for_ever(shared: &Shared) -> Infallible {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        if let Err(error) = fetch_tickets(shared).await {
            report(&error, "could not fetch the secrets of session tickets");
        }
    }
}

fn report(error: &Error, what: &'static str) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "{what}");
}
