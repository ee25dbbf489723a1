//! `account create|ls|disable|enable|lock|unlock|forbid-login|allow-login|preauthorize|policy|rm`

use http::Method;
use serde_json::{Value, json};

use super::{policies, print_json, segment, text};
use crate::arguments::AccountCommand;
use crate::client::Client;
use crate::output::{safe, table, with_spinner};

pub(super) async fn run(client: &Client, command: AccountCommand) -> anyhow::Result<()> {
    match command {
        AccountCommand::Create {
            name,
            administrator,
        } => {
            let body = json!({ "name": name, "administrator": administrator });
            let created = with_spinner("creating", client.post("accounts", &body)).await?;
            println!("{}  {}", text(&created, "uuid"), text(&created, "name"));
            Ok(())
        }
        AccountCommand::Ls { json } => {
            let listed = with_spinner("listing", client.send(Method::GET, "accounts")).await?;
            if json {
                return print_json(listed.get("accounts").unwrap_or(&Value::Null));
            }
            let accounts = listed.get("accounts").and_then(Value::as_array);
            let rows: Vec<Vec<String>> = accounts.into_iter().flatten().map(row).collect();
            print!("{}", table(&["NAME", "ROLE", "STANDING", "UUID"], &rows));
            Ok(())
        }
        AccountCommand::Disable { name } => change(client, &name, "disable").await,
        AccountCommand::Enable { name } => change(client, &name, "enable").await,
        AccountCommand::Lock { name } => change(client, &name, "lock").await,
        AccountCommand::Unlock { name } => change(client, &name, "unlock").await,
        AccountCommand::ForbidLogin { name } => change(client, &name, "forbid-login").await,
        AccountCommand::AllowLogin { name } => change(client, &name, "allow-login").await,
        AccountCommand::Preauthorize {
            name,
            names,
            remove,
            json,
        } => preauthorize(client, &name, &names, &remove, json).await,
        AccountCommand::Policy(command) => policies::run(client, command).await,
        AccountCommand::Rm { name } => {
            let path = format!("accounts/{}", segment(&name));
            with_spinner("deleting", client.send(Method::DELETE, &path)).await?;
            println!("deleted {name}");
            Ok(())
        }
    }
}

async fn preauthorize(
    client: &Client,
    account: &str,
    added: &[String],
    removed: &[String],
    json: bool,
) -> anyhow::Result<()> {
    let path = format!("accounts/{}/preauthorized", segment(account));
    let answer = if added.is_empty() && removed.is_empty() {
        with_spinner("listing", client.send(Method::GET, &path)).await?
    } else {
        let body = json!({ "add": added, "remove": removed });
        with_spinner("changing", client.post(&path, &body)).await?
    };
    let names = answer.get("names").unwrap_or(&Value::Null);
    if json {
        return print_json(names);
    }
    for name in names.as_array().into_iter().flatten() {
        println!("{}", safe(name.as_str().unwrap_or_default()));
    }
    Ok(())
}

async fn change(client: &Client, name: &str, change: &str) -> anyhow::Result<()> {
    let path = format!("accounts/{}/{change}", segment(name));
    let changed = with_spinner("changing", client.post(&path, &json!({}))).await?;
    println!("{}  {}", text(&changed, "name"), standing(&changed));
    Ok(())
}

fn row(account: &Value) -> Vec<String> {
    vec![
        text(account, "name"),
        text(account, "role"),
        standing(account),
        text(account, "uuid"),
    ]
}

fn standing(account: &Value) -> String {
    let is = |key: &str| account.get(key) == Some(&Value::Bool(true));
    let words: Vec<&str> = [
        ("disabled", "disabled"),
        ("locked", "locked"),
        ("no_login", "no-login"),
    ]
    .into_iter()
    .filter_map(|(key, word)| is(key).then_some(word))
    .collect();
    if words.is_empty() {
        "active".to_owned()
    } else {
        words.join(",")
    }
}
