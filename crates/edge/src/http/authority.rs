//! Which host a request names (RFC 9110 section 7.2, RFC 9112 section 3.2). Two readers that
//! disagree about it would let a request slip past the one that decides, so everything that can be
//! read in two ways is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};

/// Longest domain name in text, with a final dot.
const MAX_NAME: usize = 254;

/// What a request is about.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The host as the client wrote it, with a port if it wrote one.
    pub(super) host: HeaderValue,
    /// Path and query, or `*`.
    pub(super) path: PathAndQuery,
}

/// Why a request is refused before it is looked at further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// No host, where one is needed.
    #[error("the request names no host")]
    NoHost,
    /// Several, or different ones in several places.
    #[error("the request names more than one host")]
    SeveralHosts,
    /// A host that is none.
    #[error("the host that the request names is not a host")]
    Host,
    /// A target in a form that only proxies take.
    #[error("the request is one for a forward proxy")]
    Target,
    /// A body whose length can be read in two ways.
    #[error("the length of the request's body is not clear")]
    Length,
    /// More header fields than anybody needs.
    #[error("the request has too many header fields")]
    TooManyFields,
    /// It came from the edge itself, over and over.
    #[error("the request goes round in a loop")]
    Loop,
}

impl Target {
    /// The target of a request.
    ///
    /// # Errors
    /// [`Malformed`] when the host is missing, given twice or no host, or when the form of the
    /// target is not one for an origin server.
    pub(super) fn of(parts: &Parts) -> Result<Self, Malformed> {
        let uri = &parts.uri;
        if parts.method == Method::CONNECT {
            return Err(Malformed::Target);
        }
        match uri.scheme_str() {
            // `authority-form` is for CONNECT alone.
            None if uri.authority().is_some() && parts.version != Version::HTTP_2 => {
                return Err(Malformed::Target);
            }
            None | Some("http" | "https") => {}
            Some(_) => return Err(Malformed::Target),
        }
        let path = match uri.path_and_query() {
            Some(path) if path.as_str().starts_with('/') => path.clone(),
            Some(path) if path.as_str() == "*" && parts.method == Method::OPTIONS => path.clone(),
            // `OPTIONS http://host` asks about the host as such (RFC 9112 section 3.2.4).
            None if uri.authority().is_some() => PathAndQuery::from_static("/"),
            _ => return Err(Malformed::Target),
        };
        let mut hosts = parts.headers.get_all(HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return Err(Malformed::SeveralHosts);
        }
        let host = match (uri.authority(), host) {
            (None, None) => return Err(Malformed::NoHost),
            (None, Some(host)) => host.clone(),
            (Some(authority), host) => {
                let authority = authority.as_str();
                match host {
                    Some(host) if !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) => {
                        return Err(Malformed::SeveralHosts);
                    }
                    Some(host) => host.clone(),
                    None => HeaderValue::from_str(authority).map_err(|_| Malformed::Host)?,
                }
            }
        };
        Ok(Self { host, path })
    }

    /// The host without its port.
    ///
    /// # Errors
    /// [`Malformed::Host`].
    pub(super) fn name(&self) -> Result<Host<'_>, Malformed> {
        let text = self.host.to_str().map_err(|_| Malformed::Host)?;
        Host::parse(text).ok_or(Malformed::Host)
    }
}

/// A host without its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host<'a> {
    /// A domain name as it was written, without a final dot.
    Name(&'a str),
    /// An IP address, which is nobody's domain.
    Address(IpAddr),
}

impl<'a> Host<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let is_port = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
            let address = address.parse::<Ipv6Addr>().ok()?;
            return is_port.then_some(Self::Address(address.into()));
        }
        let name = match text.split_once(':') {
            Some((name, port)) if is_port(port) => name,
            Some(_) => return None,
            None => text,
        };
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let is_name = !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_in_names);
        let name = name.strip_suffix('.').unwrap_or(name);
        let has_labels = !name.is_empty() && !name.starts_with('.') && !name.contains("..");
        (is_name && has_labels && !name.ends_with('.')).then_some(Self::Name(name))
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_in_names(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn target(request: http::request::Builder) -> Result<Target, Malformed> {
        Target::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn hosts_are_read_with_and_without_port_in_any_case() {
        for (text, name) in [
            ("example.com", "example.com"),
            ("Example.COM:8443", "Example.COM"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("localhost", "localhost"),
            ("a_b.example.com", "a_b.example.com"),
        ] {
            assert_eq!(Host::parse(text), Some(Host::Name(name)), "{text}");
        }
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[::1]:8443", "::1"),
        ] {
            let address = Host::Address(address.parse().unwrap());
            assert_eq!(Host::parse(text), Some(address), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ".",
            ":80",
            "a b",
            "user@example.com",
            "user:secret@example.com",
            "example.com:",
            "example.com:80:80",
            "example.com:+80",
            "example.com:99999",
            "example.com..",
            ".example.com",
            "a..b",
            "example.com/path",
            "example.com,other.com",
            "example.com\u{e9}",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[example.com]",
            "::1",
            "*.example.com",
        ] {
            assert_eq!(Host::parse(text), None, "{text:?}");
        }
        let long = "a.".repeat(128);
        assert_eq!(Host::parse(&long), None);
    }

    #[test]
    fn the_host_comes_from_the_field_or_the_target() {
        let origin = target(Request::get("/a?b").header("host", "example.com")).unwrap();
        assert_eq!(
            (origin.host.as_bytes(), origin.path.as_str()),
            (&b"example.com"[..], "/a?b")
        );
        let absolute = Request::get("http://Example.com/a?b").header("host", "example.com");
        let absolute = target(absolute).unwrap();
        assert_eq!(absolute.path, origin.path);
        let second = Request::get("https://example.com/a?b").version(Version::HTTP_2);
        assert_eq!(target(second).unwrap().host, origin.host);
        let bare = Request::get("http://example.com").header("host", "example.com");
        assert_eq!(target(bare).unwrap().path.as_str(), "/");
        let about = Request::options("*").header("host", "example.com");
        assert_eq!(target(about).unwrap().path.as_str(), "*");
    }

    #[test]
    fn a_request_with_two_hosts_or_none_is_refused() {
        let twice = Request::get("/")
            .header("host", "a.test")
            .header("host", "b.test");
        assert_eq!(target(twice).unwrap_err(), Malformed::SeveralHosts);
        let same = Request::get("/")
            .header("host", "a.test")
            .header("host", "a.test");
        assert_eq!(target(same).unwrap_err(), Malformed::SeveralHosts);
        let other = Request::get("http://a.test/").header("host", "b.test");
        assert_eq!(target(other).unwrap_err(), Malformed::SeveralHosts);
        assert_eq!(target(Request::get("/")).unwrap_err(), Malformed::NoHost);
    }

    #[test]
    fn targets_for_other_servers_are_refused() {
        let requests = [
            Request::connect("example.com:443").header("host", "example.com"),
            Request::get("example.com:80").header("host", "example.com:80"),
            Request::get("ftp://example.com/").header("host", "example.com"),
            Request::get("*").header("host", "example.com"),
        ];
        for request in requests {
            assert_eq!(target(request).unwrap_err(), Malformed::Target);
        }
    }
}
