//! `/chancery/v1/tokens…`

use std::time::Duration;

use http::StatusCode;
use lifecycle::{Dialect, Token, TokenLimits};
use serde::Serialize;

use super::faults::Fault;
use super::{Body, Call};
use crate::exchange::{Response, json};
use crate::json::{Malformed, Object};
use crate::notation::timestamp;

/// A token as this API shows it; its text only in the answer that made it.
#[derive(Serialize)]
struct View<'a> {
    uuid: String,
    account: String,
    name: &'a str,
    read_only: bool,
    dialects: Option<&'a [String]>,
    scopes: Option<&'a [String]>,
    expires_at: Option<String>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

struct CreateBody {
    account: Option<String>,
    name: String,
    read_only: bool,
    dialects: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    expires_in_seconds: Option<u32>,
}

impl Body for CreateBody {
    const MEMBERS: &'static [&'static str] = &[
        "account",
        "dialects",
        "expires_in_seconds",
        "name",
        "read_only",
        "scopes",
    ];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            account: object.take("account")?,
            name: object.take("name")?.unwrap_or_default(),
            read_only: object.take("read_only")?.unwrap_or_default(),
            dialects: object.take("dialects")?,
            scopes: object.take("scopes")?,
            expires_in_seconds: object.take("expires_in_seconds")?,
        })
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let tokens = call.context.house.tokens.list(&call.principal).await?;
    let views: Vec<View<'_>> = tokens.iter().map(|token| view(token, None)).collect();
    Ok(json(
        StatusCode::OK,
        &serde_json::json!({ "tokens": views }),
    ))
}

pub(super) async fn create(call: Call<'_>) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, CreateBody, _) = call.body().await?;
    let dialects = body.dialects.map(|names| {
        let known = names.iter().map(|name| dialect(name));
        known.collect::<Result<Vec<_>, _>>()
    });
    let limits = TokenLimits {
        account: body.account,
        name: body.name,
        read_only: body.read_only,
        dialects: dialects.transpose()?,
        scopes: body.scopes,
        lifetime: body
            .expires_in_seconds
            .map(|seconds| Duration::from_secs(u64::from(seconds))),
    };
    let minted = context.house.tokens.create(&principal, limits).await?;
    let shown = view(&minted.token, Some(&minted.text));
    Ok(json(StatusCode::OK, &shown))
}

pub(super) async fn delete(call: Call<'_>, id: &str) -> Result<Response, Fault> {
    let id = id
        .parse()
        .map_err(|_| Fault::new(StatusCode::BAD_REQUEST, "a token is named by its uuid"))?;
    call.context
        .house
        .tokens
        .delete(&call.principal, id)
        .await?;
    Ok(json(StatusCode::OK, &serde_json::json!({})))
}

fn dialect(name: &str) -> Result<Dialect, Fault> {
    let known = Dialect::ALL
        .into_iter()
        .find(|dialect| dialect.as_str() == name);
    known.ok_or_else(|| {
        let names = Dialect::ALL.map(Dialect::as_str).join(", ");
        Fault::new(
            StatusCode::BAD_REQUEST,
            format!(
                "'{}' is not a dialect; there are {names}",
                name.escape_debug()
            ),
        )
    })
}

fn view<'a>(token: &'a Token, text: Option<&'a str>) -> View<'a> {
    View {
        uuid: token.id.to_string(),
        account: token.account_id.to_string(),
        name: &token.name,
        read_only: token.read_only,
        dialects: token.dialects.as_deref(),
        scopes: token.scopes.as_deref(),
        expires_at: token.expires_at.map(timestamp),
        created_at: timestamp(token.created_at),
        token: text,
    }
}
