//! The envelopes that all answers come in. Every answer that is not an error is 200 and has a body:
//! clients take the end of an empty one for a fault.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use serde::Serialize;

use super::paging::{Asked, Pagination};
use crate::exchange::{Response, json};

/// Which of the two forms of the API's documents an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Representation {
    /// What clients read.
    Default,
    /// What the Cloud 66 document shows, and no known client can read.
    Model,
}

/// What command line clients print beside a good answer.
const WARNING: HeaderName = HeaderName::from_static("x-cloud66-warning");

/// Longest warning, in characters.
const WARNING_SHOWN: usize = 500;

#[derive(Serialize)]
struct Single<'a, T> {
    response: &'a T,
}

#[derive(Serialize)]
struct List<'a, T> {
    response: &'a [T],
    count: usize,
    pagination: Pagination,
}

/// One object.
pub(super) fn single(object: &impl Serialize) -> Response {
    json(StatusCode::OK, &Single { response: object })
}

/// One page of `total` objects.
pub(super) fn list(
    page: &[impl Serialize],
    asked: Asked,
    total: u64,
    representation: Representation,
) -> Response {
    let list = List {
        response: page,
        count: page.len(),
        pagination: asked.pagination(total, representation),
    };
    json(StatusCode::OK, &list)
}

/// The same answer with a warning, cut and kept to what a header can hold.
pub(super) fn with_warning(mut response: Response, warning: &str) -> Response {
    let fit = |character: char| match character {
        ' '..='~' => character,
        _ => '?',
    };
    let text: String = warning.chars().take(WARNING_SHOWN).map(fit).collect();
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(WARNING, value);
    }
    response
}
