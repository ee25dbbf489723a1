//! `account policy show|set|rm`

use http::Method;
use serde_json::{Value, json};

use super::{print_json, segment, text};
use crate::arguments::{PolicyCommand, PolicySet};
use crate::client::Client;
use crate::output::{safe, with_spinner};

pub(super) async fn run(client: &Client, command: PolicyCommand) -> anyhow::Result<()> {
    match command {
        PolicyCommand::Show { name, json } => {
            let shown = with_spinner("asking", client.send(Method::GET, &path(&name))).await?;
            if json {
                return print_json(&shown);
            }
            print(&shown);
            Ok(())
        }
        PolicyCommand::Set(set) => self::set(client, set).await,
        PolicyCommand::Rm { name } => {
            with_spinner("removing", client.send(Method::DELETE, &path(&name))).await?;
            println!("{name} has no policy any more");
            Ok(())
        }
    }
}

async fn set(client: &Client, set: PolicySet) -> anyhow::Result<()> {
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let body = json!({
        "names": some(set.names),
        "keys": some(set.keys),
        "max_days": set.max_days,
        "usages": set.usages,
    });
    let kept = with_spinner("changing", client.put(&path(&set.name), &body)).await?;
    print(&kept);
    Ok(())
}

fn print(policy: &Value) {
    for (label, member, free) in [
        ("names", "names", "any"),
        ("keys", "keys", "any"),
        ("days", "max_days", "as long as the authority allows"),
        ("usages", "usages", "both"),
    ] {
        let said = match policy.get(member) {
            Some(Value::Array(list)) => {
                let list: Vec<String> = list.iter().filter_map(Value::as_str).map(safe).collect();
                list.join(", ")
            }
            None | Some(Value::Null) => free.to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => text(policy, member),
        };
        println!("{label:<8}{said}");
    }
}

fn path(account: &str) -> String {
    format!("accounts/{}/policy", segment(account))
}
