//! The kinds of DNS providers there are drivers for, and what each wants to see. The names of the
//! fields are part of the API.

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

/// The kind of this name.
pub(crate) fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Whether a field is to be shown to nobody. What is in fields that nobody knows is not shown.
pub(crate) fn is_secret(kind: &str, field: &str) -> bool {
    let fields = find(kind).map(|kind| kind.fields).unwrap_or_default();
    let known = fields.iter().find(|known| known.name == field);
    known.is_none_or(|known| known.is_secret)
}
