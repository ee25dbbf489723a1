//! Bodies: JSON or a form, whatever the client declares, in the wrapper that the object is named
//! after or flat. No refusal repeats a value: it could be a private key in the wrong place.

use std::fmt;

use percent_encoding::percent_decode;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::faults::Fault;
use crate::json::repeated_member;

/// Most fields of a form.
const MAX_FIELDS: usize = 200;

/// Deepest nesting of a form's fields, as in `a[b][c]`.
const MAX_DEPTH: usize = 3;

/// A value as it was sent. In a form everything is a text.
#[derive(Debug, PartialEq)]
enum Value {
    Boolean(bool),
    List,
    Null,
    Number(Option<i64>),
    Object(Fields),
    Text(Zeroizing<String>),
}

/// The fields of one object. Names that nobody asks for mean nothing.
#[derive(Default, PartialEq)]
pub(super) struct Fields(Vec<(String, Value)>);

impl fmt::Debug for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        formatter.debug_set().entries(names).finish()
    }
}

impl Fields {
    /// Reads a body; an empty one has no fields.
    pub(super) fn read(octets: &[u8], wrapper: &'static str) -> Result<Self, Fault> {
        let text = octets.trim_ascii();
        let mut fields = if text.first() == Some(&b'{') {
            let read = serde_json::from_slice::<Value>(text);
            match read {
                Ok(Value::Object(fields)) => fields,
                Ok(_) => return Err(Fault::invalid("body", "the body must be an object")),
                // All texts are safe to show: of data they are our own, and of syntax they are fixed.
                Err(error) => {
                    let reason = format!("the body is not valid JSON: {error}");
                    return Err(Fault::invalid("body", reason));
                }
            }
        } else {
            form(text)?
        };
        match fields.take(wrapper) {
            Some(Value::Object(wrapped)) => Ok(wrapped),
            Some(_) => Err(Fault::invalid(wrapper, "must be an object")),
            None => Ok(fields),
        }
    }

    /// The text of a field; `None` if it is absent or null.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<Zeroizing<String>>, Fault> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(Fault::invalid(name, "must be a string")),
        }
    }

    /// The text of a field; `None` also if it is blank.
    pub(super) fn filled(
        &mut self,
        name: &'static str,
    ) -> Result<Option<Zeroizing<String>>, Fault> {
        let text = self.text(name)?;
        Ok(text.filter(|text| !text.trim().is_empty()))
    }

    /// A field that is true or false, or one of the words for it.
    pub(super) fn flag(
        &mut self,
        name: &'static str,
        words: &[(&str, bool)],
    ) -> Result<Option<bool>, Fault> {
        let wrong = || Fault::invalid(name, "must be true or false");
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(flag)),
            Some(Value::Number(Some(number @ (0 | 1)))) => Ok(Some(number == 1)),
            Some(Value::Text(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "" | "0" | "false" => Ok(Some(false)),
                "1" | "true" => Ok(Some(true)),
                other => {
                    let known = words.iter().find(|(word, _)| *word == other);
                    known.map(|(_, flag)| Some(*flag)).ok_or_else(wrong)
                }
            },
            Some(_) => Err(wrong()),
        }
    }

    /// A field that is a whole number, or the digits of one.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<i64>, Fault> {
        let wrong = || Fault::invalid(name, "must be a whole number");
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => number.map(Some).ok_or_else(wrong),
            Some(Value::Text(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::Text(text)) => text.trim().parse().map(Some).map_err(|_| wrong()),
            Some(_) => Err(wrong()),
        }
    }

    /// A field that is an object; `None` if it is absent or null.
    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Self>, Fault> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(fields)),
            Some(_) => Err(Fault::invalid(name, "must be an object")),
        }
    }

    /// All fields, each as a text; those that are null are left out.
    pub(super) fn texts(
        self,
        name: &'static str,
    ) -> Result<Vec<(String, Zeroizing<String>)>, Fault> {
        let mut texts = Vec::with_capacity(self.0.len());
        for (field, value) in self.0 {
            let text = match value {
                Value::Null => continue,
                Value::Text(text) => text,
                Value::Number(Some(number)) => Zeroizing::new(number.to_string()),
                _ => return Err(Fault::invalid(name, "must be an object of texts")),
            };
            texts.push((field, text));
        }
        Ok(texts)
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Puts a value where the path leads, as in `a[b][c]`.
    fn put(&mut self, path: &[&str], text: Zeroizing<String>) -> Result<(), Fault> {
        let Some((name, rest)) = path.split_first() else {
            return Ok(());
        };
        let place = self.0.iter().position(|(key, _)| key == name);
        if rest.is_empty() {
            if place.is_some() {
                return Err(Fault::invalid("body", repeated_member(name)));
            }
            self.0.push(((*name).to_owned(), Value::Text(text)));
            return Ok(());
        }
        let place = place.unwrap_or(self.0.len());
        if place == self.0.len() {
            self.0
                .push(((*name).to_owned(), Value::Object(Self::default())));
        }
        match self.0.get_mut(place) {
            Some((_, Value::Object(inner))) => inner.put(rest, text),
            _ => Err(Fault::invalid("body", repeated_member(name))),
        }
    }
}

/// Reads `application/x-www-form-urlencoded`.
fn form(text: &[u8]) -> Result<Fields, Fault> {
    let not_utf8 = || Fault::invalid("body", "the form is not UTF-8");
    let mut fields = Fields::default();
    let pairs = text.split(|byte| *byte == b'&');
    for (number, pair) in pairs.filter(|pair| !pair.is_empty()).enumerate() {
        if number == MAX_FIELDS {
            let reason = format!("a form has at most {MAX_FIELDS} fields");
            return Err(Fault::invalid("body", reason));
        }
        let (key, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(place) => (pair.get(..place), pair.get(place + 1..)),
            None => (Some(pair), None),
        };
        let key = decoded(key.unwrap_or_default()).ok_or_else(not_utf8)?;
        let value = decoded(value.unwrap_or_default()).ok_or_else(not_utf8)?;
        let path = key
            .split('[')
            .map(|part| part.strip_suffix(']').unwrap_or(part));
        let path: Vec<&str> = path.collect();
        if path.len() > MAX_DEPTH {
            return Err(Fault::invalid(
                "body",
                "the form's fields are nested too deeply",
            ));
        }
        fields.put(&path, value)?;
    }
    Ok(fields)
}

fn decoded(raw: &[u8]) -> Option<Zeroizing<String>> {
    let spaced: Zeroizing<Vec<u8>> = Zeroizing::new(
        raw.iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect(),
    );
    let octets: Vec<u8> = percent_decode(&spaced).collect();
    match String::from_utf8(octets) {
        Ok(text) => Some(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            None
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Boolean(flag))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number(None))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(Some(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(i64::try_from(number).ok()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<Value>()?.is_some() {}
        Ok(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<String>()? {
            if fields.0.len() == MAX_FIELDS {
                return Err(A::Error::custom("an object has too many members"));
            }
            if fields.0.iter().any(|(key, _)| *key == name) {
                return Err(A::Error::custom(repeated_member(&name)));
            }
            fields.0.push((name, map.next_value()?));
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const WRAPPER: &str = "ssl_certificate";

    fn fields(body: &str) -> Fields {
        Fields::read(body.as_bytes(), WRAPPER).unwrap()
    }

    #[test]
    fn both_forms_say_the_same_with_and_without_the_wrapper() {
        for body in [
            r#"{"ssl_certificate":{"type":"manual","server_names":"a.test, b.test"}}"#,
            r#" {"type":"manual","server_names":"a.test, b.test"}"#,
            "ssl_certificate[type]=manual&ssl_certificate[server_names]=a.test%2C+b.test",
            "ssl_certificate%5Btype%5D=manual&ssl_certificate%5Bserver_names%5D=a.test,%20b.test",
            "type=manual&&server_names=a.test,+b.test",
        ] {
            let mut fields = fields(body);
            let text = |found: Option<Zeroizing<String>>| found.unwrap().to_string();
            assert_eq!(text(fields.text("type").unwrap()), "manual", "{body}");
            assert_eq!(text(fields.text("server_names").unwrap()), "a.test, b.test");
            assert_eq!(fields.text("other").unwrap(), None);
        }
    }

    #[test]
    fn flags_are_words_or_numbers_or_themselves() {
        let words = [("haproxy", true), ("nginx", false)];
        for (value, flag) in [
            ("true", Some(true)),
            ("1", Some(true)),
            ("0", Some(false)),
            (r#""TRUE""#, Some(true)),
            (r#""""#, Some(false)),
            (r#""nginx""#, Some(false)),
            (r#""haproxy""#, Some(true)),
            ("null", None),
        ] {
            let mut fields = fields(&format!(r#"{{"f":{value}}}"#));
            assert_eq!(fields.flag("f", &words).unwrap(), flag, "{value}");
        }
        for value in ["2", "[]", "{}", r#""yes""#, "1.0"] {
            let mut fields = fields(&format!(r#"{{"f":{value}}}"#));
            assert!(fields.flag("f", &words).is_err(), "{value}");
        }
        assert_eq!(fields("f=").flag("f", &words).unwrap(), Some(false));
    }

    #[test]
    fn numbers_may_be_texts() {
        for (value, number) in [
            ("7", Some(7)),
            (r#""7""#, Some(7)),
            ("null", None),
            (r#""""#, None),
        ] {
            let mut fields = fields(&format!(r#"{{"n":{value}}}"#));
            assert_eq!(fields.number("n").unwrap(), number, "{value}");
        }
        for value in ["7.5", "1e99", "18446744073709551615", r#""x""#, "true"] {
            let mut fields = fields(&format!(r#"{{"n":{value}}}"#));
            assert!(fields.number("n").is_err(), "{value}");
        }
    }

    #[test]
    fn objects_are_nested_in_both_forms() {
        for body in [
            r#"{"dns_provider":{"credentials":{"token":"t"}}}"#,
            "dns_provider[credentials][token]=t",
            "credentials[token]=t",
        ] {
            let mut fields = Fields::read(body.as_bytes(), "dns_provider").unwrap();
            let mut inner = fields.object("credentials").unwrap().unwrap();
            assert_eq!(
                inner.text("token").unwrap().unwrap().as_str(),
                "t",
                "{body}"
            );
        }
    }

    #[test]
    fn refusals_never_repeat_a_value() {
        for body in [
            r#"{"type":"SECRET","#,
            r#"{"ssl_certificate":"SECRET"}"#,
            r#"{"ssl_certificate":["SECRET"]}"#,
            r#"{"type":"a","type":"SECRET"}"#,
            r#"{"type":SECRET}"#,
            "type=a&type=SECRET",
            "type=a&type[x]=SECRET",
            "a[b][c][d]=SECRET",
            "type=SECRET%ff",
        ] {
            let fault = Fields::read(body.as_bytes(), WRAPPER).unwrap_err();
            assert!(
                !format!("{fault:?}").contains("SECRET"),
                "{body}: {fault:?}"
            );
        }
        let many = (0..=MAX_FIELDS)
            .map(|number| format!("a{number}=1&"))
            .collect::<String>();
        assert!(Fields::read(many.as_bytes(), WRAPPER).is_err());
        let deep = format!(r#"{{"a":{}"#, "[".repeat(100_000));
        assert!(Fields::read(deep.as_bytes(), WRAPPER).is_err());
    }

    #[test]
    fn what_is_shown_of_fields_are_their_names() {
        let fields = fields(r#"{"key":"SECRET"}"#);
        assert_eq!(format!("{fields:?}"), r#"{"key"}"#);
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Fields::read(&body, WRAPPER);
        }

        #[test]
        fn any_text_survives_both_forms(value in ".+") {
            let encoded = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
            let form = format!("type={encoded}");
            let json = serde_json::json!({ "type": value }).to_string();
            for body in [form, json] {
                let text = fields(&body).text("type").unwrap().unwrap();
                prop_assert_eq!(text.as_str(), &value);
            }
        }
    }
}
