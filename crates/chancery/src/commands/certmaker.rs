//! `certmaker show|set`

use http::Method;
use serde_json::{Map, Value};

use super::{is_true, print_json};
use crate::arguments::CertMakerCommand;
use crate::client::Client;
use crate::output::{safe, table, with_spinner};

pub(super) async fn run(client: &Client, command: CertMakerCommand) -> anyhow::Result<()> {
    let (answer, json) = match command {
        CertMakerCommand::Show { json } => {
            let asked = client.send(Method::GET, "certmaker");
            (with_spinner("asking", asked).await?, json)
        }
        CertMakerCommand::Set { switches } => {
            let members = switches.into_iter();
            let members = members.map(|(name, value)| (name, Value::String(value)));
            let body = Value::Object(members.collect::<Map<_, _>>());
            let changed = client.post("certmaker", &body);
            (with_spinner("changing", changed).await?, false)
        }
    };
    let switches = answer.get("switches").unwrap_or(&Value::Null);
    if json {
        return print_json(switches);
    }
    let switches = switches.as_object().into_iter().flatten();
    let rows: Vec<Vec<String>> = switches.map(|(name, state)| row(name, state)).collect();
    print!("{}", table(&["SWITCH", "IS", "BECAUSE OF"], &rows));
    let mut proofs = ["/switches/http01", "/switches/dns01"]
        .into_iter()
        .filter_map(|switch| answer.pointer(switch));
    if proofs.any(|switch| is_true(switch, "on")) {
        // Who is not told learns of it by certificates that end.
        eprintln!(
            "what private authorities certify wants a proof, renewals included; vouch for names of \
             your own by chancery account preauthorize"
        );
    }
    Ok(())
}

fn row(name: &str, state: &Value) -> Vec<String> {
    let word = |key: &str| if is_true(state, key) { "on" } else { "off" };
    let reason = if is_true(state, "set") {
        format!(
            "an administrator (the configuration says {})",
            word("on_by_configuration")
        )
    } else {
        "the configuration".to_owned()
    };
    vec![safe(name), word("on").to_owned(), reason]
}
