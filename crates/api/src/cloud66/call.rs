//! A request whose sender is known, with all that it brought.

use http::Method;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::request::Parts;
use lifecycle::{House, Principal, off_the_reactor};
use percent_encoding::percent_decode_str;

use super::body::Fields;
use super::envelope::Representation;
use super::faults::Fault;
use super::paging::Asked;
use crate::Context;
use crate::bodies::Received;
use crate::exchange::DECODED_AT_ONCE;

/// An authenticated request with its whole body.
pub(super) struct Call<'a> {
    pub(super) context: &'a Context,
    pub(super) principal: Principal,
    pub(super) method: &'a Method,
    /// How certificates are to be shown.
    pub(super) representation: Representation,
    query: &'a str,
    received: Received,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        context: &'a Context,
        principal: Principal,
        head: &'a Parts,
        received: Received,
    ) -> Self {
        let query = head.uri.query().unwrap_or_default();
        let wants_model = parameter(query, "representation").as_deref() == Some("model")
            || accepts_model(&head.headers);
        Self {
            context,
            principal,
            method: &head.method,
            representation: if wants_model {
                Representation::Model
            } else {
                Representation::Default
            },
            query,
            received,
        }
    }

    pub(super) fn house(&self) -> &'a House {
        &self.context.house
    }

    /// The decoded value of a query parameter, the last if it is repeated.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        parameter(self.query, name)
    }

    /// The page that is asked for.
    pub(super) fn page(&self) -> Asked {
        let number = |name| self.parameter(name)?.parse().ok();
        Asked::new(number("page"), number("per_page"))
    }

    /// The fields of the body, taken out of it, in the wrapper of this name or without one.
    pub(super) async fn fields(&mut self, wrapper: &'static str) -> Result<Fields, Fault> {
        let octets = std::mem::take(&mut self.received.octets);
        if octets.len() <= DECODED_AT_ONCE {
            return Fields::read(&octets, wrapper);
        }
        off_the_reactor(move || Fields::read(&octets, wrapper)).await?
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').rev();
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(key, _)| percent_decode_str(key).eq(name.bytes()))?;
    let spaced = value.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// Whether some media type in `Accept` has the parameter `representation=model`.
fn accepts_model(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).into_iter();
    let mut accepted = accepted.filter_map(|value: &HeaderValue| value.to_str().ok());
    accepted.any(|value| {
        let parts = value.split([',', ';']);
        let is_asked = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            name.trim().eq_ignore_ascii_case("representation")
                && value.trim().trim_matches('"').eq_ignore_ascii_case("model")
        };
        parts.into_iter().any(is_asked)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_repeated_parameter_counts() {
        let query = "a=1&b=%20x+y&a=2&c&%64=4";
        for (name, value) in [
            ("a", Some("2")),
            ("b", Some(" x y")),
            ("c", Some("")),
            ("d", Some("4")),
            ("e", None),
        ] {
            assert_eq!(parameter(query, name).as_deref(), value, "{name}");
        }
        assert_eq!(parameter("a=%ff", "a"), None);
    }

    #[test]
    fn the_model_is_asked_for_by_a_parameter_of_a_media_type() {
        for (accept, is_asked) in [
            ("application/json; representation=model", true),
            (
                "text/html, application/json;q=0.5;Representation=\"model\"",
                true,
            ),
            ("application/json", false),
            ("application/json; representation=models", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(accepts_model(&headers), is_asked, "{accept}");
        }
    }
}
