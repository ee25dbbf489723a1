//! What the house reaches beyond its store, put together for this machine.

use std::error::Error as StdError;
use std::sync::Arc;

use acme_client::AcmeClient;
use anyhow::Context as _;
use dns::Providers;
use egress::{Fetch, Fetcher, Resolver, ResolverError, ResolverSettings, SystemResolver};
use lifecycle::Network;

use crate::configuration::Configuration;

/// The network by this configuration. Looking up the name of a resolver blocks.
pub(crate) fn network(configuration: &Configuration) -> anyhow::Result<Network> {
    let settings = &configuration.acme.resolver;
    let resolver = resolver(settings).context("resolver")?.unwrap_or_else(|| {
        // Private authorities need no DNS, and neither does most of a test's machine.
        tracing::warn!(
            "no name can be resolved; set resolver = \"host:port\" in the configuration"
        );
        Network::offline().resolver
    });
    let proof_settings = ResolverSettings {
        server: configuration
            .certmaker
            .resolver
            .clone()
            .or_else(|| settings.server.clone()),
        keeps_answers: false,
        ..settings.clone()
    };
    let proof_resolver = self::resolver(&proof_settings).context("certmaker.resolver")?;
    let proof_resolver = proof_resolver.unwrap_or_else(|| resolver.clone());
    let fetch: Arc<dyn Fetch> = Arc::new(Fetcher::new(resolver.clone()));
    Ok(Network {
        directories: Arc::new(AcmeClient::new(fetch.clone())),
        records: Arc::new(Providers::new(fetch.clone(), resolver.clone())),
        resolver,
        fetch,
        proof_fetch: Arc::new(Fetcher::new(proof_resolver.clone())),
        proof_resolver,
    })
}

/// The resolver of these settings; none where they name none and the system does not either.
fn resolver(settings: &ResolverSettings) -> Result<Option<Arc<dyn Resolver>>, ResolverError> {
    match SystemResolver::new(settings) {
        Ok(resolver) => Ok(Some(Arc::new(resolver))),
        Err(error @ ResolverError::System(_)) => {
            tracing::debug!(error = &error as &dyn StdError, "there is no resolver");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
