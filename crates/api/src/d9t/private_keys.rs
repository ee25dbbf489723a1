//! Private keys: made, shown and deleted.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use hyper::body::Incoming;
use lifecycle::{KeyOrigin, LabelledKey};
use serde::Serialize;
use zeroize::Zeroizing;

use super::body::Members;
use super::faults::Fault;
use super::links::Link;
use super::{Call, created};
use crate::exchange::{Response, empty, json};

/// `POST /privatekeys`.
pub(super) async fn create(call: Call<'_>, body: Incoming) -> Result<Response, Fault> {
    let received = call.body_of(body).await?;
    let members = Members::read(&received.octets)?;
    let name = members.text_or_empty("name")?;
    let pem = members.text("key")?;
    let origin = match &pem {
        Some(pem) => KeyOrigin::Brought(pem),
        None => KeyOrigin::Generate(call.context.settings.d9t.key_algorithm),
    };
    let keys = &call.context.house.private_keys;
    let key = keys.create(call.principal, &name, origin).await?;
    let shown = Shown::of(call, &key).await?;
    let address = call.links.private_key(key.number, "self").href;
    Ok(private(created(&address, &shown)))
}

/// `GET /privatekeys/{id}`.
pub(super) async fn show(call: Call<'_>, number: u64) -> Result<Response, Fault> {
    let keys = &call.context.house.private_keys;
    let key = keys.find(call.principal, number).await?;
    let shown = Shown::of(call, &key).await?;
    Ok(private(json(StatusCode::OK, &shown)))
}

/// `DELETE /privatekeys/{id}`.
pub(super) async fn delete(call: Call<'_>, number: u64) -> Result<Response, Fault> {
    let keys = &call.context.house.private_keys;
    keys.delete(call.principal, number).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A private key with the key itself, as far as that leaves the house.
#[derive(Serialize)]
struct Shown {
    id: u64,
    name: String,
    key: Option<Zeroizing<String>>,
    #[serde(rename = "_links")]
    links: [Link; 2],
}

impl Shown {
    async fn of(call: Call<'_>, key: &LabelledKey) -> Result<Self, Fault> {
        let keys = &call.context.house.private_keys;
        let exported = keys.export(call.principal, key).await?;
        Ok(Self {
            id: key.number,
            name: key.name.clone(),
            key: exported.map(|key| key.to_pkcs8_pem()),
            links: [
                call.links.private_key(key.number, "self"),
                call.links.certificates_under(key.number),
            ],
        })
    }
}

/// The same answer, which no cache may keep.
fn private(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
