//! `target ls|show|rm`

use http::Method;
use serde_json::Value;

use super::{print_json, segment, text};
use crate::arguments::TargetCommand;
use crate::client::Client;
use crate::output::{table, with_spinner};

pub(super) async fn run(client: &Client, command: TargetCommand) -> anyhow::Result<()> {
    match command {
        TargetCommand::Ls { json } => {
            let listed = with_spinner("listing", client.send(Method::GET, "targets")).await?;
            let targets = listed.get("targets").unwrap_or(&Value::Null);
            if json {
                return print_json(targets);
            }
            let targets = targets.as_array().into_iter().flatten();
            let rows: Vec<Vec<String>> = targets.map(row).collect();
            print!(
                "{}",
                table(&["NAME", "CERTIFICATES OF", "LAST SEEN"], &rows)
            );
        }
        TargetCommand::Show { name, json } => {
            let path = format!("targets/{}", segment(&name));
            let shown = with_spinner("reading", client.send(Method::GET, &path)).await?;
            if json {
                return print_json(&shown);
            }
            let certificates = shown.get("certificates").and_then(Value::as_array);
            let rows: Vec<Vec<String>> = certificates
                .into_iter()
                .flatten()
                .map(|certificate| {
                    ["name", "standing", "updated_at", "reason"]
                        .map(|key| text(certificate, key))
                        .to_vec()
                })
                .collect();
            print!(
                "{}",
                table(&["CERTIFICATE", "STANDING", "SINCE", "WHY"], &rows)
            );
            let left_out = shown.get("left_out").and_then(Value::as_u64);
            if let Some(left_out @ 1..) = left_out {
                println!("{left_out} more are left out; deliver with --service what it needs");
            }
        }
        TargetCommand::Rm { name } => {
            let path = format!("targets/{}", segment(&name));
            with_spinner("removing", client.send(Method::DELETE, &path)).await?;
            println!("removed {name}");
        }
    }
    Ok(())
}

fn row(target: &Value) -> Vec<String> {
    let services = target.get("services").and_then(Value::as_array);
    let services = services.map_or_else(
        || "all services".to_owned(),
        |services| match services.len() {
            1 => "1 service".to_owned(),
            number => format!("{number} services"),
        },
    );
    vec![text(target, "name"), services, text(target, "seen_at")]
}
