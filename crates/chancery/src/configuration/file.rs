//! A section of the configuration file that is emptied as it is read: what is left at the end are
//! keys that nobody knows.

use toml::{Table, Value};

use super::Fault;

/// A table of the file, and the faults found in it so far.
#[derive(Debug)]
pub(super) struct Section {
    prefix: String,
    table: Table,
    faults: Vec<Fault>,
}

impl Section {
    pub(super) fn new(table: Table) -> Self {
        Self {
            prefix: String::new(),
            table,
            faults: Vec::new(),
        }
    }

    pub(super) fn fault(&mut self, key: &str, reason: impl Into<String>) {
        self.faults
            .push(Fault::new(format!("{}{key}", self.prefix), reason));
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) => Some(text),
            other => self.mistyped(key, &other, "a string"),
        }
    }

    pub(super) fn boolean(&mut self, key: &str) -> Option<bool> {
        match self.table.remove(key)? {
            Value::Boolean(value) => Some(value),
            other => self.mistyped(key, &other, "true or false"),
        }
    }

    /// A whole number that is not negative and fits.
    pub(super) fn number(&mut self, key: &str) -> Option<u32> {
        match self.table.remove(key)? {
            Value::Integer(number) => match u32::try_from(number) {
                Ok(number) => Some(number),
                Err(_) => {
                    self.fault(key, format!("{number} is out of range"));
                    None
                }
            },
            other => self.mistyped(key, &other, "a number"),
        }
    }

    /// A string, or a number as its digits.
    pub(super) fn text_or_number(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) => Some(text),
            Value::Integer(number) => Some(number.to_string()),
            other => self.mistyped(key, &other, "a string or a number"),
        }
    }

    /// A string, or an array of strings.
    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.table.remove(key)?;
        let values = match value {
            Value::Array(values) => values,
            single => vec![single],
        };
        let mut texts = Vec::new();
        for value in values {
            match value {
                Value::String(text) => texts.push(text),
                other => return self.mistyped(key, &other, "a string or an array of strings"),
            }
        }
        Some(texts)
    }

    /// What a flag or the environment gave, or else the text of the file. The key is read in any
    /// case: that it was overruled does not make it unknown.
    pub(super) fn text_unless(&mut self, given: Option<String>, key: &str) -> Option<String> {
        let text = self.text(key);
        given.or(text)
    }

    /// As [`Self::text_unless`], with texts. None given leave it to the file.
    pub(super) fn texts_unless(&mut self, given: Vec<String>, key: &str) -> Option<Vec<String>> {
        let texts = self.texts(key);
        if given.is_empty() { texts } else { Some(given) }
    }

    /// As [`Self::text_unless`], with `true` or `false`.
    pub(super) fn boolean_unless(&mut self, given: Option<bool>, key: &str) -> Option<bool> {
        let value = self.boolean(key);
        given.or(value)
    }

    pub(super) fn section(&mut self, key: &str) -> Self {
        let table = match self.table.remove(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.mistyped::<()>(key, &other, "a table");
                Table::new()
            }
        };
        Self {
            prefix: format!("{}{key}.", self.prefix),
            table,
            faults: Vec::new(),
        }
    }

    /// Takes over the faults of a section that was read.
    pub(super) fn absorb(&mut self, section: Self) {
        self.faults.extend(section.finish());
    }

    /// All faults, those for unknown keys included.
    pub(super) fn finish(mut self) -> Vec<Fault> {
        let unknown: Vec<String> = self.table.keys().cloned().collect();
        for key in unknown {
            self.fault(&key, "unknown key");
        }
        self.faults
    }

    fn mistyped<T>(&mut self, key: &str, value: &Value, wanted: &str) -> Option<T> {
        self.fault(key, format!("is {} but must be {wanted}", value.type_str()));
        None
    }
}
