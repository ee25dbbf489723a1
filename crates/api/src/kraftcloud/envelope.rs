//! The envelope around every answer, and which HTTP status it goes with.

use std::time::Instant;

use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::faults::{Code, Refusal};
use super::item::Item;
use super::kind::Kind;
use crate::exchange::{Response, json, with_allow};

const SOME_FAILED: &str = "Failed to perform all operations";

/// Outcome of a request or of an item; never any other word, clients refuse those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Success,
    PartialSuccess,
    Error,
}

/// How a request named its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// In body or query: any number of them.
    Global,
    /// In the path: one.
    Local,
}

#[derive(serde::Serialize)]
struct Envelope<'a, D> {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ErrorEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<D>,
    op_time_us: u64,
}

#[derive(serde::Serialize)]
struct ErrorEntry<'a> {
    status: u16,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Code>,
}

/// Items under the only key of `data`.
struct Data<'a, M> {
    key: &'static str,
    items: &'a [Item<M>],
}

impl<M: Serialize> Serialize for Data<'_, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.key, self.items)?;
        map.end()
    }
}

/// The answer to a request that did what it was asked.
pub(super) fn succeeded(data: impl Serialize, started: Instant) -> Response {
    let envelope = Envelope {
        status: Status::Success,
        message: None,
        errors: Vec::new(),
        data: Some(data),
        op_time_us: op_time(started),
    };
    json(StatusCode::OK, &envelope)
}

/// The answer to a request that was refused as a whole.
pub(super) fn refused(refusal: &Refusal, started: Instant) -> Response {
    let entry = ErrorEntry {
        status: refusal.status.as_u16(),
        message: &refusal.message,
        error: refusal.code,
    };
    let envelope = Envelope::<()> {
        status: Status::Error,
        message: Some(&refusal.message),
        errors: vec![entry],
        data: None,
        op_time_us: op_time(started),
    };
    let mut response = json(refusal.status, &envelope);
    if refusal.status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    match refusal.allow {
        Some(methods) => with_allow(response, methods),
        None => response,
    }
}

/// The answer to a request that was carried out item by item.
pub(super) fn carried_out<K: Kind, M: Serialize>(
    items: &[Item<M>],
    reach: Reach,
    started: Instant,
) -> Response {
    let data = Data { key: K::KEY, items };
    let faults: Vec<(Code, &str)> = items.iter().filter_map(Item::fault).collect();
    if faults.is_empty() {
        return succeeded(data, started);
    }
    let all_failed = faults.len() == items.len();
    if all_failed && faults.iter().any(|(code, _)| *code == Code::Unknown) {
        return refused(&Refusal::internal(), started);
    }
    let is_missing = faults.iter().any(|(code, _)| *code == Code::NotFound);
    let http_status = if all_failed && is_missing && reach == Reach::Local {
        K::ABSENT
    } else {
        StatusCode::OK
    };
    let mut errors: Vec<ErrorEntry<'_>> = Vec::new();
    for (code, message) in faults.into_iter().filter(|_| all_failed) {
        let status = code.mapped_status().as_u16();
        if !errors.iter().any(|entry| entry.status == status) {
            errors.push(ErrorEntry {
                status,
                message,
                error: Some(code),
            });
        }
    }
    let envelope = Envelope {
        status: if all_failed {
            Status::Error
        } else {
            Status::PartialSuccess
        },
        message: Some(SOME_FAILED),
        errors,
        data: Some(data),
        op_time_us: op_time(started),
    };
    json(http_status, &envelope)
}

/// Microseconds since `started`, at least 1: a zero reads like a value that is missing.
pub(super) fn op_time(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).map_or(u64::MAX, |time| time.max(1))
}
