//! DNS providers: TXT records published and withdrawn where a zone is kept.

mod acme_dns;
mod call;
mod change;
mod check;
mod credentials;
mod exec;
#[cfg(feature = "hosted")]
mod hosted;
mod httpreq;
mod kinds;
mod presentable;
mod providers;
mod records;
mod rfc2136;

pub use check::{CredentialsError, check};
pub use credentials::Credentials;
pub use kinds::{Field, Kind, kinds};
pub use providers::Providers;
pub use records::{Account, Proof, ProviderError, Records, TextRecord};
