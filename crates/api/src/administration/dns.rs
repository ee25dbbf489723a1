//! `/chancery/v1/dns…`

use std::collections::BTreeMap;

use http::StatusCode;
use lifecycle::{DnsKind, DnsProvider, NewDnsProvider, dns_kinds};
use serde_json::{Value, json};

use super::checks::findings;
use super::faults::Fault;
use super::{Body, Call};
use crate::exchange::{Response, json as json_answer};
use crate::json::{Malformed, Object};
use crate::notation::timestamp;

struct AddBody(NewDnsProvider);

impl Body for AddBody {
    const MEMBERS: &'static [&'static str] = &["account", "credentials", "kind", "zone"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        let credentials: BTreeMap<String, String> = object.require("credentials")?;
        Ok(Self(NewDnsProvider {
            zone: object.require("zone")?,
            kind: object.require("kind")?,
            credentials: credentials.into_iter().collect(),
            account: object.take("account")?,
        }))
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let providers = &call.context.house.dns_providers;
    let providers = providers.list(&call.principal).await?;
    let views: Vec<Value> = providers.iter().map(view).collect();
    Ok(json_answer(StatusCode::OK, &json!({ "providers": views })))
}

pub(super) async fn add(call: Call<'_>) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, AddBody(provider), _room) = call.body().await?;
    let added = context
        .house
        .dns_providers
        .add(&principal, provider)
        .await?;
    Ok(json_answer(StatusCode::OK, &view(&added)))
}

pub(super) async fn remove(call: Call<'_>, zone: &str) -> Result<Response, Fault> {
    let providers = &call.context.house.dns_providers;
    providers.remove(&call.principal, zone).await?;
    Ok(json_answer(StatusCode::OK, &json!({})))
}

pub(super) async fn test(call: Call<'_>, zone: &str) -> Result<Response, Fault> {
    let providers = &call.context.house.dns_providers;
    let found = providers.test(&call.principal, zone).await?;
    let answer = json!({ "zone": zone, "findings": findings(&found) });
    Ok(json_answer(StatusCode::OK, &answer))
}

/// What there are drivers for, and the names of the fields that each wants.
pub(super) fn kinds() -> Response {
    let kinds: Vec<Value> = dns_kinds().iter().map(kind).collect();
    json_answer(StatusCode::OK, &json!({ "kinds": kinds }))
}

fn kind(kind: &DnsKind) -> Value {
    let fields = kind.fields.iter().map(|field| {
        json!({
            "name": field.name,
            "required": field.is_required,
            "secret": field.is_secret,
        })
    });
    json!({ "name": kind.name, "fields": fields.collect::<Vec<_>>() })
}

fn view(provider: &DnsProvider) -> Value {
    json!({
        "zone": provider.zone,
        "kind": provider.kind,
        "fields": provider.fields,
        "shared": provider.is_shared,
        "created_at": timestamp(provider.created_at),
    })
}
