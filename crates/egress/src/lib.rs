//! What leaves the house: DNS questions and HTTP requests, each within a policy about the very
//! address that is connected to.

mod fetch;
mod policy;
mod resolver;

pub use fetch::{Fetch, FetchError, Request, Response};
pub use policy::EgressPolicy;
pub use resolver::{Caa, LookupError, Nameserver, Resolver, Zone};
