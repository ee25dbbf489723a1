//! Accounts (RFC 8555 section 7.3).

use serde_json::{Value, json};

use super::answer::{Answer, Outcome, refuse};
use super::jws::{Jws, Key, malformed};
use super::state::{Account, Server, State};

pub(super) fn open(server: &Server, jws: &Jws, url: &str) -> Outcome {
    let (key, wish) = (Key::read(&jws.header["jwk"])?, jws.document()?);
    let mut state = server.state();
    if let Some(id) = state.account_with(&key) {
        living(&state, id)?;
        return Ok(show(server, &state, id, 200));
    }
    if wish["onlyReturnExisting"] == true {
        return Err(refuse(
            400,
            "accountDoesNotExist",
            "there is no such account",
        ));
    }
    if wish["termsOfServiceAgreed"] != true {
        let detail = "the terms of service have to be agreed to";
        return Err(refuse(403, "userActionRequired", detail));
    }
    let contacts = wish["contact"].as_array().into_iter().flatten();
    for contact in contacts.filter_map(Value::as_str) {
        let Some(address) = contact.strip_prefix("mailto:") else {
            return Err(refuse(
                400,
                "unsupportedContact",
                "write to an e-mail address",
            ));
        };
        if !address.contains('@') || address.ends_with("@example.com") {
            return Err(refuse(
                400,
                "invalidContact",
                &format!("nobody is at {address}"),
            ));
        }
    }
    let binding = &wish["externalAccountBinding"];
    if !binding.is_null() {
        bind(server, &state, jws, binding, url)?;
    } else if server.options.requires_external_account {
        let detail = "accounts have to be bound to an external account";
        return Err(refuse(403, "externalAccountRequired", detail));
    }
    state.accounts.push(Account {
        key,
        status: "valid",
        contact: wish["contact"].clone(),
        is_forgotten: false,
    });
    let id = state.accounts.len() - 1;
    Ok(show(server, &state, id, 201))
}

/// Section 7.3.4.
fn bind(
    server: &Server,
    state: &State,
    jws: &Jws,
    binding: &Value,
    url: &str,
) -> Result<(), Answer> {
    let binding = Jws::read(binding)?;
    let id = binding.text("kid").unwrap_or_default();
    let Some(key) = server.options.external_accounts.get(id) else {
        return Err(refuse(
            403,
            "unauthorized",
            "there is no such external account",
        ));
    };
    binding.verify_shared(key)?;
    if state.expired_external.contains(id) {
        return Err(refuse(
            403,
            "unauthorized",
            "the external account binding has expired",
        ));
    }
    let has_same_key = Key::read(&binding.document()?)? == Key::read(&jws.header["jwk"])?;
    if !has_same_key || binding.text("url") != Some(url) || binding.text("nonce").is_some() {
        return Err(malformed(
            "the external account binding is for another request",
        ));
    }
    Ok(())
}

pub(super) fn update(server: &Server, jws: &Jws, id: usize, account: usize) -> Outcome {
    if id != account {
        return Err(refuse(403, "unauthorized", "that is another account"));
    }
    let mut state = server.state();
    if !jws.payload.is_empty() {
        let wish = jws.document()?;
        if wish["status"] == "deactivated" {
            state.accounts[id].status = "deactivated";
        }
        if wish["contact"].is_array() {
            state.accounts[id].contact = wish["contact"].clone();
        }
    }
    Ok(show(server, &state, id, 200))
}

/// Section 7.3.5.
pub(super) fn change_key(server: &Server, jws: &Jws, url: &str, account: usize) -> Outcome {
    let inner = Jws::read(&jws.document()?)?;
    let new = Key::read(&inner.header["jwk"])?;
    inner.verify(&new)?;
    if inner.text("url") != Some(url) || inner.text("nonce").is_some() {
        return Err(malformed("the inner request is for something else"));
    }
    let wish = inner.document()?;
    let mut state = server.state();
    let account_url = server.account_url(&state, account);
    if wish["account"] != account_url.as_str()
        || Key::read(&wish["oldKey"])? != state.accounts[account].key
    {
        return Err(malformed(
            "the inner request is about another account or key",
        ));
    }
    if let Some(owner) = state.account_with(&new) {
        let owner = server.account_url(&state, owner);
        return Err(refuse(409, "conflict", "the key is in use").header("Location", owner));
    }
    state.accounts[account].key = new;
    Ok(show(server, &state, account, 200))
}

/// Whether an account may do anything.
pub(super) fn living(state: &State, id: usize) -> Result<(), Answer> {
    let account = state.accounts.get(id);
    let account = account
        .filter(|account| !account.is_forgotten)
        .ok_or_else(|| refuse(400, "accountDoesNotExist", "there is no such account"))?;
    match account.status {
        "valid" => Ok(()),
        status => Err(refuse(
            403,
            "unauthorized",
            &format!("the account is {status}"),
        )),
    }
}

fn show(server: &Server, state: &State, id: usize, status: u16) -> Answer {
    let account = &state.accounts[id];
    let document = json!({ "status": account.status, "contact": account.contact });
    Answer::json(status, &document).header("Location", server.account_url(state, id))
}
