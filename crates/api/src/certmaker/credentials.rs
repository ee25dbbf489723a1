//! Who asks: the token in any of the four places where clients put it.

use http::{HeaderMap, HeaderValue};
use lifecycle::{Dialect, Principal};

use super::faults::Fault;
use crate::Context;
use crate::exchange::{basic_password, bearer_token};

/// Token headers of the dialect; the first one present wins.
const TOKEN_HEADERS: [&str; 2] = ["x-auth-token", "x-api-token"];

/// Turns the token of a request into a principal.
pub(super) async fn authenticate(
    context: &Context,
    headers: &HeaderMap,
) -> Result<Principal, Fault> {
    let token = presented(headers).ok_or(Fault::NoToken)?;
    let tokens = &context.house.tokens;
    Ok(tokens.authenticate(&token, Dialect::CertMaker).await?)
}

/// The token text as it was sent. Text that cannot be a token becomes an empty one, which is
/// malformed: it must not make room for a credential in another header.
fn presented(headers: &HeaderMap) -> Option<String> {
    let named = TOKEN_HEADERS
        .iter()
        .find_map(|name| headers.get(*name))
        .map(|value| HeaderValue::to_str(value).unwrap_or_default().to_owned());
    named
        .or_else(|| bearer_token(headers).map(ToOwned::to_owned))
        .or_else(|| basic_password(headers))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let parsed = |(name, value): &(&'static str, &str)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        pairs.iter().map(parsed).collect()
    }

    #[test]
    fn the_own_headers_come_before_authorization() {
        let basic = ("authorization", "Basic eDpi");
        let bearer = ("authorization", "Bearer c");
        for (sent, token) in [
            (vec![], None),
            (
                vec![("x-auth-token", "a"), ("x-api-token", "b"), bearer],
                Some("a"),
            ),
            (vec![("x-api-token", "b"), basic], Some("b")),
            (vec![bearer], Some("c")),
            (vec![basic], Some("b")),
            (vec![("authorization", "Digest c")], None),
        ] {
            assert_eq!(presented(&headers(&sent)).as_deref(), token, "{sent:?}");
        }
    }

    #[test]
    fn a_token_that_is_no_text_is_not_replaced_by_another_credential() {
        let sent = headers(&[("x-auth-token", "\u{e9}"), ("authorization", "Bearer c")]);
        assert_eq!(presented(&sent).as_deref(), Some(""));
    }
}
