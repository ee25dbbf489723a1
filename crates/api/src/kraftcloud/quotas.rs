//! `/v1/users/quotas`. Nothing is limited, and nothing is counted.

use std::time::Instant;

use lifecycle::Principal;
use serde::Serialize;

use super::envelope::{Status, succeeded};
use crate::exchange::Response;

#[derive(Serialize)]
struct Data {
    quotas: [Quotas; 1],
}

#[derive(Serialize)]
struct Quotas {
    status: Status,
    uuid: String,
    used: Numbers,
    hard: Numbers,
    limits: Numbers,
}

/// Numbers by what they count: none.
#[derive(Serialize)]
struct Numbers {}

/// The quotas of the caller's account.
pub(super) fn respond(principal: &Principal, started: Instant) -> Response {
    let quotas = Quotas {
        status: Status::Success,
        uuid: principal.account_id().to_string(),
        used: Numbers {},
        hard: Numbers {},
        limits: Numbers {},
    };
    succeeded(Data { quotas: [quotas] }, started)
}
