//! Private keys: made, shown and deleted.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use hyper::body::Incoming;
use lifecycle::{KeyOrigin, LabelledKey};
use pki::PrivateKey;
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
    let (label, key) = keys.create(call.principal, &name, origin).await?;
    let shown = Shown::of(call, label, Some(&key));
    let address = call.links.private_key(shown.id, "self").href;
    Ok(private(created(&address, &shown)))
}

/// `GET /privatekeys/{id}`; for `HEAD` nobody sees the body, which only says how long it would be.
pub(super) async fn show(call: Call<'_>, number: u64, is_seen: bool) -> Result<Response, Fault> {
    let keys = &call.context.house.private_keys;
    let label = keys.find(call.principal, number).await?;
    let key = keys.export(call.principal, &label, is_seen).await?;
    let shown = Shown::of(call, label, key.as_ref());
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
    fn of(call: Call<'_>, label: LabelledKey, key: Option<&PrivateKey>) -> Self {
        let number = label.number;
        Self {
            id: number,
            name: label.name,
            key: key.map(PrivateKey::to_pkcs8_pem),
            links: [
                call.links.private_key(number, "self"),
                call.links.certificates_under(number),
            ],
        }
    }
}

/// The same answer, which no cache may keep.
fn private(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
