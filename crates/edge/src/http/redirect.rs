//! Sending clients of the plain port to TLS.

use http::HeaderValue;
use http::uri::PathAndQuery;

/// Where validations of certificate authorities look; they do so in clear text.
const CHALLENGES: [&str; 2] = [
    "/.well-known/acme-challenge/",
    "/.well-known/certmaker-challenge/",
];

/// Whether a path is one that is answered in clear text.
pub(super) fn is_challenge(path: &str) -> bool {
    let tokens = CHALLENGES
        .iter()
        .filter_map(|prefix| path.strip_prefix(prefix));
    // A token is one part of a path: no path may leave the directory by way of `..`.
    let is_in_tokens =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let mut tokens =
        tokens.filter(|token| !token.contains("..") && token.bytes().all(is_in_tokens));
    tokens.next().is_some()
}

/// The address under which `path` of a host is served with TLS. `name` is the host without port.
pub(super) fn location(name: &str, https_port: u16, path: &PathAndQuery) -> Option<HeaderValue> {
    let mut location = String::with_capacity(name.len() + path.as_str().len() + 16);
    location.push_str("https://");
    location.push_str(name);
    if https_port != 443 {
        location.push(':');
        location.push_str(&https_port.to_string());
    }
    if path.as_str().starts_with('/') {
        location.push_str(path.as_str());
    } else {
        location.push('/');
    }
    HeaderValue::try_from(location).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_sent_to_the_same_path_and_query_of_the_host() {
        let path = PathAndQuery::from_static("/a/b?c=d%0d%0a&e");
        let to = |port| location("a.test", port, &path).unwrap();
        assert_eq!(to(443), "https://a.test/a/b?c=d%0d%0a&e");
        assert_eq!(to(8444), "https://a.test:8444/a/b?c=d%0d%0a&e");
        let whole = location("a.test", 443, &PathAndQuery::from_static("*")).unwrap();
        assert_eq!(whole, "https://a.test/");
    }

    #[test]
    fn validations_are_answered_in_clear_text_and_nothing_else() {
        for path in [
            "/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA",
            "/.well-known/certmaker-challenge/token",
            "/.well-known/acme-challenge/",
        ] {
            assert!(is_challenge(path), "{path}");
        }
        for path in [
            "/",
            "/.well-known/acme-challenge",
            "/.well-known/acme-challenges/a",
            "/.well-known/acme-challenge/../../admin",
            "/.well-known/acme-challenge/..",
            "/.well-known/acme-challenge/%2e%2e/admin",
            "/.well-known/acme-challenge/a/b",
            "//.well-known/acme-challenge/a",
            "/.WELL-KNOWN/acme-challenge/a",
            "/.well-known/security.txt",
        ] {
            assert!(!is_challenge(path), "{path}");
        }
    }
}
