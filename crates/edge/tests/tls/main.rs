//! TLS at the edge, with real clients, over a real house.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod changes;
mod limits;
mod names;
mod sessions;
mod stapling;
#[path = "../support/mod.rs"]
mod support;
mod tunnels;
mod validations;
