//! Bodies: one JSON object, or nothing. Members that nobody asks for are passed over. No refusal
//! repeats a value: it could be a private key in the wrong place.

use std::collections::HashMap;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::json::{Malformed, decode};

/// The members of a body, not decoded yet; of several with one name, the last.
pub(super) struct Members<'a>(HashMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// Reads a body; a blank one has no members.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        if body.trim_ascii().is_empty() {
            return Ok(Self(HashMap::new()));
        }
        let text =
            std::str::from_utf8(body).map_err(|_| Malformed::new("the body is not in UTF-8"))?;
        // The type of the whole is looked at first: a wrong one would be repeated.
        let whole: &RawValue = serde_json::from_str(text).map_err(|error| {
            Malformed::new(&format!(
                "the body is not valid JSON: line {} column {}",
                error.line(),
                error.column()
            ))
        })?;
        if !whole.get().starts_with('{') {
            return Err(Malformed::new("the body must be a JSON object"));
        }
        let members = serde_json::from_str(whole.get());
        members
            .map(Self)
            .map_err(|_| Malformed::new("the body must be a JSON object"))
    }

    /// The text of a member without the blanks around it; `None` if it is absent, null or blank.
    pub(super) fn text(
        &self,
        member: &'static str,
    ) -> Result<Option<Zeroizing<String>>, Malformed> {
        let Some(raw) = self.0.get(member) else {
            return Ok(None);
        };
        let text: Option<Zeroizing<String>> = decode(member, raw)?;
        let text = text.map(|text| Zeroizing::new(text.trim().to_owned()));
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// The same, where a member that is absent is an empty text.
    pub(super) fn text_or_empty(&self, member: &'static str) -> Result<String, Malformed> {
        let text = self.text(member)?;
        Ok(text
            .map(|mut text| std::mem::take(&mut *text))
            .unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(body: &[u8]) -> String {
        let read = Members::read(body).and_then(|members| members.text("key"));
        read.unwrap_err().to_string()
    }

    #[test]
    fn absent_null_and_blank_are_the_same() {
        for body in [
            "",
            " \r\n\t",
            "{}",
            r#"{"key":null}"#,
            r#"{"key":""}"#,
            r#"{"key":" \n "}"#,
            r#"{"other":{"key":"x"}}"#,
        ] {
            let members = Members::read(body.as_bytes()).unwrap();
            assert_eq!(members.text("key").unwrap(), None, "{body}");
            assert_eq!(members.text_or_empty("key").unwrap(), "", "{body}");
        }
        let members = Members::read(br#" {"key":" a\nb ", "key2":5} "#).unwrap();
        assert_eq!(members.text_or_empty("key").unwrap(), "a\nb");
    }

    #[test]
    fn whatever_is_not_one_object_of_strings_is_refused_without_repeating_it() {
        for body in [
            r#""SECRET""#,
            r#"["SECRET"]"#,
            "5",
            "null",
            "{",
            r#"{"key":"SECRET",}"#,
            r#"{"key":"SECRET"} x"#,
            r#"{"key":["SECRET"]}"#,
            r#"{"key":5}"#,
            r#"{"key":true}"#,
            r#"{'key':'SECRET'}"#,
            "-----BEGIN SECRET",
            "\u{feff}{}",
        ] {
            let fault = fault(body.as_bytes());
            assert!(!fault.contains("SECRET"), "{body}: {fault}");
        }
        assert!(fault(b"{\"key\":\"\xff\"}").contains("UTF-8"));
        assert!(fault(b"{\"key\":\"\\ud800\"}").contains("'key' must be a string"));
        let deep = format!("{{\"key\":{}1{}}}", "[".repeat(30_000), "]".repeat(30_000));
        fault(deep.as_bytes());
    }
}
