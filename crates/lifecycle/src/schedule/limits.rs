//! The limits of a directory, as it announces them or an operator sets them.

use serde_json::Value;

use super::limit::{DAY, HOUR, Limit};

/// What a directory allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Orders of our account there.
    pub orders: Option<Limit>,
    /// Certificates for the names of one registered domain.
    pub domain: Option<Limit>,
    /// Certificates for exactly the same names.
    pub duplicates: Option<Limit>,
    /// Failed validations of one name.
    pub failures: Option<Limit>,
    /// The share of [`Limits::orders`] that one account of ours can count on at a directory that
    /// several use, in percent. It gets more while as much is left for the others.
    pub share: u8,
    /// Orders that a node has under way at a time.
    pub concurrency: u32,
}

/// Why limits cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// Not of the form `300/3h`.
    #[error("`{0}` is no limit; write how many in which time, such as 300/3h, or none")]
    Limit(String),
    /// No such limit.
    #[error(
        "there is no limit named `{0}`; there are orders, domain, duplicates, failures, share and \
         concurrency"
    )]
    Name(String),
    /// A number that cannot be.
    #[error("`{name}` is a whole number from {least} to {most}")]
    Number {
        /// Of what.
        name: &'static str,
        /// The least it can be.
        least: u32,
        /// The most it can be.
        most: u32,
    },
    /// Not a JSON object.
    #[error("limits are a JSON object")]
    Form,
}

impl Default for Limits {
    fn default() -> Self {
        Self::LETS_ENCRYPT
    }
}

impl Limits {
    /// What Let's Encrypt announces (letsencrypt.org/docs/rate-limits). Its limits are among the
    /// tightest, so these are also assumed of directories of which nothing is known.
    pub const LETS_ENCRYPT: Self = Self {
        orders: Some(Limit::known(300, 3 * HOUR)),
        domain: Some(Limit::known(50, 7 * DAY)),
        duplicates: Some(Limit::known(5, 7 * DAY)),
        failures: Some(Limit::known(5, HOUR)),
        share: 50,
        concurrency: 32,
    };

    /// No limit at all.
    pub const NONE: Self = Self {
        orders: None,
        domain: None,
        duplicates: None,
        failures: None,
        share: 100,
        concurrency: 32,
    };

    /// Reads what [`Limits::to_json`] writes. What is not named is as Let's Encrypt has it; `null` and
    /// `"none"` mean that there is no such limit.
    ///
    /// # Errors
    /// What is wrong with the first that is wrong.
    pub fn from_json(text: &str) -> Result<Self, LimitsError> {
        let Ok(Value::Object(members)) = serde_json::from_str(text) else {
            return Err(LimitsError::Form);
        };
        let mut limits = Self::LETS_ENCRYPT;
        for (name, value) in members {
            let value = match value {
                Value::Null => "none".to_owned(),
                Value::String(value) => value,
                other => other.to_string(),
            };
            limits.set(&name, &value)?;
        }
        Ok(limits)
    }

    /// Changes the limit named `name`.
    ///
    /// # Errors
    /// [`LimitsError::Name`], or what is wrong with `value`.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), LimitsError> {
        match name {
            "orders" => self.orders = parse_limit(value)?,
            "domain" => self.domain = parse_limit(value)?,
            "duplicates" => self.duplicates = parse_limit(value)?,
            "failures" => self.failures = parse_limit(value)?,
            "share" => {
                let share = parse_number("share", value, 1, 100)?;
                self.share = u8::try_from(share).unwrap_or(100);
            }
            "concurrency" => self.concurrency = parse_number("concurrency", value, 1, 10_000)?,
            other => return Err(LimitsError::Name(other.to_owned())),
        }
        Ok(())
    }

    /// The limits as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = |limit: Option<Limit>| limit.map(|limit| limit.to_string());
        let limits = serde_json::json!({
            "orders": text(self.orders),
            "domain": text(self.domain),
            "duplicates": text(self.duplicates),
            "failures": text(self.failures),
            "share": self.share,
            "concurrency": self.concurrency,
        });
        limits.to_string()
    }

    /// What one account can count on of the orders.
    pub(super) fn of_account(&self) -> Option<Limit> {
        let orders = self.orders?;
        let burst = u64::from(orders.burst()) * u64::from(self.share) / 100;
        Limit::new(u32::try_from(burst.max(1)).ok()?, orders.period())
    }
}

fn parse_limit(value: &str) -> Result<Option<Limit>, LimitsError> {
    if value == "none" {
        return Ok(None);
    }
    value.parse().map(Some)
}

fn parse_number(
    name: &'static str,
    value: &str,
    least: u32,
    most: u32,
) -> Result<u32, LimitsError> {
    let number = value.parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or(LimitsError::Number { name, least, most })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn limits_are_read_as_they_are_written_and_start_from_those_of_lets_encrypt() {
        for limits in [Limits::LETS_ENCRYPT, Limits::NONE] {
            assert_eq!(Limits::from_json(&limits.to_json()), Ok(limits));
        }
        assert_eq!(Limits::from_json("{}"), Ok(Limits::default()));
        let changed = r#"{"orders": "10000/3h", "domain": null, "failures": "none", "share": 25}"#;
        let changed = Limits::from_json(changed).unwrap();
        assert_eq!(
            changed.orders,
            Limit::new(10_000, Duration::from_secs(3 * HOUR))
        );
        assert_eq!((changed.domain, changed.failures), (None, None));
        assert_eq!(changed.duplicates, Limits::LETS_ENCRYPT.duplicates);
        assert_eq!(changed.of_account().unwrap().burst(), 2500);
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in [
            "",
            "5",
            "/",
            "5/",
            "/h",
            "0/h",
            "-1/h",
            "5/0s",
            "5/3w",
            "5/1.5h",
            "5/h/h",
            "5/é",
            "4294967296/h",
            "5/99999999999999999999d",
            "5/367d",
            "five/h",
            "5/d ay",
        ] {
            assert_eq!(
                text.parse::<Limit>(),
                Err(LimitsError::Limit(text.to_owned()))
            );
        }
        for text in [
            "",
            "[]",
            "7",
            "{",
            r#"{"orders": 7}"#,
            r#"{"order": "7/h"}"#,
            r#"{"share": 0}"#,
        ] {
            assert!(Limits::from_json(text).is_err(), "{text}");
        }
        assert_eq!("5/h".parse::<Limit>().unwrap().to_string(), "5/1h");
    }
}
