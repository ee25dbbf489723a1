//! `dns add|ls|kinds|rm|test`

use anyhow::bail;
use http::Method;
use serde_json::{Map, Value, json};

use super::{checks, is_true, of_account, owner, print_json, segment, text};
use crate::arguments::{DnsAdd, DnsCommand};
use crate::client::Client;
use crate::output::{safe, table, with_spinner};
use crate::secrets;

pub(super) async fn run(client: &Client, command: DnsCommand) -> anyhow::Result<()> {
    match command {
        DnsCommand::Add(add) => self::add(client, add).await,
        DnsCommand::Ls { account, json } => list(client, account.as_deref(), json).await,
        DnsCommand::Kinds { json } => kinds(client, json).await,
        DnsCommand::Rm { zone, account } => {
            let path = of_account(&format!("dns/{}", segment(&zone)), account.as_deref());
            with_spinner("removing", client.send(Method::DELETE, &path)).await?;
            println!("removed {zone}");
            Ok(())
        }
        DnsCommand::Test {
            zone,
            account,
            json,
        } => {
            let path = format!("dns/{}/test", segment(&zone));
            let path = of_account(&path, account.as_deref());
            let nothing = json!({});
            let post = client.post(&path, &nothing);
            let found = with_spinner("waiting for the servers of the zone", post).await?;
            checks::report(&found, json)
        }
    }
}

async fn add(client: &Client, add: DnsAdd) -> anyhow::Result<()> {
    let body = json!({
        "zone": add.zone,
        "kind": add.kind,
        "credentials": credentials(&add.credentials)?,
        "account": add.account,
    });
    let added = with_spinner("adding", client.post("dns", &body)).await?;
    if add.json {
        return print_json(&added);
    }
    println!("{}  {}", text(&added, "zone"), text(&added, "kind"));
    println!("try it: chancery dns test {}", text(&added, "zone"));
    Ok(())
}

/// `NAME=VALUE`, each value as [`secrets::read`] has it.
fn credentials(texts: &[String]) -> anyhow::Result<Value> {
    let mut members = Map::new();
    for text in texts {
        // What follows the name is not repeated: it may be the secret itself.
        let Some((name, value)) = text.split_once('=') else {
            bail!("a credential looks like NAME=VALUE, NAME=@FILE or NAME=-");
        };
        let value = secrets::read(value)?;
        if members
            .insert(name.to_owned(), (*value).clone().into())
            .is_some()
        {
            bail!("the credential {name} is given twice");
        }
    }
    Ok(Value::Object(members))
}

async fn list(client: &Client, account: Option<&str>, json: bool) -> anyhow::Result<()> {
    let path = of_account("dns", account);
    let listed = with_spinner("listing", client.send(Method::GET, &path)).await?;
    let providers = listed.get("providers").unwrap_or(&Value::Null);
    if json {
        return print_json(providers);
    }
    let rows: Vec<Vec<String>> = providers
        .as_array()
        .into_iter()
        .flatten()
        .map(|provider| row(provider, account))
        .collect();
    print!(
        "{}",
        table(&["ZONE", "PROVIDER", "CREDENTIALS", "FOR", "ADDED"], &rows)
    );
    Ok(())
}

fn row(provider: &Value, account: Option<&str>) -> Vec<String> {
    let fields = provider.get("fields").and_then(Value::as_array);
    let fields = fields.into_iter().flatten().filter_map(Value::as_str);
    vec![
        text(provider, "zone"),
        text(provider, "kind"),
        fields.map(safe).collect::<Vec<_>>().join(","),
        owner(provider, account),
        text(provider, "created_at"),
    ]
}

async fn kinds(client: &Client, json: bool) -> anyhow::Result<()> {
    let listed = with_spinner("listing", client.send(Method::GET, "dns/kinds")).await?;
    let kinds = listed.get("kinds").unwrap_or(&Value::Null);
    if json {
        return print_json(kinds);
    }
    let rows: Vec<Vec<String>> = kinds
        .as_array()
        .into_iter()
        .flatten()
        .map(kind_row)
        .collect();
    print!(
        "{}",
        table(
            &[
                "PROVIDER",
                "CREDENTIALS (those in brackets may be left out)"
            ],
            &rows
        )
    );
    Ok(())
}

fn kind_row(kind: &Value) -> Vec<String> {
    let fields = kind.get("fields").and_then(Value::as_array);
    let fields = fields.into_iter().flatten().map(|field| {
        if is_true(field, "required") {
            text(field, "name")
        } else {
            format!("[{}]", text(field, "name"))
        }
    });
    vec![text(kind, "name"), fields.collect::<Vec<_>>().join(" ")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_have_names_and_faults_do_not_repeat_values() {
        let given = ["server=10.0.0.1", "secret=a=b=="].map(str::to_owned);
        assert_eq!(
            credentials(&given).unwrap(),
            json!({ "server": "10.0.0.1", "secret": "a=b==" })
        );
        for bad in [vec!["SECRET"], vec!["a=SECRET", "a=SECRET"], vec!["a="]] {
            let bad: Vec<String> = bad.into_iter().map(str::to_owned).collect();
            let fault = credentials(&bad).unwrap_err().to_string();
            assert!(!fault.contains("SECRET"), "{fault}");
        }
    }
}
