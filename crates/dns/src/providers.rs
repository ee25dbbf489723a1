//! Every kind of provider behind one door.

use std::sync::Arc;

use async_trait::async_trait;
use egress::{Fetch, Resolver};

use crate::{Account, ProviderError, Records, TextRecord};

/// Changes zones at providers of all kinds.
#[derive(Debug)]
pub struct Providers {
    fetch: Arc<dyn Fetch>,
    resolver: Arc<dyn Resolver>,
}

impl Providers {
    /// Reaches providers by `fetch`, and DNS servers at the addresses that `resolver` gives.
    #[must_use]
    pub fn new(fetch: Arc<dyn Fetch>, resolver: Arc<dyn Resolver>) -> Self {
        Self { fetch, resolver }
    }
}

#[async_trait]
impl Records for Providers {
    async fn publish(&self, account: &Account, _: &TextRecord) -> Result<(), ProviderError> {
        Err(unsupported(account))
    }

    async fn withdraw(&self, account: &Account, _: &TextRecord) -> Result<(), ProviderError> {
        Err(unsupported(account))
    }
}

fn unsupported(account: &Account) -> ProviderError {
    ProviderError::Unsupported {
        kind: account.kind.clone(),
    }
}
