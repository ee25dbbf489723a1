//! What came out of all turns, held against the bare server, against nginx, and against the budgets.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::arguments::Load;
use crate::load::Measurement;
use crate::process::Memory;
use crate::report::{Budget, Cell, Line, Ratio, Report, Table};

/// How near the bare server full handshakes should come.
const BARE_BUDGET: Budget = Budget::AtLeast(0.9);
/// How near nginx.
const NGINX_BUDGET: Budget = Budget::AtLeast(1.0);
/// How near the rate with one name the rate with many should come; the rest is noise.
const MANY_BUDGET: Budget = Budget::AtLeast(0.95);
/// How dear an unknown name may be, to nginx.
const UNKNOWN_BUDGET: Budget = Budget::AtMost(1.0);
/// Seconds that a start may take, with a million names and less.
const START_BUDGET: Budget = Budget::AtMost(2.0);
/// Gibibytes that may be held, with a million names and less.
const MEMORY_BUDGET: Budget = Budget::AtMost(1.0);

const MEBIBYTE: f64 = (1 << 20) as f64;

/// What a server is to the comparison.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Bare,
    Chancery,
    Nginx,
    Other,
}

/// Whose turn was measured.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    /// Among the loads.
    pub(super) load: usize,
    /// Among the servers.
    pub(super) contestant: usize,
    /// Among the lines that this server has with this load.
    pub(super) variant: usize,
}

/// The turns so far.
#[derive(Debug, Default)]
pub(super) struct Results(BTreeMap<Place, Entry>);

#[derive(Debug)]
struct Entry {
    load: Load,
    kind: Kind,
    measurement: Measurement,
}

/// What a server took to start, and what it held.
#[derive(Debug)]
pub(super) struct Footprint {
    pub(super) kind: Kind,
    pub(super) label: String,
    pub(super) domains: usize,
    /// From the start to the end of the first handshake.
    pub(super) ready_after: Duration,
    /// Memory when everything was done that a start makes it do.
    pub(super) settled: Memory,
    /// Memory after the load.
    pub(super) loaded: Memory,
}

impl Results {
    /// Takes in a turn.
    pub(super) fn add(&mut self, place: Place, load: Load, kind: Kind, measurement: Measurement) {
        match self.0.get_mut(&place) {
            Some(entry) => entry.measurement.add(measurement),
            None => {
                let entry = Entry {
                    load,
                    kind,
                    measurement,
                };
                self.0.insert(place, entry);
            }
        }
    }

    /// A report for each load, in the order of the loads.
    fn reports(&self) -> Vec<Report> {
        let mut by_load: BTreeMap<usize, Vec<&Entry>> = BTreeMap::new();
        for (place, entry) in &self.0 {
            by_load.entry(place.load).or_default().push(entry);
        }
        by_load
            .values()
            .filter_map(|entries| report(entries))
            .collect()
    }
}

/// Everything that was found out.
pub(super) fn reports(
    results: &Results,
    footprints: &[Footprint],
    notes: Vec<String>,
) -> Vec<Report> {
    let mut reports = results.reports();
    reports.push(start_and_memory(footprints, notes));
    reports
}

fn report(entries: &[&Entry]) -> Option<Report> {
    let load = entries.first()?.load;
    let mut report = Report::new(&format!("edge: {}", title(load)));
    let mut lines: Vec<Line> = entries
        .iter()
        .map(|entry| Line::of(&entry.measurement))
        .collect();
    let at = |kind: Kind| entries.iter().position(|entry| entry.kind == kind);
    let best = |kind: Kind| {
        let those = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.kind == kind);
        let best =
            those.max_by(|(_, a), (_, b)| a.measurement.rate().total_cmp(&b.measurement.rate()));
        best.map(|(at, _)| at)
    };
    // Of several versions of nginx the fastest is the one to be held against.
    let references = [("bare", at(Kind::Bare)), ("nginx", best(Kind::Nginx))];
    for (name, reference) in references {
        let Some(reference) = reference.and_then(|at| entries.get(at)) else {
            continue;
        };
        let reference = Line::of(&reference.measurement);
        for line in &mut lines {
            line.compare(name, &reference);
        }
    }
    let line = |at: Option<usize>| lines.get(at?);
    let (own, bare, nginx) = (
        line(at(Kind::Chancery)),
        line(at(Kind::Bare)),
        line(best(Kind::Nginx)),
    );
    // CPU times as well as rates: those are the load generator's when it is the slower one.
    let mut ratio = |own: Option<&Line>, other: Option<&Line>, reference: &str, budget| {
        if let (Some(own), Some(other)) = (own, other) {
            let name = &own.name;
            let (rate, cpu) = (
                format!("rate of {name} / {reference}"),
                format!("CPU time of {reference} / {name}"),
            );
            report
                .ratios
                .push(Ratio::new(&rate, own.rate, other.rate, budget));
            report.ratios.extend(Ratio::of_cpu(
                &cpu,
                other.server_cpu,
                own.server_cpu,
                budget,
            ));
        }
    };
    let is_full = matches!(load, Load::Hybrid | Load::Classic | Load::Tls12);
    if is_full || load == Load::Resumed {
        let budget = is_full.then_some(BARE_BUDGET);
        ratio(own, bare, "bare rustls", budget);
        // Without the hybrid key exchange on both sides this compares different work.
        let budget = (is_full && load != Load::Hybrid).then_some(NGINX_BUDGET);
        ratio(own, nginx, "nginx", budget);
    }
    let lines_of_ours = entries.iter().zip(&lines);
    let of_ours = lines_of_ours.filter(|(entry, _)| entry.kind == Kind::Chancery);
    for (_, other) in of_ours.skip(1) {
        // A name that was not asked for before has to be read and opened first.
        let is_warm = !other.name.ends_with(super::field::ALL);
        let budget = (is_full && is_warm).then_some(MANY_BUDGET);
        ratio(Some(other), own, "the same with fewest names", budget);
    }
    if load == Load::Unknown
        && let (Some(own), Some(nginx)) = (own, nginx)
    {
        report.ratios.extend(Ratio::of_cpu(
            "CPU time of Chancery / nginx",
            own.server_cpu,
            nginx.server_cpu,
            Some(UNKNOWN_BUDGET),
        ));
    }
    report.lines = lines;
    Some(report)
}

fn title(load: Load) -> &'static str {
    match load {
        Load::Hybrid => "full handshakes, TLS 1.3, X25519MLKEM768 and X25519 on offer",
        Load::Classic => "full handshakes, TLS 1.3, X25519",
        Load::Tls12 => "full handshakes, TLS 1.2, X25519",
        Load::Resumed => "resumed handshakes, TLS 1.3, X25519MLKEM768 and X25519 on offer",
        Load::Unknown => "unknown names refused, TLS 1.3",
        Load::Requests => "requests through the proxy, HTTP/1.1, kept alive",
    }
}

fn start_and_memory(footprints: &[Footprint], notes: Vec<String>) -> Report {
    let columns = [
        "",
        "names",
        "first handshake after ms",
        "memory MiB",
        "after load MiB",
        "octets a name",
        "after load octets a name",
    ];
    let row = |footprint: &Footprint| {
        let Footprint {
            label,
            domains,
            ready_after,
            settled,
            loaded,
            ..
        } = footprint;
        let alone = alone(footprints, footprint);
        // Of its program more or less may happen to be resident, whatever the names.
        let each = |memory: &Memory, of_one: Option<Memory>| {
            let more = memory.anonymous as f64 - of_one?.anonymous as f64;
            Some(more / (*domains as f64 - 1.0))
        };
        vec![
            Cell::Text(label.clone()),
            Cell::Number(*domains as f64, 0),
            Cell::Number(ready_after.as_secs_f64() * 1e3, 0),
            Cell::Number(settled.all as f64 / MEBIBYTE, 1),
            Cell::Number(loaded.all as f64 / MEBIBYTE, 1),
            Cell::number(each(settled, alone.map(|one| one.settled)), 0),
            Cell::number(each(loaded, alone.map(|one| one.loaded)), 0),
        ]
    };
    let mut report = Report::new("edge: start and memory");
    report.tables.push(Table {
        columns: columns.map(str::to_owned).to_vec(),
        rows: footprints.iter().map(row).collect(),
    });
    for footprint in footprints {
        if footprint.kind == Kind::Chancery && footprint.domains > 1 {
            let label = &footprint.label;
            report.ratios.push(Ratio::new(
                &format!("seconds to the first handshake, {label}"),
                footprint.ready_after.as_secs_f64(),
                1.0,
                Some(START_BUDGET),
            ));
            report.ratios.push(Ratio::new(
                &format!("GiB after the load, {label}"),
                footprint.loaded.all as f64,
                1024.0 * MEBIBYTE,
                Some(MEMORY_BUDGET),
            ));
        }
    }
    report.notes = notes;
    report
}

/// The same server with one name, when this one has many.
fn alone<'a>(footprints: &'a [Footprint], many: &Footprint) -> Option<&'a Footprint> {
    let program = |label: &str| label.split(", ").next().map(str::to_owned);
    footprints.iter().find(|other| {
        many.domains > 1 && other.domains == 1 && program(&other.label) == program(&many.label)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, count: u32) -> Measurement {
        Measurement {
            name: name.to_owned(),
            elapsed: Duration::from_secs(1),
            latencies: (0..count).collect(),
            server_cpu: Some(Duration::from_secs(1)),
            ..Measurement::default()
        }
    }

    fn place(load: usize, contestant: usize) -> Place {
        Place {
            load,
            contestant,
            variant: 0,
        }
    }

    #[test]
    fn rounds_are_added_up_and_held_against_bare_server_and_fastest_nginx() {
        let mut results = Results::default();
        let field = [
            (Kind::Bare, "bare", 100),
            (Kind::Chancery, "own", 80),
            (Kind::Nginx, "old nginx", 20),
            (Kind::Nginx, "new nginx", 40),
        ];
        for _ in 0..2 {
            for (at, (kind, name, count)) in field.into_iter().enumerate() {
                results.add(place(0, at), Load::Classic, kind, measured(name, count));
            }
        }
        let report = results.reports().pop().unwrap();
        assert_eq!(report.lines.len(), 4);
        let table = report.table();
        assert!(
            table.contains("0.80 = rate of own / bare rustls; budget: at least 0.9, MISSED"),
            "{table}"
        );
        assert!(
            table.contains("2.00 = rate of own / nginx; budget: at least 1, kept"),
            "{table}"
        );
    }

    #[test]
    fn every_load_has_its_report_in_order() {
        let mut results = Results::default();
        results.add(place(1, 0), Load::Unknown, Kind::Bare, measured("bare", 1));
        results.add(place(0, 0), Load::Hybrid, Kind::Bare, measured("bare", 1));
        let names: Vec<String> = results
            .reports()
            .into_iter()
            .map(|report| report.name)
            .collect();
        assert!(names[0].contains("full"), "{names:?}");
        assert!(names[1].contains("unknown"), "{names:?}");
    }

    #[test]
    fn memory_of_a_name_is_what_many_take_more_than_one() {
        let footprint = |label: &str, domains, anonymous| {
            let memory = Memory {
                anonymous,
                all: 10_000,
            };
            Footprint {
                kind: Kind::Chancery,
                label: label.to_owned(),
                domains,
                ready_after: Duration::from_secs(3),
                settled: memory,
                loaded: memory,
            }
        };
        let footprints = [
            footprint("Chancery, 1 name", 1, 1_000),
            footprint("Chancery, 11 names", 11, 3_000),
        ];
        let report = start_and_memory(&footprints, Vec::new());
        let json = report.tables[0].to_json();
        assert_eq!(json.pointer("/1/octets a name"), Some(&200.0.into()));
        assert_eq!(
            json.pointer("/0/octets a name"),
            Some(&serde_json::Value::Null)
        );
        assert!(report.table().contains(
            "3.00 = seconds to the first handshake, Chancery, 11 names; budget: at most 2, MISSED"
        ));
    }
}
