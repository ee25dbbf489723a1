//! `/chancery/v1/check/…`

use http::StatusCode;
use lifecycle::Finding;
use serde_json::{Value, json};

use super::Call;
use super::faults::Fault;
use crate::exchange::{Response, json as json_answer};

pub(super) async fn check(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let diagnosis = &call.context.house.diagnosis;
    let found = diagnosis.check(&call.principal, name).await?;
    let answer = json!({ "name": name, "findings": findings(&found) });
    Ok(json_answer(StatusCode::OK, &answer))
}

/// Findings as this API shows them.
pub(super) fn findings(found: &[Finding]) -> Vec<Value> {
    found.iter().map(finding).collect()
}

fn finding(finding: &Finding) -> Value {
    json!({
        "check": finding.check,
        "verdict": finding.verdict.as_str(),
        "expected": finding.expected,
        "found": finding.found,
        "acts": finding.acts.as_str(),
        "remedy": finding.remedy,
    })
}
