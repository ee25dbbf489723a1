//! The loop of `chancery deliver`: ask for the plan, carry it out, ask again.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::pass::Pass;
use super::retries::Retries;
use super::site::Site;
use super::wire::{Trouble, explained, read_plan};
use super::{count, say};
use crate::client::Client;

/// Shortest and longest pause after the server could not be reached.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Seconds for which the server is asked to wait for a change.
const WAIT: u64 = 30;
/// How many plans in a row may have changed while they are carried out, before that is left to the
/// next time.
const MOST_OUTDATED: usize = 3;
/// After how long the services that were named are looked up again, since a service that is made anew
/// is another one: while nothing is wanted of them, and otherwise.
pub(super) const LOOKUPS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// When something is looked up again, and why it could not be the last time.
pub(super) struct Lookup {
    pub(super) at: Instant,
    pub(super) refusal: Option<String>,
}

pub(super) struct Deliverer<'a> {
    pub(super) client: &'a Client,
    /// Path of the target in the API.
    pub(super) path: String,
    /// What the target wants, as the API is told.
    pub(super) wants: Value,
    pub(super) site: Site,
    pub(super) refused: Retries,
    /// When the services are looked up again; never where none are named.
    pub(super) lookup: Option<Lookup>,
    /// From when on files may change again.
    pub(super) settled_at: Instant,
    pub(super) ending: watch::Receiver<bool>,
}

impl Deliverer<'_> {
    pub(super) async fn run(mut self, is_once: bool) -> anyhow::Result<()> {
        if let Some(reason) = self.site.recover().await? {
            say(&format!(
                "undid a change that was cut off, since with it {reason}"
            ));
        }
        if !self.register(true).await? {
            return Ok(());
        }
        let mut seen = None;
        let mut outdated_plans = 0;
        let mut pause = PAUSES.0;
        while !self.is_ending() {
            let step = self.step(seen.as_deref(), is_once);
            match step.await {
                Ok(Some((tag, pass))) => {
                    pause = PAUSES.0;
                    seen = Some(tag);
                    if is_once {
                        if pass.outdated > 0 && outdated_plans < MOST_OUTDATED {
                            outdated_plans += 1;
                            continue;
                        }
                        if pass.refused > 0 {
                            bail!("{} could not be put in place", count(pass.refused));
                        }
                        return Ok(());
                    }
                }
                Ok(None) => break,
                Err(Trouble::Unknown) => {
                    // Somebody removed the target while it is in use.
                    seen = None;
                    if !self.register(false).await? {
                        break;
                    }
                }
                Err(Trouble::Passing(error)) if is_once => return Err(error),
                Err(Trouble::Passing(error)) => {
                    say(&format!("{error:#}; trying again"));
                    seen = None;
                    if !self.rest(&mut pause).await {
                        break;
                    }
                }
            }
        }
        say("ended");
        Ok(())
    }

    /// Has the server look the services up again that the target wants, if it is time. What it
    /// refuses is told once, and nothing changes then.
    async fn look_up(&mut self) -> Result<(), Trouble> {
        let Some(lookup) = &mut self.lookup else {
            return Ok(());
        };
        let now = Instant::now();
        if now < lookup.at {
            return Ok(());
        }
        lookup.at = now + LOOKUPS.1;
        let (client, path, wants) = (self.client, self.path.clone(), self.wants.clone());
        let asked = client.call(Method::PUT, &path, Some(&wants));
        let Some(answer) = self.unless_ending(asked).await else {
            return Ok(());
        };
        let refusal = answer?.err().map(|refusal| refusal.detail);
        if let Some(lookup) = &mut self.lookup
            && lookup.refusal != refusal
        {
            if let Some(refusal) = &refusal {
                say(&format!("{refusal}; going on with what is known"));
            }
            lookup.refusal = refusal;
        }
        Ok(())
    }

    /// Asks for the plan, carries it out, and says what came of it. `None` when the process is to
    /// end meanwhile.
    async fn step(
        &mut self,
        seen: Option<&str>,
        is_once: bool,
    ) -> Result<Option<(String, Pass)>, Trouble> {
        if !is_once {
            self.look_up().await?;
        }
        let wait = if is_once { 0 } else { self.patience() };
        let mut path = format!("{}/plan?wait={wait}", self.path);
        if let Some(seen) = seen {
            path.push_str("&seen=");
            path.push_str(seen);
        }
        let client = self.client;
        let asked = client.call(Method::GET, &path, None);
        let Some(answer) = self.unless_ending(asked).await else {
            return Ok(None);
        };
        let answer = answer?.map_err(|refusal| match refusal.status {
            StatusCode::NOT_FOUND => Trouble::Unknown,
            _ => Trouble::Passing(explained(&refusal)),
        })?;
        let plan = read_plan(&answer).context("the server's plan cannot be read")?;
        if let Some(lookup) = &mut self.lookup
            && plan.place.is_empty()
        {
            lookup.at = lookup.at.min(Instant::now() + LOOKUPS.0);
        }
        let pass = self.carry_out(&plan).await?;
        Ok(pass.map(|pass| (plan.tag, pass)))
    }

    /// Seconds until something is to be tried or looked up again, but not more than the server waits.
    fn patience(&self) -> u64 {
        let now = Instant::now();
        let lookup = self.lookup.iter().map(|lookup| lookup.at);
        let next = self.refused.next().into_iter().chain(lookup).min();
        let seconds = next.map(|next| next.saturating_duration_since(now).as_secs() + 1);
        seconds.map_or(WAIT, |seconds| seconds.min(WAIT))
    }

    /// Waits before the server is asked again, longer each time and not as long as others do.
    /// Whether the process goes on.
    pub(super) async fn rest(&mut self, pause: &mut Duration) -> bool {
        let spread = RandomState::new().hash_one(0) % 500;
        let this = pause.mul_f64(1.0 - f64::from(u16::try_from(spread).unwrap_or(0)) / 1000.0);
        *pause = (*pause * 2).min(PAUSES.1);
        self.unless_ending(sleep(this)).await.is_some()
    }

    fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// What comes of something that may be given up at any moment; `None` when the process ends
    /// first.
    pub(super) async fn unless_ending<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let ending = &mut self.ending;
        tokio::select! {
            biased;
            _ = ending.wait_for(|is_ending| *is_ending) => None,
            done = work => Some(done),
        }
    }
}
