//! How JSON becomes [`CertificateMembers`]. Messages are our own: those of the decoder repeat values.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::members::{CertificateMembers, Member};
use crate::json::{repeated_member, unknown_member};

impl<'de> Deserialize<'de> for CertificateMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = CertificateMembers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CertificateMembers, A::Error> {
        let mut members = CertificateMembers::default();
        while let Some(Key(key)) = map.next_key()? {
            if key == "metro" {
                // A ref may say in which metro its object lives; this server is one metro.
                map.next_value::<IgnoredAny>()?;
                members.present.push("metro");
                continue;
            }
            let Some(member) = Member::named(&key) else {
                return Err(A::Error::custom(unknown_member(&key)));
            };
            let name = member.as_str();
            let text = match map.next_value()? {
                Text::Absent => None,
                Text::Given(text) => Some(text),
                Text::Wrong(kind) => {
                    let message = format!("member '{name}' must be a string, not {kind}");
                    return Err(A::Error::custom(message));
                }
            };
            if members.has(name) {
                return Err(A::Error::custom(repeated_member(name)));
            }
            members.put(member, text);
        }
        Ok(members)
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<CertificateMembers, E> {
        Err(E::custom("the array must hold objects, not strings"))
    }
}

/// A member's name.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key(String);

/// A member's value.
enum Text {
    Absent,
    Given(String),
    Wrong(&'static str),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text::Absent)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Text, E> {
        Ok(if text.is_empty() {
            Text::Absent
        } else {
            Text::Given(text)
        })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
        Ok(Text::Wrong("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Text, E> {
        Ok(Text::Wrong("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Text, E> {
        Ok(Text::Wrong("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
        Ok(Text::Wrong("a number"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Text, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text::Wrong("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text::Wrong("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kraftcloud::body;
    use crate::kraftcloud::faults::{Code, Refusal};

    type Document = body::Document<CertificateMembers>;

    fn refusal(body: &str) -> Refusal {
        match Document::read(body.as_bytes()) {
            Ok(_) => panic!("accepted: {body}"),
            Err(refusal) => refusal,
        }
    }

    #[test]
    fn refusals_name_the_member_and_never_repeat_its_value() {
        for (body, named) in [
            (
                r#"{"pkey":["SECRET"]}"#,
                "'pkey' must be a string, not an array",
            ),
            (
                r#"{"cn":{"a":"SECRET"}}"#,
                "'cn' must be a string, not an object",
            ),
            (r#"{"chain":17}"#, "'chain' must be a string, not a number"),
            (r#"{"name":1.5e3}"#, "'name' must be a string, not a number"),
            (r#"{"name":true}"#, "'name' must be a string, not a boolean"),
            (r#"{"foo":"SECRET"}"#, "unknown member 'foo'"),
            (r#"{"-----BEGIN SECRET":1}"#, "unknown member"),
            (r#"{"name":"a","name":"SECRET"}"#, "'name' is given twice"),
            (r#""SECRET""#, "not a string"),
            (r#"["SECRET"]"#, "not strings"),
            (r#"[null]"#, "expected an object"),
            (r#"[[]]"#, "expected an object"),
            ("17", "expected an object or an array"),
        ] {
            let refusal = refusal(body);
            assert_eq!(refusal.code, Some(Code::Malformed), "{body}");
            assert!(
                refusal.message.contains(named),
                "{body}: {}",
                refusal.message
            );
            assert!(!refusal.message.contains("SECRET"), "{}", refusal.message);
        }
    }

    #[test]
    fn only_strict_json_is_read() {
        for body in [
            "{'name':'c1'}",
            r#"{"name":"c1",}"#,
            r#"[{"name":"c1"}"#,
            r#"{"name":"c1"}{}"#,
            r#"{"name":"\ud800"}"#,
            "{\"name\":\"a\nb\"}",
            "\u{feff}{}",
            "{name:1}",
        ] {
            let refusal = refusal(body);
            assert_eq!(refusal.code, Some(Code::Malformed), "{body}");
        }
        assert!(Document::read(b"{\"name\":\"\xff\"}").is_err());
        assert!(Document::read("[".repeat(100_000).as_bytes()).is_err());
    }
}
