//! What this crate makes, judged by the real `openssl`, and what `openssl` makes, read here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod foreign_answers;
mod issuance;
mod keys;
mod requests;
mod revocation;
mod support;
