//! DNS providers: TXT records published and withdrawn where a zone is kept.

mod credentials;
mod kinds;
mod providers;
mod records;

pub use credentials::Credentials;
pub use kinds::{CredentialsError, Field, Kind, check, kinds};
pub use providers::Providers;
pub use records::{Account, Proof, ProviderError, Records, TextRecord};
