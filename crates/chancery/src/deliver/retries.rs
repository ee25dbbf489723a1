//! What was refused, and when it is tried again.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::plan::Change;

/// Shortest and longest time after which something is tried again that was refused.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// The changes that were refused last, one for each name.
#[derive(Debug, Default)]
pub(super) struct Retries(HashMap<String, Retry>);

/// A change that was refused, and when it is tried again.
#[derive(Debug)]
struct Retry {
    change: Change,
    pause: Duration,
    at: Instant,
}

impl Retries {
    /// Has a change wait, longer each time that it is refused.
    pub(super) fn put_off(&mut self, change: Change, now: Instant) {
        let before = self.0.get(&change.name);
        let before = before.filter(|retry| retry.change == change);
        let pause = before.map_or(PAUSES.0, |retry| (retry.pause * 2).min(PAUSES.1));
        let at = now + pause;
        let name = change.name.clone();
        self.0.insert(name, Retry { change, pause, at });
    }

    /// A change under this name has succeeded.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Forgets what is none of these: what is no longer asked for is no longer refused.
    pub(super) fn keep(&mut self, open: &[Change]) {
        self.0.retain(|_, retry| open.contains(&retry.change));
    }

    /// Whether a change was refused and its time has not come.
    pub(super) fn waits(&self, change: &Change, now: Instant) -> bool {
        let retry = self.0.get(&change.name);
        retry.is_some_and(|retry| retry.change == *change && now < retry.at)
    }

    /// When the first of them is tried again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|retry| retry.at).min()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
