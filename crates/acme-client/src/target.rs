//! Which of the URLs that a directory names are followed.
//!
//! A directory's answers are full of URLs, and the house requests what they say. URLs with the origin
//! of the directory's own URL are as good as that one. All others have to be `https` and to lead to
//! public addresses, whoever named the directory: what an authority may say must not open a door into
//! the network that the house is in.

use acme::client::{Endpoint, Failure};
use egress::EgressPolicy;
use http::Uri;
use http::uri::Scheme;

use crate::text::shown;

/// The longest URL that is followed, in octets.
const MAX_LENGTH: usize = 2_048;

/// Scheme, host and port of a directory, and what is allowed there.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
    policy: EgressPolicy,
}

impl Origin {
    /// The origin of a directory.
    ///
    /// # Errors
    /// [`Failure::Forbidden`] for a URL that must not be requested at all.
    pub(crate) fn of(endpoint: &Endpoint) -> Result<Self, Failure> {
        let (scheme, host, port) = read(&endpoint.url)?;
        let policy = if endpoint.is_trusted {
            EgressPolicy::BACKENDS
        } else if scheme == Scheme::HTTPS {
            EgressPolicy::PUBLIC
        } else {
            return Err(forbidden(&endpoint.url, "it is not https"));
        };
        Ok(Self {
            scheme,
            host,
            port,
            policy,
        })
    }

    /// What a request to `url` may connect to.
    ///
    /// # Errors
    /// [`Failure::Forbidden`] when it must not be requested.
    pub(crate) fn policy(&self, url: &str) -> Result<EgressPolicy, Failure> {
        let (scheme, host, port) = read(url)?;
        if scheme == self.scheme && host == self.host && port == self.port {
            Ok(self.policy)
        } else if scheme == Scheme::HTTPS {
            Ok(EgressPolicy::PUBLIC)
        } else {
            let reason = "it is on another host than the directory, and not https";
            Err(forbidden(url, reason))
        }
    }
}

fn read(url: &str) -> Result<(Scheme, String, u16), Failure> {
    if url.len() > MAX_LENGTH {
        return Err(forbidden(url, "it is too long"));
    }
    let uri: Uri = url.parse().map_err(|_| forbidden(url, "it is no URL"))?;
    let scheme = uri.scheme();
    let scheme = scheme.filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
    let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else {
        return Err(forbidden(url, "it is not https"));
    };
    if authority.as_str().contains('@') {
        return Err(forbidden(url, "it has a user"));
    }
    let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let port = authority.port_u16().unwrap_or(usual);
    Ok((scheme.clone(), authority.host().to_ascii_lowercase(), port))
}

fn forbidden(url: &str, reason: &str) -> Failure {
    Failure::Forbidden {
        reason: format!("{}: {reason}", shown(url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str, is_trusted: bool) -> Result<Origin, Failure> {
        Origin::of(&Endpoint {
            url: url.to_owned(),
            roots: None,
            is_trusted,
        })
    }

    #[test]
    fn the_directorys_own_origin_has_the_directorys_own_policy() {
        let trusted = origin("https://CA.internal/acme/directory", true).unwrap();
        for url in [
            "https://ca.internal/order/1",
            "https://ca.internal:443/order/1",
            "https://Ca.Internal/order/1?x=y",
        ] {
            assert_eq!(trusted.policy(url), Ok(EgressPolicy::BACKENDS), "{url}");
        }
        let plain = origin("http://127.0.0.1:14000/dir", true).unwrap();
        assert_eq!(
            plain.policy("http://127.0.0.1:14000/order"),
            Ok(EgressPolicy::BACKENDS)
        );
        let public = origin("https://ca.example/directory", false).unwrap();
        assert_eq!(
            public.policy("https://ca.example/order"),
            Ok(EgressPolicy::PUBLIC)
        );
    }

    #[test]
    fn other_origins_are_public_and_https_even_if_the_directory_is_trusted() {
        let trusted = origin("https://ca.internal/directory", true).unwrap();
        for url in ["https://ca.internal:8443/order", "https://elsewhere/order"] {
            assert_eq!(trusted.policy(url), Ok(EgressPolicy::PUBLIC), "{url}");
        }
        for url in [
            "http://ca.internal/order",
            "http://ca.internal:443/order",
            "http://169.254.169.254/latest/meta-data",
            "ftp://ca.internal/order",
            "file:///etc/passwd",
            "/order/1",
            "//ca.internal/order",
            "",
            "https://",
            "https://user@ca.internal/order",
            "https://ca.internal@elsewhere/order",
            "https://ca.internal/a b",
            "https://ca.internal/\r\nX: y",
        ] {
            let refused = trusted.policy(url);
            assert!(matches!(refused, Err(Failure::Forbidden { .. })), "{url}");
        }
        let long = format!("https://ca.internal/{}", "a".repeat(MAX_LENGTH));
        assert!(trusted.policy(&long).is_err());
    }

    #[test]
    fn only_administrators_name_directories_without_tls() {
        assert!(origin("http://ca.example/directory", false).is_err());
        assert!(origin("http://ca.example/directory", true).is_ok());
    }
}
