//! The kinds of DNS providers there are drivers for, and what each wants to see. The names of the
//! fields are part of the API.

use crate::Credentials;

/// A kind of provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its name, in lower case.
    pub name: &'static str,
    /// What it wants to see.
    pub fields: &'static [Field],
}

/// A field of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether there has to be a value.
    pub is_required: bool,
    /// Whether the value is to be shown to nobody.
    pub is_secret: bool,
}

/// What is wrong with credentials. Values are not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// There is no driver for this kind.
    #[error("there is no driver for DNS providers of the kind {kind}")]
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

const fn required(name: &'static str) -> Field {
    Field {
        name,
        is_required: true,
        is_secret: false,
    }
}

const fn optional(name: &'static str) -> Field {
    Field {
        name,
        is_required: false,
        is_secret: false,
    }
}

const fn secret(name: &'static str) -> Field {
    Field {
        name,
        is_required: true,
        is_secret: true,
    }
}

const fn optional_secret(name: &'static str) -> Field {
    Field {
        name,
        is_required: false,
        is_secret: true,
    }
}

macro_rules! kinds {
    ($($(#[$attribute:meta])* $name:literal: [$($field:expr),* $(,)?],)*) => {
        &[$($(#[$attribute])* Kind { name: $name, fields: &[$($field),*] },)*]
    };
}

/// In the order of their names.
const KINDS: &[Kind] = kinds! {
    "acme-dns": [required("url"), required("username"), secret("password"),
        required("subdomain"), required("fulldomain")],
    #[cfg(feature = "hosted")]
    "azure": [required("subscription_id"), required("tenant_id"), required("client_id"),
        secret("client_secret"), required("resource_group")],
    #[cfg(feature = "hosted")]
    "cloudflare": [optional_secret("api_token"), optional_secret("api_key"), optional("email")],
    #[cfg(feature = "hosted")]
    "digitalocean": [secret("token")],
    #[cfg(feature = "hosted")]
    "dnsimple": [secret("token"), optional("account_id")],
    #[cfg(feature = "hosted")]
    "dnsmadeeasy": [required("key"), secret("secret")],
    "exec": [required("program"), optional("mode")],
    #[cfg(feature = "hosted")]
    "google": [secret("service_account_json")],
    #[cfg(feature = "hosted")]
    "hetzner": [secret("token")],
    "httpreq": [required("endpoint"), optional("mode"), optional("username"),
        optional_secret("password")],
    #[cfg(feature = "hosted")]
    "linode": [secret("key")],
    #[cfg(feature = "hosted")]
    "luadns": [secret("key"), required("email")],
    #[cfg(feature = "hosted")]
    "ns1": [secret("key")],
    #[cfg(feature = "hosted")]
    "ovh": [required("application_key"), secret("application_secret"), secret("consumer_key"),
        required("endpoint")],
    "rfc2136": [required("server"), optional("port"), required("name"), secret("secret"),
        optional("algorithm")],
    #[cfg(feature = "hosted")]
    "route53": [required("access_key"), secret("secret_key")],
    #[cfg(feature = "hosted")]
    "transip": [required("username"), secret("key_file"), optional("global_key")],
};

/// The kinds there are drivers for.
#[must_use]
pub const fn kinds() -> &'static [Kind] {
    KINDS
}

/// Whether credentials have all that providers of a kind want to see, as far as that shows without
/// asking them.
///
/// # Errors
/// [`CredentialsError`].
pub fn check(kind: &str, credentials: &Credentials) -> Result<(), CredentialsError> {
    let kind = find(kind)?;
    for name in credentials.names() {
        if !kind.fields.iter().any(|field| field.name == name) {
            return Err(CredentialsError::Unknown {
                kind: kind.name,
                field: name.to_owned(),
            });
        }
    }
    for field in kind.fields {
        let is_there = credentials
            .field(field.name)
            .is_some_and(|value| !value.trim().is_empty());
        if field.is_required && !is_there {
            return Err(CredentialsError::Missing {
                kind: kind.name,
                field: field.name,
            });
        }
    }
    Ok(())
}

fn find(name: &str) -> Result<&'static Kind, CredentialsError> {
    let kind = KINDS.iter().find(|kind| kind.name == name);
    kind.ok_or_else(|| CredentialsError::Kind {
        kind: name.to_owned(),
    })
}
