//! `client add|ls|rm`

use http::Method;
use serde_json::{Value, json};

use super::{is_true, print_json, segment, text};
use crate::arguments::ClientsCommand;
use crate::client::Client;
use crate::output::{safe, table, with_spinner};

pub(super) async fn run(client: &Client, command: ClientsCommand) -> anyhow::Result<()> {
    match command {
        ClientsCommand::Add(add) => {
            let body = json!({
                "name": add.name,
                "redirects": add.redirects,
                "confidential": add.confidential,
            });
            let added = with_spinner("adding", client.post("clients", &body)).await?;
            if add.confidential {
                println!("{}", text(&added, "secret"));
            } else {
                println!("{} may ask", text(&added, "name"));
            }
        }
        ClientsCommand::Ls { json } => {
            let listed = with_spinner("listing", client.send(Method::GET, "clients")).await?;
            if json {
                return print_json(listed.get("clients").unwrap_or(&Value::Null));
            }
            let clients = listed.get("clients").and_then(Value::as_array);
            let rows: Vec<Vec<String>> = clients.into_iter().flatten().map(row).collect();
            print!("{}", table(&["NAME", "SECRET", "REDIRECTS"], &rows));
        }
        ClientsCommand::Rm { name } => {
            let path = format!("clients/{}", segment(&name));
            with_spinner("removing", client.send(Method::DELETE, &path)).await?;
            println!("removed {name}");
        }
    }
    Ok(())
}

fn row(client: &Value) -> Vec<String> {
    let redirects = client.get("redirects").and_then(Value::as_array);
    let redirects: Vec<String> = redirects
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(safe)
        .collect();
    let secret = if is_true(client, "confidential") {
        "yes"
    } else {
        "no"
    };
    vec![text(client, "name"), secret.to_owned(), redirects.join(" ")]
}
