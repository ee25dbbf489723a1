//! `/accounts…`: the account that a token is of. Nobody sees more than one.

use lifecycle::Account;
use serde::Serialize;

use super::call::Call;
use super::credentials::account_number;
use super::envelope;
use super::faults::Fault;
use crate::exchange::Response;
use crate::notation::timestamp;

#[derive(Serialize)]
struct View<'a> {
    id: u64,
    owner: &'a str,
    friendly_name: &'a str,
    stack_count: u64,
    used_clouds: [&'static str; 0],
    created_at: String,
    updated_at: String,
    current_account: bool,
}

impl<'a> View<'a> {
    fn of(account: &'a Account, stack_count: u64) -> Self {
        let created_at = timestamp(account.created_at);
        Self {
            id: account_number(account.id),
            owner: &account.name,
            friendly_name: &account.name,
            stack_count,
            used_clouds: [],
            updated_at: created_at.clone(),
            created_at,
            current_account: true,
        }
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let (account, services) = call.house().accounts.own(&call.principal).await?;
    let all = [View::of(&account, services)];
    let asked = call.page();
    Ok(envelope::list(
        asked.of(&all),
        asked,
        1,
        call.representation,
    ))
}

pub(super) async fn show(call: Call<'_>, id: &str) -> Result<Response, Fault> {
    let own = account_number(call.principal.account_id());
    if id.parse() != Ok(own) {
        return Err(Fault::NotFound("there is no such account".to_owned()));
    }
    let (account, services) = call.house().accounts.own(&call.principal).await?;
    Ok(envelope::single(&View::of(&account, services)))
}
