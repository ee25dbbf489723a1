//! Query strings: references, and how a list is to be cut.

use std::borrow::Cow;

use lifecycle::Order;
use percent_encoding::percent_decode_str;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::faults::{Code, Refusal};
use super::item::Detail;
use super::references::{Reference, parse_uuid};

/// Where a list begins; the place itself is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Object(Uuid),
    Time(OffsetDateTime),
}

/// The parameters of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) detail: Option<Detail>,
    /// Size of the page; `None` means all.
    pub(super) count: Option<usize>,
    pub(super) from: Option<From>,
    pub(super) order: Order,
}

/// The references in a query, in order: `uuid` and `name`, repeated or separated by commas. A
/// comma separates only where it is not encoded.
pub(super) fn references(query: &str) -> Result<Vec<Reference>, Refusal> {
    let mut references = Vec::new();
    for (key, value) in parameters(query) {
        let is_uuid = match key.as_ref() {
            "name" => false,
            "uuid" => true,
            _ => continue,
        };
        for part in value.split(',').filter(|part| !part.is_empty()) {
            let text = decode(part).ok_or_else(|| not_utf8(&key))?;
            references.push(if is_uuid {
                Reference::uuid(text)?
            } else {
                Reference::name(text)
            });
        }
    }
    Ok(references)
}

/// The parameters of a list in a query. Unknown ones mean nothing, empty ones count as absent, and
/// of repeated ones the last counts.
pub(super) fn listing(query: &str) -> Result<Listing, Refusal> {
    let mut listing = Listing {
        detail: None,
        count: None,
        from: None,
        order: Order::Ascending,
    };
    for (key, value) in parameters(query) {
        let is_known = matches!(
            key.as_ref(),
            "count" | "details" | "from" | "order" | "sortby"
        );
        if !is_known || value.is_empty() {
            continue;
        }
        let value = decode(value).ok_or_else(|| not_utf8(&key))?;
        let wrong = |expected: &str| {
            let message = format!("Invalid {key} '{value}': must be {expected}");
            Refusal::form(Code::Invalid, message)
        };
        match key.as_ref() {
            "count" => {
                let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
                let count = is_number.then(|| value.parse::<usize>().ok()).flatten();
                let count = count.ok_or_else(|| wrong("a number, 0 for all"))?;
                listing.count = (count > 0).then_some(count);
            }
            "details" => {
                listing.detail = Some(match value.to_ascii_lowercase().as_str() {
                    "true" | "1" => Detail::Full,
                    "false" | "0" => Detail::Brief,
                    _ => return Err(wrong("true or false")),
                });
            }
            "from" => {
                let from = parse_from(&value);
                listing.from = Some(from.ok_or_else(|| wrong("a UUID or an RFC 3339 time"))?);
            }
            "order" => {
                listing.order = match value.as_str() {
                    "asc" => Order::Ascending,
                    "desc" => Order::Descending,
                    _ => return Err(wrong("asc or desc")),
                };
            }
            "sortby" if value != "create_time" => return Err(wrong("create_time")),
            _ => {}
        }
    }
    Ok(listing)
}

/// Keys, decoded, with their values, raw.
fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    query.split('&').map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (percent_decode_str(key).decode_utf8_lossy(), value)
    })
}

/// A value as clients encode it: a blank is `+` or `%20`.
fn decode(raw: &str) -> Option<String> {
    let spaced = raw.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

fn not_utf8(key: &str) -> Refusal {
    Refusal::form(Code::Malformed, format!("parameter '{key}' is not UTF-8"))
}

fn parse_from(value: &str) -> Option<From> {
    if let Some(id) = parse_uuid(value) {
        return Some(From::Object(id));
    }
    // The plus of an offset from UTC reads as a blank when the client did not encode it.
    let time = OffsetDateTime::parse(&value.replace(' ', "+"), &Rfc3339).ok()?;
    Some(From::Time(time))
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    fn names(query: &str) -> Vec<String> {
        let found = references(query).unwrap();
        found
            .iter()
            .map(|one| {
                let identity = one.identity();
                identity.name.or(identity.uuid).unwrap()
            })
            .collect()
    }

    #[test]
    fn commas_separate_references_unless_they_are_encoded() {
        assert_eq!(
            names("name=a,b&name=c%2Cd&name=e%2cf"),
            ["a", "b", "c,d", "e,f"]
        );
        assert_eq!(names("name=,a,,&name=&name&uuid="), ["a"]);
    }

    #[test]
    fn references_of_both_kinds_keep_their_order() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad91";
        assert_eq!(
            names(&format!("name=x&uuid={id}&other=1&n%61me=y+z%2B")),
            ["x", id, "y z+"]
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(
            references("name=%ff").unwrap_err().code,
            Some(Code::Malformed)
        );
        assert!(references("%ff=%ff").unwrap().is_empty());
    }

    #[test]
    fn a_list_is_cut_as_the_parameters_say() {
        let parsed =
            listing("count=2&from=2026-01-02T03:04:05+01:00&order=desc&details=FALSE&x=%ff");
        let expected = Listing {
            detail: Some(Detail::Brief),
            count: Some(2),
            from: Some(From::Time(datetime!(2026-01-02 02:04:05 UTC))),
            order: Order::Descending,
        };
        assert_eq!(parsed.unwrap(), expected);
        assert_eq!(
            listing("count=0&from=&sortby=create_time").unwrap().count,
            None
        );
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        for bad in [
            "count=-1",
            "count=%2B1",
            "count=1e3",
            "count=99999999999999999999999",
            "details=yes",
            "from=nonsense",
            "from=2026-01-02",
            "order=ASC ",
            "sortby=name",
        ] {
            let refusal = listing(bad).unwrap_err();
            assert_eq!(refusal.code, Some(Code::Invalid), "{bad}");
            let key = bad.split('=').next().unwrap();
            assert!(refusal.message.contains(key), "{}", refusal.message);
        }
    }

    proptest! {
        #[test]
        fn encoded_names_come_back_as_they_were(given in prop::collection::vec(".+", 0..8)) {
            let encoded: Vec<String> = given
                .iter()
                .map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string())
                .collect();
            prop_assert_eq!(&names(&format!("name={}", encoded.join(","))), &given);
            prop_assert_eq!(&names(&format!("name={}", encoded.join("&name="))), &given);
        }

        #[test]
        fn any_query_is_read_or_refused(query in ".*") {
            let _ = references(&query);
            let _ = listing(&query);
        }

        #[test]
        fn any_value_of_a_parameter_is_read_or_refused(
            key in "name|uuid|count|details|from|order|sortby",
            value in ".*",
        ) {
            let query = format!("{key}={value}");
            let _ = references(&query);
            let _ = listing(&query);
        }
    }
}
