//! Managed certificates: the built server against a real ACME directory (Pebble) and a real DNS
//! server (Knot).
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod commands;
mod crash;
mod issuers;
mod journey;
mod misconfigurations;
mod obtaining;
mod persistence;
mod renewal;
mod stacks;
mod two_nodes;
