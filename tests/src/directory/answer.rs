//! Answers.

use serde_json::{Value, json};

/// An answer to a request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

/// An answer, or a refusal.
pub(super) type Outcome = Result<Answer, Answer>;

impl Answer {
    pub(super) fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", kind.to_owned())],
            body: body.into(),
        }
    }

    pub(super) fn json(status: u16, document: &Value) -> Self {
        Self::new(status, "application/json", document.to_string())
    }

    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The problem document for a kind of error (RFC 8555 section 6.7).
pub(super) fn problem(kind: &str, detail: &str) -> Value {
    json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail })
}

/// A refusal.
pub(super) fn refuse(status: u16, kind: &str, detail: &str) -> Answer {
    let mut document = problem(kind, detail);
    document["status"] = status.into();
    Answer::new(status, "application/problem+json", document.to_string())
}
