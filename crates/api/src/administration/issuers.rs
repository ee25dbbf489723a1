//! `/chancery/v1/issuers…`

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use lifecycle::{
    Budget, DirectoryInfo, DirectoryView, ExternalAccount, IssuerKind, IssuerView, NewIssuer,
};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::faults::Fault;
use super::{Body, Call};
use crate::exchange::{Response, json as json_answer};
use crate::json::{Malformed, Object};
use crate::notation::timestamp;

struct AddBody(NewIssuer);

impl Body for AddBody {
    // Trust anchors are some certificates long.
    const LIMIT: usize = 256 * 1024;
    const MEMBERS: &'static [&'static str] = &[
        "account",
        "acme",
        "agree_tos",
        "ca",
        "default",
        "eab_hmac",
        "eab_kid",
        "email",
        "limits",
        "name",
        "preferred_chain",
        "profile",
        "rank",
    ];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        let external_account = match (object.take("eab_kid")?, object.take("eab_hmac")?) {
            (Some(key_id), Some(key)) => Some(ExternalAccount {
                key_id,
                hmac_key: external_key(&key)?,
            }),
            (None, None) => None,
            _ => return Err(Malformed::new("eab_kid and eab_hmac come together")),
        };
        let limits = object.take::<Limits>("limits")?;
        Ok(Self(NewIssuer {
            name: object.require("name")?,
            url: object.require("acme")?,
            contact: object.take("email")?,
            agrees_to_terms: object.take("agree_tos")?.unwrap_or_default(),
            roots: object.take("ca")?,
            external_account,
            profile: object.take("profile")?,
            preferred_chain: object.take("preferred_chain")?,
            limits: limits.map(|Limits(members)| Value::Object(members).to_string()),
            account: object.take("account")?,
            rank: rank(object.take("rank")?)?,
            is_default: object.take("default")?.unwrap_or_default(),
        }))
    }
}

/// Limits as the house reads them.
#[derive(serde::Deserialize)]
struct Limits(Map<String, Value>);

impl crate::json::Value for Limits {
    const KIND: &'static str = "an object";
}

struct DefaultBody {
    for_all: bool,
}

impl Body for DefaultBody {
    const MEMBERS: &'static [&'static str] = &["for_all"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            for_all: object.take("for_all")?.unwrap_or_default(),
        })
    }
}

struct RankBody {
    rank: u32,
}

impl Body for RankBody {
    const MEMBERS: &'static [&'static str] = &["rank"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        let rank = rank(Some(object.require("rank")?))?;
        Ok(Self {
            rank: rank.unwrap_or_default(),
        })
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let issuers = call.context.house.issuers.list(&call.principal).await?;
    let views: Vec<Value> = issuers.iter().map(view).collect();
    Ok(json_answer(StatusCode::OK, &json!({ "issuers": views })))
}

pub(super) async fn add(call: Call<'_>) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, AddBody(issuer), _room) = call.body().await?;
    let added = context.house.issuers.add(&principal, issuer).await?;
    Ok(json_answer(StatusCode::OK, &view(&added)))
}

pub(super) async fn show(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let issuers = &call.context.house.issuers;
    let details = issuers.show(&call.principal, name).await?;
    let mut shown = view(&details.issuer);
    let budgets: Vec<Value> = details.budgets.iter().map(budget).collect();
    let terms = match &details.directory {
        None => Value::Null,
        Some(Ok(directory)) => offer(directory),
        Some(Err(reason)) => json!({ "unavailable": reason }),
    };
    if let Value::Object(members) = &mut shown {
        members.insert("budgets".to_owned(), budgets.into());
        members.insert("directory".to_owned(), terms);
    }
    Ok(json_answer(StatusCode::OK, &shown))
}

pub(super) async fn remove(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let successor = call.parameter("successor")?;
    let issuers = &call.context.house.issuers;
    let moved = issuers.remove(&call.principal, name, successor.as_deref());
    let moved = moved.await?;
    Ok(json_answer(
        StatusCode::OK,
        &json!({ "certificates_moved": moved }),
    ))
}

pub(super) async fn make_default(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, DefaultBody, _) = call.body().await?;
    let issuers = &context.house.issuers;
    issuers.make_default(&principal, name, body.for_all).await?;
    Ok(json_answer(StatusCode::OK, &json!({})))
}

pub(super) async fn rank_at(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, RankBody, _) = call.body().await?;
    let issuers = &context.house.issuers;
    issuers.rank(&principal, name, body.rank).await?;
    Ok(json_answer(StatusCode::OK, &json!({})))
}

pub(super) async fn change_key(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let issuers = &call.context.house.issuers;
    issuers.change_key(&call.principal, name).await?;
    Ok(json_answer(StatusCode::OK, &json!({})))
}

/// The key as authorities hand it out: base64url, with padding or without (RFC 8555 section 7.3.4).
fn external_key(text: &Zeroizing<String>) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    let bare = text.trim().trim_end_matches('=');
    let decoded = URL_SAFE_NO_PAD.decode(bare).map(Zeroizing::new);
    decoded
        .map_err(|_| Malformed::new("eab_hmac is the key in base64url, as the authority shows it"))
}

fn rank(number: Option<i64>) -> Result<Option<u32>, Malformed> {
    let rank = number.map(u32::try_from).transpose();
    rank.map_err(|_| Malformed::new("rank is a number from 0 on"))
}

fn view(issuer: &IssuerView) -> Value {
    let mut view = json!({
        "name": issuer.name,
        "kind": match &issuer.kind {
            IssuerKind::Authority => "authority",
            IssuerKind::Directory(_) => "acme",
        },
        "shared": issuer.is_shared,
        "default": issuer.is_default,
    });
    if let (IssuerKind::Directory(directory), Value::Object(members)) = (&issuer.kind, &mut view) {
        members.extend(of_directory(directory));
    }
    view
}

fn of_directory(directory: &DirectoryView) -> Map<String, Value> {
    let members = json!({
        "acme": directory.url,
        "email": directory.contact,
        "account_url": directory.account_url,
        "eab_kid": directory.external_account_id,
        "profile": directory.profile,
        "preferred_chain": directory.preferred_chain,
        "rank": directory.rank,
        "own_ca": directory.has_roots,
        "health": f64::from(directory.health.score) / 1000.0,
        "down_until": directory.health.down_until.map(timestamp),
        "created_at": timestamp(directory.created_at),
    });
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn budget(budget: &Budget) -> Value {
    json!({
        "bucket": budget.bucket,
        "left": budget.left,
        "burst": budget.burst,
        "period_seconds": budget.period.as_secs(),
    })
}

/// What a directory says of itself.
fn offer(directory: &DirectoryInfo) -> Value {
    json!({
        "terms_of_service": directory.terms_of_service,
        "profiles": directory.profiles,
        "caa_identities": directory.caa_identities,
        "requires_external_account": directory.requires_external_account,
        "renewal_information": directory.has_renewal_info,
    })
}
