//! HTTP requests to servers of every kind.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod answers;
mod limits;
mod policy;
mod pool;
mod redirects;
mod support;
mod tls;
