//! The house as the programs around it use it: on real databases, with a clock that the tests turn.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

mod audit;
mod authorities;
mod cuts;
mod devices;
mod feed;
mod following;
mod foreign_authorities;
mod house;
mod installations;
mod instances;
mod issuers;
mod managed;
mod notices;
mod orders;
mod proofs;
mod publication;
mod recall;
mod routing;
mod selection;
mod service_changes;
mod services;
mod shards;
mod targets;
mod year;
