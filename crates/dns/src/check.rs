//! Whether credentials are complete, as far as that shows without asking the provider.

use std::path::Path;

use http::Uri;

use crate::kinds::{Kind, find, kinds};
use crate::{Credentials, rfc2136};

/// What is wrong with credentials. Values are not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// There is no driver for this kind.
    #[error(
        "there is no driver for DNS providers of the kind {kind}; there are {}",
        known()
    )]
    Kind {
        /// The kind.
        kind: String,
    },
    /// A field is missing.
    #[error("credentials for {kind} need the field {field}")]
    Missing {
        /// The kind.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field is of no use.
    #[error("the field {field} of credentials for {kind} is invalid: {reason}")]
    Invalid {
        /// The kind.
        kind: &'static str,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no such field.
    #[error("credentials for {kind} have no field {field}")]
    Unknown {
        /// The kind.
        kind: &'static str,
        /// The field.
        field: String,
    },
}

/// Whether credentials have all that providers of a kind want to see, as far as that shows without
/// asking them.
///
/// # Errors
/// [`CredentialsError`].
pub fn check(kind: &str, credentials: &Credentials) -> Result<(), CredentialsError> {
    let kind = find(kind).ok_or_else(|| CredentialsError::Kind {
        kind: kind.to_owned(),
    })?;
    let is_known = |name: &&str| kind.fields.iter().any(|field| field.name == *name);
    if let Some(unknown) = credentials.names().find(|name| !is_known(name)) {
        return Err(CredentialsError::Unknown {
            kind: kind.name,
            field: unknown.to_owned(),
        });
    }
    let given = |field: &str| credentials.field(field).unwrap_or_default().trim();
    for field in kind.fields.iter().filter(|field| field.is_required) {
        if given(field.name).is_empty() {
            return Err(CredentialsError::Missing {
                kind: kind.name,
                field: field.name,
            });
        }
    }
    for field in kind
        .fields
        .iter()
        .filter(|field| !given(field.name).is_empty())
    {
        let value = given(field.name);
        check_field(kind.name, field.name, value).map_err(|reason| CredentialsError::Invalid {
            kind: kind.name,
            field: field.name,
            reason,
        })?;
    }
    check_combination(kind, given)
}

/// The names of all kinds.
fn known() -> String {
    let names: Vec<&str> = kinds().iter().map(|kind| kind.name).collect();
    names.join(", ")
}

fn check_field(kind: &str, field: &str, value: &str) -> Result<(), &'static str> {
    match (kind, field) {
        ("acme-dns", "url") | ("httpreq", "endpoint") => check_url(value),
        ("exec" | "httpreq", "mode") if !value.eq_ignore_ascii_case("raw") => {
            Err("there is only the mode RAW, and none")
        }
        ("exec", "program") if !Path::new(value).is_absolute() => {
            Err("it has to be the whole path of a program")
        }
        ("rfc2136", "port") if !value.parse().is_ok_and(|port: u16| port != 0) => {
            Err("it has to be a number between 1 and 65535")
        }
        ("rfc2136", "secret") if !rfc2136::is_secret(value) => Err("it has to be base64"),
        ("rfc2136", "algorithm") if !rfc2136::is_algorithm(value) => {
            Err("it has to be hmac-sha256, hmac-sha384 or hmac-sha512")
        }
        #[cfg(feature = "hosted")]
        ("cloudflare", "api_key" | "email") => {
            Err("keys that open the whole account are not used; create an api_token for the zone")
        }
        #[cfg(feature = "hosted")]
        ("google", "service_account_json") => crate::hosted::google_account(value).map(|_| ()),
        #[cfg(feature = "hosted")]
        ("ovh", "endpoint") if !crate::hosted::is_ovh_endpoint(value) => Err(
            "it has to be ovh-eu, ovh-us, ovh-ca, kimsufi-eu, kimsufi-ca, soyoustart-eu or \
                 soyoustart-ca",
        ),
        #[cfg(feature = "hosted")]
        ("transip", "key_file") if !value.contains("PRIVATE KEY") => {
            Err("it has to be the private key itself, PEM")
        }
        _ => Ok(()),
    }
}

fn check_url(value: &str) -> Result<(), &'static str> {
    let url: Uri = value.parse().map_err(|_| "it is no URL")?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
        return Err("it has to begin with https:// or http://");
    }
    if url
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err("credentials go into fields of their own");
    }
    if url.query().is_some() {
        return Err("it has to end before the question mark");
    }
    Ok(())
}

fn check_combination<'a>(
    kind: &Kind,
    given: impl Fn(&str) -> &'a str,
) -> Result<(), CredentialsError> {
    let missing = |field: &'static str| CredentialsError::Missing {
        kind: kind.name,
        field,
    };
    match kind.name {
        "cloudflare" if given("api_token").is_empty() => Err(missing("api_token")),
        "httpreq" if given("username").is_empty() != given("password").is_empty() => {
            let is_nameless = given("username").is_empty();
            Err(missing(if is_nameless { "username" } else { "password" }))
        }
        _ => Ok(()),
    }
}
