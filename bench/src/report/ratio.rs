//! How two lines compare, and how they should.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// How two lines compare.
#[derive(Debug)]
pub(crate) struct Ratio {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) budget: Option<Budget>,
}

/// What a ratio should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    AtLeast(f64),
    AtMost(f64),
}

impl Ratio {
    /// How `value` compares with `floor`, both of any one unit.
    pub(crate) fn new(what: &str, value: f64, floor: f64, budget: Option<Budget>) -> Self {
        Self {
            what: what.to_owned(),
            value: value / floor,
            budget,
        }
    }

    /// How CPU times compare; nothing if the server's is unknown.
    pub(crate) fn of_cpu(
        what: &str,
        value: Option<Duration>,
        floor: Option<Duration>,
        budget: Option<Budget>,
    ) -> Option<Self> {
        let (value, floor) = (value?.as_secs_f64(), floor?.as_secs_f64());
        Some(Self::new(what, value, floor, budget))
    }

    pub(super) fn to_json(&self) -> Value {
        let (bound, limit) = match self.budget {
            Some(Budget::AtLeast(least)) => (Some("at_least"), Some(least)),
            Some(Budget::AtMost(most)) => (Some("at_most"), Some(most)),
            None => (None, None),
        };
        json!({
            "what": self.what,
            "value": self.value,
            "bound": bound,
            "limit": limit,
            "kept": self.is_kept(),
        })
    }

    fn is_kept(&self) -> Option<bool> {
        self.budget.map(|budget| match budget {
            Budget::AtLeast(least) => self.value >= least,
            Budget::AtMost(most) => self.value <= most,
        })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, value, .. } = self;
        write!(formatter, "{value:.2} = {what}")?;
        match self.budget {
            Some(Budget::AtLeast(least)) => write!(formatter, "; budget: at least {least}")?,
            Some(Budget::AtMost(most)) => write!(formatter, "; budget: at most {most}")?,
            None => {}
        }
        match self.is_kept() {
            Some(true) => formatter.write_str(", kept"),
            Some(false) => formatter.write_str(", MISSED"),
            None => Ok(()),
        }
    }
}
