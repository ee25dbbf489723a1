//! One way to say a statement and to read a row, whatever the database.
//!
//! Statements are written once, with `?` for each value; the two databases differ in how the mark
//! is spelled and in nothing else that the rest of the crate can see.

use std::borrow::Cow;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, Postgres, Row as _, Sqlite};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::Error;

/// A value to be bound. Identifiers and fixed texts are cheap to copy, because the rows of a batch
/// are copied into every statement that is tried with them. Carries its type even when it is null, because PostgreSQL wants to know.
#[derive(Clone)]
pub(crate) enum Value {
    Boolean(bool),
    Bytes(Option<Vec<u8>>),
    Id(Option<[u8; 16]>),
    Integer(Option<i64>),
    Text(Option<Cow<'static, str>>),
}

/// The text of a statement together with the values of its `?` marks, in order.
#[derive(Clone)]
pub(crate) struct Statement {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

impl Statement {
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            text: text.into(),
            values: Vec::new(),
        }
    }

    /// A statement over many values at once; `text` holds one `?` for each.
    pub(crate) fn with_values(text: String, values: Vec<Value>) -> Self {
        Self {
            text: Cow::Owned(text),
            values,
        }
    }

    /// Gives the next `?` its value.
    #[must_use]
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Appends text. It must be our own, never something a user wrote.
    #[must_use]
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Asks for the plan instead of the rows.
    #[cfg(test)]
    pub(crate) fn explained(mut self, how: &str) -> Self {
        self.text = format!("{how} {}", self.text).into();
        self
    }

    /// Appends `(?, ?, …)` with these values. The length is rounded up to a power of two by
    /// repeating the last value, so that few different statements exist and stay prepared.
    #[must_use]
    pub(crate) fn list(mut self, values: impl IntoIterator<Item = impl Into<Value>>) -> Self {
        let mut values: Vec<Value> = values.into_iter().map(Into::into).collect();
        if let Some(last) = values.last().cloned() {
            values.resize(values.len().next_power_of_two(), last);
        }
        self = self.text("(");
        for (index, value) in values.into_iter().enumerate() {
            self = self.text(if index == 0 { "?" } else { ", ?" }).bind(value);
        }
        self.text(")")
    }

    pub(crate) fn for_sqlite(self) -> Result<(String, SqliteArguments), Error> {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(self.values.len(), 0);
        for value in self.values {
            match value {
                Value::Boolean(value) => arguments.add(value),
                Value::Bytes(value) => arguments.add(value),
                Value::Id(value) => arguments.add(value.map(|id| id.to_vec())),
                Value::Integer(value) => arguments.add(value),
                Value::Text(value) => arguments.add(value),
            }
            .map_err(|error| Error::from_sqlx(sqlx::Error::Encode(error)))?;
        }
        Ok((self.text.into_owned(), arguments))
    }

    pub(crate) fn for_postgres(self) -> Result<(String, PgArguments), Error> {
        let mut arguments = PgArguments::default();
        arguments.reserve(self.values.len(), 0);
        for value in self.values {
            match value {
                Value::Boolean(value) => arguments.add(value),
                Value::Bytes(value) => arguments.add(value),
                Value::Id(value) => arguments.add(value.map(|id| id.to_vec())),
                Value::Integer(value) => arguments.add(value),
                Value::Text(value) => arguments.add(value),
            }
            .map_err(|error| Error::from_sqlx(sqlx::Error::Encode(error)))?;
        }
        Ok((numbered(&self.text), arguments))
    }
}

/// A row of a result; its columns are taken from left to right.
pub(crate) struct Row {
    cells: Cells,
    next: usize,
}

impl Row {
    pub(crate) fn sqlite(row: SqliteRow) -> Self {
        Self {
            cells: Cells::Sqlite(row),
            next: 0,
        }
    }

    pub(crate) fn postgres(row: PgRow) -> Self {
        Self {
            cells: Cells::Postgres(row),
            next: 0,
        }
    }

    /// The next column.
    pub(crate) fn take<T: FromColumn>(&mut self) -> Result<T, Error> {
        let index = self.next;
        self.next += 1;
        T::from_column(self, index)
    }

    fn native<T>(&self, index: usize) -> Result<T, Error>
    where
        T: for<'row> sqlx::Decode<'row, Sqlite> + sqlx::Type<Sqlite>,
        T: for<'row> sqlx::Decode<'row, Postgres> + sqlx::Type<Postgres>,
    {
        match &self.cells {
            Cells::Sqlite(row) => row.try_get(index),
            Cells::Postgres(row) => row.try_get(index),
        }
        .map_err(Error::from_sqlx)
    }
}

/// What a column can be read as.
pub(crate) trait FromColumn: Sized {
    fn from_column(row: &Row, index: usize) -> Result<Self, Error>;
}

/// Milliseconds would be enough for people; microseconds are what PostgreSQL users expect.
pub(crate) fn to_microseconds(at: OffsetDateTime) -> i64 {
    let microseconds = at.unix_timestamp_nanos().div_euclid(1_000);
    // The calendar of `time` ends in the year 9999, far inside the range.
    i64::try_from(microseconds).unwrap_or(i64::MAX)
}

/// Puts `count` groups of `columns` marks behind each other: `(?, ?), (?, ?)`.
pub(crate) fn row_marks(count: usize, columns: usize) -> String {
    let mut group = String::with_capacity(columns * 3 + 2);
    group.push('(');
    for column in 0..columns {
        group.push_str(if column == 0 { "?" } else { ", ?" });
    }
    group.push(')');
    let mut marks = String::with_capacity(count * (group.len() + 2));
    for row in 0..count {
        if row > 0 {
            marks.push_str(", ");
        }
        marks.push_str(&group);
    }
    marks
}

enum Cells {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

/// `?`, `?` becomes `$1`, `$2`.
fn numbered(text: &str) -> String {
    let mut numbered = String::with_capacity(text.len() + 16);
    for (index, part) in text.split('?').enumerate() {
        if index > 0 {
            numbered.push('$');
            numbered.push_str(&index.to_string());
        }
        numbered.push_str(part);
    }
    numbered
}

pub(crate) fn from_microseconds(microseconds: i64) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(microseconds) * 1_000)
        .map_err(|_| Error::Corrupt("a time is outside the calendar"))
}

/// PostgreSQL cannot store the character NUL in a text; nothing of ours needs it.
fn without_nul(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

macro_rules! native_columns {
    ($($kind:ty),*) => {$(
        impl FromColumn for $kind {
            fn from_column(row: &Row, index: usize) -> Result<Self, Error> {
                row.native(index)
            }
        }
    )*};
}

native_columns!(
    bool,
    i64,
    String,
    Vec<u8>,
    Option<i64>,
    Option<String>,
    Option<Vec<u8>>
);

impl FromColumn for OffsetDateTime {
    fn from_column(row: &Row, index: usize) -> Result<Self, Error> {
        from_microseconds(row.native(index)?)
    }
}

impl FromColumn for Option<OffsetDateTime> {
    fn from_column(row: &Row, index: usize) -> Result<Self, Error> {
        row.native::<Option<i64>>(index)?
            .map(from_microseconds)
            .transpose()
    }
}

impl FromColumn for u64 {
    fn from_column(row: &Row, index: usize) -> Result<Self, Error> {
        u64::try_from(row.native::<i64>(index)?)
            .map_err(|_| Error::Corrupt("a counter is negative"))
    }
}

impl FromColumn for u32 {
    fn from_column(row: &Row, index: usize) -> Result<Self, Error> {
        u32::try_from(row.native::<i64>(index)?)
            .map_err(|_| Error::Corrupt("a number is out of its range"))
    }
}

impl FromColumn for Option<u32> {
    fn from_column(row: &Row, index: usize) -> Result<Self, Error> {
        row.native::<Option<i64>>(index)?
            .map(u32::try_from)
            .transpose()
            .map_err(|_| Error::Corrupt("a number is out of its range"))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Boolean(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Integer(Some(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Integer(Some(value.into()))
    }
}

impl From<Option<u32>> for Value {
    fn from(value: Option<u32>) -> Self {
        Value::Integer(value.map(i64::from))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Value::Integer(value)
    }
}

impl From<OffsetDateTime> for Value {
    fn from(value: OffsetDateTime) -> Self {
        Value::Integer(Some(to_microseconds(value)))
    }
}

impl From<Option<OffsetDateTime>> for Value {
    fn from(value: Option<OffsetDateTime>) -> Self {
        Value::Integer(value.map(to_microseconds))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(Some(without_nul(value).into()))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::from(value.to_owned())
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Value::Text(value.map(|text| without_nul(text).into()))
    }
}

impl From<Option<Uuid>> for Value {
    fn from(value: Option<Uuid>) -> Self {
        Value::Id(value.map(Uuid::into_bytes))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Value::Bytes(Some(value))
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(value: Option<Vec<u8>>) -> Self {
        Value::Bytes(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Value::Bytes(Some(value.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn marks_are_numbered_for_postgres() {
        assert_eq!(
            numbered("a = ? and b in (?, ?)"),
            "a = $1 and b in ($2, $3)"
        );
        assert_eq!(row_marks(2, 3), "(?, ?, ?), (?, ?, ?)");
    }

    #[test]
    fn lists_come_in_few_lengths() {
        let statement = Statement::new("in ").list(["a", "b", "c"]);
        assert_eq!(statement.text, "in (?, ?, ?, ?)");
        assert_eq!(statement.values.len(), 4);
    }

    #[test]
    fn times_keep_their_microseconds_even_before_1970() {
        for nanoseconds in [
            1_700_000_000_123_456_000_i128,
            -1_000,
            0,
            -1_700_000_000_000_001_000,
        ] {
            let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap();
            assert_eq!(from_microseconds(to_microseconds(time)).unwrap(), time);
        }
    }

    #[test]
    fn a_text_with_nul_is_made_storable() {
        let Value::Text(Some(text)) = Value::from("a\0b") else {
            unreachable!("a text stays a text")
        };
        assert_eq!(text, "a\u{fffd}b");
    }
}
