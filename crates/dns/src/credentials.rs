//! What a provider wants to see before it changes a zone.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

/// Fields and their values. Neither shows in `Debug`: of the values, that they are there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(BTreeMap<String, Zeroizing<String>>);

impl Credentials {
    /// The value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    /// The names of the fields that have a value.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The JSON object that [`Credentials::from_json`] reads: for sealing, and for nothing else.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<String> {
        let fields: BTreeMap<&str, &str> = self
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        Zeroizing::new(serde_json::to_string(&fields).unwrap_or_default())
    }

    /// Reads a JSON object of texts; `None` if it is something else.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        let fields: BTreeMap<String, String> = serde_json::from_str(text).ok()?;
        Some(fields.into_iter().collect())
    }
}

impl FromIterator<(String, String)> for Credentials {
    fn from_iter<Fields: IntoIterator<Item = (String, String)>>(fields: Fields) -> Self {
        let fields = fields.into_iter();
        Self(
            fields
                .map(|(name, value)| (name, Zeroizing::new(value)))
                .collect(),
        )
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_survive_sealing_and_show_no_value() {
        let given = [("token".to_owned(), "s3cr3t".to_owned())];
        let credentials: Credentials = given.into_iter().collect();
        let read = Credentials::from_json(&credentials.to_json()).unwrap();
        assert_eq!(read, credentials);
        assert_eq!(read.field("token"), Some("s3cr3t"));
        assert_eq!(format!("{read:?}"), r#"{"token"}"#);
        assert!(Credentials::from_json(r#"{"token":1}"#).is_none());
    }
}
