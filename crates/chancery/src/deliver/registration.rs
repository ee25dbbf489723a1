//! Making a target known to the server, which says whether it is this directory's.

use http::Method;
use tokio::time::Instant;

use super::deliverer::{Deliverer, LOOKUPS, Lookup, PAUSES};
use super::say;
use super::wire::explained;

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
                Ok(Ok(_)) => {
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
}
