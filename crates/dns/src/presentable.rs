//! What providers say, fit to be shown: without the credentials, which some of them repeat, in one
//! line, and short.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::Credentials;
use crate::kinds::is_secret;

/// Longest text that is shown, in characters.
const LONGEST: usize = 300;
/// What stands for a secret.
const HIDDEN: &str = "[hidden]";
/// Parts of a secret that are secret themselves are at least this long, in octets: the lines of a
/// key, and the members of a JSON object.
const SHORTEST_PART: usize = 12;

/// Makes a text fit to be shown.
pub(crate) fn presentable(text: &str, kind: &str, credentials: &Credentials) -> String {
    let mut text = text.to_owned();
    let mut secrets = secrets(kind, credentials);
    // What contains another secret goes first.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), HIDDEN);
    }
    let one_line: Vec<&str> = text.split_whitespace().collect();
    let one_line = one_line.join(" ");
    let printable = one_line.chars().filter(|character| !character.is_control());
    let mut shown: String = printable.take(LONGEST).collect();
    if one_line.chars().count() > LONGEST {
        shown.push('…');
    }
    shown
}

/// Every form in which the secrets may be repeated.
fn secrets(kind: &str, credentials: &Credentials) -> Vec<Zeroizing<String>> {
    let mut found = Vec::new();
    let is_secret = |name: &&str| is_secret(kind, name);
    for name in credentials.names().filter(is_secret) {
        let value = credentials.field(name).unwrap_or_default();
        add_forms(&mut found, value);
        if let Ok(value) = serde_json::from_str(value) {
            add_members(&mut found, &value);
        }
        // As it is sent in basic authentication (RFC 7617 section 2).
        for user in credentials.names() {
            let user = credentials.field(user).unwrap_or_default();
            let pair = Zeroizing::new(format!("{user}:{value}"));
            found.push(Zeroizing::new(STANDARD.encode(pair.as_bytes())));
        }
    }
    found
}

fn add_forms(found: &mut Vec<Zeroizing<String>>, value: &str) {
    found.push(Zeroizing::new(value.to_owned()));
    found.push(Zeroizing::new(value.trim().to_owned()));
    let escaped = utf8_percent_encode(value, NON_ALPHANUMERIC);
    found.push(Zeroizing::new(escaped.to_string()));
    if let Ok(quoted) = serde_json::to_string(value) {
        let quoted = Zeroizing::new(quoted);
        found.push(Zeroizing::new(quoted.trim_matches('"').to_owned()));
    }
    let lines = value.lines().map(str::trim);
    for line in lines.filter(|line| line.len() >= SHORTEST_PART) {
        found.push(Zeroizing::new(line.to_owned()));
    }
}

fn add_members(found: &mut Vec<Zeroizing<String>>, value: &serde_json::Value) {
    match value {
        serde_json::Value::String(text) if text.len() >= SHORTEST_PART => add_forms(found, text),
        serde_json::Value::Array(items) => {
            items.iter().for_each(|item| add_members(found, item));
        }
        serde_json::Value::Object(members) => {
            members.values().for_each(|item| add_members(found, item));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(fields: &[(&str, &str)]) -> Credentials {
        let fields = fields.iter();
        fields
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn secrets_are_hidden_in_whatever_form_they_are_repeated() {
        let given = credentials(&[("username", "me"), ("password", "p&ss\"word")]);
        let text = "no: p&ss\"word p%26ss%22word p&ss\\\"word bWU6cCZzcyJ3b3Jk me";
        assert_eq!(
            presentable(text, "httpreq", &given),
            "no: [hidden] [hidden] [hidden] [hidden] me"
        );
    }

    #[test]
    fn parts_of_keys_are_hidden_as_well() {
        let account = r#"{"private_key":"-----BEGIN-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n"}"#;
        let given = credentials(&[("service_account_json", account)]);
        let text = "bad key: hkiG9w0BAQEFAASC";
        let shown = presentable(text, "google", &given);
        assert_eq!(shown, "bad key: [hidden]");
    }

    #[test]
    fn a_text_is_one_short_line() {
        let text = format!("a\r\n\tb\u{1b}[31m {}", "x".repeat(1000));
        let shown = presentable(&text, "httpreq", &Credentials::default());
        assert!(shown.starts_with("a b[31m xxx") && shown.ends_with("x…"));
        assert_eq!(shown.chars().count(), LONGEST + 1);
    }
}
