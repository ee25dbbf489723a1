//! `/chancery/v1/clients…`: programs that may ask people for grants.

use http::StatusCode;
use lifecycle::{ClientView, NewClient};
use serde::Serialize;

use super::faults::Fault;
use super::{Body, Call};
use crate::exchange::{Response, json};
use crate::json::{Malformed, Object};
use crate::notation::timestamp;

/// A client as this API shows it; its secret only in the answer that registered it.
#[derive(Serialize)]
struct View<'a> {
    name: &'a str,
    redirects: &'a [String],
    confidential: bool,
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

impl<'a> View<'a> {
    fn of(client: &'a ClientView, secret: Option<&'a str>) -> Self {
        Self {
            name: &client.name,
            redirects: &client.redirects,
            confidential: client.is_confidential,
            created_at: client.created_at.map(timestamp),
            secret,
        }
    }
}

struct RegisterBody(NewClient);

impl Body for RegisterBody {
    const MEMBERS: &'static [&'static str] = &["confidential", "name", "redirects"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self(NewClient {
            name: object.require("name")?,
            redirects: object.require("redirects")?,
            is_confidential: object.take("confidential")?.unwrap_or_default(),
        }))
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let clients = call.context.house.clients.list(&call.principal).await?;
    let views: Vec<View<'_>> = clients
        .iter()
        .map(|client| View::of(client, None))
        .collect();
    let list = serde_json::json!({ "clients": views });
    Ok(json(StatusCode::OK, &list))
}

pub(super) async fn register(call: Call<'_>) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, RegisterBody(client), _room) = call.body().await?;
    let minted = context.house.clients.register(&principal, client).await?;
    let secret = minted.secret.as_ref().map(|secret| secret.as_str());
    Ok(json(StatusCode::OK, &View::of(&minted.client, secret)))
}

pub(super) async fn remove(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let clients = &call.context.house.clients;
    clients.remove(&call.principal, name).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({})))
}
