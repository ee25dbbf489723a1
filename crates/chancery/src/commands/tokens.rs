//! `token create|ls|rm`

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::{print_json, segment, text};
use crate::arguments::{TokenCommand, TokenForm};
use crate::client::Client;
use crate::output::{table, with_spinner};

pub(super) async fn run(client: &Client, command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(create) => {
            let dialects = if create.deliver {
                Some(vec!["delivery".to_owned()])
            } else {
                create.dialects
            };
            let body = json!({
                "account": create.account,
                "name": create.name,
                "read_only": create.read_only,
                "dialects": dialects,
                "scopes": create.scopes,
                "expires_in_seconds": create.expires.map(|expires| expires.as_secs()),
            });
            let created = with_spinner("creating", client.post("tokens", &body)).await?;
            println!("{}", printed(&text(&created, "token"), create.form));
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

/// A token as whoever reads it wants it. `cx` keeps what Go's oauth2 library keeps, and takes a time
/// in the year 1 for never.
fn printed(token: &str, form: TokenForm) -> String {
    let file = json!({
        "AccessToken": token,
        "RefreshToken": "",
        "Expiry": "0001-01-01T00:00:00Z",
        "Extra": null,
    });
    match form {
        TokenForm::Token => token.to_owned(),
        TokenForm::CxFile => file.to_string(),
        TokenForm::CxVariable => STANDARD.encode(file.to_string()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cx_reads_what_is_printed_for_it() {
        let file: Value = serde_json::from_str(&printed("abc=", TokenForm::CxFile)).unwrap();
        assert_eq!(file["AccessToken"], "abc=");
        assert_eq!(file["RefreshToken"], "");
        assert_eq!(file["Expiry"], "0001-01-01T00:00:00Z");
        assert!(file["Extra"].is_null());
        let variable = STANDARD.decode(printed("abc=", TokenForm::CxVariable));
        let variable: Value = serde_json::from_slice(&variable.unwrap()).unwrap();
        assert_eq!(variable, file);
        assert_eq!(printed("abc=", TokenForm::Token), "abc=");
    }
}
