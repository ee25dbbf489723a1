//! HTTP requests to servers of every kind.

mod answers;
mod limits;
mod policy;
mod pool;
mod redirects;
mod tls;

#[path = "../support/mod.rs"]
mod support;
