//! OCSP responses for the certificates in memory: fetched when a foreign certificate comes in,
//! renewed before they end, and taken away when they have ended. No handshake waits for that.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::CertificateId;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::identities::Identity;
use crate::shared::Shared;

/// How often all certificates in memory are looked at.
const ROUND: Duration = Duration::from_secs(60);
/// When a responder is asked again that had nothing to hand on.
const AGAIN: Duration = Duration::from_secs(5 * 60);
/// Responders that are asked at a time.
const AT_A_TIME: usize = 16;
/// Certificates that wait for their first response; more have to wait for the next round.
const WAITING: usize = 1024;

/// The certificates that wait for their first response.
#[derive(Debug)]
pub(crate) struct Wanted {
    sender: mpsc::Sender<CertificateId>,
    receiver: Mutex<mpsc::Receiver<CertificateId>>,
}

impl Wanted {
    /// None yet.
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            sender,
            receiver: Mutex::new(receiver),
        }
    }

    /// Adds one.
    pub(crate) fn add(&self, id: CertificateId) {
        let _ = self.sender.try_send(id);
    }
}

/// Keeps the responses fresh, for ever.
pub(crate) async fn look_after(shared: &Arc<Shared>) -> Infallible {
    let mut wanted = shared.wanted.receiver.lock().await;
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewing = JoinSet::new();
    loop {
        let due = tokio::select! {
            Some(id) = wanted.recv() => vec![id],
            _ = rounds.tick() => due(shared),
        };
        for id in due {
            if renewing.len() >= AT_A_TIME {
                renewing.join_next().await;
            }
            let shared = shared.clone();
            renewing.spawn(async move { renew(&shared, id).await });
        }
        while renewing.try_join_next().is_some() {}
    }
}

fn due(shared: &Shared) -> Vec<CertificateId> {
    shared
        .identities()
        .filter(|(_, identity)| is_due(shared, identity))
        .map(|(id, _)| id)
        .collect()
}

fn is_due(shared: &Shared, identity: &Identity) -> bool {
    let now = shared.surroundings.now();
    identity.staple_due.is_some_and(|due| due <= now)
}

async fn renew(shared: &Shared, id: CertificateId) {
    let Some(old) = shared.identity_in_memory(id) else {
        return;
    };
    // Two rounds can come upon the same certificate.
    if !is_due(shared, &old) {
        return;
    }
    let now = shared.surroundings.now();
    let templates = &shared.templates;
    let renewed = match old.question() {
        Some(question) if old.is_foreign => {
            let asked = question.ask(shared.settings.responders, now).await;
            asked
                .map(|staple| Some(Arc::new(old.stapled(templates, staple, now))))
                .map_err(|error| report(id, &error))
        }
        _ => {
            let loaded = shared.load_identity(id).await;
            loaded.map_err(|error| report(id, &error))
        }
    };
    let new = renewed.unwrap_or_else(|()| {
        let again = old.postponed(templates, now + AGAIN, now);
        Some(Arc::new(again))
    });
    shared.replace_identity(id, &old, new);
}

fn report(id: CertificateId, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(certificate = %id, error, "could not get an OCSP response");
}
