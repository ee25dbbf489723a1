//! Problem documents from servers that need not mean well. What cannot be read of one is left out:
//! that a request was refused is known from its status.

use acme::{ErrorKind, Identifier, Problem};
use http::StatusCode;
use serde_json::{Map, Value};

use crate::text::shown;

/// The longest document that is read, in octets.
const MAX_DOCUMENT: usize = 64 * 1_024;
/// How many subproblems are kept.
const MAX_SUBPROBLEMS: usize = 100;

/// The problem in the body of an answer with an error's status.
pub(crate) fn of_answer(status: StatusCode, body: &[u8]) -> Problem {
    let mut problem = read(body).unwrap_or_else(|| {
        let detail = format!("it answers {status} without a problem document");
        Problem::new(ErrorKind::default(), detail)
    });
    if problem.kind == ErrorKind::default() {
        if status == StatusCode::TOO_MANY_REQUESTS {
            problem.kind = ErrorKind::RateLimited;
        } else if status.is_server_error() {
            problem.kind = ErrorKind::ServerInternal;
        }
    }
    problem.status = Some(status.as_u16());
    problem
}

/// The problem that a document has inside it, such as an order's error.
pub(crate) fn of_document(body: &[u8]) -> Problem {
    read(body)
        .unwrap_or_else(|| Problem::new(ErrorKind::default(), "it gives a reason nobody can read"))
}

fn read(body: &[u8]) -> Option<Problem> {
    if body.len() > MAX_DOCUMENT {
        return None;
    }
    let document: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let mut problem = members(&document);
    let subproblems = document.get("subproblems").and_then(Value::as_array);
    let subproblems = subproblems.into_iter().flatten().take(MAX_SUBPROBLEMS);
    problem.subproblems = subproblems
        .filter_map(Value::as_object)
        .map(members)
        .collect();
    Some(problem)
}

fn members(document: &Map<String, Value>) -> Problem {
    let text = |name: &str| document.get(name).and_then(Value::as_str).map(shown);
    let number = |name: &str| document.get(name).and_then(Value::as_u64);
    Problem {
        kind: text("type").map_or_else(ErrorKind::default, |uri| ErrorKind::from_uri(&uri)),
        detail: text("detail").or_else(|| text("title")),
        status: number("status").and_then(|status| u16::try_from(status).ok()),
        instance: text("instance"),
        identifier: document.get("identifier").and_then(identifier),
        algorithms: Vec::new(),
        subproblems: Vec::new(),
    }
}

fn identifier(value: &Value) -> Option<Identifier> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(shown);
    Some(Identifier {
        kind: text("type")?,
        value: text("value")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, document: &Value) -> Problem {
        let status = StatusCode::from_u16(status).unwrap();
        of_answer(status, document.to_string().as_bytes())
    }

    #[test]
    fn rfc8555_section_6_7_1_a_problem_keeps_what_it_says_about_each_identifier() {
        let document = json!({
            "type": "urn:ietf:params:acme:error:compound",
            "detail": "some were rejected",
            "instance": "https://ca.example/terms",
            "subproblems": [{
                "type": "urn:ietf:params:acme:error:caa",
                "detail": "CAA forbids",
                "identifier": { "type": "dns", "value": "example.net" }
            }]
        });
        let problem = answer(403, &document);
        assert_eq!(problem.kind, ErrorKind::Compound);
        assert_eq!(problem.status, Some(403));
        assert_eq!(problem.instance.unwrap(), "https://ca.example/terms");
        let subproblem = problem.subproblems.first().unwrap();
        assert_eq!(subproblem.kind, ErrorKind::Caa);
        assert_eq!(subproblem.identifier.as_ref().unwrap().value, "example.net");
    }

    #[test]
    fn members_of_odd_types_are_left_out() {
        let document = json!({
            "type": 7, "detail": { "a": 1 }, "status": "403", "instance": [],
            "subproblems": [1, "x", null, { "type": [], "identifier": "example.net" }]
        });
        let problem = answer(400, &document);
        assert_eq!(problem.kind, ErrorKind::default());
        assert_eq!((problem.detail, problem.instance), (None, None));
        assert_eq!(problem.subproblems.len(), 1);
        for document in [
            json!([]),
            json!("x"),
            json!(null),
            json!({ "subproblems": {} }),
        ] {
            assert_eq!(answer(400, &document).kind, ErrorKind::default());
        }
    }

    #[test]
    fn an_answer_without_a_problem_is_known_by_its_status() {
        let problem = |status| of_answer(StatusCode::from_u16(status).unwrap(), b"<html>");
        assert_eq!(problem(429).kind, ErrorKind::RateLimited);
        assert_eq!(problem(502).kind, ErrorKind::ServerInternal);
        assert_eq!(problem(404).kind, ErrorKind::default());
        assert!(problem(404).detail.unwrap().contains("404 Not Found"));
    }

    #[test]
    fn long_documents_are_cut() {
        let long = "x".repeat(10_000);
        let detail = answer(400, &json!({ "detail": long })).detail.unwrap();
        assert!(detail.len() < 2_100, "{}", detail.len());
        let many = vec![json!({ "detail": "x" }); 2_000];
        let problem = answer(400, &json!({ "subproblems": many }));
        assert_eq!(problem.subproblems.len(), MAX_SUBPROBLEMS);
        let huge = "x".repeat(MAX_DOCUMENT);
        let detail = answer(400, &json!({ "detail": huge })).detail.unwrap();
        assert!(detail.contains("without a problem document"), "{detail}");
        let deep = format!("{{\"detail\":{}{}}}", "[".repeat(9_000), "]".repeat(9_000));
        let problem = of_answer(StatusCode::BAD_REQUEST, deep.as_bytes());
        assert!(problem.detail.unwrap().contains("without a problem"));
    }
}
