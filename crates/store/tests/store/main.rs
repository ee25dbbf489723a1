//! The store's promises, each checked on SQLite and on a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
mod support;

mod accounts;
mod attachments;
mod audit;
mod authorities;
mod budgets;
mod challenges;
mod crossing;
mod cursors;
mod deliveries;
mod directories;
mod dns_accounts;
mod dns_providers;
mod domains;
mod event_search;
mod events;
mod expiring;
mod expiry;
mod grants;
mod group_commit;
mod inbound_orders;
mod installations;
mod instances;
mod labels;
mod leases;
mod listing;
mod names;
mod opening;
mod orders;
mod preauthorizations;
mod private_keys;
mod renewals;
mod scopes;
mod served;
mod services;
mod shards;
mod switches;
mod target_directories;
mod targets;
mod ticket_keys;
mod versions;
mod webhooks;
