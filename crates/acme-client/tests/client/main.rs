//! The client against a directory of the tests' own, and against Pebble.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod accounts;
mod faults;
mod hostile;
mod limits;
mod orders;
mod pebble;
mod renewal;
mod support;
