//! The store's promises, each checked on SQLite and on a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
mod support;

mod accounts;
mod attachments;
mod authorities;
mod cursors;
mod domains;
mod events;
mod expiry;
mod group_commit;
mod instances;
mod leases;
mod listing;
mod names;
mod opening;
mod private_keys;
mod scopes;
mod served;
mod services;
mod ticket_keys;
mod versions;
