//! `/chancery/v1/webhooks…`

use http::StatusCode;
use lifecycle::{NewWebhook, NoticeKind, Trial, Webhook, WebhookFormat, WebhookId};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::faults::Fault;
use super::{Body, Call};
use crate::exchange::{Response, json as json_answer};
use crate::json::{Malformed, Object};
use crate::notation::timestamp;

struct AddBody {
    url: String,
    secret: Option<Zeroizing<String>>,
    events: Vec<String>,
    format: Option<String>,
    account: Option<String>,
}

impl Body for AddBody {
    const MEMBERS: &'static [&'static str] = &["account", "events", "format", "secret", "url"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            url: object.require("url")?,
            secret: object.take("secret")?,
            events: object.take("events")?.unwrap_or_default(),
            format: object.take("format")?,
            account: object.take("account")?,
        })
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let webhooks = call.context.house.webhooks.list(&call.principal).await?;
    let views: Vec<Value> = webhooks.iter().map(view).collect();
    Ok(json_answer(StatusCode::OK, &json!({ "webhooks": views })))
}

pub(super) async fn add(call: Call<'_>) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, AddBody, _) = call.body().await?;
    let kinds = body.events.iter().map(|name| kind(name));
    let webhook = NewWebhook {
        url: body.url,
        secret: body.secret,
        kinds: kinds.collect::<Result<_, _>>()?,
        format: body
            .format
            .as_deref()
            .map(format)
            .transpose()?
            .unwrap_or_default(),
        account: body.account,
    };
    let minted = context.house.webhooks.add(&principal, webhook).await?;
    let mut shown = view(&minted.webhook);
    if let Value::Object(members) = &mut shown {
        members.insert("secret".to_owned(), minted.secret.as_str().into());
    }
    Ok(json_answer(StatusCode::OK, &shown))
}

pub(super) async fn remove(call: Call<'_>, id: &str) -> Result<Response, Fault> {
    let id = identifier(id)?;
    let webhooks = &call.context.house.webhooks;
    webhooks.remove(&call.principal, id).await?;
    Ok(json_answer(StatusCode::OK, &json!({})))
}

pub(super) async fn test(call: Call<'_>, id: &str) -> Result<Response, Fault> {
    let id = identifier(id)?;
    let webhooks = &call.context.house.webhooks;
    let answer = match webhooks.test(&call.principal, id).await? {
        Trial::Delivered { status } => json!({ "delivered": true, "status": status }),
        Trial::Failed { reason } => json!({ "delivered": false, "reason": reason }),
    };
    Ok(json_answer(StatusCode::OK, &answer))
}

fn identifier(text: &str) -> Result<WebhookId, Fault> {
    let parsed = text.parse();
    parsed.map_err(|_| Fault::new(StatusCode::BAD_REQUEST, "a webhook is named by its uuid"))
}

fn kind(name: &str) -> Result<NoticeKind, Fault> {
    let known = NoticeKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == name);
    let names = NoticeKind::ALL.map(NoticeKind::as_str).join(", ");
    known.ok_or_else(|| unknown("an event", name, &names))
}

fn format(name: &str) -> Result<WebhookFormat, Fault> {
    let known = WebhookFormat::ALL
        .into_iter()
        .find(|format| format.as_str() == name);
    let names = WebhookFormat::ALL.map(WebhookFormat::as_str).join(", ");
    known.ok_or_else(|| unknown("a format", name, &names))
}

fn unknown(what: &str, name: &str, known: &str) -> Fault {
    let name: String = name.chars().take(64).collect();
    let detail = format!(
        "'{}' is not {what} of webhooks; there are {known}",
        name.escape_debug()
    );
    Fault::new(StatusCode::BAD_REQUEST, detail)
}

fn view(webhook: &Webhook) -> Value {
    json!({
        "uuid": webhook.id.to_string(),
        "account": webhook.account_id.to_string(),
        "url": webhook.url,
        "events": webhook.kinds,
        "format": webhook.format,
        "created_at": timestamp(webhook.created_at),
    })
}
