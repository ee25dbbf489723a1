//! What was measured of one kind of request.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::table::{Cell, Table};
use crate::floors::Floor;
use crate::load::Measurement;

/// What was measured of one kind of request, or of one floor.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Good answers per second.
    pub(crate) rate: f64,
    latency: Option<Latency>,
    /// CPU time of the server for one request; of a floor, for one round.
    pub(crate) server_cpu: Option<Duration>,
    database_cpu: Option<Duration>,
    client_cpu: Option<Duration>,
    /// How many cores the server kept busy.
    server_cores: Option<f64>,
    /// How many cores everything else on the machine kept busy meanwhile.
    other_cores: Option<f64>,
    pub(super) errors: BTreeMap<String, u64>,
    remarks: BTreeSet<String>,
    /// How it compares with other lines, by the title of the column.
    against: BTreeMap<String, f64>,
}

#[derive(Debug)]
struct Latency {
    median: Duration,
    p99: Duration,
    longest: Duration,
}

const COLUMNS: [&str; 10] = [
    "",
    "per second",
    "p50 ms",
    "p99 ms",
    "max ms",
    "server CPU us",
    "database CPU us",
    "client CPU us",
    "server cores",
    "other cores",
];

impl Line {
    /// The line of a run.
    pub(crate) fn of(measurement: &Measurement) -> Self {
        let Measurement {
            name,
            elapsed,
            latencies,
            errors,
            server_cpu,
            database_cpu,
            client_cpu,
            other_cpu,
            bodies: _,
            remarks,
        } = measurement;
        let count = latencies.len();
        let each = |total: Duration| total.div_f64(count.max(1) as f64);
        let at = |share: f64| {
            // The share is below 1: the product is an index, cut to a whole number.
            let index = (count as f64 * share) as usize;
            let micros = latencies.get(index).or(latencies.last()).copied();
            micros.map(|micros| Duration::from_micros(micros.into()))
        };
        let latency = || {
            Some(Latency {
                median: at(0.5)?,
                p99: at(0.99)?,
                longest: at(1.0)?,
            })
        };
        Self {
            name: name.clone(),
            rate: measurement.rate(),
            latency: latency(),
            server_cpu: server_cpu.map(each),
            database_cpu: database_cpu.map(each),
            client_cpu: Some(each(*client_cpu)),
            server_cores: server_cpu.map(|cpu| cpu.div_duration_f64(*elapsed)),
            other_cores: Some(other_cpu.div_duration_f64(*elapsed)),
            errors: errors.clone(),
            remarks: remarks.clone(),
            against: BTreeMap::new(),
        }
    }

    /// Tells in columns of their own how it compares with the line of `reference`.
    pub(crate) fn compare(&mut self, reference: &str, other: &Self) {
        let rate = self.rate / other.rate;
        self.against.insert(format!("rate / {reference}"), rate);
        if let (Some(own), Some(other)) = (self.server_cpu, other.server_cpu) {
            let cpu = own.div_duration_f64(other);
            self.against.insert(format!("CPU / {reference}"), cpu);
        }
    }

    fn cells(&self, comparisons: &BTreeSet<&String>) -> Vec<Cell> {
        let latency = |which: fn(&Latency) -> Duration| {
            let latency = self.latency.as_ref().map(which);
            Cell::number(latency.map(|time| time.as_secs_f64() * 1e3), 2)
        };
        let cpu =
            |time: Option<Duration>| Cell::number(time.map(|time| time.as_secs_f64() * 1e6), 1);
        let mut cells = vec![
            Cell::Text(self.name.clone()),
            Cell::Number(self.rate, 0),
            latency(|latency| latency.median),
            latency(|latency| latency.p99),
            latency(|latency| latency.longest),
            cpu(self.server_cpu),
            cpu(self.database_cpu),
            cpu(self.client_cpu),
            Cell::number(self.server_cores, 2),
            Cell::number(self.other_cores, 2),
        ];
        let compared = |title: &&String| Cell::number(self.against.get(*title).copied(), 2);
        cells.extend(comparisons.iter().map(compared));
        let remarks: Vec<&str> = self.remarks.iter().map(String::as_str).collect();
        cells.push(match remarks.join("; ") {
            none if none.is_empty() => Cell::Unknown,
            remarks => Cell::Text(remarks),
        });
        cells
    }

    pub(super) fn to_json(&self) -> Value {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        json!({
            "name": self.name,
            "per_second": self.rate,
            "p50_us": self.latency.as_ref().map(|latency| micros(latency.median)),
            "p99_us": self.latency.as_ref().map(|latency| micros(latency.p99)),
            "max_us": self.latency.as_ref().map(|latency| micros(latency.longest)),
            "server_cpu_us": self.server_cpu.map(micros),
            "database_cpu_us": self.database_cpu.map(micros),
            "client_cpu_us": self.client_cpu.map(micros),
            "server_cores": self.server_cores,
            "other_cores": self.other_cores,
            "errors": self.errors,
            "remarks": self.remarks,
            "against": self.against,
        })
    }
}

impl From<&Floor> for Line {
    fn from(floor: &Floor) -> Self {
        Self {
            name: floor.name.clone(),
            rate: floor.rate,
            latency: None,
            server_cpu: Some(floor.cpu),
            database_cpu: None,
            client_cpu: None,
            server_cores: None,
            other_cores: None,
            errors: BTreeMap::new(),
            remarks: BTreeSet::new(),
            against: BTreeMap::new(),
        }
    }
}

/// A row for each line.
pub(super) fn table(lines: &[Line]) -> Table {
    let comparisons = lines.iter().flat_map(|line| line.against.keys());
    let comparisons: BTreeSet<&String> = comparisons.collect();
    let columns = COLUMNS.iter().copied();
    let columns = columns.chain(comparisons.iter().map(|title| title.as_str()));
    let columns = columns.chain(["remarks"]);
    Table {
        columns: columns.map(str::to_owned).collect(),
        rows: lines.iter().map(|line| line.cells(&comparisons)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(name: &str, last: u32) -> Measurement {
        Measurement {
            name: name.to_owned(),
            elapsed: Duration::from_secs(2),
            latencies: (1..=last).collect(),
            server_cpu: Some(Duration::from_millis(50)),
            client_cpu: Duration::from_millis(20),
            other_cpu: Duration::from_millis(500),
            ..Measurement::default()
        }
    }

    #[test]
    fn a_line_tells_rate_latencies_and_cpu_time_of_a_request() {
        let text = table(&[Line::of(&measurement("a name", 1000))]).markdown();
        let expected = "| a name | 500 | 0.50 | 0.99 | 1.00 | 50.0 | 20.0 | 0.03 | 0.25 |";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_line_without_answers_has_no_latencies() {
        let empty = Measurement {
            elapsed: Duration::from_secs(1),
            ..Measurement::default()
        };
        let line = Line::of(&empty).to_json();
        assert_eq!(
            (&line["p50_us"], &line["per_second"]),
            (&Value::Null, &json!(0.0))
        );
    }

    #[test]
    fn a_line_is_compared_in_columns_of_its_own() {
        let reference = Line::of(&measurement("reference", 1000));
        let mut line = Line::of(&measurement("half as fast", 500));
        line.compare("the other", &reference);
        let text = table(&[reference, line]).markdown();
        assert!(
            text.contains("| CPU / the other | rate / the other |"),
            "{text}"
        );
        assert!(text.contains("| 2.00 | 0.50 |"), "{text}");
    }
}
