//! Directories that fail, limit, lie and call certificates back, and nodes that die meanwhile: the
//! built server against directories of the tests' own, by a clock that they put forward.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod alone;
mod elsewhere;
mod fallback;
mod house;
mod limits;
mod nodes;
mod recall;
mod trouble;
