//! `/chancery/v1/accounts…`

use http::StatusCode;
use lifecycle::{Account, AccountChange, Role};
use serde::Serialize;

use super::faults::Fault;
use super::{Body, Call};
use crate::exchange::{Response, json};
use crate::json::{Malformed, Object};
use crate::notation::timestamp;

#[derive(Serialize)]
struct View<'a> {
    uuid: String,
    name: &'a str,
    role: &'static str,
    disabled: bool,
    locked: bool,
    no_login: bool,
    created_at: String,
}

struct CreateBody {
    name: String,
    administrator: bool,
}

impl Body for CreateBody {
    const MEMBERS: &'static [&'static str] = &["administrator", "name"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            name: object.require("name")?,
            administrator: object.take("administrator")?.unwrap_or_default(),
        })
    }
}

struct PreauthorizeBody {
    add: Vec<String>,
    remove: Vec<String>,
}

impl Body for PreauthorizeBody {
    const MEMBERS: &'static [&'static str] = &["add", "remove"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            add: object.take("add")?.unwrap_or_default(),
            remove: object.take("remove")?.unwrap_or_default(),
        })
    }
}

pub(super) async fn preauthorized(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let preauthorizations = &call.context.house.preauthorizations;
    let names = preauthorizations.list(&call.principal, name).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({ "names": names })))
}

pub(super) async fn preauthorize(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, PreauthorizeBody, _) = call.body().await?;
    let names = context
        .house
        .preauthorizations
        .change(&principal, name, &body.add, &body.remove)
        .await?;
    Ok(json(StatusCode::OK, &serde_json::json!({ "names": names })))
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let accounts = call.context.house.accounts.list(&call.principal).await?;
    let views: Vec<View<'_>> = accounts.iter().map(view).collect();
    Ok(json(
        StatusCode::OK,
        &serde_json::json!({ "accounts": views }),
    ))
}

pub(super) async fn create(call: Call<'_>) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, CreateBody, _) = call.body().await?;
    let role = if body.administrator {
        Role::Admin
    } else {
        Role::User
    };
    let account = context
        .house
        .accounts
        .create(&principal, &body.name, role)
        .await?;
    Ok(json(StatusCode::OK, &view(&account)))
}

pub(super) async fn delete(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    call.context
        .house
        .accounts
        .delete(&call.principal, name)
        .await?;
    Ok(json(StatusCode::OK, &serde_json::json!({})))
}

pub(super) async fn change(call: Call<'_>, name: &str, change: &str) -> Result<Response, Fault> {
    let change = match change {
        "disable" => AccountChange::Disable,
        "enable" => AccountChange::Enable,
        "allow-login" => AccountChange::AllowLogin,
        "forbid-login" => AccountChange::ForbidLogin,
        "lock" => AccountChange::Lock,
        _ => AccountChange::Unlock,
    };
    let account = call
        .context
        .house
        .accounts
        .change(&call.principal, name, change)
        .await?;
    Ok(json(StatusCode::OK, &view(&account)))
}

fn view(account: &Account) -> View<'_> {
    View {
        uuid: account.id.to_string(),
        name: &account.name,
        role: match account.role {
            Role::Admin => "admin",
            Role::User => "user",
        },
        disabled: account.status.disabled,
        locked: account.status.locked,
        no_login: account.status.no_login,
        created_at: timestamp(account.created_at),
    }
}
