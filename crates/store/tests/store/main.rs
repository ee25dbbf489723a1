//! The store's promises, each checked on SQLite and on a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
mod support;

mod accounts;
mod authorities;
mod events;
mod group_commit;
mod listing;
mod opening;
mod private_keys;
mod scopes;
mod versions;
