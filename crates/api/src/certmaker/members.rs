//! JSON objects as CertMaker's clients write them: the original matched keys without regard to
//! case, each client generation spells them its own way, and which spelling was used tells the
//! generations apart. So keys are kept as they came, and values undecoded until they are asked for.

use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::faults::Fault;

/// The members of one JSON object, in order.
pub(super) struct Members(Vec<Member>);

struct Member {
    key: String,
    /// The key in ASCII lower case, without underscores.
    folded: String,
    value: Box<RawValue>,
}

impl Members {
    /// Reads one object and nothing after it.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Fault> {
        serde_json::from_slice(body)
            .map_err(|_| Fault::invalid("the request body must be one JSON object"))
    }

    /// Whether there is a member of exactly this spelling.
    pub(super) fn has_exactly(&self, key: &str) -> bool {
        self.0.iter().any(|member| member.key == key)
    }

    /// Whether there is a member of this folded key, also one that is null.
    pub(super) fn has(&self, folded: &str) -> bool {
        self.last(folded).is_some()
    }

    /// The text of the last member of this folded key; `None` if it is absent or null.
    pub(super) fn raw(&self, folded: &str) -> Option<&str> {
        let text = self.last(folded)?.value.get();
        (text != "null").then_some(text)
    }

    /// The last member of this folded key, decoded; `None` if it is absent or null. `expected` is
    /// for the error's text: "an array of strings".
    pub(super) fn decode<T: DeserializeOwned>(
        &self,
        folded: &str,
        expected: &str,
    ) -> Result<Option<T>, Fault> {
        let decoded = self.raw(folded).map(serde_json::from_str).transpose();
        decoded.map_err(|_| wrong_type(folded, expected))
    }

    /// The last member of this folded key, an object itself; empty if it is absent or null.
    pub(super) fn object(&self, folded: &str) -> Result<Self, Fault> {
        let object = self.decode(folded, "an object")?;
        Ok(object.unwrap_or(Self(Vec::new())))
    }

    fn last(&self, folded: &str) -> Option<&Member> {
        self.0.iter().rev().find(|member| member.folded == folded)
    }
}

/// The refusal of a member whose value is of another type than `expected`.
pub(super) fn wrong_type(folded: &str, expected: &str) -> Fault {
    Fault::invalid(format!("'{folded}' must be {expected}"))
}

/// An integer in JSON or in a query: what lies beyond 64 bits becomes the nearest that does not.
pub(super) fn saturating_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let beyond = if digits.len() < text.len() {
        i64::MIN
    } else {
        i64::MAX
    };
    Some(text.parse().unwrap_or(beyond))
}

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
            let folded = key.replace('_', "").to_ascii_lowercase();
            members.push(Member { key, folded, value });
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_are_found_whatever_their_case_and_underscores_and_the_last_wins() {
        let members = Members::parse(br#"{"Serial_Number":1,"SERIALNUMBER":2,"a":null}"#).unwrap();
        assert_eq!(members.raw("serialnumber"), Some("2"));
        assert!(members.has_exactly("Serial_Number") && !members.has_exactly("serialnumber"));
        assert!(members.has("a") && members.raw("a").is_none() && !members.has("b"));
        assert!(members.object("a").unwrap().0.is_empty());
    }

    #[test]
    fn only_one_whole_object_is_read() {
        for bad in [
            "",
            "null",
            "[]",
            "1",
            "{",
            "{}x",
            "{} {}",
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            "{a:1}",
            "{\"a\":\"\u{0}\"}",
        ] {
            assert!(Members::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(Members::parse(b"{\"a\":\"\xff\"}").is_err());
        assert!(Members::parse(b" {\"a\" : 1}\r\n\t ").is_ok());
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(30_000), "]".repeat(30_000));
        let _ = Members::parse(deep.as_bytes());
    }

    #[test]
    fn integers_are_read_exactly_or_to_the_nearest_that_fits() {
        for (text, value) in [
            ("7", Some(7)),
            ("-3", Some(-3)),
            ("-0", Some(0)),
            ("99999999999999999999", Some(i64::MAX)),
            ("-99999999999999999999", Some(i64::MIN)),
            ("7.0", None),
            ("1e2", None),
            ("\"7\"", None),
            ("+7", None),
            ("-", None),
            ("", None),
            ("٧", None),
        ] {
            assert_eq!(saturating_integer(text), value, "{text:?}");
        }
    }
}
