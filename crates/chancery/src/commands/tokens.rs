//! `token create|ls|rm`

use http::Method;
use serde_json::{Value, json};

use super::{print_json, segment, text};
use crate::arguments::TokenCommand;
use crate::client::Client;
use crate::output::{table, with_spinner};

pub(super) async fn run(client: &Client, command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(create) => {
            let body = json!({
                "account": create.account,
                "name": create.name,
                "read_only": create.read_only,
                "dialects": create.dialects,
                "scopes": create.scopes,
                "expires_in_seconds": create.expires.map(|expires| expires.as_secs()),
            });
            let created = with_spinner("creating", client.post("tokens", &body)).await?;
            println!("{}", text(&created, "token"));
        }
        TokenCommand::Ls { json } => {
            let listed = with_spinner("listing", client.send(Method::GET, "tokens")).await?;
            if json {
                return print_json(listed.get("tokens").unwrap_or(&Value::Null));
            }
            let tokens = listed.get("tokens").and_then(Value::as_array);
            let rows: Vec<Vec<String>> = tokens.into_iter().flatten().map(row).collect();
            print!(
                "{}",
                table(&["UUID", "ACCOUNT", "NAME", "LIMITS", "EXPIRES"], &rows)
            );
        }
        TokenCommand::Rm { uuid } => {
            let path = format!("tokens/{}", segment(&uuid));
            with_spinner("deleting", client.send(Method::DELETE, &path)).await?;
            println!("deleted {uuid}");
        }
    }
    Ok(())
}

fn row(token: &Value) -> Vec<String> {
    let mut limits = Vec::new();
    if token.get("read_only") == Some(&Value::Bool(true)) {
        limits.push("read-only".to_owned());
    }
    for key in ["dialects", "scopes"] {
        let words = token.get(key).and_then(Value::as_array);
        limits.extend(
            words
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(crate::output::safe),
        );
    }
    vec![
        text(token, "uuid"),
        text(token, "account"),
        text(token, "name"),
        limits.join(","),
        text(token, "expires_at"),
    ]
}
