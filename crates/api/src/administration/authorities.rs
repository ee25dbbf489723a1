//! `/chancery/v1/authorities…`

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use lifecycle::{
    AuthorityView, CaMaterial, DueKind, DueView, ImportRequest, NewAuthorityRequest, TierView,
    Tiers,
};
use pki::{Certificate, KeyAlgorithm, SubjectFields};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::faults::Fault;
use super::{Body, Call};
use crate::exchange::{Response, json as json_answer};
use crate::json::{Malformed, Object};
use crate::notation::timestamp;

struct CreateBody(NewAuthorityRequest);

impl Body for CreateBody {
    const MEMBERS: &'static [&'static str] = &[
        "common_name",
        "country",
        "days",
        "device",
        "exclude",
        "key_algorithm",
        "name",
        "organization",
        "organizational_unit",
        "permit",
        "root_days",
        "tiers",
    ];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        let algorithm: Option<String> = object.take("key_algorithm")?;
        let key_algorithm = match algorithm {
            None => KeyAlgorithm::P256,
            Some(text) => text.parse().map_err(|_| {
                Malformed::new(
                    "key_algorithm is rsa2048, rsa3072, rsa4096, p256, p384, p521 or ed25519",
                )
            })?,
        };
        let tiers = match object.take::<u32>("tiers")? {
            None | Some(2) => Tiers::Two,
            Some(1) => Tiers::One,
            Some(_) => return Err(Malformed::new("tiers is 1 or 2")),
        };
        let name: String = object.require("name")?;
        let common_name: Option<String> = object.take("common_name")?;
        Ok(Self(NewAuthorityRequest {
            key_algorithm,
            tiers,
            subject: SubjectFields {
                common_name: Some(common_name.unwrap_or_else(|| name.clone())),
                organization: object.take("organization")?,
                organizational_unit: object.take("organizational_unit")?,
                country: object.take("country")?,
                ..SubjectFields::default()
            },
            name,
            days: object.take("days")?,
            root_days: object.take("root_days")?,
            permitted: object.take("permit")?.unwrap_or_default(),
            excluded: object.take("exclude")?.unwrap_or_default(),
            in_device: object.take("device")?.unwrap_or_default(),
        }))
    }
}

struct ImportBody(ImportRequest);

impl Body for ImportBody {
    // A key and some certificates, perhaps in base64.
    const LIMIT: usize = 256 * 1024;
    const MEMBERS: &'static [&'static str] = &["chain", "key", "name", "passphrase", "pkcs12"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        let key: Option<Zeroizing<String>> = object.take("key")?;
        let chain: Option<String> = object.take("chain")?;
        let file: Option<Zeroizing<String>> = object.take("pkcs12")?;
        let material = match (key, chain, file) {
            (Some(key), Some(certificates), None) => CaMaterial::Pem { key, certificates },
            (None, None, Some(file)) => {
                let decoded = STANDARD.decode(file.trim()).map(Zeroizing::new);
                let decoded =
                    decoded.map_err(|_| Malformed::new("pkcs12 is the file in base64"))?;
                CaMaterial::Pkcs12(decoded)
            }
            _ => return Err(Malformed::new("give key and chain, or pkcs12")),
        };
        Ok(Self(ImportRequest {
            name: object.require("name")?,
            material,
            passphrase: object.take("passphrase")?.unwrap_or_default(),
        }))
    }
}

struct PassphraseBody(Zeroizing<String>);

impl Body for PassphraseBody {
    const MEMBERS: &'static [&'static str] = &["passphrase"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self(object.require("passphrase")?))
    }
}

struct KeyBody {
    key: Zeroizing<String>,
    passphrase: Zeroizing<String>,
    away_days: Option<u32>,
}

impl Body for KeyBody {
    const MEMBERS: &'static [&'static str] = &["away_days", "key", "passphrase"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            key: object.require("key")?,
            passphrase: object.take("passphrase")?.unwrap_or_default(),
            away_days: object.take("away_days")?,
        })
    }
}

struct RequestBody {
    is_for_new_key: bool,
}

impl Body for RequestBody {
    const MEMBERS: &'static [&'static str] = &["new_key"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            is_for_new_key: object.take("new_key")?.unwrap_or_default(),
        })
    }
}

struct ChainBody(String);

impl Body for ChainBody {
    const LIMIT: usize = 256 * 1024;
    const MEMBERS: &'static [&'static str] = &["chain"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self(object.require("chain")?))
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let listed = call.context.house.authorities.all(&call.principal).await?;
    let views: Vec<Value> = listed.iter().map(view).collect();
    Ok(json_answer(
        StatusCode::OK,
        &json!({ "authorities": views }),
    ))
}

pub(super) async fn show(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let authorities = &call.context.house.authorities;
    shown(&authorities.show(&call.principal, name).await?)
}

pub(super) async fn create(call: Call<'_>) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, CreateBody(request), _room) = call.body().await?;
    shown(
        &context
            .house
            .authorities
            .create(&principal, request)
            .await?,
    )
}

pub(super) async fn import(call: Call<'_>) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, ImportBody(request), _room) = call.body().await?;
    shown(
        &context
            .house
            .authorities
            .import(&principal, request)
            .await?,
    )
}

pub(super) async fn export_root_key(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, PassphraseBody(passphrase), _room) = call.body().await?;
    let authorities = &context.house.authorities;
    let exported = authorities
        .export_root_key(&principal, name, passphrase)
        .await?;
    Ok(json_answer(StatusCode::OK, &json!({ "key": *exported })))
}

pub(super) async fn remove_root_key(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, KeyBody, _) = call.body().await?;
    let copy = body.key.as_bytes();
    let authorities = &context.house.authorities;
    shown(
        &authorities
            .remove_root_key(&principal, name, copy, body.passphrase, body.away_days)
            .await?,
    )
}

pub(super) async fn return_root_key(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, KeyBody, _) = call.body().await?;
    let key = body.key.as_bytes();
    let authorities = &context.house.authorities;
    shown(
        &authorities
            .return_root_key(&principal, name, key, body.passphrase)
            .await?,
    )
}

pub(super) async fn request_certificate(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, RequestBody, _) = call.body().await?;
    let authorities = &context.house.authorities;
    let request = authorities
        .request_certificate(&principal, name, body.is_for_new_key)
        .await?;
    Ok(json_answer(StatusCode::OK, &json!({ "request": request })))
}

pub(super) async fn install_certificate(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, ChainBody(chain), _room) = call.body().await?;
    let authorities = &context.house.authorities;
    shown(
        &authorities
            .install_certificate(&principal, name, &chain)
            .await?,
    )
}

pub(super) async fn make_successor(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let authorities = &call.context.house.authorities;
    shown(&authorities.make_successor(&call.principal, name).await?)
}

pub(super) async fn switch_root(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let authorities = &call.context.house.authorities;
    shown(&authorities.switch_root(&call.principal, name).await?)
}

fn shown(authority: &AuthorityView) -> Result<Response, Fault> {
    Ok(json_answer(StatusCode::OK, &view(authority)))
}

fn view(authority: &AuthorityView) -> Value {
    json!({
        "name": authority.name,
        "created_at": timestamp(authority.created_at),
        "tiers": authority.tiers.iter().map(tier).collect::<Vec<_>>(),
        "permit": authority.permitted,
        "exclude": authority.excluded,
        "due": authority.due.iter().map(due).collect::<Vec<_>>(),
    })
}

fn tier(tier: &TierView) -> Value {
    let certificate = &tier.certificate;
    let identifier = certificate.subject_key_identifier().unwrap_or_default();
    json!({
        "role": tier.role,
        "subject": certificate.subject().to_string(),
        "issuer": certificate.issuer().to_string(),
        "serial": certificate.serial().to_hex(),
        "fingerprint": hex(&certificate.fingerprint()),
        "key_identifier": hex(identifier),
        "key_algorithm": tier.key_kind.to_string(),
        "key": tier.key_place,
        "not_before": timestamp(certificate.not_before()),
        "not_after": timestamp(certificate.not_after()),
        "certificate": certificate.to_pem(),
        "superiors": tier.superiors.iter().map(Certificate::to_pem).collect::<Vec<_>>(),
    })
}

fn due(due: &DueView) -> Value {
    json!({
        "kind": match due.kind {
            DueKind::Issuing => "issuing",
            DueKind::IssuingWithoutRootKey => "issuing_without_root_key",
            DueKind::Recertification => "recertification",
            DueKind::Successor => "successor",
            DueKind::SuccessorWithoutRootKey => "successor_without_root_key",
            DueKind::Switch => "switch",
            DueKind::RootList => "root_list",
        },
        "by": timestamp(due.by),
        "now": due.is_now,
        "advice": due.advice,
    })
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
