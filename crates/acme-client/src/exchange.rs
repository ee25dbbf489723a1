//! One request to a directory and its answer, within limits.

use std::sync::Arc;
use std::time::Duration;

use acme::client::Failure;
use bytes::Bytes;
use egress::{EgressPolicy, Fetch, FetchError, Ports, Request, Response};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LINK, LOCATION, USER_AGENT};
use http::{HeaderMap, Method};

use crate::problem;
use crate::retry_after::retry_after;
use crate::text::shown;

/// Longest time for one request.
const DEADLINE: Duration = Duration::from_secs(20);
/// How many other chains are looked at.
const MAX_ALTERNATES: usize = 8;
/// RFC 8555 section 6.1 wants one.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("chancery/", env!("CARGO_PKG_VERSION")));
const JOSE: HeaderValue = HeaderValue::from_static("application/jose+json");
const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

/// What a directory answered to a request that it granted.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// URL of what was made.
    pub(crate) location: Option<String>,
    /// When to look again.
    pub(crate) retry_after: Option<Duration>,
    /// URLs of other chains (RFC 8555 section 7.4.2).
    pub(crate) alternates: Vec<String>,
    pub(crate) body: Bytes,
}

/// An answer, and the nonce that came with it.
pub(crate) struct Answer {
    pub(crate) nonce: Option<String>,
    pub(crate) outcome: Result<Reply, Failure>,
}

/// Makes one request. Redirects are not followed: ACME has no need of them, and what is signed is
/// signed for one URL.
///
/// # Errors
/// [`Failure`] when there is no answer.
pub(crate) async fn exchange(
    fetch: &dyn Fetch,
    method: Method,
    url: &str,
    body: Bytes,
    body_limit: usize,
    policy: EgressPolicy,
    roots: Option<Arc<str>>,
) -> Result<Answer, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, AGENT);
    if method == Method::POST {
        headers.insert(CONTENT_TYPE, JOSE);
    }
    let request = Request {
        method,
        url: url.to_owned(),
        headers,
        body,
        policy,
        ports: Ports::Any,
        trust: roots.into(),
        deadline: DEADLINE,
        body_limit,
        redirects: 0,
    };
    let response = fetch
        .fetch(request)
        .await
        .map_err(|error| failure(&error))?;
    Ok(Answer {
        nonce: text(&response.headers, &REPLAY_NONCE).map(ToOwned::to_owned),
        outcome: outcome(url, response),
    })
}

fn outcome(url: &str, response: Response) -> Result<Reply, Failure> {
    let Response {
        status,
        headers,
        body,
    } = response;
    if status.is_success() {
        return Ok(Reply {
            location: text(&headers, &LOCATION).map(ToOwned::to_owned),
            retry_after: retry_after(&headers),
            alternates: alternates(&headers),
            body,
        });
    }
    if status.is_redirection() {
        let target = text(&headers, &LOCATION).unwrap_or("nowhere");
        let (url, target) = (shown(url), shown(target));
        return Err(Failure::Forbidden {
            reason: format!("{url} redirects to {target}"),
        });
    }
    Err(Failure::Refused {
        problem: Box::new(problem::of_answer(status, &body)),
        status: status.as_u16(),
        retry_after: retry_after(&headers),
    })
}

fn failure(error: &FetchError) -> Failure {
    let reason = shown(&error.to_string());
    match error {
        FetchError::Invalid { .. } | FetchError::Forbidden { .. } => Failure::Forbidden { reason },
        FetchError::TooLarge { .. } => Failure::Garbled { reason },
        FetchError::Tls { .. } => Failure::Insecure { reason },
        FetchError::Unresolved(_)
        | FetchError::Unreachable { .. }
        | FetchError::TimedOut { .. }
        | FetchError::Broken { .. } => Failure::Unreachable { reason },
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The targets of links with the relation `alternate` (RFC 8288 section 3).
fn alternates(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(LINK).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let links = values.flat_map(|value| value.split('<').skip(1));
    links
        .filter_map(|link| link.split_once('>'))
        .filter(|(_, parameters)| is_alternate(parameters))
        .map(|(target, _)| target.to_owned())
        .take(MAX_ALTERNATES)
        .collect()
}

fn is_alternate(parameters: &str) -> bool {
    let mut parameters = parameters.split([';', ',']);
    parameters.any(|parameter| {
        parameter.split_once('=').is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .trim()
                    .trim_matches('"')
                    .eq_ignore_ascii_case("alternate")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(values: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LINK, value.parse().unwrap());
        }
        alternates(&headers)
    }

    #[test]
    fn rfc8288_section_3_links_come_one_by_one_or_joined() {
        let separate = [
            "<https://ca.example/directory>;rel=\"index\"",
            "<https://ca.example/cert/1/1>;rel=\"alternate\"",
            "<https://ca.example/cert/1/2>; title=\"x\"; REL=alternate",
        ];
        let expected = ["https://ca.example/cert/1/1", "https://ca.example/cert/1/2"];
        assert_eq!(links(&separate), expected);
        assert_eq!(links(&[&separate.join(", ")]), expected);
    }

    #[test]
    fn odd_links_are_no_alternates() {
        for value in [
            "",
            "<",
            "<>",
            "rel=alternate",
            "<https://ca.example",
            "<a>;rel",
        ] {
            assert!(links(&[value]).is_empty(), "{value}");
        }
        let many = vec!["<https://ca.example/1>;rel=alternate"; 100];
        assert_eq!(links(&many).len(), MAX_ALTERNATES);
    }
}
