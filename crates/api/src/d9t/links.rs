//! Absolute links, by which clients find their way.

use http::header::HOST;
use serde::Serialize;

use super::PREFIX;
use crate::Context;
use crate::exchange::{Request, Sender};

/// Longest name of a host that is repeated, with its port.
const MAX_HOST: usize = 261;

/// One link.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Link {
    pub(super) href: String,
    pub(super) rel: &'static str,
}

/// Writes links below one base.
#[derive(Debug, Clone)]
pub(super) struct Links(String);

impl Links {
    /// Links for the client that sent a request: below the address that the operator configured, else
    /// below the one that the client used.
    pub(super) fn of(context: &Context, request: &Request) -> Self {
        let base = match &context.settings.d9t.base_url {
            Some(base) => base.clone(),
            None => {
                let settled = || context.settings.public_url.clone();
                base_of(request).unwrap_or_else(settled)
            }
        };
        Self(format!("{base}{PREFIX}"))
    }

    pub(super) fn private_keys(&self) -> Link {
        self.link("/privatekeys", "privatekeys")
    }

    pub(super) fn certificates(&self) -> Link {
        self.link("/certificates", "certificates")
    }

    pub(super) fn private_key(&self, key: u64, rel: &'static str) -> Link {
        self.link(&format!("/privatekeys/{key}"), rel)
    }

    pub(super) fn certificates_under(&self, key: u64) -> Link {
        self.link(&format!("/privatekeys/{key}/certificates"), "certificates")
    }

    pub(super) fn certificate(&self, key: u64, number: u64, rel: &'static str) -> Link {
        self.link(&format!("/privatekeys/{key}/certificates/{number}"), rel)
    }

    pub(super) fn request(&self, key: u64, number: u64, rel: &'static str) -> Link {
        self.link(
            &format!("/privatekeys/{key}/certificates/{number}/csr"),
            rel,
        )
    }

    fn link(&self, path: &str, rel: &'static str) -> Link {
        Link {
            href: format!("{}{path}", self.0),
            rel,
        }
    }
}

/// The base that the client itself used, if it is one.
fn base_of(request: &Request) -> Option<String> {
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let named = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let host = authority.or(named).filter(|host| is_host(host))?;
    let is_secure = request
        .extensions()
        .get::<Sender>()
        .is_some_and(|sender| sender.is_secure);
    let scheme = if is_secure { "https" } else { "http" };
    Some(format!("{scheme}://{host}"))
}

/// Whether a text could be a host with a port, and nothing that changes what a link means.
fn is_host(text: &str) -> bool {
    let is_fitting = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
    };
    (1..=MAX_HOST).contains(&text.len()) && text.bytes().all(is_fitting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_are_repeated_in_links() {
        for good in ["a.test", "a.test:8080", "127.0.0.1", "[::1]:443", "a_b"] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            "a/b",
            "a@b",
            "a?b",
            "a b",
            "a\"b",
            "ü.test",
            &"a".repeat(300),
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
