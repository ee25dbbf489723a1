//! JSON objects from clients, read so that no refusal repeats a value: it could be a private key
//! in the wrong place. Messages name members and places alone.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// Longest name of an unknown member that is worth repeating, in octets.
const NAME_SHOWN: usize = 32;

/// The members of one object, each of them known and given once, not decoded yet.
pub(crate) struct Object<'a>(Vec<(&'static str, &'a RawValue)>);

/// What is wrong with a body, to be shown to its sender.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(String);

impl Malformed {
    /// A fault of more than one member. `reason` repeats no value.
    pub(crate) fn new(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// A type that members have.
pub(crate) trait Value: DeserializeOwned {
    /// What a member of this type must be, as in "must be a string".
    const KIND: &'static str;
}

impl Value for String {
    const KIND: &'static str = "a string";
}

impl Value for Zeroizing<String> {
    const KIND: &'static str = "a string";
}

impl Value for Vec<String> {
    const KIND: &'static str = "an array of strings";
}

impl Value for BTreeMap<String, String> {
    const KIND: &'static str = "an object whose members are strings";
}

impl Value for bool {
    const KIND: &'static str = "true or false";
}

impl Value for i64 {
    const KIND: &'static str = "a whole number";
}

impl Value for u32 {
    const KIND: &'static str = "a whole number from 0 to 4294967295";
}

impl<'a> Object<'a> {
    /// Reads one object that has no other members than `known`, and nothing after it.
    pub(crate) fn read(body: &'a [u8], known: &'static [&'static str]) -> Result<Self, Malformed> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let read = ObjectSeed(known).deserialize(&mut deserializer);
        let read = read.and_then(|object| deserializer.end().map(|()| object));
        // All texts are safe to show: of data they are our own, and of syntax they are fixed.
        read.map_err(|error| {
            Malformed(if error.is_data() {
                error.to_string()
            } else {
                format!("the body is not valid JSON: {error}")
            })
        })
    }

    /// The value of a member; `None` if it is absent or null.
    pub(crate) fn take<T: Value>(&mut self, member: &'static str) -> Result<Option<T>, Malformed> {
        let Some(place) = self.0.iter().position(|(name, _)| *name == member) else {
            return Ok(None);
        };
        let (_, raw) = self.0.swap_remove(place);
        decode(member, raw)
    }

    /// The value of a member that must be there.
    pub(crate) fn require<T: Value>(&mut self, member: &'static str) -> Result<T, Malformed> {
        self.take(member)?
            .ok_or_else(|| Malformed(format!("member '{member}' is missing")))
    }
}

/// The value of a member; `None` if it is null.
pub(crate) fn decode<T: Value>(member: &str, raw: &RawValue) -> Result<Option<T>, Malformed> {
    // The decoder's own text repeats the value.
    serde_json::from_str(raw.get())
        .map_err(|_| Malformed(format!("member '{member}' must be {}", T::KIND)))
}

/// Says that a request has no member of this name, which is repeated only if it looks like one.
pub(crate) fn unknown_member(name: &str) -> String {
    if is_shown(name) {
        format!("unknown member '{name}'")
    } else {
        "unknown member".to_owned()
    }
}

/// Says that an object has a member twice; its name is repeated only if it looks like one.
pub(crate) fn repeated_member(name: &str) -> String {
    if is_shown(name) {
        format!("member '{name}' is given twice")
    } else {
        "a member is given twice".to_owned()
    }
}

fn is_shown(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    name.len() <= NAME_SHOWN && name.bytes().all(is_word)
}

/// The same text, cut where it would repeat a PEM file.
pub(crate) fn without_pem(mut text: String) -> String {
    if let Some(start) = text.find("-----BEGIN") {
        text.truncate(start);
        text.push_str("(PEM left out)");
    }
    text
}

struct ObjectSeed(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for ObjectSeed {
    type Value = Object<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object<'de>, D::Error> {
        // Not `deserialize_map`, which repeats a string that stands in the object's place.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed {
    type Value = Object<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut members: Vec<(&'static str, &'de RawValue)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let Some(known) = self.0.iter().find(|known| **known == key) else {
                return Err(A::Error::custom(unknown_member(&key)));
            };
            if members.iter().any(|(member, _)| member == known) {
                return Err(A::Error::custom(repeated_member(known)));
            }
            members.push((known, map.next_value()?));
        }
        Ok(Object(members))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Object<'de>, E> {
        Err(E::custom("the body must be an object, not a string"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["days", "flag", "list", "text"];

    fn fault(body: &str) -> String {
        let read = Object::read(body.as_bytes(), KNOWN).and_then(|mut object| {
            object.take::<i64>("days")?;
            object.take::<bool>("flag")?;
            object.take::<Vec<String>>("list")?;
            object.require::<String>("text")
        });
        read.unwrap_err().to_string()
    }

    #[test]
    fn members_are_found_whatever_their_order_and_null_counts_as_absent() {
        let body = br#" {"text":"a\nb","days":-7,"list":["x"],"flag":null} "#;
        let mut object = Object::read(body, KNOWN).unwrap();
        assert_eq!(object.take("days").unwrap(), Some(-7_i64));
        assert_eq!(object.take::<bool>("flag").unwrap(), None);
        assert_eq!(object.take("list").unwrap(), Some(vec!["x".to_owned()]));
        assert_eq!(object.require::<String>("text").unwrap(), "a\nb");
    }

    #[test]
    fn refusals_say_where_and_what_but_never_repeat_a_value() {
        for (body, words) in [
            (r#""SECRET""#, "must be an object, not a string"),
            (r#"["SECRET"]"#, "expected an object"),
            (r#"{"text":["SECRET"]}"#, "'text' must be a string"),
            (r#"{"list":"SECRET"}"#, "'list' must be an array of strings"),
            (
                r#"{"list":[{"a":"SECRET"}]}"#,
                "'list' must be an array of strings",
            ),
            (r#"{"flag":"SECRET"}"#, "'flag' must be true or false"),
            (r#"{"days":"SECRET"}"#, "'days' must be a whole number"),
            (r#"{"txt":"SECRET"}"#, "unknown member 'txt'"),
            (r#"{"text":"a","text":"SECRET"}"#, "'text' is given twice"),
            ("{}", "'text' is missing"),
            (r#"{"text":"SECRET"#, "not valid JSON"),
            (r#"{"text":SECRET}"#, "line 1 column 9"),
            (r#"{"text":"SECRET"} x"#, "trailing"),
            ("-----BEGIN SECRET", "not valid JSON"),
        ] {
            let fault = fault(body);
            assert!(fault.contains(words), "{body}: {fault}");
            assert!(!fault.contains("SECRET"), "{body}: {fault}");
        }
    }

    #[test]
    fn a_member_that_does_not_look_like_one_is_not_repeated() {
        for name in ["-----BEGIN SECRET", &"S".repeat(64), "ü", "a\u{0}"] {
            assert_eq!(unknown_member(name), "unknown member");
        }
    }

    #[test]
    fn a_text_ends_where_pem_begins() {
        let cut = without_pem("no authority '-----BEGIN SECRET'".to_owned());
        assert_eq!(cut, "no authority '(PEM left out)");
        assert_eq!(without_pem("'a'".to_owned()), "'a'");
    }
}
