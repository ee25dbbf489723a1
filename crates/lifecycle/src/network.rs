//! The network comes in from outside, as time and randomness do.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use acme::client::{
    AccountKey, Authorization, Chain, Challenge, Client, DirectoryInfo, Endpoint, Failure, Login,
    NewOrder, Order, Registration, RenewalInfo,
};
use async_trait::async_trait;
use dns::{Account, ProviderError, Records, TextRecord};
use egress::{Caa, Fetch, FetchError, LookupError, Nameserver, Request, Resolver, Response, Zone};

/// Why nothing is reached without a network.
const OFFLINE: &str = "there is no network";

/// Everything that the house reaches beyond its store.
#[derive(Clone)]
pub struct Network {
    /// ACME directories.
    pub directories: Arc<dyn Client>,
    /// DNS.
    pub resolver: Arc<dyn Resolver>,
    /// HTTP.
    pub fetch: Arc<dyn Fetch>,
    /// DNS providers.
    pub records: Arc<dyn Records>,
    /// DNS as it is asked for proofs of control towards the house. It keeps no answers.
    pub proof_resolver: Arc<dyn Resolver>,
    /// HTTP that goes by [`Self::proof_resolver`].
    pub proof_fetch: Arc<dyn Fetch>,
}

impl Network {
    /// No network: nothing can be reached.
    #[must_use]
    pub fn offline() -> Self {
        Self {
            directories: Arc::new(Offline),
            resolver: Arc::new(Offline),
            fetch: Arc::new(Offline),
            records: Arc::new(Offline),
            proof_resolver: Arc::new(Offline),
            proof_fetch: Arc::new(Offline),
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Network")
    }
}

#[derive(Debug)]
struct Offline;

impl Offline {
    fn failure<Answer>() -> Result<Answer, Failure> {
        Err(Failure::Unreachable {
            reason: OFFLINE.to_owned(),
        })
    }

    fn unanswered<Answer>(name: &str) -> Result<Answer, LookupError> {
        Err(LookupError::Unreachable {
            name: name.to_owned(),
            reason: OFFLINE.to_owned(),
        })
    }

    fn unchanged() -> Result<(), ProviderError> {
        Err(ProviderError::Unreachable {
            reason: OFFLINE.to_owned(),
        })
    }
}

#[async_trait]
impl Client for Offline {
    async fn directory(&self, _: &Endpoint) -> Result<DirectoryInfo, Failure> {
        Self::failure()
    }

    async fn register(&self, _: &Endpoint, _: &Registration) -> Result<String, Failure> {
        Self::failure()
    }

    async fn is_known(&self, _: &Login) -> Result<bool, Failure> {
        Self::failure()
    }

    async fn change_key(&self, _: &Login, _: &AccountKey) -> Result<(), Failure> {
        Self::failure()
    }

    async fn deactivate(&self, _: &Login) -> Result<(), Failure> {
        Self::failure()
    }

    async fn new_order(&self, _: &Login, _: &NewOrder) -> Result<Order, Failure> {
        Self::failure()
    }

    async fn order(&self, _: &Login, _: &str) -> Result<Order, Failure> {
        Self::failure()
    }

    async fn authorization(&self, _: &Login, _: &str) -> Result<Authorization, Failure> {
        Self::failure()
    }

    async fn answer(&self, _: &Login, _: &Challenge) -> Result<(), Failure> {
        Self::failure()
    }

    async fn finalize(&self, _: &Login, _: &str, _: &[u8]) -> Result<Order, Failure> {
        Self::failure()
    }

    async fn certificate(&self, _: &Login, _: &str) -> Result<Vec<Chain>, Failure> {
        Self::failure()
    }

    async fn renewal_info(&self, _: &Endpoint, _: &str) -> Result<RenewalInfo, Failure> {
        Self::failure()
    }

    async fn revoke(&self, _: &Login, _: &[u8], _: u8) -> Result<(), Failure> {
        Self::failure()
    }
}

#[async_trait]
impl Resolver for Offline {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        Self::unanswered(name)
    }

    async fn text(&self, name: &str) -> Result<Vec<String>, LookupError> {
        Self::unanswered(name)
    }

    async fn alias(&self, name: &str) -> Result<Option<String>, LookupError> {
        Self::unanswered(name)
    }

    async fn caa(&self, name: &str) -> Result<Vec<Caa>, LookupError> {
        Self::unanswered(name)
    }

    async fn zone(&self, name: &str) -> Result<Zone, LookupError> {
        Self::unanswered(name)
    }

    async fn text_at(&self, _: &Nameserver, name: &str) -> Result<Vec<String>, LookupError> {
        Self::unanswered(name)
    }
}

#[async_trait]
impl Fetch for Offline {
    async fn fetch(&self, request: Request) -> Result<Response, FetchError> {
        Err(FetchError::Unreachable {
            host: request.url,
            reason: OFFLINE.to_owned(),
        })
    }
}

#[async_trait]
impl Records for Offline {
    async fn publish(&self, _: &Account, _: &TextRecord) -> Result<(), ProviderError> {
        Self::unchanged()
    }

    async fn withdraw(&self, _: &Account, _: &TextRecord) -> Result<(), ProviderError> {
        Self::unchanged()
    }
}
