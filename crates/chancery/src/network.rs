//! What the house reaches beyond its store, put together for this machine.

use std::error::Error as StdError;
use std::sync::Arc;

use acme_client::AcmeClient;
use anyhow::Context as _;
use dns::Providers;
use egress::{Fetch, Fetcher, Resolver, ResolverError, ResolverSettings, SystemResolver};
use lifecycle::Network;

/// The network by these settings. Looking up the name of a resolver blocks.
pub(crate) fn network(settings: &ResolverSettings) -> anyhow::Result<Network> {
    let resolver: Arc<dyn Resolver> = match SystemResolver::new(settings) {
        Ok(resolver) => Arc::new(resolver),
        // Private authorities need no DNS, and neither does most of a test's machine.
        Err(error @ ResolverError::System(_)) => {
            tracing::warn!(
                error = &error as &dyn StdError,
                "no name can be resolved; set resolver = \"host:port\" in the configuration"
            );
            Network::offline().resolver
        }
        Err(error) => return Err(error).context("resolver"),
    };
    let fetch: Arc<dyn Fetch> = Arc::new(Fetcher::new(resolver.clone()));
    Ok(Network {
        directories: Arc::new(AcmeClient::new(fetch.clone())),
        records: Arc::new(Providers::new(fetch.clone(), resolver.clone())),
        resolver,
        fetch,
    })
}
