//! Making a target known to the server, and whose directory this is.

use anyhow::{Context as _, bail};
use http::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::deliverer::{Deliverer, LOOKUPS, Lookup, PAUSES};
use super::say;
use super::wire::{explained, member};

impl Deliverer<'_> {
    /// Makes the target known. Whether it is; if not, the process is to end. What the server refuses
    /// `at_first` is refused for good.
    pub(super) async fn register(&mut self, at_first: bool) -> anyhow::Result<bool> {
        let mut pause = PAUSES.0;
        loop {
            let (client, path) = (self.client, self.path.clone());
            let wants = self.wants.clone();
            let answer = client.call(Method::PUT, &path, Some(&wants));
            let Some(answer) = self.unless_ending(answer).await else {
                return Ok(false);
            };
            match answer {
                Ok(Ok(target)) => {
                    self.own(&target, at_first)?;
                    if self.wants.get("services").is_some() {
                        self.lookup = Some(Lookup {
                            at: Instant::now() + LOOKUPS.0,
                            refusal: None,
                        });
                    }
                    say(&format!("delivering from {}", client.url()));
                    return Ok(true);
                }
                Ok(Err(refusal)) if at_first && refusal.status.is_client_error() => {
                    return Err(explained(&refusal));
                }
                Ok(Err(refusal)) => say(&format!("{}; trying again", refusal.detail)),
                Err(error) => say(&format!("{error:#}; trying again")),
            }
            if !self.rest(&mut pause).await {
                return Ok(false);
            }
        }
    }

    /// Makes sure that the directory is this target's: what others have put there would be taken
    /// away. A target that was removed while it is in use has the same directory afterwards.
    fn own(&self, target: &Value, at_first: bool) -> anyhow::Result<()> {
        let directory = &self.site.directory;
        let target = member(target, "uuid").context("the server's answer cannot be read")?;
        let file = directory.target_file();
        let owner = directory.target();
        let owner = owner.with_context(|| format!("cannot read {}", file.display()))?;
        if owner.as_deref() == Some(target) {
            return Ok(());
        }
        if at_first && owner.is_some() {
            bail!(
                "this directory was filled for another target than the one that the server has by \
                 this name now; give each target a directory of its own, or, if this one is to be \
                 taken over with all that is in it, remove {} first",
                file.display()
            );
        }
        // On a full disk, the directory is nobody's a while longer.
        if let Err(error) = directory.keep_target(target) {
            say(&format!("cannot write {}: {error}", file.display()));
        }
        Ok(())
    }
}
