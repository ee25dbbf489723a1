//! What the edge tells instances about a request: who asks, by which name, and that it passed here.
//! Nobody else may say so.

use std::net::{IpAddr, SocketAddr};

use http::header::{Entry, FORWARDED};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::authority::Malformed;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const HTTPS: HeaderValue = HeaderValue::from_static("https");
const HTTP: HeaderValue = HeaderValue::from_static("http");

/// What the edge calls itself where requests say whom they passed (RFC 8586).
const PSEUDONYM: &str = "chancery";
/// Most edges that a request may pass: some stand before others.
const MAX_EDGES: usize = 4;

/// What backends learn of a client, in the fields that say so.
#[derive(Debug, Clone)]
pub(super) struct Introduction {
    address: HeaderValue,
    protocol: HeaderValue,
    /// Of `Forwarded`, up to the host.
    prefix: String,
    suffix: &'static str,
}

impl Introduction {
    /// Introduces a client that came from `peer`.
    pub(super) fn new(peer: SocketAddr, is_tls: bool) -> Self {
        let address = peer.ip().to_canonical();
        let text = address.to_string();
        let prefix = match address {
            IpAddr::V4(_) => format!("for={text};host="),
            // RFC 7239 section 6.
            IpAddr::V6(_) => format!("for=\"[{text}]\";host="),
        };
        Self {
            // The text of an address has only characters that values may have.
            address: HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unknown")),
            protocol: if is_tls { HTTPS } else { HTTP },
            prefix,
            suffix: if is_tls {
                ";proto=https"
            } else {
                ";proto=http"
            },
        }
    }

    /// Says who the client is and which host it asked for. Whatever it said itself is gone.
    pub(super) fn introduce(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        headers.insert(X_FORWARDED_FOR, self.address.clone());
        headers.insert(X_FORWARDED_PROTO, self.protocol.clone());
        headers.insert(X_FORWARDED_HOST, host.clone());
        let name = host.to_str().unwrap_or_default();
        let is_token = !name.contains([':', '[']);
        let mut forwarded = String::with_capacity(self.prefix.len() + name.len() + 16);
        forwarded.push_str(&self.prefix);
        if is_token {
            forwarded.push_str(name);
        } else {
            forwarded.push('"');
            forwarded.push_str(name);
            forwarded.push('"');
        }
        forwarded.push_str(self.suffix);
        match HeaderValue::try_from(forwarded) {
            Ok(forwarded) => headers.insert(FORWARDED, forwarded),
            Err(_) => headers.remove(FORWARDED),
        };
    }
}

/// Notes that a request passed this edge. An instance whose address is the edge's own would
/// otherwise have a request go round for as long as there are connections to take.
///
/// # Errors
/// [`Malformed::Loop`] when it passed too many.
pub(super) fn pass(headers: &mut HeaderMap) -> Result<(), Malformed> {
    let Entry::Occupied(mut passed) = headers.entry(CDN_LOOP) else {
        headers.insert(CDN_LOOP, HeaderValue::from_static(PSEUDONYM));
        return Ok(());
    };
    let list = passed
        .iter()
        .map(HeaderValue::as_bytes)
        .collect::<Vec<_>>()
        .join(&b", "[..]);
    let edges = list.split(|byte| *byte == b',').filter(|edge| {
        let name = edge.split(|byte| *byte == b';').next();
        name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(PSEUDONYM.as_bytes()))
    });
    if edges.count() >= MAX_EDGES {
        return Err(Malformed::Loop);
    }
    let longer = [&list[..], PSEUDONYM.as_bytes()].join(&b", "[..]);
    if let Ok(longer) = HeaderValue::from_bytes(&longer) {
        passed.insert(longer);
    }
    Ok(())
}

/// Removes what a client says about itself that only we may say, also where it is spelled with
/// underscores: programs behind gateway interfaces cannot tell those from hyphens. `Proxy` would
/// become the variable `HTTP_PROXY` there.
pub(super) fn remove_claims(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name.as_str()))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
}

fn is_claim(name: &str) -> bool {
    let mut normal = [0; 16];
    let Some(start) = normal.get_mut(..name.len().min(16)) else {
        return false;
    };
    for (to, from) in start.iter_mut().zip(name.bytes()) {
        *to = if from == b'_' { b'-' } else { from };
    }
    let start = &*start;
    start.starts_with(b"x-forwarded") && start.get(11).is_none_or(|byte| *byte == b'-')
        || (matches!(start, b"forwarded" | b"x-real-ip" | b"proxy") && start.len() == name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_passes_a_few_edges_and_does_not_go_round() {
        let mut headers = HeaderMap::new();
        for value in ["other; v=\"1, chancery\"", "more"] {
            headers.append(CDN_LOOP, HeaderValue::from_static(value));
        }
        for _ in 0..MAX_EDGES - 1 {
            pass(&mut headers).unwrap();
        }
        assert_eq!(
            headers[CDN_LOOP],
            "other; v=\"1, chancery\", more, chancery, chancery, chancery"
        );
        pass(&mut headers).unwrap();
        assert_eq!(pass(&mut headers), Err(Malformed::Loop));
    }

    #[test]
    fn a_client_with_an_ipv6_address_is_quoted() {
        let introduction = Introduction::new("[2001:db8::1]:1".parse().unwrap(), false);
        let mut headers = HeaderMap::new();
        introduction.introduce(&mut headers, &HeaderValue::from_static("a.test"));
        assert_eq!(headers[X_FORWARDED_FOR], "2001:db8::1");
        assert_eq!(
            headers[FORWARDED],
            "for=\"[2001:db8::1]\";host=a.test;proto=http"
        );
    }
}
