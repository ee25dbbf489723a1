//! Client commands: each one or two calls of the administration API, and their answer for people or
//! as JSON.

mod accounts;
mod audit;
mod authorities;
mod certificates;
mod certmaker;
mod checks;
mod clients;
mod dns;
mod issuers;
mod obtaining;
mod policies;
mod services;
mod targets;
mod tokens;
mod webhooks;

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::arguments::{ClientCommand, Connection};
use crate::client::Client;

/// Objects of a list fetched at a time.
const PAGE: usize = 999;

/// Runs a client command.
pub(crate) async fn run(command: ClientCommand, connection: &Connection) -> anyhow::Result<()> {
    let client = Client::connect(connection)?;
    match command {
        ClientCommand::Issue(issue) => certificates::issue(&client, issue).await,
        ClientCommand::Upload(upload) => certificates::upload(&client, upload).await,
        ClientCommand::Ls(ls) => certificates::list(&client, ls).await,
        ClientCommand::Show(show) => certificates::show(&client, show).await,
        ClientCommand::Renew(renew) => certificates::renew(&client, renew).await,
        ClientCommand::Revoke(revoke) => certificates::revoke(&client, revoke).await,
        ClientCommand::Rm(rm) => certificates::remove(&client, rm).await,
        ClientCommand::Service(command) => services::run(&client, command).await,
        ClientCommand::Check(check) => checks::check(&client, check).await,
        ClientCommand::Authority(command) => authorities::run(&client, command).await,
        ClientCommand::Issuer(command) => issuers::run(&client, command).await,
        ClientCommand::Dns(command) => dns::run(&client, command).await,
        ClientCommand::Deliver(deliver) => crate::deliver::run(&client, deliver).await,
        ClientCommand::Target(command) => targets::run(&client, command).await,
        ClientCommand::Webhook(command) => webhooks::run(&client, command).await,
        ClientCommand::Token(command) => tokens::run(&client, command).await,
        ClientCommand::Client(command) => clients::run(&client, command).await,
        ClientCommand::Account(command) => accounts::run(&client, command).await,
        ClientCommand::Audit(command) => audit::run(&client, command).await,
        ClientCommand::Certmaker(command) => certmaker::run(&client, command).await,
    }
}

/// All pages of a list, whose objects stand at `key`.
async fn all_pages(client: &Client, query: &str, key: &str) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    let mut path = query.to_owned();
    loop {
        let mut page = client.send(Method::GET, &path).await?;
        if let Some(Value::Array(items)) = page.get_mut(key).map(Value::take) {
            objects.extend(items);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => path = format!("{query}&from={}", segment(next)),
            None => return Ok(objects),
        }
    }
}

/// A text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The text at `key`, safe for a terminal; empty if there is none.
fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .map(crate::output::safe)
        .unwrap_or_default()
}

/// A path that is about another account's object where one is named.
fn of_account(path: &str, account: Option<&str>) -> String {
    let Some(account) = account else {
        return path.to_owned();
    };
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}account={}", segment(account))
}

/// Whom an object is for, as people are told who ask for those of `account` or for their own.
fn owner(object: &Value, account: Option<&str>) -> String {
    if is_true(object, "shared") {
        "everybody".to_owned()
    } else {
        account.unwrap_or("you").to_owned()
    }
}

fn is_true(value: &Value, key: &str) -> bool {
    value.get(key) == Some(&Value::Bool(true))
}

fn print_json(value: &Value) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
