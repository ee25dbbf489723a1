//! Results, for people, for the README, and for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

use crate::arguments::Options;
use crate::floors::Floor;
use crate::load::Measurement;

/// The machine and the way it was used.
#[derive(Debug)]
pub(crate) struct Environment {
    cores: usize,
    processor: String,
    kernel: String,
    /// Mean length of the run queue in the last minute, before anything was measured.
    load_average: String,
    clients: u16,
    seconds: f64,
    database: String,
    sharing: String,
}

/// The results of one command.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) lines: Vec<Line>,
    pub(crate) ratios: Vec<Ratio>,
    /// The most memory that the server held, in octets.
    pub(crate) peak_memory: Option<u64>,
    pub(crate) notes: Vec<String>,
}

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
    /// How many cores everything else on the machine kept busy meanwhile.
    other_cores: Option<f64>,
    errors: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Latency {
    median: Duration,
    p99: Duration,
    longest: Duration,
}

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

impl Environment {
    /// Looks at the machine.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn read(options: &Options) -> anyhow::Result<Self> {
        let processors = std::fs::read_to_string("/proc/cpuinfo")?;
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
        let load = std::fs::read_to_string("/proc/loadavg")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let sharing = match options.pinned() {
            Some((server, client)) => {
                format!("the server has cores {server}, the load generator cores {client}")
            }
            None if options.url.is_some() => "the server was running already".to_owned(),
            None => "load generator and server share all cores".to_owned(),
        };
        Ok(Self {
            cores,
            processor: processor.to_owned(),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            load_average: load.split(' ').next().unwrap_or("?").to_owned(),
            clients: options.clients,
            seconds: options.measured().as_secs_f64(),
            database: options.database_shown(),
            sharing,
        })
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cores,
            processor,
            kernel,
            load_average,
            clients,
            seconds,
            database,
            sharing,
        } = self;
        writeln!(
            formatter,
            "{cores} cores ({processor}), Linux {kernel}, load average before: {load_average}"
        )?;
        writeln!(
            formatter,
            "{clients} clients, {seconds} s each, database: {database}; {sharing}"
        )
    }
}

impl Report {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            lines: Vec::new(),
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
        let mut rows = vec![COLUMNS.map(str::to_owned)];
        rows.extend(self.lines.iter().map(Line::cells));
        let mut widths = [0; COLUMNS.len()];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = format!("{}\n", self.name);
        for row in &rows {
            for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
                text += &match at {
                    0 => format!("  {cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for sentence in self.sentences() {
            text += &format!("  {sentence}\n");
        }
        text
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

const COLUMNS: [&str; 9] = [
    "",
    "per second",
    "p50 ms",
    "p99 ms",
    "max ms",
    "server CPU us",
    "database CPU us",
    "client CPU us",
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
            rate: count as f64 / elapsed.as_secs_f64(),
            latency: latency(),
            server_cpu: server_cpu.map(each),
            database_cpu: database_cpu.map(each),
            client_cpu: Some(each(*client_cpu)),
            other_cores: Some(other_cpu.div_duration_f64(*elapsed)),
            errors: errors.clone(),
        }
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let millis = |duration: fn(&Latency) -> Duration| {
            let latency = self.latency.as_ref().map(duration);
            latency.map_or_else(String::new, |time| {
                format!("{:.2}", time.as_secs_f64() * 1e3)
            })
        };
        let micros = |time: Option<Duration>| {
            time.map_or_else(String::new, |time| {
                format!("{:.1}", time.as_secs_f64() * 1e6)
            })
        };
        [
            self.name.clone(),
            format!("{:.0}", self.rate),
            millis(|latency| latency.median),
            millis(|latency| latency.p99),
            millis(|latency| latency.longest),
            micros(self.server_cpu),
            micros(self.database_cpu),
            micros(self.client_cpu),
            self.other_cores
                .map_or_else(String::new, |cores| format!("{cores:.2}")),
        ]
    }

    fn to_json(&self) -> Value {
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
            "other_cores": self.other_cores,
            "errors": self.errors,
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
            other_cores: None,
            errors: BTreeMap::new(),
        }
    }
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

/// Everything for programs.
pub(crate) fn json(environment: &Environment, reports: &[Report]) -> Value {
    let ratio = |ratio: &Ratio| {
        let (bound, limit) = match ratio.budget {
            Some(Budget::AtLeast(least)) => (Some("at_least"), Some(least)),
            Some(Budget::AtMost(most)) => (Some("at_most"), Some(most)),
            None => (None, None),
        };
        json!({
            "what": ratio.what,
            "value": ratio.value,
            "bound": bound,
            "limit": limit,
            "kept": ratio.is_kept(),
        })
    };
    let report = |report: &Report| {
        json!({
            "name": report.name,
            "lines": report.lines.iter().map(Line::to_json).collect::<Vec<_>>(),
            "ratios": report.ratios.iter().map(ratio).collect::<Vec<_>>(),
            "peak_memory_bytes": report.peak_memory,
            "notes": report.notes,
        })
    };
    json!({
        "environment": {
            "cores": environment.cores,
            "processor": environment.processor,
            "kernel": environment.kernel,
            "load_average": environment.load_average,
            "clients": environment.clients,
            "seconds": environment.seconds,
            "database": environment.database,
            "sharing": environment.sharing,
        },
        "reports": reports.iter().map(report).collect::<Vec<_>>(),
    })
}

/// Everything for the README.
pub(crate) fn markdown(environment: &Environment, reports: &[Report]) -> String {
    let mut text = environment.to_string();
    for report in reports {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n### {}\n\n| {} |\n|---",
            report.name,
            COLUMNS.join(" | ")
        );
        text += &"|---:".repeat(COLUMNS.len() - 1);
        text += "|\n";
        for line in &report.lines {
            let _ = writeln!(text, "| {} |", line.cells().join(" | "));
        }
        text.push('\n');
        for sentence in report.sentences() {
            let _ = writeln!(text, "- {sentence}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement() -> Measurement {
        Measurement {
            name: "a name".to_owned(),
            elapsed: Duration::from_secs(2),
            latencies: (1..=1000).collect(),
            server_cpu: Some(Duration::from_millis(50)),
            client_cpu: Duration::from_millis(20),
            other_cpu: Duration::from_millis(500),
            errors: BTreeMap::from([("500: oh".to_owned(), 3)]),
            ..Measurement::default()
        }
    }

    #[test]
    fn a_line_tells_rate_latencies_and_cpu_time_of_a_request() {
        let cells = Line::of(&measurement()).cells();
        let expected = [
            "a name", "500", "0.50", "0.99", "1.00", "50.0", "", "20.0", "0.25",
        ];
        assert_eq!(cells, expected);
    }

    #[test]
    fn a_line_without_answers_has_no_latencies() {
        let empty = Measurement {
            elapsed: Duration::from_secs(1),
            ..Measurement::default()
        };
        let [_, rate, median, ..] = Line::of(&empty).cells();
        assert_eq!((rate.as_str(), median.as_str()), ("0", ""));
    }

    #[test]
    fn a_missed_budget_and_errors_are_seen_in_every_form() {
        let mut report = Report::new("issue");
        report.lines.push(Line::of(&measurement()));
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
        let environment = Environment {
            cores: 2,
            processor: String::new(),
            kernel: String::new(),
            load_average: "0".to_owned(),
            clients: 1,
            seconds: 1.0,
            database: "sqlite".to_owned(),
            sharing: String::new(),
        };
        let value = json(&environment, &[report]);
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
