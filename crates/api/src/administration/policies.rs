//! `/chancery/v1/accounts/NAME/policy`

use http::StatusCode;
use lifecycle::{Policy, PolicyText};
use serde_json::{Value, json};

use super::faults::Fault;
use super::{Body, Call};
use crate::exchange::{Response, json as json_answer};
use crate::json::{Malformed, Object};

impl Body for PolicyText {
    const MEMBERS: &'static [&'static str] = &["keys", "max_days", "names", "usages"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            names: object.take("names")?,
            keys: object.take("keys")?,
            max_days: object.take("max_days")?,
            usages: object.take("usages")?,
        })
    }
}

pub(super) async fn show(call: Call<'_>, account: &str) -> Result<Response, Fault> {
    let policies = &call.context.house.policies;
    let policy = policies.show(&call.principal, account).await?;
    Ok(json_answer(StatusCode::OK, &view(&policy)))
}

pub(super) async fn set(call: Call<'_>, account: &str) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, text, _room): (_, PolicyText, _) = call.body().await?;
    let policy = Policy::parse(&text)?;
    let policies = &context.house.policies;
    policies.set(&principal, account, Some(&policy)).await?;
    Ok(json_answer(StatusCode::OK, &view(&policy)))
}

pub(super) async fn remove(call: Call<'_>, account: &str) -> Result<Response, Fault> {
    let policies = &call.context.house.policies;
    policies.set(&call.principal, account, None).await?;
    Ok(json_answer(StatusCode::OK, &json!({})))
}

fn view(policy: &Policy) -> Value {
    let PolicyText {
        names,
        keys,
        max_days,
        usages,
    } = policy.text();
    json!({ "names": names, "keys": keys, "max_days": max_days, "usages": usages })
}
