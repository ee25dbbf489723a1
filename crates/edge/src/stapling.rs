//! OCSP responses for the certificates in memory: fetched when a foreign certificate comes in,
//! renewed before they end, and taken away when they have ended. No handshake waits for that.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::CertificateId;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::identities::Identity;
use crate::responder::Question;
use crate::shared::Shared;

/// How often all certificates in memory are looked at.
const ROUND: Duration = Duration::from_secs(60);
/// When a responder is asked again that had nothing to hand on.
const AGAIN: Duration = Duration::from_secs(5 * 60);
/// Questions that are asked at a time.
const AT_A_TIME: usize = 64;
/// Questions that one responder is asked at a time; it may hang.
const AT_A_TIME_OF_ONE: usize = 8;
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
    let (never, _) = tokio::join!(renew_own(shared), renew_foreign(shared));
    never
}

/// Responses of the house itself: no responder that hangs is in the way of these.
async fn renew_own(shared: &Shared) -> Infallible {
    let mut rounds = rounds();
    loop {
        rounds.tick().await;
        for (id, old) in due(shared).filter(|(_, identity)| !identity.is_foreign) {
            match shared.load_identity(id).await {
                Ok(new) => shared.replace_identity(id, &old, new),
                Err(error) => {
                    report(id, &error);
                    postpone(shared, id, &old);
                }
            }
        }
    }
}

async fn renew_foreign(shared: &Arc<Shared>) -> Infallible {
    let mut wanted = shared.wanted.receiver.lock().await;
    let mut rounds = rounds();
    let mut asking: JoinSet<String> = JoinSet::new();
    let mut per_responder: HashMap<String, usize> = HashMap::new();
    loop {
        let due: Vec<_> = tokio::select! {
            Some(asked) = asking.join_next() => {
                if let Ok(responder) = asked {
                    per_responder.entry(responder).and_modify(|count| *count -= 1);
                    per_responder.retain(|_, count| *count > 0);
                }
                continue;
            }
            Some(id) = wanted.recv() => {
                let identity = shared.identity_in_memory(id);
                identity.map(|identity| (id, identity)).into_iter().collect()
            }
            _ = rounds.tick() => due(shared).filter(|(_, identity)| identity.is_foreign).collect(),
        };
        for (id, old) in due {
            let now = shared.surroundings.now();
            let is_over = old.staple_end.is_some_and(|end| end <= now);
            let Some(question) = old.question() else {
                continue;
            };
            let asked = per_responder.entry(question.responder()).or_default();
            if asking.len() >= AT_A_TIME || *asked >= AT_A_TIME_OF_ONE {
                // The next round comes upon it again.
                if is_over {
                    postpone(shared, id, &old);
                }
                continue;
            }
            *asked += 1;
            let shared = shared.clone();
            asking.spawn(async move {
                ask(&shared, id, &old, &question).await;
                question.responder()
            });
        }
    }
}

async fn ask(shared: &Shared, id: CertificateId, old: &Arc<Identity>, question: &Question) {
    let now = shared.surroundings.now();
    let fetch = shared.surroundings.network().fetch.as_ref();
    let policy = shared.settings.responders;
    match question.ask(fetch, policy, now).await {
        Ok(staple) => {
            let new = old.stapled(&shared.templates, staple, now);
            shared.replace_identity(id, old, Some(Arc::new(new)));
        }
        Err(error) => {
            report(id, &error);
            postpone(shared, id, old);
        }
    }
}

fn due(shared: &Shared) -> impl Iterator<Item = (CertificateId, Arc<Identity>)> + '_ {
    let now = shared.surroundings.now();
    shared
        .identities()
        .filter(move |(_, identity)| identity.staple_due.is_some_and(|due| due <= now))
}

/// Leaves a certificate with the response that it has, if that is still in force.
fn postpone(shared: &Shared, id: CertificateId, old: &Arc<Identity>) {
    let now = shared.surroundings.now();
    let new = old.postponed(&shared.templates, now + AGAIN, now);
    shared.replace_identity(id, old, Some(Arc::new(new)));
}

fn rounds() -> Interval {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}

fn report(id: CertificateId, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(certificate = %id, error, "could not get an OCSP response");
}
