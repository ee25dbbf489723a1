//! Changing zones through servers with an API, and through programs.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod acme_dns;
mod exec;
mod httpreq;
mod support;
