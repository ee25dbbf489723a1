//! `/ping` and `/ping/auth`: whether the server is there, and whether it knows the caller.

use serde::Serialize;

use super::envelope;
use crate::exchange::Response;

#[derive(Serialize)]
struct Pong {
    ok: bool,
    message: &'static str,
}

/// The answer to both.
pub(super) fn pong() -> Response {
    envelope::single(&Pong {
        ok: true,
        message: "pong",
    })
}
