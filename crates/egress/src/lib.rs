//! What leaves the house: DNS questions and HTTP requests, each within a policy about the very
//! address that is connected to.

mod anchors;
mod exchange;
mod fetch;
mod fetcher;
mod policy;
mod pool;
mod resolver;
mod system;

pub use exchange::{ExchangeError, exchange};
pub use fetch::{Fetch, FetchError, Ports, Request, Response, Trust};
pub use fetcher::Fetcher;
pub use policy::EgressPolicy;
pub use resolver::{Caa, LookupError, Nameserver, Resolver, Zone};
pub use system::{ResolverError, ResolverSettings, SystemResolver};
