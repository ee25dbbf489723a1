//! Carrying out one plan: fetch what is missing, change the directory, say what came of it.

use std::time::Duration;

use anyhow::anyhow;
use http::{Method, StatusCode};
use lifecycle::CertificateId;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::deliverer::Deliverer;
use super::directory::check_name;
use super::plan::{Change, Plan, Saying, changes, sayings};
use super::wire::{Trouble, explained, read_material, saying};
use super::{count, say};
use crate::output::safe;

/// Between two changes of the files: a server that is told to reload reads them some time later, and
/// opens certificate and key one after the other.
const SETTLING: Duration = Duration::from_secs(1);
/// Certificates that the server is told of at a time.
const PORTION: usize = 500;

/// What came of one plan.
pub(super) struct Pass {
    /// How many changes of the plan were no longer wanted when it was carried out.
    pub(super) outdated: usize,
    /// How many changes did not succeed, of this pass or of those before.
    pub(super) refused: usize,
}

/// What came of fetching the files for a change.
enum Fetched {
    /// The process is to end.
    Ending,
    Failed(String),
    Gone,
    Ready,
}

impl Deliverer<'_> {
    /// `None` when the process is to end meanwhile.
    pub(super) async fn carry_out(&mut self, plan: &Plan) -> Result<Option<Pass>, Trouble> {
        let local = |error: std::io::Error| {
            Trouble::Passing(anyhow!(error).context("the directory cannot be read or changed"))
        };
        let before = self.site.directory.held().map_err(local)?;
        let now = Instant::now();
        let due: Vec<Change> = changes(plan, &before)
            .into_iter()
            .filter(|change| !self.refused.waits(change, now))
            .collect();
        let mut failed: Vec<(Change, String)> = Vec::new();
        let mut ready = Vec::new();
        let (mut news, mut outdated) = (0, 0);
        for change in due {
            match self.fetch(&change).await? {
                Fetched::Ready => ready.push(change),
                // The next plan will not have it.
                Fetched::Gone => outdated += 1,
                Fetched::Failed(reason) => failed.push((change, reason)),
                Fetched::Ending => return Ok(None),
            }
        }
        if !ready.is_empty() {
            let (settled_at, has_command) = (self.settled_at, self.site.reload.is_some());
            if has_command && self.unless_ending(sleep_until(settled_at)).await.is_none() {
                return Ok(None);
            }
            let ending = self.ending.clone();
            let made = self.site.make(ready, || *ending.borrow()).await;
            self.settled_at = Instant::now() + SETTLING;
            for (change, outcome) in made.map_err(local)? {
                match outcome {
                    Ok(()) => {
                        news += 1;
                        self.refused.forget(&change.name);
                        tell_of(&change);
                    }
                    Err(reason) => failed.push((change, reason)),
                }
            }
        }
        for (change, reason) in &failed {
            say(&format!("{}: {}", safe(&change.name), safe(reason)));
            self.refused.put_off(change.clone(), Instant::now());
        }
        // What is refused stays for the next attempt: each key that is fetched is an event.
        let kept = plan.place.iter().map(|wanted| wanted.held);
        for fault in self.site.directory.sweep(kept) {
            say(&safe(&fault));
        }
        let there = self.site.directory.held().map_err(local)?;
        let said = sayings(plan, &before, &there, &failed);
        if news > 0 {
            say(&format!("{} in place", count(there.len())));
        }
        if self.acknowledge(said).await?.is_none() {
            return Ok(None);
        }
        let open: Vec<Change> = changes(plan, &there);
        self.refused.keep(&open);
        Ok(Some(Pass {
            outdated,
            refused: self.refused.count(),
        }))
    }

    /// Has the files of a version stored, if a change needs them.
    async fn fetch(&mut self, change: &Change) -> Result<Fetched, Trouble> {
        let Some(to) = change.to else {
            return Ok(Fetched::Ready);
        };
        if let Err(error) = check_name(&change.name) {
            return Ok(Fetched::Failed(error.to_string()));
        }
        if self.site.directory.has(to) {
            return Ok(Fetched::Ready);
        }
        let path = format!("{}/certificates/{}", self.path, to.certificate);
        let client = self.client;
        let asked = client.call(Method::GET, &path, None);
        let Some(answer) = self.unless_ending(asked).await else {
            return Ok(Fetched::Ending);
        };
        let answer = match answer? {
            Ok(answer) => answer,
            Err(refusal) => match refusal.status {
                StatusCode::NOT_FOUND => return Ok(Fetched::Gone),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err(Trouble::Passing(explained(&refusal)));
                }
                // It may be this certificate alone.
                _ => {
                    return Ok(Fetched::Failed(format!(
                        "the server does not give it out: {}",
                        refusal.detail
                    )));
                }
            },
        };
        let material = match read_material(answer) {
            Ok(material) => material,
            Err(error) => {
                return Ok(Fetched::Failed(format!(
                    "the server's answer cannot be read: {error:#}"
                )));
            }
        };
        if material.held != to {
            // A newer version has come since; so will a newer plan.
            return Ok(Fetched::Gone);
        }
        Ok(match self.site.directory.store(&material) {
            Ok(()) => Fetched::Ready,
            Err(error) => Fetched::Failed(error.to_string()),
        })
    }

    /// Tells the server what came of it; `None` when the process is to end meanwhile. What it was not
    /// told then, the next process tells it.
    async fn acknowledge(
        &mut self,
        said: Vec<(CertificateId, Saying)>,
    ) -> Result<Option<()>, Trouble> {
        let path = format!("{}/placements", self.path);
        for portion in said.chunks(PORTION) {
            let placements: Vec<Value> = portion.iter().map(saying).collect();
            let body = json!({ "placements": placements });
            let client = self.client;
            let telling = client.call(Method::POST, &path, Some(&body));
            let Some(answer) = self.unless_ending(telling).await else {
                return Ok(None);
            };
            answer?.map_err(|refusal| match refusal.status {
                StatusCode::NOT_FOUND => Trouble::Unknown,
                _ => Trouble::Passing(explained(&refusal)),
            })?;
        }
        Ok(Some(()))
    }
}

fn tell_of(change: &Change) {
    let name = safe(&change.name);
    match change.to {
        Some(to) => say(&format!("{name}: version {} is in place", to.version)),
        None => say(&format!("{name}: taken away")),
    }
}
