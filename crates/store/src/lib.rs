//! The memory of Chancery: certificates, private keys, accounts, authorities and events, in SQLite
//! or PostgreSQL behind one [`Store`].
//!
//! Invariants:
//! - What a function reports as done is on disk. What was interrupted has not happened; nothing
//!   needs repair after a crash.
//! - Every function on rows of tenants takes a [`Scope`]; rows outside it do not exist for it.
//! - Private keys are sealed before they reach the database and appear in no error and no `Debug`.
//! - Every list is bounded ([`PAGE_LIMIT`]) and continues by key, not by count.
//!
//! What this crate does not do: decide. It knows no policy, looks at no clock, and talks to nobody
//! but its database.

mod accounts;
mod authorities;
mod backend;
mod certificates;
mod error;
mod events;
mod ids;
mod inventory;
mod migrate;
#[cfg(test)]
mod plans;
mod private_keys;
mod recorder;
mod scope;
mod seal;
mod sql;
mod store;
mod tokens;
mod url;
mod versions;

pub use accounts::{ACCOUNT_NAME_LIMIT, Account, AccountBar, AccountStatus, NewAccount, Role};
pub use authorities::{Authority, CaCertificate, CaRole, NewAuthority, NewCaCertificate};
pub use certificates::{
    Certificate, CertificateFilter, CertificateRef, NewCertificate, Order, Origin, Page, PageStart,
    State, StateKind,
};
pub use error::Error;
pub use events::{ACTOR_LIMIT, DETAIL_LIMIT, Event, NewEvent};
pub use ids::{
    AccountId, AuthorityId, CaCertificateId, CertificateId, EventId, IdParseError, PrivateKeyId,
    TokenId, VersionId,
};
pub use inventory::{CHAIN_LIMIT, IDENTIFIERS_LIMIT, NAME_LIMIT, NewRecord};
pub use private_keys::{Exportable, NewPrivateKey, StoredKey};
pub use scope::{PAGE_LIMIT, Scope};
pub use seal::{MasterKey, MasterKeyId, Purpose, SealError, Sealer};
pub use store::Store;
pub use tokens::{NewToken, Token};
pub use url::{DatabaseUrl, DatabaseUrlError};
pub use versions::{IssuedStatus, NewVersion, RevokeOutcome, RevokedVersion, StoredChain, Version};
