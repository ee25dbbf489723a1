//! What is said between `chancery deliver` and the server.

use anyhow::{Context as _, anyhow, bail};
use http::StatusCode;
use lifecycle::CertificateId;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::directory::{Held, Material};
use super::plan::{Plan, Saying, Wanted};
use crate::client::Refusal;

/// Why a step was not done.
pub(super) enum Trouble {
    /// It may be better later.
    Passing(anyhow::Error),
    /// The server does not know the target.
    Unknown,
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Passing(error)
    }
}

pub(super) fn explained(refusal: &Refusal) -> anyhow::Error {
    let advice = match refusal.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; make a token for it with: chancery token create --deliver"
        }
        _ => "",
    };
    anyhow!("{}{advice}", refusal.detail)
}

pub(super) fn read_plan(answer: &Value) -> anyhow::Result<Plan> {
    // What is left out is not nothing: everything would be taken away.
    let list = |key| {
        let list = answer.get(key).and_then(Value::as_array);
        list.with_context(|| format!("it has no {key}"))
    };
    let place = list("place")?.iter().map(|wanted| {
        Ok(Wanted {
            name: member(wanted, "name")?.to_owned(),
            held: read_held(wanted)?,
            is_acknowledged: wanted.get("acknowledged") == Some(&Value::Bool(true)),
        })
    });
    let remove = list("remove")?
        .iter()
        .map(|unwanted| Ok(member(unwanted, "certificate")?.parse()?));
    Ok(Plan {
        tag: member(answer, "tag")?.to_owned(),
        place: place.collect::<anyhow::Result<_>>()?,
        remove: remove.collect::<anyhow::Result<_>>()?,
    })
}

pub(super) fn read_material(mut answer: Value) -> anyhow::Result<Material> {
    let held = read_held(&answer)?;
    let chain = member(&answer, "chain")?.to_owned();
    let key = match answer.get_mut("private_key").map(Value::take) {
        Some(Value::String(key)) => Zeroizing::new(key),
        _ => bail!("it has no private_key"),
    };
    Ok(Material { held, chain, key })
}

fn read_held(value: &Value) -> anyhow::Result<Held> {
    Ok(Held {
        certificate: member(value, "certificate")?.parse()?,
        version: member(value, "version")?.parse()?,
    })
}

pub(super) fn member<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    let text = value.get(key).and_then(Value::as_str);
    text.with_context(|| format!("it has no {key}"))
}

pub(super) fn saying((certificate, saying): &(CertificateId, Saying)) -> Value {
    let certificate = certificate.to_string();
    match saying {
        Saying::Placed(version) => json!({
            "certificate": certificate,
            "outcome": "placed",
            "version": version.to_string(),
        }),
        Saying::Refused(version, reason) => json!({
            "certificate": certificate,
            "outcome": "refused",
            "version": version.map(|version| version.to_string()),
            "reason": reason,
        }),
        Saying::Removed => json!({ "certificate": certificate, "outcome": "removed" }),
    }
}
