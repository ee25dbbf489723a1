//! Certificates under a private key: added, shown, replaced and deleted.

use http::StatusCode;
use hyper::body::Incoming;
use lifecycle::{CertificateLabel, LabelledCertificate};
use serde::Serialize;

use super::body::Members;
use super::faults::Fault;
use super::links::Link;
use super::{Call, created};
use crate::exchange::{Response, empty, json};
use crate::notation::timestamp;

/// `POST /privatekeys/{id}/certificates`.
pub(super) async fn add(call: Call<'_>, key: u64, body: Incoming) -> Result<Response, Fault> {
    let received = call.body_of(body).await?;
    let members = Members::read(&received.octets)?;
    let label = CertificateLabel {
        name: members.text_or_empty("name")?,
        common_name: members.text_or_empty("common_name")?,
        organization_name: members.text_or_empty("organization_name")?,
        organization_unit: members.text_or_empty("organization_unit")?,
        locality: members.text_or_empty("locality")?,
        state_province: members.text_or_empty("state_province")?,
        country_code: members.text_or_empty("country_code")?,
        email: members.text_or_empty("email")?,
    };
    let chain = members.text("ssl_certificate")?;
    let chain = chain.as_ref().map(|chain| chain.as_str());
    let keys = &call.context.house.private_keys;
    let added = keys
        .add_certificate(call.principal, key, label, chain)
        .await?;
    let shown = Shown::of(call, &added).await?;
    let address = call.links.certificate(key, added.number, "self").href;
    Ok(created(&address, &shown))
}

/// `GET /privatekeys/{id}/certificates/{cid}`.
pub(super) async fn show(call: Call<'_>, key: u64, number: u64) -> Result<Response, Fault> {
    let keys = &call.context.house.private_keys;
    let found = keys.certificate(call.principal, key, number).await?;
    Ok(json(StatusCode::OK, &Shown::of(call, &found).await?))
}

/// `PUT /privatekeys/{id}/certificates/{cid}`.
pub(super) async fn replace(
    call: Call<'_>,
    key: u64,
    number: u64,
    body: Incoming,
) -> Result<Response, Fault> {
    let received = call.body_of(body).await?;
    let members = Members::read(&received.octets)?;
    let chain = members.text("ssl_certificate")?;
    let chain = chain.as_ref().map(|chain| chain.as_str());
    let keys = &call.context.house.private_keys;
    let replaced = keys
        .replace_certificate(call.principal, key, number, chain)
        .await?;
    Ok(json(StatusCode::OK, &Shown::of(call, &replaced).await?))
}

/// `DELETE /privatekeys/{id}/certificates/{cid}`.
pub(super) async fn delete(call: Call<'_>, key: u64, number: u64) -> Result<Response, Fault> {
    let keys = &call.context.house.private_keys;
    keys.delete_certificate(call.principal, key, number).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// What a certificate is called here: by its label, else as in the inventory.
pub(super) fn names_of(known: &LabelledCertificate) -> (&str, &str) {
    match &known.label {
        Some(label) => (&label.name, &label.common_name),
        None => (&known.certificate.name, &known.certificate.common_name),
    }
}

/// From when and until when a certificate is valid.
pub(super) fn validity_of(known: &LabelledCertificate) -> (String, String) {
    let current = known.certificate.current.as_ref();
    let times =
        current.map(|version| (timestamp(version.not_before), timestamp(version.not_after)));
    times.unwrap_or_default()
}

/// A certificate with all that is said of it.
#[derive(Serialize)]
struct Shown {
    /// A string, as everywhere; that of a key is a number.
    id: String,
    name: String,
    common_name: String,
    organization_name: String,
    organization_unit: String,
    locality: String,
    state_province: String,
    country_code: String,
    email: String,
    ssl_certificate: String,
    valid_from: String,
    valid_thru: String,
    #[serde(rename = "_links")]
    links: [Link; 2],
}

impl Shown {
    async fn of(call: Call<'_>, known: &LabelledCertificate) -> Result<Self, Fault> {
        let chain = call.context.house.private_keys.chain(known).await?;
        let (name, common_name) = names_of(known);
        let (valid_from, valid_thru) = validity_of(known);
        let label = known.label.clone().unwrap_or_default();
        let (key, number) = (known.key_number, known.number);
        Ok(Self {
            id: number.to_string(),
            name: name.to_owned(),
            common_name: common_name.to_owned(),
            organization_name: label.organization_name,
            organization_unit: label.organization_unit,
            locality: label.locality,
            state_province: label.state_province,
            country_code: label.country_code,
            email: label.email,
            ssl_certificate: chain.iter().map(pki::Certificate::to_pem).collect(),
            valid_from,
            valid_thru,
            links: [
                call.links.certificate(key, number, "self"),
                call.links
                    .request(key, number, "certificate-signing-request"),
            ],
        })
    }
}
