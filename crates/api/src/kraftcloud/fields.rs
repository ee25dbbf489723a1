//! Objects in bodies whose unknown members mean nothing. Members are decoded when they are taken.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::body::Members;
use super::faults::{Code, Refusal};
use crate::json::{Value, decode, repeated_member};

/// The members of one object, not decoded yet. What is `null` counts as absent.
#[derive(Debug, Default)]
pub(super) struct Fields(HashMap<String, Box<RawValue>>);

impl Value for Fields {
    const KIND: &'static str = "an object";
}

impl Value for Vec<Fields> {
    const KIND: &'static str = "an array of objects";
}

impl Fields {
    /// The value of a member, if it is there.
    pub(super) fn take<T: Value>(&mut self, member: &'static str) -> Result<Option<T>, Refusal> {
        match self.0.remove(member) {
            Some(raw) => Ok(decode(member, &raw)?),
            None => Ok(None),
        }
    }

    /// The value of a member that must be there.
    pub(super) fn require<T: Value>(&mut self, member: &'static str) -> Result<T, Refusal> {
        self.take(member)?.ok_or_else(|| missing_member(member))
    }

    /// The text of a member; `""` counts as absent.
    pub(super) fn take_text(&mut self, member: &'static str) -> Result<Option<String>, Refusal> {
        let text: Option<String> = self.take(member)?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// The value of a member as it was sent.
    pub(super) fn take_raw(&mut self, member: &'static str) -> Option<Box<RawValue>> {
        self.0.remove(member).filter(|raw| raw.get() != "null")
    }
}

impl Members for Fields {
    fn take_identity(&mut self) -> Result<(Option<String>, Option<String>), Refusal> {
        Ok((self.take_text("uuid")?, self.take_text("name")?))
    }

    fn is_reference(&self) -> bool {
        self.0.contains_key("uuid") || self.0.contains_key("name")
    }

    fn require_bare_reference(&self) -> Result<(), Refusal> {
        Ok(())
    }
}

/// That a member is missing.
pub(super) fn missing_member(member: &str) -> Refusal {
    Refusal::form(Code::Malformed, format!("member '{member}' is missing"))
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = HashMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if fields.contains_key(&name) {
                return Err(A::Error::custom(repeated_member(&name)));
            }
            fields.insert(name, map.next_value()?);
        }
        Ok(Fields(fields))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Fields, E> {
        Err(E::custom("the array must hold objects, not strings"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::body::Document;
    use super::*;

    fn one(body: &str) -> Fields {
        let document = Document::<Fields>::read(body.as_bytes());
        let mut objects = document.ok().unwrap().into_objects();
        assert_eq!(objects.len(), 1, "{body}");
        objects.remove(0)
    }

    #[test]
    fn unknown_members_mean_nothing_and_null_counts_as_absent() {
        let mut fields = one(r#"{"a":{"b":[1,{}]},"name":"","uuid":null,"port":443,"x":null}"#);
        assert!(fields.is_reference());
        assert_eq!(fields.take_identity().unwrap(), (None, None));
        assert_eq!(fields.take::<i64>("port").unwrap(), Some(443));
        assert!(fields.take_raw("x").is_none());
        let refusal = fields.require::<i64>("x").unwrap_err();
        assert_eq!(refusal.code, Some(Code::Malformed));
    }

    #[test]
    fn refusals_name_the_member_and_never_repeat_its_value() {
        for (body, words) in [
            (r#"{"port":"SECRET"}"#, "'port' must be a whole number"),
            (r#"{"port":["SECRET"]}"#, "'port' must be a whole number"),
            (r#"{"port":1.5}"#, "'port' must be a whole number"),
            (r#"{"port":1e30}"#, "'port' must be a whole number"),
        ] {
            let refusal = one(body).take::<i64>("port").unwrap_err();
            assert_eq!(refusal.code, Some(Code::Malformed), "{body}");
            assert!(refusal.message.contains(words), "{}", refusal.message);
            assert!(!refusal.message.contains("SECRET"), "{}", refusal.message);
        }
        for (body, words) in [
            (r#"{"port":1,"port":"SECRET"}"#, "'port' is given twice"),
            (r#"{"-- SECRET":1,"-- SECRET":1}"#, "given twice"),
            (r#"["SECRET"]"#, "not strings"),
            (r#""SECRET""#, "not a string"),
            (r#"{"port":SECRET}"#, "not valid JSON"),
        ] {
            let refusal = Document::<Fields>::read(body.as_bytes()).err().unwrap();
            assert_eq!(refusal.code, Some(Code::Malformed), "{body}");
            assert!(refusal.message.contains(words), "{}", refusal.message);
            assert!(!refusal.message.contains("SECRET"), "{}", refusal.message);
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let deep = |open: &str| open.repeat(100_000);
        assert!(Document::<Fields>::read(deep("[").as_bytes()).is_err());
        let raw = format!("{{\"services\":{}{}}}", deep("["), deep("]"));
        if let Ok(document) = Document::<Fields>::read(raw.as_bytes()) {
            let mut objects = document.into_objects();
            let services = objects.remove(0).take::<Vec<Fields>>("services");
            assert!(services.is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Document::<Fields>::read(&body);
        }
    }
}
