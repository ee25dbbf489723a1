//! Opening accounts and changing their keys. instant-acme makes the keys itself for both, so that a
//! crash could lose one that the directory has seen; here they come from outside, stored before.

use acme::client::{AccountKey, Failure, Login, Registration};
use acme::{Jwk, Jws, Signatory};
use serde::Serialize;

use crate::documents::garbled;
use crate::session::{Session, json, unusable};

/// Opens an account, or finds the key's, and returns its URL (RFC 8555 section 7.3).
///
/// # Errors
/// [`Failure`].
pub(crate) async fn register(
    session: &Session,
    registration: &Registration,
) -> Result<String, Failure> {
    let directory = session.directory().await?;
    let url = directory.new_account.as_str();
    let key = registration.key.jwk().map_err(unusable)?;
    let external = registration.external_account.as_ref();
    let account = NewAccount {
        contact: registration
            .contact
            .as_deref()
            .map(mailto)
            .into_iter()
            .collect(),
        terms_of_service_agreed: registration.agrees_to_terms,
        external_account_binding: external
            .map(|external| Jws::bind(external, url, &key))
            .transpose()
            .map_err(unusable)?,
    };
    let payload = json(&account)?;
    let signatory = Signatory::Key(&key);
    let reply = session
        .post(&registration.key, signatory, url, &payload)
        .await?;
    let account = reply
        .location
        .ok_or_else(|| garbled("account", "it has no URL"))?;
    session.check(&account)?;
    Ok(account)
}

/// Replaces the key of an account (RFC 8555 section 7.3.5).
///
/// # Errors
/// [`Failure`].
pub(crate) async fn change_key(
    session: &Session,
    login: &Login,
    key: &AccountKey,
) -> Result<(), Failure> {
    let directory = session.directory().await?;
    let url = directory.key_change.as_deref();
    let url = url.ok_or_else(|| garbled("directory", "keys of accounts cannot be changed"))?;
    let new_key = key.jwk().map_err(unusable)?;
    let change = KeyChange {
        account: &login.account_url,
        old_key: &login.key.jwk().map_err(unusable)?,
    };
    let inner = Jws::sign(key, Signatory::Key(&new_key), None, url, &json(&change)?);
    let payload = json(&inner.map_err(unusable)?)?;
    let signatory = Signatory::Account(&login.account_url);
    session.post(&login.key, signatory, url, &payload).await?;
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewAccount {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contact: Vec<String>,
    terms_of_service_agreed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_account_binding: Option<Jws>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyChange<'a> {
    account: &'a str,
    old_key: &'a Jwk,
}

fn mailto(address: &str) -> String {
    if address.starts_with("mailto:") {
        address.to_owned()
    } else {
        format!("mailto:{address}")
    }
}
