//! `webhook add|ls|rm|test`

use anyhow::bail;
use http::Method;
use serde_json::{Value, json};

use super::{is_true, print_json, segment, text};
use crate::arguments::{WebhookAdd, WebhookCommand};
use crate::client::Client;
use crate::output::{safe, table, with_spinner};
use crate::secrets;

pub(super) async fn run(client: &Client, command: WebhookCommand) -> anyhow::Result<()> {
    match command {
        WebhookCommand::Add(add) => self::add(client, add).await,
        WebhookCommand::Ls { json } => list(client, json).await,
        WebhookCommand::Rm { uuid } => {
            let path = format!("webhooks/{}", segment(&uuid));
            with_spinner("removing", client.send(Method::DELETE, &path)).await?;
            println!("removed {uuid}");
            Ok(())
        }
        WebhookCommand::Test { uuid, json } => test(client, &uuid, json).await,
    }
}

async fn add(client: &Client, add: WebhookAdd) -> anyhow::Result<()> {
    let secret = add.secret.as_deref().map(secrets::read).transpose()?;
    let body = json!({
        "url": add.receiver,
        "events": add.events,
        "format": add.format,
        "secret": secret.as_deref().map(String::as_str),
        "account": add.account,
    });
    let added = with_spinner("adding", client.post("webhooks", &body)).await?;
    if add.json {
        return print_json(&added);
    }
    println!("{}  {}", text(&added, "uuid"), text(&added, "url"));
    // Whoever brought the secret along has it.
    if secret.is_none() {
        println!("secret {}", text(&added, "secret"));
        println!("it is not shown again; deliveries are signed with it (see webhook add --help)");
    }
    println!("try it: chancery webhook test {}", text(&added, "uuid"));
    Ok(())
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let listed = with_spinner("listing", client.send(Method::GET, "webhooks")).await?;
    let webhooks = listed.get("webhooks").unwrap_or(&Value::Null);
    if json {
        return print_json(webhooks);
    }
    let rows: Vec<Vec<String>> = webhooks.as_array().into_iter().flatten().map(row).collect();
    print!(
        "{}",
        table(&["UUID", "ACCOUNT", "URL", "EVENTS", "FORMAT"], &rows)
    );
    Ok(())
}

fn row(webhook: &Value) -> Vec<String> {
    let events = webhook.get("events").and_then(Value::as_array);
    let events = events.into_iter().flatten().filter_map(Value::as_str);
    let events: Vec<String> = events.map(safe).collect();
    vec![
        text(webhook, "uuid"),
        text(webhook, "account"),
        text(webhook, "url"),
        if events.is_empty() {
            "all".to_owned()
        } else {
            events.join(",")
        },
        text(webhook, "format"),
    ]
}

async fn test(client: &Client, uuid: &str, json: bool) -> anyhow::Result<()> {
    let path = format!("webhooks/{}/test", segment(uuid));
    let tried = with_spinner("posting", client.post(&path, &json!({}))).await?;
    if json {
        print_json(&tried)?;
    }
    if !is_true(&tried, "delivered") {
        bail!("not delivered: {}", text(&tried, "reason"));
    }
    if !json {
        let status = tried.get("status").and_then(Value::as_u64);
        println!(
            "delivered; the receiver answered {}",
            status.unwrap_or_default()
        );
    }
    Ok(())
}
