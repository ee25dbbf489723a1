//! Results, for people, for the README, and for programs.

mod environment;
mod line;
mod ratio;
mod table;

use std::fmt::Write as _;

use serde_json::{Value, json};

pub(crate) use environment::Environment;
pub(crate) use line::Line;
pub(crate) use ratio::{Budget, Ratio};
pub(crate) use table::{Cell, Table};

/// The results of one command.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) lines: Vec<Line>,
    /// What else there is to tell in columns.
    pub(crate) tables: Vec<Table>,
    pub(crate) ratios: Vec<Ratio>,
    /// The most memory that the server held, in octets.
    pub(crate) peak_memory: Option<u64>,
    pub(crate) notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            lines: Vec::new(),
            tables: Vec::new(),
            ratios: Vec::new(),
            peak_memory: None,
            notes: Vec::new(),
        }
    }

    /// How many requests failed.
    pub(crate) fn errors(&self) -> u64 {
        self.lines
            .iter()
            .flat_map(|line| line.errors.values())
            .sum()
    }

    /// Aligned columns.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n", self.name);
        text += &self.every_table(Table::text).join("\n");
        for sentence in self.sentences() {
            text += &format!("  {sentence}\n");
        }
        text
    }

    /// All tables, that of the lines first if there are any.
    fn every_table(&self, write: fn(&Table) -> String) -> Vec<String> {
        let lines = (!self.lines.is_empty()).then(|| line::table(&self.lines));
        lines.iter().chain(&self.tables).map(write).collect()
    }

    /// What is to be said below the table.
    fn sentences(&self) -> Vec<String> {
        let mut sentences: Vec<String> = self.ratios.iter().map(ToString::to_string).collect();
        if let Some(peak) = self.peak_memory {
            let mebibytes = peak as f64 / f64::from(1 << 20);
            sentences.push(format!("peak memory of the server: {mebibytes:.0} MiB"));
        }
        sentences.extend(self.notes.iter().cloned());
        for line in &self.lines {
            for (kind, count) in &line.errors {
                sentences.push(format!("ERROR {count} x in {}: {kind}", line.name));
            }
        }
        sentences
    }
}

/// Everything for programs.
pub(crate) fn json(environment: &Environment, reports: &[Report]) -> Value {
    let report = |report: &Report| {
        json!({
            "name": report.name,
            "lines": report.lines.iter().map(Line::to_json).collect::<Vec<_>>(),
            "tables": report.tables.iter().map(Table::to_json).collect::<Vec<_>>(),
            "ratios": report.ratios.iter().map(Ratio::to_json).collect::<Vec<_>>(),
            "peak_memory_bytes": report.peak_memory,
            "notes": report.notes,
        })
    };
    json!({
        "environment": environment.to_json(),
        "reports": reports.iter().map(report).collect::<Vec<_>>(),
    })
}

/// Everything for the README.
pub(crate) fn markdown(environment: &Environment, reports: &[Report]) -> String {
    let mut text = environment.to_string();
    for report in reports {
        let tables = report.every_table(Table::markdown).join("\n");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n### {}\n\n{tables}", report.name);
        for sentence in report.sentences() {
            let _ = writeln!(text, "- {sentence}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::load::Measurement;

    #[test]
    fn a_missed_budget_and_errors_are_seen_in_every_form() {
        let mut report = Report::new("issue");
        let measurement = Measurement {
            name: "a name".to_owned(),
            elapsed: Duration::from_secs(2),
            errors: BTreeMap::from([("500: oh".to_owned(), 3)]),
            ..Measurement::default()
        };
        report.lines.push(Line::of(&measurement));
        let budget = Some(Budget::AtMost(2.0));
        report
            .ratios
            .push(Ratio::new("of the floor", 5.0, 2.0, budget));
        assert_eq!(report.errors(), 3);
        let table = report.table();
        assert!(
            table.contains("2.50 = of the floor; budget: at most 2, MISSED"),
            "{table}"
        );
        assert!(table.contains("ERROR 3 x in a name: 500: oh"), "{table}");
        let value = json(&Environment::default(), &[report]);
        assert_eq!(
            value.pointer("/reports/0/ratios/0/kept"),
            Some(&json!(false))
        );
        assert_eq!(
            value.pointer("/reports/0/lines/0/errors/500: oh"),
            Some(&json!(3))
        );
    }
}
