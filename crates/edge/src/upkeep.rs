//! What is done beside the connections: filling the index, fetching the secrets of tickets, and
//! renewing OCSP responses before they end.

use std::convert::Infallible;
use std::time::Duration;

use lifecycle::Error;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::shared::Shared;

/// Domains that are read at a time.
const PAGE: u32 = 10_000;
/// Pause before the store is asked again that could not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How often secrets are fetched and OCSP responses are looked at.
const ROUND: Duration = Duration::from_secs(60);

/// Does all of it, for ever.
pub(crate) async fn look_after(shared: &Shared) -> Infallible {
    let (never, ..) = tokio::join!(rounds(shared), fill_index(shared));
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

async fn rounds(shared: &Shared) -> Infallible {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        if let Err(error) = fetch_tickets(shared).await {
            report(&error, "could not fetch the secrets of session tickets");
        }
        renew_staples(shared).await;
    }
}

/// Loads certificates again whose OCSP response is in its second half.
async fn renew_staples(shared: &Shared) {
    let now = shared.surroundings.now();
    let due: Vec<_> = shared
        .identities()
        .filter(|(_, identity)| identity.staple_due.is_some_and(|due| due <= now))
        .collect();
    for (id, old) in due {
        match shared.load_identity(id).await {
            Ok(new) => shared.replace_identity(id, &old, new),
            Err(error) => report(&error, "could not renew an OCSP response"),
        }
    }
}

fn report(error: &Error, what: &'static str) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "{what}");
}
