//! DNS providers: TXT records published and withdrawn where a zone is kept.

mod credentials;
mod records;

pub use credentials::Credentials;
pub use records::{Account, ProviderError, Records, TextRecord};
