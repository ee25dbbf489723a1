//! Rows and columns, for people, for the README, and for programs.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A table whose first column names what its rows are about.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// What is in one place of a table.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Text(String),
    /// A number, and how many decimals of it people want to see.
    Number(f64, usize),
    /// Nothing is known.
    Unknown,
}

impl Cell {
    /// A number if there is one.
    pub(crate) fn number(value: Option<f64>, decimals: usize) -> Self {
        value.map_or(Self::Unknown, |value| Self::Number(value, decimals))
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(value, decimals) => format!("{value:.decimals$}"),
            Self::Unknown => String::new(),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(value, _) => (*value).into(),
            Self::Unknown => Value::Null,
        }
    }
}

impl Table {
    /// The same without columns that tell nothing of any row.
    fn told(&self) -> (Vec<&str>, Vec<Vec<String>>) {
        let is_told = |at: usize| {
            let mut cells = self.rows.iter().filter_map(|row| row.get(at));
            at == 0 || cells.any(|cell| !matches!(cell, Cell::Unknown))
        };
        let told: Vec<usize> = (0..self.columns.len()).filter(|at| is_told(*at)).collect();
        let columns = told.iter().filter_map(|at| self.columns.get(*at));
        let row = |row: &Vec<Cell>| {
            let cell = |at: &usize| row.get(*at).map_or_else(String::new, Cell::shown);
            told.iter().map(cell).collect()
        };
        (
            columns.map(String::as_str).collect(),
            self.rows.iter().map(row).collect(),
        )
    }

    /// Aligned columns.
    pub(crate) fn text(&self) -> String {
        let (columns, rows) = self.told();
        let heading = columns.iter().map(|&column| column.to_owned()).collect();
        let rows: Vec<Vec<String>> = std::iter::once(heading).chain(rows).collect();
        let mut widths = vec![0; columns.len()];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &rows {
            for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                text += &match at {
                    0 => format!("  {cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }

    /// As Markdown writes tables.
    pub(crate) fn markdown(&self) -> String {
        let (columns, rows) = self.told();
        let mut text = format!("| {} |\n|---", columns.join(" | "));
        text += &"|---:".repeat(columns.len().saturating_sub(1));
        text += "|\n";
        for row in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }

    /// An object for each row.
    pub(crate) fn to_json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let names = self.columns.iter().map(|column| match column.as_str() {
                "" => "name".to_owned(),
                other => other.to_owned(),
            });
            names
                .zip(row.iter().map(Cell::to_json))
                .collect::<Map<_, _>>()
        };
        self.rows.iter().map(object).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |name: &str, value| {
            vec![
                Cell::Text(name.to_owned()),
                Cell::number(None, 0),
                Cell::number(value, 1),
            ]
        };
        Table {
            columns: ["", "nowhere", "rate"].map(str::to_owned).to_vec(),
            rows: vec![row("one", Some(1.25)), row("the other", None)],
        }
    }

    #[test]
    fn a_column_that_tells_nothing_is_left_out() {
        assert_eq!(
            table().text(),
            "             rate\n  one         1.2\n  the other\n"
        );
        assert_eq!(
            table().markdown(),
            "|  | rate |\n|---|---:|\n| one | 1.2 |\n| the other |  |\n"
        );
    }

    #[test]
    fn programs_get_all_columns_and_all_digits() {
        let expected = serde_json::json!([
            { "name": "one", "nowhere": null, "rate": 1.25 },
            { "name": "the other", "nowhere": null, "rate": null },
        ]);
        assert_eq!(table().to_json(), expected);
    }
}
